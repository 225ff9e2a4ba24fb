/** What a model folder may look like when it is read, and what the folder says that is written of it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { InputError } from '../src/errors.js';
import { requireInside } from '../src/files/inside.js';
import { Gpu } from '../src/gpu/gpu.js';
import { parseEncoderConfig } from '../src/models/config.js';
import { allFinite } from '../src/models/encoder-weights.js';
import { M3Model } from '../src/models/m3.js';
import type { M3Options } from '../src/models/m3-parameters.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { SafetensorsFile, SafetensorsWriter } from '../src/weights/safetensors.js';
import { writeTorchFile } from '../src/weights/torch-file.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-folder-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

interface Stored {
  shape: readonly number[];
  data: Float32Array;
}
type Config = Record<string, unknown>;

const base = (() => {
  const file = SafetensorsFile.open(golden('model', 'model.safetensors'));
  const tensors = new Map(
    file.names().map((name) => [name, { shape: file.info(name).shape, data: file.read(name) }]),
  );
  file.close();
  return tensors;
})();
const config: Config = JSON.parse(fs.readFileSync(golden('model', 'config.json'), 'utf8'));

const ones = (...shape: number[]): Stored => ({
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b)).fill(1),
});
const renamed = (rename: (name: string) => string) => (tensors: Map<string, Stored>) =>
  new Map([...tensors].map(([name, tensor]) => [rename(name), tensor]));
const prefixed = (prefix: string) => renamed((name) => prefix + name);

interface Variant {
  config?: Config;
  tensors?: (tensors: Map<string, Stored>) => Map<string, Stored>;
  dtype?: 'f32' | 'bf16' | 'f16' | 'f64';
  shards?: number;
  torch?: boolean;
  heads?: boolean;
}

let count = 0;
/** A model folder made from the golden one. */
function made({ tensors, dtype = 'f32', shards = 1, torch = false, heads = true, ...rest }: Variant): string {
  const target = path.join(folder, `base-${count++}`);
  fs.mkdirSync(target);
  const entries = [...(tensors ?? ((same) => same))(new Map(base))];
  if (torch)
    writeTorchFile(
      path.join(target, 'pytorch_model.bin'),
      entries.map(([name, { shape, data }]) => ({ name, shape, data })),
    );
  else {
    const weightMap: Record<string, string> = {};
    for (let shard = 0; shard < shards; shard++) {
      const name = shards === 1 ? 'model.safetensors' : `model-${shard}.safetensors`;
      const part = entries.filter((_, i) => i % shards === shard);
      const writer = SafetensorsWriter.create(
        path.join(target, name),
        part.map(([name, { shape }]) => ({ name, dtype, shape })),
      );
      for (const [tensor, { data }] of part) {
        writer.write(tensor, dtype === 'f64' ? Float64Array.from(data) : data);
        weightMap[tensor] = name;
      }
      writer.finish();
    }
    if (shards > 1)
      fs.writeFileSync(
        path.join(target, 'model.safetensors.index.json'),
        JSON.stringify({ weight_map: weightMap }),
      );
  }
  fs.writeFileSync(path.join(target, 'config.json'), JSON.stringify(rest.config ?? config));
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    fs.copyFileSync(golden('model', name), path.join(target, name));
  if (heads)
    for (const name of ['colbert_linear.pt', 'sparse_linear.pt'])
      fs.copyFileSync(golden('model', name), path.join(target, name));
  return target;
}

/** Loads, saves, and gives what was written. */
async function written(source: string): Promise<{
  notices: readonly string[];
  config: Config;
  tensors: Map<string, Stored>;
}> {
  const target = `${source}-written`;
  const model = M3Model.load(gpu, source);
  await model.save(target, Tokenizer.load(source));
  model.dispose();
  const file = SafetensorsFile.open(path.join(target, 'model.safetensors'));
  const tensors = new Map(
    file.names().map((name) => {
      assert.equal(file.info(name).dtype, 'f32');
      return [name, { shape: file.info(name).shape, data: file.read(name) }];
    }),
  );
  file.close();
  return {
    notices: model.notices,
    config: JSON.parse(fs.readFileSync(path.join(target, 'config.json'), 'utf8')),
    tensors,
  };
}

const bert: Config = { ...config, model_type: 'bert', architectures: ['BertForMaskedLM'], pad_token_id: 0 };
const oneLayer = [...base.keys()].filter((name) => !name.startsWith('encoder.layer.1.'));

