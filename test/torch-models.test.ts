/** Models in PyTorch files as torch and transformers write them, with tied weights, integers, bools and other heads. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { PositionedFile } from '../src/files/positioned.js';
import { Gpu } from '../src/gpu/gpu.js';
import { M3Model } from '../src/models/m3.js';
import { bytesOf } from '../src/tensor/dtype.js';
import { openWeights } from '../src/weights/open.js';
import { writeTorchFile } from '../src/weights/torch-file.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-torch-models-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

async function load(
  from: string,
): Promise<{ weights: Map<string, Float32Array>; notices: readonly string[] }> {
  const model = M3Model.load(gpu, from, { trainable: () => false });
  const { notices } = model;
  const weights = await model.readWeights();
  model.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
  return { weights, notices };
}

test('a masked language model in a zip, in a file of before 1.6 and in shards is the same encoder', async () => {
  const expected = await load(golden('weights', 'expected'));
  assert.deepEqual(expected.notices, []);
  assert.equal(expected.weights.size, 25);
  for (const [name, others] of [
    // With lm_head.seen, which is of bools; of position_ids, which transformers once wrote, nobody is told.
    ['zip', 8],
    ['legacy', 8],
    ['sharded', 7],
  ] as const) {
    const { weights, notices } = await load(golden('weights', name));
    assert.deepEqual(weights, expected.weights, name);
    assert.equal(notices.length, 1);
    assert.match(
      notices[0]!,
      new RegExp(`: not used and not written again: "lm_head\\.bias", .* and ${others - 3} more$`),
    );
  }
  for (const name of ['zip', 'legacy']) {
    const source = openWeights(golden('weights', name));
    assert.deepEqual(source.info('roberta.embeddings.position_ids'), { shape: [1, 12], dtype: 'i64' });
    assert.deepEqual(source.info('lm_head.seen'), { shape: [2], dtype: 'bool' });
    const tied = ['lm_head.decoder.weight', 'roberta.embeddings.word_embeddings.weight'];
    assert.deepEqual(source.bytesIn(tied[0]!), source.bytesIn(tied[1]!));
    source.close();
  }
});

test('a table goes to the device in windows', async (t) => {
  const [rows, hidden] = [600_000, 8];
  const config = JSON.parse(fs.readFileSync(golden('weights', 'zip', 'config.json'), 'utf8'));
  fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify({ ...config, vocab_size: rows }));
  const source = openWeights(golden('weights', 'expected'));
  const table = Float32Array.from({ length: rows * hidden }, (_, i) => i % 1000);
  const entries = source.names().map((name) => {
    const isTable = name === 'embeddings.word_embeddings.weight';
    return isTable
      ? { name, shape: [rows, hidden], data: table }
      : { name, shape: source.info(name).shape, data: source.read(name) };
  });
  source.close();
  writeTorchFile(path.join(folder, 'pytorch_model.bin'), entries);
  let largest = 0;
  const read = PositionedFile.prototype.readInto;
  t.mock.method(
    PositionedFile.prototype,
    'readInto',
    function (this: PositionedFile, target: Uint8Array, at: number) {
      largest = Math.max(largest, target.length);
      read.call(this, target, at);
    },
  );
  const { weights } = await load(folder);
  const found = weights.get('model.embeddings.word_embeddings.weight')!;
  assert.equal(Buffer.compare(bytesOf(found), bytesOf(table)), 0);
  assert.ok(largest > 0 && largest <= 16 << 20 && largest < table.byteLength, `${largest} bytes`);
});
