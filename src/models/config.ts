/**
 * `config.json` of XLM-RoBERTa, RoBERTa and BERT encoders: what the forward pass needs, checked, and the same file for
 * the weights that are written. What a key means and its default are those of transformers' configuration classes.
 */
import path from 'node:path';
import { InputError } from '../errors.js';
import { requireInside } from '../files/inside.js';
import { type JsonObject, readJsonObject } from '../files/json.js';
import { printable, show } from '../show.js';
import { encoderFolder } from '../tokenizer/folder.js';
import { type SavedDType, torchNameOf } from '../weights/saved-weights.js';
import { requireModelFolder } from './hub-cache.js';
import { CONFIG_FILE } from './model-folder.js';

/** The sizes of an XLM-RoBERTa or BERT encoder, from its folder's `config.json`. */
export interface EncoderConfig {
  /** How positions are counted and what tensors are called. */
  readonly family: 'xlm-roberta' | 'bert';
  /** Width of the hidden states, and of the dense vectors. */
  readonly hiddenSize: number;
  /** How many layers. */
  readonly layers: number;
  /** Attention heads of a layer, each of hiddenSize / heads values: a multiple of 4, at most 128. */
  readonly heads: number;
  /** Width within the feed-forward. */
  readonly intermediateSize: number;
  /** Rows of the word embeddings. */
  readonly vocabSize: number;
  /** Rows of the position embeddings; how long texts may be is `maxTokens`. */
  readonly maxPositions: number;
  /** Rows of the token type embeddings. */
  readonly typeVocabSize: number;
  /** ε of every LayerNorm. */
  readonly layerNormEps: number;
  /** While training: of embeddings and of both branches of a layer. */
  readonly hiddenDropout: number;
  /** While training: of attention's weights. */
  readonly attentionDropout: number;
  /** The row of the word embeddings that does not train; undefined: a BERT without padding (`null` in the file). */
  readonly padId: number | undefined;
  /** Standard deviation of random weights. */
  readonly initializerRange: number;
  /** Within the feed-forward; `geluTanh` is the approximation. */
  readonly activation: 'gelu' | 'geluTanh' | 'relu';
  /** Most tokens of one text: RoBERTa counts positions from padId + 1. */
  readonly maxTokens: number;
  /** The file as it was. */
  readonly raw: Readonly<Record<string, unknown>>;
}

const activations = new Map<unknown, EncoderConfig['activation']>([
  ['gelu', 'gelu'],
  ['gelu_new', 'geluTanh'],
  ['gelu_pytorch_tanh', 'geluTanh'],
  ['relu', 'relu'],
]);

interface ModelType {
  readonly family: EncoderConfig['family'];
  /** The class of transformers that has the encoder and nothing else. */
  readonly architecture: string;
  readonly padId: number;
}

const modelTypes = new Map<unknown, ModelType>([
  ['xlm-roberta', { family: 'xlm-roberta', architecture: 'XLMRobertaModel', padId: 1 }],
  ['roberta', { family: 'xlm-roberta', architecture: 'RobertaModel', padId: 1 }],
  ['bert', { family: 'bert', architecture: 'BertModel', padId: 0 }],
]);

/** No dimension of a published encoder comes near; beyond, products of two of them would be no exact integers. */
const LARGEST_SIZE = 2 ** 26;
/** Smallest normal float32: the kernels compute with nothing less. */
const SMALLEST_EPS = 2 ** -126;

/** @throws InputError naming file and key. */
export function readEncoderConfig(folder: string): EncoderConfig {
  requireModelFolder(folder);
  const file = path.join(encoderFolder(folder), CONFIG_FILE);
  requireInside(folder, file);
  return parseEncoderConfig(readJsonObject(file), file);
}

