/** Standard output where it is what a command is for: written no faster than it is read, and missed when it is lost. */
import { MachineError } from '../errors.js';
import { systemReason } from './reason.js';

/**
 * Returns when more may come; also when whoever reads has ended, which is no fault.
 * @throws MachineError when it cannot be written for another reason (disk full …).
 */
export async function writeStandardOutput(text: string): Promise<void> {
  const error = await new Promise<NodeJS.ErrnoException | null | undefined>((resolve) => {
    process.stdout.write(text, resolve);
  });
  if (error && error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED')
    throw new MachineError(`standard output: cannot write: ${systemReason(error)}`);
}
