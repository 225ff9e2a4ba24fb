/** Models of the hub: what does not come into the cache, whatever the hub, the network and the system do. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { InputError, MachineError } from '../src/errors.js';
import { resolveModelFolder } from '../src/models/hub-cache.js';
import { type Fault, fakeModel, gitSha1, sha256 } from './fake-hub.js';
import {
  below,
  cache,
  entry,
  environment,
  fetched,
  hub,
  NEEDED,
  noise,
  notes,
  refused,
  requireSnapshot,
  small,
  WEIGHTS,
  whole,
} from './hub-case.js';

test('a connection that is cut again and again is taken up at the byte where it stopped', async () => {
  hub.faults = [
    { on: /store\/.*/, cut: 0 },
    { on: /store/, cut: 70_000 },
    { on: /store/, cut: 100_001 },
    { on: /tree/, answer: { status: 503, headers: { 'retry-after': '0' } } },
    { on: /revision/, answer: { status: 429 } },
  ];
  hub.models.set('org/name', fakeModel({ 'config.json': '{}', 'model.safetensors': WEIGHTS }));
  const folder = await fetched();
  assert.deepEqual(fs.readFileSync(path.join(folder, 'model.safetensors')), WEIGHTS);
  const ranges = hub.requests.filter(({ host }) => host === 'store').map(({ range }) => range);
  assert.equal(ranges.length, 4);
  assert.deepEqual(ranges.slice(0, 2), [undefined, undefined]);
  const starts = ranges.slice(2).map((range) => Number(/^bytes=(\d+)-$/.exec(range!)![1]));
  assert.ok(starts[0]! > 0 && starts[0]! <= 70_000 && starts[1]! > starts[0]! && starts[1]! <= 170_001);
  assert.match(notes.join('\n'), /model\.safetensors: .*connection cut; attempt 2 of 5 in/);
});

test('a hub that is too busy is asked again when it says, and not when it says to come back much later', async () => {
  hub.faults = [{ on: /revision/, answer: { status: 429, headers: { 'retry-after': '1' } } }];
  const start = performance.now();
  await fetched();
  assert.ok(performance.now() - start >= 990);
  hub.faults = [{ on: /revision/, answer: { status: 503, headers: { 'retry-after': '3600' } } }];
  await refused(
    fetched('org/name', { cacheDir: `${cache}x` }),
    MachineError,
    /answers 503, and asks to wait 3600 s/,
  );
  hub.faults = [
    {
      on: /revision/,
      answer: { status: 429, headers: { 'retry-after': new Date(Date.now() + 7_200_000).toUTCString() } },
    },
  ];
  await refused(fetched('org/name', { cacheDir: `${cache}x` }), MachineError, /asks to wait 7[12]\d\d s/);
});

test('what the hub refuses is told with the token that was used and the place to ask', async () => {
  hub.models.set('org/secret', { ...whole, token: 't1' });
  hub.models.set('org/gated', { ...whole, gated: true, token: 't1' });
  const withToken = (text: string) => ({ env: environment({ HF_TOKEN: text }) });
  const page = (name: string) => `${hub.endpoint}/${name}`.replaceAll('.', '\\.');
  await refused(
    fetched('org/none'),
    InputError,
    /org\/none: no such folder here, and .*\(401\).* without a token: give --token or set HF_TOKEN/,
  );
  await refused(
    fetched('org/secret', withToken('t2')),
    InputError,
    /\(404\); it was asked with the token of HF_TOKEN/,
  );
  await refused(
    fetched('org/gated'),
    InputError,
    new RegExp(`\\(401\\); ask for it at ${page('org/gated')}; it was asked without a token`),
  );
  await refused(
    fetched('org/gated', withToken('t2')),
    InputError,
    new RegExp(`\\(403\\); ask for it at ${page('org/gated')}; .* HF_TOKEN.* is restricted`),
  );
  await refused(
    fetched('org/name', { revision: 'v9' }),
    InputError,
    /no revision "v9" of it: see .*--revision/,
  );
  hub.faults = [
    { on: /resolve.*tokenizer\.json/, answer: { status: 404, headers: { 'x-error-code': 'EntryNotFound' } } },
  ];
  await refused(fetched(), InputError, /org\/name: tokenizer\.json: the hub does not have this file/);
  hub.faults = [{ on: /resolve.*tokenizer\.json/, answer: { status: 418 } }];
  await refused(fetched(), MachineError, /tokenizer\.json: .* answers 418, expected the file/);
  for (const [files, message] of [
    [{ 'README.md': 'x' }, /found 1 files without config\.json/],
    [{ 'config.json': '{}', 'model.onnx': 'x' }, /found 2 files without weights/],
  ] as const) {
    hub.models.set('org/other', fakeModel(files));
    await refused(fetched('org/other'), InputError, message);
  }
  assert.ok(!fs.existsSync(path.join(entry('org/other'), 'snapshots')));
});

