/** `dawntune score` from its words to its rows: numbers, prompts, columns, ranks, and what is refused. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { silentReporter } from '../src/console/reporter.js';
import { Gpu } from '../src/gpu/gpu.js';
import { M3Model } from '../src/models/m3.js';
import type { Communicator } from '../src/ranks/communicator.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import type { M3Embedding } from '../src/retrieval/embedding.js';
import { encodeTexts } from '../src/retrieval/encode/encode-texts.js';
import { colbertScore, denseScore, hybridScores, lexicalScore } from '../src/retrieval/pair-scores.js';
import { parseScoreArguments } from '../src/retrieval/score/arguments.js';
import { DistinctTexts } from '../src/retrieval/score/distinct.js';
import { openRows, RowPairs } from '../src/retrieval/score/rows.js';
import { type ScoreSummary, scoreFiles } from '../src/retrieval/score/score.js';
import { combinedScores, jsonFloats, teacherEntropy } from '../src/retrieval/score/teacher.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { golden, repositoryRoot } from './repository.js';
import { rerankerFolder, rerankers } from './rerankers.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-score-test-'));
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(async () => {
  await gpu.close();
  fs.rmSync(folder, { recursive: true, force: true });
});
const at = (name: string) => path.join(folder, name);
const model = ['--model_name_or_path', golden('model')];

/** A device that outlives the command. */
const lent = () =>
  new Proxy(gpu, { get: (of, name) => (name === 'close' ? async () => {} : bound(of, name)) });
const bound = (of: Gpu, name: string | symbol) => {
  const value = Reflect.get(of, name, of);
  return typeof value === 'function' ? value.bind(of) : value;
};

interface Told {
  readonly notes: string[];
  readonly summary: ScoreSummary | undefined;
}

/** In this process. */
async function score(words: readonly string[], communicator?: Communicator): Promise<Told> {
  const notes: string[] = [];
  const { args, notices } = parseScoreArguments(words, communicator?.size);
  const report = { ...silentReporter, note: (line: string) => void notes.push(line) };
  const summary = await scoreFiles(args, { report, communicator, openGpu: async () => lent() });
  return { notes: [...notices, ...notes], summary };
}

interface Row {
  readonly query: string;
  readonly pos: string[];
  readonly neg?: string[] | null;
  readonly pos_scores: number[];
  readonly neg_scores: number[];
}

