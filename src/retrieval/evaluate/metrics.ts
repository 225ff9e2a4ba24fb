/**
 * Retrieval metrics by trec_eval's definitions. Of a query with R relevant documents (judged 1 or more; what is not judged is not
 * relevant), rank i from 1, rel(i) its relevance, hits(k) the relevant ones among the first k:
 *   ndcg       Σ_{i≤k} gain(i)/log2(i+1), gain = rel(i) or 0 below 0, by the same sum of the best order (trec_eval: ndcg_cut)
 *   map        Σ_{i≤k, relevant} hits(i)/i, divided by R (map_cut)
 *   recall     hits(k)/R
 *   precision  hits(k)/k, however few were found (P)
 *   mrr        1/rank of the first relevant one within k, else 0 (recip_rank)
 *   recall_cap hits(k)/min(R, k) (BEIR)
 * Names are FlagEmbedding's, `ndcg_at_10`; without a cut-off, `ndcg`, `map` and `mrr` are of the whole ranking.
 */
import { ShapeError } from '../../errors.js';
import { type Hit, type Qrels, type Run, trecOrder } from './ranking.js';

export const metricKinds = ['ndcg', 'map', 'recall', 'precision', 'mrr', 'recall_cap'] as const;
export type MetricKind = (typeof metricKinds)[number];

/** Those that mean something of a whole ranking. */
const UNCUT: ReadonlySet<string> = new Set<MetricKind>(['ndcg', 'map', 'mrr']);

/** A metric at a cutoff, e.g. nDCG@10. */
export interface Metric {
  /** What is measured. */
  readonly kind: MetricKind;
  /** Infinity: the whole ranking. */
  readonly k: number;
}

/** FlagEmbedding divides their sums by the number of judged queries, not of those that have an answer. */
const OVER_ALL: ReadonlySet<MetricKind> = new Set<MetricKind>(['mrr', 'recall_cap']);

/** As it is written: `nDCG@10`. */
export function metricName({ kind, k }: Metric): string {
  return k === Number.POSITIVE_INFINITY ? kind : `${kind}_at_${k}`;
}

/** `ndcg_at_10`, `ndcg@10`, `mrr`; undefined where it is no metric. */
export function parseMetric(name: string): Metric | undefined {
  const match = /^([a-z_]+?)(?:(?:_at_|@)([1-9]\d{0,8}))?$/.exec(name.toLowerCase());
  const kind = metricKinds.find((each) => each === match?.[1]);
  if (!kind) return undefined;
  if (match![2] !== undefined) return { kind, k: Number(match![2]) };
  return UNCUT.has(kind) ? { kind, k: Number.POSITIVE_INFINITY } : undefined;
}

/** Every kind at every cut-off, kind by kind, as FlagEmbedding lists them. */
export function metricsAt(kValues: readonly number[]): Metric[] {
  return metricKinds.flatMap((kind) => kValues.map((k) => ({ kind, k })));
}

/** The metrics of one query; all 0 where it has no relevant document, as trec_eval has it. */
export function queryMetrics(
  judged: ReadonlyMap<string, number>,
  hits: readonly Hit[],
  metrics: readonly Metric[],
): Float64Array {
  const gains = [...judged.values()].filter((relevance) => relevance > 0).sort((a, b) => b - a);
  const relevant = gains.length;
  const values = new Float64Array(metrics.length);
  if (relevant === 0) return values;
  const ranked = trecOrder(hits).map(({ doc }) => Math.max(0, judged.get(doc) ?? 0));
  // Of the first i documents: relevant ones, sum of precisions, discounted gain and the best there is.
  const found = new Float64Array(ranked.length + 1);
  const precisions = new Float64Array(ranked.length + 1);
  const gained = new Float64Array(ranked.length + 1);
  const best = new Float64Array(relevant + 1);
  let first = 0;
  ranked.forEach((gain, i) => {
    found[i + 1] = found[i]! + (gain > 0 ? 1 : 0);
    precisions[i + 1] = precisions[i]! + (gain > 0 ? found[i + 1]! / (i + 1) : 0);
    gained[i + 1] = gained[i]! + gain / Math.log2(i + 2);
    if (gain > 0) first ||= i + 1;
  });
  gains.forEach((gain, i) => {
    best[i + 1] = best[i]! + gain / Math.log2(i + 2);
  });
  metrics.forEach(({ kind, k }, m) => {
    const cut = Math.min(k, ranked.length);
    const of: Record<MetricKind, () => number> = {
      ndcg: () => gained[cut]! / best[Math.min(k, relevant)]!,
      map: () => precisions[cut]! / relevant,
      recall: () => found[cut]! / relevant,
      precision: () => found[cut]! / k,
      mrr: () => (first > 0 && first <= k ? 1 / first : 0),
      recall_cap: () => found[cut]! / Math.min(relevant, k),
    };
    values[m] = of[kind]();
  });
  return values;
}

/** What metrics say of a run. */
export interface Evaluation {
  /** In the order in which they were asked for. */
  readonly metrics: readonly Metric[];
  /** Judged queries that the run answers, in the order of the judgements. */
  readonly queries: readonly string[];
  /** Per metric, of each query. */
  readonly values: readonly Float64Array[];
  /** Judged queries that the run has no line for. */
  readonly unanswered: number;
}

/**
 * The metrics of every query that is judged and in the run; what else the run answers is left out.
 * @throws ShapeError for a score that is NaN, or a document that a query has twice.
 */
export function evaluateRun(qrels: Qrels, run: Run, metrics: readonly Metric[]): Evaluation {
  const queries = [...qrels.keys()].filter((query) => run.has(query));
  const values = metrics.map(() => new Float64Array(queries.length));
  queries.forEach((query, q) => {
    const hits = run.get(query)!;
    if (new Set(hits.map(({ doc }) => doc)).size < hits.length)
      throw new ShapeError('evaluateRun', `query ${query} has a document more than once`);
    queryMetrics(qrels.get(query)!, hits, metrics).forEach((value, m) => {
      values[m]![q] = value;
    });
  });
  return { metrics, queries, values, unanswered: qrels.size - queries.length };
}

/**
 * The mean of each metric. mrr and recall_cap are averaged over all judged queries, the others over those that the run
 * answers, as FlagEmbedding does; `complete`: all of them over all judged queries (trec_eval -c). 0 of no queries.
 */
export function means(
  { metrics, queries, values, unanswered }: Evaluation,
  {
    complete = false,
    members,
  }: {
    /** All metrics over all judged queries, as `trec_eval -c`. Default false. */
    complete?: boolean;
    /** Only these queries, by their places in `queries`. Default: all. */
    members?: ReadonlySet<number> | undefined;
  } = {},
): Float64Array {
  return Float64Array.from(metrics, ({ kind }, m) => {
    let sum = 0;
    for (let q = 0; q < queries.length; q++) if (!members || members.has(q)) sum += values[m]![q]!;
    const answered = members ? members.size : queries.length;
    const count = complete || OVER_ALL.has(kind) ? answered + (members ? 0 : unanswered) : answered;
    return count === 0 ? 0 : sum / count;
  });
}