test('answers that are not a hub’s are refused in one line', async () => {
  const ok = (body: string): Fault['answer'] => ({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body,
  });
  const info = ok(JSON.stringify({ id: 'org/name', sha: whole.commit }));
  const list = (entries: unknown): Fault[] => [
    { on: /revision/, answer: info! },
    { on: /tree/, answer: ok(JSON.stringify(entries))! },
  ];
  const config = { type: 'file', path: 'config.json', size: 2, oid: gitSha1(Buffer.from('{}')) };
  const model = { type: 'file', path: 'model.safetensors', size: 2, oid: gitSha1(Buffer.from('{}')) };
  const cases: [Fault[], RegExp][] = [
    [
      [{ on: /revision/, answer: ok('<!doctype html><title>Login</title>')! }],
      /expected JSON, found a web page .*is HF_ENDPOINT a hub/,
    ],
    [[{ on: /revision/, answer: ok('null')! }], /something else than a hub/],
    [[{ on: /revision/, answer: ok('{}')! }], /expected a commit, found nothing/],
    [
      [{ on: /revision/, answer: ok('{"sha":"../../../etc"}')! }],
      /expected a commit, found "\.\.\/\.\.\/\.\.\/etc"/,
    ],
    [list({}), /something else than a hub/],
    [list([null]), /expected a file, found null/],
    [list([{ type: 'file', path: 7 }]), /expected the path of a file, found 7/],
    [list([config, config]), /expected each file once, found "config\.json"/],
    [
      list([config, { ...model, size: -1 }]),
      /model\.safetensors what cannot be checked: expected its size in bytes, found -1/,
    ],
    [list([config, { ...model, size: 2 ** 50 }]), /expected its size in bytes/],
    [list([config, { ...model, oid: '../x' }]), /expected its sha1, found "\.\.\/x"/],
    [list([config, { ...model, lfs: {} }]), /expected its size in bytes, found nothing/],
    [list([config, { ...model, lfs: { size: 2, oid: 'A'.repeat(64) } }]), /expected its sha256, found/],
    [list([config, { ...model, size: 2 ** 39 }]), /the disk has .* free, org\/name takes/],
    [[{ on: /revision/, answer: { status: 302 } }], /expected a redirect to an address of http, found none/],
    [
      [{ on: /revision/, answer: { status: 302, headers: { location: 'file:///etc/passwd' } } }],
      /expected a redirect/,
    ],
    [
      [{ on: /revision/, times: 99, answer: { status: 307, headers: { location: '?again' } } }],
      /more than 10 redirects/,
    ],
  ];
  for (const [faults, message] of cases) {
    hub.faults = faults;
    await refused(fetched(), MachineError, message);
    assert.deepEqual(below(path.join(entry(), 'snapshots')), [], String(message));
  }
  hub.faults = [
    {
      on: /tree/,
      times: 999,
      answer: { ...ok('[]')!, headers: { link: `<${hub.endpoint}/api/models/org/name/tree/x>; rel="next"` } },
    },
  ];
  await refused(fetched(), MachineError, /more than 100 pages/);
});

test('bytes that are not those of the list never get a name', async () => {
  const flipped = (bytes: Buffer) => Buffer.from(bytes.map((byte, i) => (i === 5 ? byte ^ 1 : byte)));
  const cases: [Fault, RegExp][] = [
    [{ on: /resolve.*config\.json/, bytes: flipped }, /config\.json: expected git-sha1 \w{40}, found \w{40}/],
    [
      { on: /store/, bytes: flipped },
      /model\.safetensors: expected sha256 \w{64}, found \w{64} in the 300000 bytes from .*; what came is removed/,
    ],
    [
      { on: /store/, bytes: (bytes) => bytes.subarray(1) },
      /expected 300000 bytes, as the hub lists it, found an answer of "299999" bytes/,
    ],
    [
      { on: /store/, bytes: (bytes) => Buffer.concat([bytes, Buffer.of(1)]), gzip: true },
      /expected 300000 bytes, as the hub lists it, found more/,
    ],
    [{ on: /store/, answer: { status: 204 } }, /expected the file \(status 200\), found status 204/],
  ];
  hub.models.set(
    'org/name',
    fakeModel({ 'config.json': small['config.json'], 'model.safetensors': WEIGHTS }),
  );
  for (const [fault, message] of cases) {
    hub.faults = [fault];
    await refused(fetched(), MachineError, message);
    assert.deepEqual(below(path.join(entry(), 'snapshots')), []);
    assert.ok(!below(path.join(entry(), 'blobs')).some((name) => name.startsWith(sha256(WEIGHTS))));
  }
  requireSnapshot(await fetched(), hub.models.get('org/name')!, ['config.json', 'model.safetensors']);
});

