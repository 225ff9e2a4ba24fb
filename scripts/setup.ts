/** `node dist/scripts/setup.js`: `dawntune setup` for the npm scripts, which run before anything is installed. */

import { surviveLostStreams } from '../src/cli/standard-streams.js';
import { InputError, MachineError } from '../src/errors.js';
import { setup } from '../src/setup/setup.js';

surviveLostStreams();
try {
  process.exitCode = await setup(process.argv.slice(2));
} catch (error) {
  const known = error instanceof InputError || error instanceof MachineError;
  process.stderr.write(`dawntune: ${known ? error.message : String((error as Error).stack)}\n`);
  process.exitCode = known ? error.exitCode : 1;
}
