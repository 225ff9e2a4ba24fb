/** Cross-encoders: pairs of texts as FlagEmbedding encodes them, and transformers' logits. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { InputError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { CrossEncoder, requireEmbedder } from '../src/models/cross-encoder.js';
import { TokenBatch } from '../src/models/token-batch.js';
import { noGrad, scope } from '../src/tensor/scope.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { openWeights } from '../src/weights/open.js';
import { writeSafetensors } from '../src/weights/safetensors.js';
import { golden } from './repository.js';
import { rerankerFolder, rerankers } from './rerankers.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-reranker-'));
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(async () => {
  await gpu.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

for (const [name, cases] of Object.entries(rerankers.models))
  test(`${name}: pairs are encoded as upstream does, and scored as transformers does`, async () => {
    const model = rerankerFolder(folder, name);
    const tokenizer = Tokenizer.load(model);
    const encoder = CrossEncoder.load(gpu, model);
    assert.deepEqual(encoder.notices, []);
    for (const { max_length, query_max_length, ids, types, logits } of cases) {
      const limit = query_max_length ?? Math.floor((max_length * 3) / 4);
      const pairs = rerankers.pairs.map(([query, passage]) =>
        tokenizer.encodePair(
          tokenizer.encode(query, limit + tokenizer.specials),
          tokenizer.encode(passage, max_length + tokenizer.specials),
          max_length,
        ),
      );
      assert.deepEqual(
        pairs.map((pair) => [...pair.ids]),
        ids,
      );
      assert.deepEqual(
        pairs.map((pair) => pair.types && [...pair.types]),
        types.map((each) => each ?? undefined),
      );
      const batch = new TokenBatch(
        gpu,
        pairs.map((pair) => pair.ids),
        encoder.config,
        0,
        name === 'bert' ? pairs.map((pair) => pair.types!) : undefined,
      );
      const scores = await scope(() => noGrad(() => encoder.scores(batch).toArray()));
      batch.dispose();
      for (const [i, logit] of logits.entries())
        assert.ok(Math.abs(scores[i]! - logit) < 1e-4, `pair ${i}: ${scores[i]}, not ${logit}`);
    }
    encoder.dispose();
  });

test('a part of a batch keeps its token types', async () => {
  const model = rerankerFolder(folder, 'bert');
  const encoder = CrossEncoder.load(gpu, model);
  const texts = [
    [2, 9, 3, 10, 3],
    [2, 11, 12, 3, 10, 11, 3],
    [2, 3, 7, 3],
  ];
  const types = [
    [0, 0, 0, 1, 1],
    [0, 0, 0, 0, 1, 1, 1],
    [0, 0, 1, 1],
  ];
  const batch = new TokenBatch(gpu, texts, encoder.config, 0, types);
  const part = batch.part(1, 3);
  const scores = (of: TokenBatch) => scope(() => noGrad(() => encoder.scores(of).toArray()));
  const [all, some] = [await scores(batch), await scores(part)];
  assert.deepEqual([...some], [...all.slice(1)]);
  const untyped = new TokenBatch(gpu, texts, encoder.config);
  assert.ok(Math.abs((await scores(untyped))[0]! - all[0]!) > 1e-3);
  assert.throws(() => new TokenBatch(gpu, [[2, 3]], encoder.config, 0, [[0, 2]]), InputError);
  for (const each of [batch, part, untyped]) each.dispose();
  encoder.dispose();
});

test('folders that are no reranker of one score are refused, and a reranker is no embedder', () => {
  assert.throws(
    () => CrossEncoder.load(gpu, golden('model')),
    (error: Error) =>
      error instanceof InputError &&
      /expected a reranker, .* found no .*classifier.dense.weight.*"XLMRobertaModel"/.test(error.message),
  );
  requireEmbedder(golden('model'), '--model_name_or_path');
  const model = rerankerFolder(folder, 'bert');
  assert.throws(
    () => requireEmbedder(model, '--model_name_or_path'),
    /--model_name_or_path: expected an embedder, found .*BertForSequenceClassification/,
  );
  // Three labels.
  const several = path.join(folder, 'several');
  fs.cpSync(model, several, { recursive: true });
  const source = openWeights(model);
  const tensors = source.names().map((name) => {
    const { shape } = source.info(name);
    const data = source.read(name);
    if (!/^classifier/.test(name)) return { name, shape, dtype: 'f32' as const, data };
    const copies = Float32Array.from([...data, ...data, ...data]);
    return { name, shape: [3, ...shape.slice(1)], dtype: 'f32' as const, data: copies };
  });
  source.close();
  writeSafetensors(path.join(several, 'model.safetensors'), tensors);
  assert.throws(() => CrossEncoder.load(gpu, several), /a classifier of one label, .* found one of 3 labels/);
});
