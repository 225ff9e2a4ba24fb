/** The inverted index against all pairs of a query and the documents. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvertedIndexBuilder } from '../src/retrieval/search/inverted-index.js';
import { CounterRandom } from '../src/tensor/random.js';

type Weights = Map<number, number>;

function indexOf(documents: readonly Weights[]) {
  const builder = new InvertedIndexBuilder();
  for (const weights of documents) builder.add(weights);
  return builder.build();
}

function slowly(documents: readonly Weights[], query: Weights, k: number): [number, number][] {
  return documents
    .map((weights, index): [number, number] => {
      let sum = 0;
      for (const [token, weight] of query) sum += weight * (weights.get(token) ?? 0);
      return [index, Math.fround(sum)];
    })
    .filter(([, score]) => score > 0)
    .sort(([a, scoreA], [b, scoreB]) => scoreB - scoreA || a - b)
    .slice(0, k);
}

test('the best k are those of all pairs, equal scores by index', () => {
  const random = new CounterRandom(11);
  for (let round = 0; round < 60; round++) {
    const tokens = 1 + random.int(30);
    // Few different weights make many equal scores.
    const levels = round % 2 ? 3 : 1000;
    const weights = (most: number): Weights =>
      new Map(
        Array.from(
          { length: random.int(most) },
          () => [random.int(tokens), Math.fround(random.int(levels) / 7)] as const,
        ),
      );
    const documents = Array.from({ length: random.int(200) }, () => weights(12));
    const index = indexOf(documents);
    for (let q = 0; q < 10; q++) {
      const query = weights(8);
      const k = 1 + random.int(40);
      const { indices, scores } = index.search(query, k);
      assert.deepEqual(
        [...indices].map((at, i) => [at, scores[i]]),
        slowly(documents, query, k),
      );
    }
  }
});

test('nothing in common, no documents, tokens that no document has', () => {
  const index = indexOf([new Map([[5, 1]]), new Map(), new Map([[5, 1]])]);
  assert.deepEqual([...index.search(new Map([[6, 1]]), 3).indices], []);
  assert.deepEqual([...index.search(new Map([[4_000_000_000, 1]]), 3).indices], []);
  assert.deepEqual([...index.search(new Map(), 3).indices], []);
  assert.deepEqual([...index.search(new Map([[5, 2]]), 3).indices], [0, 2]);
  assert.deepEqual([...indexOf([]).search(new Map([[5, 2]]), 3).indices], []);
  assert.equal(indexOf([new Map()]).count, 1);
});

test('more documents than the index begins with', () => {
  const documents = Array.from({ length: 3000 }, (_, d) => new Map([[d % 7, 1 + d]]));
  const { indices } = indexOf(documents).search(new Map([[3, 1]]), 4);
  assert.deepEqual(
    [...indices],
    [2999, 2992, 2985, 2978].map((d) => d - ((d - 3) % 7)),
  );
});

test('weights that are none are refused and named', () => {
  const index = indexOf([new Map([[1, 1]])]);
  for (const weight of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
    assert.throws(
      () => index.search(new Map([[1, weight]]), 1),
      /^ShapeError: InvertedIndex.search: weight of token 1 is/,
    );
    assert.throws(
      () => indexOf([new Map([[1, weight]])]),
      /^ShapeError: InvertedIndexBuilder.add: weight of token 1 is/,
    );
  }
  assert.throws(() => index.search(new Map([[1.5, 1]]), 1), /1.5 is no token id/);
  assert.throws(() => index.search(new Map([[1, 1]]), 0), /k is 0/);
});
