/**
 * The transformer encoder of XLM-RoBERTa and BERT (post-LayerNorm, Devlin et al. 2019), over packed tokens:
 * embeddings → LayerNorm → layers of attention and feed-forward, each with residual and LayerNorm.
 */
import {
  add,
  attention,
  checkpoint,
  dropout,
  gatherRows,
  geluTanh,
  layerNorm,
  linear,
  linearGelu,
  onBackward,
  relu,
  sliceRows,
} from '../autograd/index.js';
import type { ParameterSpec } from '../autograd/parameter.js';
import type { ParameterStore } from '../autograd/parameter-store.js';
import type { FloatDType } from '../kernels/launch/formats.js';
import type { RandomStreams } from '../tensor/random-streams.js';
import type { RowIndex } from '../tensor/row-index.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import type { EncoderConfig } from './config.js';
import type { TokenBatch } from './token-batch.js';

/** How an encoder runs: dropout, recomputation, which rows are wanted. */
export interface EncodeOptions {
  /** Draw dropout from here; without it (inference) there is none. */
  dropout?: RandomStreams | undefined;
  /** Keep only each layer's input for backward, and compute the layer again there. */
  recompute?: boolean | undefined;
  /**
   * The only rows of the result that are wanted, in their order: the last layer computes no others behind its attention,
   * and the result has as many. Of an f32 store.
   */
  only?: RowIndex | undefined;
  /** Sees the embeddings' output (0) and every layer's (1…). */
  onHidden?: (layer: number, hidden: Tensor) => void;
  /**
   * Called from inside backward with each stage (`encoderParameters`) that it has passed: gradients of that stage and of
   * later ones are complete then. Where a stage is not told, because nothing before it trains, the end of backward says
   * the same.
   */
  onBackward?: ((stage: number) => void) | undefined;
}

const activation = { geluTanh, relu };

/** use(x), and x is not needed any more: what backward wants of it the tape keeps, the rest is free at once. */
function consume(x: Tensor, use: (x: Tensor) => Tensor): Tensor {
  const y = use(x);
  if (y !== x) x.dispose();
  return y;
}

/**
 * Names and shapes as in a Hugging Face weight file, without any prefix; query, key and value are fused. Stage 0 are the
 * embeddings, 1 to `layers` the layers.
 */
export function encoderParameters(config: EncoderConfig): Omit<ParameterSpec, 'decay' | 'trainable'>[] {
  const { hiddenSize: H, intermediateSize: F } = config;
  const dense = (name: string, out: number, input: number) => [
    { name: `${name}.weight`, shape: [out, input], product: true },
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
      product: kind === 'weight',
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
    ].map((spec) => ({ ...spec, stage: i + 1 }));
  };
  return [
    { name: 'embeddings.word_embeddings.weight', shape: [config.vocabSize, H], table: true },
    { name: 'embeddings.position_embeddings.weight', shape: [config.maxPositions, H] },
    { name: 'embeddings.token_type_embeddings.weight', shape: [config.typeVocabSize, H] },
    ...norm('embeddings.LayerNorm'),
    ...Array.from({ length: config.layers }, (_, i) => layer(i)).flat(),
  ];
}

/**
 * Last hidden states [T, hidden] f32 of a packed batch. `prefix` precedes the parameter names in `store`. With an
 * f16 store the layers run in f16 and pass f16 on; embeddings are summed in f32, and the last LayerNorm writes f32. With
 * `only`, those rows [n, hidden].
 */
export function encode(
  store: ParameterStore,
  prefix: string,
  config: EncoderConfig,
  batch: TokenBatch,
  options: EncodeOptions = {},
): Tensor {
  const weight = (name: string) => store.get(`${prefix}${name}`);
  const stream = () => ({ ...options.dropout!.next(), firstRow: batch.firstToken });
  const drop = (x: Tensor) =>
    options.dropout && config.hiddenDropout > 0 ? dropout(x, config.hiddenDropout, stream()) : x;
  const norm = (name: string, x: Tensor, residual?: Tensor, dtype?: FloatDType) =>
    layerNorm(x, weight(`${name}.weight`), weight(`${name}.bias`), config.layerNormEps, residual, dtype);
  const dense = (name: string, x: Tensor, dtype?: FloatDType) =>
    linear(x, weight(`${name}.weight`), weight(`${name}.bias`), dtype);

  /** What follows a sublayer: its projection, dropout, and LayerNorm of the sum with what went in. */
  const output = (name: string, x: Tensor, residual: Tensor, dtype: FloatDType) =>
    consume(consume(dense(`${name}.dense`, x, 'f32'), drop), (branch) =>
      norm(`${name}.LayerNorm`, branch, residual, dtype),
    );

  const layer = (i: number, input: Tensor): Tensor => {
    const at = `encoder.layer.${i}`;
    const context = consume(dense(`${at}.attention.self.qkv`, input), (qkv) =>
      attention(
        qkv,
        batch.packed,
        config.heads,
        options.dropout && config.attentionDropout > 0
          ? { probability: config.attentionDropout, ...stream() }
          : undefined,
      ),
    );
    const only = i === config.layers - 1 ? options.only : undefined;
    const [own, residual] = only
      ? [consume(context, (x) => gatherRows(x, only)), gatherRows(input, only)]
      : [context, input];
    const attended = consume(own, (x) => output(`${at}.attention.output`, x, residual, store.precision));
    const widen = `${at}.intermediate.dense`;
    const inner =
      config.activation === 'gelu'
        ? linearGelu(attended, weight(`${widen}.weight`), weight(`${widen}.bias`))
        : consume(dense(widen, attended), activation[config.activation]);
    return consume(inner, (x) =>
      output(`${at}.output`, x, attended, i === config.layers - 1 ? 'f32' : store.precision),
    );
  };

  const embeddings = () => {
    // transformers builds both of RoBERTa's tables, but of BERT's only the words', with `padding_idx`.
    const words = gatherRows(weight('embeddings.word_embeddings.weight'), batch.words, {
      paddingIndex: config.padId,
    });
    const positions = gatherRows(weight('embeddings.position_embeddings.weight'), batch.positions, {
      paddingIndex: config.family === 'bert' ? undefined : config.padId,
    });
    const typeTable = weight('embeddings.token_type_embeddings.weight');
    // Of type 0 all of them, unless the batch says otherwise.
    const types = batch.types ? gatherRows(typeTable, batch.types) : sliceRows(typeTable, 0, 1);
    return drop(norm('embeddings.LayerNorm', add(add(words, positions), types), undefined, store.precision));
  };

  /** What stage `stage` begins with. */
  const begins = (stage: number, x: Tensor): Tensor => {
    const passed = options.onBackward;
    return passed ? consume(x, (input) => onBackward(input, () => passed(stage))) : x;
  };

  let hidden = options.recompute ? checkpoint(embeddings) : scope(embeddings);
  options.onHidden?.(0, hidden);
  for (let i = 0; i < config.layers; i++) {
    const input = begins(i + 1, hidden);
    hidden = options.recompute ? checkpoint((x) => layer(i, x), input) : scope(() => layer(i, input));
    // The tape keeps what backward needs of it; this handle is no longer needed.
    input.dispose();
    options.onHidden?.(i + 1, hidden);
  }
  // The heads follow.
  return begins(config.layers + 1, hidden);
}
