/** The row of the padding token: read by forward, frozen in the gather's gradient, as with PyTorch's `padding_idx`. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { add, backward, gatherRows, linear, mul, sum } from '../src/autograd/index.js';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { parseEncoderConfig } from '../src/models/config.js';
import { M3Model } from '../src/models/m3.js';
import { TokenBatch } from '../src/models/token-batch.js';
import { CounterRandom } from '../src/tensor/random.js';
import { RowIndex } from '../src/tensor/row-index.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const [V, C] = [5, 4];
const table = Float32Array.from({ length: V * C }, (_, i) => i / 10);
const seed = (n: number) => Float32Array.from({ length: n * C }, (_, i) => 1 + i);

/** Index, padding row, and the rows whose gradient must be zero although they are gathered. */
const cases: [number[], number | undefined, number[]][] = [
  [[1, 3, 1, 0], 1, [1]],
  [[1, 3, 1, 0], undefined, []],
  [[1, 3, 1, 0], 4, []],
  [[1, 3, 1, 0], -5, [0]],
  [[4, 4, 2], -1, [4]],
  [[2, 2], 2, [2]],
];

test('segments are the positions of each row, ascending, with numbers of rows of any length', async () => {
  for (const largest of [1, 300, 2 ** 11, 2 ** 13, 2 ** 22, 2 ** 24, 2 ** 32])
    for (const sorted of [false, true]) {
      const random = new CounterRandom(largest, sorted ? 1 : 0);
      const some = Array.from({ length: 40 }, () => random.int(largest));
      const values = Uint32Array.from({ length: 150 }, () => some[random.int(40)]!);
      if (sorted) values.sort();
      for (const without of [undefined, values[7]!]) {
        const list = new RowIndex(gpu, values);
        const { order, starts, rows } = list.segments(without);
        const of = (row: number) => [...values.keys()].filter((i) => values[i] === row);
        const want = [...new Set(values)].sort((a, b) => a - b).filter((row) => row !== without);
        assert.deepEqual([...(await rows.toArray())], want);
        const bounds = [...(await starts.toArray())];
        const positions = [...(await order.toArray())];
        assert.deepEqual(
          want.map((_, i) => positions.slice(bounds[i], bounds[i + 1])),
          want.map(of),
        );
        assert.deepEqual(positions.slice(bounds.at(-1)), without === undefined ? [] : of(without));
        list.dispose();
      }
    }
  assert.equal(gpu.memory().liveBuffers, 0);
});

for (const rows of [false, true])
  test(`a padding row gets no gradient from the gather: ${rows ? 'by rows' : 'dense'}`, async () => {
    for (const [index, paddingIndex, frozen] of cases) {
      const store = new ParameterStore(gpu, [
        { name: 'table', shape: [V, C], table: rows, trainable: true, decay: true },
      ]);
      store.get('table').write(table);
      const list = new RowIndex(gpu, Uint32Array.from(index));
      await scope(async () => {
        const y = gatherRows(store.get('table'), list, { paddingIndex });
        assert.deepEqual(
          await y.toFloat32(),
          Float32Array.from(index.flatMap((row) => [...table.subarray(row * C, row * C + C)])),
        );
        backward(y, Tensor.from(gpu, seed(index.length), y.shape));
      });
      const want = new Float32Array(V * C);
      index.forEach((row, i) => {
        if (!frozen.includes(row))
          for (let c = 0; c < C; c++) want[row * C + c]! += seed(index.length)[i * C + c]!;
      });
      assert.deepEqual((await store.readGradients()).get('table'), want, `${index} without ${paddingIndex}`);
      list.dispose();
      store.dispose();
    }
    assert.equal(gpu.memory().liveBuffers, 0);
  });