// Bases as they are found, and what config.json must say of the encoder that is written of each.
const bases: Record<
  string,
  Variant & { says?: Config; lacks?: string[]; names?: string[]; notice?: RegExp }
> = {
  'in bf16': { config: { ...config, dtype: 'bfloat16' }, dtype: 'bf16' },
  'in f16, older spelling': { config: { ...config, dtype: undefined, torch_dtype: 'float16' }, dtype: 'f16' },
  'in f64': { config: { ...config, dtype: 'float64' }, dtype: 'f64' },
  'masked LM': {
    config: { ...config, architectures: ['XLMRobertaForMaskedLM'] },
    tensors: (tensors) =>
      prefixed('roberta.')(tensors)
        .set('lm_head.bias', ones(4000))
        .set('lm_head.dense.weight', ones(64, 64))
        .set('lm_head.decoder.weight', ones(4000, 64)),
    notice: /model\.safetensors: not used and not written again: "lm_head\.bias", "lm_head\.dense\.weight"/,
  },
  'masked LM of BERT without a pooler': {
    config: bert,
    tensors: (tensors) => {
      tensors.delete('pooler.dense.weight');
      tensors.delete('pooler.dense.bias');
      return prefixed('bert.')(tensors).set('cls.predictions.transform.dense.weight', ones(64, 64));
    },
    says: { architectures: ['BertModel'], model_type: 'bert', pad_token_id: 0 },
    names: [...base.keys()].filter((name) => !name.startsWith('pooler')),
    notice: /"cls\.predictions/,
  },
  classifier: {
    config: {
      ...config,
      model_type: 'roberta',
      architectures: ['RobertaForSequenceClassification'],
      id2label: { 0: 'no', 1: 'yes' },
      label2id: { no: 0, yes: 1 },
      problem_type: 'single_label_classification',
      _name_or_path: '/somewhere',
      quantization_config: { quant_method: 'bitsandbytes', load_in_4bit: true },
      auto_map: { AutoModel: 'modeling.Other' },
    },
    tensors: (tensors) =>
      prefixed('roberta.')(tensors)
        .set('classifier.dense.weight', ones(64, 64))
        .set('classifier.out_proj.weight', ones(2, 64)),
    says: { architectures: ['RobertaModel'], model_type: 'roberta' },
    lacks: [
      'id2label',
      'label2id',
      'problem_type',
      '_name_or_path',
      'quantization_config',
      'auto_map',
      'transformers_version',
    ],
    notice: /"classifier\.dense\.weight"/,
  },
  'fewer layers than the weights have': {
    config: { ...config, num_hidden_layers: 1 },
    says: { num_hidden_layers: 1 },
    names: oneLayer,
    notice: /"encoder\.layer\.1\.attention/,
  },
  'in shards': { shards: 3 },
  'as a PyTorch file': { torch: true },
  'LayerNorm gamma and beta': {
    tensors: renamed((name) =>
      name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta'),
    ),
  },
  'gamma and beta under a prefix, with constants': {
    tensors: (tensors) =>
      renamed(
        (name) =>
          `module.roberta.${name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')}`,
      )(tensors).set('module.roberta.embeddings.position_ids', ones(1, 514)),
  },
  ...Object.fromEntries(
    [
      'roberta.',
      'bert.',
      'model.',
      'module.',
      '0.auto_model.',
      'encoder.',
      'module.0.auto_model.',
      'model.roberta.',
    ].map((prefix) => [`prefix ${prefix}`, { tensors: prefixed(prefix) }]),
  ),
  'what config.json leaves to its defaults': {
    config: Object.fromEntries(
      Object.entries(config).filter(
        ([key]) => !['dtype', 'hidden_act', 'pad_token_id', 'architectures'].includes(key),
      ),
    ),
    says: { hidden_act: 'gelu', pad_token_id: 1, layer_norm_eps: 1e-5 },
  },
};

