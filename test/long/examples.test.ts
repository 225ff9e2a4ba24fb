/** What examples can do besides: the character model in mixed precision, whole. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { repositoryRoot } from '../repository.js';

test('the character model reaches in f16 the loss that it reaches in f32, and writes what it learned', () => {
  const [own, halves] = ['f32', 'f16'].map((precision) => {
    const file = path.join(repositoryRoot, 'examples', 'character-model.js');
    const output = execFileSync(process.execPath, [file, '150', precision], { encoding: 'utf8' });
    assert.match(output, /^the quick brown fox/m);
    return Number(/^step 150 loss (\S+)$/m.exec(output)![1]);
  }) as [number, number];
  assert.ok(own < 0.02 && Math.abs(halves - own) < 0.02 * own, `${halves} in f16, ${own} in f32`);
});
