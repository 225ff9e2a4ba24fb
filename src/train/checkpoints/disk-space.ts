/** Whether the disk has room for what a run will save, asked before the first step. */
import fs from 'node:fs';
import { MachineError } from '../../errors.js';
import { formatBytes, printable } from '../../show.js';

/**
 * @param modelBytes of the model that the run leaves, which is written beside the one that it replaces.
 * @param checkpoints how many will be there at the end of the run, and the bytes of one.
 * @returns a notice when there is room for one save but not for all.
 * @throws MachineError when there is no room for one.
 */
export function requireDiskSpace(
  folder: string,
  modelBytes: number,
  checkpoints: { readonly bytes: number; readonly count: number },
): string | undefined {
  const saveBytes = checkpoints.count > 0 ? Math.max(modelBytes, checkpoints.bytes) : modelBytes;
  const allBytes = modelBytes + checkpoints.bytes * checkpoints.count;
  const saves = checkpoints.count + 1;
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
  if (free < allBytes)
    return `${where}, the ${saves} saves of this run take ${formatBytes(allBytes)}: make room, or use --save_total_limit${checkpoints.bytes > modelBytes ? ' or --save_only_model' : ''}`;
  return undefined;
}
