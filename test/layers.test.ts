/** Imports point down only: cli → train → retrieval → data → models → autograd → kernels → tensor → gpu. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { repositoryRoot } from './repository.js';

const ROOMS = ['gpu', 'tensor', 'kernels', 'autograd', 'models', 'data', 'retrieval', 'train', 'cli'];

function imports(file: string): string[] {
  const text = fs.readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']*)'/g)].map((match) => match[1]!);
}

test('no room imports from a room above it', () => {
  const src = path.join(repositoryRoot, 'src');
  const wrong: string[] = [];
  let seen = 0;
  for (const file of fs.readdirSync(src, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const room = file.split(path.sep)[0]!;
    // errors.ts and flags.ts stand beside the rooms, index.ts above them.
    if (!ROOMS.includes(room)) continue;
    for (const target of imports(path.join(src, file))) {
      seen++;
      const resolved = path.relative(src, path.resolve(path.dirname(path.join(src, file)), target));
      const other = resolved.split(path.sep)[0]!;
      if (
        ROOMS.includes(other)
          ? ROOMS.indexOf(other) > ROOMS.indexOf(room)
          : other === 'index.js' || other === '..'
      )
        wrong.push(`${file} → ${resolved}`);
    }
  }
  assert.ok(seen > 200, `looked at ${seen} imports`);
  assert.deepEqual(wrong, []);
});
