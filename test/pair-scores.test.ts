/** Scores of pairs against those of the embeddings of both texts, whatever the batches, the spools and the ranks. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { InputError, ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { maxSim } from '../src/kernels/maxsim/maxsim.js';
import { maxSimPairs } from '../src/kernels/maxsim/pair-layout.js';
import { maxSimReference } from '../src/kernels/maxsim/reference.js';
import { M3Model } from '../src/models/m3.js';
import { encodeTexts } from '../src/retrieval/encode/encode-texts.js';
import { colbertScore, denseScore, lexicalScore } from '../src/retrieval/pair-scores.js';
import { scorePairs } from '../src/retrieval/score/pair-scores.js';
import { CounterRandom } from '../src/tensor/random.js';
import { noGrad, scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { golden } from './repository.js';

let gpu: Gpu;
let model: M3Model;
const tokenizer = Tokenizer.load(golden('model'));
before(async () => {
  gpu = await Gpu.open();
  model = M3Model.load(gpu, golden('model'));
});
after(async () => {
  model.dispose();
  await gpu.close();
});

const random = new CounterRandom(5, [0]);
const below = (n: number) => Math.floor(random.uniform() * n);
const words = 'das dieser il compilatore type error файл 文件 option --skipLibCheck could not be found'.split(
  ' ',
);
const text = () => Array.from({ length: below(30) }, () => words[below(words.length)]).join(' ');

const queries = Array.from({ length: 23 }, text);
const passages = [...Array.from({ length: 40 }, text), '', 'word '.repeat(2000)];
const count = 150;
const queryOf = Uint32Array.from({ length: count }, () => below(queries.length));
// Nobody asks for some passages, and for one nearly everybody does.
const passageOf = Uint32Array.from({ length: count }, (_, i) => (i % 3 === 0 ? 7 : below(passages.length)));
const task = { queries, passages, pairs: { queryOf, passageOf } };
const lengths = { query: { maxLength: 24 }, passage: { maxLength: 64 } };

test('scores of pairs are those of the embeddings of both texts', async () => {
  const [q, p] = [
    await encodeTexts(model, tokenizer, queries, { role: 'query', ...lengths.query }),
    await encodeTexts(model, tokenizer, passages, { role: 'document', ...lengths.passage }),
  ];
  let told = 0;
  for (const options of [{}, { batchTokens: 50 }, { memory: 1000 }]) {
    const scores = await scorePairs(model, tokenizer, task, {
      ...{ ...lengths, ...options },
      onScored: (pairs) => {
        told = pairs;
      },
    });
    assert.equal(told, count);
    for (let i = 0; i < count; i++) {
      const [query, passage] = [q[queryOf[i]!]!, p[passageOf[i]!]!];
      for (const [name, expected] of [
        ['dense', denseScore(query, passage)],
        ['sparse', lexicalScore(query, passage)],
        ['colbert', colbertScore(query, passage)],
      ] as const)
        assert.ok(
          Math.abs(scores[name]![i]! - expected) < 2e-6,
          `${name} ${i}: ${scores[name]![i]}, not ${expected}`,
        );
    }
  }
  const dense = await scorePairs(model, tokenizer, task, {
    ...{ ...lengths, representations: new Set(['dense'] as const), truncateDim: 20 },
  });
  assert.deepEqual([dense.sparse, dense.colbert], [undefined, undefined]);
  assert.equal(dense.dense!.length, count);
});

test('pairs of texts that do not come, of lists of two lengths, and without any', async () => {
  const pairs = (of: number[], with_: number[]) => ({
    ...{ queries: ['a'], passages: ['b'] },
    pairs: { queryOf: Uint32Array.from(of), passageOf: Uint32Array.from(with_) },
  });
  await assert.rejects(scorePairs(model, tokenizer, pairs([1], [0])), ShapeError);
  await assert.rejects(scorePairs(model, tokenizer, pairs([0], [1])), ShapeError);
  await assert.rejects(scorePairs(model, tokenizer, pairs([0, 0], [0])), ShapeError);
  await assert.rejects(
    scorePairs(model, tokenizer, { ...pairs([0], [0]), passages: [1 as unknown as string] }),
    InputError,
  );
  const none = await scorePairs(model, tokenizer, { ...pairs([], []), passages: [], queries: [] });
  assert.equal(none.colbert!.length, 0);
});

test('maxSimPairs: any ranges in any order, cut into blocks, as the reference has them', async () => {
  for (const cols of [8, 6]) {
    const values = Float32Array.from({ length: 90 * cols }, () => random.uniform() - 0.5);
    const range = (least: number, most: number) => {
      const begin = least + below(most - least);
      return { begin, end: begin + 1 + below(Math.min(12, most - begin)) };
    };
    const pairs = Array.from({ length: 60 }, () => ({ query: range(0, 40), passage: range(40, 90) }));
    const scored = (most?: number) =>
      scope(() =>
        noGrad(() => {
          const vectors = Tensor.from(gpu, values, [90, cols]);
          const layout = maxSimPairs(vectors, pairs, most);
          assert.equal(layout.blocks.length > 10, most !== undefined);
          return maxSim(vectors, layout).scores.toArray();
        }),
      );
    const scores = await scored();
    assert.deepEqual(await scored(20), scores);
    for (const [i, { query, passage }] of pairs.entries()) {
      const rows = ({ begin, end }: { begin: number; end: number }) =>
        values.subarray(begin * cols, end * cols);
      const expected = maxSimReference(rows(query), rows(passage), cols, false);
      assert.ok(Math.abs(scores[i]! - expected) < 1e-5, `${cols} ${i}: ${scores[i]}, not ${expected}`);
    }
    const vectors = Tensor.from(gpu, values, [90, cols]);
    for (const query of [
      { begin: 3, end: 3 },
      { begin: 80, end: 91 },
    ])
      assert.throws(() => maxSimPairs(vectors, [{ query, passage: { begin: 0, end: 1 } }]), ShapeError);
    vectors.dispose();
  }
});
