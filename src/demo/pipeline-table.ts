/** What the pipeline shows at its end: metrics of `dawntune evaluate`, by mode and language, before and after. */
import { type RetrievalMode, retrievalModes } from '../retrieval/evaluate/arguments.js';

/** nDCG@10 and recall@1 of one model in one mode. */
interface Measures {
  readonly ndcg: number;
  readonly recall: number;
  /** nDCG@10 by language. */
  readonly languages: Readonly<Record<string, number>>;
}

export interface Measured {
  readonly name: string;
  readonly modes: Readonly<Record<RetrievalMode, Measures>>;
}

interface Metrics {
  readonly ndcg_at_10: number;
  readonly recall_at_1: number;
}

/** Of the JSON that `evaluate` writes. */
interface Report {
  readonly tasks: readonly {
    readonly systems: readonly {
      readonly mode: RetrievalMode;
      readonly metrics: Metrics;
      readonly groups: readonly { readonly group: string; readonly metrics: Metrics }[];
    }[];
  }[];
}

export function measuredOf(name: string, { tasks: [task] }: Report): Measured {
  const modes = Object.fromEntries(
    task!.systems.map(({ mode, metrics, groups }) => [
      mode,
      {
        ...{ ndcg: metrics.ndcg_at_10, recall: metrics.recall_at_1 },
        languages: Object.fromEntries(groups.map(({ group, metrics }) => [group, metrics.ndcg_at_10])),
      },
    ]),
  ) as unknown as Measured['modes'];
  return { name, modes };
}

/** runs: of each seed the same models in the same order. Means over the seeds, and of several each seed's nDCG@10. */
export function renderPipeline(runs: readonly (readonly Measured[])[], seeds: readonly number[]): string {
  const models = runs[0]!.map(({ name }) => name);
  const mean = (m: number, of: (measured: Measured) => number) =>
    runs.reduce((sum, measured) => sum + of(measured[m]!), 0) / runs.length;
  const several = runs.length > 1 ? `, means of seeds ${seeds.join(', ')}` : '';
  const lines = [`nDCG@10 (recall@1) of held-out messages among 200${several}`];
  lines.push(
    row('', models),
    ...retrievalModes.map((mode) =>
      row(
        mode,
        models.map((_, m) => {
          const [ndcg, recall] = [
            mean(m, (each) => each.modes[mode].ndcg),
            mean(m, (each) => each.modes[mode].recall),
          ];
          return `${ndcg.toFixed(3)} (${recall.toFixed(3)})`;
        }),
      ),
    ),
  );
  for (const mode of retrievalModes) {
    lines.push('', `nDCG@10 by language, ${mode}`, row('', models));
    for (const language of Object.keys(runs[0]![0]!.modes[mode].languages))
      lines.push(
        row(
          language,
          models.map((_, m) => mean(m, (each) => each.modes[mode].languages[language]!).toFixed(3)),
        ),
      );
  }
  if (runs.length > 1) {
    lines.push('', 'nDCG@10 by seed', row('', models));
    for (const mode of retrievalModes)
      runs.forEach((measured, run) => {
        const name = `${mode}, ${seeds[run]}`;
        lines.push(
          row(
            name,
            measured.map(({ modes }) => modes[mode].ndcg.toFixed(3)),
          ),
        );
      });
  }
  return `${lines.join('\n')}\n`;
}

const row = (name: string, cells: readonly string[]) =>
  `${name.padEnd(14)}${cells.map((cell) => cell.padStart(16)).join('')}`;
