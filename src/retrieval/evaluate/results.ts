/** What an evaluation found: the means of each system on each task, by group of queries, and systems compared query by query. */
import type { EvaluationQuery } from './datasets.js';
import { type Evaluation, evaluateRun, type Metric, means } from './metrics.js';
import type { Qrels, Run } from './ranking.js';
import { type PairedTest, type PairedTestOptions, pairedTest } from './significance.js';

/** What ranked: a model in one of its modes, a model and its reranker, or a file of a run. */
export interface System {
  readonly model: string;
  /** `dense`, `hybrid`, …, or `run`. */
  readonly mode: string;
  /** `NoReranker` as FlagEmbedding has it, or the name of one. */
  readonly reranker: string;
}

export interface GroupResult {
  readonly group: string;
  readonly queries: number;
  readonly means: Float64Array;
}

export interface SystemResult {
  readonly system: System;
  readonly evaluation: Evaluation;
  readonly means: Float64Array;
  /** By label, those without one last; empty where all queries have the same. */
  readonly groups: readonly GroupResult[];
}

export interface Comparison {
  readonly metric: Metric;
  readonly a: System;
  readonly b: System;
  /** Over the queries that both answer. */
  readonly meanA: number;
  readonly meanB: number;
  readonly test: PairedTest;
  /** b − a of each query, in descending order. */
  readonly differences: Float64Array;
}

export interface TaskResult {
  /** `test`, or `dataset-test`. */
  readonly name: string;
  /** Undefined where a run was evaluated without its corpus. */
  readonly documents: number | undefined;
  readonly queries: number;
  readonly systems: readonly SystemResult[];
  readonly comparisons: readonly Comparison[];
}

export interface TaskInput {
  readonly name: string;
  readonly documents: number | undefined;
  readonly qrels: Qrels;
  readonly queries: readonly EvaluationQuery[];
}

export interface ResultOptions extends PairedTestOptions {
  /** All that are computed. */
  readonly metrics: readonly Metric[];
  /** Those that systems are compared by. */
  readonly compared: readonly Metric[];
  /** All means are over all judged queries (trec_eval -c). */
  readonly complete: boolean;
}

/** Label of queries that have none. */
export const NO_GROUP = '(none)';

/** `pairs`: which systems are compared, by their place in `runs`. */
export function taskResult(
  { name, documents, qrels, queries }: TaskInput,
  runs: readonly { readonly system: System; readonly run: Run }[],
  pairs: readonly (readonly [a: number, b: number])[],
  options: ResultOptions,
): TaskResult {
  const groupOf = new Map(queries.map(({ id, group }) => [id, group]));
  const systems = runs.map(({ system, run }): SystemResult => {
    const evaluation = evaluateRun(qrels, run, options.metrics);
    const groups = new Map<string | undefined, Set<number>>();
    evaluation.queries.forEach((query, q) => {
      const group = groupOf.get(query);
      const members = groups.get(group);
      if (members) members.add(q);
      else groups.set(group, new Set([q]));
    });
    const labels = [...groups.keys()].filter((group) => group !== undefined).sort();
    if (groups.has(undefined)) labels.push(undefined as never);
    return {
      system,
      evaluation,
      means: means(evaluation, options),
      groups:
        groups.size < 2
          ? []
          : labels.map((group) => ({
              group: group ?? NO_GROUP,
              queries: groups.get(group)!.size,
              means: means(evaluation, { ...options, members: groups.get(group) }),
            })),
    };
  });
  const comparisons = pairs.flatMap(([a, b]) =>
    options.compared.map((metric) => comparison(systems[a]!, systems[b]!, metric, options)),
  );
  return { name, documents, queries: queries.length, systems, comparisons };
}

function comparison(a: SystemResult, b: SystemResult, metric: Metric, options: ResultOptions): Comparison {
  const at = (of: SystemResult) => {
    const m = options.metrics.findIndex(({ kind, k }) => kind === metric.kind && k === metric.k);
    return new Map(of.evaluation.queries.map((query, q) => [query, of.evaluation.values[m]![q]!]));
  };
  const [ofA, ofB] = [at(a), at(b)];
  const both = [...ofA.keys()].filter((query) => ofB.has(query));
  const valuesA = both.map((query) => ofA.get(query)!);
  const valuesB = both.map((query) => ofB.get(query)!);
  const mean = (values: readonly number[]) =>
    values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
  return {
    ...{ metric, a: a.system, b: b.system, meanA: mean(valuesA), meanB: mean(valuesB) },
    test: pairedTest(valuesA, valuesB, options),
    differences: Float64Array.from(valuesB, (value, q) => value - valuesA[q]!)
      .sort()
      .reverse(),
  };
}

export interface EvaluationReport {
  readonly title: string;
  /** Those that tables show. */
  readonly metrics: readonly Metric[];
  /** All that were computed, in the order of the means. */
  readonly computed: readonly Metric[];
  readonly tasks: readonly TaskResult[];
  readonly permutations: number;
  readonly seed: number;
  readonly complete: boolean;
  /** One line each: how rankings were made, weights, what was left out. */
  readonly notes: readonly string[];
}

/** The mean of one metric of one system. */
export function meanOf(
  report: EvaluationReport,
  of: { readonly means: Float64Array },
  metric: Metric,
): number {
  return of.means[report.computed.findIndex(({ kind, k }) => kind === metric.kind && k === metric.k)]!;
}

/** FlagEmbedding's name for none. */
export const NO_RERANKER = 'NoReranker';

/** How p-values are to be read, in words. */
export function significanceNote({ permutations, seed, tasks }: EvaluationReport): string | undefined {
  const count = tasks.reduce((sum, { comparisons }) => sum + comparisons.length, 0);
  if (count === 0) return undefined;
  const many =
    count === 1
      ? ''
      : ` They are not corrected for the ${count} comparisons here: to hold all of them at 0.05 together, call significant what is below ${(0.05 / count).toPrecision(2)} (Bonferroni).`;
  return `p is two-sided, of a paired randomisation test over the queries (all assignments of signs where there are at most ${permutations}, else ${permutations} drawn with seed ${seed}), and of a paired t-test beside it.${many}`;
}
