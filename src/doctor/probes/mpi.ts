/** What there is of MPI: launchers that answer, and the library that ranks would load. Loads it, so it runs in a child. */

import { enlargeStacks, loadMpi } from '../../ranks/mpi/library.js';
import { findMpi, mpiNames } from '../../setup/mpi.js';
import type { MpiFacts } from '../facts.js';

export function probeMpi(): MpiFacts {
  const launchers = mpiNames.flatMap((name) => {
    const found = findMpi(name);
    // What was unpacked for tests starts no ranks of a user.
    return found && Object.keys(found.env).length === 0
      ? [{ name, version: found.version, command: found.mpirun }]
      : [];
  });
  try {
    enlargeStacks();
    const library = loadMpi(['openmpi', 'mpich']);
    return { launchers, library: { file: library.file, version: library.version() }, problem: null };
  } catch (error) {
    return { launchers, library: null, problem: (error as Error).message };
  }
}
