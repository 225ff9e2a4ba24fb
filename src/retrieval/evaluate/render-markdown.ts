/** Results as Markdown: means times 100 as FlagEmbedding shows them, the best of a column in bold. */
import { type Metric, metricName } from './metrics.js';
import {
  type EvaluationReport,
  meanOf,
  type SystemResult,
  significanceNote,
  type TaskResult,
} from './results.js';

export function renderMarkdown(report: EvaluationReport): string {
  const parts = [`# ${cell(report.title)}`];
  for (const task of report.tasks) parts.push(taskPart(report, task));
  if (report.tasks.length > 1) for (const metric of report.metrics) parts.push(averagePart(report, metric));
  const note = significanceNote(report);
  const notes = [...report.notes, ...(note === undefined ? [] : [note])];
  if (notes.length > 0) parts.push(notes.map((line) => `- ${cell(line)}`).join('\n'));
  return `${parts.join('\n\n')}\n`;
}

function taskPart(report: EvaluationReport, task: TaskResult): string {
  const { name, queries, documents, systems } = task;
  const rows = systems.map((system) => report.metrics.map((metric) => meanOf(report, system, metric)));
  const parts = [
    `## ${cell(name)}: ${queries} queries${documents === undefined ? '' : `, ${documents} documents`}`,
    table(['Model', 'Mode', 'Reranker', ...report.metrics.map(metricName)], 3, systems.map(names), rows),
  ];
  const first = report.metrics[0];
  const groups = systems[0]?.groups ?? [];
  if (first && groups.length > 0)
    parts.push(
      `### ${metricName(first)} by group`,
      table(
        ['Model', 'Mode', 'Reranker', ...groups.map(({ group, queries }) => `${group} (${queries})`)],
        3,
        systems.map(names),
        systems.map((system) =>
          groups.map(({ group }) => {
            const found = system.groups.find((each) => each.group === group);
            return found && meanOf(report, found, first);
          }),
        ),
      ),
    );
  if (task.comparisons.length > 0)
    parts.push(
      '### Compared, query by query',
      [
        '| Metric | A | B | A | B | B − A | p | p (t) | Queries (different) |',
        '| :--- | :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: |',
        ...task.comparisons.map(({ metric, a, b, meanA, meanB, test }) =>
          row([
            ...[metricName(metric), shortName(a), shortName(b), percent(meanA), percent(meanB)],
            ...[signed(test.difference), pValue(test.randomisation), test.t === null ? '–' : pValue(test.t)],
            `${test.pairs} (${test.different})`,
          ]),
        ),
      ].join('\n'),
    );
  return parts.join('\n\n');
}

/** One metric over all tasks, as FlagEmbedding's report. */
function averagePart(report: EvaluationReport, metric: Metric): string {
  const systems = report.tasks[0]!.systems;
  const rows = systems.map((_, s) => {
    const values = report.tasks.map(({ systems }) => meanOf(report, systems[s]!, metric));
    return [values.reduce((sum, value) => sum + value, 0) / values.length, ...values];
  });
  return [
    `## ${metricName(metric)}`,
    table(
      ['Model', 'Mode', 'Reranker', 'average', ...report.tasks.map(({ name }) => name)],
      3,
      systems.map(names),
      rows,
    ),
  ].join('\n\n');
}

const names = ({ system: { model, mode, reranker } }: SystemResult) => [model, mode, reranker];

export const shortName = ({ model, mode }: { readonly model: string; readonly mode: string }) =>
  `${model} ${mode}`;

export const percent = (value: number) => (value * 100).toFixed(3);

export const signed = (value: number) => `${value < 0 ? '−' : '+'}${percent(Math.abs(value))}`;

export const pValue = (p: number) => (p < 0.0001 ? '< 0.0001' : p.toFixed(4));

/** Text within a table: what Markdown would read as its end or as markup is escaped. */
const cell = (text: string) => text.replace(/[|\\`*<>[\]]/g, '\\$&').replace(/\s+/g, ' ');

const row = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;

function table(
  headers: readonly string[],
  texts: number,
  names: readonly (readonly string[])[],
  rows: readonly (readonly (number | undefined)[])[],
): string {
  const best = rows[0]!.map((_, c) =>
    Math.max(...rows.map((values) => values[c] ?? Number.NEGATIVE_INFINITY)),
  );
  return [
    row(headers),
    `| ${headers.map((_, c) => (c < texts ? ':---' : '---:')).join(' | ')} |`,
    ...rows.map((values, r) => {
      const shown = values.map((value, c) =>
        value === undefined
          ? '–'
          : rows.length > 1 && value === best[c]
            ? `**${percent(value)}**`
            : percent(value),
      );
      return `| ${[...names[r]!.map(cell), ...shown].join(' | ')} |`;
    }),
  ].join('\n');
}
