/** `mpirun … dawntune parity`: the goldens of two ranks hold with two processes, and a mistake is noticed there too. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test } from 'node:test';
import { golden, repositoryRoot } from '../repository.js';
import { installations, mpirun } from './launch.js';

const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');

for (const installation of installations)
  describe(installation.name, () => {
    const run = (...words: string[]) =>
      mpirun(installation, [main, 'parity', golden(), ...words], { ranks: 2, limit: 180 });

    test('every golden holds, and one table is written', async () => {
      const { code, stdout, stderr } = await run();
      assert.equal(code, 0, stderr);
      const [, held, all] = /^(\d+) of (\d+) checks hold$/m.exec(stdout)!;
      assert.equal(held, all);
      assert.ok(Number(all) > 400, stdout);
      assert.equal(stdout.match(/checks hold$/gm)?.length, 1);
    });

    test('a deliberate error is noticed on both ranks', async () => {
      const { code, stdout } = await run('--deliberate_error', 'missing-term');
      assert.notEqual(code, 0);
      assert.match(stdout, /^rank 1: 2 ranks /m);
    });
  });
