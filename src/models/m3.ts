/**
 * BGE-M3 (Chen et al. 2024, arXiv:2402.03216): one encoder, three ways to score: dense (a pooled vector), sparse
 * (a weight per token id) and ColBERT (a vector per token). The folder is read and written by m3-folder.ts.
 */
import {
  gatherRows,
  linear,
  normalizeRows,
  relu,
  reshape,
  segmentMean,
  sliceRows,
} from '../autograd/index.js';
import type { Parameter } from '../autograd/parameter.js';
import { ParameterStore } from '../autograd/parameter-store.js';
import type { Gpu } from '../gpu/gpu.js';
import { fillNormal } from '../kernels/random.js';
import { CounterRandom } from '../tensor/random.js';
import { RowIndex } from '../tensor/row-index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { SavedFormat } from '../weights/saved-weights.js';
import { type EncoderConfig, parseEncoderConfig } from './config.js';
import { type EncodeOptions, encode } from './encoder.js';
import { lackOfHead, type M3Parts, m3Contents, readM3, weightPieces } from './m3-folder.js';
import {
  checkOptions,
  ENCODER_PREFIX,
  type HEADS,
  initializeHead,
  type M3Options,
  type M3Settings,
  parameterSpecs,
  settingsOf,
} from './m3-parameters.js';
import type { CardDetails } from './model-card.js';
import type { ModelFolderContents } from './model-folder.js';
import { saveModelFolder } from './output-folder.js';
import type { Representations } from './scores.js';
import { PLAIN_TEXTS, type TextSettings } from './sentence-files.js';
import type { TokenBatch } from './token-batch.js';

/** A tokenizer's files, name to bytes, which are written along with a model. */
export interface TokenizerFiles {
  /** By their names in the folder. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/**
 * A BGE-M3 model: an encoder with dense, lexical and multi-vector heads. `load` reads its folder, `save` writes one.
 */
export class M3Model {
  /** Sizes of the encoder, as config.json has them. */
  readonly config: EncoderConfig;
  /** Pooling, normalisation and the width of the ColBERT head. */
  readonly settings: M3Settings;
  /** How texts are put to it, unless whoever encodes them says otherwise. */
  readonly texts: TextSettings;
  /** All parameters, heads included. */
  readonly store: ParameterStore;
  /** One line each, e.g. a head that was missing. */
  readonly notices: readonly string[];

  private constructor(
    /** The device of its weights. */
    readonly gpu: Gpu,
    private readonly parts: M3Parts,
  ) {
    this.config = parts.config;
    this.settings = parts.settings;
    this.texts = parts.texts;
    this.store = parts.store;
    this.notices = parts.notices;
  }

  // ---- making ----------------------------------------------------------------------------------------------

  /**
   * Reads a model folder. What the options leave open of pooling, normalisation and texts is as the folder's files of
   * sentence-transformers say; without them, cls and normalised, as FlagEmbedding has it. A head whose
   * file is missing starts random for training, with a line in `notices`; until its weights are written, encoding with it
   * is refused. On a planning device (`Gpu.plan`) the files are checked, but their numbers are not read.
   * @throws InputError for what is wrong with the folder, TypeError for options that are none.
   */
  static load(gpu: Gpu, folder: string, options: M3Options = {}): M3Model {
    checkOptions(options);
    return new M3Model(gpu, readM3(gpu, folder, options));
  }

  /** A model whose weights are not set: for `random`, and to learn what a model takes. */
  static empty(gpu: Gpu, config: EncoderConfig, options: M3Options = {}): M3Model {
    checkOptions(options);
    const settings = settingsOf(options);
    const store = new ParameterStore(gpu, parameterSpecs(config, settings, options), options.precision);
    const texts = { ...PLAIN_TEXTS, ...options.texts };
    return new M3Model(gpu, { config, settings, texts, store, unused: new Map(), notices: [], drawn: [] });
  }

