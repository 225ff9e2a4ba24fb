/**
 * Modules: layers with named parameters, first values, and state that PyTorch reads and writes.
 *
 * @packageDocumentation
 */

export { Parameter } from '../autograd/parameter.js';
export { type AttendOptions, MultiHeadAttention, type MultiHeadAttentionOptions } from './attention.js';
export {
  type DecodeOptions,
  DecoderLayer,
  type DecoderLayerOptions,
  RotaryAttention,
  type RotaryAttentionOptions,
  SwiGLU,
} from './decoder.js';
export { constant_, kaimingUniform_, normal_, uniform_, xavierUniform_ } from './initialize.js';
export {
  Dropout,
  Embedding,
  type EmbeddingOptions,
  type Ids,
  type Layer,
  LayerNorm,
  Linear,
  type LinearOptions,
  type NormOptions,
  type RandomOptions,
  RMSNorm,
  Sequential,
} from './layers.js';
export { type Held, Module, type ParameterOptions, parameter, type SaveOptions } from './module.js';
export { defaultRandom, manualSeed } from './random.js';
export type { LoadOptions, LoadReport, StateDict } from './state-dict.js';
export { TransformerEncoder, TransformerEncoderLayer, type TransformerLayerOptions } from './transformer.js';
