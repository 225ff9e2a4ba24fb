/** Retrieval metrics: cases by hand, trec_eval's own figures, and another way to compute them; significance by counting. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readJson } from '../src/files/json.js';
import {
  evaluateRun,
  type Metric,
  means,
  metricName,
  metricsAt,
  parseMetric,
  queryMetrics,
} from '../src/retrieval/evaluate/metrics.js';
import { compareUtf8, type Hit, trecOrder } from '../src/retrieval/evaluate/ranking.js';
import { pairedTest, studentTails } from '../src/retrieval/evaluate/significance.js';
import { CounterRandom } from '../src/tensor/random.js';
import { golden } from './repository.js';

const hits = (...list: [string, number][]): Hit[] => list.map(([doc, score]) => ({ doc, score }));
const judged = (of: Record<string, number>) => new Map(Object.entries(of));

function value(name: string, of: Record<string, number>, ...list: [string, number][]): number {
  return queryMetrics(judged(of), hits(...list), [parseMetric(name)!])[0]!;
}

test('metrics by hand', () => {
  const qrels = { a: 1, b: 2, c: 0, d: -1 };
  const found: [string, number][] = [
    ['c', 4],
    ['b', 3],
    ['x', 2],
    ['a', 1],
  ];
  const close = (name: string, wanted: number) =>
    assert.ok(
      Math.abs(value(name, qrels, ...found) - wanted) < 1e-12,
      `${name}: ${value(name, qrels, ...found)}`,
    );
  // Ranks: c (0), b (2), x (unjudged), a (1); the best order has gains 2 and 1.
  close('ndcg_at_1', 0);
  close('ndcg_at_2', 2 / Math.log2(3) / (2 + 1 / Math.log2(3)));
  close('ndcg_at_10', (2 / Math.log2(3) + 1 / Math.log2(5)) / (2 + 1 / Math.log2(3)));
  close('map_at_3', 1 / 2 / 2);
  close('map_at_10', (1 / 2 + 2 / 4) / 2);
  close('map', (1 / 2 + 2 / 4) / 2);
  close('recall_at_2', 1 / 2);
  close('precision_at_2', 1 / 2);
  // However few were found.
  close('precision_at_10', 2 / 10);
  close('mrr_at_1', 0);
  close('mrr_at_10', 1 / 2);
  close('recall_cap_at_1', 0);
  close('recall_cap_at_4', 2 / 2);
});

test('capped recall is divided by what the cut-off has room for', () => {
  const qrels = { a: 1, b: 1, c: 1 };
  assert.equal(value('recall_cap_at_2', qrels, ['a', 2], ['b', 1]), 1);
  assert.equal(value('recall_at_2', qrels, ['a', 2], ['b', 1]), 2 / 3);
});

test('equal scores are in the descending order of the ids’ bytes, equal as float32', () => {
  const ids = (...list: [string, number][]) => trecOrder(hits(...list)).map(({ doc }) => doc);
  assert.deepEqual(ids(['a', 1], ['b', 1], ['aa', 1]), ['b', 'aa', 'a']);
  assert.deepEqual(ids(['9', 1], ['10', 1]), ['9', '10']);
  assert.deepEqual(ids(['a', 1.00000001], ['b', 1]), ['b', 'a']);
  assert.deepEqual(ids(['z', 1], ['é', 1]), ['é', 'z']);
  // Beyond U+FFFF: a larger code point, but a smaller first unit in UTF-16.
  assert.deepEqual(ids(['\uffff', 1], ['\u{10000}', 1]), ['\u{10000}', '\uffff']);
  assert.deepEqual(ids(['a', -Infinity], ['b', Infinity], ['c', -Infinity]), ['b', 'c', 'a']);
  assert.deepEqual(ids(['a', 0], ['b', -0]), ['b', 'a']);
  assert.throws(
    () => trecOrder(hits(['a', 1], ['b', Number.NaN])),
    /^ShapeError: trecOrder: score of document "b" is NaN/,
  );
});

test('the order of ids is that of their bytes', () => {
  const random = new CounterRandom(1);
  const characters = [
    'a',
    'b',
    '\u007f',
    '\u0080',
    '\u07ff',
    '\u0800',
    '\ud7ff',
    '\ue000',
    '\uffff',
    '\u{10000}',
    '\u{10ffff}',
  ];
  const word = () =>
    Array.from({ length: random.int(4) }, () => characters[random.int(characters.length)]!).join('');
  for (let i = 0; i < 3000; i++) {
    const [a, b] = [word(), word()];
    assert.equal(
      Math.sign(compareUtf8(a, b)),
      Buffer.compare(Buffer.from(a), Buffer.from(b)),
      JSON.stringify([a, b]),
    );
  }
});

interface TrecEval {
  k: number[];
  qrels: Record<string, Record<string, number>>;
  run: Record<string, Record<string, number>>;
  measures: string[];
  values: Record<string, number[]>;
}

const TREC_NAMES: Record<string, string> = {
  ndcg_cut: 'ndcg',
  map_cut: 'map',
  recall: 'recall',
  P: 'precision',
};

test('metrics are trec_eval’s', () => {
  const file = readJson(golden('trec_eval.json')) as TrecEval;
  const qrels = new Map(Object.entries(file.qrels).map(([query, of]) => [query, judged(of)]));
  const run = new Map(Object.entries(file.run).map(([query, of]) => [query, hits(...Object.entries(of))]));
  const metrics = file.measures.map((name): Metric => {
    const [, kind, k] = /^(.*)_(\d+)$/.exec(name) ?? [];
    return parseMetric(kind ? `${TREC_NAMES[kind]}_at_${k}` : name === 'recip_rank' ? 'mrr' : name)!;
  });
  const evaluation = evaluateRun(qrels, run, metrics);
  assert.deepEqual([...evaluation.queries].sort(), Object.keys(file.values).sort());
  assert.equal(evaluation.unanswered, 1);
  let compared = 0;
  evaluation.queries.forEach((query, q) => {
    file.measures.forEach((name, m) => {
      const [got, wanted] = [evaluation.values[m]![q]!, file.values[query]![m]!];
      assert.ok(Math.abs(got - wanted) < 1e-9, `${query} ${name}: ${got}, trec_eval ${wanted}`);
      compared++;
    });
  });
  assert.ok(compared > 1500, `${compared}`);
});

/** The same metrics by their words: for each rank all documents that beat it are counted. */
function slowly(of: ReadonlyMap<string, number>, list: readonly Hit[], { kind, k }: Metric): number {
  const bytes = (doc: string) => Buffer.from(doc);
  const rankOf = (hit: Hit) =>
    1 +
    list.filter((other) => {
      const [own, its] = [Math.fround(hit.score), Math.fround(other.score)];
      return its > own || (its === own && Buffer.compare(bytes(other.doc), bytes(hit.doc)) > 0);
    }).length;
  const relevant = [...of].filter(([, relevance]) => relevance >= 1);
  if (relevant.length === 0) return 0;
  const found = list
    .filter((hit) => (of.get(hit.doc) ?? 0) >= 1)
    .map((hit) => ({ rank: rankOf(hit), gain: of.get(hit.doc)! }));
  const within = (rank: number) => found.filter((each) => each.rank <= rank).length;
  const cut = found.filter(({ rank }) => rank <= k);
  switch (kind) {
    case 'recall':
      return cut.length / relevant.length;
    case 'precision':
      return cut.length / k;
    case 'recall_cap':
      return cut.length / Math.min(k, relevant.length);
    case 'mrr':
      return Math.max(0, ...cut.map(({ rank }) => 1 / rank));
    case 'map':
      return cut.reduce((sum, { rank }) => sum + within(rank) / rank, 0) / relevant.length;
    case 'ndcg': {
      const best = relevant.map(([, gain]) => gain).sort((a, b) => b - a);
      const ideal = best.slice(0, k).reduce((sum, gain, i) => sum + gain / Math.log2(i + 2), 0);
      return cut.reduce((sum, { rank, gain }) => sum + gain / Math.log2(rank + 1), 0) / ideal;
    }
  }
}

