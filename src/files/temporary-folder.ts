/** A folder of one's own among the system's temporary ones. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { MachineError } from '../errors.js';
import { printable } from '../show.js';
import { systemReason } from './reason.js';

/** `prefix`: how its name begins. Whoever made it removes it. @throws MachineError where none can be made. */
export function makeTemporaryFolder(prefix: string): string {
  const parent = os.tmpdir();
  try {
    return fs.mkdtempSync(path.join(parent, prefix));
  } catch (error) {
    throw new MachineError(
      `${printable(parent)}: no temporary folder can be made there: ${systemReason(error)}; TMPDIR names another place`,
    );
  }
}
