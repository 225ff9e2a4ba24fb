/** File operations that the system refuses, for tests: a disk that is full, a folder that may not be written any more. */
import fs from 'node:fs';

/** What changes files or their names; the first need room. */
const WRITES = ['openSync', 'writeSync', 'writeFileSync', 'fsyncSync', 'mkdirSync'] as const;
const NAMES = ['closeSync', 'renameSync', 'rmSync', 'rmdirSync', 'unlinkSync'] as const;
const OPERATIONS = [...WRITES, ...NAMES] as const;

export interface Failure {
  readonly code: string;
  /** What fails from then on; `once`: only the one operation, whichever it is. */
  readonly how: 'writes' | 'everything' | 'once';
}

export const FAILURES: readonly Failure[] = [
  { code: 'ENOSPC', how: 'writes' },
  { code: 'EDQUOT', how: 'writes' },
  { code: 'EFBIG', how: 'writes' },
  { code: 'EACCES', how: 'everything' },
  { code: 'EROFS', how: 'everything' },
  { code: 'EIO', how: 'once' },
  { code: 'EIO', how: 'everything' },
];

type Operation = (...args: unknown[]) => unknown;

/**
 * Runs `body` where `failure` begins with operation number `at` (from 0; Infinity: never) of those that `counts` is true
 * of. @returns the operations that counted, as `NAME PATH`, and what `body` threw.
 */
export async function failingAt(
  at: number,
  { code, how }: Failure,
  body: () => Promise<unknown>,
  counts: (operation: string) => boolean = () => true,
): Promise<{ operations: string[]; error: unknown }> {
  const table = fs as unknown as Record<string, Operation>;
  const real = new Map(OPERATIONS.map((name) => [name, table[name]!]));
  const paths = new Map<unknown, unknown>();
  const operations: string[] = [];
  let begun = false;
  for (const [name, operation] of real)
    table[name] = (...args) => {
      const writes = (WRITES as readonly string[]).includes(name);
      const looks =
        (name === 'openSync' && (args[1] === undefined || args[1] === 'r' || typeof args[1] === 'number')) ||
        // Of what was opened to look at it.
        (typeof args[0] === 'number' && !paths.has(args[0]));
      const about = `${name} ${typeof args[0] === 'number' ? paths.get(args[0]) : args[0]}`;
      if (!looks && (writes || how !== 'writes') && counts(about)) {
        const now = operations.push(about) - 1 === at;
        begun ||= now;
        if (now || (begun && how !== 'once')) {
          // Closed it is all the same.
          if (name === 'closeSync') operation.apply(fs, args);
          throw Object.assign(new Error(`${code}: refused, ${about}`), { code, syscall: name.slice(0, -4) });
        }
      }
      const result = operation.apply(fs, args);
      if (name === 'openSync' && !looks) paths.set(result, args[0]);
      if (name === 'closeSync') paths.delete(args[0]);
      return result;
    };
  try {
    await body();
    return { operations, error: undefined };
  } catch (error) {
    return { operations, error };
  } finally {
    for (const [name, operation] of real) table[name] = operation;
  }
}
