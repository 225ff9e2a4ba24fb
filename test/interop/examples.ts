/**
 * `node dist/test/interop/examples.js [PYTHON]`, by hand: the examples beside their twins in plain PyTorch. Lines without
 * imports, comments and blank ones; with an interpreter that has torch also the losses that both reach.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { repositoryRoot } from '../repository.js';

/** Lines that say something: docstrings and comments of several lines begin and end as such. */
function lines(text: string): number {
  const code = text.replace(/^\s*\/\*\*?[\s\S]*?\*\/|^\s*"""[\s\S]*?"""/gm, '');
  return code.split('\n').filter((line) => line.trim() !== '' && !/^\s*(\/\/|#|import\b|from\b)/.test(line))
    .length;
}

const lastLoss = (program: string, file: string): number => {
  const output = execFileSync(program, [file], { encoding: 'utf8', cwd: path.dirname(file) });
  return Number([...output.matchAll(/loss (\S+)/g)].at(-1)![1]);
};

const python = process.argv[2];
for (const name of [
  'linear-regression',
  'spiral-mlp',
  'character-model',
  'digits',
  'bi-encoder',
  'own-kernel',
]) {
  const own = path.join(repositoryRoot, 'examples', `${name}.js`);
  const twin = path.join(repositoryRoot, 'test', 'interop', 'examples', `${name.replace('-', '_')}.py`);
  const [ours, theirs] = [own, twin].map((file) => lines(fs.readFileSync(file, 'utf8'))) as [number, number];
  const ratio = ours / theirs;
  const losses = python ? ` loss ${lastLoss(process.execPath, own)}, ${lastLoss(python, twin)}` : '';
  console.log(`${name.padEnd(18)} lines ${ours}, ${theirs}: ${ratio.toFixed(2)}${losses}`);
  if (ratio > 1.3) process.exitCode = 1;
}