  /** A model of random weights: normal(0, initializer_range), as transformers draws them, but on the device. */
  static random(gpu: Gpu, config: EncoderConfig | Record<string, unknown>, options: M3Options = {}): M3Model {
    const parsed = 'raw' in config ? (config as EncoderConfig) : parseEncoderConfig(config);
    const model = M3Model.empty(gpu, parsed, options);
    const { store } = model;
    const seed = options.seed ?? 42;
    const random = new CounterRandom(seed, [0]);
    for (const [stream, parameter] of store.parameters.entries()) {
      const { name, tensor } = parameter;
      if (!name.startsWith(ENCODER_PREFIX)) initializeHead(parameter, parsed.hiddenSize, random);
      else if (name.includes('LayerNorm.weight')) tensor.write(new Float32Array(tensor.size).fill(1));
      else if (name.includes('bias')) tensor.fillZero();
      else fillNormal(tensor, parsed.initializerRange, { seed, stream });
      // The row of the padding token is zero, as in nn.Embedding.
      if (name.endsWith('word_embeddings.weight') && parsed.padId !== undefined)
        tensor.write(new Float32Array(parsed.hiddenSize), parsed.padId * parsed.hiddenSize);
    }
    store.refreshHalves();
    return model;
  }

  /** What an optimiser takes: all parameters but those that were made not to train (`trainable`). */
  parameters(): Parameter[] {
    return this.store.parameters.filter(({ trainable }) => trainable);
  }

  /** False for a head that was drawn at random, as the folder has no file of it, and was not written since. */
  hasHead(name: (typeof HEADS)[number]): boolean {
    return this.drawnHead(name) === undefined;
  }

  /**
   * For whoever shows what a head makes of texts. `way`: what does without, before a comma.
   * @throws InputError where there is none (`hasHead`): what it would give means nothing.
   */
  requireHead(name: (typeof HEADS)[number], way = ''): void {
    const drawn = this.drawnHead(name);
    if (drawn) throw lackOfHead(drawn.folder, name, way);
  }

  private drawnHead(name: (typeof HEADS)[number]) {
    const { version } = this.store.get(`${name}.weight`);
    return this.parts.drawn.find((drawn) => drawn.name === name && drawn.version === version.current);
  }

  // ---- running -----------------------------------------------------------------------------------------------

  /** Last hidden states [T, hidden]. */
  hidden(batch: TokenBatch, options: EncodeOptions = {}): Tensor {
    return encode(this.store, ENCODER_PREFIX, this.config, batch, options);
  }

  /** [S, width], pooled and normalised; a `width` below the hidden size leaves the first values, cut before that. */
  dense(hidden: Tensor, batch: TokenBatch, width = this.config.hiddenSize): Tensor {
    const { pooling } = this.settings;
    const pooled =
      pooling === 'mean' ? segmentMean(hidden, batch.packed) : gatherRows(hidden, pooledRows(batch, pooling));
    return this.finished(pooled, width);
  }

  /**
   * The same where nothing else is wanted of the batch: but for means, the last layer computes the pooled rows alone. Its
   * products may be of another kernel's then, so that the last bits differ from those of `dense`.
   */
  denseAlone(batch: TokenBatch, width = this.config.hiddenSize): Tensor {
    const { pooling } = this.settings;
    // Rows are gathered in f32.
    if (pooling === 'mean' || this.store.precision === 'f16')
      return this.dense(this.hidden(batch), batch, width);
    return this.finished(this.hidden(batch, { only: pooledRows(batch, pooling) }), width);
  }

  private finished(pooled: Tensor, width: number): Tensor {
    const cut = width < pooled.cols ? firstColumns(pooled, width) : pooled;
    return this.settings.normalize ? normalized(cut) : cut;
  }

  /** Values of a ColBERT vector. */
  get colbertWidth(): number {
    return this.store.get('colbert_linear.weight').rows;
  }

  /**
   * Token vectors [T, width]; those of first tokens (CLS) are not used by any score. A `width` below the head's leaves
   * the first values, cut before they are normalised.
   */
  colbert(hidden: Tensor, width = this.colbertWidth): Tensor {
    const weight = this.store.get('colbert_linear.weight');
    const bias = this.store.get('colbert_linear.bias');
    const vectors =
      width < this.colbertWidth
        ? linear(hidden, sliceRows(weight, 0, width), sliceRows(bias, 0, width))
        : linear(hidden, weight, bias);
    return this.settings.normalize ? normalized(vectors) : vectors;
  }

