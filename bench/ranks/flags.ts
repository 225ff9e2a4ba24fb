/** The flags of `bench ranks`. */
import {
  adapterFlag,
  boolean,
  byteSize,
  choice,
  debugFlag,
  group,
  integer,
  listOf,
  optional,
  withDefault,
} from '../../src/flags.js';
import { presetNames } from '../options.js';
import { compareFlags, formatFlags } from '../report/flags.js';

export const carrierNames = ['emulated', 'threads', 'openmpi', 'mpich'] as const;
export type CarrierName = (typeof carrierNames)[number];

export const ranksFlags = {
  ...group('Ranks', {
    nproc_per_node: withDefault(integer(2, 64), 2, 'ranks'),
    carriers: optional(
      listOf(choice(carrierNames), `some of ${carrierNames.join(', ')}`),
      'who carries; without it all that are there',
    ),
  }),
  ...group('Exchange', {
    payload: withDefault(byteSize('MB', 1000), 100e6, 'f32 values that are summed in all'),
    buckets: withDefault(
      listOf(byteSize('MB', 1000), 'sizes such as 25MB'),
      [25e6, 50e6],
      'f32 values that are summed at a time',
    ),
    rounds: withDefault(integer(1, 1000), 11, 'turns of each'),
  }),
  ...group('Steps', {
    overlap: withDefault(boolean, true, 'how much of a step’s exchange is hidden behind its backward'),
    model: withDefault(choice(presetNames), 'minilm', 'of these steps'),
    steps: withDefault(integer(2, 1000), 3, 'how many'),
    bytes: withDefault(boolean, true, 'what a step of bge-m3 sends'),
  }),
  ...formatFlags,
  ...compareFlags,
  ...adapterFlag,
  ...debugFlag,
};
