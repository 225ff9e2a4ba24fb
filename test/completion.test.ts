/** `dawntune completion`: what shells offer after words that are half typed, by the scripts that the tables make. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { commands } from '../src/cli/commands.js';
import { completionScript, completionShells } from '../src/cli/completion.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-completion-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

/** Half-typed words, the last being completed, and what is offered. */
const cases: readonly (readonly [line: string, offered: readonly string[]])[] = [
  ['fine', ['finetune']],
  ['completion ', ['bash', 'zsh', 'fish']],
  ['help eva', ['evaluate']],
  ['--v', ['--version']],
  ['finetune --save_str', ['--save_strategy']],
  ['finetune --save-str', ['--save_strategy']],
  ['finetune --save_strategy ', ['steps', 'epoch', 'no']],
  ['finetune --save-strategy e', ['epoch']],
  ['finetune --fp16 T', ['True']],
  ['finetune --fp16 --save_stra', ['--save_strategy']],
  ['finetune --train_data ro', ['rows one.jsonl', 'rows.jsonl']],
  ['finetune --train_data rows.jsonl ro', ['rows one.jsonl', 'rows.jsonl']],
  ['finetune --learning_rate ', []],
  ['finetune --config ru', ['run.yaml']],
  ['finetune --help', ['--help', '--help-all']],
  ['finetune --flagembedding_compat no-in-batch none', ['none-prefix']],
  ['finetune --flagembedding_compat no', ['no-in-batch', 'none-prefix']],
  ['encode ro', ['rows one.jsonl', 'rows.jsonl']],
  ['encode --role q', ['query']],
  ['bench mat', ['matmul']],
  ['bench matmul --dt', ['--dtype']],
  ['bench matmul --dtype f1', ['f16']],
  ['setup ro', []],
];

const isThere = (shell: string) => spawnSync(shell, ['-c', 'true']).status === 0;

for (const name of ['rows.jsonl', 'rows one.jsonl', 'run.yaml'])
  fs.writeFileSync(path.join(folder, name), '');

test('bash completes commands, flags, their words and paths', async (t) => {
  if (!isThere('bash')) return t.skip('there is no bash');
  const calls = cases.map(([line]) => {
    const words = ['dawntune', ...line.split(' ')].map((word) => `'${word}'`).join(' ');
    return `COMP_WORDS=(${words}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _dawntune; printf '%s\\t' "\${COMPREPLY[@]}"; echo`;
  });
  const script = path.join(folder, 'completion.bash');
  fs.writeFileSync(script, [await completionScript('bash', commands), ...calls].join('\n'));
  const { stdout, stderr } = spawnSync('bash', [script], {
    ...{ cwd: folder, encoding: 'utf8', timeout: 30_000 },
  });
  assert.equal(stderr, '');
  const offered = String(stdout)
    .split('\n')
    .map((line) => line.split('\t').filter((word) => word !== ''));
  for (const [i, [line, expected]] of cases.entries())
    assert.deepEqual(offered[i]!.toSorted(), [...expected].sort(), line);
});

test('fish completes the same', async (t) => {
  if (!isThere('fish')) return t.skip('there is no fish');
  const file = path.join(folder, 'dawntune.fish');
  fs.writeFileSync(file, await completionScript('fish', commands));
  const calls = cases.map(([line]) => `complete -C 'dawntune ${line}'; echo =`);
  const { stdout, stderr } = spawnSync('fish', ['-c', [`source ${file}`, ...calls].join('\n')], {
    ...{ cwd: folder, encoding: 'utf8', timeout: 60_000, env: { ...process.env, HOME: folder } },
  });
  assert.equal(stderr, '');
  const offered = String(stdout)
    .split('=\n')
    .map((lines) => lines.split('\n').flatMap((line) => line.split('\t')[0] || []));
  for (const [i, [line, expected]] of cases.entries()) {
    // A flag goes on as it was begun: with dashes.
    const words = /--\w+-\w*$/.test(line)
      ? expected.map((word) => `--${word.slice(2).replaceAll('_', '-')}`)
      : expected;
    assert.deepEqual(offered[i]!.toSorted(), words.toSorted(), line);
  }
});

test('zsh reads its script', async (t) => {
  if (!isThere('zsh')) return t.skip('there is no zsh');
  const file = path.join(folder, '_dawntune');
  fs.writeFileSync(file, await completionScript('zsh', commands));
  const { status, stderr } = spawnSync('zsh', ['-n', file], { encoding: 'utf8', timeout: 30_000 });
  assert.deepEqual([status, stderr], [0, '']);
});

test('each script names every flag of every command', async () => {
  for (const shell of completionShells) {
    const script = await completionScript(shell, commands);
    for (const { flags } of commands.values())
      for (const [name, { inert }] of Object.entries(await flags()))
        if (inert === undefined) assert.ok(script.includes(`--${name}`), `${shell}: ${name}`);
  }
});
