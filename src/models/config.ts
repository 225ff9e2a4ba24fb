/** `config.json` of XLM-RoBERTa, RoBERTa and BERT encoders: what the forward pass needs, checked. */
import path from 'node:path';
import { InputError } from '../errors.js';
import { readJsonObject } from '../files/json.js';

export interface EncoderConfig {
  readonly family: 'xlm-roberta' | 'bert';
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly intermediateSize: number;
  readonly vocabSize: number;
  readonly maxPositions: number;
  readonly typeVocabSize: number;
  readonly layerNormEps: number;
  readonly hiddenDropout: number;
  readonly attentionDropout: number;
  /** The row of the word embeddings that does not train; undefined: a BERT without padding (`null` in the file). */
  readonly padId: number | undefined;
  readonly initializerRange: number;
  readonly activation: 'gelu' | 'geluTanh' | 'relu';
  /** Most tokens of one text: RoBERTa counts positions from padId + 1. */
  readonly maxTokens: number;
  /** The file as it was, to be written back. */
  readonly raw: Readonly<Record<string, unknown>>;
}

const activations: Record<string, EncoderConfig['activation']> = {
  gelu: 'gelu',
  gelu_new: 'geluTanh',
  gelu_pytorch_tanh: 'geluTanh',
  relu: 'relu',
};

/** @throws InputError naming file and key. */
export function readEncoderConfig(folder: string): EncoderConfig {
  const file = path.join(folder, 'config.json');
  return parseEncoderConfig(readJsonObject(file), file);
}

export function parseEncoderConfig(raw: Record<string, unknown>, file = 'config.json'): EncoderConfig {
  const fail = (key: string, expected: string) =>
    new InputError(`${file}: ${key}: expected ${expected}, found ${JSON.stringify(raw[key])}`);
  const number = (key: string, fallback?: number) => {
    const value = raw[key] ?? fallback;
    if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw fail(key, 'a number');
    return value;
  };
  const count = (key: string, fallback?: number) => {
    const value = number(key, fallback);
    if (!Number.isInteger(value) || value < 1) throw fail(key, 'a positive integer');
    return value;
  };
  const type = raw['model_type'];
  const family =
    type === 'xlm-roberta' || type === 'roberta' ? 'xlm-roberta' : type === 'bert' ? 'bert' : undefined;
  if (!family) throw fail('model_type', '"xlm-roberta", "roberta" or "bert"');
  const embedding = raw['position_embedding_type'] ?? 'absolute';
  if (embedding !== 'absolute') throw fail('position_embedding_type', '"absolute"');
  const act = raw['hidden_act'] ?? 'gelu';
  const activation = typeof act === 'string' ? activations[act] : undefined;
  if (!activation) throw fail('hidden_act', Object.keys(activations).join(', '));
  const hiddenSize = count('hidden_size');
  const heads = count('num_attention_heads');
  const headDim = hiddenSize / heads;
  if (!Number.isInteger(headDim) || headDim % 4 !== 0 || headDim > 128)
    throw fail('num_attention_heads', `heads whose size divides ${hiddenSize} into multiples of 4 up to 128`);
  const maxPositions = count('max_position_embeddings', 512);
  const vocabSize = count('vocab_size');
  // An explicit null means that no row is padding; RoBERTa cannot number positions without one.
  const padId = raw['pad_token_id'] === null ? undefined : number('pad_token_id', family === 'bert' ? 0 : 1);
  if (padId === undefined ? family !== 'bert' : !Number.isInteger(padId) || padId >= vocabSize)
    throw fail('pad_token_id', `a token id below ${vocabSize}`);
  return {
    family,
    hiddenSize,
    layers: count('num_hidden_layers'),
    heads,
    intermediateSize: count('intermediate_size'),
    vocabSize,
    maxPositions,
    typeVocabSize: count('type_vocab_size', 1),
    layerNormEps: number('layer_norm_eps', 1e-12),
    hiddenDropout: number('hidden_dropout_prob', 0.1),
    attentionDropout: number('attention_probs_dropout_prob', 0.1),
    padId,
    initializerRange: number('initializer_range', 0.02),
    activation,
    maxTokens: family === 'bert' ? maxPositions : maxPositions - padId! - 1,
    raw,
  };
}
