/** Other sizes, poolings and head widths against PyTorch: `test/golden/shapes/make.py` made the figures. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { backward } from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { M3Model } from '../src/models/m3.js';
import { scope } from '../src/tensor/scope.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { m3Loss } from '../src/train/losses/m3-loss.js';
import { collate } from '../src/train/step/collate.js';
import { SafetensorsFile } from '../src/weights/safetensors.js';
import { golden } from './repository.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const length = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));

for (const name of ['mean-48', 'last-96', 'cls-60-unnormalized'])
  test(name, async () => {
    const wanted = JSON.parse(fs.readFileSync(golden('shapes', name, 'case.json'), 'utf8'));
    const cases = JSON.parse(fs.readFileSync(golden('loss_cases.json'), 'utf8'));
    const texts = cases.find(({ id }: { id: string }) => id === wanted.source_case);
    const model = M3Model.load(gpu, golden('shapes', name), {
      pooling: wanted.pooling,
      normalize: wanted.normalize,
      colbertDim: wanted.colbert_dim,
    });
    const batch = collate(gpu, Tokenizer.load(golden('model')), model.config, texts.queries, texts.passages, {
      queryMaxLen: wanted.query_max_len,
      passageMaxLen: wanted.passage_max_len,
      colbertFloor: false,
    });
    const loss = await scope(async () => {
      const { loss } = await m3Loss(
        model.represent(model.hidden(batch.tokens), batch.tokens, true),
        {
          ...batch,
          teacherScores: wanted.kind === 'none' ? null : texts.teacher_scores,
          noInBatchNeg: false,
          selfDistill: true,
        },
        {
          temperature: wanted.temperature,
          unified: true,
          kind: wanted.kind === 'none' ? 'kl_div' : wanted.kind,
          negativesCrossDevice: false,
          compat: new Set(),
        },
      );
      backward(loss);
      return loss.item();
    });
    batch.tokens.dispose();
    assert.ok(Math.abs(loss - wanted.loss) < 5e-5 * wanted.loss, `loss ${loss} instead of ${wanted.loss}`);
    const gradients = await model.store.readGradients();
    const file = SafetensorsFile.open(golden('shapes', name, 'gradients.safetensors'));
    assert.equal(file.names().length + 1, gradients.size);
    for (const parameter of file.names()) {
      const want = file.read(parameter);
      const got = gradients.get(parameter)!;
      if (parameter.endsWith('key.bias'))
        assert.ok(
          length(got) < 1e-4 * length(gradients.get(parameter.replace(/bias$/, 'weight'))!),
          parameter,
        );
      else assert.ok(length(got.map((v, i) => v - want[i]!)) < 3e-4 * length(want), `${parameter} differs`);
    }
    const words = length(gradients.get('model.embeddings.word_embeddings.weight')!);
    assert.ok(Math.abs(words - wanted.word_gradient_norm) < 3e-4 * wanted.word_gradient_norm);
    model.dispose();
  });