test('servers that know no ranges, other ranges, or packed answers, and what earlier runs left', async () => {
  const model = fakeModel({ 'config.json': '{}', 'model.safetensors': WEIGHTS });
  hub.models.set('org/name', model);
  const incomplete = path.join(entry(), 'blobs', `${sha256(WEIGHTS)}.incomplete`);
  const cases: [what: string, left: Buffer, faults: Fault[], starts: (number | undefined)[]][] = [
    ['taken up', WEIGHTS.subarray(0, 100_000), [], [100_000]],
    ['there but for its name', WEIGHTS, [], []],
    ['no ranges', WEIGHTS.subarray(0, 100_000), [{ on: /store/, whole: true }], [100_000]],
    ['another range', WEIGHTS.subarray(0, 100_000), [{ on: /store/, shift: 7 }], [100_000, undefined]],
    [
      'no such range',
      WEIGHTS.subarray(0, 100_000),
      [{ on: /store/, answer: { status: 416 } }],
      [100_000, undefined],
    ],
    ['a packed range', WEIGHTS.subarray(0, 100_000), [{ on: /store/, gzip: true }], [100_000, undefined]],
    ['packed', Buffer.alloc(0), [{ on: /store/, gzip: true }], [undefined]],
    ['other bytes', noise(100_000, 9), [], [100_000, undefined]],
    ['other bytes of full length', noise(300_000, 9), [], [undefined]],
    ['more bytes than it has', noise(300_001, 9), [], [undefined]],
    [
      'a store that is forbidden for a moment',
      Buffer.alloc(0),
      [{ on: /store/, answer: { status: 403 } }],
      [undefined, undefined],
    ],
  ];
  for (const [what, left, faults, starts] of cases) {
    fs.rmSync(cache, { recursive: true, force: true });
    fs.mkdirSync(path.dirname(incomplete), { recursive: true });
    fs.writeFileSync(incomplete, left);
    hub.faults = faults;
    hub.requests = [];
    requireSnapshot(await fetched(), model, ['config.json', 'model.safetensors']);
    assert.deepEqual(
      hub.requests
        .filter(({ host }) => host === 'store')
        .map(({ range }) => (range === undefined ? undefined : Number(/\d+/.exec(range)![0]))),
      starts,
      what,
    );
    assert.ok(!fs.existsSync(incomplete), what);
  }
});

test('a server that cuts every answer is given up once no new bytes come, however many come anew', async () => {
  const long = noise(4 << 20);
  hub.models.set('org/name', fakeModel({ 'config.json': '{}', 'model.safetensors': long }));
  const always = { on: /store/, times: Number.POSITIVE_INFINITY };
  const cut = 5 << 19;
  // The file in answers of 2.5 MiB: two, were they parts of it.
  const cases: [what: string, fault: Fault, most: number][] = [
    ['knows no ranges', { ...always, whole: true, cut }, 6],
    ['sends other ranges', { ...always, shift: 5, cut }, 12],
    [
      'has another file each time',
      {
        ...always,
        cut,
        bytes: (bytes) => {
          const other = Buffer.from(bytes);
          other[0] = hub.requests.length;
          return other;
        },
      },
      16,
    ],
  ];
  for (const [what, fault, most] of cases) {
    fs.rmSync(cache, { recursive: true, force: true });
    hub.faults = [fault];
    hub.requests = [];
    await refused(fetched(), MachineError, /connection cut, 5 times|expected sha256/);
    const asked = hub.requests.filter(({ host }) => host === 'store').length;
    assert.ok(asked <= most, `${what}: ${asked} requests`);
    assert.deepEqual(below(path.join(entry(), 'snapshots')), [], what);
  }
  // Each answer brings less than a MiB, but all of them are new, once it is seen that what was left is not the file's.
  hub.faults = [{ ...always, cut: 700_000 }];
  const folder = await fetched();
  assert.deepEqual(fs.readFileSync(path.join(folder, 'model.safetensors')), long);
});