/** @throws InputError naming file and key. */
export function parseEncoderConfig(raw: JsonObject, file = 'config.json'): EncoderConfig {
  const given = (key: string): unknown => (Object.hasOwn(raw, key) ? raw[key] : undefined);
  const fail = (key: string, expected: string) =>
    new InputError(`${printable(file)}: ${key}: expected ${expected}, found ${show(given(key))}`);
  /** A number from `least` to `most`; absent (not null): `fallback`. */
  const number = (key: string, expected: string, least: number, most: number, fallback?: number): number => {
    const value = given(key) === undefined ? fallback : given(key);
    if (typeof value !== 'number' || !(value >= least && value <= most)) throw fail(key, expected);
    return value;
  };
  const integer = (key: string, expected: string, least: number, most: number, fallback?: number): number => {
    const value = number(key, expected, least, most, fallback);
    if (!Number.isInteger(value)) throw fail(key, expected);
    return value;
  };
  const size = (key: string, fallback?: number) =>
    integer(key, `a whole number from 1 to ${LARGEST_SIZE}`, 1, LARGEST_SIZE, fallback);
  const probability = (key: string) => number(key, 'a number from 0 to 1', 0, 1, 0.1);
  /** For what this encoder cannot be: absent, false, null and empty are its absence. */
  const refuse = (key: string, expected: string) => {
    const value = given(key) ?? false;
    if (value !== false && !(typeof value === 'object' && Object.keys(value).length === 0))
      throw fail(key, expected);
  };

  const type = modelTypes.get(given('model_type'));
  if (!type) throw fail('model_type', [...modelTypes.keys()].map((name) => `"${name}"`).join(', '));
  refuse('is_decoder', 'false (attention in both directions)');
  refuse('add_cross_attention', 'false (an encoder alone)');
  refuse('pruned_heads', 'none (every layer with all its heads)');
  // Null is another thing than absent here: transformers then adds no positions at all.
  const positions = given('position_embedding_type');
  if (positions !== undefined && positions !== 'absolute')
    throw fail('position_embedding_type', '"absolute"');
  const activation = activations.get(given('hidden_act') === undefined ? 'gelu' : given('hidden_act'));
  if (!activation) throw fail('hidden_act', [...activations.keys()].join(', '));
  const hiddenSize = size('hidden_size');
  const heads = size('num_attention_heads');
  const headDim = hiddenSize / heads;
  if (!Number.isInteger(headDim) || headDim % 4 !== 0 || headDim > 128)
    throw fail('num_attention_heads', `heads whose size divides ${hiddenSize} into multiples of 4 up to 128`);
  const vocabSize = size('vocab_size');
  const maxPositions = size('max_position_embeddings', 512);
  const padding = `the id of the padding token, below vocab_size (${vocabSize})`;
  // An explicit null means that no row is padding; RoBERTa cannot number positions without one.
  const padId =
    given('pad_token_id') === null && type.family === 'bert'
      ? undefined
      : integer('pad_token_id', padding, 0, vocabSize - 1, type.padId);
  const firstPosition = type.family === 'bert' ? 0 : padId! + 1;
  const maxTokens = maxPositions - firstPosition;
  if (maxTokens < 2)
    throw fail('max_position_embeddings', `positions for two tokens, the first of them ${firstPosition}`);
  return {
    family: type.family,
    hiddenSize,
    layers: size('num_hidden_layers'),
    heads,
    intermediateSize: size('intermediate_size'),
    vocabSize,
    maxPositions,
    typeVocabSize: size('type_vocab_size', 2),
    layerNormEps: number('layer_norm_eps', 'a number above 0 and at most 1', SMALLEST_EPS, 1, 1e-12),
    hiddenDropout: probability('hidden_dropout_prob'),
    attentionDropout: probability('attention_probs_dropout_prob'),
    padId,
    initializerRange: number('initializer_range', 'a number from 0 to 1000', 0, 1000, 0.02),
    activation,
    maxTokens,
    raw,
  };
}

/**
 * Keys that say something of the base that is not true of an encoder written here by its bare names: how
 * its numbers were packed, a head that is not written, code of the base's own, where it came from.
 */
const NOT_WRITTEN = new Set([
  'quantization_config',
  'compression_config',
  'use_bfloat16',
  'auto_map',
  'custom_pipelines',
  'adapters',
  'id2label',
  'label2id',
  'num_labels',
  '_num_labels',
  'problem_type',
  'finetuning_task',
  'task_specific_params',
  'attn_implementation',
  '_attn_implementation',
  '_attn_implementation_internal',
  '_attn_implementation_autoset',
  'pruned_heads',
  '_name_or_path',
  '_commit_hash',
  'transformers_version',
]);

/** The object for config.json beside weights of `config`'s shapes in this format. */
export function writtenConfig(config: EncoderConfig, dtype: SavedDType = 'f32'): JsonObject {
  const { raw } = config;
  const kept = Object.entries(raw).filter(([key]) => !NOT_WRITTEN.has(key));
  const act = raw['hidden_act'];
  const told: JsonObject = {
    architectures: [modelTypes.get(raw['model_type'])!.architecture],
    // transformers 5 reads the first, versions before 4.56 the second.
    dtype: torchNameOf[dtype],
    torch_dtype: torchNameOf[dtype],
    hidden_size: config.hiddenSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    intermediate_size: config.intermediateSize,
    vocab_size: config.vocabSize,
    max_position_embeddings: config.maxPositions,
    type_vocab_size: config.typeVocabSize,
    layer_norm_eps: config.layerNormEps,
    hidden_act:
      activations.get(act) === config.activation
        ? act
        : [...activations].find(([, activation]) => activation === config.activation)![0],
    pad_token_id: config.padId ?? null,
  };
  return { ...Object.fromEntries(kept), ...told };
}
