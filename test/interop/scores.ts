/**
 * `npm run interop:scores -- --python PYTHON`: pairs scored by `dawntune score` and by FlagEmbedding's FlagReranker and
 * BGEM3FlagModel.compute_score. By default the pairs and models of the goldens; real ones are named. Exits with 1 where a
 * score differs by more than 1e-4. Upstream floors ColBERT maxima at 0 where it has padded a passage: pairs that it scores
 * in one batch are told, not judged.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { silentReporter } from '../../src/console/reporter.js';
import { RowFile } from '../../src/data/rows.js';
import { MachineError } from '../../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../../src/flag-help.js';
import { parseFlags } from '../../src/flags.js';
import { parseScoreArguments } from '../../src/retrieval/score/arguments.js';
import { candidatesOf, eachRow } from '../../src/retrieval/score/rows.js';
import { scoreFiles } from '../../src/retrieval/score/score.js';
import { messageLine } from '../../src/show.js';
import { golden, repositoryRoot } from '../repository.js';
import { rerankerFolder, rerankers } from '../rerankers.js';
import { scoreInteropFlags } from './flags.js';

const TOLERANCE = 1e-4;

type ByMode = Record<'dense' | 'sparse' | 'colbert' | 'colbert+sparse+dense', number[]>;

interface Answer {
  readonly reranker?: { readonly logits: number[]; readonly normalized: number[] };
  readonly model?: { readonly alone: ByMode; readonly together: ByMode };
}

async function main(argv: readonly string[]): Promise<number> {
  if (wantsHelp(argv)) {
    process.stdout.write(
      renderHelp(usageLine('npm run interop:scores --', scoreInteropFlags), scoreInteropFlags),
    );
    return 0;
  }
  const { values } = parseFlags(scoreInteropFlags, argv);
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-interop-scores-'));
  process.on('exit', () => fs.rmSync(root, { recursive: true, force: true }));
  const at = (name: string) => path.join(root, name);
  const input = values.trainData ?? at('rows.jsonl');
  if (values.trainData === null)
    fs.writeFileSync(
      input,
      rerankers.pairs.map(([query, passage]) => `${JSON.stringify({ query, pos: [passage] })}\n`).join(''),
    );
  const rows = [...eachRow(new RowFile(input, { scores: false, prompt: false, batching: false }))];
  const pairs = rows.flatMap((row) => candidatesOf(row).map((text) => [row.query, text] as const));
  const model = values.modelNameOrPath ?? golden('model');
  const named = values.rerankerNameOrPath;
  const folders =
    named === null ? Object.keys(rerankers.models).map((name) => rerankerFolder(root, name)) : [named];
  const [queryLength, passageLength, pairLength] = [64, 256, 300];

  const upstream = (request: object): Answer => {
    fs.writeFileSync(at('request.json'), JSON.stringify({ pairs, ...request }));
    const script = path.join(repositoryRoot, 'test', 'interop', 'scores.py');
    const { status, stderr, error } = spawnSync(
      values.python,
      [script, at('request.json'), at('answer.json')],
      {
        encoding: 'utf8',
        maxBuffer: 256 << 20,
      },
    );
    if (error) throw new MachineError(`${values.python}: ${error.message}`);
    if (status !== 0) throw new MachineError(stderr.trim().split('\n').slice(-8).join('\n'));
    return JSON.parse(fs.readFileSync(at('answer.json'), 'utf8')) as Answer;
  };
  const ours = async (...words: string[]): Promise<number[]> => {
    const { args } = parseScoreArguments([input, at('ours.jsonl'), '--scale', '1', ...words]);
    await scoreFiles(args, { report: silentReporter });
    const scored = fs.readFileSync(at('ours.jsonl'), 'utf8').trimEnd().split('\n');
    return scored.flatMap((line) => {
      const { pos_scores, neg_scores } = JSON.parse(line) as Record<string, number[]>;
      return [...pos_scores!, ...neg_scores!];
    });
  };
  const furthest = (a: readonly number[], b: readonly number[]) =>
    a.length === b.length
      ? a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0)
      : Number.POSITIVE_INFINITY;
  let failed = 0;
  const judge = (what: string, a: readonly number[], b: readonly number[], counts = true) => {
    const distance = furthest(a, b);
    const wrong = counts && !(distance <= TOLERANCE);
    if (wrong) failed++;
    const verdict = counts ? (wrong ? 'FAIL' : 'ok  ') : '    ';
    process.stdout.write(`${verdict} ${what}: ${a.length} pairs, furthest ${distance.toExponential(2)}\n`);
  };

  for (const folder of folders) {
    const lengths = { max_length: pairLength, query_max_length: queryLength };
    const { reranker } = upstream({ reranker: { path: folder, ...lengths } });
    const words = [
      ...['--reranker_name_or_path', folder, '--reranker_max_length', `${pairLength}`],
      ...['--reranker_query_max_length', `${queryLength}`],
    ];
    judge(`${path.basename(folder)}: logits`, await ours(...words), reranker!.logits);
    judge(`${path.basename(folder)}: normalize`, await ours(...words, '--normalize'), reranker!.normalized);
  }
  const pooling = values.poolingMethod;
  const lengths = { query_max_length: queryLength, passage_max_length: passageLength };
  const { alone, together } = upstream({ model: { path: model, pooling, ...lengths } }).model!;
  const words = [
    ...['--model_name_or_path', model, '--pooling_method', pooling],
    ...['--query_max_length', `${queryLength}`, '--passage_max_length', `${passageLength}`],
    ...['--same_dataset_within_batch', 'False'],
  ];
  for (const mode of ['dense', 'sparse', 'colbert'] as const) {
    const found = await ours(...words, '--mode', mode);
    judge(`${path.basename(model)}: ${mode}`, found, alone[mode]);
    judge(`${path.basename(model)}: ${mode}, in one padded batch`, found, together[mode], mode !== 'colbert');
  }
  const hybrid = await ours(...words, '--weights', '1,0.5,2', '--normalize_weights');
  judge(`${path.basename(model)}: hybrid`, hybrid, alone['colbert+sparse+dense']);
  return failed === 0 ? 0 : 1;
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${messageLine(error instanceof Error ? error.message : String(error))}\n`);
    process.exit(1);
  },
);
