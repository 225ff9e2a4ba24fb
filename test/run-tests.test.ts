/** Files of tests as `npm run test:mpi` runs them: what they leave behind is told, and is gone, also after a signal. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { testNames } from '../scripts/run-tests.js';
import { InputError } from '../src/errors.js';
import { requireNoneLeft } from './mpi/launch.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-run-tests-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const module = new URL('../scripts/run-tests.js', import.meta.url).href;

const write = (name: string, body: string) =>
  fs.writeFileSync(
    path.join(folder, `${name}.test.js`),
    `const { spawn } = require('node:child_process'); const fs = require('node:fs'); const { tmpdir } = require('node:os');
    require('node:test').test('one', async () => { ${body} });`,
  );
/** A process that outlives whoever starts it, and tells its number through a file. */
const leave = `const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', 'left'], { detached: true, stdio: 'ignore' });
  child.unref();
  fs.writeFileSync(tmpdir() + '/made', ''); fs.writeFileSync(${JSON.stringify(path.join(folder, 'pid'))}, tmpdir() + ' ' + child.pid);`;
write('tidy', '');
write('fails', 'throw new Error()');
write('leaves', leave);
write('waits', `${leave} await new Promise((resolve) => setTimeout(resolve, 60000));`);

function run(name: string): {
  child: ReturnType<typeof spawn>;
  ended: Promise<{ code: number; said: string[] }>;
} {
  const script = `const { runTests } = await import(${JSON.stringify(module)});
    process.exit(await runTests({ names: [${JSON.stringify(name)}], folder: ${JSON.stringify(folder)}, endMilliseconds: 300, say: (line) => console.log('said ' + line) }));`;
  // Or the file would take itself for one of this run's.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let text = '';
  child.stdout!.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  const ended = once(child, 'close').then(([code]) => ({
    code: code as number,
    said: [...text.matchAll(/^said (.*)$/gm)].map(([, line]) => line!),
  }));
  return { child, ended };
}

/** The temporary folder of the run, and the number of the process that its test left. */
function made(): { scratch: string; pid: number } | undefined {
  const file = path.join(folder, 'pid');
  const [scratch, pid] = fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split(' ') : [];
  return pid ? { scratch: scratch!, pid: Number(pid) } : undefined;
}

async function requireGone(): Promise<void> {
  const { scratch, pid } = made()!;
  assert.ok(!fs.existsSync(scratch), scratch);
  await requireNoneLeft(`pid ${pid}`);
  fs.rmSync(path.join(folder, 'pid'));
}

const skip = process.platform === 'linux' ? false : 'processes are found on Linux only';

test('a file that leaves nothing has its own exit code, one that leaves something fails', {
  skip,
}, async () => {
  for (const [name, expected] of [
    ['tidy', 0],
    ['fails', 1],
  ] as const) {
    const { code, said } = await run(name).ended;
    assert.deepEqual([code, said], [expected, []], name);
  }
  const { code, said } = await run('leaves').ended;
  assert.equal(code, 1);
  assert.match(said[0]!, /^left behind: a process: .*node -e .* left$/);
  assert.deepEqual(said.slice(1), ['left behind: in the temporary folder: made']);
  await requireGone();
});

test('a signal ends the file and what it has started', { skip }, async () => {
  const { child, ended } = run('waits');
  for (const until = performance.now() + 20_000; !made() && performance.now() < until; )
    await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill('SIGINT');
  assert.deepEqual(await ended, { code: 130, said: [] });
  await requireGone();
});

test('--only takes the name of a file', () => {
  assert.deepEqual(testNames(folder, null), ['fails', 'leaves', 'tidy', 'waits']);
  assert.deepEqual(testNames(folder, 'tidy'), ['tidy']);
  assert.throws(() => testNames(folder, 'other'), InputError);
});
