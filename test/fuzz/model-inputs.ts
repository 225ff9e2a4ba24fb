/** Whole model folders, of a model so small that a damaged one is loaded in a millisecond. */
import type { Capabilities } from '../../src/gpu/capabilities.js';
import { Gpu } from '../../src/gpu/gpu.js';
import { parseEncoderConfig } from '../../src/models/config.js';
import { encoderParameters } from '../../src/models/encoder.js';
import { M3Model } from '../../src/models/m3.js';
import { legacyTorchFile, tensorPickle, zipTorchFile } from '../torch-bytes.js';
import { damageBytes } from './bytes.js';
import { wordsOf } from './corpus.js';
import { damageTree, textOf, treeOf } from './json.js';
import type { FuzzRandom } from './random.js';
import { frameSafetensors } from './weight-inputs.js';

export const config = {
  architectures: ['XLMRobertaModel'],
  model_type: 'xlm-roberta',
  vocab_size: 20,
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 16,
  max_position_embeddings: 18,
  type_vocab_size: 1,
  pad_token_id: 1,
  bos_token_id: 0,
  eos_token_id: 2,
  layer_norm_eps: 1e-5,
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  hidden_act: 'gelu',
  initializer_range: 0.02,
  position_embedding_type: 'absolute',
  dtype: 'float32',
  use_cache: true,
};

const SENTENCE_FILES = {
  'modules.json': [
    { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
    { idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
    { idx: 2, name: '2', path: '2_Normalize', type: 'sentence_transformers.models.Normalize' },
  ],
  '1_Pooling/config.json': {
    word_embedding_dimension: 8,
    pooling_mode: 'cls',
    pooling_mode_mean_tokens: true,
  },
  'sentence_bert_config.json': {
    max_seq_length: 8,
    do_lower_case: false,
    tokenizer_args: { model_max_length: 8 },
  },
  'config_sentence_transformers.json': {
    prompts: { query: 'q: ', document: null },
    default_prompt_name: 'query',
    similarity_fn_name: 'cosine',
    truncate_dim: null,
  },
};

const once = <T>(make: () => T): (() => T) => {
  let value: T | undefined;
  return () => (value ??= make());
};
const words = once(() => wordsOf('models'));

function header(random: FuzzRandom): { entries: Record<string, unknown>; bytes: number } {
  const entries: Record<string, unknown> = {};
  const prefix = random.pick(['', '', '', 'roberta.', 'bert.', 'model.', 'module.', '0.auto_model.', 'x.']);
  const old = random.chance(0.1);
  let at = 0;
  const add = (name: string, shape: readonly number[]) => {
    const size = shape.reduce((product, extent) => product * extent, 4);
    const written = old
      ? name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')
      : name;
    entries[prefix + written] = { dtype: 'F32', shape, data_offsets: [at, at + size] };
    at += size;
  };
  for (const spec of encoderParameters(parseEncoderConfig(config)))
    for (const { name, shape } of spec.parts ?? [spec]) add(name, shape);
  if (random.chance(0.5)) add('pooler.dense.weight', [8, 8]);
  if (random.chance(0.1)) add('encoder.layer.2.output.dense.weight', [8, 16]);
  return { entries, bytes: at };
}

export function modelInput(random: FuzzRandom): Record<string, Uint8Array | string> {
  const { entries, bytes } = header(random);
  const tree = treeOf(entries);
  const names = Object.keys(entries);
  const weights = textOf(
    random.chance(0.3) ? damageTree(tree, random, [...names, 'F16', 'BF16', 'I64']) : tree,
  );
  const configTree = treeOf(config);
  const head = (rows: number) => {
    const wrong = random.chance(0.1);
    const shape = wrong ? [random.below(10), random.below(10)] : [rows, 8];
    const file = (random.chance(0.9) ? zipTorchFile : legacyTorchFile)(
      [
        ['weight', tensorPickle(64, { offset: 0, shape, strides: [8, 1] })],
        [random.chance(0.95) ? 'bias' : 'b', tensorPickle(64, { offset: 0, shape: [rows], strides: [1] })],
      ],
      64,
    );
    return random.chance(0.05) ? damageBytes(file, random) : file;
  };
  const data = random.chance(0.9) ? new Uint8Array(bytes) : random.bytes(bytes);
  const input: Record<string, Uint8Array | string> = {
    'config.json': textOf(random.chance(0.6) ? damageTree(configTree, random, words()) : configTree),
    'model.safetensors': frameSafetensors(weights, data),
  };
  if (random.chance(0.5))
    for (const [name, content] of Object.entries(SENTENCE_FILES)) {
      if (random.chance(0.1)) continue;
      const tree = treeOf(content);
      input[name] = textOf(random.chance(0.4) ? damageTree(tree, random, words()) : tree);
    }
  if (random.chance(0.8)) input['colbert_linear.pt'] = head(8);
  if (random.chance(0.8)) input['sparse_linear.pt'] = head(1);
  return input;
}

/** Of an adapter that does not exist; planning asks for little more. */
export const capabilities: Capabilities = {
  name: 'none',
  driver: 'none',
  software: true,
  shaderF16: false,
  subgroups: false,
  subgroupMinSize: 0,
  subgroupMaxSize: 0,
  subgroupMatrixConfigs: [],
  timestamps: false,
  maxBufferSize: 2 ** 31,
  maxBindingSize: 2 ** 27,
  bindingAlignment: 256,
  maxTextureSize: 8192,
  maxWorkgroupsPerDimension: 65535,
  maxWorkgroupInvocations: 256,
  maxWorkgroupMemory: 32768,
};

export function loadModel(folder: string): void {
  const model = M3Model.load(Gpu.plan({ capabilities }), folder);
  model.contents();
  model.dispose();
}
