/** The flags of `dawntune demo`. */
import {
  adapterFlag,
  boolean,
  debugFlag,
  type FlagValues,
  group,
  integer,
  LARGEST_COUNT,
  parseFlags,
  text,
  withDefault,
} from '../flags.js';

export const demoFlags = {
  ...group('Demo', {
    output_dir: withDefault(text('a path'), 'output/demo', 'where the data and the model go'),
    steps: withDefault(integer(1, LARGEST_COUNT), 100, 'optimiser steps'),
    seed: withDefault(integer(1), 42, 'seed of everything random'),
    fp16: withDefault(boolean, false, 'mixed precision: f16 activations, f32 weights, scaled loss'),
  }),
  ...adapterFlag,
  ...debugFlag,
};

export type DemoArguments = FlagValues<typeof demoFlags>;

/** @throws InputError, one line that names the flag. */
export function parseDemoArguments(argv: readonly string[]): DemoArguments {
  return parseFlags(demoFlags, argv).values;
}
