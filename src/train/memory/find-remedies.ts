/**
 * What a run whose memory does not suffice could do instead: each way is planned as the run itself was (run-memory.ts), with
 * the same batches as far as the way leaves them, so that its figure is what the run would take then. Ways that change no
 * result come first, and of each kind the smallest change that fits.
 */
import type { TrainingData } from '../../data/batches.js';
import type { LongestBatch } from '../../data/longest.js';
import { MachineError } from '../../errors.js';
import type { PlannedDevice } from '../../gpu/gpu.js';
import type { FinetuneArguments } from '../arguments.js';
import type { RunPlan } from '../run/plan.js';
import type { Remedy } from './remedies.js';
import { type PlannedRun, planRunMemory, type RunBatches } from './run-memory.js';

/** Other values of some flags. */
interface Way {
  /** Several changes: of interest only where one is not enough. */
  readonly joined?: boolean;
  readonly flags: string;
  readonly changes: Partial<FinetuneArguments>;
  /** Batches in place of one: a step stays as many rows. */
  readonly parts?: number;
}

export interface RemedyOptions {
  readonly plan: RunPlan;
  readonly data: TrainingData;
  readonly known: RunBatches;
  readonly budget: number;
  readonly planned: (plan: RunPlan) => PlannedRun;
}

/** Shorter texts than that are hardly worth training on. */
const SHORTEST = 32;

/** Each way that is open to the run, with what it would take. */
export async function remediesOf(like: PlannedDevice, options: RemedyOptions): Promise<Remedy[]> {
  const { plan, data, known, budget } = options;
  const bytesOf = async ({ changes, parts = 1 }: Way): Promise<number | null> => {
    const changed = plan.with(changes, plan.batchesPerEpoch * parts);
    const batches = { ...known, longest: cutFor(known.longest, changed.args, data) };
    try {
      const run = { ...options.planned(changed), known: batches };
      return (await planRunMemory(like, run, budget, () => {})).peak;
    } catch (error) {
      if (error instanceof MachineError) return null;
      throw error;
    }
  };
  const remedies: Remedy[] = [];
  for (const [sameResults, kinds] of [
    [true, gentleWays(plan, known)],
    [false, otherWays(plan, known)],
  ] as const)
    for (const ways of kinds) {
      if (ways.length === 0) continue;
      const enough = remedies.some((each) => each.sameResults === sameResults && each.fits);
      if (ways[0]!.joined && enough) continue;
      const { way, bytes } = await firstThatFits(ways, bytesOf, budget);
      remedies.push({ flags: way.flags, sameResults, bytes, fits: fits(bytes, budget) });
    }
  return remedies;
}

const fits = (bytes: number | null, budget: number) => bytes !== null && bytes <= budget;

/** Of ways each of which takes less than the one before: the first that fits, or the last. */
async function firstThatFits(
  ways: readonly Way[],
  bytesOf: (way: Way) => Promise<number | null>,
  budget: number,
): Promise<{ way: Way; bytes: number | null }> {
  let high = ways.length - 1;
  let best = { way: ways[high]!, bytes: await bytesOf(ways[high]!) };
  if (!fits(best.bytes, budget)) return best;
  for (let low = 0; low < high; ) {
    const middle = (low + high) >> 1;
    const bytes = await bytesOf(ways[middle]!);
    if (fits(bytes, budget)) {
      high = middle;
      best = { way: ways[middle]!, bytes };
    } else low = middle + 1;
  }
  return best;
}

/** What computes the same in more time, kind by kind. */
function gentleWays({ args, worldSize }: RunPlan, known: RunBatches): readonly (readonly Way[])[] {
  const again: Way = { flags: '--gradient_checkpointing', changes: { gradientCheckpointing: true } };
  const shard: Way = { flags: '--shard_optimizer', changes: { shardOptimizer: true } };
  const chunks = smallerChunks(args, known);
  return [
    args.gradientCheckpointing ? [] : [again],
    chunks,
    args.gradientCheckpointing ? [] : chunks.map((each) => both(again, each)),
    worldSize === 1 || args.shardOptimizer ? [] : [shard],
    worldSize === 1 || args.shardOptimizer
      ? []
      : chunks.map((each) => both(shard, args.gradientCheckpointing ? each : both(again, each))),
  ];
}