const write = (name: string, rows: readonly object[]) => {
  fs.writeFileSync(at(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return at(name);
};
const read = (name: string): Row[] =>
  fs
    .readFileSync(at(name), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);

const near = (found: readonly number[], expected: readonly number[], tolerance: number, what: string) => {
  assert.equal(found.length, expected.length, what);
  for (const [i, value] of expected.entries())
    assert.ok(Math.abs(found[i]! - value) <= tolerance, `${what} ${i}: ${found[i]}, not ${value}`);
};

const rows = [
  {
    query: 'ein Fehler des Compilers',
    prompt: 'Find messages: ',
    pos: ['Der Compiler meldet einen Fehler.', 'error in the compiler'],
    neg: ['option --skipLibCheck', 'file not found', 'error in the compiler'],
    pos_scores: [1],
    neg_scores: 'stale',
    id: 0,
  },
  { query: 'file not found', pos: ['Datei wurde nicht gefunden'], neg: [], type: 'symmetric_sts' },
  { query: 'ein Fehler des Compilers', pos: ['type'], neg: null, prompt: null },
  { query: '', pos: ['file not found'] },
];

test('scores of a model are those of its embeddings, with the prompts of training, and rows keep their other columns', async () => {
  const id = '12345678901234567890';
  const file = at('rows.jsonl');
  fs.writeFileSync(
    file,
    rows.map((row) => `${JSON.stringify(row).replace('"id":0', `"id":${id}, "x": 1.0`)}\n`).join(''),
  );
  const tokenizer = Tokenizer.load(golden('model'));
  const m3 = M3Model.load(gpu, golden('model'));
  const known = new Map<string, M3Embedding>();
  const embed = async (text: string, maxLength: number) => {
    const key = `${maxLength} ${text}`;
    const found = known.get(key) ?? (await encodeTexts(m3, tokenizer, [text], { prompt: '', maxLength }))[0]!;
    known.set(key, found);
    return found;
  };
  const instructed = [
    '--query_instruction_for_retrieval',
    'Q: ',
    '--passage_instruction_for_retrieval',
    'P: ',
  ];
  const lengths = ['--query_max_len', '9', '--passage_max_len', '12'];
  const modes = [
    ['dense', ['--mode', 'dense', '--scale', '1'], denseScore],
    ['sparse', ['--mode', 'sparse', '--scale', '1'], lexicalScore],
    ['colbert', ['--mode', 'colbert', '--scale', '1'], colbertScore],
    ['hybrid', [], (q, p) => 50 * (denseScore(q, p) + 0.3 * lexicalScore(q, p) + colbertScore(q, p))],
    [
      'mean',
      ['--weights', '1,2,0.5', '--normalize_weights', '--scale', '2'],
      (q, p) => 2 * hybridScores(q, p, [1, 2, 0.5])['colbert+sparse+dense'],
    ],
  ] as const satisfies readonly (readonly [string, readonly string[], typeof denseScore])[];
  for (const [name, words, expected] of modes) {
    await score([file, at(`${name}.jsonl`), ...model, ...instructed, ...lengths, ...words]);
    const scored = read(`${name}.jsonl`);
    for (const [r, row] of rows.entries()) {
      const prompt = row.prompt ?? 'Q: ';
      const query = await embed(prompt + row.query, 9);
      // Of a symmetric type passages are prompted as queries are.
      const before = row.type === 'symmetric_sts' ? prompt : 'P: ';
      const side = async (texts: readonly string[]) => {
        const values: number[] = [];
        for (const text of texts) values.push(expected(query, await embed(before + text, 12)));
        return values;
      };
      near(scored[r]!.pos_scores, await side(row.pos), 2e-4, `${name}: pos_scores of row ${r}`);
      near(scored[r]!.neg_scores, await side(row.neg ?? []), 2e-4, `${name}: neg_scores of row ${r}`);
    }
  }
  m3.dispose();
  const [first, second] = fs.readFileSync(at('hybrid.jsonl'), 'utf8').split('\n');
  assert.ok(first!.includes(`"id":${id}, "x": 1.0`));
  assert.ok(!first!.includes('stale'));
  assert.ok(second!.includes('"neg_scores": []'));

  // Outside same-dataset mode the instruction alone counts, and no type.
  await score([file, at('plain.jsonl'), ...model, '--same_dataset_within_batch', 'False']);
  const unprompted = read('plain.jsonl');
  const bare = rows.map(({ query, pos, neg }) => ({ query, pos, neg }));
  await score([write('bare.jsonl', bare), at('bare-scored.jsonl'), ...model]);
  assert.deepEqual(
    unprompted.map(({ pos_scores, neg_scores }) => [pos_scores, neg_scores]),
    read('bare-scored.jsonl').map(({ pos_scores, neg_scores }) => [pos_scores, neg_scores]),
  );
});

test('each distinct text is read once, in the order in which it comes first', () => {
  const { rows: file, prompts } = openRows(write('distinct.jsonl', rows), {
    ...{ sameDatasetWithinBatch: true, queryInstructionForRetrieval: null, queryInstructionFormat: '{}{}' },
    ...{ passageInstructionForRetrieval: null, passageInstructionFormat: '{}{}' },
  } as const);
  const texts = new RowPairs(file, prompts);
  const first = rows[0]!;
  assert.deepEqual(
    [...texts.queries()],
    [`Find messages: ${first.query}`, 'file not found', 'ein Fehler des Compilers', ''],
  );
  assert.deepEqual(
    [...texts.passages()],
    [...first.pos, first.neg![0]!, first.neg![1]!, 'Datei wurde nicht gefunden', 'type'],
  );
  assert.deepEqual([...texts.pairs.queryOf], [0, 0, 0, 0, 0, 1, 2, 3]);
  assert.deepEqual([...texts.pairs.passageOf], [0, 1, 2, 3, 1, 4, 5, 3]);
  const many = new DistinctTexts();
  for (let round = 0; round < 2; round++)
    for (let i = 0; i < 5000; i++) assert.equal(many.add(`text ${i}`), i);
  assert.equal(many.count, 5000);
});

test('scores of a reranker are transformers’ logits, or their sigmoid, by the flags of add_reranker_score', async () => {
  const file = write(
    'pairs.jsonl',
    rerankers.pairs.map(([query, passage]) => ({ query, prompt: 'unused', pos: [passage], neg: [passage] })),
  );
  for (const [name, cases] of Object.entries(rerankers.models)) {
    const reranker = rerankerFolder(folder, name);
    for (const { max_length, query_max_length, logits } of cases.slice(0, 2)) {
      const words = [
        ...['--reranker_name_or_path', reranker, '--reranker_model_class', 'encoder-only-base'],
        ...[
          '--input_file',
          file,
          '--output_file',
          at(`${name}.jsonl`),
          '--use_fp16',
          'False',
          '--devices',
          'cuda:0',
        ],
        ...['--reranker_batch_size', '7', '--reranker_max_length', `${max_length}`, '--cache_dir', folder],
        ...(query_max_length === null ? [] : ['--reranker_query_max_length', `${query_max_length}`]),
      ];
      const { notes } = await score(words);
      assert.equal(notes.length, 3, notes.join('\n'));
      const scored = read(`${name}.jsonl`);
      near(
        scored.map((row) => row.pos_scores[0]!),
        logits,
        1e-4,
        name,
      );
      for (const { pos_scores, neg_scores } of scored) near(neg_scores, pos_scores, 1e-5, 'the same pair');
    }
    const [{ logits }] = cases as [(typeof cases)[number]];
    const words = [
      file,
      at('sigmoid.jsonl'),
      '--reranker_name_or_path',
      reranker,
      '--reranker_max_length',
      '48',
    ];
    await score([...words, '--normalize', '--reranker_batch_size', '3000']);
    near(
      read('sigmoid.jsonl').map((row) => row.pos_scores[0]!),
      logits.map((logit) => 1 / (1 + Math.exp(-logit))),
      1e-4,
      'sigmoid',
    );
  }
});

test('instructions of a reranker go before its texts, and queries leave room for the passage', async () => {
  const reranker = ['--reranker_name_or_path', rerankerFolder(folder, 'xlm-roberta')];
  const [query, passage] = rerankers.pairs[0]!;
  const plain = write('plain-pair.jsonl', [{ query: `Q ${query}!`, pos: [`P ${passage}`] }]);
  const instructed = write('pair.jsonl', [{ query, pos: [passage] }]);
  await score([plain, at('a.jsonl'), ...reranker]);
  await score([
    ...[instructed, at('b.jsonl'), ...reranker, '--query_instruction_for_rerank', 'Q '],
    ...['--query_instruction_format_for_rerank', '{}{}!', '--passage_instruction_for_rerank', 'P '],
  ]);
  assert.deepEqual(read('b.jsonl')[0]!.pos_scores, read('a.jsonl')[0]!.pos_scores);
  const { notes } = await score([
    ...[
      instructed,
      at('c.jsonl'),
      ...reranker,
      '--reranker_max_length',
      '12',
      '--reranker_query_max_length',
      '12',
    ],
  ]);
  assert.match(notes.join('\n'), /queries are cut to 7 tokens, which leaves room for one of the passage/);
  await assert.rejects(
    score([instructed, at('c.jsonl'), ...reranker, '--reranker_max_length', '5']),
    /pairs of at most 5 tokens: expected at least 6/,
  );
});

test('two ranks write the bytes of one', async () => {
  const file = write('ranked.jsonl', [
    ...rows.map(({ pos_scores: _, neg_scores: __, ...row }) => row),
    ...rerankers.pairs
      .slice(0, 8)
      .map(([query, passage]) => ({ query, pos: [passage], neg: ['file not found'] })),
  ]);
  const reranker = ['--reranker_name_or_path', rerankerFolder(folder, 'bert')];
  for (const words of [model, reranker]) {
    const all = [...words, '--batch_tokens', '200'];
    await score([file, at('one.jsonl'), ...all]);
    const ranks = new EmulatedRanks(2);
    const ends = await Promise.all(
      [0, 1].map((rank) => score([file, at('two.jsonl'), ...all], ranks.rank(rank))),
    );
    assert.ok(ends[0]!.summary && !ends[1]!.summary);
    assert.deepEqual(fs.readFileSync(at('two.jsonl')), fs.readFileSync(at('one.jsonl')));
    assert.deepEqual(ends[1]!.notes, []);
  }
});

test('the entropy of the teacher, worked out by hand', async () => {
  const close = (found: number, expected: number) =>
    assert.ok(Math.abs(found - expected) < 1e-12, `${found}`);
  close(teacherEntropy([3, 3, 3, 3]), Math.log(4));
  close(teacherEntropy([5]), 0);
  close(teacherEntropy([1000, 0]), 0);
  // Softmax 1/4 and 3/4.
  close(teacherEntropy([7, 7 + Math.log(3)]), 0.25 * Math.log(4) + 0.75 * Math.log(4 / 3));
  const file = write('entropy.jsonl', rows);
  const { notes, summary } = await score([file, at('scored.jsonl'), ...model]);
  const scored = read('scored.jsonl').map(({ pos_scores, neg_scores }) => [...pos_scores, ...neg_scores]);
  // One row of five candidates and three of one, which are no choice.
  close(summary!.entropy, teacherEntropy(scored[0]!));
  close(summary!.uniformEntropy, Math.log(5));
  assert.deepEqual([summary!.rows, summary!.pairs, summary!.teachingRows], [4, 8, 1]);
  assert.match(
    notes.at(-1)!,
    /^4 rows, 8 pairs scored in .*; mean entropy of the teacher over 1 rows: \d\.\d{4} nats \(of a uniform one: 1\.6094\)$/,
  );
  const flat = await score([file, at('flat.jsonl'), ...model, '--scale', '0.001']);
  assert.match(flat.notes.at(-1)!, /^the teacher is nearly uniform at --scale 0.001/);
});

test('numbers are written as floats, and hybrid scores by their weights', () => {
  assert.equal(jsonFloats([1, -0, 0.5, -3, 1e21, 1.5e-9]), '[1.0, 0.0, 0.5, -3.0, 1e+21, 1.5e-9]');
  const scores = { dense: Float32Array.of(1), sparse: Float32Array.of(2), colbert: Float32Array.of(4) };
  assert.equal(combinedScores(scores, 'hybrid', [1, 0.5, 0.25], false)[0], 3);
  assert.equal(combinedScores(scores, 'hybrid', [1, 0.5, 0.5], true)[0], 2);
  assert.equal(combinedScores({ dense: scores.dense }, 'hybrid', [3, 0, 0], false)[0], 3);
  assert.equal(combinedScores(scores, 'sparse', [1, 1, 1], true)[0], 2);
});

test('standard input and output, and a text of 100,000 characters', () => {
  const row = { query: 'a', pos: ['wort '.repeat(20000)], neg: ['é文'] };
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(repositoryRoot, 'dist/src/cli/main.js'), 'score', '-', '-', ...model, '--mode', 'dense'],
    { input: `${JSON.stringify(row)}\n`, encoding: 'utf8' },
  );
  assert.equal(status, 0, stderr);
  const { pos_scores, neg_scores, ...rest } = JSON.parse(stdout);
  assert.deepEqual(rest, row);
  assert.ok(pos_scores.length === 1 && neg_scores.length === 1);
  assert.match(stderr, /^1 rows, 2 pairs scored; mean entropy/m);
});

