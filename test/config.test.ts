/** `--config FILE`: what a YAML file says means what the same words mean on the command line, which goes before it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { InputError } from '../src/errors.js';
import { parseFlags } from '../src/flags.js';
import { parseEncodeArguments } from '../src/retrieval/encode/arguments.js';
import { finetuneFlags, parseFinetuneArguments } from '../src/train/arguments.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-config-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

let files = 0;
function written(content: string | Uint8Array): string {
  const file = path.join(folder, `run${files++}.yaml`);
  fs.writeFileSync(file, content);
  return file;
}

const needed = 'model_name_or_path: m\ntrain_data: a.jsonl\noutput_dir: out\n';
const parse = (content: string, ...words: string[]) =>
  parseFinetuneArguments(['--config', written(needed + content), ...words]);

/** The message without the folder of the file. */
function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof InputError, String(error));
    assert.ok(!error.message.includes('\n'), error.message);
    return error.message.replace(/\S*run\d+\.yaml/, 'run.yaml');
  }
  throw assert.fail('nothing was refused');
}

test('a file says what the same words say on the command line', () => {
  const words = [
    ...'--model_name_or_path m --train_data a.jsonl b --output_dir out --learning_rate 1e-5 --fp16'.split(
      ' ',
    ),
    ...'--warmup_ratio 0.1 --save_strategy no --eval_data None --flagembedding_compat none-prefix log-warmup'.split(
      ' ',
    ),
    ...'--resume_from_checkpoint True --revision 1.10 --normalize_embeddings False --max_gpu_memory 2GB'.split(
      ' ',
    ),
    ...['--query_instruction_for_retrieval', 'Represent this: ', '--token', 'hf_x', '--seed', '010'],
    ...'--per_gpu_train_batch_size 3 --evaluation_strategy no --max_grad_norm .5'.split(' '),
  ];
  const file = written(`# a comment
model_name_or_path: m
train_data: [a.jsonl, b]
output-dir: "out"
learning_rate: 1e-5
fp16: yes
warmup_ratio: &share 0.1
save_strategy: no
eval_data: ~
flagembedding_compat:
  - none-prefix
  - log-warmup
resume_from_checkpoint: True
revision: 1.10
normalize_embeddings: FALSE
max_gpu_memory: 2GB
query_instruction_for_retrieval: 'Represent this: '
token: hf_x
seed: 010
per_gpu_train_batch_size: 3
evaluation_strategy: no
max_grad_norm: .5
`);
  const [fromFile, typed] = [['--config', file], words].map((argv) => parseFinetuneArguments(argv).args);
  assert.equal(fromFile!.token?.reveal(), 'hf_x');
  assert.deepEqual({ ...fromFile, token: null }, { ...typed, token: null });
  const encoding = written('model_name_or_path: m\nrepresentations: [dense, sparse]\noutput: "-"\n');
  const { args } = parseEncodeArguments(['x.txt', `--config=${encoding}`]);
  assert.deepEqual(args.representations, ['dense', 'sparse']);
});

test('what is typed goes before the file, and where each value is from is known', () => {
  const file = written(`${needed}learning_rate: 1e-5\nfp16: true\neval_data: e.jsonl\nseed: 7\n`);
  const { values, origin } = parseFlags(finetuneFlags, [
    ...['--learning_rate', '2e-5', '--config', file, '--eval_data', 'None', '--output_dir', 'other'],
  ]);
  assert.deepEqual(
    [values.learningRate, values.fp16, values.evalData, values.seed, values.outputDir, values.trainData],
    [2e-5, true, null, 7, 'other', ['a.jsonl']],
  );
  assert.deepEqual(
    ['learning_rate', 'fp16', 'eval_data', 'weight_decay'].map((name) => origin.get(name)),
    ['flag', 'config', 'flag', 'default'],
  );
  assert.deepEqual([...origin.keys()], Object.keys(finetuneFlags));
});

test('a file of flags goes together with a DeepSpeed file, and tells what has no effect', () => {
  const { args, notices } = parse(
    'deepspeed: ds.json\noptim: adamw_torch\ntf32: true\ntrust_remote_code: true\n',
  );
  assert.equal(args.deepspeed, 'ds.json');
  assert.deepEqual(
    notices.map((line) => line.replace(/\S*run\d+\.yaml/, 'run.yaml')),
    [
      'run.yaml:6: tf32 has no effect here: what is computed in float32 is computed in float32 throughout',
      'run.yaml:7: trust_remote_code has no effect here: no code of a model is ever run',
    ],
  );
});