test('the folder that is written says what is in it, whatever the base was', async (t) => {
  for (const [name, variant] of Object.entries(bases))
    await t.test(name, async () => {
      const result = await written(made(variant));
      const says = {
        architectures: ['XLMRobertaModel'],
        dtype: 'float32',
        torch_dtype: 'float32',
        num_hidden_layers: 2,
        vocab_size: 4000,
        ...variant.says,
      };
      for (const [key, value] of Object.entries(says)) assert.deepEqual(result.config[key], value, key);
      for (const key of variant.lacks ?? []) assert.ok(!(key in result.config), key);
      assert.deepEqual([...result.tensors.keys()].sort(), [...(variant.names ?? base.keys())].sort());
      for (const [key, { shape, data }] of result.tensors) {
        assert.deepEqual(shape, base.get(key)!.shape, key);
        const bound = variant.dtype === 'bf16' || variant.dtype === 'f16' ? 2 ** -8 : 0;
        const want = base.get(key)!.data;
        assert.ok(
          data.every(
            (value, i) => Math.abs(value - want[i]!) <= bound * Math.abs(want[i]!) + (bound && 1e-7),
          ),
          key,
        );
      }
      if (variant.notice) assert.match(result.notices.join('\n'), variant.notice);
      else assert.deepEqual(result.notices, []);
    });
});

const first = (tensors: Map<string, Stored>, name: string, value: number) => {
  const { shape, data } = tensors.get(name)!;
  const copy = Float32Array.from(data);
  copy[1] = value;
  return tensors.set(name, { shape, data: copy });
};

const refused: Record<string, [Variant, RegExp]> = {
  'a NaN in a used weight': [
    { tensors: (tensors) => first(tensors, 'encoder.layer.1.output.dense.weight', Number.NaN) },
    /model\.safetensors: tensor "encoder\.layer\.1\.output\.dense\.weight": expected finite float32 numbers, found NaN at \[0,1\]$/,
  ],
  'infinity in the pooler': [
    { tensors: (tensors) => first(tensors, 'pooler.dense.bias', Number.NEGATIVE_INFINITY) },
    /"pooler\.dense\.bias".*found -Infinity at \[1\]/,
  ],
  'infinity in f16': [
    {
      dtype: 'f16',
      tensors: (tensors) => first(tensors, 'embeddings.LayerNorm.bias', Number.POSITIVE_INFINITY),
    },
    /"embeddings\.LayerNorm\.bias".*found Infinity/,
  ],
  'two encoders': [
    { tensors: (tensors) => new Map([...prefixed('query.')(tensors), ...prefixed('passage.')(tensors)]) },
    /expected one encoder, found 2, under the prefixes "query\.", "passage\."/,
  ],
  'weight and gamma': [
    { tensors: (tensors) => new Map(tensors).set('embeddings.LayerNorm.gamma', ones(64)) },
    /expected one of "embeddings\.LayerNorm\.weight", "embeddings\.LayerNorm\.gamma", found both/,
  ],
  'a missing tensor': [
    {
      tensors: (tensors) => {
        tensors.delete('encoder.layer.1.attention.self.key.bias');
        return prefixed('roberta.')(tensors);
      },
    },
    /expected 37 tensors of the encoder, 1 missing: "roberta\.encoder\.layer\.1\.attention\.self\.key\.bias"; it has no other tensors$/,
  ],
  'a misnamed tensor among those of another head': [
    {
      tensors: (tensors) =>
        prefixed('bert.')(
          renamed((name) => name.replace('layer.1.attention.self.key.bias', 'layer.1.attention.self.k.bias'))(
            tensors,
          ),
        ).set('cls.predictions.bias', ones(4000)),
    },
    /1 missing: "bert\.encoder\.layer\.1\.attention\.self\.key\.bias"; its other tensors are "bert\.encoder\.layer\.1\.attention\.self\.k\.bias", "cls\.predictions\.bias"$/,
  ],
  'no encoder': [
    { tensors: () => new Map([['transformer.h.0.attn.weight', ones(4)]]), config: { ...config } },
    /num_hidden_layers: expected at most 0, the layers in .*model\.safetensors, found 2/,
  ],
  'a thousand million layers': [
    { config: { ...config, num_hidden_layers: 1_000_000_000 } },
    /config\.json: num_hidden_layers: expected a whole number from 1 to 67108864, found 1000000000/,
  ],
  'fifty million layers': [
    { config: { ...config, num_hidden_layers: 50_000_000 } },
    /num_hidden_layers: expected at most 2, the layers in .*model\.safetensors, found 50000000/,
  ],
  'another vocabulary': [
    { config: { ...config, vocab_size: 4001 } },
    /"embeddings\.word_embeddings\.weight" has shape \[4000,64\], expected \[4001,64\], as config\.json says/,
  ],
  'another type vocabulary, by default': [
    { config: { ...config, type_vocab_size: undefined } },
    /"embeddings\.token_type_embeddings\.weight" has shape \[1,64\], expected \[2,64\]/,
  ],
};

