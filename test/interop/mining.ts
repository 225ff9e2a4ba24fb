/**
 * `npm run interop:mining -- --python PYTHON --hn_mine FILE`: negatives mined by `dawntune mine` and by FlagEmbedding's own
 * script, whose file is named, as sets row by row. Asked for as many as there are ranks, neither side draws at random, but for
 * rows whose ranks hold a positive or the query: there are too few then, upstream fills up, and the row is left out.
 * Exits with 1 where a set differs.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { consoleReporter } from '../../src/console/reporter.js';
import { DEMO_EVALUATION_LANGUAGES, demoRows } from '../../src/demo/demo-data.js';
import { MachineError } from '../../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../../src/flag-help.js';
import { parseFlags } from '../../src/flags.js';
import { parseMineArguments } from '../../src/retrieval/mine/arguments.js';
import { mine } from '../../src/retrieval/mine/mine.js';
import { messageLine } from '../../src/show.js';
import { golden } from '../repository.js';
import { miningInteropFlags } from './flags.js';

const [LOWEST, HIGHEST] = [2, 17];

interface Row {
  readonly query: string;
  readonly neg: readonly string[];
}

async function main(argv: readonly string[]): Promise<number> {
  if (wantsHelp(argv)) {
    process.stdout.write(
      renderHelp(usageLine('npm run interop:mining --', miningInteropFlags), miningInteropFlags),
    );
    return 0;
  }
  const { values } = parseFlags(miningInteropFlags, argv);
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-interop-mining-'));
  process.on('exit', () => fs.rmSync(root, { recursive: true, force: true }));
  const at = (name: string) => path.join(root, name);
  const input = values.trainData ?? at('rows.jsonl');
  if (values.trainData === null)
    fs.writeFileSync(
      input,
      demoRows(1, DEMO_EVALUATION_LANGUAGES)
        .train.slice(0, values.rows)
        .map((row) => `${JSON.stringify(row)}\n`)
        .join(''),
    );
  const words = (output: string) => [
    ...['--embedder_name_or_path', values.modelNameOrPath ?? golden('model')],
    ...['--input_file', input, '--output_file', at(output), '--pooling_method', values.poolingMethod],
    ...['--range_for_sampling', `${LOWEST}-${HIGHEST}`, '--negative_number', `${HIGHEST - LOWEST}`],
    ...['--use_fp16', 'False', '--embedder_query_max_length', '64', '--embedder_passage_max_length', '256'],
  ];
  const { args } = parseMineArguments([
    ...words('ours.jsonl'),
    ...['--positives_elsewhere', 'False', '--fill', 'none'],
  ]);
  const started = performance.now();
  const { candidates } = await mine(args, { report: consoleReporter() });
  const seconds = (performance.now() - started) / 1000;
  const begun = performance.now();
  const { status, stderr, error } = spawnSync(
    values.python,
    [
      ...[values.hnMine, ...words('theirs.jsonl')],
      ...['--embedder_model_class', 'encoder-only-base', '--devices', 'cpu', '--batch_size', '64'],
    ],
    {
      ...{ encoding: 'utf8', maxBuffer: 256 << 20 },
      env: { ...process.env, HF_HUB_OFFLINE: '1', CUDA_VISIBLE_DEVICES: '', TOKENIZERS_PARALLELISM: 'false' },
    },
  );
  if (error) throw new MachineError(`${values.python}: ${error.message}`);
  if (status !== 0) throw new MachineError(stderr.trim().split('\n').slice(-8).join('\n'));
  const theirSeconds = (performance.now() - begun) / 1000;
  const read = (name: string): Row[] =>
    fs
      .readFileSync(at(name), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Row);
  const [ours, theirs] = [read('ours.jsonl'), read('theirs.jsonl')];
  if (ours.length !== theirs.length)
    throw new MachineError(`expected as many rows of both, found ${ours.length} and ${theirs.length}`);
  let [whole, different] = [0, 0];
  ours.forEach(({ query, neg }, i) => {
    if (neg.length < HIGHEST - LOWEST) return;
    whole++;
    const other = new Set(theirs[i]!.neg);
    const missing = neg.filter((text) => !other.has(text));
    if (missing.length === 0 && other.size === neg.length && theirs[i]!.query === query) return;
    different++;
    process.stdout.write(`row ${i + 1}: ${missing.length} of ${neg.length} are not among upstream’s\n`);
  });
  process.stdout.write(
    `${whole} of ${ours.length} rows without shortfall, among ${candidates} texts: ${whole - different} with the same negatives, ${different} with others; ${seconds.toFixed(1)} s, FlagEmbedding ${theirSeconds.toFixed(1)} s with its start\n`,
  );
  return different === 0 && whole > 0 ? 0 : 1;
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${messageLine(error instanceof Error ? error.message : String(error))}\n`);
    process.exit(1);
  },
);
