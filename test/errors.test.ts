/** Wrong input and a machine without an adapter: one line that says what, where, and the exit code of the design. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { finetuneCommand } from '../src/cli/finetune.js';
import { demo } from '../src/demo/demo.js';
import { FolderLock } from '../src/files/lock.js';
import { refusalOf } from './refusal.js';
import { golden, repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-errors-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');

function dawntune(args: string[], env: NodeJS.ProcessEnv = {}): { status: number | null; lines: string[] } {
  const { status, stderr } = spawnSync(process.execPath, [main, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return { status, lines: stderr.split('\n').filter((line) => line !== '' && !line.startsWith('Warning: ')) };
}

/** A process of its own tells it. */
function fails(args: string[], expected: RegExp, status = 2, env: NodeJS.ProcessEnv = {}): void {
  check(dawntune(args, env), expected, status);
}

/** The command tells it in this process. */
async function refuses([name, ...words]: string[], expected: RegExp, status = 2): Promise<void> {
  const told = await refusalOf(name === 'demo' ? demo : finetuneCommand, words);
  check({ status: told.status, lines: told.stderr.trimEnd().split('\n') }, expected, status);
}

function check(result: ReturnType<typeof dawntune>, expected: RegExp, status: number): void {
  const line = result.lines.at(-1) ?? '';
  assert.match(line, expected);
  assert.match(line, /^dawntune: /);
  assert.equal(result.status, status);
  assert.ok(!result.lines.some((text) => /^\s+at /.test(text)), 'no stack trace');
}

/** A copy of the golden model with one file replaced. */
function brokenModel(name: string, file: string, content: Uint8Array | string): string {
  const target = path.join(folder, name);
  fs.cpSync(golden('model'), target, { recursive: true });
  fs.writeFileSync(path.join(target, file), content);
  return target;
}

function jsonl(name: string, ...lines: string[]): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

const GOOD = '{"query":"a","pos":["b"],"neg":["c"]}';
const finetune = (model: string, data: string, ...more: string[]) => [
  'finetune',
  '--model_name_or_path',
  model,
  '--train_data',
  data,
  '--output_dir',
  path.join(folder, 'output'),
  '--train_group_size',
  '2',
  '--per_device_train_batch_size',
  '2',
  '--unified_finetuning',
  'True',
  '--max_steps',
  '1',
  ...more,
];

test('unknown flag, with the nearest known one', () => {
  fails(
    finetune(golden('model'), jsonl('a.jsonl', GOOD, GOOD), '--learning_rat', '1'),
    /--learning_rat.*--learning_rate/,
  );
});

test('unknown command', () => {
  const { status, lines } = dawntune(['finetun']);
  assert.equal(status, 2);
  assert.match(lines.join(' '), /finetun.*finetune/);
});

test('missing files', async () => {
  fails(finetune(golden('model'), path.join(folder, 'none.jsonl')), /none\.jsonl/);
  await refuses(
    finetune(path.join(folder, 'nowhere'), jsonl('b.jsonl', GOOD, GOOD)),
    /--model_name_or_path: .*nowhere: no such folder/,
  );
});

test('broken JSONL line: file and line', async () => {
  await refuses(
    finetune(golden('model'), jsonl('broken.jsonl', GOOD, '{"query": "a", ')),
    /broken\.jsonl:2: /,
  );
});

test('row without pos: file and line', async () => {
  await refuses(
    finetune(golden('model'), jsonl('nopos.jsonl', GOOD, GOOD, '{"query":"a","neg":["c"]}')),
    /nopos\.jsonl:3: .*pos/,
  );
});

test('tensor of the wrong shape', async () => {
  const config = JSON.parse(fs.readFileSync(golden('model', 'config.json'), 'utf8'));
  const model = brokenModel('shape', 'config.json', JSON.stringify({ ...config, intermediate_size: 256 }));
  await refuses(
    finetune(model, jsonl('c.jsonl', GOOD, GOOD)),
    /model\.safetensors: tensor "encoder\.layer\.0\.intermediate\.dense\.weight" has shape \[128,64\], expected \[256,64\]/,
  );
});

test('truncated safetensors', async () => {
  const whole = fs.readFileSync(golden('model', 'model.safetensors'));
  const model = brokenModel('truncated', 'model.safetensors', whole.subarray(0, whole.length - 1000));
  await refuses(finetune(model, jsonl('d.jsonl', GOOD, GOOD)), /model\.safetensors: /);
});

test('an output path that is a file', async () => {
  const file = jsonl('taken', GOOD);
  await refuses(
    finetune(golden('model'), jsonl('j.jsonl', GOOD, GOOD), '--output_dir', file),
    /--output_dir: .*taken: cannot be written/,
  );
});

test('a reader that goes away does not end the run', () => {
  const output = path.join(folder, 'piped');
  const words = finetune(
    golden('model'),
    jsonl('k.jsonl', GOOD, GOOD),
    '--output_dir',
    output,
    '--max_steps',
    '4',
    '--logging_steps',
    '1',
  );
  const line = `"${process.execPath}" "${main}" ${words.map((word) => `"${word}"`).join(' ')} | head -1`;
  const { stderr } = spawnSync('bash', ['-c', line], { encoding: 'utf8' });
  assert.ok(!/EPIPE|^\s+at /m.test(stderr), stderr);
  assert.ok(fs.existsSync(path.join(output, 'model.safetensors')));
});

