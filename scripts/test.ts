/** The tests of `npm test`, one file after the other: their names are listed here, as not every shell does it. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { testNames } from './run-tests.js';

const folder = path.join(fileURLToPath(new URL('..', import.meta.url)), 'test');
const files = testNames(folder, null).map((name) => path.join(folder, `${name}.test.js`));
const { status, error } = spawnSync(process.execPath, ['--test', '--test-concurrency=1', ...files], {
  stdio: 'inherit',
});
if (error) throw error;
process.exitCode = status ?? 1;
