/** Runs the same steps on several ranks: threads of this process or processes under mpirun, a device each. */
import { fileURLToPath } from 'node:url';
import { silentReporter } from '../../src/console/reporter.js';
import { InputError } from '../../src/errors.js';
import type { FlagValues } from '../../src/flags.js';
import { visibleAdapters } from '../../src/gpu/adapter-list.js';
import { noAdapterError } from '../../src/gpu/software-driver.js';
import { chooseRanks, type Launcher } from '../../src/ranks/choose-ranks.js';
import { RankThreads } from '../../src/ranks/rank-threads.js';
import { findMpirun, requireCardsAlone } from '../../src/ranks/self-start.js';
import type { stepFlags } from '../options.js';
import { presetConfig, stepSettings } from '../presets.js';
import { quantile } from '../report/statistics.js';
import type { BenchedStep } from '../training-run.js';
import type { RankSteps, StepsTask } from './rank-steps.js';
import { underMpirun } from './under-mpirun.js';

/** The first rows of FlagEmbedding's example file of Natural Questions, with 7 negatives each. */
export const EXAMPLE_ROWS = fileURLToPath(new URL('../../../assets/bench/nq.jsonl', import.meta.url));

/** What of the flags of `bench step` ranks need to know; `steps`: all that are taken. */
export function stepsTask(
  options: Omit<
    FlagValues<typeof stepFlags>,
    'nprocPerNode' | 'launcher' | 'compare' | 'maxSlowdown' | 'json' | 'csv'
  >,
): Omit<StepsTask, 'adapters'> {
  const { batch, group, queryMaxLen, passageMaxLen } = options;
  const config = presetConfig(options.model, options.layers ?? undefined);
  return {
    steps: {
      config,
      fp16: options.fp16,
      step: stepSettings(options.gradientCheckpointing, options.subBatchSize),
    },
    shape: { batch, group, queryMaxLen, passageMaxLen, vocab: config.vocabSize },
    data: options.fullLength ? null : (options.data ?? EXAMPLE_ROWS),
    ...{ count: options.steps, wire: options.reduceDtype, tune: options.tune === 'off' ? 'off' : 'cached' },
  };
}

export interface RankedResults {
  readonly carrier: 'threads' | 'processes';
  /** In rank order. */
  readonly ranks: readonly RankSteps[];
}

/**
 * What each rank comes to. `note` hears what rank 0 says.
 * @throws MachineError where ranks cannot each have an adapter, or need mpirun and there is none; RankError of a rank that
 *   fails.
 */
export async function stepsOfRanks(
  size: number,
  steps: Omit<StepsTask, 'adapters'>,
  { adapter, launcher: wanted }: { readonly adapter: string | null; readonly launcher: Launcher },
  note: (line: string) => void,
): Promise<RankedResults> {
  const visible = await visibleAdapters();
  if (visible.length === 0) throw noAdapterError();
  const { launcher, adapters } = chooseRanks(visible, { ranks: size, adapter, launcher: wanted });
  const task: StepsTask = { ...steps, adapters };
  if (launcher === 'mpirun') {
    requireCardsAlone(adapters);
    return { carrier: 'processes', ranks: await underMpirun(findMpirun(), size, { do: 'steps', task }) };
  }
  const threads = new RankThreads<RankSteps>({
    ...{ size, data: task, module: new URL('./rank-steps.js', import.meta.url) },
    report: { ...silentReporter, note },
  });
  return { carrier: 'threads', ranks: await threads.results() };
}

/** What several ranks did together. */
export interface JointSteps {
  /** By step: as long as the slowest rank took; seconds of the CPU and tokens of all ranks. */
  readonly steps: readonly BenchedStep[];
  /** Of the gradients, by rank 0: bytes sent and milliseconds of a step, and the share of those hidden behind backward. */
  readonly exchange: {
    readonly sentBytes: number;
    readonly milliseconds: number;
    readonly hiddenShare: number;
  };
}

/** @param timed the first step that counts. */
export function jointSteps({ ranks, carrier }: RankedResults, timed: number): JointSteps {
  const [first] = ranks;
  const steps = first!.steps.map((step, n) => ({
    ...step,
    seconds: Math.max(...ranks.map(({ steps }) => steps[n]!.seconds)),
    // Each thread is told those of the whole process.
    cpuSeconds:
      carrier === 'threads'
        ? step.cpuSeconds
        : ranks.reduce((sum, { steps }) => sum + steps[n]!.cpuSeconds, 0),
    tokens: ranks.reduce((sum, { steps }) => sum + steps[n]!.tokens, 0),
  }));
  const reductions = steps.slice(timed).map(({ reduction }) => reduction!);
  const median = (values: readonly number[]) =>
    quantile(
      [...values].sort((a, b) => a - b),
      0.5,
    );
  return {
    steps,
    exchange: {
      sentBytes: median(reductions.map(({ sent }) => sent)),
      milliseconds: median(reductions.map(({ exchanging }) => exchanging)),
      hiddenShare: median(reductions.map(({ hidden, exchanging }) => hidden / exchanging)),
    },
  };
}

/** @throws InputError for flags that one rank alone can take, or several. */
export function requireRankFlags(
  options: { readonly profile: string | null; readonly tune: string },
  given: ReadonlySet<string>,
  size: number,
): void {
  if (size === 1) {
    const unused = ['reduce_dtype', 'launcher'].find((name) => given.has(name));
    if (unused) throw new InputError(`--${unused} has no meaning with one rank`);
    return;
  }
  if (options.profile !== null)
    throw new InputError(`--profile: expected one rank, found --nproc_per_node ${size}`);
  if (options.tune === 'full')
    throw new InputError(
      `--tune full: expected one rank, found --nproc_per_node ${size}; tune before, with bench tune`,
    );
}