test('a folder that cannot be what it says is refused with one line', async (t) => {
  for (const [name, [variant, line]] of Object.entries(refused))
    await t.test(name, () => {
      const source = made(variant);
      assert.throws(
        () => M3Model.load(gpu, source).dispose(),
        (error: unknown) => {
          assert.ok(error instanceof InputError, String(error));
          assert.match(error.message, line);
          assert.ok(!error.message.includes('\n'));
          return true;
        },
      );
      assert.equal(gpu.memory().liveBuffers, 0);
    });
  await t.test('a NaN in a head', () => {
    const source = made({ heads: false });
    const entry = (name: string, ...shape: number[]) => ({ name, ...ones(...shape) });
    writeTorchFile(path.join(source, 'colbert_linear.pt'), [entry('weight', 8, 64), entry('bias', 8)]);
    const bad = entry('bias', 1);
    bad.data[0] = Number.NaN;
    writeTorchFile(path.join(source, 'sparse_linear.pt'), [entry('weight', 1, 64), bad]);
    assert.throws(() => M3Model.load(gpu, source), /sparse_linear\.pt: tensor "bias".*found NaN at \[0\]/);
  });
  await t.test('heads with other tensors than those of a linear layer', () => {
    const entry = (name: string, ...shape: number[]) => ({ name, ...ones(...shape) });
    for (const [entries, line] of [
      [[entry('weight', 1, 64)], /sparse_linear\.pt: no tensor "bias" \(the file has "weight"\)/],
      [
        [entry('0.weight', 1, 64), entry('0.bias', 1)],
        /no tensor "weight" \(the file has "0\.weight", "0\.bias"\)/,
      ],
      [
        [entry('weight', 1, 64), entry('bias', 1), entry('scale', 1)],
        /expected the tensors "weight" and "bias" alone, found "scale" too/,
      ],
      [[], /no tensor "weight" \(the file has none\)/],
    ] as const) {
      const source = made({});
      fs.rmSync(path.join(source, 'sparse_linear.pt'));
      writeTorchFile(path.join(source, 'sparse_linear.pt'), entries);
      assert.throws(() => M3Model.load(gpu, source), { name: 'InputError', message: line });
    }
  });
  await t.test('links to files elsewhere', () => {
    for (const name of ['config.json', 'model.safetensors', 'colbert_linear.pt', 'tokenizer.json']) {
      const source = made({});
      fs.rmSync(path.join(source, name));
      fs.symlinkSync(golden('model', name), path.join(source, name));
      assert.throws(
        () => {
          M3Model.load(gpu, source).dispose();
          Tokenizer.load(source);
        },
        { name: 'InputError', message: /expected a file of this folder, found a link to/ },
        name,
      );
    }
  });
  await t.test('folders that are links to elsewhere', () => {
    for (const [inner, files] of [
      ['0_Transformer', ['config.json', 'model.safetensors', 'tokenizer.json']],
      ['1_Pooling', ['config.json']],
    ] as const) {
      const outside = made({});
      const source = made({});
      fs.symlinkSync(outside, path.join(source, inner));
      const module = (folder: string, type: string) => ({
        path: folder,
        type: `sentence_transformers.models.${type}`,
      });
      const encoder = inner === '0_Transformer' ? inner : '';
      fs.writeFileSync(
        path.join(source, 'modules.json'),
        JSON.stringify([module(encoder, 'Transformer'), module('1_Pooling', 'Pooling')]),
      );
      for (const file of files)
        assert.throws(
          () => requireInside(source, path.join(source, inner, file)),
          { name: 'InputError', message: /expected a file of this folder, found a link to/ },
          `${inner}/${file}`,
        );
      assert.throws(
        () => M3Model.load(gpu, source).dispose(),
        { name: 'InputError', message: /expected a file of this folder, found a link to/ },
        inner,
      );
    }
  });
});

