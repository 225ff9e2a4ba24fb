/** The memory of this machine, or of the part of it that this process may have. */
import os from 'node:os';

/** Bytes that the process's control group may take at most (a container's limit); undefined where there is no limit. */
export function memoryLimit(): number | undefined {
  const limit = process.constrainedMemory();
  // Without a limit there is 0, or a number that no machine has.
  return limit > 0 && limit < os.totalmem() ? limit : undefined;
}

/** Bytes of memory that this process can count on: those of the machine, or of its container where that has fewer. */
export const machineMemory = (): number => memoryLimit() ?? os.totalmem();
