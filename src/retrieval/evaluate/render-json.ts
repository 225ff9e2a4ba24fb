/** Results as JSON: a report with everything, and FlagEmbedding's `eval_results.json` of one system. */
import { metricName } from './metrics.js';
import type { Comparison, EvaluationReport, GroupResult, System, SystemResult } from './results.js';
import { significanceNote } from './results.js';

/** As FlagEmbedding rounds. */
const rounded = (value: number) => Math.round(value * 1e5) / 1e5;

function named(report: EvaluationReport, values: Float64Array): Record<string, number> {
  return Object.fromEntries(report.computed.map((metric, m) => [metricName(metric), rounded(values[m]!)]));
}

/** `{ split: { metric: mean } }`, the content of `eval_results.json`. */
export function flagEmbeddingResults(report: EvaluationReport, system: System): Record<string, unknown> {
  return Object.fromEntries(
    report.tasks.flatMap(({ name, systems }) =>
      systems.filter((each) => each.system === system).map(({ means }) => [name, named(report, means)]),
    ),
  );
}

export function renderJson(report: EvaluationReport): string {
  const note = significanceNote(report);
  const value = {
    title: report.title,
    metrics: report.metrics.map(metricName),
    averaged: report.complete
      ? 'all judged queries'
      : 'answered queries; mrr and recall_cap over all judged ones',
    notes: report.notes,
    tasks: report.tasks.map(({ name, documents, queries, systems, comparisons }) => ({
      ...{ name, documents, queries },
      systems: systems.map((system) => systemJson(report, system)),
      ...(comparisons.length > 0 ? { comparisons: comparisons.map(comparisonJson) } : {}),
    })),
    ...(note === undefined ? {} : { significance: note }),
  };
  return `${JSON.stringify(value, null, 2)}\n`;
}

function systemJson(report: EvaluationReport, { system, evaluation, means, groups }: SystemResult) {
  return {
    ...system,
    queries: evaluation.queries.length,
    unanswered: evaluation.unanswered,
    metrics: named(report, means),
    ...(groups.length > 0 ? { groups: groups.map((group) => groupJson(report, group)) } : {}),
    per_query: Object.fromEntries(
      evaluation.queries.map((query, q) => [
        query,
        Object.fromEntries(
          report.metrics.map((metric) => {
            const m = report.computed.findIndex(({ kind, k }) => kind === metric.kind && k === metric.k);
            return [metricName(metric), rounded(evaluation.values[m]![q]!)];
          }),
        ),
      ]),
    ),
  };
}

function groupJson(report: EvaluationReport, { group, queries, means }: GroupResult) {
  return { group, queries, metrics: named(report, means) };
}

function comparisonJson({ metric, a, b, meanA, meanB, test }: Comparison) {
  return {
    metric: metricName(metric),
    ...{ a, b, mean_a: rounded(meanA), mean_b: rounded(meanB), difference: rounded(test.difference) },
    ...{ queries: test.pairs, different: test.different },
    ...{ p_randomisation: test.randomisation, exact: test.exact, p_t: test.t },
  };
}
