/**
 * `--compare OLD.json`: the rows of a report beside those of an earlier one. Times are compared, row by row; a row that is
 * slower counts only where that is more than what the measurements themselves vary by.
 */
import { InputError } from '../../src/errors.js';
import { readJsonObject } from '../../src/files/json.js';
import { printable, show } from '../../src/show.js';

/** What of a row is compared. */
export interface Timed {
  readonly key: string;
  readonly milliseconds: number;
  /** Undefined where the report does not say. */
  readonly lowerQuartile?: number | undefined;
  readonly upperQuartile?: number | undefined;
}

export interface OldReport {
  readonly file: string;
  readonly suite: string;
  readonly adapter: string;
  readonly driver: string;
  readonly cpu: string | undefined;
  readonly date: string;
  readonly rows: readonly Timed[];
}

export interface Comparison {
  /** Rows that both have, in the order of the new report; ratio = old time / new time, above 1 is faster now. */
  readonly both: readonly { key: string; old: Timed; now: Timed; ratio: number; slower: boolean }[];
  readonly missing: readonly string[];
  readonly added: readonly string[];
}

/** The fields of a row of an old report; what is asked for and not there is an InputError. */
export interface OldFields {
  text(name: string): string;
  above0(name: string): number;
  /** Undefined unless it is one. */
  number(name: string): number | undefined;
  /** Whatever it is. */
  given(name: string): unknown;
}

/** @param read what of a row is compared. @throws InputError when the file is no report of this suite. */
export function readReport(file: string, suite: string, read: (row: OldFields) => Timed): OldReport {
  const report = readJsonObject(file);
  const wrong = (expected: string, found: unknown) =>
    new InputError(`--compare: ${printable(file)}: expected ${expected}, found ${show(found)}`);
  const text = (object: Record<string, unknown>, name: string, where = '') => {
    const value = object[name];
    if (typeof value !== 'string') throw wrong(`"${name}"${where} to be a text`, value);
    return value;
  };
  if (text(report, 'suite') !== suite) throw wrong(`a report of the suite ${suite}`, report['suite']);
  const { rows } = report;
  if (!Array.isArray(rows)) throw wrong('"rows" to be a list', rows);
  const fieldsOf = (row: unknown, i: number): OldFields => {
    const fields = (typeof row === 'object' && row !== null ? row : {}) as Record<string, unknown>;
    const where = ` of row ${i + 1}`;
    const number = (name: string) => {
      const value = fields[name];
      return typeof value === 'number' ? value : undefined;
    };
    return {
      text: (name) => text(fields, name, where),
      number,
      above0(name) {
        const value = number(name);
        if (value === undefined || !(value > 0))
          throw wrong(`"${name}"${where} to be a number above 0`, fields[name]);
        return value;
      },
      given: (name) => fields[name],
    };
  };
  return {
    file,
    suite,
    adapter: text(report, 'adapter'),
    driver: text(report, 'driver'),
    cpu: typeof report['cpu'] === 'string' ? report['cpu'] : undefined,
    date: text(report, 'date'),
    rows: rows.map((row: unknown, i) => read(fieldsOf(row, i))),
  };
}

/** @param slowdown from which ratio of the times on a row counts as slower, e.g. 1.1. */
export function compare(old: readonly Timed[], now: readonly Timed[], slowdown: number): Comparison {
  const before = new Map(old.map((row) => [row.key, row]));
  const both = now.flatMap((row) => {
    const match = before.get(row.key);
    if (!match) return [];
    const apart =
      match.upperQuartile === undefined ||
      row.lowerQuartile === undefined ||
      row.lowerQuartile > match.upperQuartile;
    const ratio = match.milliseconds / row.milliseconds;
    return [{ key: row.key, old: match, now: row, ratio, slower: ratio < 1 / slowdown && apart }];
  });
  const keys = new Set(now.map(({ key }) => key));
  return {
    both,
    missing: old.filter(({ key }) => !keys.has(key)).map(({ key }) => key),
    added: now.filter(({ key }) => !before.has(key)).map(({ key }) => key),
  };
}

/** When rows became slower, as --help says. */
const SLOWER = 3;
/** A report that has none of these rows has been named by mistake: that nothing became slower would say nothing. */
const NOTHING_COMPARED = 2;

/** Prints the comparison. @returns the exit status. */
export function printComparison(
  old: OldReport,
  now: readonly Timed[],
  machine: ComparedMachine,
  slowdown: number,
  say: (text: string) => void,
): number {
  const comparison = compare(old.rows, now, slowdown);
  for (const line of comparisonLines(comparison, old, machine)) say(`${line}\n`);
  if (comparison.both.length === 0) return NOTHING_COMPARED;
  return comparison.both.some(({ slower }) => slower) ? SLOWER : 0;
}

type ComparedMachine = { readonly adapter: string; readonly driver: string; readonly cpu: string };

function comparisonLines(
  { both, missing, added }: Comparison,
  old: OldReport,
  machine: ComparedMachine,
): string[] {
  const lines: string[] = [];
  const differs = (['adapter', 'driver', 'cpu'] as const).filter(
    (name) => old[name] !== undefined && old[name] !== machine[name],
  );
  if (differs.length > 0)
    lines.push(
      `warning: another machine: ${differs.map((name) => `${name} ${printable(old[name]!)} → ${printable(machine[name])}`).join(', ')}`,
    );
  lines.push(`compared with ${printable(old.file)} (${printable(old.date)}); a ratio above 1 is faster now`);
  const width = Math.max(0, ...both.map(({ key }) => key.length));
  for (const { key, old: before, now, ratio, slower } of both)
    lines.push(
      `${printable(key).padEnd(width)}  ${before.milliseconds.toPrecision(4).padStart(9)} → ${now.milliseconds.toPrecision(4).padStart(9)} ms  ${ratio.toFixed(2).padStart(6)}×${slower ? '  slower' : ''}`,
    );
  if (both.length > 0) {
    const mean = Math.exp(both.reduce((sum, { ratio }) => sum + Math.log(ratio), 0) / both.length);
    const slow = both.filter(({ slower }) => slower).length;
    lines.push(`${both.length} rows: geometric mean ${mean.toFixed(2)}×, ${slow} slower`);
  } else lines.push('no row is in both reports');
  if (missing.length > 0) lines.push(`only in the old report: ${names(missing)}`);
  if (added.length > 0) lines.push(`only in this one: ${names(added)}`);
  return lines;
}

const MOST_NAMES = 8;

const names = (keys: readonly string[]): string =>
  keys.slice(0, MOST_NAMES).map(printable).join('; ') +
  (keys.length > MOST_NAMES ? `; and ${keys.length - MOST_NAMES} more` : '');
