/**
 * `mpirun … dawntune finetune`: two processes train what two threads train, to the bit; and whatever ends one of them in
 * the middle of a step or of a save ends the run, whose last checkpoint goes on to the same model.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import type { MpiInstallation } from '../../src/setup/mpi.js';
import { checkpoints } from '../../src/train/checkpoints/checkpoints.js';
import { mount } from '../at-exit.js';
import { repositoryRoot } from '../repository.js';
import { assertSameFiles, at, wordsOf } from '../resumed-runs.js';
import { type Ended, FAULT_SECONDS, installations, mpirun } from './launch.js';

const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');
const STEPS = '--max_steps 12 --save_steps 1 --save_total_limit 2 --logging_steps 1 --nproc_per_node 2';

before(() => {
  const words = wordsOf('whole', STEPS);
  const { status, stderr } = spawnSync(process.execPath, [main, 'finetune', ...words], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
});

interface Trained {
  readonly line?: string;
  /** Once, when the run has two checkpoints: with the numbers of the processes. */
  readonly meanwhile?: (pids: readonly number[]) => void;
  readonly limit?: number;
}

/** Two ranks under mpirun. */
async function train(
  installation: MpiInstallation,
  output: string,
  { line = '', meanwhile, limit = 120 }: Trained = {},
): Promise<Ended> {
  let done = false;
  return mpirun(installation, [main, 'finetune', ...wordsOf(output, `${STEPS} ${line}`)], {
    ranks: 2,
    limit,
    watch(said) {
      if (done || !meanwhile || !fs.existsSync(at(output)) || checkpoints(at(output)).length < 2) return;
      done = true;
      meanwhile([...said.matchAll(/is process (\d+)/g)].map(([, pid]) => Number(pid)));
    },
  });
}

async function goesOn(installation: MpiInstallation, output: string): Promise<void> {
  const { code, stderr } = await train(installation, output, { line: '--resume_from_checkpoint True' });
  assert.equal(code, 0, stderr);
  assertSameFiles('whole', output);
}

for (const installation of installations)
  describe(installation.name, () => {
    const folder = (name: string) => `${name}-${installation.name.replace(' ', '-')}`;

    test('two processes train what two threads train', async () => {
      const { code, stderr } = await train(installation, folder('trained'), { line: '--launcher threads' });
      assert.equal(code, 0, stderr);
      assert.equal(stderr.match(/^--launcher threads has no effect here/gm)?.length, 1);
      assertSameFiles('whole', folder('trained'));
      assert.match(stderr, /rank 0 is process \d+, rank 1 is process \d+/);
      assert.equal(stderr.match(/^model written to /gm)?.length, 1);
    });

    test('a rank is killed in the middle of a step', async () => {
      const output = folder('killed');
      const { code } = await train(installation, output, {
        meanwhile: (pids) => process.kill(pids[1]!, 'SIGKILL'),
        limit: 60,
      });
      assert.notEqual(code, 0);
      await goesOn(installation, output);
    });

    test('a rank is stopped in the middle of a step', async () => {
      const output = folder('stopped');
      let began = 0;
      const { code, stderr } = await train(installation, output, {
        line: '--ddp_timeout 5',
        meanwhile(pids) {
          process.kill(pids[1]!, 'SIGSTOP');
          began = performance.now();
        },
        limit: 90,
      });
      assert.notEqual(code, 0);
      assert.match(stderr, /^dawntune: rank 1: /m);
      const seconds = (performance.now() - began) / 1000;
      assert.ok(seconds < FAULT_SECONDS, `took ${seconds} s`);
      await goesOn(installation, output);
    });

    test('what is wrong with the words is told once', async () => {
      const { code, stderr } = await train(installation, folder('wrong'), {
        line: '--train_data nowhere.jsonl',
      });
      assert.equal(code, 2, stderr);
      assert.equal(stderr.match(/^dawntune: .*nowhere\.jsonl/gm)?.length, 1, stderr);
      assert.equal(stderr.match(/^dawntune: /gm)?.length, 1, stderr);
    });

    test('a signal before the first step ends all ranks with the line that tells of it', async () => {
      let signalled = false;
      const { code, stderr } = await mpirun(
        installation,
        [main, 'finetune', ...wordsOf(folder('early'), STEPS)],
        {
          ranks: 2,
          limit: FAULT_SECONDS,
          watch(said) {
            const [pid] = [...said.matchAll(/is process (\d+)/g)].map(([, number]) => Number(number));
            if (signalled || pid === undefined) return;
            signalled = true;
            process.kill(pid, 'SIGTERM');
          },
        },
      );
      assert.equal(code, 143, stderr);
      assert.match(stderr, /^interrupted before the first step/m);
      assert.doesNotMatch(stderr, /^dawntune: /m);
    });

    test('a disk that fills up while a run saves there', async (t) => {
      const output = folder('full');
      // Two checkpoints of 5 MB, a third one before the first goes, the model.
      if (!mount(t, at(output), '24m')) return t.skip('needs a user who may mount');
      const other = at(output, 'other.bin');
      const { code, stderr } = await train(installation, output, {
        meanwhile() {
          const { bavail, bsize } = fs.statfsSync(at(output));
          for (let free = bavail * bsize - 1_000_000; free > 0; free -= 1 << 20)
            try {
              fs.appendFileSync(other, Buffer.alloc(Math.min(free, 1 << 20)));
            } catch {
              break;
            }
        },
        limit: 60,
      });
      assert.equal(code, 1, stderr);
      assert.match(stderr, /could not be saved: .*the disk is full/);
      fs.rmSync(other);
      await goesOn(installation, output);
    });
  });