/** And what trains another model: kind by kind. */
function otherWays(plan: RunPlan, known: RunBatches): readonly (readonly Way[])[] {
  const { args } = plan;
  const half: Way = { flags: '--fp16', changes: { fp16: true, bf16: false } };
  const again: Way = { flags: '--gradient_checkpointing', changes: { gradientCheckpointing: true } };
  const offersHalf = plan.precision !== 'f16' && !plan.precisionIsGiven;
  const base = args.gradientCheckpointing ? half : both(half, again);
  const shorter = (longest: number) =>
    halvings(longest, SHORTEST).map((length) => ({
      flags: `--passage_max_len ${length}${args.queryMaxLen > length ? ` --query_max_len ${length}` : ''}`,
      changes: { passageMaxLen: length, queryMaxLen: Math.min(args.queryMaxLen, length) },
    }));
  const { perDeviceTrainBatchSize: batch, gradientAccumulationSteps: window } = args;
  return [
    offersHalf ? [half] : [],
    offersHalf ? smallerChunks(args, known).map((each) => both(base, each)) : [],
    shorter(Math.min(args.passageMaxLen, longestPassage(known))),
    halvings(args.trainGroupSize, 2).map((size) => ({
      flags: `--train_group_size ${size}`,
      changes: { trainGroupSize: size },
    })),
    divisors(batch).map((parts) => ({
      flags: `--per_device_train_batch_size ${batch / parts} --gradient_accumulation_steps ${window * parts}`,
      changes: { perDeviceTrainBatchSize: batch / parts, gradientAccumulationSteps: window * parts },
      parts,
    })),
  ];
}

const both = (a: Way, b: Way): Way => ({
  joined: true,
  flags: `${a.flags} ${b.flags}`,
  changes: { ...a.changes, ...b.changes },
});

/** Powers of two below what is encoded with a graph at a time now. */
function smallerChunks({ subBatchSize }: FinetuneArguments, { longest }: RunBatches): Way[] {
  const texts = Math.max(
    1,
    ...[...longest.values()].flat().map(({ queries, passages }) => queries.length + passages.length),
  );
  const sizes: Way[] = [];
  for (let size = 1; size < Math.min(texts, subBatchSize ?? texts); size *= 2)
    sizes.unshift({ flags: `--sub_batch_size ${size}`, changes: { subBatchSize: size } });
  return sizes;
}

const longestPassage = ({ longest }: RunBatches): number =>
  Math.max(0, ...[...longest.values()].flat().map(({ passages }) => passages[0] ?? 0));

/** Numbers below `from` down to `least`, each half of the one before. */
function halvings(from: number, least: number): number[] {
  const values: number[] = [];
  for (let value = from / 2; value >= least; value /= 2) values.push(Math.floor(value));
  return values;
}

/** Numbers above 1 by which `count` divides, in ascending order. */
function divisors(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; n <= count; n++) if (count % n === 0) found.push(n);
  return found;
}

/** The batches that are left where the flags cut more: no batch of the data is longer than these are then. */
function cutFor(
  batches: RunBatches['longest'],
  args: FinetuneArguments,
  data: TrainingData,
): RunBatches['longest'] {
  const cut = (batch: LongestBatch): LongestBatch => {
    const dataset = data.datasets.find(({ name }) => name === batch.dataset);
    const most = dataset?.batchSizeAt(args.perDeviceTrainBatchSize) ?? batch.queries.length;
    const queries = batch.queries.slice(0, most);
    const groupSize = Math.min(batch.groupSize, args.trainGroupSize);
    const within = (limit: number) => (tokens: number) => Math.min(tokens, limit);
    return {
      ...{ ...batch, groupSize },
      queries: queries.map(within(args.queryMaxLen)),
      passages: batch.passages.slice(0, queries.length * groupSize).map(within(args.passageMaxLen)),
    };
  };
  return new Map([...batches].map(([name, longest]) => [name, longest.map(cut)]));
}
