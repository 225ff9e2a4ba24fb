/**
 * New names and removal where other programs look at files too. On Windows whoever has a file open (a virus scanner, the
 * index, a viewer) keeps it from being renamed, replaced and removed, mostly for a moment: it is tried again for a while.
 */
import fs from 'node:fs';

const HELD = new Set(['EPERM', 'EACCES', 'EBUSY']);
const LONGEST_MILLISECONDS = 2000;

/** `fs.renameSync`, over a file that is there too. @throws the system's error. */
export function rename(from: string, to: string): void {
  whileHeld(() => fs.renameSync(from, to));
}

/** A file, or a folder with all in it; nothing where there is none. @throws the system's error. */
export function removeAll(file: string): void {
  whileHeld(() => fs.rmSync(file, { recursive: true, force: true }));
}

/** Calls `act` again while a file is held, with longer and longer pauses; on other systems than Windows only once. */
export function whileHeld<T>(act: () => T, platform: NodeJS.Platform = process.platform): T {
  const end = performance.now() + LONGEST_MILLISECONDS;
  for (let pause = 5; ; pause = Math.min(200, 2 * pause))
    try {
      return act();
    } catch (error) {
      const held = HELD.has((error as NodeJS.ErrnoException).code ?? '');
      if (platform !== 'win32' || !held || performance.now() + pause > end) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause);
    }
}
