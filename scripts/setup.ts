/** `node dist/scripts/setup.js`: `dawntune setup` for the npm scripts, which run before anything is installed. */

import { surviveLostStreams } from '../src/cli/standard-streams.js';
import { InputError, MachineError } from '../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../src/flag-help.js';
import { setupFlags } from '../src/setup/arguments.js';
import { setup } from '../src/setup/setup.js';
import { messageLine } from '../src/show.js';

surviveLostStreams();
try {
  const argv = process.argv.slice(2);
  if (wantsHelp(argv))
    process.stdout.write(renderHelp(usageLine('npm run setup --', setupFlags), setupFlags));
  else process.exitCode = await setup(argv);
} catch (error) {
  const known = error instanceof InputError || error instanceof MachineError;
  process.stderr.write(`dawntune: ${known ? messageLine(error.message) : String((error as Error).stack)}\n`);
  process.exitCode = known ? error.exitCode : 1;
}