test('metrics agree with their words on rankings full of ties', () => {
  const random = new CounterRandom(7);
  const metrics = [
    ...metricsAt([1, 2, 3, 7, 50]),
    ...['ndcg', 'map', 'mrr'].map((name) => parseMetric(name)!),
  ];
  for (let i = 0; i < 300; i++) {
    const count = 1 + random.int(12);
    const list = Array.from({ length: count }, (_, d) => ({
      doc: `d${(d * 7) % 13}`,
      score: random.int(4) / 3,
    }));
    const of = new Map(
      Array.from({ length: 1 + random.int(8) }, () => [`d${random.int(16)}`, random.int(5) - 1] as const),
    );
    queryMetrics(of, list, metrics).forEach((got, m) => {
      const wanted = slowly(of, list, metrics[m]!);
      assert.ok(Math.abs(got - wanted) < 1e-12, `${metricName(metrics[m]!)}: ${got}, ${wanted}`);
    });
  }
});

test('means: over the queries that are answered, mrr and recall_cap over all that are judged', () => {
  const qrels = new Map([
    ['p', judged({ a: 1 })],
    ['q', judged({ a: 1 })],
    ['unanswered', judged({ a: 1 })],
  ]);
  const run = new Map([
    ['p', hits(['a', 1])],
    ['q', hits(['b', 1])],
    ['unjudged', hits(['a', 1])],
  ]);
  const evaluation = evaluateRun(qrels, run, metricsAt([1]));
  const named = (of: Float64Array) =>
    Object.fromEntries(evaluation.metrics.map((metric, m) => [metric.kind, of[m]]));
  assert.deepEqual(named(means(evaluation)), {
    ndcg: 1 / 2,
    map: 1 / 2,
    recall: 1 / 2,
    precision: 1 / 2,
    mrr: 1 / 3,
    recall_cap: 1 / 3,
  });
  assert.deepEqual(named(means(evaluation, { complete: true })), {
    ...{ ndcg: 1 / 3, map: 1 / 3, recall: 1 / 3, precision: 1 / 3, mrr: 1 / 3, recall_cap: 1 / 3 },
  });
  assert.deepEqual([...means(evaluateRun(qrels, new Map(), metricsAt([1])))], [0, 0, 0, 0, 0, 0]);
});

