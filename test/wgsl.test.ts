/** The sources of all kernel variants are those in test/golden/wgsl, where a review sees what a change of a kernel did. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { goldenWgsl } from './golden-wgsl.js';
import { golden } from './repository.js';

test('shaders are as they are kept: `npm run wgsl` writes them anew, and the difference belongs to the change', () => {
  const folder = golden('wgsl');
  const texts = goldenWgsl();
  const kept = new Set(fs.readdirSync(folder));
  const added = [...texts.keys()].filter((name) => !kept.has(name));
  const gone = [...kept].filter((name) => !texts.has(name));
  assert.deepEqual({ added, gone }, { added: [], gone: [] }, 'run `npm run wgsl`');
  const changed = [...texts].filter(
    ([name, text]) => fs.readFileSync(path.join(folder, name), 'utf8') !== text,
  );
  assert.deepEqual(
    changed.map(([name]) => name),
    [],
    'run `npm run wgsl` and look at the difference',
  );
});
