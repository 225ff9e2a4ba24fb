/**
 * `npm run interop -- --python PYTHON`: training steps and whole runs of dawntune and of FlagEmbedding on PyTorch, on this
 * machine, in turns; a table of times, memory and their ratios. Run by hand: it wants a Python with torch and a quiet
 * machine. Both sides get the same texts; what they say they did is compared before any figure is printed.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { InputError, MachineError } from '../../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../../src/flag-help.js';
import { type FlagValues, parseFlags } from '../../src/flags.js';
import { messageLine } from '../../src/show.js';
import { golden, repositoryRoot } from '../repository.js';
import { interopFlags } from './flags.js';

type Options = FlagValues<typeof interopFlags>;

interface Turn {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakRssBytes: number;
  /** What both sides must agree on: tokens of a step, losses of a run. */
  readonly same: readonly number[];
  readonly adapter: string;
}

interface Comparison {
  readonly name: string;
  readonly ours: () => Turn;
  readonly theirs: () => Turn;
  /** How far `same` may differ, relative. */
  readonly tolerance: number;
}

const here = path.join(repositoryRoot, 'test', 'interop');
const note = (line: string) => void process.stderr.write(`${line}\n`);

function output(file: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): string {
  const { status, signal, stdout, stderr, error } = spawnSync(file, args, {
    encoding: 'utf8',
    env,
    maxBuffer: 256 << 20,
  });
  if (error) throw new MachineError(`${file}: ${error.message}`);
  if (status === 0) return stdout;
  const tail = stderr.trim().split('\n').slice(-8).join('\n');
  throw new MachineError(`${[file, ...args].join(' ')}: ended with ${signal ?? status}\n${tail}`);
}

/** Its own processes must not use a GPU, which ours would not have either, nor ask the network. */
const upstreamEnvironment = { ...process.env, CUDA_VISIBLE_DEVICES: '', HF_HUB_OFFLINE: '1' };

// ---- steps ---------------------------------------------------------------------------------------------------

function stepComparison(model: 'minilm' | 'bge-m3', { python, steps, data }: Options): Comparison {
  const recompute = model === 'bge-m3' ? ['--gradient_checkpointing'] : [];
  const words = [
    ...['--model', model, '--data', data ?? golden('example_data/retrieval/nq.jsonl'), '--steps', `${steps}`],
    ...['--batch', '2', '--group', '8', '--query_max_len', '64', '--passage_max_len', '256', ...recompute],
  ];
  const read = (text: string): Turn => {
    const { adapter, rows } = JSON.parse(text.trim().split('\n').at(-1)!) as {
      adapter: string;
      rows: { seconds: number; cpuSeconds: number; peakRssBytes: number; tokens: number }[];
    };
    const { seconds, cpuSeconds, peakRssBytes, tokens } = rows[0]!;
    return { seconds, cpuSeconds, peakRssBytes, same: [tokens], adapter };
  };
  const bench = path.join(repositoryRoot, 'dist', 'bench', 'main.js');
  return {
    name: `${model} step${recompute.length > 0 ? ', recompute' : ''}`,
    ours: () => read(output(process.execPath, [bench, 'step', ...words, '--json'])),
    theirs: () => read(output(python, [path.join(here, 'step.py'), ...words], upstreamEnvironment)),
    tolerance: 0,
  };
}

// ---- a whole run ---------------------------------------------------------------------------------------------

