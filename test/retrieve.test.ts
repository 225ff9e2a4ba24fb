/** What a small model finds in each mode beside all pairs of texts, ColBERT scores of pairs, tuned weights. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { M3Model } from '../src/models/m3.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { type ColbertPair, colbertPairScores } from '../src/retrieval/colbert-pairs.js';
import type { Embedder } from '../src/retrieval/embedder/open.js';
import type { M3Embedding } from '../src/retrieval/embedding.js';
import { encodeTexts } from '../src/retrieval/encode/encode-texts.js';
import type { RetrievalMode } from '../src/retrieval/evaluate/arguments.js';
import { parseMetric, queryMetrics } from '../src/retrieval/evaluate/metrics.js';
import {
  type Candidates,
  hybridRanking,
  type RetrievalRequest,
  retrieve,
} from '../src/retrieval/evaluate/retrieve.js';
import { simplexGrid, tuneWeights } from '../src/retrieval/evaluate/weights.js';
import { colbertScore, denseScore, lexicalScore } from '../src/retrieval/pair-scores.js';
import { CounterRandom } from '../src/tensor/random.js';
import { TokenizerThreads } from '../src/tokenizer/threads.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { golden } from './repository.js';
import { passages, queries } from './short-texts.js';

const gpu = await Gpu.open();
const model = M3Model.load(gpu, golden('model'));
const tokenizer = Tokenizer.load(golden('model'));
const embedder: Embedder = {
  ...{
    folder: golden('model'),
    gpu,
    model,
    tokenizer,
    queryMaxLength: 512,
    passageMaxLength: 512,
    query: undefined,
    passage: undefined,
  },
  threads: new TokenizerThreads(tokenizer, { threads: 0 }),
  close: async () => undefined,
};
after(async () => {
  model.dispose();
  await gpu.close();
});

const request = (modes: RetrievalMode[], more: Partial<RetrievalRequest> = {}): RetrievalRequest => ({
  corpus: { ids: passages.map((_, i) => `d${i}`), texts: () => passages },
  ...{ queries, excluded: queries.map(() => undefined), modes: new Set(modes), topK: 20, candidates: 10 },
  ...more,
});

const settings = { queryMaxLength: 64, passageMaxLength: 64, truncateDim: null, batchTokens: 256 };
const quiet = { settings, note: () => undefined };

/** Whether a ranking is the best k of all pairs, but for those that are as good to within 1e-5. */
function assertBest(
  found: { indices: Uint32Array; scores: Float32Array },
  all: readonly number[],
  k: number,
): void {
  const sorted = [...all].sort((a, b) => b - a);
  assert.equal(found.indices.length, Math.min(k, all.length));
  found.indices.forEach((index, rank) => {
    assert.ok(Math.abs(found.scores[rank]! - all[index]!) < 1e-5, `score at ${rank}`);
    assert.ok(Math.abs(all[index]! - sorted[rank]!) < 2e-5, `rank ${rank}`);
    if (rank > 0) assert.ok(found.scores[rank - 1]! >= found.scores[rank]!);
  });
  assert.equal(new Set(found.indices).size, found.indices.length);
}

async function embeddings(): Promise<{ asked: M3Embedding[]; pool: M3Embedding[] }> {
  return {
    asked: await encodeTexts(model, tokenizer, queries, { role: 'query', maxLength: 64 }),
    pool: await encodeTexts(model, tokenizer, passages, { role: 'document', maxLength: 64 }),
  };
}

