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
  assert.deepEqual(fs.readdirSync(folder).sort(), [...texts.keys()].sort(), 'run `npm run wgsl`');
  const changed = [...texts].filter(
    ([name, text]) => fs.readFileSync(path.join(folder, name), 'utf8') !== text,
  );
  assert.deepEqual(
    changed.map(([name]) => name),
    [],
    'run `npm run wgsl` and look at the difference',
  );
});
