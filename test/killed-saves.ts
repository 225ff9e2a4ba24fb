/**
 * Kills at every file operation, for tests. A process that dies at an operation does nothing more to its files: here
 * that operation and every one after it throws, cleaning up included, and the files are as the kill left them.
 */
import fs from 'node:fs';

/** What changes files or their names. */
const OPERATIONS = [
  'openSync',
  'writeSync',
  'writeFileSync',
  'fsyncSync',
  'renameSync',
  'rmSync',
  'rmdirSync',
  'mkdirSync',
  'unlinkSync',
  'linkSync',
  'symlinkSync',
  'copyFileSync',
] as const;

export class Killed extends Error {}

type Operation = (...args: unknown[]) => unknown;

/**
 * Runs `body` and dies at operation number `at` (from 0; Infinity: never) on a path or descriptor, before it or, with
 * `halfway`, in the middle of it. @returns the operations and whether it died.
 */
export async function killedAt(
  at: number,
  body: () => Promise<unknown>,
  halfway = false,
): Promise<{ operations: string[]; died: boolean }> {
  const table = fs as unknown as Record<string, Operation>;
  const real = new Map(OPERATIONS.map((name) => [name, table[name]!]));
  const operations: string[] = [];
  let died = false;
  for (const [name, operation] of real)
    table[name] = (...args) => {
      if (died) throw new Killed();
      if (name === 'openSync' && (args[1] === undefined || args[1] === 'r' || typeof args[1] === 'number'))
        return operation.apply(fs, args);
      operations.push(`${name} ${args[0]}`);
      if (operations.length - 1 !== at) return operation.apply(fs, args);
      died = true;
      if (halfway && name === 'writeSync' && ArrayBuffer.isView(args[1])) {
        const length = (args[3] as number | undefined) ?? args[1].byteLength;
        real.get('writeSync')!.call(fs, args[0], args[1], args[2] ?? 0, length >> 1, args[4]);
      } else if (halfway && name === 'rmSync') {
        // Some members of a folder are gone, others are not.
        const [file] = args as [string];
        const members = fs.lstatSync(file, { throwIfNoEntry: false })?.isDirectory()
          ? fs.readdirSync(file)
          : [];
        for (const member of members.slice(0, members.length >> 1))
          operation.call(fs, `${file}/${member}`, { recursive: true });
      } else if (halfway) operation.apply(fs, args);
      throw new Killed();
    };
  try {
    await body();
  } catch (error) {
    if (!died) throw error;
  } finally {
    for (const [name, operation] of real) table[name] = operation;
  }
  return { operations, died };
}
