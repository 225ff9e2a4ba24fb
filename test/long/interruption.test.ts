/** A run that is asked to stop at each moment at which it looks, in f32 and in f16, and the command at random ones. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { checkpoints } from '../../src/train/checkpoints/checkpoints.js';
import { interrupted, LINES, reference } from '../interrupted-runs.js';
import { repositoryRoot } from '../repository.js';
import { at, filesIn, wordsOf } from '../resumed-runs.js';

for (const [name, line] of Object.entries(LINES))
  test(`asked to stop at any of its moments, a run goes on to the bit: ${name}`, async () => {
    const looks = await reference(name, line);
    for (let look = 0; look < looks; look++) await interrupted(name, line, look);
  });

test('the command, interrupted again and again at random moments, ends as if it had not been', async () => {
  const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');
  const line = '--max_steps 40 --save_steps 15 --gradient_accumulation_steps 3 --resume_from_checkpoint True';
  const whole = await signalled('uninterrupted');
  assert.equal(whole.status, 0, whole.text);
  for (let round = 0; round < 5; round++) {
    const name = `signalled-${round}`;
    const statuses: (number | null)[] = [];
    // Each takes at least a step, or says that it was too early.
    for (let status: number | null = 1; status !== 0; ) {
      assert.ok(statuses.length < 100, statuses.join());
      const signal = Math.random() < 0.5 ? 'SIGINT' : 'SIGTERM';
      const ended = await signalled(name, signal);
      ({ status } = ended);
      statuses.push(status);
      if (status === 0) break;
      assert.equal(status, signal === 'SIGINT' ? 130 : 143, ended.text);
      assert.deepEqual(
        fs.existsSync(at(name)) ? fs.readdirSync(at(name)).filter((file) => file.startsWith('.')) : [],
        [],
      );
      const [, step] = /^interrupted at step (\d+) of 40; newest whole checkpoint: /m.exec(ended.text) ?? [];
      if (step !== undefined) assert.equal(checkpoints(at(name)).at(-1)?.step, Number(step), ended.text);
    }
    const [files, expected] = [filesIn(at(name)), filesIn(at('uninterrupted'))];
    for (const [file, bytes] of expected) assert.ok(bytes === files.get(file), `${name}: ${file}`);
  }

  async function signalled(output: string, signal?: NodeJS.Signals) {
    const child = spawn(process.execPath, [main, 'finetune', ...wordsOf(output, line)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let text = '';
    child.stderr.on('data', (bytes) => {
      text += bytes;
      if (signal && /^adapter /m.test(text)) {
        const now = signal;
        signal = undefined;
        setTimeout(() => child.kill(now), Math.random() * 2500);
      }
    });
    const [status] = (await once(child, 'close')) as [number | null];
    return { status, text };
  }
});
