/**
 * `npm run interop:weights -- --python PYTHON --folder FOLDER`: files that torch wrote are loaded, by way of the device and
 * within a bound of memory, and saved in every format; torch, transformers and FlagEmbedding then find in each the
 * weights that torch had written. Run by hand: it wants a Python with those, 15 GB of disk for the shapes of bge-m3,
 * and a folder with a tokenizer of XLM-RoBERTa.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../../src/flag-help.js';
import { parseFlags } from '../../src/flags.js';
import { messageLine } from '../../src/show.js';
import { repositoryRoot } from '../repository.js';
import { weightsFlags } from './flags.js';

/** Of the process, beyond the weights on the device, which on a software adapter are the process's too. */
const MOST_BYTES_BESIDE = 300e6;

const here = path.join(repositoryRoot, 'test', 'interop');
const environment = { ...process.env, CUDA_VISIBLE_DEVICES: '', HF_HUB_OFFLINE: '1' };
const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;
const say = (line: string) => void process.stdout.write(`${line}\n`);

interface Variant {
  readonly name: string;
  readonly prefix: string;
  readonly words: readonly string[];
}

function output(file: string, words: readonly string[], codes: readonly number[] = [0]): string {
  const { status, signal, stdout, stderr, error } = spawnSync(file, words, {
    encoding: 'utf8',
    env: environment,
    maxBuffer: 64 << 20,
  });
  if (error) throw new MachineError(`${file}: ${error.message}`);
  if (status !== null && codes.includes(status)) return stdout;
  throw new MachineError(
    `${[file, ...words].join(' ')}: ended with ${signal ?? status}\n${stderr.trim().split('\n').slice(-8).join('\n')}`,
  );
}

function variants(small: boolean): Variant[] {
  if (!small) return [{ name: 'bge-m3', prefix: '', words: [] }];
  const variant = (dtype: string, prefix: string, legacy: boolean) => ({
    name: `${dtype}-${legacy ? 'legacy' : 'zip'}`,
    prefix,
    words: ['--small', '--dtype', dtype, '--prefix', prefix, ...(legacy ? ['--legacy'] : [])],
  });
  return [
    variant('float32', '', false),
    variant('float32', 'roberta.', true),
    variant('float16', '0.auto_model.', false),
    variant('bfloat16', 'model.', true),
  ];
}

function main(argv: readonly string[]): number {
  if (wantsHelp(argv)) {
    process.stdout.write(renderHelp(usageLine('npm run interop:weights --', weightsFlags), weightsFlags));
    return 0;
  }
  const { python, folder, tokenizer, small } = parseFlags(weightsFlags, argv).values;
  let failures = 0;
  for (const { name, prefix, words } of variants(small)) {
    const original = path.join(folder, name, 'original');
    if (!fs.existsSync(path.join(original, 'config.json')))
      output(python, [path.join(here, 'write_model.py'), original, tokenizer, ...words]);
    const child = path.join(repositoryRoot, 'dist', 'test', 'interop', 'load-and-save.js');
    const taken = JSON.parse(output(process.execPath, [child, original, path.join(folder, name)]));
    const [loading, saving] = [
      taken.loaded - taken.weights,
      taken.saved - taken.weights - (taken.beforeSaving - taken.loaded),
    ];
    const fits = loading <= MOST_BYTES_BESIDE && saving <= MOST_BYTES_BESIDE;
    say(
      `${name}: ${megabytes(taken.weights)} of weights loaded in ${taken.seconds.toFixed(1)} s; the process had ` +
        `${megabytes(taken.opened)} before, at most ${megabytes(loading)} beside them while it loaded and ` +
        `${megabytes(saving)} (but for the tokenizer) while it saved${fits ? '' : `: more than ${megabytes(MOST_BYTES_BESIDE)}`}`,
    );
    for (const line of taken.notices as string[]) say(`  notice: ${messageLine(line)}`);
    const folders = (taken.formats as string[]).map((format) => path.join(folder, name, format));
    const checked = output(python, [path.join(here, 'check_saved.py'), original, prefix, ...folders], [0, 1])
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line));
    for (const { folder: format, weights, vectors, problems } of checked)
      say(
        `  ${format}: ${problems.length === 0 ? `the ${weights} tensors that torch wrote` : problems.join('; ')}; vectors of FlagEmbedding differ by ${Number(vectors).toExponential(1)}`,
      );
    const right = checked.filter(
      ({ folder: format, vectors, problems }) =>
        problems.length === 0 && vectors <= (format.startsWith('float32') ? 1e-6 : 0.1),
    );
    if (!fits || right.length !== folders.length) failures++;
    if (!small) for (const made of folders) fs.rmSync(made, { recursive: true });
  }
  say(`${failures} failures`);
  return failures > 0 ? 1 : 0;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof InputError || error instanceof MachineError)) throw error;
  process.stderr.write(`interop:weights: ${error.message}\n`);
  process.exitCode = error.exitCode;
}