test('what is refused, with a line that says why, before anything is written', async () => {
  const file = write('good.jsonl', [{ query: 'a', pos: ['b'], neg: ['c'] }]);
  const out = at('never.jsonl');
  const reranker = rerankerFolder(folder, 'bert');
  const headless = at('headless');
  fs.cpSync(golden('model'), headless, { recursive: true });
  fs.rmSync(path.join(headless, 'sparse_linear.pt'));
  const table: readonly (readonly [readonly string[], RegExp])[] = [
    [[file, out], /expected one of them, found neither/],
    [[file, out, ...model, '--reranker_name_or_path', reranker], /expected one of them, found both/],
    [[file, ...model], /--output_file: expected a path, found nothing/],
    [[file, out, 'more', ...model], /expected one file to read and one to write, found "more" too/],
    [[file, out, ...model, '--mode', 'other'], /--mode: expected one of dense, sparse, colbert, hybrid/],
    [[file, out, ...model, '--weights', '1,1'], /--weights: expected three numbers/],
    [[file, out, ...model, '--weights', '0,0,0'], /--weights: expected three numbers/],
    [[file, out, ...model, '--scale', '0'], /--scale: expected a number above 0/],
    [[file, out, '--model_name_or_path', reranker], /expected an embedder, found .* a reranker/],
    [
      [file, out, '--reranker_name_or_path', golden('model')],
      /expected a reranker, an encoder with a classifier/,
    ],
    [
      [file, out, '--reranker_name_or_path', reranker, '--reranker_model_class', 'decoder-only-layerwise'],
      /rerankers that are decoders are not read here/,
    ],
    [
      [file, out, '--reranker_name_or_path', reranker, '--cutoff_layers', '28'],
      /--cutoff_layers: .*rerankers that are decoders/,
    ],
    [
      [file, out, '--model_name_or_path', headless],
      /sparse_linear.pt: no such file: the model has no such head; --mode dense does without, and finetune/,
    ],
    [
      [write('empty-pos.jsonl', [{ query: 'a', pos: [] }]), out, ...model],
      /empty-pos.jsonl:1: expected "pos"/,
    ],
    [[write('empty.jsonl', []), out, ...model], /empty.jsonl: expected at least one row, found none/],
    [[at('nowhere.jsonl'), out, ...model], /nowhere.jsonl: cannot read/],
    [[file, at('no/such/folder.jsonl'), ...model], /--output_file: .*folder.jsonl: cannot write/],
  ];
  for (const [words, message] of table)
    await assert.rejects(async () => score(words), message, words.join(' '));
  // A file that grows between its being read and its being written again.
  const growing = write('growing.jsonl', [{ query: 'a', pos: ['b'], neg: ['c'] }]);
  await assert.rejects(
    scoreFiles(parseScoreArguments([growing, out, ...model]).args, {
      report: silentReporter,
      openGpu: async () => {
        fs.appendFileSync(growing, fs.readFileSync(file));
        return lent();
      },
    }),
    /growing.jsonl: expected the rows that were read first, found that the file has changed/,
  );
  assert.ok(!fs.existsSync(out));
  // A model of whose heads none is needed.
  await score([file, at('dense.jsonl'), '--model_name_or_path', headless, '--mode', 'dense']);
  const { notes } = await score([
    ...[file, at('idle.jsonl'), ...model, '--normalize', '--mode', 'dense', '--weights', '1,1,1'],
  ]);
  assert.deepEqual(notes.slice(0, 2), [
    '--normalize has no effect without --reranker_name_or_path',
    '--weights has no effect with --mode dense',
  ]);
});

test('scores that float32 does not hold are refused, and nothing is written', async () => {
  const rows = write('large.jsonl', [{ query: 'a', pos: ['b'], neg: ['c'] }]);
  for (const words of [
    ['--scale', '1e308'],
    ['--weights', '1e308,1,1'],
    ['--weights', '1e308,1,1', '--normalize_weights', '--scale', '1e300'],
  ])
    await assert.rejects(
      score([rows, at('large-scores.jsonl'), ...model, ...words]),
      /^InputError: .*large\.jsonl:1: expected scores of float32, found .* times /,
    );
  assert.ok(!fs.existsSync(at('large-scores.jsonl')));
});
