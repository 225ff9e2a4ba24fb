/** The flags of `dawntune demo`. */

import { parseToldFlags } from '../console/told-flags.js';
import { InputError } from '../errors.js';
import {
  adapterFlag,
  between,
  boolean,
  choice,
  debugFlag,
  type FlagValues,
  group,
  integer,
  LARGEST_COUNT,
  optional,
  progressFlag,
  text,
  withDefault,
} from '../flags.js';
import { LEARNING_RATE } from '../train/limits.js';

/** What a run from random weights and one from pretrained weights take where no flag says otherwise. */
export const DEMO_DEFAULTS = {
  random: { steps: 100, batch: 64, learningRate: 2e-3 },
  pretrained: { steps: 60, batch: 16, learningRate: 1e-4 },
} as const;

const usual = (what: keyof (typeof DEMO_DEFAULTS)['random']) =>
  `by default ${DEMO_DEFAULTS.random[what]}, with --model ${DEMO_DEFAULTS.pretrained[what]}`;

export const demoFlags = {
  ...group('Demo', {
    model: optional(
      text('a folder or a hub id'),
      'begin with this pretrained model in place of random weights; heads that it has not are drawn at random',
    ),
    pooling_method: optional(
      choice(['cls', 'mean', 'last_token']),
      'the dense vector of --model; by default as its folder says, else that of cls and mean which finds more',
    ),
    output_dir: withDefault(text('a path'), 'output/demo', 'where the data and the model go'),
    steps: optional(integer(1, LARGEST_COUNT), `optimiser steps; ${usual('steps')}`),
    per_device_train_batch_size: optional(
      integer(2, LARGEST_COUNT),
      `pairs in a step, each the others’ negatives; ${usual('batch')}`,
    ),
    learning_rate: optional(
      between(LEARNING_RATE.least, LEARNING_RATE.most),
      `peak learning rate; ${usual('learningRate')}`,
    ),
    seed: withDefault(integer(1), 42, 'seed of everything random'),
    fp16: withDefault(boolean, false, 'mixed precision: f16 activations, f32 weights, scaled loss'),
  }),
  ...adapterFlag,
  ...progressFlag,
  ...debugFlag,
};

export type DemoArguments = FlagValues<typeof demoFlags>;

/** @throws InputError, one line that names the flag. */
export function parseDemoArguments(argv: readonly string[]): DemoArguments {
  const { values } = parseToldFlags(demoFlags, argv, {
    aliases: { model_name_or_path: 'model', sentence_pooling_method: 'pooling_method' },
  });
  if (values.poolingMethod !== null && values.model === null)
    throw new InputError('--pooling_method: expected --model beside it; random weights are pooled by mean');
  return values;
}