test('names of metrics', () => {
  for (const name of ['ndcg_at_10', 'recall_cap_at_1', 'mrr', 'map', 'ndcg'])
    assert.equal(metricName(parseMetric(name)!), name);
  assert.equal(metricName(parseMetric('nDCG@10')!), 'ndcg_at_10');
  for (const name of ['recall', 'precision', 'ndcg_at_0', 'ndcg_at_', 'ndcg_at_1.5', 'ncdg_at_10', ''])
    assert.equal(parseMetric(name), undefined, name);
});

test('a document that a query has twice is refused', () => {
  const run = new Map([['q', hits(['a', 1], ['a', 2])]]);
  assert.throws(() => evaluateRun(new Map([['q', judged({ a: 1 })]]), run, metricsAt([1])), /more than once/);
});

// ---- significance ----

test('the randomisation test counts all assignments of signs where they are few', () => {
  // Differences 1, 2, 3, all positive: of 8 assignments the sums ±6 alone are as far from 0.
  assert.deepEqual(pairedTest([0, 0, 0, 5], [1, 2, 3, 5]), {
    ...{ pairs: 4, different: 3, difference: 6 / 4, randomisation: 2 / 8, exact: true },
    t: pairedTest([0, 0, 0, 5], [1, 2, 3, 5]).t,
  });
  // 0.3, −0.1: |0.2| or more: all four.
  assert.equal(pairedTest([0, 0.1], [0.3, 0]).randomisation, 1);
  assert.equal(pairedTest([1, 2], [1, 2]).randomisation, 1);
  assert.equal(pairedTest([], []).randomisation, 1);
});

test('drawn assignments come near the counted ones, the same for a seed', () => {
  const random = new CounterRandom(3);
  for (let round = 0; round < 5; round++) {
    const n = 9;
    const a = Array.from({ length: n }, () => random.uniform());
    const b = a.map((each) => each + random.uniform() - 0.35);
    const counted = pairedTest(a, b, { permutations: 512 });
    assert.ok(counted.exact);
    // One fewer than there are assignments: they are drawn.
    const drawn = pairedTest(a, b, { permutations: 511, seed: round });
    assert.ok(!drawn.exact);
    const deviation = Math.sqrt((counted.randomisation * (1 - counted.randomisation)) / 511);
    assert.ok(Math.abs(drawn.randomisation - counted.randomisation) < 4 * deviation + 2 / 512);
    assert.deepEqual(drawn, pairedTest(a, b, { permutations: 511, seed: round }));
  }
});

test('exchanging the systems changes the sign of the difference alone', () => {
  const a = [0.1, 0.5, 0.3, 0.9, 0.2];
  const b = [0.4, 0.4, 0.8, 0.95, 0.1];
  const [forth, back] = [pairedTest(a, b), pairedTest(b, a)];
  assert.equal(forth.randomisation, back.randomisation);
  assert.ok(Math.abs(forth.t! - back.t!) < 1e-12);
  assert.equal(forth.difference, -back.difference);
});

test('tails of Student’s t', () => {
  // One degree of freedom is Cauchy's distribution, two have a closed form; tabled quantiles of 10 and 30.
  for (const t of [0, 0.1, 1, 5, 100]) {
    const cauchy = 1 - (2 / Math.PI) * Math.atan(t);
    assert.ok(Math.abs(studentTails(t, 1) - cauchy) < 1e-12, `1: ${t}`);
    const two = 1 - t / Math.sqrt(2 + t * t);
    assert.ok(Math.abs(studentTails(t, 2) - two) < 1e-12, `2: ${t}`);
  }
  assert.ok(Math.abs(studentTails(2.228138851964939, 10) - 0.05) < 1e-9);
  assert.ok(Math.abs(studentTails(2.7499956535670305, 30) - 0.01) < 1e-9);
  assert.ok(Math.abs(studentTails(1.9599639845400545, 1e6) - 0.05) < 1e-5);
  assert.equal(pairedTest([1], [2]).t, null);
  assert.equal(pairedTest([1, 1], [2, 2]).t, 0);
  assert.equal(pairedTest([1, 2], [1, 2]).t, 1);
});

test('values that cannot be compared are refused', () => {
  assert.throws(() => pairedTest([1], [1, 2]), /^ShapeError: pairedTest: 1 values and 2/);
  assert.throws(() => pairedTest([Number.NaN], [1]), /not finite/);
  assert.throws(() => pairedTest([1], [1], { permutations: 0 }), /0 permutations/);
});
