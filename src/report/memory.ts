/** GPU memory by what it is for: bars of the plan and of the highest peak, and the peaks as a table. */

import { type Html, html } from '../html/markup.js';
import { table } from '../html/table.js';
import { MEMORY_PURPOSES, type MemoryPeak, type RunRecord } from '../run-record/record.js';
import { formatBytes } from '../show.js';
import { grouped } from './browser/numbers.js';
import type { NamedRun } from './course.js';
import { runName } from './run-names.js';
import type { Section } from './section.js';

const PURPOSE_TITLES: Record<(typeof MEMORY_PURPOSES)[number], string> = {
  weights: 'weights',
  gradients: 'gradients',
  optimizer: 'optimiser state',
  activations: 'activations',
  workspace: 'workspace',
};

interface MemoryBar {
  readonly label: string;
  readonly memory: MemoryPeak;
  readonly budget: number | null;
}

export function memorySection(record: RunRecord): Section | undefined {
  const { planned, points, budget } = record.memory;
  const bars = [
    { label: 'planned', memory: planned, budget },
    ...highest(record, record.status === 'running' ? 'highest so far' : 'highest'),
  ].filter(({ memory }) => memory.peak > 0);
  if (bars.length === 0) return undefined;
  const budgetNote =
    budget === null
      ? 'no budget was set'
      : `the budget is ${formatBytes(budget)}${isInReach(budget, bars) ? ', the dashed line' : ''}`;
  return {
    id: 'memory',
    title: 'GPU memory',
    content: html`<p class="soft">The most that was planned before the first step, and the highest peak of a step; ${budgetNote}.</p>
${memoryBars(bars)}
${points.length > 0 && html`<details><summary>By step</summary>${memoryTable(record)}</details>`}`,
  };
}

export function comparedMemory(runs: readonly NamedRun[]): Section | undefined {
  const bars = runs.flatMap(({ name, record }) => highest(record, name));
  if (bars.length === 0) return undefined;
  return {
    id: 'memory',
    title: 'GPU memory',
    content: html`<p class="soft">The highest peak of a step.</p>${memoryBars(bars)}`,
  };
}

function highest({ memory: { points, budget } }: RunRecord, label: string): MemoryBar[] {
  if (points.length === 0) return [];
  return [{ label, memory: points.reduce((most, point) => (point.peak > most.peak ? point : most)), budget }];
}

function memoryBars(bars: readonly MemoryBar[]): Html {
  const most = longest(bars);
  const shown = (budget: number | null) => budget !== null && isInReach(budget, bars);
  const scale = 100 / Math.max(most, ...bars.map(({ budget }) => (shown(budget) ? budget! : 0)));
  const rows = bars.map(({ label, memory, budget }) => {
    const parts = MEMORY_PURPOSES.map((purpose, i) => {
      const bytes = memory.by_purpose[purpose];
      const title = `${PURPOSE_TITLES[purpose]}: ${formatBytes(bytes)}`;
      return (
        bytes > 0 && html`<i class="s${i}" style="width:${(bytes * scale).toFixed(3)}%" title="${title}"></i>`
      );
    });
    const line = shown(budget) && html`<u style="left:${(budget! * scale).toFixed(3)}%"></u>`;
    return html`<div class="memory-row"><span>${runName(label)}</span><b>${formatBytes(memory.peak)}</b><div class="stack" aria-hidden="true">${parts}${line}</div></div>\n`;
  });
  const sizes = table(
    [{ title: 'for' }, ...bars.map(({ label }) => ({ title: runName(label), number: true }))],
    MEMORY_PURPOSES.map((purpose, i) => [
      html`<i class="run s${i}"></i> ${PURPOSE_TITLES[purpose]}`,
      ...bars.map(({ memory }) => formatBytes(memory.by_purpose[purpose])),
    ]),
    'GPU memory by purpose',
  );
  return html`<div class="memory">${rows}</div><div class="sizes">${sizes}</div>`;
}

const longest = (bars: readonly MemoryBar[]): number =>
  Math.max(...bars.map(({ memory }) => Math.max(memory.peak, partsOf(memory))));

/** A budget far above what was used would make the bars too short to read. */
const isInReach = (budget: number, bars: readonly MemoryBar[]): boolean => budget <= 3 * longest(bars);

const partsOf = ({ by_purpose: parts }: MemoryPeak): number =>
  MEMORY_PURPOSES.reduce((sum, purpose) => sum + parts[purpose], 0);

const MOST_POINTS = 20;

function memoryTable({ memory: { planned, points } }: RunRecord): Html {
  const cells = ({ peak, by_purpose: parts }: MemoryPeak) => [
    formatBytes(peak),
    ...MEMORY_PURPOSES.map((purpose) => formatBytes(parts[purpose])),
  ];
  const left = points.length - MOST_POINTS;
  return table(
    [
      { title: 'step', number: true },
      { title: 'peak', number: true },
      ...MEMORY_PURPOSES.map((purpose) => ({ title: PURPOSE_TITLES[purpose], number: true })),
    ],
    [
      ['planned', ...cells(planned)],
      ...points.slice(-MOST_POINTS).map((point) => [grouped(point.step), ...cells(point)]),
      ...(left > 0 ? [[`and ${left} earlier`]] : []),
    ],
    'GPU memory by step',
  );
}
