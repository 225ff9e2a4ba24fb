/** `dawntune evaluate`: its flags, its files, and what it says of a small model, of run files and of both. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { silentReporter } from '../src/console/reporter.js';
import { Gpu } from '../src/gpu/gpu.js';
import { CrossEncoder } from '../src/models/cross-encoder.js';
import { parseEvaluateArguments } from '../src/retrieval/evaluate/arguments.js';
import { distinctNames, evaluate } from '../src/retrieval/evaluate/evaluate.js';
import { trecOrder } from '../src/retrieval/evaluate/ranking.js';
import { readRun } from '../src/retrieval/evaluate/run-file.js';
import { rerankPairs } from '../src/retrieval/score/reranker.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { golden } from './repository.js';
import { rerankerFolder } from './rerankers.js';
import { passages, queries } from './short-texts.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-evaluate-'));
const gpu = await Gpu.open();
after(async () => {
  await gpu.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

function file(name: string, content: string | readonly unknown[]): string {
  const at = path.join(folder, name);
  fs.mkdirSync(path.dirname(at), { recursive: true });
  const lines =
    typeof content === 'string' ? content : content.map((each) => `${JSON.stringify(each)}\n`).join('');
  fs.writeFileSync(at, lines);
  return at;
}

// ---- flags ----

/** What FlagEmbedding's documentation has for a custom evaluation. */
const UPSTREAM = [
  '--eval_name mine --dataset_dir FOLDER --splits test --corpus_embd_save_dir ./embd --output_dir ./results',
  '--search_top_k 1000 --cache_path /root/.cache/huggingface/hub --overwrite False --k_values 10 100',
  '--eval_output_method markdown --eval_output_path ./results.md --eval_metrics ndcg_at_10 recall_at_100',
  '--embedder_name_or_path BAAI/bge-m3 --embedder_model_class encoder-only-m3 --devices cuda:0 cuda:1',
  '--cache_dir /root/.cache/huggingface/hub --embedder_query_max_length 1024 --embedder_passage_max_length 1024',
  '--embedder_batch_size 3000 --pooling_method cls --normalize_embeddings True --use_fp16 False --truncate_dim 512',
  '--force_redownload False --ignore_identical_ids False --trust_remote_code True --use_bf16 False',
  '--rerank_top_k 100 --reranker_max_length 512 --reranker_batch_size 3000 --normalize False',
]
  .join(' ')
  .split(' ');

test('the flags of FlagEmbedding’s custom evaluation', () => {
  const { args, notices } = parseEvaluateArguments(UPSTREAM);
  assert.equal(args.datasetDir, 'FOLDER');
  assert.equal(args.modelNameOrPath, 'BAAI/bge-m3');
  assert.deepEqual([args.queryMaxLength, args.passageMaxLength, args.truncateDim], [1024, 1024, 512]);
  assert.deepEqual(args.kValues, [10, 100]);
  assert.deepEqual(args.evalMetrics, [
    { kind: 'ndcg', k: 10 },
    { kind: 'recall', k: 100 },
  ]);
  assert.deepEqual(args.modes, ['dense']);
  assert.deepEqual(notices.map((line) => /^--(\w+) has no effect/.exec(line)?.[1]).sort(), [
    'batch_size',
    'cache_path',
    'corpus_embd_save_dir',
    'devices',
    'trust_remote_code',
  ]);
  const reranked = parseEvaluateArguments([
    ...UPSTREAM,
    '--reranker_name_or_path',
    'BAAI/bge-reranker-v2-m3',
  ]);
  assert.deepEqual(
    [reranked.args.rerankerNameOrPath, reranked.args.rerankTopK],
    ['BAAI/bge-reranker-v2-m3', 100],
  );
  assert.deepEqual(reranked.notices, notices);
  assert.match(
    parseEvaluateArguments([...UPSTREAM, '--rerank_top_k', '50']).notices.join(),
    /--rerank_top_k has no effect without --reranker_name_or_path/,
  );
  for (const kind of ['decoder-only-base', 'other'])
    assert.throws(
      () => parseEvaluateArguments([...UPSTREAM, '--reranker_model_class', kind]),
      /^InputError: --reranker_model_class: expected encoder-only-base/,
    );
});

