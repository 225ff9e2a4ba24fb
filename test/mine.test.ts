/** `dawntune mine` from its words to its file: against float64 brute force over the same vectors, and at its edges. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { silentReporter } from '../src/console/reporter.js';
import { Gpu } from '../src/gpu/gpu.js';
import { M3Model } from '../src/models/m3.js';
import type { M3Embedding } from '../src/retrieval/embedding.js';
import { encodeTexts } from '../src/retrieval/encode/encode-texts.js';
import { parseMineArguments } from '../src/retrieval/mine/arguments.js';
import { type MiningSummary, mine } from '../src/retrieval/mine/mine.js';
import { colbertScore, denseScore, lexicalScore } from '../src/retrieval/pair-scores.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { golden, repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-mine-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => path.join(folder, name);
const model = ['--embedder_name_or_path', golden('model')];

interface Row {
  query: string;
  pos: string[];
  neg: string[];
  pos_scores?: number[];
  neg_scores?: number[];
}

const write = (name: string, rows: readonly object[]) =>
  fs.writeFileSync(at(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
const read = (name: string): Row[] =>
  fs
    .readFileSync(at(name), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

async function run(
  input: string,
  output: string,
  ...words: string[]
): Promise<{ told: string[]; summary: MiningSummary; rows: Row[] }> {
  const told: string[] = [];
  const { args, notices } = parseMineArguments([
    ...[...model, '--input_file', at(input), '--output_file', at(output), ...words],
  ]);
  const report = { ...silentReporter, note: (line: string) => void told.push(line) };
  const summary = await mine(args, { report });
  return { told: [...notices, ...told], summary, rows: read(output) };
}

const words = ['red', 'green', 'blue', 'cat', 'dog', 'tree', 'house', 'river'];
const text = (i: number) =>
  [words[i % 8], words[(i * 3 + 1) % 8], words[(i * 5 + 2) % 8], `number ${i}`].join(' ');
const texts = Array.from({ length: 30 }, (_, i) => text(i));
write(
  'rows.jsonl',
  [0, 1, 2, 3].map((i) => ({
    ...{ id: i, query: `which ${words[i]}`, pos: texts.slice(2 * i, 2 * i + 2) },
    ...{ neg: texts.slice(8 + 5 * i, 13 + 5 * i), neg_scores: [1, 2, 3, 4, 5], pos_scores: [1, 2] },
  })),
);

/** Dense vectors at length 1 or as they are, by the library's own door. */
async function vectors(list: readonly string[], normalize: boolean): Promise<Float32Array[]> {
  const gpu = await Gpu.open();
  const loaded = M3Model.load(gpu, golden('model'), { normalize });
  const embeddings = await encodeTexts(loaded, Tokenizer.load(golden('model')), list);
  loaded.dispose();
  await gpu.close();
  return embeddings.map(({ dense }) => dense);
}

const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
const scores = {
  ip: dot,
  l2: (a: Float32Array, b: Float32Array) => -a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0),
  cosine: (a: Float32Array, b: Float32Array) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)),
};

test('negatives are those of brute force, by each metric, in the order of their ranks', async () => {
  const rows = read('rows.jsonl');
  const pool = [...new Set(rows.flatMap(({ pos, neg }) => [...pos, ...neg]))];
  const given = await vectors([...pool, ...rows.map(({ query }) => query)], false);
  for (const metric of ['ip', 'l2', 'cosine'] as const) {
    const { rows: mined, told } = await run(
      ...(['rows.jsonl', 'out.jsonl', '--metric', metric, '--normalize_embeddings', 'False'] as const),
      ...['--range_for_sampling', '3-9', '--negative_number', '4', '--sampling', 'top', '--write_scores'],
    );
    assert.ok(told.includes('4 rows with 4 queries, 28 texts to mine in'), told.join('\n'));
    for (const [i, row] of rows.entries()) {
      const query = given[pool.length + i]!;
      const scored = pool.map((text, place) => ({ text, score: scores[metric](query, given[place]!) }));
      scored.sort((a, b) => b.score - a.score);
      const expected = scored.slice(3, 9).filter(({ text }) => !row.pos.includes(text));
      assert.deepEqual(
        mined[i]!.neg,
        expected.slice(0, 4).map(({ text }) => text),
        metric,
      );
      const sign = metric === 'l2' ? -1 : 1;
      expected.slice(0, 4).forEach(({ score }, n) => {
        assert.ok(Math.abs(mined[i]!.neg_scores![n]! * sign - score) <= 1e-5 * Math.abs(score));
      });
      const positive = scored.find(({ text }) => text === row.pos[1])!.score;
      assert.ok(Math.abs(mined[i]!.pos_scores![1]! * sign - positive) <= 1e-5 * Math.abs(positive));
    }
  }
});

