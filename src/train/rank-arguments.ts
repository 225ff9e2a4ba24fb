/** The flags of a run with several ranks, and what is wrong with them or without effect in a run of one. */
import { choice, decimal, group, integer, listOf, optional, text, withDefault } from '../flags.js';
import { COUNT } from './limits.js';
import { DEFAULT_TIMEOUT_SECONDS } from './ranks/carrier.js';
import { launchers } from './ranks/choose-ranks.js';

export const rankFlags = group('Ranks', {
  nproc_per_node: withDefault(
    integer(1, 1024),
    1,
    'ranks that this command starts on this machine; under mpirun it says how many ranks there are',
  ),
  adapters: optional(
    listOf(
      text('a part of an adapter name or its number'),
      'parts of adapter names, or numbers of doctor’s list',
    ),
    'the GPU of each rank of a machine, by a part of its name or by its number in doctor’s list',
  ),
  launcher: withDefault(
    choice(launchers),
    'auto',
    'what ranks that this command starts are: threads, or processes of mpirun, which cards of one name need',
  ),
  reduce_dtype: withDefault(
    choice(['f32', 'bf16']),
    'f32',
    'how gradients travel between ranks; they are added in f32 either way',
  ),
  ddp_timeout: withDefault(
    decimal('a number of seconds from 1', (value) => value >= 1 && value <= COUNT.most),
    DEFAULT_TIMEOUT_SECONDS,
    'seconds that a rank may give no sign of life while others wait for it; a slow step is no such silence',
  ),
  check_replicas: optional(
    integer(COUNT.least, COUNT.most),
    'steps after which the weights of all ranks are compared; otherwise only when they are saved',
  ),
});

interface RankArguments {
  readonly adapters: readonly string[] | null;
  readonly launcher: string;
  readonly reduceDtype: string;
  readonly ddpTimeout: number;
  readonly checkReplicas: number | null;
}

/** One line for each flag that changes nothing in a run of one rank. */
export function withoutRanks(args: RankArguments): string[] {
  return [
    ['adapters', args.adapters !== null],
    ['launcher', args.launcher !== rankFlags.launcher.fallback],
    ['reduce_dtype', args.reduceDtype !== rankFlags.reduce_dtype.fallback],
    ['ddp_timeout', args.ddpTimeout !== rankFlags.ddp_timeout.fallback],
    ['check_replicas', args.checkReplicas !== null],
  ].flatMap(([flag, given]) => (given ? [`--${flag} has no effect with one rank`] : []));
}