test('what other ops and other gathers do with the row counts', async () => {
  await scope(async () => {
    const leaf = Tensor.from(gpu, table, [V, C]);
    leaf.requiresGrad = true;
    const list = new RowIndex(gpu, Uint32Array.of(1, 2));
    const padded = gatherRows(leaf, list, { paddingIndex: 1 });
    backward(
      sum(add(add(padded, gatherRows(leaf, list)), mul(gatherRows(leaf, list), Tensor.from(gpu, [3], [1])))),
    );
    const want = new Float32Array(V * C);
    want.fill(4, C, 2 * C);
    want.fill(5, 2 * C, 3 * C);
    assert.deepEqual(await leaf.grad!.toFloat32(), want);
    leaf.grad!.dispose();
    list.dispose();
  });
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('the index is what it was when it was made', async () => {
  await scope(async () => {
    const leaf = Tensor.from(gpu, table, [V, C]);
    leaf.requiresGrad = true;
    const rows = Uint32Array.of(1, 2);
    const list = new RowIndex(gpu, rows);
    rows[0] = 4;
    const loss = sum(gatherRows(leaf, list, { paddingIndex: 2 }));
    rows[1] = 3;
    backward(loss);
    assert.deepEqual(await leaf.grad!.toFloat32(), new Float32Array(V * C).fill(1, C, 2 * C));
    leaf.zeroGrad();
    list.dispose();
  });
});

test('a padding row that is none of the table is refused, as by PyTorch', () => {
  scope(() => {
    const leaf = Tensor.from(gpu, table, [V, C]);
    const list = new RowIndex(gpu, Uint32Array.of(1));
    for (const paddingIndex of [V, -V - 1, 0.5, Number.NaN])
      assert.throws(() => gatherRows(leaf, list, { paddingIndex }), ShapeError);
    list.dispose();
  });
});

const sizes = {
  hidden_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  intermediate_size: 16,
  vocab_size: 12,
  max_position_embeddings: 20,
};

/** By family and `pad_token_id`: which word and position rows PyTorch freezes (transformers 4.57 and 5.24). */
const families: [string, number | null | undefined, number[], number[]][] = [
  ['xlm-roberta', undefined, [1], [1]],
  ['roberta', 5, [5], [5]],
  ['xlm-roberta', 0, [0], [0]],
  ['bert', undefined, [0], []],
  ['bert', 3, [3], []],
  ['bert', null, [], []],
];

for (const [family, pad, words, positions] of families)
  for (const recompute of [false, true])
    test(`${family} with pad_token_id ${pad}${recompute ? ', recomputed' : ''}`, async () => {
      const config = parseEncoderConfig({
        model_type: family,
        ...sizes,
        ...(pad === undefined ? {} : { pad_token_id: pad }),
      });
      const model = M3Model.random(gpu, config);
      const ids = Uint32Array.from({ length: 12 }, (_, i) => i);
      const batch = new TokenBatch(gpu, [ids], config);
      await scope(async () => {
        const hidden = model.hidden(batch, { recompute });
        backward(sum(mul(hidden, linear(hidden, model.store.get('colbert_linear.weight')))));
      });
      const gradients = await model.store.readGradients();
      const zeros = (name: string, touched: Iterable<number>) => {
        const data = gradients.get(`model.embeddings.${name}_embeddings.weight`)!;
        return [...touched].filter((row) =>
          data.subarray(row * 16, row * 16 + 16).every((value) => value === 0),
        );
      };
      assert.deepEqual(zeros('word', ids), words);
      assert.deepEqual(zeros('position', new Set(batch.positions.values)), positions);
      batch.dispose();
      model.dispose();
      assert.equal(gpu.memory().liveBuffers, 0);
    });

test('a padding token that the vocabulary does not have, and RoBERTa without one, are refused', () => {
  for (const [family, pad] of [
    ['bert', 12],
    ['xlm-roberta', 12],
    ['xlm-roberta', null],
    ['bert', 0.5],
    ['bert', -1],
  ] as const)
    assert.throws(
      () => parseEncoderConfig({ model_type: family, ...sizes, pad_token_id: pad }),
      /config\.json: pad_token_id: expected/,
    );
});