test('flags that contradict each other or say nothing', () => {
  const model = ['--model_name_or_path', 'm'];
  const folder = ['--dataset_dir', 'd'];
  const cases: [string[], RegExp][] = [
    [model, /expected one of --dataset_dir, --eval_data, and --corpus, --queries and --qrels, found none/],
    [[...model, ...folder, '--eval_data', 'x'], /found --dataset_dir and --eval_data/],
    [folder, /--model_name_or_path: expected a folder or a hub id \(or --run\)/],
    [[...model, ...folder, '--run', 'r'], /--run: expected no --model_name_or_path/],
    [[...model, '--qrels', 'q'], /--corpus: expected a path beside --qrels/],
    [[...model, ...folder, '--corpus', 'c'], /--corpus: expected --qrels with it/],
    [[...model, ...folder, '--tune_weights', 'dev'], /--tune_weights: expected hybrid among --modes/],
    [
      [...model, ...folder, '--modes', 'dense,spares'],
      /--modes: expected some of dense, sparse, colbert, hybrid, found "dense,spares"/,
    ],
    [[...model, ...folder, '--weights', '1', '2'], /--weights: expected three numbers/],
    [[...model, ...folder, '--weights', '0', '0', '0'], /--weights: expected three numbers/],
    [
      [...model, ...folder, '--eval_metrics', 'ncdg_at_10'],
      /--eval_metrics: expected names such as ndcg_at_10/,
    ],
    [[...model, '--eval_data', 'x', '--dataset_names', 'a'], /--dataset_names: expected --dataset_dir/],
  ];
  for (const [words, message] of cases)
    assert.throws(
      () => parseEvaluateArguments(words),
      (error: Error) => error.name === 'InputError' && message.test(error.message),
      words.join(' '),
    );
  const { args } = parseEvaluateArguments([
    ...model,
    ...folder,
    '--modes',
    'hybrid,dense',
    'sparse',
    '--weights',
    '0.4,0.2',
    '0.4',
  ]);
  assert.deepEqual(args.modes, ['dense', 'sparse', 'hybrid']);
  assert.deepEqual(args.weights, [0.4, 0.2, 0.4]);
  const { notices } = parseEvaluateArguments([
    ...model,
    '--eval_data',
    'x',
    '--splits',
    'dev',
    '--seed',
    '1',
    '--weights',
    '1',
    '1',
    '1',
  ]);
  assert.deepEqual(notices, [
    '--splits has no effect without --dataset_dir',
    '--weights has no effect without --modes hybrid',
    '--seed has no effect without a second system',
  ]);
});

// ---- the command ----

const run = async (words: readonly string[]) => {
  const notes: string[] = [];
  const { args, notices } = parseEvaluateArguments(words);
  const report = { ...silentReporter, note: (line: string) => void notes.push(line) };
  const output = await evaluate(args, { report });
  return { output, notes: [...notices, ...notes] };
};

const qrels = file('qrels.txt', 'q1 0 a 1\nq1 0 b 1\nq2 0 c 1\nq3 0 a 1\n');
const first = file(
  'first.trec',
  'q1 Q0 a 1 3 x\nq1 Q0 c 2 2 x\nq1 Q0 b 3 1 x\nq2 Q0 a 1 2 x\nq2 Q0 c 2 1 x\n',
);
const second = file('second.trec', 'q1 Q0 a 1 3 x\nq1 Q0 b 2 2 x\nq2 Q0 c 1 2 x\nq3 Q0 a 1 1 x\n');

test('run files without a model: means as trec_eval, two of them compared, all judged queries where asked for', async () => {
  const { output } = await run([
    '--qrels',
    qrels,
    '--run',
    first,
    '--eval_metrics',
    'mrr',
    'precision_at_1',
    'recall_at_2',
  ]);
  // q3 has no line: mrr counts it, the others do not.
  assert.match(output!, /\| first\.trec \| run \| NoReranker \| 50\.000 \| 50\.000 \| 75\.000 \|/);
  const complete = await run([
    '--qrels',
    qrels,
    '--run',
    first,
    '--eval_metrics',
    'precision_at_1',
    '--complete_qrels',
    'True',
  ]);
  assert.match(complete.output!, /\| first\.trec \| run \| NoReranker \| 33\.333 \|/);
  const json = path.join(folder, 'deep/report.json');
  await run([
    '--qrels',
    qrels,
    '--run',
    first,
    '--compare',
    second,
    '--eval_metrics',
    'precision_at_1',
    '--eval_output_path',
    json,
  ]);
  const report = JSON.parse(fs.readFileSync(json, 'utf8'));
  const { a, b, metric, p_t, ...numbers } = report.tasks[0].comparisons[0];
  assert.deepEqual([metric, a.model, b.model], ['precision_at_1', 'first.trec', 'second.trec']);
  // Two queries that both answer: of the four assignments of signs all are as far from 0.
  assert.deepEqual(numbers, {
    mean_a: 0.5,
    mean_b: 1,
    difference: 0.5,
    queries: 2,
    different: 1,
    p_randomisation: 1,
    exact: true,
  });
  assert.ok(Math.abs(p_t - 0.5) < 1e-12);
  assert.deepEqual(report.tasks[0].systems[0].per_query, {
    q1: { precision_at_1: 1 },
    q2: { precision_at_1: 0 },
  });
});

