/** Whether the disk has room for what a run will save, asked before the first step. */
import fs from 'node:fs';
import { MachineError } from '../../errors.js';
import { formatBytes } from '../../gpu/memory.js';
import { printable } from '../../show.js';

/**
 * @param saveBytes of one save, which is written beside the one that it replaces.
 * @param saves that will be there at the end of the run, this run's final model among them.
 * @returns a notice when there is room for one save but not for all.
 * @throws MachineError when there is no room for one.
 */
export function requireDiskSpace(folder: string, saveBytes: number, saves: number): string | undefined {
  let free: number;
  try {
    const { bavail, bsize } = fs.statfsSync(folder);
    free = bavail * bsize;
  } catch {
    // A file system that does not tell: the save itself will.
    return undefined;
  }
  const where = `--output_dir ${printable(folder)}: the disk has ${formatBytes(free)} free`;
  if (free < saveBytes)
    throw new MachineError(
      `${where}, a save takes ${formatBytes(saveBytes)}: make room, or give another folder`,
    );
  if (free < saveBytes * saves)
    return `${where}, the ${saves} saves of this run take ${formatBytes(saveBytes * saves)}: make room, or use --save_total_limit`;
  return undefined;
}
