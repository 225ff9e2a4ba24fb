/**
 * `node dist/test/interop/hub-cache.js PYTHON`: one cache, two programs. A model that dawntune fetched from a (fake) hub
 * is found by Python's huggingface_hub without a network, and the other way round; what one was cut in the other ends;
 * each waits for the other's lock. Run by hand: it wants a Python with huggingface_hub.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fetchModel } from '../../src/hub/download.js';
import { FakeHub, fakeModel, sha256 } from '../fake-hub.js';
import { golden, repositoryRoot } from '../repository.js';

const python = process.argv[2];
if (python === undefined) {
  process.stderr.write('usage: node dist/test/interop/hub-cache.js PYTHON\n');
  process.exit(2);
}
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-hub-cache-'));
const hub = await FakeHub.start();
const files = Object.fromEntries(
  fs.readdirSync(golden('model')).map((name) => [name, fs.readFileSync(golden('model', name))]),
);
hub.models.set('org/name', fakeModel(files));
const hash = sha256(files['model.safetensors']!);
const say = (line: string) => process.stdout.write(`${line}\n`);

async function theirs(cache: string, task: 'fetch' | 'find' | 'check'): Promise<string> {
  const child = spawn(python!, [path.join(repositoryRoot, 'test', 'interop', 'hub_cache.py'), cache, task], {
    env: {
      ...process.env,
      HF_ENDPOINT: hub.endpoint,
      HF_HUB_DISABLE_XET: '1',
      HF_HUB_DISABLE_PROGRESS_BARS: '1',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  const [code] = await once(child, 'close');
  assert.equal(code, 0, `huggingface_hub: ${task}`);
  return output.trim();
}

const ours = (cache: string, env: Record<string, string>) =>
  fetchModel('org/name', { cacheDir: cache, env, report: { note: (line) => say(`  ${line}`) } });
const online = { HF_ENDPOINT: hub.endpoint };
const offline = { HF_HUB_OFFLINE: '1' };

/** As if the download of the weights had been killed half way. */
function cut(cache: string): void {
  const entry = path.join(cache, 'models--org--name');
  const blob = path.join(entry, 'blobs', hash);
  fs.renameSync(blob, `${blob}.incomplete`);
  fs.truncateSync(`${blob}.incomplete`, files['model.safetensors']!.length >> 1);
  fs.rmSync(path.join(entry, 'snapshots'), { recursive: true });
  fs.rmSync(path.join(entry, 'refs'), { recursive: true });
  hub.requests = [];
}

function requireResumed(snapshot: string): void {
  for (const [name, bytes] of Object.entries(files))
    assert.deepEqual(fs.readFileSync(path.join(snapshot, name)), bytes, name);
  const { range } = hub.requests.find(({ path: asked }) => asked === `/store/${hash}`)!;
  assert.equal(range, `bytes=${files['model.safetensors']!.length >> 1}-`);
}

try {
  const a = path.join(home, 'ours');
  const fetched = await ours(a, online);
  assert.equal(await theirs(a, 'find'), fetched);
  assert.equal(await theirs(a, 'check'), '[]');
  say('a model that dawntune fetched is found by huggingface_hub offline, and its cache is in order');
  const b = path.join(home, 'theirs');
  const other = await theirs(b, 'fetch');
  assert.equal(await ours(b, offline), other);
  hub.requests = [];
  assert.equal(await ours(b, online), other);
  assert.deepEqual(hub.transfers(), []);
  say('a model that huggingface_hub fetched is found by dawntune, offline and online, and not fetched again');
  cut(b);
  requireResumed(await ours(b, online));
  say('dawntune goes on where huggingface_hub was cut');
  cut(a);
  requireResumed(await theirs(a, 'fetch'));
  say('huggingface_hub goes on where dawntune was cut');
  for (const [first, second, who] of [
    [
      () => ours(path.join(home, 'c'), online),
      () => theirs(path.join(home, 'c'), 'fetch'),
      'huggingface_hub',
    ],
    [() => theirs(path.join(home, 'd'), 'fetch'), () => ours(path.join(home, 'd'), online), 'dawntune'],
  ] as const) {
    hub.requests = [];
    hub.faults = [{ on: /store/, times: 99, slow: { piece: 50_000, milliseconds: 100 } }];
    const running = first();
    while (!hub.requests.some(({ path: asked }) => asked === `/store/${hash}`))
      await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(await second(), await running);
    const asked = hub.requests.filter(({ path: each }) => each === `/store/${hash}`);
    assert.equal(asked.length, 1);
    say(`${who} waits for the other that fetches the same file`);
  }
} finally {
  hub.stop();
  fs.rmSync(home, { recursive: true, force: true });
}
