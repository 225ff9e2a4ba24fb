/** The output folder of the demo and of the pipeline: made, and locked against another run. */
import { InputError, MachineError } from '../errors.js';
import { FolderLock } from '../files/lock.js';
import { makeWritableFolder } from '../files/make-folder.js';

/** Before anything else: what another run has written there is not to be mixed with this one's. */
export function lockDemoFolder(folder: string): FolderLock {
  try {
    makeWritableFolder(folder);
    return FolderLock.acquire(folder);
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`--output_dir: ${error.message}`);
    throw error instanceof MachineError ? new MachineError(`--output_dir: ${error.message}`) : error;
  }
}
