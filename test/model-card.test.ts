/** The model card: what it says of a run, that its code runs, and whose README it replaces. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { silentReporter } from '../src/console/reporter.js';
import { baseModel, codeCell, mayReplaceCard, modelCard } from '../src/models/model-card.js';
import { PLAIN_TEXTS } from '../src/models/sentence-files.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { finetune } from '../src/train/trainer.js';
import { lendGpu } from './lent-gpu.js';
import { golden, repositoryRoot } from './repository.js';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-card-'));
after(() => fs.rmSync(root, { recursive: true, force: true }));
const card = (folder: string) => fs.readFileSync(path.join(folder, 'README.md'), 'utf8');
const rows = golden('example_data', 'sts', 'sts.jsonl');

async function trained(base: string, output: string, ...more: string[]): Promise<string[]> {
  const notices: string[] = [];
  const flags = ['--model_name_or_path', base, '--train_data', rows, '--output_dir', output];
  const short = ['--max_steps', '2', '--per_device_train_batch_size', '2', '--train_group_size', '2'];
  const { args } = parseFinetuneArguments([...flags, ...short, '--logging_steps', '1', ...more]);
  await finetune(args, { ...silentReporter, note: (line) => void notices.push(line) }, lendGpu);
  return notices;
}

/** A copy of the tiny model that says that it is a mean of at most 16 tokens, with a README of its own. */
function sentenceModel(name: string): string {
  const folder = path.join(root, name);
  fs.cpSync(golden('model'), folder, { recursive: true });
  const write = (file: string, content: unknown) => {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    fs.writeFileSync(path.join(folder, file), JSON.stringify(content));
  };
  write('modules.json', [
    { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
    { idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
  ]);
  write('1_Pooling/config.json', { word_embedding_dimension: 64, pooling_mode_mean_tokens: true });
  write('sentence_bert_config.json', { max_seq_length: 16, do_lower_case: true });
  write('config_sentence_transformers.json', { prompts: { query: 'q: ' }, default_prompt_name: 'query' });
  fs.writeFileSync(
    path.join(folder, 'README.md'),
    '---\nlanguage:\n- en\n- zh-Hant # both\nlicense: mit\n---\n# Theirs\n',
  );
  return folder;
}

test('a run says where the folder differs from its flags, caps lengths by it, and writes a card of its own', async () => {
  const base = sentenceModel('base');
  const output = path.join(root, 'output');
  const notices = await trained(
    base,
    output,
    '--passage_max_len',
    '128',
    '--eval_data',
    rows,
    '--save_steps',
    '1',
    // They change nothing of the model.
    ...'--launcher threads --ddp_timeout 30 --check_replicas 1 --dataloader_num_workers 1'.split(' '),
    ...['--max_shard_size', '1GB'],
  );
  const all = notices.join('\n');
  assert.match(all, /--query_max_len 32: .* at most 16 tokens .* cut to that/);
  assert.match(all, /--passage_max_len 128: .* at most 16 tokens/);
  assert.match(all, /pooling is mean; cls is used \(--sentence_pooling_method\)/);
  assert.match(all, /vectors are not normalised; here they are \(--normalize_embeddings\)/);
  assert.match(all, /lower-cases texts; here they stay as they are/);
  assert.match(all, /prompts .* that are not used: "query" "q: "/);
  const read = (file: string) => JSON.parse(fs.readFileSync(path.join(output, file), 'utf8'));
  assert.equal(read('modules.json').length, 3);
  assert.equal(read('1_Pooling/config.json').pooling_mode_cls_token, true);
  assert.deepEqual(read('sentence_bert_config.json'), { max_seq_length: 16, do_lower_case: false });
  assert.equal(read('config_sentence_transformers.json').default_prompt_name, null);
  const text = card(output);
  for (const line of [
    'language:\n- "en"\n- "zh-Hant"\ntags:\n',
    '# Fine-tuned from `base`\n',
    '| dense vectors | 64 dimensions, of the first token, normalised |\n',
    '| texts | at most 16 tokens |\n',
    '| `sts.jsonl` | 10 | 2 |\n',
    '| `passage_max_len` | `16` |\n',
    'Step 2 of 2.\n',
    '| step | epoch | eval_loss |',
  ])
    assert.ok(text.includes(line), `${line}\n${text}`);
  assert.deepEqual(
    [...text.matchAll(/^\| `(\w+)` \|/gm)].map(([, flag]) => flag),
    [
      ...['train_group_size', 'query_max_len', 'passage_max_len', 'temperature', 'sentence_pooling_method'],
      ...['normalize_embeddings', 'unified_finetuning', 'learning_rate', 'num_train_epochs', 'max_steps'],
      ...['per_device_train_batch_size', 'seed'],
    ],
  );
  assert.match(text, /## Losses\n\nStep 2 of 2\.\n\n(?:\|.*\n){2}\| 1 \|.*\n\| 2 \|.*\n/);
  assert.doesNotMatch(text, /Theirs|mit\b|base_model/);
  assert.ok(!text.includes(root), 'a path of this machine');
  assert.match(card(path.join(output, 'checkpoint-1')), /Step 1 of 2\./);

  // Its code runs as it stands; in the project of whoever runs it, dawntune is installed.
  const code = /```js\n([\s\S]*?)```/.exec(text)![1]!;
  const library = path.join(repositoryRoot, 'dist', 'src', 'index.js');
  const script = code.replace("'dawntune'", JSON.stringify(library));
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: output,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /'colbert\+sparse\+dense': /);
});

test('a README that someone wrote stays, and a line says so', async () => {
  const base = sentenceModel('in-place');
  const before = card(base);
  const notices = await trained(base, base, '--save_strategy', 'no');
  assert.match(notices.join('\n'), /README\.md: not written with a model, stays as it is/);
  assert.equal(card(base), before);
  fs.rmSync(path.join(base, 'README.md'));
  assert.ok(mayReplaceCard(base));
  const ours = modelCard({
    ...{ pooling: 'cls', normalize: true, hiddenSize: 64, colbertDim: 64, layers: 2, vocabSize: 9 },
    ...{ maxLength: 8, texts: PLAIN_TEXTS },
  });
  fs.writeFileSync(path.join(base, 'README.md'), ours);
  assert.ok(mayReplaceCard(base));
  fs.writeFileSync(path.join(base, 'README.md'), ours.replace(/<!--.*-->\n/, 'mine\n'));
  assert.ok(!mayReplaceCard(base));
});

test('the base by its name on the hub, never by a path; prompts, widths and pooling as they are', () => {
  const cached = path.join(
    root,
    'models--BAAI--bge-m3',
    'snapshots',
    '5617a9f61b028005a4858fdac845db406aefb181',
  );
  fs.mkdirSync(cached, { recursive: true });
  const named = { id: 'BAAI/bge-m3', name: 'BAAI/bge-m3', languages: [] };
  assert.deepEqual(baseModel(cached, cached), named);
  assert.deepEqual(baseModel('BAAI/bge-m3', cached), named);
  assert.deepEqual(baseModel(root, root), { id: undefined, name: path.basename(root), languages: [] });
  for (const [front, languages] of [
    ['language: multilingual', ['multilingual']],
    ['language: [en, "de", fr]', ['en', 'de', 'fr']],
    ['languages:\n  - en\n  - de\ntags:\n- xx', ['en', 'de']],
    ['tags:\n- language', []],
    ['language: <b>', []],
    ['language: null', []],
    ['language: [\n  en, # one\n  "no"\n]\nlicense: [it]', ['en', 'no']],
    ['language:\n# all\n- en\n\n- de\n\nlicense: it', ['en', 'de']],
  ] as const) {
    fs.writeFileSync(path.join(cached, 'README.md'), `---\n${front}\n---\nlanguage: it\n`);
    assert.deepEqual(baseModel(cached, cached).languages, languages, front);
  }
  const text = modelCard({
    pooling: 'last_token',
    normalize: false,
    hiddenSize: 64,
    colbertDim: 32,
    layers: 2,
    vocabSize: 9,
    maxLength: 8,
    texts: { ...PLAIN_TEXTS, prompts: new Map([['query', 'a "b" | `c`\n']]) },
    base: named,
  });
  for (const line of [
    'base_model: "BAAI/bge-m3"\n',
    'compared by inner product',
    '| dense vectors | 64 dimensions, of the last token, not normalised |',
    '| before queries | `a "b" \\| \'c\' ` |',
    'model.encode_query(',
    'queries = ["a \\"b\\" | `c`\\n" + "What is BGE M3?"]',
    'pooling_method="last_token"',
    'normalize_embeddings=False',
    'colbert_dim=32',
  ])
    assert.ok(text.includes(line), `${line}\n${text}`);
});

test('names, prompts and values from outside are text, whatever they hold', () => {
  /** The cells of a row as GitHub's Markdown cuts it: a backslash takes the character behind it along. */
  const cells = (row: string) => [...row.matchAll(/(?:\\.|[^|\\])+/g)].length;
  const pieces = ['\\', '|', '`', '<!-- ', '*', '[x](y)', '\n', '\u2028', '\u001b[2J', '---', ' ', 'a', '#'];
  let state = 7;
  const draw = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0);
  for (let i = 0; i < 250; i++) {
    const text = Array.from(
      { length: 1 + ((draw() >>> 8) % 6) },
      () => pieces[(draw() >>> 8) % pieces.length],
    ).join('');
    const row = `| ${codeCell(text)} | 1 |`;
    // Two of them, and the empty ones outside of the first and the last bar are none.
    assert.equal(cells(row), 2, row);
    const written = modelCard({
      ...{ pooling: 'cls', normalize: true, hiddenSize: 64, colbertDim: 64, layers: 2, vocabSize: 9 },
      ...{ maxLength: 8, texts: { ...PLAIN_TEXTS, prompts: new Map([['query', text]]) } },
      base: { id: undefined, name: text, languages: [] },
    });
    const prose = written.replace(/```[\s\S]*?\n```/g, '').replace(/`[^`\n]*`/g, 'code');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
    assert.doesNotMatch(prose.replace(/^<!-- Written by .*$/m, ''), /<!--|\[x\]|[\u001b\u2028]/, text);
    assert.match(prose, /\n# Fine-tuned from (?:code|\u201c\s*\u201d)\n/, text);
  }
});
