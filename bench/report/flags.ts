/** The flags that say how the figures of a suite come out, which the suites share. */
import { InputError } from '../../src/errors.js';
import { boolean, decimal, group, optional, text, withDefault } from '../../src/flags.js';

export const formatFlags = group('Output', {
  json: withDefault(boolean, false, 'one JSON object on standard output instead of lines'),
  csv: withDefault(boolean, false, 'comma-separated values on standard output instead of lines'),
});

export const compareFlags = group('Output', {
  compare: optional(
    text('a path'),
    'a report that --json wrote: say how much faster each row is now. The exit status is then 3 when a row is slower by more than --max_slowdown and by more than the quartiles of both runs leave open, and 2 when no row is in both',
  ),
  max_slowdown: withDefault(
    decimal('a number from 1 to 100', (value) => value >= 1 && value <= 100),
    1.1,
    'ratio of the times from which --compare calls a row slower',
  ),
});

/** @throws InputError for flags that would be ignored beside others. */
export function requireOneFormat({ json, csv }: { readonly json: boolean; readonly csv: boolean }): void {
  if (json && csv)
    throw new InputError('bench: expected one of --json and --csv, found both: there is one standard output');
}

/** @throws InputError when the slowdown is given and nothing is compared. */
export function requireComparison(compare: string | null, given: ReadonlySet<string>): void {
  if (compare === null && given.has('max_slowdown'))
    throw new InputError('bench: --max_slowdown has no meaning without --compare: nothing is compared');
}