test('malicious pickle is refused, not run', async () => {
  const evil = fs.readFileSync(golden('torch_files', 'evil.pt'));
  const model = brokenModel('evil', 'sparse_linear.pt', evil);
  await refuses(
    finetune(model, jsonl('e.jsonl', GOOD, GOOD)),
    /sparse_linear\.pt: refused global "posix system"/,
  );
});

test('no adapter', () => {
  fails(finetune(golden('model'), jsonl('f.jsonl', GOOD, GOOD)), /adapter/, 1, {
    VK_DRIVER_FILES: path.join(folder, 'no-driver.json'),
    VK_ICD_FILENAMES: path.join(folder, 'no-driver.json'),
    DAWNTUNE_SOFTWARE: 'none',
    DAWNTUNE_CACHE: path.join(folder, 'empty-cache'),
  });
  const unknown = (source: string) =>
    new RegExp(`${source}: expected a part of an adapter's name .*, found "Voodoo 2"; there are: \\S`);
  const words = finetune(golden('model'), jsonl('g.jsonl', GOOD, GOOD));
  fails([...words, '--adapter', 'Voodoo 2'], unknown('--adapter'));
  fails(words, unknown('DAWNTUNE_ADAPTER'), 2, { DAWNTUNE_ADAPTER: 'Voodoo 2' });
  fails(['doctor', '--adapter', 'Voodoo 2'], unknown('--adapter'));
});

test('a demo of what is no model to begin with', async () => {
  const output = path.join(folder, 'demo-output');
  const cut = fs.readFileSync(golden('model', 'model.safetensors')).subarray(0, 5000);
  for (const [model, expected] of [
    [path.join(folder, 'none'), /--model: .*none: no such folder, and no name of the hub/],
    [jsonl('demo-model', GOOD), /--model: .*: expected a model folder, found a file/],
    [fs.mkdtempSync(path.join(folder, 'empty-')), /--model: .*: expected a model folder, found no config/],
    [golden('rerankers', 'bert'), /--model: expected an embedder, found .*, a reranker/],
    [brokenModel('demo-cut', 'model.safetensors', cut), /demo-cut.model\.safetensors: /],
    [brokenModel('demo-tokens', 'tokenizer.json', '{'), /demo-tokens.tokenizer\.json: expected JSON/],
    [brokenModel('demo-family', 'config.json', '{"model_type":"gpt2"}'), /demo-family.config\.json: /],
    [brokenModel('demo-modules', 'modules.json', '{}'), /modules\.json: .*--pooling_method goes before it/],
  ] as const)
    await refuses(['demo', '--model', model, '--output_dir', output], expected);
  await refuses(['demo', '--pooling_method', 'cls'], /--pooling_method: expected --model beside it/);
});

test('a demo into what is no folder, or a folder in use', async () => {
  const file = jsonl('demo-file', GOOD);
  await refuses(
    ['demo', '--output_dir', file],
    /--output_dir: .*demo-file: cannot be written: is no folder$/,
  );
  await refuses(
    ['demo', '--output_dir', path.join(file, 'below')],
    /--output_dir: .*below: cannot be written: a part of the path is not a folder$/,
  );
  const busy = fs.mkdtempSync(path.join(folder, 'busy-'));
  const lock = FolderLock.acquire(busy);
  await refuses(['demo', '--output_dir', busy], /--output_dir: .* writes there since /, 1);
  lock.release();
  assert.deepEqual(fs.readdirSync(busy), []);
});

test('a budget too small ends the run before its first step, with the table of what it needs', () => {
  const words = finetune(golden('model'), jsonl('h.jsonl', GOOD, GOOD), '--max_gpu_memory', '2MB');
  fails(
    words,
    /training would take \d\.\d MB of GPU memory, the budget is 2\.0 MB: none of the changes above is enough/,
    1,
  );
  const table = dawntune(words).lines.join('\n');
  for (const purpose of ['weights', 'gradients', 'optimizer', 'activations', 'workspace', 'in all'])
    assert.match(table, new RegExp(`^ {2}${purpose} +\\d+(\\.\\d+)? [kMG]?B$`, 'm'));
});

test('adapters that are not there and other ZeRO stages are refused clearly', async () => {
  const data = jsonl('i.jsonl', GOOD, GOOD);
  const ranks = finetune(golden('model'), data, '--nproc_per_node', '2', '--adapters', 'cpu of mine');
  await refuses(ranks, /^dawntune: --adapters: expected 2 adapters, one for each rank .*, found 1$/);
  await refuses(
    [...ranks, 'another'],
    /^dawntune: --adapters: expected parts of adapters' names .* found "cpu of mine"; there are: /,
  );
  const stage2 = path.join(folder, 'stage2.json');
  fs.writeFileSync(stage2, '{"zero_optimization":{"stage":2}}');
  await refuses(
    finetune(golden('model'), data, '--deepspeed', stage2),
    /stage2\.json.*stage.*whole gradient/,
  );
});

test('a text longer than the model has positions names the rows', async () => {
  const long = JSON.stringify({ query: 'wort '.repeat(900), pos: ['b'], neg: ['c'] });
  await refuses(
    finetune(golden('model'), jsonl('long.jsonl', long, GOOD), '--query_max_len', '1000'),
    /positions for 512.*long\.jsonl:1/,
  );
});
