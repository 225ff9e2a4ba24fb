/**
 * Where a handful of queries of `--eval_data` find their passages, before training and after: the queries of its first
 * batch, each ranked among all passages of the batch (its own alone, where in-batch negatives are off). One forward pass
 * each time, without dropout, which leaves training as it is.
 */
import type { TrainBatch, TrainingData } from '../../data/batches.js';
import type { RankedExample, RankingSummary, Ranks, RetrievalExamples } from '../../run-record/record.js';
import type { TrainingRun } from '../run/run.js';
import type { RunBatch } from '../run/step.js';

const EXAMPLES = 8;
/** Of a text that is longer. */
const SHOWN_CHARACTERS = 300;

interface Ranking {
  readonly summary: RankingSummary;
  /** Of each example. */
  readonly examples: readonly RankedExample[];
}

export class RetrievalBeforeAndAfter {
  private before: Ranking | null = null;
  private after: Ranking | null = null;

  private constructor(
    private readonly batch: TrainBatch,
    private readonly prepare: (batch: TrainBatch) => Promise<RunBatch>,
  ) {}

  /** Undefined where the data has no batch. */
  static of(
    data: TrainingData,
    prepare: (batch: TrainBatch) => Promise<RunBatch>,
  ): RetrievalBeforeAndAfter | undefined {
    const batch = data.epoch(0).next().value;
    return batch ? new RetrievalBeforeAndAfter(batch, prepare) : undefined;
  }

  async rankBefore(run: TrainingRun): Promise<void> {
    this.before = await this.rank(run);
  }

  async rankAfter(run: TrainingRun): Promise<void> {
    this.after = await this.rank(run);
  }

  /** What an earlier process found before the first step. */
  restoreBefore({ before, examples }: RetrievalExamples): void {
    const own = examples.flatMap((example) => example.before ?? []);
    if (before && own.length === this.shown.length) this.before = { summary: before, examples: own };
  }

  result(): RetrievalExamples {
    const { batch, before, after } = this;
    return {
      passages: batch.noInBatchNeg ? batch.groupSize : batch.passages.length,
      before: before?.summary ?? null,
      after: after?.summary ?? null,
      examples: this.shown.map((query, n) => ({
        query: shortened(batch.queries[query]!),
        positive: shortened(batch.passages[query * batch.groupSize]!),
        before: before?.examples[n] ?? null,
        after: after?.examples[n] ?? null,
      })),
    };
  }

  /** Queries that are told one by one, spread over the batch. */
  private get shown(): number[] {
    const { length } = this.batch.queries;
    const count = Math.min(EXAMPLES, length);
    return Array.from({ length: count }, (_, n) => Math.floor((n * length) / count));
  }

  private async rank(run: TrainingRun): Promise<Ranking> {
    const { batch } = this;
    const { queries, groupSize, noInBatchNeg, passages } = batch;
    const scores = await run.scoresOf(await this.prepare(batch));
    const columns = noInBatchNeg ? groupSize : passages.length;
    const positiveOf = (query: number) => (noInBatchNeg ? 0 : query * groupSize);
    const names = [...scores.keys()];
    const ranksOf = (query: number): Ranks =>
      Object.fromEntries(
        names.flatMap((name) => {
          const row = scores.get(name)!.subarray(query * columns, (query + 1) * columns);
          const own = row[positiveOf(query)]!;
          // Of what is not finite there is no rank.
          return row.every(Number.isFinite) ? [[name, 1 + row.filter((score) => score > own).length]] : [];
        }),
      );
    const all = queries.map((_, query) => ranksOf(query));
    const mean = (of: (rank: number) => number): Ranks =>
      Object.fromEntries(
        names.flatMap((name) => {
          const values = all.flatMap((ranks) => (ranks[name] === undefined ? [] : of(ranks[name])));
          if (values.length < all.length) return [];
          return [[name, Number((values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(4))]];
        }),
      );
    const last = scores.get(names.at(-1)!)!;
    const firstOf = (query: number): string | null => {
      const row = last.subarray(query * columns, (query + 1) * columns);
      const best = row.reduce((most, score, n) => (score > row[most]! ? n : most), positiveOf(query));
      return best === positiveOf(query)
        ? null
        : shortened(passages[noInBatchNeg ? query * groupSize + best : best]!);
    };
    return {
      summary: {
        step: run.completed,
        queries: queries.length,
        first: mean((rank) => Number(rank === 1)),
        mrr: mean((rank) => 1 / rank),
      },
      examples: this.shown.map((query) => ({ ranks: all[query]!, first: firstOf(query) })),
    };
  }
}

function shortened(text: string): string {
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS).toWellFormed()} …` : text;
}