/** What FlagEmbedding's `compute_score` makes of two embeddings, without a floor. */
const byMode = {
  sparse: (a: M3Embedding, b: M3Embedding) => lexicalScore(a, b),
  colbert: (a: M3Embedding, b: M3Embedding) => colbertScore(a, b),
  hybrid: (a: M3Embedding, b: M3Embedding) =>
    2 * denseScore(a, b) + 0.5 * lexicalScore(a, b) + 3 * colbertScore(a, b),
};

test('negatives by sparse, ColBERT and hybrid scores are those of all pairs', async () => {
  const rows = read('rows.jsonl');
  const pool = [...new Set(rows.flatMap(({ pos, neg }) => [...pos, ...neg]))];
  const gpu = await Gpu.open();
  const loaded = M3Model.load(gpu, golden('model'));
  const given = await encodeTexts(loaded, Tokenizer.load(golden('model')), [
    ...pool,
    ...rows.map(({ query }) => query),
  ]);
  loaded.dispose();
  await gpu.close();
  for (const mode of ['sparse', 'colbert', 'hybrid'] as const) {
    const { rows: mined } = await run(
      ...([
        'rows.jsonl',
        'out.jsonl',
        '--mode',
        mode,
        '--weights',
        '2',
        '0.5',
        '3',
        '--write_scores',
      ] as const),
      ...['--range_for_sampling', '0-8', '--negative_number', '5', '--sampling', 'top'],
      ...['--rerank_candidates', '28'],
    );
    for (const [i, row] of rows.entries()) {
      const query = given[pool.length + i]!;
      const scored = pool
        .map((text, place) => ({ text, score: byMode[mode](query, given[place]!) }))
        .filter(({ score }) => mode !== 'sparse' || score > 0)
        .sort((a, b) => b.score - a.score);
      const expected = scored.slice(0, 8).filter(({ text }) => !row.pos.includes(text));
      assert.deepEqual(
        mined[i]!.neg,
        expected.slice(0, 5).map(({ text }) => text),
        mode,
      );
      expected.slice(0, 5).forEach(({ score }, n) => {
        assert.ok(Math.abs(mined[i]!.neg_scores![n]! - score) <= 1e-5 * Math.abs(score), mode);
      });
      for (const [n, positive] of row.pos.entries()) {
        const score = byMode[mode](query, given[pool.indexOf(positive)]!);
        assert.ok(
          Math.abs(mined[i]!.pos_scores![n]! - score) <= 1e-5 * Math.max(1e-3, Math.abs(score)),
          mode,
        );
      }
    }
  }
  await assert.rejects(
    run('rows.jsonl', 'out.jsonl', '--mode', 'sparse', '--metric', 'l2'),
    /--metric: expected ip with --mode sparse/,
  );
});

test('the graph finds what exact search does in a small pool, in a file that stays where it is named', async () => {
  const words = ['--range_for_sampling', '0-10', '--sampling', 'top', '--negative_number', '5'];
  const exact = await run('rows.jsonl', 'out.jsonl', ...words);
  const graph = await run(
    'rows.jsonl',
    'out.jsonl',
    ...words,
    '--index',
    'usearch',
    '--index_path',
    at('graph'),
  );
  assert.deepEqual(graph.rows, exact.rows);
  assert.ok(fs.existsSync(at('graph')));
});

test('scores that do not fit are dropped with a notice, everything else stays as it was written', async () => {
  fs.writeFileSync(
    at('kept.jsonl'),
    `{"id": 12345678901234567890, "query": "q", "neg_scores": [1.0], "pos": ["a"], "neg": ["b"], "pos_scores": [2], "x": 1.0}\n{"query": "q", "pos": ["c"], "prompt": "p"}\n`,
  );
  const { told, summary } = await run('kept.jsonl', 'kept-out.jsonl', '--range_for_sampling', '0-5');
  // What is a positive of the same query in another row is no negative here.
  assert.equal(
    fs.readFileSync(at('kept-out.jsonl'), 'utf8'),
    '{"id": 12345678901234567890, "query": "q", "pos": ["a"], "neg": ["b"], "x": 1.0}\n{"query": "q", "pos": ["c"], "prompt": "p", "neg": ["b"]}\n',
  );
  assert.match(told.join('\n'), /^1 rows have pos_scores or neg_scores, which do not fit .*dropped/m);
  assert.match(told.join('\n'), /^1 rows have a "prompt", which is not used here/m);
  assert.match(told.join('\n'), /^2 rows have fewer than 15 negatives$/m);
  assert.deepEqual(summary.short, 2);
  const { rows } = await run(
    ...(['kept.jsonl', 'kept-out.jsonl', '--range_for_sampling', '0-5', '--positives_elsewhere'] as const),
    'False',
  );
  assert.deepEqual(
    rows.map(({ neg }) => [...neg].sort()),
    [
      ['b', 'c'],
      ['a', 'b'],
    ],
  );
});