function runComparison({ python, modelNameOrPath, trainData }: Options): Comparison {
  if (!modelNameOrPath || !trainData)
    throw new InputError('--cases run: needs --model_name_or_path and --train_data');
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-interop-'));
  process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  const flags = (out: string) => [
    ...[
      '--model_name_or_path',
      modelNameOrPath,
      '--train_data',
      trainData,
      '--output_dir',
      path.join(folder, out),
    ],
    ...['--cache_path', path.join(folder, 'cache'), '--overwrite_output_dir', '--train_group_size', '2'],
    ...['--query_max_len', '64', '--passage_max_len', '128', '--pad_to_multiple_of', '8'],
    ...['--knowledge_distillation', 'True', '--same_dataset_within_batch', 'True'],
    ...[
      '--small_threshold',
      '0',
      '--drop_threshold',
      '0',
      '--learning_rate',
      '1e-5',
      '--num_train_epochs',
      '4',
    ],
    ...['--per_device_train_batch_size', '8', '--dataloader_drop_last', 'True', '--warmup_ratio', '0.1'],
    ...['--logging_steps', '1', '--save_steps', '1000', '--temperature', '0.02'],
    ...['--sentence_pooling_method', 'cls', '--normalize_embeddings', 'True', '--kd_loss_type', 'm3_kd_loss'],
    ...['--unified_finetuning', 'True', '--use_self_distill', 'True', '--fix_encoder', 'False'],
    ...['--self_distill_start_step', '0', '--report_to', 'none', '--use_cpu'],
  ];
  const read = (text: string, losses: number[], adapter: string): Turn => {
    const measured = JSON.parse(text.trim().split('\n').at(-1)!) as Omit<Turn, 'same' | 'adapter'>;
    return { ...measured, same: losses, adapter };
  };
  const measured = (command: readonly string[], env: NodeJS.ProcessEnv) =>
    output(python, [path.join(here, 'measure.py'), ...command], env);
  const cli = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');
  const module = 'FlagEmbedding.finetune.embedder.encoder_only.m3';
  return {
    name: 'whole run',
    ours() {
      const words = [cli, 'finetune', ...flags('ours'), '--flagembedding_compat', 'True'];
      const text = measured([process.execPath, ...words], process.env);
      return read(text, lossesOf(text, /^\{"loss":(-?[\d.e+-]+)/gm), 'dawntune');
    },
    theirs() {
      const words = [
        '-m',
        'torch.distributed.run',
        '--nproc_per_node',
        '1',
        '-m',
        module,
        ...flags('theirs'),
      ];
      const text = measured([python, ...words], upstreamEnvironment);
      return read(text, lossesOf(text, /\{'loss': '?(-?[\d.e+-]+)/g), 'FlagEmbedding');
    },
    // Upstream prints four decimals.
    tolerance: 2e-4,
  };
}

function lossesOf(text: string, pattern: RegExp): number[] {
  const losses = [...text.matchAll(pattern)].map(([, loss]) => Number(loss));
  if (losses.length === 0) throw new MachineError('a run printed no losses');
  return losses;
}

// ---- turns and the table -------------------------------------------------------------------------------------

/** @throws MachineError where the two did not do the same. */
function requireSame({ name, tolerance }: Comparison, ours: Turn, theirs: Turn): void {
  const same =
    ours.same.length === theirs.same.length &&
    ours.same.every((value, i) => Math.abs(value - theirs.same[i]!) <= tolerance * Math.abs(value));
  if (!same) throw new MachineError(`${name}: the two did not do the same: ${ours.same} and ${theirs.same}`);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

interface Result {
  readonly name: string;
  readonly ours: Turn[];
  readonly theirs: Turn[];
  /** Ours over theirs: the median of the rounds. */
  readonly ratios: { readonly seconds: number; readonly cpuSeconds: number; readonly peakRssBytes: number };
}

function inTurns(comparison: Comparison, rounds: number): Result {
  const [ours, theirs]: [Turn[], Turn[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const sides = [() => ours.push(comparison.ours()), () => theirs.push(comparison.theirs())];
    // Who goes first changes from round to round.
    for (const turn of round % 2 === 0 ? sides : sides.reverse()) turn();
    requireSame(comparison, ours[round]!, theirs[round]!);
    note(
      `${comparison.name}, round ${round + 1}: ours ${ours[round]!.seconds.toFixed(2)} s, theirs ${theirs[round]!.seconds.toFixed(2)} s`,
    );
  }
  const ratio = (key: 'seconds' | 'cpuSeconds' | 'peakRssBytes') =>
    median(ours.map((turn, round) => turn[key] / theirs[round]![key]));
  return {
    name: comparison.name,
    ours,
    theirs,
    ratios: {
      seconds: ratio('seconds'),
      cpuSeconds: ratio('cpuSeconds'),
      peakRssBytes: ratio('peakRssBytes'),
    },
  };
}

function render(results: readonly Result[]): string {
  const header = ['', 'ours s', 'theirs s', 'ratio', 'CPU-s', 'CPU-s', 'ratio', 'GB', 'GB', 'ratio'];
  const rows = results.map(({ name, ours, theirs, ratios }) => {
    const of = (turns: readonly Turn[], key: keyof typeof ratios, scale: number) =>
      (median(turns.map((turn) => turn[key])) / scale).toFixed(2);
    const cells = (['seconds', 'cpuSeconds', 'peakRssBytes'] as const).flatMap((key) => {
      const scale = key === 'peakRssBytes' ? 1e9 : 1;
      return [of(ours, key, scale), of(theirs, key, scale), ratios[key].toFixed(2)];
    });
    return [name, ...cells];
  });
  const widths = header.map((title, c) => Math.max(title.length, ...rows.map((row) => row[c]!.length)));
  const line = (row: readonly string[]) =>
    row.map((cell, c) => (c === 0 ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!))).join('  ');
  const { ours, theirs } = results[0]!;
  const machine = `${os.cpus().length} × ${os.cpus()[0]?.model ?? 'unknown processor'}`;
  return `${machine} · ours ${ours[0]!.adapter} · theirs ${theirs[0]!.adapter}\n${[header, ...rows].map(line).join('\n')}\n`;
}

function main(argv: readonly string[]): void {
  if (wantsHelp(argv)) {
    process.stdout.write(
      renderHelp(
        `${usageLine('npm run interop --', interopFlags)}\n\nBeside FlagEmbedding on PyTorch`,
        interopFlags,
      ),
    );
    return;
  }
  const { values: options } = parseFlags(interopFlags, argv);
  const list = options.cases.map((name) =>
    name === 'run' ? runComparison(options) : stepComparison(name, options),
  );
  const results = list.map((comparison) => inTurns(comparison, options.rounds));
  process.stdout.write(options.json ? `${JSON.stringify({ suite: 'interop', results })}\n` : render(results));
}

try {
  main(process.argv.slice(2));
} catch (error) {
  const known = error instanceof InputError || error instanceof MachineError;
  process.stderr.write(`interop: ${known ? error.message : messageLine(String((error as Error).stack))}\n`);
  process.exitCode = known ? error.exitCode : 1;
}