const refusals: readonly (readonly [content: string, message: RegExp])[] = [
  ['learning_rat: 1', /^run\.yaml:4: unknown flag "learning_rat"; the nearest is learning_rate$/],
  ['--seed: 1', /^run\.yaml:4: unknown flag "--seed"; the nearest is seed$/],
  ['seed: 1\nfp16: true\nseed: 2', /^run\.yaml:6: seed: expected one value, found another in line 4$/],
  [
    'per_gpu_train_batch_size: 2\nper-device-train-batch-size: 2',
    /^run\.yaml:5: per_device_train_batch_size: expected one value, found another in line 4 as "per_gpu_train_batch_size"$/,
  ],
  ['learning_rate: fast', /^run\.yaml:4: learning_rate: expected a number from .*, found "fast"$/],
  [
    'learning_rate: [1, 2]',
    /^run\.yaml:4: learning_rate: expected a number from .*, found a list of "1", "2"$/,
  ],
  ['learning_rate:', /^run\.yaml:4: learning_rate: expected a number from .*, found null$/],
  ['seed: 1.5', /^run\.yaml:4: seed: expected an integer, found 1\.5$/],
  ['seed: 0o17', /^run\.yaml:4: seed: expected an integer, found 0o17$/],
  ['seed: true', /^run\.yaml:4: seed: expected an integer, found true$/],
  ['fp16: on', /^run\.yaml:4: fp16: expected True or False, found "on"$/],
  ['fp16: 3', /^run\.yaml:4: fp16: expected True or False, found 3$/],
  ['revision: true', /^run\.yaml:4: revision: expected .*, found true, which quotes make a text$/],
  [
    'eval_data: [a, [b]]',
    /^run\.yaml:4: eval_data: expected a list of texts and numbers, found something else/,
  ],
  ['eval_data: []', /^run\.yaml:4: eval_data: expected one or more paths, found an empty list$/],
  ['eval_data: {a: b}', /^run\.yaml:4: eval_data: expected one or more paths, found a mapping$/],
  ['eval_data: [yes, true]', /^run\.yaml:4: eval_data: expected texts and numbers in a list, found true$/],
  ['token: [hf_secret]', /^run\.yaml:4: token: expected an access token, found a list that is none$/],
  ['debug: true', /^run\.yaml:4: debug: expected it on the command line/],
  ['config: other.yaml', /^run\.yaml:4: config: expected it on the command line/],
  ['adafactor: true', /^run\.yaml:4: adafactor: expected False, found "true": the optimiser is AdamW/],
  ['seed: !!int 3', /^run\.yaml:4: seed: expected a value without a tag/],
  ['seed: !!binary aGk=', /^run\.yaml:4: seed: expected a value without a tag/],
  ['seed: *a', /^run\.yaml:4: expected an anchor &a, found none$/],
  ['<<: {seed: 3}', /^run\.yaml:4: <<: merge keys are of YAML 1\.1, and are not read$/],
  ['? [a]\n: 3', /^run\.yaml:4: expected the name of a flag before a colon/],
  ['seed: 1\n  fp16: true', /^run\.yaml:\d: expected YAML: /],
  ['---\nseed: 2', /^run\.yaml:4: expected one document, found another after ---$/],
  [
    'eval_data: &a [*a]',
    /^run\.yaml:4: eval_data: expected a list of texts and numbers, found something else/,
  ],
  [
    `a: &a [x, x]\n${'bcdefghij'.replaceAll(/./g, (name, at) => `${name}: &${name} [*${'abcdefghi'[at]}, *${'abcdefghi'[at]}]\n`)}`,
    /^run\.yaml:5: b: expected a list of texts and numbers/,
  ],
  [
    `eval_data: ${'['.repeat(5000)}`,
    /^run\.yaml(:\d+)?: expected settings, found more levels than can be read$/,
  ],
  [
    `eval_data: ${'{a: '.repeat(5000)}`,
    /^run\.yaml(:\d+)?: expected settings, found more levels than can be read$/,
  ],
];

test('what cannot be meant is refused with its file and line', () => {
  for (const [content, message] of refusals)
    assert.match(
      refusal(() => parse(content)),
      message,
      content.slice(0, 80),
    );
});

test('what is no file of settings is refused', () => {
  const read = (content: string | Uint8Array) =>
    refusal(() => parseFlags(finetuneFlags, ['--config', written(content)]));
  assert.match(read('learning rate'), /^run\.yaml:1: expected lines such as .*, found "learning rate"$/);
  assert.match(read('- a\n- b\n'), /^run\.yaml:1: expected lines such as .*, found a list$/);
  assert.match(
    read(new Uint8Array(1000).fill(0xff)),
    /^--config: run\.yaml: expected YAML, found bytes that are no text$/,
  );
  assert.match(read('a\0: b'), /found bytes that are no text$/);
  assert.match(
    read(`#${'x'.repeat(1 << 18)}`),
    /^--config: run\.yaml: expected settings in at most 256 KiB, found 262145 bytes$/,
  );
  const sparse = written('');
  fs.truncateSync(sparse, 1 << 30);
  assert.match(
    refusal(() => parseFlags(finetuneFlags, ['--config', sparse])),
    /found 1073741824 bytes$/,
  );
  assert.match(
    refusal(() => parseFlags(finetuneFlags, ['--config', folder])),
    /expected a file, found a folder$/,
  );
  assert.match(
    refusal(() => parseFlags(finetuneFlags, ['--config', path.join(folder, 'none')])),
    /there is no such file$/,
  );
  assert.match(
    refusal(() => parseFlags(finetuneFlags, ['--config'])),
    /^--config: expected a path, found nothing$/,
  );
  // A required flag is not there, and the file says nothing.
  assert.match(
    read('# nothing\n'),
    /^--model_name_or_path: expected .*, found nothing \(the flag is required\)$/,
  );
  assert.match(read('\ufeffmodel_name_or_path: m\r\n'), /^--train_data: /);
});
