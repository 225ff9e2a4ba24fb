/** `node dist/scripts/setup.js`: `dawntune setup` as the first step of the npm scripts, quiet where nothing is to do. */

import { exitCodeOf, tellFailure } from '../src/cli/failure.js';
import { surviveLostStreams } from '../src/cli/standard-streams.js';
import { requireNode } from '../src/version.js';

surviveLostStreams();
try {
  requireNode();
  // What it needs of the packages may not load here, which is told like any other failure.
  const { setup } = await import('../src/setup/setup.js');
  process.exitCode = await setup(process.argv.slice(2), { quiet: true });
} catch (error) {
  tellFailure(error);
  process.exitCode = exitCodeOf(error);
}
