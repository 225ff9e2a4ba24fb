/**
 * Folders as sentence-transformers writes them: each gives the vectors that sentence-transformers itself gives
 * (test/golden/sentence-transformers), or an error that names what is not done here; and what is written reads back.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { InputError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { M3Model } from '../src/models/m3.js';
import type { M3Options } from '../src/models/m3-parameters.js';
import { encodeTexts } from '../src/retrieval/encode/encode-texts.js';
import type { Representation } from '../src/retrieval/encode/encoded.js';
import { encodeStream } from '../src/retrieval/encode/stream.js';
import type { TextRole } from '../src/retrieval/texts.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { folderSettings } from '../src/train/run/folder-settings.js';
import { golden } from './repository.js';

interface Variant {
  name: string;
  files: Record<string, unknown>;
  encoder?: string;
}
interface Verdict {
  error?: string;
  text?: number;
  query?: number;
  document?: number;
}
const read = (name: string) => JSON.parse(fs.readFileSync(golden('sentence-transformers', name), 'utf8'));
const variants: Variant[] = read('variants.json');
const {
  texts,
  verdicts,
  vectors,
}: { texts: string[]; verdicts: Record<string, Verdict>; vectors: number[][][] } = read('verdicts.json');

/** What sentence-transformers loads and this does not, by the place that the error names. */
const REFUSED: Record<string, RegExp> = {
  max_tokens: /1_Pooling\/config\.json: pooling_mode: expected one of cls, mean, lasttoken, found "max"/,
  mean_sqrt_len_tokens: /pooling_mode: .*found "mean_sqrt_len_tokens"/,
  weightedmean_tokens: /pooling_mode: .*found "weightedmean"/,
  'cls and mean joined': /pooling_mode: .*found "cls \+ mean"/,
  'version 5: a list of two': /pooling_mode: .*found "cls \+ mean"/,
  'normalised before pooling': /modules\.json: 1\.type: expected Pooling .*found ".*Normalize"/,
  'pooling twice': /modules\.json: 2\.type: expected Normalize .*found ".*Pooling"/,
  dense: /modules\.json: 2\.type: expected Normalize .*found ".*Dense"/,
  'a layer norm': /modules\.json: 2\.type: .*found ".*LayerNorm"/,
  dropout: /modules\.json: 2\.type: .*found ".*Dropout"/,
  'another task': /sentence_bert_config\.json: transformer_task: .*found "fill-mask"/,
  'cut by processing': /sentence_bert_config\.json: processing_kwargs: expected none/,
  'truncated on the left by arguments':
    /sentence_bert_config\.json: tokenizer_args\.truncation_side: expected none.*"left"/,
  'other activation by arguments': /sentence_bert_config\.json: config_args\.hidden_act: expected none/,
  'lower case as a number': /do_lower_case: expected true or false, found 1/,
  'prompts left out of the pooling, used': /prompt: expected none.*include_prompt is false/,
  'prompts left out of the pooling, cls': /prompt: expected none.*include_prompt is false/,
  'cut vectors': /config_sentence_transformers\.json: truncate_dim: expected null.*found 32/,
  'a sparse model': /config_sentence_transformers\.json: model_type: .*found "SparseEncoder"/,
};
/** sentence-transformers takes a folder without modules.json for mean pooling, FlagEmbedding for cls and normalised. */
const AS_FLAG_EMBEDDING = ['no modules.json'];

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-sentence-'));
after(() => fs.rmSync(root, { recursive: true, force: true }));
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const ENCODER = [
  'config.json',
  'model.safetensors',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'sentencepiece.bpe.model',
];
let count = 0;

