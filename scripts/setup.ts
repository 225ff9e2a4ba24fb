/** `node dist/scripts/setup.js`: `dawntune setup` as the first step of the npm scripts, quiet where nothing is to do. */

import { surviveLostStreams } from '../src/cli/standard-streams.js';
import { InputError, MachineError } from '../src/errors.js';
import { setup } from '../src/setup/setup.js';
import { messageLine } from '../src/show.js';

surviveLostStreams();
try {
  process.exitCode = await setup(process.argv.slice(2), { quiet: true });
} catch (error) {
  const known = error instanceof InputError || error instanceof MachineError;
  process.stderr.write(`dawntune: ${known ? messageLine(error.message) : String((error as Error).stack)}\n`);
  process.exitCode = known ? error.exitCode : 1;
}