test('a pool of its own, smaller than the ranks asked for, and of one text', async () => {
  write('one.jsonl', [{ query: 'q', pos: ['p'] }]);
  write('pool.jsonl', [{ text: 'x', id: 1 }, { text: 'y' }, { text: 'p' }, { text: 'x' }]);
  const pool = ['--candidate_pool', at('pool.jsonl')];
  const { told, rows, summary } = await run('one.jsonl', 'out.jsonl', ...pool);
  assert.deepEqual([...rows[0]!.neg].sort(), ['x', 'y']);
  assert.equal(summary.candidates, 3);
  assert.match(told.join('\n'), /begins at rank 10 of 3 texts: no candidate is left/);
  write('single.jsonl', [{ text: 'p' }]);
  const single = await run('one.jsonl', 'out.jsonl', '--candidate_pool', at('single.jsonl'));
  assert.deepEqual(single.rows[0]!.neg, []);
  // A margin needs positives that are no candidates.
  const { rows: far } = await run(
    ...([
      'one.jsonl',
      'out.jsonl',
      ...pool,
      '--range_for_sampling',
      '0-9',
      '--absolute_margin',
      '9',
    ] as const),
  );
  assert.deepEqual(far[0]!.neg, []);
});

test('what cannot be mined is refused, and nothing is written', async () => {
  write('bad.jsonl', [
    { query: 'q', pos: ['p'] },
    { query: 'q', pos: [] },
  ]);
  write('no-text.jsonl', [{ text: 'a' }, { body: 'b' }]);
  write('fine.jsonl', [{ query: 'q', pos: ['p'] }]);
  fs.writeFileSync(at('empty.jsonl'), '');
  for (const [input, more, expected] of [
    ['bad.jsonl', [], /bad\.jsonl:2: expected "pos" to be a list of at least one text/],
    ['empty.jsonl', [], /empty\.jsonl: expected at least one row, found none/],
    ['missing.jsonl', [], /--input_file: .*expected a file, found nothing/],
    ['fine.jsonl', ['--candidate_pool', at('empty.jsonl')], /expected at least one text to mine in/],
    ['fine.jsonl', ['--candidate_pool', at('no-text.jsonl')], /no-text\.jsonl:2: expected "text"/],
    ['fine.jsonl', ['--candidate_pool', folder], /--candidate_pool: .*found a folder/],
    ['fine.jsonl', ['--metric', 'dot'], /--metric: expected one of ip, l2, cosine, found "dot"/],
    ['fine.jsonl', ['--range_for_sampling', '9-9'], /--range_for_sampling: expected a range of ranks/],
    ['fine.jsonl', ['--truncate_dim', '100'], /--truncate_dim: expected at most 64, .* found 100/],
  ] as const) {
    await assert.rejects(run(input, 'never.jsonl', ...more), expected);
    assert.ok(!fs.existsSync(at('never.jsonl')));
  }
  assert.ok(!fs.readdirSync(folder).some((name) => name.endsWith('.dawntune-tmp')));
});

test('two ranks write the bytes of one', async () => {
  const words = ['--range_for_sampling', '1-20', '--negative_number', '6', '--write_scores'];
  await run('rows.jsonl', 'one-rank.jsonl', ...words);
  const program = path.join(repositoryRoot, 'dist/src/cli/main.js');
  const { status, stderr } = spawnSync(
    process.execPath,
    [
      ...[program, 'mine', ...model, '--input_file', at('rows.jsonl'), '--output_file', at('two.jsonl')],
      ...[...words, '--nproc_per_node', '2'],
    ],
    { encoding: 'utf8' },
  );
  assert.equal(status, 0, stderr);
  assert.equal(fs.readFileSync(at('two.jsonl'), 'utf8'), fs.readFileSync(at('one-rank.jsonl'), 'utf8'));
});
