/** The ways in which ranks can share a step, and what each costs a rank. */
import { InputError } from '../../src/errors.js';
import type { FlagValues } from '../../src/flags.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import type { WireFormat } from '../../src/ranks/communicator.js';
import type { scalingFlags } from '../options.js';
import { fullBatch, lossBatch, presetConfig, runSettings, stepSettings } from '../presets.js';
import { plannedStep, type RankedStep } from './planned-steps.js';

export interface Way {
  readonly wire: WireFormat;
  /** What of the word embeddings' gradient travels. */
  readonly table: 'touched rows' | 'whole table';
  /** `--shard_optimizer`. */
  readonly sharded: boolean;
}

export interface CostRow extends Way {
  readonly ranks: number;
  /** Peak, by purpose. */
  readonly gpuBytes: Record<string, number>;
  /** A step's, to all others together. */
  readonly sentBytes: { gradients: number; weights: number; rest: number; total: number };
}

export const WAYS: readonly Way[] = [false, true].flatMap((sharded) =>
  (['touched rows', 'whole table'] as const).flatMap((table) =>
    (['f32', 'bf16'] as const).map((wire) => ({ wire, table, sharded })),
  ),
);

/** @throws InputError for more words than the model has. */
export async function costOfWay(
  gpu: Gpu,
  options: Omit<FlagValues<typeof scalingFlags>, 'ranks' | 'json' | 'csv' | 'debug'>,
  ranks: number,
  way: Way,
): Promise<CostRow> {
  const config = presetConfig(options.model, options.layers ?? undefined);
  if (options.words !== null && options.words > config.vocabSize)
    throw new InputError(`--words: expected at most ${config.vocabSize}, found ${options.words}`);
  const shape = { ...options, vocab: config.vocabSize };
  const step: RankedStep = {
    ...{ config, precision: options.fp16 ? 'f16' : 'f32', dense: way.table === 'whole table' },
    words: options.words ?? config.vocabSize,
    run: {
      ...runSettings(options.fp16, stepSettings(options.gradientCheckpointing, options.subBatchSize)),
      ...{ wire: way.wire, shardOptimizer: way.sharded },
    },
    batch: (on, rank) => lossBatch(on, config, fullBatch(shape, rank)),
  };
  const { memory, gradients, weights, rest } = await plannedStep(gpu, step, ranks);
  return {
    ...{ ranks, ...way },
    gpuBytes: { ...memory.peakByPurpose, total: memory.peak },
    sentBytes: { gradients, weights, rest, total: gradients + weights + rest },
  };
}

export const nameOf = ({ wire, table, sharded }: Way): string =>
  `${table}, ${wire}${sharded ? ', optimiser divided' : ''}`;
