/** The flags of commands with several ranks, and what is wrong with them or without effect where there is one. */
import { InputError } from '../errors.js';
import {
  choice,
  decimal,
  group,
  integer,
  LARGEST_COUNT,
  optional,
  type ValueType,
  withDefault,
} from '../flags.js';
import { DEFAULT_TIMEOUT_SECONDS } from '../ranks/carrier.js';
import { launchers } from '../ranks/choose-ranks.js';

/** `H100,H100` and `0 1` alike; so a name with a comma is given by a part without it. */
const adapterList: ValueType<string[]> = {
  expects: 'parts of adapter names, or numbers of doctor’s list, with commas between them',
  placeholder: 'NAME,…',
  many: true,
  parse(words) {
    const names = words.flatMap((word) => word.split(',')).map((name) => name.trim());
    return names.length > 0 && names.every((name) => name !== '') ? names : undefined;
  },
};

/** Of any command that several ranks run. */
export const startFlags = group('Ranks', {
  nproc_per_node: withDefault(
    integer(1, 1024),
    1,
    'ranks that this command starts on this machine; under mpirun it says how many ranks there are',
  ),
  adapters: optional(
    adapterList,
    'the GPU of each rank of a machine, by a part of its name or by its number in doctor’s list; commas between them',
  ),
  launcher: withDefault(
    choice(launchers),
    'auto',
    'what ranks that this command starts are: threads, or processes of mpirun, which cards of one name need',
  ),
  ddp_timeout: withDefault(
    decimal('a number of seconds from 1', (value) => value >= 1 && value <= LARGEST_COUNT),
    DEFAULT_TIMEOUT_SECONDS,
    'seconds that a rank may give no sign of life while others wait for it; a slow step is no such silence',
  ),
});

export interface StartArguments {
  readonly adapter: string | null;
  readonly adapters: readonly string[] | null;
  readonly launcher: string;
  readonly ddpTimeout: number;
}

/**
 * One line for each flag that changes nothing in a command of so many ranks.
 * @throws InputError for flags that name adapters of other ranks than there are, or twice.
 */
export function checkStartArguments(args: StartArguments, ranks: number): string[] {
  const { adapter, adapters } = args;
  if (adapter !== null && adapters !== null)
    throw new InputError('--adapter and --adapters: expected at most one of them, found both');
  if (adapters !== null && ranks === 1)
    throw new InputError(
      `--adapters: expected --nproc_per_node ${Math.max(2, adapters.length)} with it, found one rank; --adapter picks the GPU of one`,
    );
  return withoutEffect(ranks, [
    ['launcher', args.launcher !== startFlags.launcher.fallback],
    ['ddp_timeout', args.ddpTimeout !== startFlags.ddp_timeout.fallback],
  ]);
}

/** One line for each of these flags that was given where there is one rank. */
export const withoutEffect = (
  ranks: number,
  flags: readonly (readonly [flag: string, given: boolean])[],
): string[] =>
  flags.flatMap(([flag, given]) => (given && ranks === 1 ? [`--${flag} has no effect with one rank`] : []));
