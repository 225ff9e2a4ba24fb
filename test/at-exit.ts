/** What a test has made outside of its process and of the temporary folder: a signal that ends the process ends it too. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import type { TestContext } from 'node:test';

/**
 * `clean` is called once: when the process ends, also by a signal, after which no hook of a test is called.
 * @returns what calls it before.
 */
export function atExit(clean: () => void): () => void {
  let done = false;
  const end = () => {
    if (!done) clean();
    done = true;
  };
  process.on('exit', end);
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)
    process.once(signal, () => process.exit(code));
  return end;
}

/** A file system of `size` in a new folder, for one test; false where this user may make none. */
export function mount(t: TestContext, folder: string, size: string): boolean {
  fs.mkdirSync(folder);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]).status !== 0) return false;
  t.after(atExit(() => void spawnSync('umount', ['-l', folder])));
  return true;
}
