/**
 * The transformer encoder of XLM-RoBERTa and BERT (post-LayerNorm, Devlin et al. 2019), over packed tokens:
 * embeddings → LayerNorm → layers of attention and feed-forward, each with residual and LayerNorm.
 */
import {
  add,
  attention,
  dropout,
  gatherRows,
  geluTanh,
  layerNorm,
  linear,
  linearGelu,
  relu,
  sliceRows,
} from '../autograd/index.js';
import type { ParameterSpec, ParameterStore } from '../autograd/parameters.js';
import type { RandomStream } from '../kernels/random.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import type { EncoderConfig } from './config.js';
import type { TokenBatch } from './token-batch.js';

/** Hands out a fresh stream per use of randomness; its state is two integers. */
export class RandomStreams {
  constructor(
    readonly seed: number,
    public counter = 0,
  ) {}

  next(): RandomStream {
    return { seed: this.seed, stream: this.counter++ };
  }
}

export interface EncodeOptions {
  /** Draw dropout from here; without it (inference) there is none. */
  dropout?: RandomStreams | undefined;
  /** Sees the embeddings' output (0) and every layer's (1…). */
  onHidden?: (layer: number, hidden: Tensor) => void;
}

const activation = { geluTanh, relu };

/** Names and shapes as in a Hugging Face weight file, without any prefix; query, key and value are fused. */
export function encoderParameters(config: EncoderConfig): Omit<ParameterSpec, 'decay' | 'trainable'>[] {
  const { hiddenSize: H, intermediateSize: F } = config;
  const dense = (name: string, out: number, input: number) => [
    { name: `${name}.weight`, shape: [out, input] },
    { name: `${name}.bias`, shape: [out] },
  ];
  const norm = (name: string) => [
    { name: `${name}.weight`, shape: [H] },
    { name: `${name}.bias`, shape: [H] },
  ];
  const layer = (i: number) => {
    const at = `encoder.layer.${i}`;
    const fused = (kind: 'weight' | 'bias', shape: number[]) => ({
      name: `${at}.attention.self.qkv.${kind}`,
      shape: [3 * H, ...shape.slice(1)],
      parts: ['query', 'key', 'value'].map((part, n) => ({
        name: `${at}.attention.self.${part}.${kind}`,
        start: n * H * (shape[1] ?? 1),
        shape,
      })),
    });
    return [
      fused('weight', [H, H]),
      fused('bias', [H]),
      ...dense(`${at}.attention.output.dense`, H, H),
      ...norm(`${at}.attention.output.LayerNorm`),
      ...dense(`${at}.intermediate.dense`, F, H),
      ...dense(`${at}.output.dense`, H, F),
      ...norm(`${at}.output.LayerNorm`),
    ];
  };
  return [
    { name: 'embeddings.word_embeddings.weight', shape: [config.vocabSize, H], table: true },
    { name: 'embeddings.position_embeddings.weight', shape: [config.maxPositions, H] },
    { name: 'embeddings.token_type_embeddings.weight', shape: [config.typeVocabSize, H] },
    ...norm('embeddings.LayerNorm'),
    ...Array.from({ length: config.layers }, (_, i) => layer(i)).flat(),
  ];
}

/** Last hidden states [T, hidden] of a packed batch. `prefix` precedes the parameter names in `store`. */
export function encode(
  store: ParameterStore,
  prefix: string,
  config: EncoderConfig,
  batch: TokenBatch,
  options: EncodeOptions = {},
): Tensor {
  const weight = (name: string) => store.get(`${prefix}${name}`);
  const drop = (x: Tensor) =>
    options.dropout && config.hiddenDropout > 0
      ? dropout(x, config.hiddenDropout, options.dropout.next())
      : x;
  const norm = (name: string, x: Tensor, residual?: Tensor) =>
    layerNorm(x, weight(`${name}.weight`), weight(`${name}.bias`), config.layerNormEps, residual);
  const dense = (name: string, x: Tensor) => linear(x, weight(`${name}.weight`), weight(`${name}.bias`));

  let hidden = scope(() => {
    const words = gatherRows(weight('embeddings.word_embeddings.weight'), batch.words);
    const positions = gatherRows(weight('embeddings.position_embeddings.weight'), batch.positions);
    // Every token is of type 0.
    const types = sliceRows(weight('embeddings.token_type_embeddings.weight'), 0, 1);
    return drop(norm('embeddings.LayerNorm', add(add(words, positions), types)));
  });
  options.onHidden?.(0, hidden);
  for (let i = 0; i < config.layers; i++) {
    const at = `encoder.layer.${i}`;
    const input = hidden;
    hidden = scope(() => {
      const qkv = dense(`${at}.attention.self.qkv`, input);
      const context = attention(
        qkv,
        batch.packed,
        config.heads,
        options.dropout && config.attentionDropout > 0
          ? { probability: config.attentionDropout, ...options.dropout.next() }
          : undefined,
      );
      const attended = norm(
        `${at}.attention.output.LayerNorm`,
        drop(dense(`${at}.attention.output.dense`, context)),
        input,
      );
      const widen = `${at}.intermediate.dense`;
      const inner =
        config.activation === 'gelu'
          ? linearGelu(attended, weight(`${widen}.weight`), weight(`${widen}.bias`))
          : activation[config.activation](dense(widen, attended));
      return norm(`${at}.output.LayerNorm`, drop(dense(`${at}.output.dense`, inner)), attended);
    });
    // The tape keeps what backward needs of it; this handle is no longer needed.
    input.dispose();
    options.onHidden?.(i + 1, hidden);
  }
  return hidden;
}
