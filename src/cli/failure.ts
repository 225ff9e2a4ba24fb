/**
 * How a command that failed is told to people and to the shell: one line on standard error, with others that belong to it
 * below, and an exit code.
 */
import { createRequire } from 'node:module';
import type { ErrorRecord } from '../console/progress-record.js';
import type { InputError } from '../errors.js';
import { booleanOf } from '../flags.js';
import { libraryError } from '../native-library.js';
import { messageLine, messageLines } from '../show.js';

/** Errors that say what a person can do have an exit code of their own; others are faults of the program. */
const isKnown = (error: unknown): error is InputError => error instanceof Error && 'exitCode' in error;

export const exitCodeOf = (error: unknown): number => (isKnown(error) ? error.exitCode : 1);

/** Whatever a message quotes, it is one line of what a terminal shows; a stack is printed for faults and with `--debug`. */
export function tellFailure(error: unknown, argv: readonly string[] = process.argv): void {
  const known = isKnown(error) ? error : libraryError(error);
  const text =
    known && !asksForStack(argv)
      ? messageLine(known.message)
      : messageLines(error instanceof Error ? (error.stack ?? error.message) : String(error));
  const more = moreOf(error).map(messageLine);
  if (asksForJson(argv)) {
    const record: ErrorRecord = { kind: 'error', text, ...(more.length > 0 ? { more } : {}) };
    process.stderr.write(`${JSON.stringify(record)}\n`);
  } else process.stderr.write([`dawntune: ${text}`, ...more.map((line) => `  ${line}`), ''].join('\n'));
}

const moreOf = (error: unknown): readonly string[] => (isKnown(error) && error.more) || [];

/** Whether standard error is read by a program. */
function asksForJson(argv: readonly string[]): boolean {
  const at = argv.findLastIndex((word) => /^--progress(=|$)/.test(word));
  return at >= 0 && (argv[at]!.split('=')[1] ?? argv[at + 1]) === 'json';
}

/** Whether `--debug` is among the words, in any of the spellings of a boolean flag. */
function asksForStack(argv: readonly string[]): boolean {
  const at = argv.findLastIndex((word) => /^--debug(=|$)/i.test(word));
  if (at < 0) return false;
  const value = argv[at]!.split('=')[1] ?? argv[at + 1] ?? '';
  return booleanOf(value) ?? true;
}

/** Ends the process without asking its threads, of which one may hang: Node.js would wait for it. */
export function leaveAtOnce(exitCode: number): never {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi').default;
  koffi.load(null).func('void _exit(int code)')(exitCode);
  throw new Error('_exit came back');
}
