/**
 * `npm run flags-page`: docs/flags.md, every flag of every command, from the tables that the commands themselves parse
 * their words with. A test compares the page that is committed with this one.
 */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { suites } from '../bench/suites.js';
import { commands } from '../src/cli/commands.js';
import { defaultWords, spelled, usageLine } from '../src/flag-help.js';
import { configFlag, type Flag, type FlagTable, type ForeignFlag } from '../src/flags.js';
import { embedderAliases, foreignEmbedderFlags } from '../src/retrieval/embedder/arguments.js';
import { foreignRerankerFlags } from '../src/retrieval/score/arguments.js';
import {
  embedderNames,
  foreignTrainingArguments,
  olderTrainingArgumentAliases,
  olderTrainingArguments,
  trainingArgumentAliases,
} from '../src/train/training-arguments-names.js';

const HEAD = `# Every flag

Written by \`npm run flags-page\` from the tables that the commands parse their words with; do not edit by hand.
\`dawntune COMMAND --help-all\` prints the same, \`--help\` what most calls need.

- \`--flag_name\` and \`--flag-name\` are one flag; a value stands behind a space or a \`=\`.
- \`[True|False]\`: \`--flag\` alone means \`--flag True\`; where True is the default, \`--no_flag\` is \`--flag False\`.
- A flag that is not here is an error that names the nearest one. Where a flag is given twice the last counts, with a line.
- \`--config run.yaml\`, of every command, gives flags by a file: \`learning_rate: 1e-5\`, \`train_data: [a.jsonl, b.jsonl]\`,
  \`fp16: true\`. A value means what the same word means on the command line, which goes before the file; paths are
  relative to where the command is typed. YAML is 1.2: \`save_strategy: no\` is a text, not False.
- Sizes are \`12GB\`, \`800MB\` or, in powers of two, \`800MiB\`.
- Every command takes \`--config FILE\`: ${configFlag.config.help}.
`;

/** Text as a cell of a Markdown table: a bar would end the cell, in code too. */
const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', '\\n').replaceAll('<', '&lt;');

const code = (text: string) => (text === '' ? '' : `\`${text}\``);

function rows(flags: readonly [string, Flag<unknown>][]): string[] {
  return flags.map(([name, flag]) => {
    const fallback = flag.fallback === undefined ? 'required' : code(defaultWords(flag));
    return `| ${cell(code(spelled(name, flag)))} | ${cell(fallback)} | ${cell(flag.help)} |`;
  });
}

/** The flags of a table under the headings of their groups, then those that are accepted and change nothing. */
function sections(table: FlagTable): string[] {
  const all = Object.entries(table);
  const working = all.filter(([, { inert }]) => inert === undefined);
  const titles = [...new Set(working.map(([, { group }]) => group))];
  const lines = titles.flatMap((title) => [
    '',
    `**${title}**`,
    '',
    '| flag | default | what it does |',
    '| --- | --- | --- |',
    ...rows(working.filter(([, { group }]) => group === title)),
  ]);
  const idle = all.filter(([, { inert }]) => inert !== undefined);
  if (idle.length === 0) return lines;
  return [
    ...lines,
    '',
    '**Accepted, without effect**',
    '',
    '| flag | why |',
    '| --- | --- |',
    ...idle.map(([name, flag]) => `| ${cell(code(spelled(name, flag)))} | ${cell(flag.inert!)} |`),
  ];
}

/** Names of other programs: what is refused, and what passes with a line; those with one reason in one row. */
function foreignRows(flags: Readonly<Record<string, ForeignFlag>>): string[] {
  const byReason = new Map<string, string[]>();
  for (const [name, { reason, refused, holds }] of Object.entries(flags)) {
    const key = `${refused ? 'refused' : 'no effect'} | ${cell(reason)}`;
    const values = holds.map((value) => (value === '' ? 'the empty text' : code(value)));
    const free = values.length === 0 ? '' : ` (but ${values.join(', ')})`;
    byReason.set(key, [...(byReason.get(key) ?? []), `\`--${name}\`${cell(free)}`]);
  }
  return [...byReason].map(([key, names]) => `| ${names.join(', ')} | ${key} |`);
}

const aliasRows = (aliases: Readonly<Record<string, string>>) =>
  Object.entries(aliases).map(([name, meant]) => `| \`--${name}\` | \`--${meant}\` |`);

const foreignTable = ['| flag | what happens | why |', '| --- | --- | --- |'];
const aliasTable = ['| name | is |', '| --- | --- |'];

/** Suites of one table of flags share a section. */
function suiteSections(): string[] {
  const tables = [...new Set(suites.map(({ flags }) => flags))];
  return tables.flatMap((table) => {
    const sharing = suites.filter(({ flags }) => flags === table);
    const summaries = sharing.map(({ name, summary }) => `- \`bench ${name}\`: ${summary}`);
    return [
      '',
      `### bench ${sharing.map(({ name }) => name).join(', ')}`,
      '',
      ...summaries,
      ...sections(table),
    ];
  });
}

/** The whole page. */
export async function flagsPage(): Promise<string> {
  const lines = [HEAD.trimEnd(), ''];
  for (const [name, { summary }] of commands) lines.push(`- [${name}](#${name}): ${summary}`);
  lines.push('- [names of other programs](#names-of-other-programs)');
  for (const [name, { summary, positionals, flags, ownHelp }] of commands) {
    const table = await flags();
    const words = ['dawntune', name, ...(positionals ? [positionals] : [])].join(' ');
    lines.push('', `## ${name}`, '', `\`${usageLine(words, table)}\`: ${summary}`);
    lines.push(...(ownHelp ? suiteSections() : sections(table)));
  }
  lines.push(
    ...['', '## Names of other programs', '', '### Of FlagEmbedding’s scripts', ''],
    ...['For `encode`, `evaluate`, `mine` and `score`:', '', ...aliasTable, ...aliasRows(embedderAliases)],
    ...['', ...foreignTable, ...foreignRows({ ...foreignEmbedderFlags, ...foreignRerankerFlags })],
    ...['', '### Of Hugging Face’s TrainingArguments', ''],
    'For `finetune`. A value in brackets says what happens here anyway and passes without a word, as `None` does.',
    ...['', ...aliasTable],
    ...aliasRows({ ...trainingArgumentAliases, ...olderTrainingArgumentAliases, ...embedderNames }),
    ...['', ...foreignTable, ...foreignRows({ ...foreignTrainingArguments, ...olderTrainingArguments })],
  );
  return `${lines.join('\n')}\n`;
}

/** Where the page lies. */
export const flagsPageFile = path.join(
  path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..'),
  'docs',
  'flags.md',
);

if (process.argv[1] === fileURLToPath(import.meta.url)) fs.writeFileSync(flagsPageFile, await flagsPage());