test('each mode finds what all pairs of texts say', async () => {
  const { asked, pool } = await embeddings();
  const found = await retrieve(embedder, request(['dense', 'sparse', 'colbert', 'hybrid']), quiet);
  asked.forEach((query, q) => {
    const dense = pool.map((passage) => denseScore(query, passage));
    const sparse = pool.map((passage) => lexicalScore(query, passage));
    assertBest(found.dense![q]!, dense, 20);
    const ranking = found.sparse![q]!;
    ranking.indices.forEach((index, rank) => {
      assert.ok(Math.abs(ranking.scores[rank]! - sparse[index]!) < 1e-5);
    });
    const better = sparse.filter((score) => score > (ranking.scores.at(-1) ?? 0) + 1e-5).length;
    assert.ok(better <= ranking.indices.length);
    const { indices, ...scores } = found.candidates![q]!;
    // The first of both, each once, in order, with the scores of the pairs.
    const wanted = new Set([...found.dense![q]!.indices.subarray(0, 10), ...ranking.indices.subarray(0, 10)]);
    assert.deepEqual(
      [...indices],
      [...wanted].sort((a, b) => a - b),
    );
    indices.forEach((index, at) => {
      assert.ok(Math.abs(scores.dense[at]! - dense[index]!) < 1e-5);
      assert.ok(Math.abs(scores.sparse[at]! - sparse[index]!) < 1e-5);
      assert.ok(Math.abs(scores.colbert[at]! - colbertScore(query, pool[index]!)) < 1e-5, `${q} ${index}`);
    });
    const hybrid = hybridRanking(found.candidates![q]!, [0.5, 2, 1]);
    const sums = [...indices].map(
      (index) => 0.5 * dense[index]! + 2 * sparse[index]! + colbertScore(query, pool[index]!),
    );
    const places = new Map([...indices].map((index, at) => [index, at]));
    assertBest(
      { indices: hybrid.indices.map((index) => places.get(index)!), scores: hybrid.scores },
      sums,
      indices.length,
    );
  });
});

test('equal texts are tied and stand in the order of the corpus; what is excluded is not found', async () => {
  const twins = [60, 62];
  const { dense } = await retrieve(embedder, request(['dense']), quiet);
  const [first, second] = twins.map((index) => dense![2]!.indices.indexOf(index));
  assert.equal(second, first! + 1);
  assert.equal(dense![2]!.scores[first!], dense![2]!.scores[second!]);
  const excluded = queries.map((_, q) => (q === 2 ? 60 : undefined));
  const without = await retrieve(embedder, request(['dense', 'sparse', 'hybrid'], { excluded }), quiet);
  for (const { indices } of [without.dense![2]!, without.sparse![2]!, without.candidates![2]!])
    assert.ok(!indices.includes(60) && indices.includes(62));
  assert.equal(without.dense![2]!.indices.length, 20);
  assert.deepEqual(without.dense![0], dense![0]);
});

test('a corpus whose ColBERT vectors do not fit is encoded again where it must be, to the same scores', async () => {
  const kept = await retrieve(embedder, request(['colbert']), quiet);
  const again = await retrieve(embedder, request(['colbert']), { ...quiet, keptColbert: 0 });
  kept.candidates!.forEach(({ indices, colbert }, q) => {
    assert.deepEqual(again.candidates![q]!.indices, indices);
    colbert.forEach((score, at) => {
      assert.ok(Math.abs(again.candidates![q]!.colbert[at]! - score) < 1e-5);
    });
  });
});

test('two ranks find what one finds, bit for bit', async () => {
  const modes: RetrievalMode[] = ['dense', 'sparse', 'hybrid'];
  const alone = await retrieve(embedder, request(modes), quiet);
  const ranks = new EmulatedRanks(2);
  const both = await Promise.all(
    [0, 1].map((rank) => retrieve(embedder, request(modes), { ...quiet, communicator: ranks.rank(rank) })),
  );
  for (const found of both) assert.deepEqual(found, alone);
});

test('one document, fewer documents than are asked for, no lexical weight in common', async () => {
  const corpus = { ids: ['only'], texts: () => ['stone'] };
  const { dense, sparse, candidates } = await retrieve(
    embedder,
    request(['dense', 'sparse', 'hybrid'], { corpus }),
    quiet,
  );
  for (const [q] of queries.entries()) {
    assert.deepEqual([...dense![q]!.indices], [0]);
    assert.ok(sparse![q]!.indices.length <= 1);
    assert.deepEqual([...hybridRanking(candidates![q]!, [1, 1, 1]).indices], [0]);
  }
});

