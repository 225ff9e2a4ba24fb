/**
 * What an M3 model is made with: its settings, the options of loading one, and its parameters' names and shapes. No
 * files here; the folder is read and written in m3-folder.ts.
 */
import type { Parameter, ParameterSpec } from '../autograd/parameter.js';
import type { FloatDType } from '../kernels/launch/formats.js';
import { show } from '../show.js';
import type { CounterRandom } from '../tensor/random.js';
import { sizeOf } from '../tensor/shape.js';
import type { EncoderConfig } from './config.js';
import { encoderParameters } from './encoder.js';
import type { TextSettings } from './sentence-files.js';
import type { Pooling } from './token-batch.js';

/** What an M3 model computes, with its defaults. */
export interface M3Settings {
  /** Which token's state, or what of all of them, the dense vector is. */
  pooling: Pooling;
  /** L2-normalise dense and ColBERT vectors. */
  normalize: boolean;
  /** Width of the ColBERT head; ≤ 0: the hidden size. */
  colbertDim: number;
}

/** Pooling and normalisation that are not given are the folder's; where it says nothing, cls and normalised. */
export interface M3Options extends Partial<M3Settings> {
  /** Draws missing heads and random models. */
  seed?: number;
  /** Which parameters train, by part name (encoder names carry the prefix `model.`); default all. */
  trainable?: (name: string) => boolean;
  /** Which parameters decay; default all but biases and LayerNorm. */
  decay?: (name: string) => boolean;
  /** f16: mixed precision; weights stay f32, the encoder's layers compute on f16 copies of them. Default f32. */
  precision?: FloatDType;
  /** How texts are put to the model; what is not given, the folder says. */
  texts?: Partial<TextSettings>;
  /**
   * Heads that are going to be used: of a folder without the file of one, nothing is loaded, and of the other head nothing
   * is said. Not given: each head whose file is missing starts with random weights, with a notice.
   */
  needs?: readonly (typeof HEADS)[number][];
  /** Replaces the activation that config.json names. */
  activation?: EncoderConfig['activation'];
}

/** Prefix of encoder parameters, as in FlagEmbedding's wrapper: `model.encoder.layer.0…`. */
export const ENCODER_PREFIX = 'model.';
export const HEADS = ['colbert_linear', 'sparse_linear'] as const;

/** Hugging Face's rule: no weight decay on biases and LayerNorm. */
export const decaysByDefault = (name: string): boolean => !/bias|LayerNorm/.test(name);

/** @throws TypeError: a name that means nothing would otherwise stand for whatever comes last. */
export function checkOptions({ pooling, precision, activation, colbertDim, seed }: M3Options): void {
  const require = (name: string, value: unknown, expected: string, fits: boolean) => {
    if (value !== undefined && !fits)
      throw new TypeError(`M3Model: ${name} must be ${expected}, found ${show(value)}`);
  };
  const one = (name: string, value: unknown, ...of: string[]) =>
    require(name, value, of.join(' or '), of.includes(value as string));
  one('pooling', pooling, 'cls', 'mean', 'last_token');
  one('precision', precision, 'f32', 'f16');
  one('activation', activation, 'gelu', 'geluTanh', 'relu');
  require('colbertDim', colbertDim, 'a whole number', Number.isSafeInteger(colbertDim));
  require('seed', seed, 'a whole number', Number.isSafeInteger(seed));
}

/** `said`: by the model's folder. */
export function settingsOf(
  options: M3Options,
  said: { pooling?: Pooling | undefined; normalize?: boolean | undefined } = {},
): M3Settings {
  return {
    pooling: options.pooling ?? said.pooling ?? 'cls',
    normalize: options.normalize ?? said.normalize ?? true,
    colbertDim: options.colbertDim ?? -1,
  };
}

export function parameterSpecs(
  config: EncoderConfig,
  settings: M3Settings,
  options: M3Options,
): ParameterSpec[] {
  const width = settings.colbertDim > 0 ? settings.colbertDim : config.hiddenSize;
  const trainable = options.trainable ?? (() => true);
  const decay = options.decay ?? decaysByDefault;
  const heads = [
    { name: 'colbert_linear.weight', shape: [width, config.hiddenSize] },
    { name: 'colbert_linear.bias', shape: [width] },
    { name: 'sparse_linear.weight', shape: [1, config.hiddenSize] },
    { name: 'sparse_linear.bias', shape: [1] },
  ];
  return [
    ...encoderParameters(config).map((spec) => ({
      ...spec,
      group: 'encoder',
      name: ENCODER_PREFIX + spec.name,
      ...(spec.parts
        ? { parts: spec.parts.map((part) => ({ ...part, name: ENCODER_PREFIX + part.name })) }
        : {}),
    })),
    ...heads.map((spec) => ({ ...spec, stage: config.layers + 1, group: 'heads' })),
  ].map((spec) => ({ ...spec, trainable: trainable(spec.name), decay: decay(spec.name) }));
}

/** torch's Linear default: uniform in ±1/√in. */
export function initializeHead(parameter: Parameter, inputs: number, random: CounterRandom): void {
  if (parameter.tensor.gpu.planning) return;
  const bound = 1 / Math.sqrt(inputs);
  parameter.tensor.write(
    Float32Array.from({ length: sizeOf(parameter.shape) }, () => (random.uniform() * 2 - 1) * bound),
  );
}
