/** The flags of a training run with several ranks, beside those by which any command has ranks (ranks/arguments.ts). */
import { choice, group, integer, optional, withDefault } from '../flags.js';
import { checkStartArguments, type StartArguments, startFlags, withoutEffect } from '../ranks/arguments.js';
import { COUNT } from './limits.js';

export const rankFlags = {
  ...startFlags,
  ...group('Ranks', {
    reduce_dtype: withDefault(
      choice(['f32', 'bf16']),
      'f32',
      'how gradients travel between ranks; they are added in f32 either way',
    ),
    check_replicas: optional(
      integer(COUNT.least, COUNT.most),
      'steps after which the weights of all ranks are compared; otherwise only when they are saved',
    ),
  }),
};

interface RankArguments extends StartArguments {
  readonly reduceDtype: string;
  readonly checkReplicas: number | null;
}

/**
 * One line for each flag that changes nothing in a run of so many ranks.
 * @throws InputError for flags that name adapters of other ranks than there are, or twice.
 */
export function checkRankArguments(args: RankArguments, ranks: number): string[] {
  return [
    ...checkStartArguments(args, ranks),
    ...withoutEffect(ranks, [
      ['reduce_dtype', args.reduceDtype !== rankFlags.reduce_dtype.fallback],
      ['check_replicas', args.checkReplicas !== null],
    ]),
  ];
}
