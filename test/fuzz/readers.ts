/**
 * Every reader of files and flags, each with a way to make inputs for it: wholly valid ones, damaged bytes, and
 * valid forms around damaged content. What a reader accepts is used as a run would use it.
 */
import fs from 'node:fs';
import path from 'node:path';
import { RowFile } from '../../src/data/rows.js';
import { demoFlags, parseDemoArguments } from '../../src/demo/arguments.js';
import { doctorFlags, parseDoctorArguments } from '../../src/doctor/arguments.js';
import { readManifest } from '../../src/gpu/driver-cache.js';
import { readEncoderConfig } from '../../src/models/config.js';
import { parityFlags, parseParityArguments } from '../../src/parity/arguments.js';
import { parseSetupArguments, setupFlags } from '../../src/setup/arguments.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { finetuneFlags, parseFinetuneArguments } from '../../src/train/arguments.js';
import { readDeepSpeed } from '../../src/train/deepspeed.js';
import { openWeights } from '../../src/weights/open.js';
import type { WeightSource } from '../../src/weights/source.js';
import { damageBytes } from './bytes.js';
import { checkpointInput, useCheckpoint } from './checkpoint-input.js';
import { exampleLines, goldenBytes, goldenTree, torchFiles, wordsOf } from './corpus.js';
import { hubInput, useHub } from './hub-input.js';
import { damageTree, strangeValue, textOf, treeOf } from './json.js';
import { loadModel, modelInput } from './model-inputs.js';
import type { FuzzRandom } from './random.js';
import { sentencePieceBytes } from './sentencepiece-input.js';
import { halvesInput, legacyInput, safetensorsInput, shardsInput, torchInput } from './weight-inputs.js';

/** Files of one input, by name. */
export type Input = Record<string, Uint8Array | string>;

export interface Reader {
  /** Follows from the draws alone. */
  make(random: FuzzRandom): Input;
  /** Reads what `make` made, in this folder. */
  read(folder: string): void | Promise<void>;
}

const once = <T>(make: () => T): (() => T) => {
  let value: T | undefined;
  return () => (value ??= make());
};

// ---- weights -----------------------------------------------------------------------------------------------

/** As a model does: everything is asked for, one after the other, in pieces or whole. */
function useWeights(folder: string): void {
  const source = openWeights(folder);
  let bytes = 0;
  for (const file of fs.readdirSync(folder)) bytes += fs.statSync(path.join(folder, file)).size;
  try {
    const kept: Float32Array[] = [];
    for (const name of source.names()) useTensor(source, name, kept);
    const elements = kept.reduce((sum, data) => sum + data.length, 0);
    if (elements * 4 > 64 * bytes + (64 << 20))
      throw new Error(`${elements} numbers came from files of ${bytes} bytes`);
  } finally {
    source.close();
  }
}

function useTensor(source: WeightSource, name: string, kept: Float32Array[]): void {
  const { dtype } = source.info(name);
  if (!/f/.test(dtype)) return;
  const count = kept.length % 2 === 0;
  if (count) kept.push(source.read(name));
  else for (const { data } of source.stream(name, 1000)) kept.push(data);
}

const shard = once(() => goldenBytes('shapes', 'mean-48', 'colbert_linear.pt'));
const indexWords = once(() => [...wordsOf('weights'), 'weight', 'bias', 'a.bin', 'b.bin']);

function indexInput(random: FuzzRandom): Input {
  const index = treeOf({ metadata: { total_size: 1000 }, weight_map: { weight: 'a.bin', bias: 'b.bin' } });
  const text = textOf(damageTree(index, random, indexWords()));
  return {
    'pytorch_model.bin.index.json': random.chance(0.1) ? damageBytes(Buffer.from(text), random) : text,
    'a.bin': shard(),
    'b.bin': random.chance(0.2) ? damageBytes(shard(), random, torchFiles()) : shard(),
  };
}

// ---- JSON --------------------------------------------------------------------------------------------------

const jsonBytes = (tree: Parameters<typeof textOf>[0], random: FuzzRandom): Uint8Array | string => {
  const text = textOf(tree);
  return random.chance(0.1) ? damageBytes(Buffer.from(text), random) : text;
};

const configWords = once(() => wordsOf('models/config.js'));

