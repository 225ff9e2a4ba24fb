/** Runs the same steps on several ranks: threads of this process, a device each. */
import { fileURLToPath } from 'node:url';
import { InputError, MachineError } from '../../src/errors.js';
import type { FlagValues } from '../../src/flags.js';
import { visibleAdapters } from '../../src/gpu/adapter-list.js';
import { chooseRanks } from '../../src/train/ranks/choose-ranks.js';
import { RankThreads } from '../../src/train/ranks/rank-threads.js';
import { silentReporter } from '../../src/train/report.js';
import type { stepFlags } from '../options.js';
import { presetConfig, stepSettings } from '../presets.js';
import { quantile } from '../report/statistics.js';
import type { BenchedStep } from '../training-run.js';
import type { RankSteps, StepsTask } from './rank-steps.js';

/** The first rows of FlagEmbedding's example file of Natural Questions, with 7 negatives each. */
export const EXAMPLE_ROWS = fileURLToPath(new URL('../../../assets/bench/nq.jsonl', import.meta.url));

/** What of the flags of `bench step` ranks need to know; `steps`: all that are taken. */
export function stepsTask(
  options: Omit<FlagValues<typeof stepFlags>, 'nprocPerNode' | 'compare' | 'maxSlowdown' | 'json' | 'csv'>,
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

/**
 * What each rank comes to, in rank order. `note` hears what rank 0 says.
 * @throws MachineError where ranks of one process cannot each have an adapter; RankError of a rank that fails.
 */
export async function stepsOfRanks(
  size: number,
  task: Omit<StepsTask, 'adapters'>,
  adapter: string | null,
  note: (line: string) => void,
): Promise<RankSteps[]> {
  const { launcher, adapters } = chooseRanks(await visibleAdapters(), { ranks: size, adapter });
  if (launcher !== 'threads')
    throw new MachineError(
      `${size} ranks need a process each here, because several of their cards have one name; bench runs ranks as threads`,
    );
  const data: StepsTask = { ...task, adapters: adapters.map(({ name }) => name) };
  const threads = new RankThreads<RankSteps>({
    ...{ size, data, module: new URL('./rank-steps.js', import.meta.url) },
    report: { ...silentReporter, note },
  });
  return threads.results();
}

/** What several ranks did together. */
export interface JointSteps {
  /** By step: as long as the slowest rank took; the CPU's seconds of the process, tokens of all ranks. */
  readonly steps: readonly BenchedStep[];
  /** Of the gradients, by rank 0: bytes sent and milliseconds of a step, and the share of those hidden behind backward. */
  readonly exchange: {
    readonly sentBytes: number;
    readonly milliseconds: number;
    readonly hiddenShare: number;
  };
}

/** @param timed the first step that counts. */
export function jointSteps(ranks: readonly RankSteps[], timed: number): JointSteps {
  const [first] = ranks;
  const steps = first!.steps.map((step, n) => ({
    ...step,
    seconds: Math.max(...ranks.map(({ steps }) => steps[n]!.seconds)),
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
    if (given.has('reduce_dtype'))
      throw new InputError('--reduce_dtype has no meaning with one rank, which exchanges nothing');
    return;
  }
  if (options.profile !== null)
    throw new InputError(`--profile: expected one rank, found --nproc_per_node ${size}`);
  if (options.tune === 'full')
    throw new InputError(
      `--tune full: expected one rank, found --nproc_per_node ${size}; tune before, with bench tune`,
    );
}
