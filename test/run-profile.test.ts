/** `--profile FILE` of finetune: the trace of a run, its table, and what is said where it cannot be had. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { silentReporter } from '../src/console/reporter.js';
import { InputError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { finetune } from '../src/train/trainer.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';
import { DEVICE, HOST, readTrace, requireNested } from './trace-events.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-run-profile-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

/** Three steps; returns what was said to people. */
async function run(
  output: string,
  flags: readonly string[],
  openGpu: () => Promise<Gpu> = lendGpu,
): Promise<string[]> {
  const notes: string[] = [];
  const { args } = parseFinetuneArguments([
    ...['--model_name_or_path', golden('model'), '--output_dir', path.join(folder, output)],
    ...['--train_data', golden('example_data', 'retrieval', 'nq.jsonl'), '--train_group_size', '3'],
    ...['--query_max_len', '16', '--passage_max_len', '32', '--per_device_train_batch_size', '2'],
    ...['--unified_finetuning', 'True', '--max_steps', '3', '--gradient_accumulation_steps', '2'],
    ...['--save_strategy', 'no', ...flags],
  ]);
  await finetune(args, { ...silentReporter, note: (line) => notes.push(line) }, openGpu);
  return notes;
}

test('the trace of a run has every step and phase, the table every kernel, and the weights are the same', async () => {
  const file = path.join(folder, 'trace.json');
  const notes = await run('profiled', ['--profile', file]);
  const events = readTrace(file);
  requireNested(events);
  const host = events.filter(({ tid }) => tid === HOST);
  const count = (name: string) => host.filter((event) => event.name === name).length;
  assert.deepEqual(
    host.map(({ name }) => name).filter((name) => name.startsWith('step')),
    ['step 1', 'step 2', 'step 3'],
  );
  assert.deepEqual([count('collate'), count('forward'), count('backward')], [6, 6, 6]);
  assert.deepEqual([count('optimizer'), count('save')], [3, 1]);
  assert.ok(count('wait') >= 3, `${count('wait')} waits`);

  // Most of the time the GPU has something to do; all of it happened within the profile.
  const device = events.filter(({ tid }) => tid === DEVICE);
  assert.ok(device.length > 1000, `${device.length} dispatches`);
  const end = Math.max(...host.map(({ ts, dur }) => ts + dur));
  for (const { ts, dur } of device) assert.ok(ts > -1000 && ts + dur < end + 1000, `${ts} of ${end}`);
  assert.ok(device.some(({ name, args }) => args['variant'] !== undefined || name.startsWith('matmul')));

  const begin = notes.findIndex((line) => line.startsWith('kernel '));
  assert.ok(begin >= 0, notes.join('\n'));
  const rows = notes.slice(
    begin + 1,
    notes.findIndex((line) => line.startsWith('all ')),
  );
  for (const row of rows) {
    const [count, dispatches] = row.slice(row.search(/ \d/)).trim().split(/ +/).map(Number);
    assert.ok(dispatches! >= count! && count! > 0, `launches and dispatches in ${row}`);
  }
  for (const kernel of ['matmul', 'attention', 'layerNorm', 'adamW', 'pointwise'])
    assert.ok(
      rows.some((line) => line.startsWith(kernel)),
      `${kernel} in\n${rows.join('\n')}`,
    );
  // The dispatches of a family's launch stand in its row, whichever way it hands them over.
  assert.ok(
    rows.some((line) => /^pointwise gelu gradient f32 +(one|four) /.test(line)),
    rows.join('\n'),
  );
  for (const line of rows) {
    const [, launches, dispatches] = /(\d+) +(\d+) +[\d.]+ +[\d.]+ %/.exec(line)!;
    assert.ok(Number(dispatches) >= Number(launches), line);
  }
  assert.ok(notes.some((line) => /^the GPU was busy for \d+ ms of \d+ ms/.test(line)));

  await run('plain', []);
  const weights = (output: string) => fs.readFileSync(path.join(folder, output, 'model.safetensors'));
  assert.equal(Buffer.compare(weights('profiled'), weights('plain')), 0);
  assert.deepEqual(
    fs.readdirSync(folder).filter((name) => name.includes('tmp')),
    [],
  );
});

test('where the trace cannot be written nothing is begun', async () => {
  for (const file of [path.join(folder, 'missing', 'trace.json'), folder])
    await assert.rejects(run('unwritable', ['--profile', file]), (error: Error) => {
      assert.ok(error instanceof InputError);
      assert.match(error.message, /^--profile: .*: cannot write: [^\n]+$/);
      return true;
    });
  assert.equal(fs.existsSync(path.join(folder, 'unwritable')), false);
});

test('without timestamps the trace has the lane of the host, and one line says so', async () => {
  const file = path.join(folder, 'host.json');
  const notes = await run('host', ['--profile', file], async () => {
    const gpu = await Gpu.open();
    Object.assign(gpu, { capabilities: { ...gpu.capabilities, timestamps: false } });
    Object.assign((gpu as unknown as { profiler: object }).profiler, { times: false });
    return gpu;
  });
  const events = readTrace(file);
  requireNested(events);
  assert.deepEqual([...new Set(events.map(({ tid }) => tid))], [HOST]);
  assert.equal(
    notes.filter((line) => /^--profile: .* has no timestamps: the trace shows the host alone$/.test(line))
      .length,
    1,
  );
  assert.equal(notes.filter((line) => line === '' || line.startsWith('kernel ')).length, 0);
});