test('ColBERT scores of pairs on the GPU are those of the host, in batches and by ranks in turn', async () => {
  const { asked, pool } = await embeddings();
  const width = model.colbertWidth;
  const pairs: ColbertPair[] = [];
  const wanted: number[] = [];
  for (const query of asked)
    for (const passage of pool) {
      pairs.push({ query: query.colbert, passage: passage.colbert });
      wanted.push(colbertScore(query, passage));
    }
  pairs.push(
    { query: new Float32Array(), passage: pool[0]!.colbert },
    { query: asked[0]!.colbert, passage: new Float32Array() },
  );
  wanted.push(0, 0);
  const scores = await colbertPairScores(gpu, pairs, width);
  scores.forEach((score, i) => {
    assert.ok(Math.abs(score - wanted[i]!) < 1e-5, `${i}: ${score}, ${wanted[i]}`);
  });
  // Batches of few rows, as where a binding is small.
  const small = { batchValues: 64 * width };
  const alone = await colbertPairScores(gpu, pairs, width, small);
  alone.forEach((score, i) => {
    assert.ok(Math.abs(score - wanted[i]!) < 1e-5);
  });
  const ranks = new EmulatedRanks(3);
  const all = await Promise.all(
    [0, 1, 2].map((rank) =>
      colbertPairScores(gpu, pairs, width, { ...small, communicator: ranks.rank(rank) }),
    ),
  );
  for (const each of all) assert.deepEqual(each, alone);
  await assert.rejects(
    () => colbertPairScores(gpu, [{ query: new Float32Array(3), passage: new Float32Array(width) }], width),
    /pair 0 has vectors that are no rows/,
  );
});

test('ColBERT vectors that are not finite are told, and rank nothing', async () => {
  const broken = M3Model.load(gpu, golden('model'));
  broken.store.get('colbert_linear.bias').write(new Float32Array(broken.colbertWidth).fill(Number.NaN));
  await assert.rejects(
    () => retrieve({ ...embedder, model: broken }, request(['colbert']), quiet),
    /^MachineError: the values of text 1 of the input are not finite \(NaN\); this model leaves the range of float32/,
  );
  broken.dispose();
});

test('tuned weights are the best of the grid, the middle of several', () => {
  const draws = new CounterRandom(4);
  const ids = Array.from({ length: 30 }, (_, i) => `d${i}`);
  const some = () => Float32Array.from({ length: 12 }, () => draws.uniform());
  const candidates = Array.from(
    { length: 5 },
    (): Candidates => ({
      ...{
        indices: Uint32Array.from({ length: 12 }, (_, i) => 2 * i),
        dense: some(),
        sparse: some(),
        colbert: some(),
      },
    }),
  );
  const asked = candidates.map((_, q) => ({ id: `q${q}` }));
  const qrels = new Map(
    asked.map(({ id }) => [
      id,
      new Map([
        [`d${2 * draws.int(12)}`, 1],
        [`d${2 * draws.int(12)}`, 2],
      ]),
    ]),
  );
  const metric = parseMetric('ndcg_at_5')!;
  const mean = (weights: readonly [number, number, number]) =>
    asked.reduce((sum, { id }, q) => {
      const { indices, scores } = hybridRanking(candidates[q]!, weights);
      const hits = [...indices].map((index, i) => ({ doc: ids[index]!, score: scores[i]! }));
      return sum + queryMetrics(qrels.get(id)!, hits, [metric])[0]!;
    }, 0) / asked.length;
  const best = tuneWeights(asked, candidates, ids, qrels, metric);
  assert.equal(best.tried, 231);
  assert.equal(mean(best.weights), best.value);
  assert.equal(best.value, Math.max(...simplexGrid(20).map(mean)));
  // Where every point is as good, the middle one: no weight is 0.
  const same: Candidates = {
    indices: Uint32Array.of(0),
    dense: Float32Array.of(1),
    sparse: Float32Array.of(1),
    colbert: Float32Array.of(1),
  };
  const flat = tuneWeights([{ id: 'q' }], [same], ids, new Map([['q', new Map([['d0', 1]])]]), metric);
  assert.deepEqual([flat.equal, flat.value], [231, 1]);
  assert.ok(
    flat.weights.every((weight) => Math.abs(weight - 1 / 3) < 0.05),
    flat.weights.join(),
  );
});
