/**
 * `npm run interop:folders -- --python PYTHON`: model folders that dawntune writes, loaded by transformers,
 * sentence-transformers and FlagEmbedding, and their vectors beside ours. Folders are fine-tuned here from the tiny golden
 * model, one for each pooling, or given with `--folders`. Exits with 1 where anything differs by more than 1e-4, or where
 * the card's code fails.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { silentReporter } from '../../src/console/reporter.js';
import { InputError, MachineError } from '../../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../../src/flag-help.js';
import { parseFlags } from '../../src/flags.js';
import { Gpu } from '../../src/gpu/gpu.js';
import { M3Model } from '../../src/models/m3.js';
import type { M3Embedding } from '../../src/retrieval/embedding.js';
import { encodeTexts } from '../../src/retrieval/encode/encode-texts.js';
import { messageLine } from '../../src/show.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { parseFinetuneArguments } from '../../src/train/arguments.js';
import { finetune } from '../../src/train/trainer.js';
import { golden, repositoryRoot } from '../repository.js';
import { folderFlags } from './flags.js';

const TOLERANCE = 1e-4;
const TEXTS = [
  'What is BGE M3?',
  'BGE M3 is an embedding model supporting dense retrieval, lexical matching and multi-vector interaction.',
  'Die Hauptstadt von Frankreich ist Paris.',
  '日本の首都は東京です。',
  'a',
  'Долгий текст, который длиннее, чем модель может прочесть. '.repeat(150).trim(),
];

interface Answer {
  readonly error?: string;
  readonly dense?: number[][];
  readonly queries?: number[][];
  readonly documents?: number[][];
  readonly lexical?: Record<string, number>[];
  readonly colbert?: number[][][];
  readonly blocks?: number;
}

/** One fine-tuned folder for each way to make a dense vector. */
async function trainedFolders(root: string): Promise<string[]> {
  const folders: string[] = [];
  for (const [name, ...flags] of [
    ['cls', '--save_dtype', 'float32'],
    ['mean-prompts', '--sentence_pooling_method', 'mean', '--query_instruction_for_retrieval', 'query: '],
    ['last-token', '--sentence_pooling_method', 'last_token'],
    [
      'mean-unnormalised',
      '--sentence_pooling_method',
      'mean',
      '--normalize_embeddings',
      'False',
      '--temperature',
      '1',
    ],
  ] as const) {
    const output = path.join(root, name);
    const { args } = parseFinetuneArguments([
      ...['--model_name_or_path', golden('model'), '--train_data', golden('example_data', 'retrieval')],
      ...['--output_dir', output, '--max_steps', '3', '--per_device_train_batch_size', '2'],
      ...['--unified_finetuning', 'True', '--learning_rate', '1e-4', '--save_strategy', 'no', ...flags],
    ]);
    await finetune(args, silentReporter);
    folders.push(output);
  }
  return folders;
}

interface Ours {
  readonly request: Record<string, unknown>;
  readonly embeddings: Record<'text' | 'query' | 'document', M3Embedding[]>;
}

async function ours(folder: string): Promise<Ours> {
  const gpu = await Gpu.open();
  const model = M3Model.load(gpu, folder);
  try {
    const tokenizer = Tokenizer.load(folder);
    const encoded = (role: 'text' | 'query' | 'document') => encodeTexts(model, tokenizer, TEXTS, { role });
    const maxLength = Math.min(model.texts.maxLength ?? tokenizer.modelMaxLength, model.config.maxTokens);
    const { pooling, normalize } = model.settings;
    const colbertDim = model.store.get('colbert_linear.bias').size;
    return {
      request: { path: path.resolve(folder), pooling, normalize, maxLength, colbertDim },
      embeddings: {
        text: await encoded('text'),
        query: await encoded('query'),
        document: await encoded('document'),
      },
    };
  } finally {
    model.dispose();
    await gpu.close();
  }
}

/** The largest difference, relative to the longest vector; NaN where the shapes are not the same. */
function distance(a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]): number {
  let [largest, scale] = [0, 0];
  if (a.length !== b.length) return Number.NaN;
  for (const [i, row] of a.entries()) {
    if (row.length !== b[i]!.length) return Number.NaN;
    let norm = 0;
    for (let c = 0; c < row.length; c++) {
      largest = Math.max(largest, Math.abs(row[c]! - b[i]![c]!));
      norm += row[c]! * row[c]!;
    }
    scale = Math.max(scale, Math.sqrt(norm));
  }
  return largest / (scale || 1);
}

