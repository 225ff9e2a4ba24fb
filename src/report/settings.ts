/** Settings of a run and who set them; where several runs differ. */
import { type Content, type Html, html } from '../html/markup.js';
import { type Cell, type Row, table } from '../html/table.js';
import type { RunRecord, Setting, SettingValue } from '../run-record/record.js';
import type { NamedRun } from './course.js';
import { counted } from './numbers.js';
import { runTitle } from './run-names.js';
import type { Section } from './section.js';

const ORIGINS: Record<Setting['origin'], string> = {
  flag: 'flag',
  config: 'config file',
  deepspeed: 'DeepSpeed file',
  model: 'the model’s folder',
  default: 'default',
};

export function settingsSection({ settings }: RunRecord): Section {
  const given = settings.filter(({ origin }) => origin !== 'default');
  const left = settings.filter(({ origin }) => origin === 'default');
  const content = html`${given.length > 0 ? settingTable(given, 'Settings that were given') : html`<p>Every setting is its default.</p>`}
${left.length > 0 && html`<details><summary>${counted(left.length, 'setting')} at the default</summary>${settingTable(left, 'Settings at their defaults')}</details>`}`;
  return { id: 'settings', title: 'Settings', content };
}

function settingTable(settings: readonly Setting[], label: string): Html {
  const defaults = settings.every(({ origin }) => origin === 'default');
  return html`<div class="settings">${table(
    [{ title: 'setting' }, { title: 'value' }, ...(defaults ? [] : [{ title: 'from' }])],
    settings.map(({ name, value, origin, group, default: fallback }): Row => {
      const instead =
        fallback !== undefined &&
        !same(fallback, value) &&
        html` <span class="soft">instead of ${valueText(fallback)}</span>`;
      return [
        { content: html`${settingName(name)} <small>${group}</small>`, looks: 'name' },
        { content: html`${valueText(value)}${instead}`, looks: 'value' },
        ...(defaults ? [] : [ORIGINS[origin]]),
      ];
    }),
    label,
  )}</div>`;
}

/** A long name may break behind each of its words. */
const settingName = (name: string): Html =>
  html`<code>${name.split(/(?<=_)/).map((word) => html`${word}<wbr>`)}</code>`;

/** Members of a list that are shown. */
const MOST_MEMBERS = 20;

function valueText(value: SettingValue): Content {
  if (value === null) return html`<span class="soft">none</span>`;
  if (typeof value === 'object') {
    if (value.length === 0) return html`<span class="soft">none</span>`;
    if (value.every((member) => typeof member === 'number') && value.length <= MOST_MEMBERS)
      return value.join(', ');
    const shown = value.slice(0, MOST_MEMBERS).map((member) => html`<li>${one(member)}</li>`);
    const more = value.length - shown.length;
    return html`<ul class="plain">${shown}${more > 0 && html`<li class="soft">and ${more} more</li>`}</ul>`;
  }
  return one(value);
}

/** White space at the ends of a text is a part of it and is seen. */
function one(value: boolean | number | string): Content {
  if (typeof value === 'number' && value !== 0 && Math.abs(value) < 1e-3) return value.toExponential();
  if (typeof value !== 'string') return String(value);
  return value === '' || value.trim() !== value
    ? html`<bdi class="text">“${value}”</bdi>`
    : html`<bdi class="text">${value}</bdi>`;
}

const same = (a: SettingValue | undefined, b: SettingValue | undefined) =>
  JSON.stringify(a) === JSON.stringify(b);

/** Settings that are not the same in all runs, and how many are. */
export function differingSettings(runs: readonly NamedRun[]): Section {
  const names = new Map<string, string>();
  for (const { record } of runs)
    for (const { name, group } of record.settings) names.set(name, names.get(name) ?? group);
  const settingOf = ({ record }: NamedRun, name: string) =>
    record.settings.find((setting) => setting.name === name);
  const differing = [...names].filter(([name]) => {
    const [first, ...others] = runs.map((run) => settingOf(run, name)?.value);
    return others.some((value) => !same(first, value));
  });
  const rows = differing.map(
    ([name]): Row => [
      { content: settingName(name), looks: 'name' },
      ...runs.map((run): Cell => {
        const setting = settingOf(run, name);
        if (!setting) return { content: '–' };
        return {
          content: html`${valueText(setting.value)}${setting.origin === 'default' && html` <span class="soft">default</span>`}`,
          looks: 'value',
        };
      }),
    ],
  );
  const equal = names.size - differing.length;
  const content =
    rows.length === 0
      ? html`<p>All ${counted(names.size, 'setting')} are the same.</p>`
      : html`<div class="settings compared">${table([{ title: 'setting' }, ...runs.map(({ name }, i) => ({ title: runTitle(name, i) }))], rows, 'Settings that differ')}</div>
<p class="soft">${counted(equal, 'other setting')} ${equal === 1 ? 'is' : 'are'} the same.</p>`;
  return { id: 'settings', title: 'Settings that differ', content };
}
