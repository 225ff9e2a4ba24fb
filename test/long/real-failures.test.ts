/** Runs of the command on disks that are really full, read-only or forbidden: what tests in npm test only pretend. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { checkpoints } from '../../src/train/checkpoints/checkpoints.js';
import { mount } from '../at-exit.js';
import { repositoryRoot } from '../repository.js';
import { assertSameFiles, at, filesIn, wordsOf } from '../resumed-runs.js';

const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');
const LINE = '--max_steps 30 --save_steps 1 --save_total_limit 2';
const superuser = process.getuid?.() === 0;

interface Ended {
  readonly status: number | null;
  readonly text: string;
}

/** Runs the command; `shell` is what a shell does before it. */
function begin(output: string, line: string, shell = ''): ChildProcess & { text: string } {
  const words = [process.execPath, main, 'finetune', ...wordsOf(output, line)];
  const child = spawn('/bin/sh', ['-c', `${shell} exec "$@"`, 'sh', ...words], {
    stdio: ['ignore', 'ignore', 'pipe'],
  }) as unknown as ChildProcess & { text: string };
  child.text = '';
  child.stderr!.on('data', (bytes) => {
    child.text += bytes;
  });
  return child;
}

async function ended(child: ChildProcess & { text: string }): Promise<Ended> {
  const [status] = await once(child, 'close');
  return { status, text: child.text };
}

async function until(reached: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 60_000; !reached() && Date.now() < deadline; )
    await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(reached());
}

/** The run ended in one line; what stayed of it is a run that was going on. */
function assertEnded({ status, text }: Ended, output: string, reason: RegExp): void {
  assert.equal(status, 1, text);
  const line = text.trimEnd().split('\n').at(-1)!;
  assert.match(line, /^dawntune: (?:checkpoint-\d+|the model) could not be saved: /, text);
  assert.match(line, reason);
  assert.match(line, /; the run ends here: /);
  const whole = filesIn(at('whole'));
  for (const [file, bytes] of filesIn(at(output)))
    if (whole.has(file)) assert.ok(bytes === whole.get(file), file);
}

const hidden = (output: string) => fs.readdirSync(at(output)).filter((name) => name.startsWith('.'));

before(async () => {
  const { status, text } = await ended(begin('whole', LINE));
  assert.equal(status, 0, text);
});

test('a disk that fills up while a run saves there', async (t) => {
  // Two checkpoints of 5 MB, a third one before the first goes, the model.
  if (!superuser || !mount(t, at('small'), '24m')) return t.skip('needs a user who may mount');
  const child = begin('small', LINE);
  await until(() => checkpoints(at('small')).length === 2);
  const { bavail, bsize } = fs.statfsSync(at('small'));
  const other = path.join(at('small'), 'other.bin');
  for (let free = bavail * bsize - 1_000_000; free > 0; free -= 1 << 20)
    try {
      fs.appendFileSync(other, Buffer.alloc(Math.min(free, 1 << 20)));
    } catch {
      break;
    }
  const result = await ended(child);
  fs.rmSync(other);
  assertEnded(
    result,
    'small',
    /the disk is full; free space on this disk and rerun; .* --resume_from_checkpoint \S*checkpoint-\d+ goes on/,
  );
  assert.deepEqual(hidden('small'), []);
  assert.equal(checkpoints(at('small')).length, 2);
  const again = await ended(begin('small', `${LINE} --resume_from_checkpoint True`));
  assert.equal(again.status, 0, again.text);
  assertSameFiles('whole', 'small');
});

test('a disk that becomes read-only under a run', async (t) => {
  if (!superuser || !mount(t, at('locked'), '64m')) return t.skip('needs a user who may mount');
  const child = begin('locked', LINE);
  await until(() => checkpoints(at('locked')).length > 0);
  // Refused as long as a file is open for writing.
  await until(() => spawnSync('mount', ['-o', 'remount,ro', at('locked')]).status === 0);
  const result = await ended(child);
  assertEnded(result, 'locked', /the file system is read-only; give a folder that can be written/);
  spawnSync('mount', ['-o', 'remount,rw', at('locked')]);
  const again = await ended(begin('locked', `${LINE} --resume_from_checkpoint True`));
  assert.equal(again.status, 0, again.text);
  assertSameFiles('whole', 'locked');
});

/** A superuser as any other user is: what folders forbid counts. */
const plainly = ['--bounding-set', '-dac_override,-dac_read_search'];

test('a folder in which the run may not begin, nor write any more', async (t) => {
  if (!superuser || spawnSync('setpriv', [...plainly, 'true']).status !== 0)
    return t.skip('needs a superuser who may give up a right');
  const shell = `exec setpriv ${plainly.join(' ')} "$@";`;
  fs.mkdirSync(at('forbidden'), { mode: 0o555 });
  const first = await ended(begin('forbidden', LINE, shell));
  assert.equal(first.status, 2, first.text);
  assert.match(
    first.text,
    /--output_dir: .*forbidden: cannot be written: permission denied; allow this user to write there/,
  );
  assert.deepEqual(fs.readdirSync(at('forbidden')), []);
  fs.chmodSync(at('forbidden'), 0o755);
  const child = begin('forbidden', LINE, shell);
  await until(() => checkpoints(at('forbidden')).length > 0);
  fs.chmodSync(at('forbidden'), 0o555);
  assertEnded(await ended(child), 'forbidden', /permission denied; allow this user to write there and rerun/);
  fs.chmodSync(at('forbidden'), 0o755);
  const again = await ended(begin('forbidden', `${LINE} --resume_from_checkpoint True`, shell));
  assert.equal(again.status, 0, again.text);
  assertSameFiles('whole', 'forbidden');
});

test('a folder that is removed under a run', async () => {
  const child = begin('removed', LINE);
  await until(() => fs.existsSync(at('removed')) && checkpoints(at('removed')).length > 0);
  fs.renameSync(at('removed'), at('moved'));
  const { status, text } = await ended(child);
  assert.equal(status, 1, text);
  assert.match(
    text.trimEnd().split('\n').at(-1)!,
    /could not be saved: .*(?:folder was removed|no such file)/,
  );
  assert.ok(!fs.existsSync(at('removed')));
});
