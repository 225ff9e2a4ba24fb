/** The package from outside: its types in the strictest project, its entry points, and what importing them changes. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { compileConsumer, entryPoints, makeConsumer, runConsumer } from './consumer.js';
import { repositoryRoot } from './repository.js';

const inFolder = (body: (folder: string) => void) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-consumer-'));
  try {
    makeConsumer(folder, repositoryRoot);
    body(folder);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
};

test('a strict project without the types of Node, WebGPU and the DOM compiles and runs on all entry points', () => {
  inFolder((folder) => {
    assert.equal(compileConsumer(folder), '');
    const { loss, entries } = JSON.parse(runConsumer(folder)) as { loss: number; entries: number[] };
    assert.equal(loss, 4 * (1 + 64 + 729));
    assert.equal(entries.length, entryPoints.length);
    assert.ok(entries.every((names) => names > 2));
  });
});

test('importing changes no global, listens to no event of the process, and keeps no process alive', () => {
  inFolder((folder) => {
    const script = `
      const globals = () => JSON.stringify(Reflect.ownKeys(globalThis).map(String).sort());
      const events = () => JSON.stringify(process.eventNames().map((name) => [String(name), process.listenerCount(name)]));
      const environment = () => JSON.stringify(process.env);
      const before = [globals(), events(), environment()];
      for (const name of ${JSON.stringify(entryPoints)}) await import(name);
      const after = [globals(), events(), environment()];
      console.log(JSON.stringify([before, after]));`;
    fs.writeFileSync(path.join(folder, 'globals.js'), script);
    const output = execFileSync(process.execPath, ['globals.js'], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 60_000,
    });
    const [before, after] = JSON.parse(output) as [string[], string[]];
    assert.deepEqual(after, before);
  });
});