const deepSpeedWords = once(() => wordsOf('train/deepspeed.js'));
const deepSpeedFile = {
  zero_optimization: { stage: 0 },
  fp16: {
    enabled: 'auto',
    loss_scale: 0,
    initial_scale_power: 10,
    loss_scale_window: 1000,
    hysteresis: 2,
    min_loss_scale: 1,
  },
  bf16: { enabled: 'auto' },
  optimizer: {
    type: 'AdamW',
    params: { lr: 'auto', betas: 'auto', eps: 'auto', weight_decay: 'auto', torch_adam: true },
  },
  scheduler: {
    type: 'WarmupDecayLR',
    params: {
      warmup_min_lr: 'auto',
      warmup_max_lr: 'auto',
      warmup_num_steps: 'auto',
      total_num_steps: 'auto',
    },
  },
  gradient_accumulation_steps: 'auto',
  gradient_clipping: 'auto',
  steps_per_print: 100,
  train_batch_size: 'auto',
  train_micro_batch_size_per_gpu: 'auto',
  wall_clock_breakdown: false,
};
const baseArguments = ['--model_name_or_path', 'm', '--train_data', 'd', '--output_dir', 'o'];

// ---- tokenizers --------------------------------------------------------------------------------------------

const tokenizerWords = once(() => wordsOf('tokenizer'));
const TOKENIZER_TEXTS = [
  '',
  ' ',
  'Hello world, wie geht’s?  \t',
  'ﬁ ①② ８９ é\u0301 नमस्ते 你好 🤗🏽 \u0000\u001b[0m',
  '<s> </s> <mask> <pad> [MASK]',
  `${'ab '.repeat(300)}${'x'.repeat(500)}`,
];

function useTokenizer(folder: string): void {
  const tokenizer = Tokenizer.load(folder);
  for (const text of TOKENIZER_TEXTS) {
    const ids = tokenizer.encode(text);
    tokenizer.encode(text, 16);
    tokenizer.decode(ids);
  }
}

/** The model's tokenizer with a vocabulary of a few pieces, so that an input takes a millisecond. */
const smallTokenizer = once(() => {
  const json = JSON.parse(Buffer.from(goldenBytes('model', 'tokenizer.json')).toString());
  json.model.vocab = json.model.vocab.slice(0, 300);
  const kept = new Set(json.model.vocab.map(([piece]: [string]) => piece));
  json.added_tokens = json.added_tokens.filter(({ content }: { content: string }) => kept.has(content));
  return JSON.stringify(json);
});

function tokenizerInput(random: FuzzRandom): Input {
  const words = tokenizerWords();
  const wordPiece = random.chance(0.4);
  const main = wordPiece ? goldenTree('tokenizer.json') : treeOf(JSON.parse(smallTokenizer()));
  const beside = (name: string) => {
    const tree = goldenTree('model', name);
    return jsonBytes(random.chance(0.4) ? damageTree(tree, random, words) : tree, random);
  };
  const input: Input = {
    'tokenizer.json': jsonBytes(random.chance(0.7) ? damageTree(main, random, words) : main, random),
  };
  if (random.chance(0.7)) input['tokenizer_config.json'] = beside('tokenizer_config.json');
  if (random.chance(0.7)) input['special_tokens_map.json'] = beside('special_tokens_map.json');
  if (random.chance(0.4))
    input['added_tokens.json'] = jsonBytes(
      damageTree(treeOf({ '<new>': 300, '<newer>': 301 }), random, words),
      random,
    );
  return input;
}

function sentencePieceInput(random: FuzzRandom): Input {
  const input: Input = { 'sentencepiece.bpe.model': sentencePieceBytes(random) };
  if (random.chance(0.5))
    input['tokenizer_config.json'] = jsonBytes(
      damageTree(goldenTree('model', 'tokenizer_config.json'), random, tokenizerWords()),
      random,
    );
  return input;
}

// ---- rows --------------------------------------------------------------------------------------------------

const rowWords = once(() => wordsOf('data'));

function rowsInput(random: FuzzRandom): Input {
  const lines: string[] = [];
  for (let left = random.size(8); left > 0; left--) {
    const line = random.pick(exampleLines());
    const tree = treeOf(JSON.parse(line));
    lines.push(random.chance(0.5) ? line : textOf(damageTree(tree, random, rowWords())));
    if (random.chance(0.05))
      lines.push(random.pick(['', ' ', '[', ']', '{', 'null', '\u0000', '\ufeff', ',']));
  }
  const text = lines.join(random.pick(['\n', '\n', '\n', '\r\n', '\r', '', ',\n', '\n\n']));
  const wrapped = random.chance(0.1) ? `[${text}]` : text;
  return { 'rows.jsonl': random.chance(0.2) ? damageBytes(Buffer.from(wrapped), random) : wrapped };
}

