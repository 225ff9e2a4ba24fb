/** `dawntune demo --model`: from a folder with heads and without, its pooling given, said or found out. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { golden, repositoryRoot } from '../repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-demo-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');

function demo(model: string, output: string, ...words: string[]): { table: number[][]; told: string } {
  const output_dir = path.join(folder, output);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [main, 'demo', '--model', model, '--output_dir', output_dir, '--steps', '12', ...words],
    { encoding: 'utf8' },
  );
  assert.equal(status, 0, stderr);
  const table = ['dense', 'sparse', 'colbert', 'hybrid'].map((mode) => {
    const [, figures] = new RegExp(`^${mode}((?: +[\\d.]+){4})$`, 'm').exec(stdout) ?? [];
    assert.ok(figures, stdout);
    return figures.trim().split(/ +/).map(Number);
  });
  return { table, told: stderr };
}

test('from pretrained weights', () => {
  // The golden model, without heads and without a word on its pooling.
  const bare = path.join(folder, 'bare');
  fs.cpSync(golden('model'), bare, { recursive: true });
  for (const head of ['colbert_linear.pt', 'sparse_linear.pt']) fs.rmSync(path.join(bare, head));
  const first = demo(bare, 'first', '--learning_rate', '2e-3');
  assert.match(
    first.told,
    /bare does not say how its vectors are pooled: of 150 queries cls finds \d+, mean/,
  );
  assert.match(first.told, /colbert_linear\.pt: no such file; this head starts with random weights/);
  const [, , colbert] = first.table;
  assert.ok(colbert![3]! > colbert![2]!, `nDCG ${colbert}`);

  // What that wrote says all by itself, and is as good before training as it was after.
  const trained = path.join(folder, 'first', 'model');
  const again = demo(trained, 'again', '--learning_rate', '0');
  assert.doesNotMatch(again.told, /does not say|random weights/);
  for (const [mode, [recallBefore, recallAfter, before, after]] of again.table.entries()) {
    assert.deepEqual([recallBefore, before], [first.table[mode]![1], first.table[mode]![3]]);
    assert.deepEqual([recallAfter, after], [recallBefore, before]);
  }
});