test('a report in HTML is one file, and text in it is text', async () => {
  const html = path.join(folder, 'report.html');
  await run([
    '--qrels',
    qrels,
    '--run',
    first,
    '--compare',
    second,
    '--eval_output_path',
    html,
    '--eval_name',
    '<script>alert(1)</script> & "more"',
  ]);
  const text = fs.readFileSync(html, 'utf8');
  assert.ok(text.startsWith('<!doctype html>') && text.trimEnd().endsWith('</html>'));
  assert.ok(text.includes('<h1>&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;</h1>'));
  assert.doesNotMatch(text, /<script|https?:|<link|@import|url\(/);
  assert.match(text, /prefers-color-scheme:dark/);
  assert.match(text, /<svg[^>]*>.*<rect/);
});

test('ids with spaces have results, but no run file', async () => {
  file('spaces/corpus.jsonl', [{ id: 'a b', text: 'stone' }]);
  file('spaces/test_queries.jsonl', [{ id: 'q', text: 'city' }]);
  file('spaces/test_qrels.jsonl', [{ qid: 'q', docid: 'a b', relevance: 1 }]);
  const results = path.join(folder, 'spaces-results');
  const { notes } = await run([
    ...['--model_name_or_path', golden('model'), '--dataset_dir', path.join(folder, 'spaces')],
    ...['--output_dir', results],
  ]);
  const own = path.join(results, 'model', 'NoReranker');
  assert.deepEqual(fs.readdirSync(own).sort(), ['EVAL', 'test.json']);
  assert.ok(notes.some((line) => /test\.trec: not written: there are ids with spaces/.test(line)));
});

test('run files that do not belong to the judgements', async () => {
  const stranger = file('stranger.trec', 'q9 Q0 a 1 3 x\n');
  await assert.rejects(
    () => run(['--qrels', qrels, '--run', stranger]),
    /^InputError: --run: expected a run that answers judged queries, found none of 3/,
  );
  await assert.rejects(
    () => run(['--qrels', qrels, '--run', path.join(folder, 'nothing')]),
    /nothing: cannot read/,
  );
  await assert.rejects(
    () => run(['--qrels', qrels, '--run', first, '--eval_output_path', `${qrels}/report.md`]),
    /^InputError: --eval_output_path/,
  );
});

test('a model on a folder: every mode, groups, weights of a development split, FlagEmbedding’s files, its own run again', async () => {
  const dataset = path.join(folder, 'dataset');
  file(
    'dataset/corpus.jsonl',
    passages.map((text, i) => ({ id: i, title: i % 2 ? 'A' : '', text })),
  );
  for (const split of ['test', 'dev']) {
    file(
      `dataset/${split}_queries.jsonl`,
      queries.map((text, q) => ({ id: `${split}${q}`, text, lang: q % 2 ? 'de' : 'fr' })),
    );
    file(
      `dataset/${split}_qrels.jsonl`,
      queries.flatMap((_, q) =>
        [0, 1].map((r) => ({ qid: `${split}${q}`, docid: String((q * 7 + r) % 60), relevance: 1 + r })),
      ),
    );
  }
  const words = [
    ...['--model_name_or_path', golden('model'), '--dataset_dir', dataset, '--k_values', '1', '10'],
    ...['--modes', 'dense,sparse,colbert,hybrid', '--tune_weights', 'dev', '--colbert_candidates', '12'],
    ...['--query_max_length', '64', '--passage_max_length', '64', '--search_top_k', '30'],
  ];
  const results = path.join(folder, 'results');
  const json = path.join(folder, 'model.json');
  const { notes } = await run([...words, '--output_dir', results, '--eval_output_path', json]);
  assert.ok(
    notes.some((line) =>
      /^model: weights [\d.]+ [\d.]+ [\d.]+ of dense, sparse and ColBERT are best on dev/.test(line),
    ),
    notes.join('\n'),
  );
  const [task] = JSON.parse(fs.readFileSync(json, 'utf8')).tasks;
  assert.deepEqual([task.name, task.documents, task.queries], ['test', passages.length, queries.length]);
  assert.deepEqual(
    task.systems.map(({ mode }: { mode: string }) => mode),
    ['dense', 'sparse', 'colbert', 'hybrid'],
  );
  for (const { groups, metrics } of task.systems) {
    assert.deepEqual(
      groups.map(({ group, queries }: { group: string; queries: number }) => [group, queries]),
      [
        ['de', 3],
        ['fr', 4],
      ],
    );
    const { ndcg_at_10: whole } = metrics;
    const [de, fr] = groups.map(({ metrics }: { metrics: Record<string, number> }) => metrics['ndcg_at_10']!);
    assert.ok(Math.abs((3 * de + 4 * fr) / 7 - whole) < 2e-5);
  }
  // dense against the three others, by two metrics.
  assert.equal(task.comparisons.length, 6);
  const hybrid = path.join(results, 'model-hybrid', 'NoReranker');
  assert.deepEqual(fs.readdirSync(hybrid).sort(), ['EVAL', 'test.json', 'test.trec']);
  const means = JSON.parse(fs.readFileSync(path.join(hybrid, 'EVAL', 'eval_results.json'), 'utf8'));
  assert.deepEqual(means.test, task.systems[3].metrics);
  const searched = JSON.parse(
    fs.readFileSync(path.join(results, 'model', 'NoReranker', 'test.json'), 'utf8'),
  );
  assert.deepEqual(
    [searched.model_name, searched.reranker_name, searched.split, searched.dataset_name],
    ['model', 'NoReranker', 'test', null],
  );
  assert.equal(Object.keys(searched.search_results['test0']).length, 30);
  // The run files say the same without the model; that a query found nothing they cannot say.
  for (const [s, mode] of ['dense', 'sparse', 'colbert', 'hybrid'].entries()) {
    const own = path.join(results, mode === 'dense' ? 'model' : `model-${mode}`, 'NoReranker', 'test.trec');
    const again = path.join(folder, 'again.json');
    await run([
      '--dataset_dir',
      dataset,
      '--run',
      own,
      '--k_values',
      '1',
      '10',
      '--complete_qrels',
      '--eval_output_path',
      again,
    ]);
    const [system] = JSON.parse(fs.readFileSync(again, 'utf8')).tasks[0].systems;
    assert.deepEqual(system.metrics, task.systems[s].metrics, mode);
  }
  await assert.rejects(
    () => run([...words, '--splits', 'test', 'dev']),
    /--tune_weights: expected a split that is not evaluated, found dev/,
  );
});

test('a second model or a reranker that is not there is told of before anything is encoded', async () => {
  const rows = file('early.jsonl', [{ query: queries[0]!, pos: [passages[0]!], neg: [passages[1]!] }]);
  for (const flag of ['--compare', '--reranker_name_or_path']) {
    let counted = 0;
    const { args } = parseEvaluateArguments([
      ...['--model_name_or_path', golden('model'), '--eval_data', rows],
      ...[flag, path.join(folder, 'nothing')],
    ]);
    await assert.rejects(
      evaluate(args, { report: { ...silentReporter, progress: () => void counted++ } }),
      new RegExp(`${flag}: .*nothing: no such folder`),
    );
    assert.equal(counted, 0);
  }
});

test('two models side by side on rows of training data; one with itself differs nowhere', async () => {
  const rows = file(
    'rows.jsonl',
    queries.map((query, q) => ({ query, pos: [passages[q]!], neg: passages.slice(10 + q, 15 + q) })),
  );
  const other = path.join(folder, 'other', 'model');
  fs.cpSync(golden('model'), other, { recursive: true });
  const { output } = await run([
    ...[
      '--model_name_or_path',
      golden('model'),
      '--compare',
      other,
      '--eval_data',
      rows,
      '--modes',
      'dense',
      'sparse',
    ],
    ...['--query_max_length', '64', '--passage_max_length', '64'],
  ]);
  assert.match(output!, /\| golden\/model \| dense \|/);
  assert.match(output!, /\| other\/model \| sparse \|/);
  const compared = [
    ...output!.matchAll(
      /^\| \w+ ?.*\| golden\/model (\w+) \| other\/model (\w+) \| .* \| \+0\.000 \| 1\.0000 \| 1\.0000 \| 7 \(0\) \|$/gm,
    ),
  ];
  assert.deepEqual(
    compared.map(([, a, b]) => [a, b]),
    [
      ['dense', 'dense'],
      ['dense', 'dense'],
      ['sparse', 'sparse'],
      ['sparse', 'sparse'],
    ],
  );
  assert.match(output!, /not corrected for the 4 comparisons here: .* below 0\.013 \(Bonferroni\)/);
});

test('a cross-encoder ranks the first of each query anew, those of a run file too', async () => {
  const reranker = rerankerFolder(folder, 'xlm-roberta');
  const dataset = path.join(folder, 'reranked');
  file(
    'reranked/corpus.jsonl',
    passages.map((text, i) => ({ id: `d${i}`, text })),
  );
  file(
    'reranked/test_queries.jsonl',
    queries.map((text, q) => ({ id: `q${q}`, text })),
  );
  file(
    'reranked/test_qrels.jsonl',
    queries.map((_, q) => ({ qid: `q${q}`, docid: `d${q}`, relevance: 1 })),
  );
  const results = path.join(folder, 'reranked-results');
  const words = [
    '--dataset_dir',
    dataset,
    '--reranker_name_or_path',
    reranker,
    '--rerank_top_k',
    '5',
    '--output_dir',
    results,
  ];
  const { output } = await run(['--model_name_or_path', golden('model'), ...words]);
  const name = path.basename(reranker);
  assert.match(output!, /\| model \| dense \| NoReranker \|/);
  assert.ok(output!.includes(`| model | dense | ${name} |`), output);
  const own = readRun(path.join(results, 'model', name, 'test.trec'));
  const before = readRun(path.join(results, 'model', 'NoReranker', 'test.trec'));
  const encoder = CrossEncoder.load(gpu, reranker);
  const pairTokenizer = Tokenizer.load(reranker);
  for (const [q, query] of queries.entries()) {
    const first = trecOrder(before.get(`q${q}`)!).slice(0, 5);
    const texts = first.map(({ doc }): [string, string] => [query, passages[Number(doc.slice(1))]!.trim()]);
    const scores = await rerankPairs(encoder, pairTokenizer, texts);
    const found = new Map(own.get(`q${q}`)!.map(({ doc, score }) => [doc, score]));
    assert.deepEqual([...found.keys()].sort(), first.map(({ doc }) => doc).sort());
    for (const [i, { doc }] of first.entries()) assert.ok(Math.abs(found.get(doc)! - scores[i]!) < 1e-5);
  }
  encoder.dispose();
  // The same from the run file, without the model.
  const again = await run(['--run', path.join(results, 'model', 'NoReranker', 'test.trec'), ...words]);
  const row = (text: string) => new RegExp(`\\| ${name} (\\|.*)$`, 'm').exec(text)![1];
  assert.equal(row(again.output!), row(output!));
  await assert.rejects(
    () => run(['--qrels', qrels, '--run', first, '--reranker_name_or_path', reranker]),
    /^InputError: --reranker_name_or_path: expected --corpus and --queries/,
  );
});

test('a model without the head that a mode needs is refused', async () => {
  const plain = path.join(folder, 'plain');
  fs.cpSync(golden('model'), plain, { recursive: true });
  for (const name of fs.readdirSync(plain))
    if (/^(sparse|colbert)_linear/.test(name)) fs.rmSync(path.join(plain, name));
  const rows = file('few.jsonl', [{ query: 'stone', pos: ['city'], neg: ['moon'] }]);
  const words = ['--model_name_or_path', plain, '--eval_data', rows];
  await assert.rejects(() => run([...words, '--modes', 'hybrid']), /_linear\.pt: no such file/);
  assert.match((await run(words)).output!, /\| plain \| dense \|/);
});

test('names of models tell them apart', () => {
  assert.deepEqual(distinctNames(['a/b/model', './c/model/']), ['b/model', 'c/model']);
  assert.deepEqual(distinctNames(['BAAI/bge-m3', 'out/model']), ['bge-m3', 'model']);
  assert.deepEqual(distinctNames(['x', 'x']), ['x (1)', 'x (2)']);
  assert.deepEqual(distinctNames(['one']), ['one']);
});