function useRows(folder: string): void {
  const rows = new RowFile(path.join(folder, 'rows.jsonl'));
  for (let i = 0; i < rows.rowCount; i++) {
    rows.facts(i);
    rows.row(i);
  }
}

const drivers = once(() => wordsOf('gpu/driver-cache.js'));

function manifestInput(random: FuzzRandom): Input {
  const manifest = treeOf({
    format: 2,
    name: 'lavapipe',
    version: '22.3.6',
    icd: 'icd.json',
    libraries: ['libvulkan.so.1', 'libvulkan_lvp.so'],
    files: { 'icd.json': { bytes: 2, sha256: 'ab' }, 'libvulkan.so.1': { bytes: 0, sha256: 'cd' } },
  });
  return {
    'manifest.json': jsonBytes(damageTree(manifest, random, drivers()), random),
    'icd.json': '{}',
    'libvulkan.so.1': '',
    'libvulkan_lvp.so': '',
  };
}

// ---- flags -------------------------------------------------------------------------------------------------

const commands: readonly [name: string, table: object, parse: (argv: string[]) => unknown][] = [
  ['finetune', finetuneFlags, parseFinetuneArguments],
  ['parity', parityFlags, parseParityArguments],
  ['demo', demoFlags, parseDemoArguments],
  ['doctor', doctorFlags, parseDoctorArguments],
  ['setup', setupFlags, parseSetupArguments],
];

function flagsInput(random: FuzzRandom): Input {
  const [command, table] = random.chance(0.7) ? commands[0]! : random.pick(commands);
  const words = command === 'finetune' ? [...baseArguments] : [];
  const names = Object.keys(table);
  for (let left = random.size(8); left > 0; left--) {
    const name = random.chance(0.9)
      ? random.pick(names)
      : random.pick(['__proto__', 'toString', 'no_', 'no_x', '']);
    const dashed = random.chance(0.2) ? name.replaceAll('_', '-') : name;
    const value = textOf(
      strangeValue(random, ['True', 'False', 'None', 'linear', '12GB', '1e-5', '5', 'cls']),
    );
    const plain = value.startsWith('"') ? String(JSON.parse(value)) : value;
    if (random.chance(0.2)) words.push(`--${dashed}=${plain}`);
    else words.push(`--${dashed}`, ...(random.chance(0.9) ? [plain] : []));
  }
  if (random.chance(0.1)) words.splice(random.below(words.length), random.size(4));
  return { 'argv.json': JSON.stringify([command, ...words]) };
}

function parseArguments(folder: string): void {
  const [command, ...words] = JSON.parse(fs.readFileSync(path.join(folder, 'argv.json'), 'utf8'));
  commands.find(([name]) => name === command)![2](words);
}

// ---- all of them -------------------------------------------------------------------------------------------

export const readers: ReadonlyMap<string, Reader> = new Map(
  Object.entries<Reader>({
    safetensors: { make: safetensorsInput, read: useWeights },
    halves: { make: halvesInput, read: useWeights },
    shards: { make: shardsInput, read: useWeights },
    torch: { make: torchInput, read: useWeights },
    legacy: { make: legacyInput, read: useWeights },
    index: { make: indexInput, read: useWeights },
    config: {
      make: (random) => ({
        'config.json': jsonBytes(
          damageTree(goldenTree('model', 'config.json'), random, configWords()),
          random,
        ),
      }),
      read: (folder) => void readEncoderConfig(folder),
    },
    model: { make: modelInput, read: loadModel },
    tokenizer: { make: tokenizerInput, read: useTokenizer },
    sentencepiece: { make: sentencePieceInput, read: useTokenizer },
    deepspeed: {
      make: (random) => ({
        'ds.json': jsonBytes(damageTree(treeOf(deepSpeedFile), random, deepSpeedWords()), random),
      }),
      read: (folder) =>
        void readDeepSpeed(path.join(folder, 'ds.json'), parseFinetuneArguments(baseArguments).args),
    },
    rows: { make: rowsInput, read: useRows },
    manifest: { make: manifestInput, read: (folder) => void readManifest(folder) },
    hub: { make: hubInput, read: useHub },
    checkpoint: { make: checkpointInput, read: useCheckpoint },
    flags: { make: flagsInput, read: parseArguments },
  }),
);