test('a hub that falls silent, or is not there, is given up, and the copy in the cache is used', async () => {
  const impatient = {
    env: environment({ HF_HUB_DOWNLOAD_TIMEOUT: '0.05' }),
    transport: { firstPause: 1, attempts: 2 },
  };
  hub.faults = [{ on: /revision/, times: 2, hang: true }];
  await refused(
    fetched('org/name', impatient),
    MachineError,
    /sends nothing for 0\.05 s, 2 times; check the network and HF_ENDPOINT.*HF_HUB_OFFLINE=1/,
  );
  hub.faults = [{ on: /store/, times: 2, hang: true }];
  await refused(fetched('org/name', impatient), MachineError, /sends nothing/);
  const folder = await fetched();
  const closed = {
    env: { HF_ENDPOINT: await closedPort(), HTTPS_PROXY: 'http://x' },
    transport: { firstPause: 1 },
  };
  notes.length = 0;
  assert.equal(await fetched('org/name', closed), folder);
  assert.match(notes.at(-1)!, /connection refused, 3 times; the copy in the cache is used: .*snapshots/);
  await refused(
    fetched('org/other', closed),
    MachineError,
    /connection refused, 3 times; .*the proxy of HTTPS_PROXY is not used/,
  );
  await refused(
    resolveModelFolder('output/nothere', closed, '--model_name_or_path'),
    MachineError,
    /^--model_name_or_path: output\/nothere: no such folder here; asked the hub: .*connection refused/,
  );
});

async function closedPort(): Promise<string> {
  const server = http.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `http://127.0.0.1:${port}`;
}

test('a full disk is told, and what came is kept', async (context) => {
  const write = fs.writeSync;
  let left = 3;
  context.mock.method(fs, 'writeSync', (...args: Parameters<typeof write>) => {
    if (args[1].length > 1000 && left-- <= 0) throw Object.assign(new Error('x'), { code: 'ENOSPC' });
    return write(...args);
  });
  hub.models.set('org/name', fakeModel({ 'config.json': '{}', 'model.safetensors': WEIGHTS }));
  hub.faults = [{ on: /store/, slow: { piece: 50_000, milliseconds: 5 } }];
  await refused(
    fetched(),
    MachineError,
    /the disk is full; free space on this disk, or give another .*what is there is kept/,
  );
  context.mock.restoreAll();
  hub.requests = [];
  await fetched();
  assert.ok(hub.requests.find(({ host }) => host === 'store')!.range !== undefined);
});

// ---- processes -----------------------------------------------------------------------------------------------

const start = (): ChildProcess =>
  spawn(
    process.execPath,
    [fileURLToPath(new URL('./hub-child.js', import.meta.url)), hub.endpoint, cache, 'org/name'],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );

async function ended(child: ChildProcess): Promise<string> {
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (data) => (output += data));
  const [code] = await once(child, 'close');
  assert.equal(code, 0, output);
  return output;
}

test('killed at any moment, a download leaves nothing that is taken for whole, and goes on', async () => {
  const offline = { env: environment({ HF_HUB_OFFLINE: '1' }) };
  const weights = new RegExp(`store/${sha256(WEIGHTS)}`);
  for (const moment of [/1_Pooling/, /sparse/, weights, weights]) {
    hub.faults = [{ on: /store/, times: 9, slow: { piece: 20_000, milliseconds: 10 } }];
    hub.requests = [];
    const child = start();
    while (!hub.requests.some(({ path }) => moment.test(path)))
      await new Promise((resolve) => setTimeout(resolve, 2));
    if (moment === weights) await new Promise((resolve) => setTimeout(resolve, 40));
    child.kill('SIGKILL');
    await once(child, 'close');
    assert.deepEqual(below(path.join(entry(), 'snapshots')), []);
    assert.deepEqual(below(path.join(entry(), 'refs')), []);
    await refused(fetched('org/name', offline), InputError, /has no revision/);
    for (const name of below(path.join(entry(), 'blobs')).filter((each) => !each.endsWith('.incomplete'))) {
      const bytes = fs.readFileSync(path.join(entry(), 'blobs', name));
      assert.equal(name.length === 64 ? sha256(bytes) : gitSha1(bytes), name);
    }
  }
  // What the third process had of the weights the fourth did not ask for, nor what both had the next.
  const starts = () =>
    Number(/\d+/.exec(hub.requests.find(({ path }) => weights.test(path))!.range ?? '0')![0]);
  const fourth = starts();
  hub.requests = [];
  requireSnapshot(await fetched(), whole, NEEDED);
  assert.ok(fourth > 0 && starts() > fourth, `${fourth}, ${starts()}`);
  assert.ok(!below(path.join(entry(), 'blobs')).some((name) => name.endsWith('.incomplete')));
});

test('of two processes at once one fetches each file, the other waits for it', async () => {
  hub.faults = [{ on: /store/, times: 9, slow: { piece: 20_000, milliseconds: 10 } }];
  const outputs = await Promise.all([ended(start()), ended(start())]);
  for (const output of outputs) assert.ok(output.includes(path.join(entry(), 'snapshots', whole.commit)));
  requireSnapshot(path.join(entry(), 'snapshots', whole.commit), whole, NEEDED);
  const asked = hub.transfers().filter((each) => each.includes('/resolve/'));
  assert.deepEqual(asked.toSorted(), [...new Set(asked)].toSorted());
  assert.equal(asked.length, NEEDED.length);
});
