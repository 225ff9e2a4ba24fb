/**
 * `node dist/test/interop/examples.js [PYTHON]`, by hand: the examples beside their twins in plain PyTorch. Lines without
 * imports, comments and blank ones; with an interpreter that has torch (and transformers, for M3) also the losses that
 * both reach.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { repositoryRoot } from '../repository.js';

/** Lines that say something: docstrings and comments of several lines begin and end as such. */
function lines(text: string): number {
  const code = text.replace(/^\s*\/\*\*?[\s\S]*?\*\/|^\s*"""[\s\S]*?"""/gm, '');
  return code.split('\n').filter((line) => line.trim() !== '' && !/^\s*(\/\/|#|import\b|from\b)/.test(line))
    .length;
}

const run = (program: string, file: string, words: readonly string[] = []): string =>
  execFileSync(program, [file, ...words], { encoding: 'utf8', cwd: path.dirname(file) });
const lastLoss = (output: string): number => Number([...output.matchAll(/loss (\S+)/g)].at(-1)![1]);

/** Words that a twin takes where its first weights are those of the example, and may not be drawn by itself. */
const FIRST_WEIGHTS: Readonly<Record<string, (own: string, folder: string) => string[]>> = {
  m3: (own, folder) => {
    run(process.execPath, own, ['0', '', folder]);
    return ['20', folder];
  },
};

const python = process.argv[2];
for (const name of [
  'linear-regression',
  'spiral-mlp',
  'character-model',
  'digits',
  'bi-encoder',
  'own-kernel',
  'm3',
]) {
  const own = path.join(repositoryRoot, 'examples', `${name}.js`);
  const twin = path.join(repositoryRoot, 'test', 'interop', 'examples', `${name.replaceAll('-', '_')}.py`);
  const [ours, theirs] = [own, twin].map((file) => lines(fs.readFileSync(file, 'utf8'))) as [number, number];
  const ratio = ours / theirs;
  let losses = '';
  if (python) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-twin-'));
    try {
      const words = FIRST_WEIGHTS[name]?.(own, path.join(folder, 'model'));
      const reached = [run(process.execPath, own), run(python, twin, words)].map(lastLoss);
      losses = ` loss ${reached.join(', ')}`;
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  }
  console.log(`${name.padEnd(18)} lines ${ours}, ${theirs}: ${ratio.toFixed(2)}${losses}`);
  if (ratio > 1.3) process.exitCode = 1;
}
