/** Worker threads that open devices at the same time: two on one software adapter, and one on each of two drivers. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { type VisibleAdapter, visibleAdapters } from '../src/gpu/adapter-list.js';
import { driverFolder, inspectDriver } from '../src/gpu/driver-cache.js';

const program = new URL('adapter-threads.js', import.meta.url).pathname;

/** What the threads computed. Nothing may stand on standard error: Dawn's warnings are kept back in threads too. */
function run(
  how: string,
  adapters: readonly string[],
  env: NodeJS.ProcessEnv = {},
): { name: string; total: number }[] {
  const result = spawnSync(process.execPath, [program, how, ...adapters], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 60_000,
  });
  assert.deepEqual({ status: result.status, stderr: result.stderr }, { status: 0, stderr: '' });
  return JSON.parse(result.stdout);
}

/** Σ 2i over i < 1000: exact in f32, in whatever order. */
const TOTAL = 999_000;

/** The variable for another driver beside the one that is used here; undefined where there is none. */
function otherDriver(): NodeJS.ProcessEnv | undefined {
  if (process.platform !== 'linux') return undefined;
  const cached = inspectDriver('swiftshader');
  if (!cached || cached.problem !== undefined || inspectDriver('lavapipe')?.problem !== undefined)
    return undefined;
  return { VK_ADD_DRIVER_FILES: path.join(driverFolder('swiftshader'), cached.manifest.icd) };
}

const software = (await visibleAdapters()).filter((adapter: VisibleAdapter) => adapter.software);

test('two threads each have a device on one software adapter', (t) => {
  if (software.length === 0) return t.skip('no software adapter here');
  const { name } = software[0]!;
  for (const how of ['copied', 'shared'])
    assert.deepEqual(
      run(how, [name, name]).map(({ total }) => total),
      [TOTAL, TOTAL],
      how,
    );
});

test('two threads have devices of two drivers', (t) => {
  const env = otherDriver();
  if (!env)
    return t.skip('no SwiftShader beside lavapipe in the cache: `dawntune setup --driver swiftshader`');
  assert.ok(fs.existsSync(env['VK_ADD_DRIVER_FILES']!));
  const found = run('copied', ['llvmpipe', 'SwiftShader'], env);
  assert.deepEqual(
    found.map(({ total }) => total),
    [TOTAL, TOTAL],
  );
  assert.match(found[0]!.name, /llvmpipe/i);
  assert.match(found[1]!.name, /swiftshader/i);
});

test('the last words of a process are seen though a thread hangs while its adapters are enumerated', (t) => {
  if (process.platform !== 'linux') return t.skip('nothing is kept back elsewhere');
  const { status, stderr } = spawnSync(process.execPath, [program, 'stuck'], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.deepEqual({ status, stderr }, { status: 3, stderr: 'last words\n' });
});
