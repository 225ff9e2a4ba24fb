/** What the tests of the hub share: a fake one, a model on it, a fresh cache for each test, and what is asked of it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, beforeEach } from 'node:test';
import { inspect } from 'node:util';
import type { InputError, MachineError } from '../src/errors.js';
import { type DownloadOptions, fetchModel } from '../src/hub/download.js';
import type { Environment } from '../src/hub/settings.js';
import { FakeHub, type FakeModel, fakeModel } from './fake-hub.js';

export const home = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-hub-'));
export const hub = await FakeHub.start();
after(() => {
  hub.stop();
  fs.rmSync(home, { recursive: true, force: true });
});

/** Bytes that no encoding makes smaller and no place of which is like another. */
export function noise(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

export const WEIGHTS = noise(300_000);
export const small = {
  'config.json': '{"model_type": "bert"}',
  'tokenizer.json': '{}',
  'tokenizer_config.json': '{"a": 1}',
  'modules.json': '[]',
  '1_Pooling/config.json': '{"pooling": "mean"}',
  'colbert_linear.pt': noise(3000, 2),
  'sparse_linear.pt': noise(200, 3),
};
export const whole = fakeModel({
  ...small,
  'model.safetensors': WEIGHTS,
  // What is not needed.
  'pytorch_model.bin': noise(100, 4),
  'README.md': '# a model',
  'onnx/config.json': '{}',
  'onnx/model.onnx': noise(100, 5),
  '.gitattributes': '*.bin lfs',
  '2_Dense/model.safetensors': noise(100, 6),
  '../../outside/config.json': '{}',
});
export const NEEDED = [...Object.keys(small), 'model.safetensors'].toSorted();

let caches = 0;
export let cache: string;
export const notes: string[] = [];
beforeEach(() => {
  cache = path.join(home, `cache-${caches++}`);
  notes.length = 0;
  hub.faults = [];
  hub.requests = [];
  hub.models.clear();
  hub.models.set('org/name', whole);
});

export const environment = (more: Environment = {}): Environment => ({ HF_ENDPOINT: hub.endpoint, ...more });
export const fetched = (name = 'org/name', options: DownloadOptions = {}) =>
  fetchModel(name, {
    cacheDir: cache,
    env: environment(),
    transport: { firstPause: 1 },
    ...options,
    report: { note: (line) => notes.push(line), ...options.report },
  });
/** What was said that is not said of every download. */
export const remarks = () => notes.filter((line) => !/ files, .* from | in [\d.]+ s$/.test(line));
export const entry = (name = 'org/name') => path.join(cache, `models--${name.replace('/', '--')}`);

/** Files below a folder, by name. */
export const below = (folder: string): string[] =>
  fs.existsSync(folder)
    ? fs
        .readdirSync(folder, { recursive: true, encoding: 'utf8', withFileTypes: true })
        .filter((each) => !each.isDirectory())
        .map((each) => path.relative(folder, path.join(each.parentPath, each.name)).split(path.sep).join('/'))
        .toSorted()
    : [];

export function requireSnapshot(folder: string, model: FakeModel, names: readonly string[]): void {
  assert.equal(path.basename(folder), model.commit);
  assert.deepEqual(below(folder), [...names].toSorted());
  for (const name of names)
    assert.deepEqual(fs.readFileSync(path.join(folder, name)), model.files.get(name)!.bytes, name);
}

export const refused = async (
  promise: Promise<unknown>,
  kind: typeof InputError | typeof MachineError,
  message: RegExp,
): Promise<void> => {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof kind, inspect(error));
    assert.match((error as Error).message, message);
    assert.ok(!(error as Error).message.includes('\n'));
    return true;
  });
};