test('every bit pattern that is not finite is found, and no other', () => {
  const bits = (value: number) => new Float32Array(Uint32Array.of(value).buffer)[0]!;
  const finite = [
    0,
    -0,
    1,
    -1,
    bits(1),
    bits(0x7f7fffff),
    bits(0xff7fffff),
    bits(0x007fffff),
    bits(0x80000001),
  ];
  assert.ok(allFinite(Float32Array.from([...finite, ...finite])));
  for (const value of [0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0xffffffff, 0x7fffffff])
    for (let at = 0; at < 7; at++) {
      const data = new Uint32Array(7);
      data[at] = value;
      assert.ok(!allFinite(new Float32Array(data.buffer)), `${value.toString(16)} at ${at}`);
    }
});

const wrong: [string, unknown][] = [
  ...[
    'hidden_size',
    'num_hidden_layers',
    'num_attention_heads',
    'intermediate_size',
    'vocab_size',
    'type_vocab_size',
    'max_position_embeddings',
  ].flatMap((key) =>
    [null, 0, -1, 1.5, '12', true, [12], {}, 1e30, 1e15].map((value): [string, unknown] => [key, value]),
  ),
  ...['hidden_dropout_prob', 'attention_probs_dropout_prob'].flatMap((key) =>
    [5, -0.1, 1.0001, null, '0.1', [0.1]].map((value): [string, unknown] => [key, value]),
  ),
  ...[0.5, -1, 4000, null, '1', 1e9, true].map((value): [string, unknown] => ['pad_token_id', value]),
  ...[0, -1e-5, 2, null, '1e-5', 1e-50].map((value): [string, unknown] => ['layer_norm_eps', value]),
  ...['toString', 'constructor', '__proto__', null, 'swish', 5].map((value): [string, unknown] => [
    'hidden_act',
    value,
  ]),
  ...['toString', '__proto__', null, 'gpt2', 1, ['bert']].map((value): [string, unknown] => [
    'model_type',
    value,
  ]),
  ['position_embedding_type', 'relative_key'],
  ['position_embedding_type', null],
  ['is_decoder', true],
  ['add_cross_attention', true],
  ['pruned_heads', { 0: [1] }],
  ['initializer_range', -1],
  ['max_position_embeddings', 3],
];

test('every wrong value in config.json is one line that names the key', () => {
  for (const [key, value] of wrong)
    assert.throws(
      () => parseEncoderConfig({ ...config, [key]: value }),
      (error: unknown) => {
        assert.ok(error instanceof InputError, `${key} ${value}: ${error}`);
        const named =
          key === 'hidden_size'
            ? /(hidden_size|num_attention_heads): expected/
            : new RegExp(`config\\.json: ${key}: expected .*found `);
        assert.match(error.message, named);
        return true;
      },
      `${key} ${JSON.stringify(value)}`,
    );
});

test('options that are none are refused, not taken for whatever comes last', () => {
  const live = gpu.memory().liveBuffers;
  for (const options of [
    { pooling: 'max' },
    { precision: 'bf16' },
    { activation: 'swish' },
    { colbertDim: 1.5 },
    { colbertDim: Number.NaN },
    { seed: Number.NaN },
  ] as unknown as M3Options[]) {
    assert.throws(() => M3Model.load(gpu, golden('model'), options), /^TypeError: M3Model: \w+ must be/);
    const config = parseEncoderConfig(JSON.parse(fs.readFileSync(golden('model', 'config.json'), 'utf8')));
    assert.throws(() => M3Model.random(gpu, config, options), /^TypeError: M3Model: \w+ must be/);
  }
  assert.equal(gpu.memory().liveBuffers, live);
});

test('weights that are not finite are not saved: the folder could not be loaded again', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'not-finite-'));
  const model = M3Model.load(gpu, golden('model'));
  for (const [name, value] of [
    ['sparse_linear.bias', Number.NaN],
    ['model.embeddings.word_embeddings.weight', Infinity],
  ] as const) {
    const weight = model.store.get(name);
    const [before] = await weight.toFloat32();
    weight.write([value]);
    await assert.rejects(
      model.save(folder),
      new RegExp(`^MachineError: the weight "${name}" is not finite \\(${value}\\): nothing is saved`),
    );
    assert.ok(!fs.existsSync(path.join(folder, 'config.json')));
    weight.write([before!]);
  }
  await model.save(folder);
  M3Model.load(gpu, folder).dispose();
  model.dispose();
  fs.rmSync(folder, { recursive: true });
});
