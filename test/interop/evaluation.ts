/**
 * `npm run interop:evaluation -- --python PYTHON`: FlagEmbedding's own custom evaluation and `dawntune evaluate` with the same
 * flags on the same folder. By default the goldens' model and rows; a real model and a dataset are named. Exits with 1 where
 * a mean differs in the fifth place, or a score of a document that both found by more than 1e-5.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { silentReporter } from '../../src/console/reporter.js';
import { MachineError } from '../../src/errors.js';
import { readJsonObject } from '../../src/files/json.js';
import { renderHelp, usageLine, wantsHelp } from '../../src/flag-help.js';
import { parseFlags } from '../../src/flags.js';
import { parseEvaluateArguments } from '../../src/retrieval/evaluate/arguments.js';
import { evaluate } from '../../src/retrieval/evaluate/evaluate.js';
import { readTrainingRows } from '../../src/retrieval/evaluate/training-rows.js';
import { messageLine } from '../../src/show.js';
import { golden } from '../repository.js';
import { evaluationInteropFlags } from './flags.js';

/** Means are rounded to five places on both sides; one unit more is what rounding can make of equal numbers. */
const MEANS = 1.5e-5;
const SCORES = 1e-5;

type Means = Record<string, Record<string, number>>;
type Found = Record<string, Record<string, number>>;

/** The rows of the goldens as a dataset in FlagEmbedding's layout. */
function writeDataset(folder: string): void {
  const rows = [golden('example_data', 'retrieval')];
  const { corpus, queries, qrels } = readTrainingRows(rows, '--train_data', { withoutQuery: false });
  const write = (name: string, values: readonly object[]) =>
    fs.writeFileSync(path.join(folder, name), values.map((each) => `${JSON.stringify(each)}\n`).join(''));
  const texts = [...corpus.texts()];
  fs.mkdirSync(folder);
  write(
    'corpus.jsonl',
    corpus.ids.map((id, i) => ({ id, title: '', text: texts[i] })),
  );
  write(
    'test_queries.jsonl',
    queries.map(({ id, text }) => ({ id, text })),
  );
  write(
    'test_qrels.jsonl',
    [...qrels].flatMap(([qid, judged]) =>
      [...judged].map(([docid, relevance]) => ({ qid, docid, relevance })),
    ),
  );
}

async function main(argv: readonly string[]): Promise<number> {
  if (wantsHelp(argv)) {
    process.stdout.write(
      renderHelp(usageLine('npm run interop:evaluation --', evaluationInteropFlags), evaluationInteropFlags),
    );
    return 0;
  }
  const { values } = parseFlags(evaluationInteropFlags, argv);
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-interop-evaluation-'));
  process.on('exit', () => fs.rmSync(root, { recursive: true, force: true }));
  const at = (...names: string[]) => path.join(root, ...names);
  const dataset = values.datasetDir ?? at('dataset');
  if (values.datasetDir === null) writeDataset(dataset);
  const model = path.resolve(values.modelNameOrPath ?? golden('model'));
  const words = (output: string) => [
    ...['--eval_name', 'interop', '--dataset_dir', dataset, '--splits', 'test', '--output_dir', output],
    ...[
      '--search_top_k',
      '1000',
      '--rerank_top_k',
      '100',
      '--cache_path',
      at('cache'),
      '--overwrite',
      'True',
    ],
    ...['--k_values', '1', '3', '5', '10', '100', '1000', '--eval_metrics', 'ndcg_at_10', 'recall_at_10'],
    ...['--eval_output_method', 'markdown', '--eval_output_path', path.join(output, 'results.md')],
    ...['--embedder_name_or_path', model, '--embedder_model_class', 'encoder-only-m3', '--devices', 'cpu'],
    ...['--pooling_method', values.poolingMethod, '--normalize_embeddings', 'True', '--use_fp16', 'False'],
    ...['--embedder_query_max_length', '64', '--embedder_passage_max_length', '256'],
    ...['--embedder_batch_size', '16'],
  ];
  const { status, stderr, error } = spawnSync(
    values.python,
    ['-m', 'FlagEmbedding.evaluation.custom', ...words(at('upstream'))],
    {
      encoding: 'utf8',
      maxBuffer: 256 << 20,
      env: { ...process.env, HF_HUB_OFFLINE: '1', CUDA_VISIBLE_DEVICES: '' },
    },
  );
  if (error) throw new MachineError(`${values.python}: ${error.message}`);
  if (status !== 0) throw new MachineError(stderr.trim().split('\n').slice(-8).join('\n'));
  const { args } = parseEvaluateArguments(words(at('ours')));
  await evaluate(args, { report: silentReporter });

  const results = (side: string, ...names: string[]) =>
    readJsonObject(at(side, path.basename(model), 'NoReranker', ...names), {
      maxBytes: 1 << 30,
      maxValues: 1 << 26,
    });
  const [theirs, own] = ['upstream', 'ours'].map(
    (side) => results(side, 'EVAL', 'eval_results.json') as Means,
  );
  const names = Object.keys(theirs!['test']!);
  const furthest = (values: readonly number[]) => values.reduce((most, value) => Math.max(most, value), 0);
  const means = furthest(names.map((name) => Math.abs(theirs!['test']![name]! - own!['test']![name]!)));
  const [upstream, ours] = ['upstream', 'ours'].map(
    (side) => results(side, 'test.json')['search_results'] as Found,
  );
  let pairs = 0;
  let onlyOne = 0;
  let scores = 0;
  for (const [query, found] of Object.entries(upstream!)) {
    const here = ours![query] ?? {};
    for (const [doc, score] of Object.entries(found))
      if (Object.hasOwn(here, doc)) {
        pairs++;
        scores = Math.max(scores, Math.abs(score - here[doc]!));
      } else onlyOne++;
  }
  const ok = names.length > 0 && means <= MEANS && pairs > 0 && scores <= SCORES;
  process.stdout.write(
    `${ok ? 'ok  ' : 'FAIL'} ${names.length} means, furthest ${means.toExponential(2)}; ${pairs} documents that both found, furthest score ${scores.toExponential(2)}, ${onlyOne} that FlagEmbedding alone found\n`,
  );
  return ok ? 0 : 1;
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${messageLine(error instanceof Error ? error.message : String(error))}\n`);
    process.exit(1);
  },
);
