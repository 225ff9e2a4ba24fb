/** `bench peers`: what its libraries are given and checked against, how their processes answer, what it makes of that. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { CHARACTERS, characterBatch, characterParameters } from '../bench/peers/characters.js';
import { open } from '../bench/peers/dawntune.js';
import { peersFolder, requirePeers } from '../bench/peers/install.js';
import { onnxModel } from '../bench/peers/onnx.js';
import { PeerProcess } from '../bench/peers/process.js';
import type { Library } from '../bench/peers/protocol.js';
import { type PeerRow, renderPeers, summarize } from '../bench/peers/report.js';
import { rest } from '../bench/peers/rest.js';
import { errorOf, operand, reference, toleranceOf, type Workload } from '../bench/peers/workloads.js';
import { cacheFolder } from '../src/gpu/driver-cache.js';
import { repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-peers-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

describe('what the libraries do', () => {
  test('operands come from one formula, also in other languages', () => {
    assert.deepEqual(
      [...operand(1, 3)].map((value) => value.toFixed(6)),
      ['0.955672', '-0.680930', '-0.931065'],
    );
    const values = operand(2, 10_000, 0.5);
    assert.ok(values.every((value) => value >= -0.5 && value < 0.5));
    assert.ok(Math.abs(values.reduce((sum, value) => sum + value, 0) / values.length) < 0.01);
  });

  test('the character model has a text that can be learnt, and its parameters are those that PyTorch was given', () => {
    const { inputs, targets } = characterBatch(3);
    assert.deepEqual([...inputs.subarray(1, 128)], [...targets.subarray(0, 127)]);
    assert.ok(inputs.every((character) => character >= 0 && character < CHARACTERS.vocabulary));
    // What follows a character is one of three.
    for (const [i, character] of inputs.entries())
      assert.ok([3, 4, 5].some((more) => (7 * character + more) % CHARACTERS.vocabulary === targets[i]));
    const parameters = characterParameters();
    assert.equal(parameters.length, 2 + 12 * CHARACTERS.layers + 3);
    for (const { name, shape, values } of parameters)
      assert.equal(
        values.length,
        shape.reduce((a, b) => a * b, 1),
        name,
      );
    // Untrained, it knows little more than nothing.
    const losses = reference({ kind: 'characters' });
    assert.ok(Math.abs(losses[0]! - Math.log(CHARACTERS.vocabulary)) < 0.3 && losses.at(-1)! < losses[0]!);
  });

  test('an error is relative to the largest value; what is missing or no number is no result', () => {
    assert.equal(errorOf([1, 2.5, -4], [1, 2, -4]), 0.125);
    assert.equal(errorOf([1, 2], [1, 2, -4]), Infinity);
    assert.equal(errorOf([1, Number.NaN, -4], [1, 2, -4]), Infinity);
  });

  test('an ONNX model has its nodes, constants and output, with lengths that fit', () => {
    const values = Float32Array.from({ length: 100 }, (_, i) => i);
    const bytes = Buffer.from(
      onnxModel({
        nodes: [{ op: 'Transpose', inputs: ['a'], outputs: ['y'], lists: { perm: [1, 0] } }],
        constants: [{ name: 'a', shape: [2, 50], values }],
        output: { name: 'y', shape: [50, 2] },
      }),
    );
    // ir_version 8; opset_import of the standard operators 17, of com.microsoft 1.
    const domain = Buffer.from('com.microsoft').toString('hex');
    assert.equal(bytes.subarray(0, 27).toString('hex'), `080842040a00101142110a0d${domain}1001`);
    assert.ok(bytes.includes(Buffer.from(values.buffer)));
    assert.ok(bytes.includes(Buffer.from([0x22, 9, ...Buffer.from('Transpose')])));
    const graph = 27;
    assert.equal(bytes[graph], 0x3a);
    assert.equal(bytes[graph + 1]! - 128 + 128 * bytes[graph + 2]!, bytes.length - graph - 3);
  });
});

describe('dawntune as a peer', () => {
  let library: Library;
  before(async () => {
    library = await open('', null);
  });
  const workloads: Workload[] = [
    { kind: 'matmul', n: 40 },
    { kind: 'attention', texts: 2, tokens: 19, heads: 2, headDim: 8 },
    { kind: 'train', rows: 12, width: 8, hidden: 20 },
  ];
  for (const workload of workloads)
    test(`${workload.kind} gives what float64 gives`, async () => {
      const work = await library.prepare(workload);
      const want = reference(workload);
      assert.ok(want.length >= 3 && new Set(want).size > 2);
      const error = errorOf(await work.result(), want);
      assert.ok(error <= toleranceOf(workload), `${error}`);
      assert.ok(work.variant?.());
      await work.run(3);
      work.dispose?.();
    });
});

describe('a peer’s process', () => {
  const start = (program: string, timeout = 20) =>
    new PeerProcess(process.execPath, ['-e', program], process.env, timeout);

  test('answers in order, whatever else it prints', async () => {
    const peer = start(`
      require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
        const { times } = JSON.parse(line);
        console.log('chatter');
        console.log('#peer ' + JSON.stringify(times === 2 ? { error: 'not twice' } : { seconds: times, cpuSeconds: 0 }));
      });`);
    const answers = [1, 2, 3].map((times) => peer.ask<{ seconds: number }>({ do: 'run', times }));
    const settled = await Promise.allSettled(answers);
    assert.deepEqual(
      settled.map((each) => (each.status === 'fulfilled' ? each.value.seconds : each.reason.message)),
      [1, 'not twice', 3],
    );
    peer.stop();
  });

  test('that ends says why, and says it again', async () => {
    const peer = start(`console.error('Error: no such device'); process.exit(3)`);
    await assert.rejects(peer.ask({ do: 'run', times: 1 }), /ended with 3: Error: no such device/);
    await assert.rejects(peer.ask({ do: 'run', times: 1 }), /ended with 3/);
    await assert.rejects(
      new PeerProcess(path.join(folder, 'none'), [], {}, 5).ask({ do: 'run', times: 1 }),
      /ENOENT/,
    );
  });

  test('rests when its threads do', async () => {
    const spinning = new Worker(
      `const end = performance.now() + 300; while (performance.now() < end); require('node:worker_threads').parentPort.postMessage(performance.now() + performance.timeOrigin);`,
      { eval: true },
    );
    const ended = once(spinning, 'message');
    await once(spinning, 'online');
    await rest();
    const now = performance.timeOrigin + performance.now();
    assert.ok(now >= (await ended)[0], 'it rested while a thread was spinning');
  });

  test('that does not answer is given up', async () => {
    const peer = start('setInterval(() => {}, 1000)', 0.3);
    await assert.rejects(peer.ask({ do: 'run', times: 1 }), /no answer in 0.3 s/);
  });
});

describe('the report', () => {
  const row = (peer: string, backend: 'webgpu' | 'cpu', seconds: number[]): PeerRow => ({
    workload: 'matmul 8×8×8',
    peer,
    version: '1',
    backend,
    operands: 'resident',
    variant: null,
    checked: 1e-7,
    flops: 1e9,
    times: 1,
    samples: seconds.map((each) => ({ seconds: each, cpuSeconds: 2 * each })),
  });
  const rows: PeerRow[] = [
    row('dawntune', 'webgpu', [1, 2, 1]),
    row('slow', 'webgpu', [9, 9, 9]),
    row('best', 'webgpu', [4, 6, 5]),
    row('native', 'cpu', [0.1, 0.1, 0.1]),
    { ...row('broken', 'webgpu', []), reason: 'does not start' },
  ];

  test('the ratio is the median of the rounds, to the best other WebGPU library', () => {
    assert.deepEqual(summarize(rows), [{ workload: 'matmul 8×8×8', best: 'best', ratio: 4, cpuRatio: 4 }]);
    assert.deepEqual(summarize(rows.slice(1)), []);
  });

  test('what cannot run is a line with the reason', () => {
    const text = renderPeers(rows, summarize(rows));
    assert.match(text, /^ {2}broken +1 +does not start$/m);
    assert.match(text, /^ {2}dawntune +1 +1\.00 +0\.50–1\.00 +0\.50 +1000\.0 +1e-7 +resident$/m);
    assert.match(text, /dawntune is 4\.00 times as fast as best/);
  });
});

test('without its libraries the suite downloads nothing when told so, and says what is missing', async () => {
  const before = process.env['DAWNTUNE_CACHE'];
  process.env['DAWNTUNE_CACHE'] = path.join(folder, 'empty');
  try {
    await assert.rejects(
      requirePeers(false, () => {}),
      /does not have @jax-js\/jax@[\d.]+, .*without --no_install/,
    );
    assert.ok(!fs.existsSync(path.join(folder, 'empty')));
  } finally {
    if (before === undefined) delete process.env['DAWNTUNE_CACHE'];
    else process.env['DAWNTUNE_CACHE'] = before;
  }
});

test('libraries that do not load leave dawntune’s own figures', () => {
  const cache = path.join(folder, 'cache');
  const vulkan = path.join(cacheFolder(), 'vulkan');
  fs.mkdirSync(cache, { mode: 0o700 });
  if (fs.existsSync(vulkan)) fs.symlinkSync(vulkan, path.join(cache, 'vulkan'));
  const env = { ...process.env, DAWNTUNE_CACHE: cache };
  const program = path.join(repositoryRoot, 'dist', 'bench', 'main.js');
  const run = (...words: string[]) =>
    spawnSync(process.execPath, [program, 'peers', ...words], { env, encoding: 'utf8' });
  const refused = run('--no_install');
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /does not have @jax-js/);
  // Packages by name alone: what they should hold is not there.
  const names = [...refused.stderr.matchAll(/(@?[\w/-]+)@(\d[\d.]*\d)/g)].map(([, name, version]) => [
    name,
    version,
  ]);
  const peers = path.join(cache, path.basename(peersFolder()));
  for (const [name] of names) {
    fs.mkdirSync(path.join(peers, 'node_modules', name!), { recursive: true });
    fs.writeFileSync(path.join(peers, 'node_modules', name!, 'package.json'), '{"version":"0"}');
  }
  fs.writeFileSync(
    path.join(peers, 'package.json'),
    `${JSON.stringify({ private: true, dependencies: Object.fromEntries(names) }, null, 2)}\n`,
  );
  const { status, stdout, stderr } = run(
    ...[
      '--no_install',
      '--workloads',
      'matmul',
      '--sizes',
      '32',
      '--rounds',
      '1',
      '--min_time',
      '0',
      '--json',
    ],
  );
  assert.equal(status, 0, stderr);
  const { rows, summaries } = JSON.parse(stdout) as { rows: PeerRow[]; summaries: unknown[] };
  assert.equal(rows.length, 5);
  const { m, n, k, dtype, layout, variant, gflops, checked } = rows[0] as unknown as Record<string, unknown>;
  assert.deepEqual([m, n, k, dtype, layout], [32, 32, 32, 'f32', 'NN']);
  assert.ok(variant && Number(gflops) > 0 && Number(checked) < 2e-5);
  for (const { peer, reason } of rows.slice(1)) assert.match(reason ?? '', /Cannot find|not defined/, peer);
  assert.deepEqual(summaries, []);
});