function build({ files, encoder = '' }: Pick<Variant, 'files' | 'encoder'>): string {
  const folder = path.join(root, String(count++));
  fs.mkdirSync(path.join(folder, encoder), { recursive: true });
  for (const name of ENCODER) fs.copyFileSync(golden('model', name), path.join(folder, encoder, name));
  for (const name of ['colbert_linear.pt', 'sparse_linear.pt'])
    fs.copyFileSync(golden('model', name), path.join(folder, name));
  for (const [name, content] of Object.entries(files)) {
    if (content === null) continue;
    const file = path.join(folder, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const whole =
      name === 'tokenizer_config.json'
        ? { ...JSON.parse(fs.readFileSync(file, 'utf8')), ...(content as object) }
        : content;
    fs.writeFileSync(file, typeof whole === 'string' ? whole : JSON.stringify(whole));
  }
  return folder;
}

function load(folder: string, options?: M3Options): { model: M3Model; tokenizer: Tokenizer } {
  return { model: M3Model.load(gpu, folder, options), tokenizer: Tokenizer.load(folder) };
}

async function dense(folder: string, role: TextRole, options?: M3Options): Promise<Float32Array[]> {
  const { model, tokenizer } = load(folder, options);
  try {
    return (await encodeTexts(model, tokenizer, texts, { role })).map((embedding) => embedding.dense);
  } finally {
    model.dispose();
  }
}

function distance(found: readonly Float32Array[], expected: readonly number[][]): number {
  let largest = 0;
  for (const [i, row] of expected.entries()) {
    assert.equal(found[i]!.length, row.length * 4);
    for (const [c, value] of row.entries()) largest = Math.max(largest, Math.abs(found[i]![4 * c]! - value));
  }
  return largest;
}

test('folders of sentence-transformers give its vectors, or an error that names what is not done here', async () => {
  assert.deepEqual(
    variants.map(({ name }) => name),
    Object.keys(verdicts),
  );
  const refused = new Set<string>();
  for (const variant of variants) {
    const { name } = variant;
    const verdict = verdicts[name]!;
    const folder = build(variant);
    if (verdict.error !== undefined || REFUSED[name]) {
      const line = REFUSED[name] ?? /./;
      await assert.rejects(
        dense(folder, 'text'),
        (error: unknown) =>
          error instanceof InputError && line.test(error.message) && !/\n/.test(error.message),
        name,
      );
      refused.add(name);
      continue;
    }
    if (AS_FLAG_EMBEDDING.includes(name)) continue;
    for (const role of ['text', 'query', 'document'] as const) {
      if (role !== 'text' && verdict[role] === undefined) continue;
      const far = distance(await dense(folder, role), vectors[verdict[role]!]!);
      assert.ok(far < 2e-5, `${name}, ${role}: off by ${far}`);
    }
  }
  for (const name of Object.keys(REFUSED)) assert.ok(refused.has(name), name);
});

const written = (folder: string, name: string) =>
  JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8'));

test('what is written is what was made, and reads back the same', async () => {
  const cases: { options: M3Options; pooling: string; length: number }[] = [
    { options: {}, pooling: 'pooling_mode_cls_token', length: 512 },
    { options: { pooling: 'mean', normalize: false }, pooling: 'pooling_mode_mean_tokens', length: 512 },
    {
      options: {
        pooling: 'last_token',
        texts: {
          maxLength: 9,
          prompts: new Map([['query', 'query: ']]),
          defaultPrompt: 'query',
          lowerCase: true,
        },
      },
      pooling: 'pooling_mode_lasttoken',
      length: 9,
    },
    { options: { texts: { maxLength: 100_000 } }, pooling: 'pooling_mode_cls_token', length: 512 },
  ];
  for (const { options, pooling, length } of cases) {
    const { model, tokenizer } = load(golden('model'), options);
    const folder = path.join(root, String(count++));
    await model.save(folder, tokenizer);
    const keys = written(folder, '1_Pooling/config.json');
    assert.equal(keys.word_embedding_dimension, 64);
    assert.deepEqual(
      Object.keys(keys).filter((key) => keys[key] === true),
      [pooling],
    );
    assert.equal(keys.pooling_mode_lasttoken, options.pooling === 'last_token' ? true : undefined);
    assert.equal(written(folder, 'modules.json').length, options.normalize === false ? 2 : 3);
    assert.equal(written(folder, 'sentence_bert_config.json').max_seq_length, length);
    const similarity = options.normalize === false ? 'dot' : 'cosine';
    assert.equal(written(folder, 'config_sentence_transformers.json').similarity_fn_name, similarity);
    const again = load(folder);
    assert.deepEqual(again.model.notices, []);
    assert.deepEqual(again.model.settings, model.settings);
    assert.deepEqual(again.model.texts, { ...model.texts, maxLength: length });
    const encode = ({ model, tokenizer }: typeof again, more = {}) =>
      encodeTexts(model, tokenizer, texts, more);
    assert.deepEqual(await encode(again), await encode({ model, tokenizer }, { maxLength: length }));
    model.dispose();
    again.model.dispose();
  }
});

test('a folder that says no pooling and has no head is told to be pooled by cls, to load and to train, once', () => {
  const notice = /does not say how its vectors are pooled: cls is taken; .*--sentence_pooling_method mean$/;
  const words = (folder: string, ...more: string[]) =>
    parseFinetuneArguments([
      ...['--model_name_or_path', folder, '--train_data', 'rows.jsonl', '--output_dir', 'out', ...more],
    ]).args;
  const headless = (name: string) => {
    const folder = build(variants.find((each) => each.name === name)!);
    for (const head of ['colbert_linear.pt', 'sparse_linear.pt']) fs.rmSync(path.join(folder, head));
    return folder;
  };
  const loaded = (folder: string, options: M3Options = {}) => {
    const model = M3Model.load(gpu, folder, { needs: [], ...options });
    model.dispose();
    return model.notices.filter((line) => notice.test(line)).length;
  };
  const trained = (folder: string, ...more: string[]) =>
    folderSettings(folder, words(folder, ...more)).notices.filter((line) => notice.test(line)).length;
  const plain = headless('no modules.json');
  assert.deepEqual([loaded(plain), trained(plain)], [1, 1]);
  assert.deepEqual([loaded(plain, { pooling: 'mean' }), trained(plain, '--pooling_method', 'mean')], [0, 0]);
  const saying = headless('cls, normalised');
  assert.deepEqual([loaded(saying), trained(saying)], [0, 0]);
  const withHeads = build(variants.find((each) => each.name === 'no modules.json')!);
  assert.deepEqual([loaded(withHeads), trained(withHeads)], [0, 0]);
});

test('a head that the folder lacks encodes nothing until something has written it; dense vectors need none', async () => {
  const folder = build(variants.find((each) => each.name === 'dense')!);
  for (const head of ['colbert_linear.pt', 'sparse_linear.pt']) fs.rmSync(path.join(folder, head));
  const { model, tokenizer } = load(folder, { pooling: 'cls', normalize: true });
  const take = async (...names: Representation[]) => {
    for await (const _ of encodeStream(model, tokenizer, ['a'], { representations: new Set(names) }));
  };
  assert.equal(model.notices.filter((line) => /this head starts with random weights/.test(line)).length, 2);
  await take('dense');
  for (const name of ['colbert', 'sparse'] as const) {
    const refused = { name: 'InputError', message: new RegExp(`${name}_linear\\.pt: no such file: .*dense`) };
    await assert.rejects(take(name), refused);
    const { tensor } = model.store.parameters.find((each) => each.name === `${name}_linear.weight`)!;
    tensor.write(new Float32Array(tensor.size).fill(0.5));
    await take(name);
  }
  await encodeTexts(model, tokenizer, ['a']);
  model.dispose();
});

test('a pooling, a normalisation and texts that are told go before what the folder says, with a line', () => {
  const variant = (name: string) => build(variants.find((each) => each.name === name)!);
  const notices = (name: string, options: M3Options) => {
    const model = M3Model.load(gpu, variant(name), options);
    model.dispose();
    return model.notices.join('\n');
  };
  const told = { pooling: 'cls', normalize: true } as const;
  assert.match(notices('dense', told), /modules\.json: 2\.type: .*Dense": not used here$/);
  assert.throws(
    () => notices('dense', { pooling: 'cls' }),
    /Dense"; a pooling and a normalisation that are given/,
  );
  assert.match(
    notices('mean, not normalised', told),
    /pooling is mean; cls is used .*\n.*vectors are not normalised; /,
  );
  assert.equal(notices('cls, normalised', told), '');
  assert.match(
    notices('a default prompt', { texts: { prompts: new Map() } }),
    /prompts .* not used: "query" "query: "/,
  );
  assert.match(
    notices('lower case', { texts: { lowerCase: false } }),
    /lower-cases texts; here they stay as they are/,
  );
  assert.match(notices('cut by processing', { texts: {} }), /processing_kwargs: .*: not used here$/);
  assert.match(notices('dot product', {}), /^$/);
  const euclidean = {
    'modules.json': variants[0]!.files['modules.json'],
    '1_Pooling/config.json': variants[0]!.files['1_Pooling/config.json'],
    'config_sentence_transformers.json': { similarity_fn_name: 'euclidean' },
  };
  const model = M3Model.load(gpu, build({ files: euclidean }));
  assert.match(
    model.notices.join('\n'),
    /similarity_fn_name is "euclidean"; dense scores here are inner products of normalised vectors$/,
  );
  model.dispose();
});

test('files that are no JSON, or not what they should be, are errors of one line', async () => {
  const plain = variants[0]!.files;
  for (const [name, content, line] of [
    ['modules.json', '[', /modules\.json: expected JSON/],
    ['modules.json', [7, 8], /modules\.json: 0\.type: expected Transformer .*found 7/],
    ['1_Pooling/config.json', '{', /1_Pooling\/config\.json: expected JSON/],
    ['1_Pooling/config.json', [], /expected a JSON object/],
    ['1_Pooling/config.json', { pooling_mode: { a: 1 } }, /pooling_mode: expected one of/],
    ['sentence_bert_config.json', '7', /expected a JSON object/],
    ['sentence_bert_config.json', { max_seq_length: 0 }, /max_seq_length: expected a number of tokens/],
    [
      'sentence_bert_config.json',
      { max_seq_length: 1 },
      /maximum length 1: expected a whole number of at least 2/,
    ],
    ['config_sentence_transformers.json', { prompts: [] }, /prompts: expected texts by name/],
    ['config_sentence_transformers.json', { similarity_fn_name: 1 }, /similarity_fn_name: expected a name/],
    [
      'modules.json',
      [
        { type: 'sentence_transformers.models.Transformer', path: '' },
        { type: 'sentence_transformers.models.Pooling', path: '../1_Pooling' },
      ],
      /1\.path: expected the name of a folder/,
    ],
  ] as const)
    await assert.rejects(
      async () => {
        const { model, tokenizer } = load(build({ files: { ...plain, [name]: content } }));
        await encodeTexts(model, tokenizer, ['a']).finally(() => model.dispose());
      },
      (error: unknown) =>
        error instanceof InputError && line.test(error.message) && !/\n/.test(error.message),
      `${name} ${JSON.stringify(content)}`,
    );
});
