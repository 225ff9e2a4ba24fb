/**
 * Libraries of the packages that this system does not load: Dawn's or Koffi's on another C library or an older one, for
 * another processor, or not installed. Stands beside errors.ts, below all rooms.
 */
import { MachineError } from './errors.js';

/** What Node says of a library that is not there. */
const MISSING = /^Cannot find module '.*\.node'/;

/** The error for a user, where this one came from a library that did not load; else null. */
export function libraryError(error: unknown): MachineError | null {
  if (!(error instanceof Error)) return null;
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ERR_DLOPEN_FAILED' && !MISSING.test(error.message)) return null;
  const [reason] = error.message.split('\n');
  const told = new MachineError(
    `a library of the packages does not load on this system: ${reason}; \`dawntune doctor\` says what mends it`,
  );
  told.cause = error;
  return told;
}