  /** Token weights [T], not negative. */
  sparse(hidden: Tensor): Tensor {
    const weights = linear(
      hidden,
      this.store.get('sparse_linear.weight'),
      this.store.get('sparse_linear.bias'),
    );
    return reshape(relu(weights), [hidden.rows]);
  }

  /** What the losses see of a batch: without `heads` the dense vectors only. */
  represent(hidden: Tensor, batch: TokenBatch, heads: boolean): Representations {
    const dense = this.dense(hidden, batch);
    return heads ? { dense, sparse: this.sparse(hidden), colbert: this.colbert(hidden) } : { dense };
  }

  // ---- saving ------------------------------------------------------------------------------------------------

  /**
   * What the folder of this model holds, beside `files` (by name): the description that every save goes by. Weights
   * that are not finite are a MachineError when they are read: no folder with them could be loaded again.
   */
  contents(
    files: ReadonlyMap<string, string | Uint8Array> = new Map(),
    format: SavedFormat = {},
    card: CardDetails = {},
  ): ModelFolderContents {
    return m3Contents(this.parts, files, format, card);
  }

  /**
   * Writes config.json, the weights, the two heads, the files of sentence-transformers, a model card and the tokenizer's
   * files: the folder then holds this model whole, or, when the process is killed meanwhile, what it held before or no
   * config.json. `format`: rounded to f16 or bf16, or in shards. @throws MachineError when another process writes there,
   * and for a weight beyond the format.
   */
  async save(folder: string, tokenizer?: TokenizerFiles, format?: SavedFormat): Promise<void> {
    await saveModelFolder(folder, this.contents(tokenizer?.files, format));
  }

  /** All weights in pieces, part after part under the names that files give them. */
  weightPieces(): AsyncGenerator<{
    /** Of the part, as weight files have it. */
    name: string;
    /** Its next elements, row-major, f32. */
    data: Float32Array;
  }> {
    return weightPieces(this.parts);
  }

  /** Weights by part name, on the host: for checks. */
  async readWeights(): Promise<Map<string, Float32Array>> {
    const pieces = new Map<string, Float32Array[]>();
    for await (const { name, data } of this.weightPieces()) {
      const list = pieces.get(name);
      if (list) list.push(data);
      else pieces.set(name, [data]);
    }
    const result = new Map<string, Float32Array>();
    for (const [name, list] of pieces) {
      const whole = new Float32Array(list.reduce((sum, piece) => sum + piece.length, 0));
      let at = 0;
      for (const piece of list) {
        whole.set(piece, at);
        at += piece.length;
      }
      result.set(name, whole);
    }
    return result;
  }

  /** Frees all parameters and their gradients. */
  dispose(): void {
    this.store.dispose();
  }
}

/** The vectors themselves are not needed any more. */
function normalized(vectors: Tensor): Tensor {
  const result = normalizeRows(vectors);
  vectors.dispose();
  return result;
}

/** The tokens that stand for their texts. */
const pooledRows = ({ first, last }: TokenBatch, pooling: 'cls' | 'last_token'): RowIndex =>
  pooling === 'cls' ? first : last;

/** [R, width] of [R, C], as a gather of the longest pieces that both widths are made of. */
function firstColumns(vectors: Tensor, width: number): Tensor {
  const { rows, cols } = vectors;
  const piece = greatestCommonDivisor(cols, width);
  const [kept, all] = [width / piece, cols / piece];
  const pieces = Uint32Array.from({ length: rows * kept }, (_, i) => Math.floor(i / kept) * all + (i % kept));
  const index = new RowIndex(vectors.gpu, pieces);
  const result = reshape(gatherRows(reshape(vectors, [rows * all, piece]), index), [rows, width]);
  index.dispose();
  vectors.dispose();
  return result;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
