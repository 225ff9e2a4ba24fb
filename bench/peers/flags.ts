/** The flags of `bench peers`. */
import {
  adapterFlag,
  between,
  boolean,
  choice,
  group,
  integer,
  listOf,
  optional,
  text,
  withDefault,
} from '../../src/flags.js';

export const workloadNames = ['matmul', 'attention', 'train', 'characters'] as const;

export const peersFlags = {
  ...group('Peers', {
    workloads: withDefault(
      listOf(choice(workloadNames), `some of ${workloadNames.join(', ')}`),
      [...workloadNames],
      'what to compare',
    ),
    sizes: withDefault(
      listOf(integer(1, 16384), 'whole numbers up to 16384'),
      [512, 1024],
      'rows and columns of the matrices',
    ),
    rounds: withDefault(integer(1, 1000), 5, 'turns of each library'),
    min_time: withDefault(between(0, 600), 0.5, 'seconds that a turn takes at least'),
    install: withDefault(boolean, true, 'download libraries that are not in the cache folder, with npm'),
    python: optional(text('a path'), 'a Python with PyTorch, to compare with that too'),
    json: withDefault(boolean, false, 'one JSON object on standard output instead of a table'),
  }),
  ...adapterFlag,
};
