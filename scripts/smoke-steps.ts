/**
 * What a user of the installed package does first: import every entry point, ask the command for help, train five steps,
 * encode, serve, and query with the `openai` client. All of it by one Node, in the project's folder.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

/** npm or npx as a module that Node runs: Windows has no program of these names. */
export function npmCli(name: 'npm' | 'npx'): string {
  const own = process.env['npm_execpath'];
  const beside = path.dirname(process.execPath);
  const folders = [
    ...(own ? [path.dirname(own)] : []),
    path.join(beside, 'node_modules', 'npm', 'bin'),
    path.join(beside, '..', 'lib', 'node_modules', 'npm', 'bin'),
  ];
  for (const folder of folders) {
    const file = path.join(folder, `${name}-cli.js`);
    if (fs.existsSync(file)) return file;
  }
  throw new Error(`${name}-cli.js: not found in ${folders.join(', ')}`);
}

/** Makes a model of random weights with the package's own tokenizer; prints Node's version and how much there is to import. */
const MAKE_MODEL = `
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Gpu, M3Model, Tokenizer } from 'dawntune';
const root = new URL('../../', import.meta.resolve('dawntune'));
const { exports } = JSON.parse(fs.readFileSync(new URL('package.json', root), 'utf8'));
const names = [];
for (const key of Object.keys(exports)) names.push(...Object.keys(await import('dawntune' + key.slice(1))));
const gpu = await Gpu.open();
const model = M3Model.random(
  gpu,
  {
    architectures: ['XLMRobertaModel'], model_type: 'xlm-roberta', hidden_size: 32, num_hidden_layers: 1,
    num_attention_heads: 2, intermediate_size: 64, vocab_size: 4000, max_position_embeddings: 130, type_vocab_size: 1,
    layer_norm_eps: 1e-5, hidden_act: 'gelu', hidden_dropout_prob: 0, attention_probs_dropout_prob: 0,
    initializer_range: 0.02, pad_token_id: 1, bos_token_id: 0, eos_token_id: 2,
  },
  { pooling: 'mean' },
);
fs.mkdirSync('model', { recursive: true });
await model.save('model', Tokenizer.load(fileURLToPath(new URL('assets/demo-tokenizer', root))));
await gpu.close();
console.log(JSON.stringify({ version: process.version, names: names.length }));
`;

/** Asks the server for vectors of two texts, as the client wants them by default and as plain numbers. */
const ASK = `
import OpenAI from 'openai';
const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'none', maxRetries: 0 });
const { data: models } = await client.models.list();
const ask = (format) =>
  client.embeddings.create({ model: models[0].id, input: ['a cat sat', 'a dog ran'], ...format });
const [packed, plain] = [await ask({}), await ask({ encoding_format: 'float' })];
console.log(JSON.stringify([packed, plain].map(({ data }) => data.map(({ embedding }) => embedding))));
`;

/** @throws AssertionError, or an Error with what a command printed. */
export async function smoke(project: string, node: string, say: (line: string) => void): Promise<void> {
  const at = (...names: string[]) => path.join(project, 'smoke', ...names);
  fs.rmSync(at(), { recursive: true, force: true, maxRetries: 5 });
  fs.mkdirSync(at());
  // A script's first line asks the PATH for node.
  const PATH = `${path.dirname(node)}${path.delimiter}${process.env['PATH'] ?? ''}`;
  const options = { cwd: at(), encoding: 'utf8', env: { ...process.env, PATH } } as const;
  const run = (...words: string[]) =>
    execFileSync(node, words, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const dawntune = (...words: string[]) => run(npmCli('npx'), '--no', '--', 'dawntune', ...words);

  fs.writeFileSync(at('make-model.mjs'), MAKE_MODEL);
  const { version, names } = JSON.parse(run('make-model.mjs')) as { version: string; names: number };
  assert.ok(names > 300, `${names} names`);
  say(`Node ${version}: ${names} names imported`);

  const help = dawntune('--help');
  for (const command of ['finetune', 'encode', 'doctor'])
    assert.match(help, new RegExp(`^ +${command}\\b`, 'm'));
  assert.match(dawntune('--version'), /^\d+\.\d+\.\d+/);

  const rows = Array.from({ length: 10 }, (_, i) => ({ query: `q ${i}`, pos: [`p ${i}`], neg: [`n ${i}`] }));
  fs.writeFileSync(at('rows.jsonl'), rows.map((row) => `${JSON.stringify(row)}\r\n`).join(''));
  dawntune(
    ...['finetune', '--model_name_or_path', 'model', '--train_data', 'rows.jsonl', '--output_dir', 'trained'],
    ...['--unified_finetuning', 'True', '--use_self_distill', 'True', '--sentence_pooling_method', 'mean'],
    ...['--train_group_size', '2', '--per_device_train_batch_size', '2', '--max_steps', '5'],
  );
  const state = JSON.parse(fs.readFileSync(at('trained', 'trainer_state.json'), 'utf8')) as JsonState;
  assert.equal(state.global_step, 5);
  say('five steps trained');

  fs.writeFileSync(at('texts.txt'), 'a cat sat\na dog ran\n');
  dawntune('encode', 'texts.txt', '--model_name_or_path', 'trained', '--output', 'vectors.jsonl');
  const encoded = fs
    .readFileSync(at('vectors.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { dense_vecs: number[] }).dense_vecs);
  assert.deepEqual(
    encoded.map((vector) => vector.length),
    [32, 32],
  );
  say('two texts encoded');

  // Not by npx, which on Windows would be ended in its place.
  const command = path.join(project, 'node_modules', 'dawntune', 'dist', 'src', 'cli', 'main.js');
  const server = spawn(node, [command, 'serve', 'trained', '--port', '0'], {
    ...{ cwd: at(), env: options.env, stdio: ['ignore', 'pipe', 'inherit'] },
  });
  try {
    const url = await addressOf(server);
    fs.writeFileSync(at('ask.mjs'), ASK);
    for (const vectors of JSON.parse(run('ask.mjs', `${url}/v1`)) as number[][][])
      for (const [i, vector] of vectors.entries()) {
        assert.equal(vector.length, 32);
        const off = Math.max(...vector.map((value, j) => Math.abs(value - encoded[i]![j]!)));
        assert.ok(off < 1e-6, `text ${i} is off by ${off}`);
      }
  } finally {
    if (server.exitCode === null) {
      server.kill();
      await once(server, 'exit');
    }
  }
  say('served, and asked by the openai client');
  fs.rmSync(at(), { recursive: true, force: true, maxRetries: 5 });
}

interface JsonState {
  readonly global_step: number;
}

/** What a server prints when it listens. */
async function addressOf(server: ChildProcess): Promise<string> {
  const ended = once(server, 'exit').then(([code]) => {
    throw new Error(`serve: ended with ${code} before it listened`);
  });
  ended.catch(() => {});
  for await (const line of lines(server, ended)) {
    const url = /https?:\/\/[\w.[\]:]+:\d+/.exec(line)?.[0];
    if (url !== undefined) return url;
  }
  throw new Error('serve: closed its output before it listened');
}

async function* lines(server: ChildProcess, ended: Promise<never>): AsyncGenerator<string> {
  const iterator = createInterface({ input: server.stdout! })[Symbol.asyncIterator]();
  for (;;) {
    const { value, done } = await Promise.race([iterator.next(), ended]);
    if (done) return;
    yield value;
  }
}
