/** The flags of `dawntune pipeline`. */

import { parseToldFlags } from '../console/told-flags.js';
import {
  adapterFlag,
  boolean,
  debugFlag,
  type FlagValues,
  group,
  integer,
  LARGEST_COUNT,
  listOf,
  progressFlag,
  text,
  withDefault,
} from '../flags.js';

export const pipelineFlags = {
  ...group('Pipeline', {
    output_dir: withDefault(text('a path'), 'output/pipeline', 'where data, models and reports go'),
    seeds: withDefault(
      listOf(integer(1), 'whole numbers from 1'),
      [42],
      'seeds of everything random, each a run of its own; with several, a table of their means at the end',
    ),
    compare: withDefault(
      boolean,
      false,
      'fine-tune without distillation, and without mined negatives, too, and show all side by side',
    ),
    first_steps: withDefault(
      integer(1, LARGEST_COUNT),
      40,
      'optimiser steps of the model that the pipeline begins with, from random weights',
    ),
    steps: withDefault(integer(1, LARGEST_COUNT), 60, 'optimiser steps of the fine-tuning'),
    rows: withDefault(integer(1, LARGEST_COUNT), 1000, 'training rows that negatives are mined for'),
  }),
  ...adapterFlag,
  ...progressFlag,
  ...debugFlag,
};

export type PipelineArguments = FlagValues<typeof pipelineFlags>;

/** @throws InputError, one line that names the flag. */
export function parsePipelineArguments(argv: readonly string[]): PipelineArguments {
  return parseToldFlags(pipelineFlags, argv).values;
}