/** Weights of the tokens that either has; a weight of 0 is none. */
function lexicalDistance(found: readonly M3Embedding[], theirs: readonly Record<string, number>[]): number {
  let largest = found.length === theirs.length ? 0 : Number.NaN;
  for (const [i, { lexical }] of found.entries())
    for (const id of new Set([...lexical.keys()].map(String).concat(Object.keys(theirs[i] ?? {}))))
      largest = Math.max(largest, Math.abs((lexical.get(Number(id)) ?? 0) - (theirs[i]?.[id] ?? 0)));
  return largest;
}

function colbertDistance(found: readonly M3Embedding[], theirs: readonly number[][][]): number {
  return distance(
    found.map((each) => each.colbert),
    theirs.map((vectors) => vectors.flat()),
  );
}

function compared({ embeddings }: Ours, answer: Answer): [string, number][] {
  const rows: [string, number][] = [];
  const dense = (list: readonly M3Embedding[]) => list.map((each) => each.dense);
  if (answer.dense) rows.push(['dense', distance(dense(embeddings.text), answer.dense)]);
  if (answer.queries) rows.push(['queries', distance(dense(embeddings.query), answer.queries)]);
  if (answer.documents) rows.push(['passages', distance(dense(embeddings.document), answer.documents)]);
  const weights = embeddings.text.reduce((sum, { lexical }) => sum + lexical.size, 0);
  if (answer.lexical)
    rows.push([`lexical (${weights} weights)`, lexicalDistance(embeddings.text, answer.lexical)]);
  if (answer.colbert) rows.push(['ColBERT', colbertDistance(embeddings.text, answer.colbert)]);
  return rows;
}

async function main(argv: readonly string[]): Promise<void> {
  if (wantsHelp(argv)) {
    const usage = usageLine('npm run interop:folders --', folderFlags);
    process.stdout.write(renderHelp(`${usage}\n\nFolders in the libraries that load them`, folderFlags));
    return;
  }
  const { values } = parseFlags(folderFlags, argv);
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-interop-'));
  process.on('exit', () => fs.rmSync(root, { recursive: true, force: true }));
  const folders = values.folders ?? (await trainedFolders(root));
  const mine: Ours[] = [];
  for (const folder of folders) mine.push(await ours(folder));
  const [request, answer] = [path.join(root, 'request.json'), path.join(root, 'answer.json')];
  fs.writeFileSync(request, JSON.stringify({ texts: TEXTS, folders: mine.map((each) => each.request) }));
  const script = path.join(repositoryRoot, 'test', 'interop', 'folders.py');
  const { status, stderr, error } = spawnSync(values.python, [script, request, answer], { encoding: 'utf8' });
  if (error) throw new MachineError(`${values.python}: ${error.message}`);
  if (status !== 0)
    throw new MachineError(`${script}: ended with ${status}\n${stderr.trim().split('\n').at(-1)}`);
  const answers: Record<string, Answer>[] = JSON.parse(fs.readFileSync(answer, 'utf8'));
  let failed = 0;
  for (const [i, folder] of folders.entries())
    for (const [loader, result] of Object.entries(answers[i]!)) {
      const rows = compared(mine[i]!, result);
      const wrong =
        result.error !== undefined ||
        (rows.length === 0 && !((result.blocks ?? 0) > 0)) ||
        rows.some(([, far]) => !(far <= TOLERANCE));
      if (wrong) failed++;
      const text =
        result.error ??
        (result.blocks === undefined
          ? rows.map(([what, far]) => `${what} ${far.toExponential(1)}`).join(', ')
          : `${result.blocks} programs ran`);
      process.stdout.write(
        `${wrong ? 'FAIL' : 'ok  '} ${path.basename(folder).padEnd(18)} ${loader.padEnd(22)} ${text}\n`,
      );
    }
  if (failed > 0) throw new MachineError(`${failed} differ by more than ${TOLERANCE} or did not load`);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const known = error instanceof InputError || error instanceof MachineError;
  process.stderr.write(`interop: ${known ? error.message : messageLine(String((error as Error).stack))}\n`);
  process.exitCode = known ? error.exitCode : 1;
}
