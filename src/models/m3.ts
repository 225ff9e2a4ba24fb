/**
 * BGE-M3 (Chen et al. 2024, arXiv:2402.03216): one encoder, three ways to score: dense (a pooled vector), sparse
 * (a weight per token id) and ColBERT (a vector per token). Reads and writes the model folder of FlagEmbedding:
 * config.json, model.safetensors, colbert_linear.pt, sparse_linear.pt, tokenizer files.
 */
import path from 'node:path';
import { gatherRows, linear, normalizeRows, relu, reshape, segmentMean } from '../autograd/index.js';
import {
  type Parameter,
  type ParameterPart,
  type ParameterSpec,
  ParameterStore,
} from '../autograd/parameters.js';
import { InputError, MachineError } from '../errors.js';
import { requireInside } from '../files/inside.js';
import { PositionedFile } from '../files/positioned.js';
import type { Gpu } from '../gpu/gpu.js';
import type { FloatDType } from '../kernels/launch/formats.js';
import { fillNormal } from '../kernels/random.js';
import { printable, show } from '../show.js';
import { CounterRandom } from '../tensor/random.js';
import { sizeOf } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { openWeights } from '../weights/open.js';
import type { WeightSource } from '../weights/source.js';
import { type TorchEntry, TorchFile } from '../weights/torch-file.js';
import { type EncoderConfig, parseEncoderConfig, readEncoderConfig, writtenConfig } from './config.js';
import { type EncodeOptions, encode, encoderParameters } from './encoder.js';
import {
  allFinite,
  findEncoderWeights,
  finitePieces,
  listed,
  type NeededWeight,
  requireLayers,
  requireTensor,
} from './encoder-weights.js';
import { CONFIG_FILE, type ModelFolderContents, watchFolder } from './model-folder.js';
import { saveModelFolder } from './output-folder.js';
import type { Representations } from './scores.js';
import type { Pooling, TokenBatch } from './token-batch.js';

export interface M3Settings {
  pooling: Pooling;
  /** L2-normalise dense and ColBERT vectors. */
  normalize: boolean;
  /** Width of the ColBERT head; ≤ 0: the hidden size. */
  colbertDim: number;
}

export interface M3Options extends Partial<M3Settings> {
  /** Draws missing heads and random models. */
  seed?: number;
  /** Which parameters train, by part name (encoder names carry the prefix `model.`); default all. */
  trainable?: (name: string) => boolean;
  /** Which parameters decay; default all but biases and LayerNorm. */
  decay?: (name: string) => boolean;
  /** f16: mixed precision; weights stay f32, the encoder's layers compute on f16 copies of them. Default f32. */
  precision?: FloatDType;
  /** Replaces the activation that config.json names. */
  activation?: EncoderConfig['activation'];
}

/** A tokenizer's files, name to bytes, which are written along with a model. */
export interface TokenizerFiles {
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** Prefix of encoder parameters, as in FlagEmbedding's wrapper: `model.encoder.layer.0…`. */
const ENCODER_PREFIX = 'model.';
const HEADS = ['colbert_linear', 'sparse_linear'] as const;
const UPLOAD_ELEMENTS = 4 << 20;

/** Hugging Face's rule: no weight decay on biases and LayerNorm. */
export const decaysByDefault = (name: string): boolean => !/bias|LayerNorm/.test(name);

export class M3Model {
  private constructor(
    readonly gpu: Gpu,
    readonly config: EncoderConfig,
    readonly settings: M3Settings,
    readonly store: ParameterStore,
    /** What the encoder does not use (the pooler), by bare name, to be written back unchanged. */
    private readonly unused: Map<string, { shape: readonly number[]; data: Float32Array }>,
    /** One line each, e.g. a head that was missing. */
    readonly notices: readonly string[],
  ) {}

  // ---- making ----------------------------------------------------------------------------------------------

  /**
   * Reads a model folder. A head whose file is missing starts random, with a notice. On a planning device
   * (`Gpu.plan`) the files are checked, but their numbers are not read.
   * @throws InputError for what is wrong with the folder, TypeError for options that are none.
   */
  static load(gpu: Gpu, folder: string, options: M3Options = {}): M3Model {
    checkOptions(options);
    const requireUnchanged = watchFolder(folder);
    const read = readEncoderConfig(folder);
    const config = options.activation ? { ...read, activation: options.activation } : read;
    const source = openWeights(folder);
    const opened: TorchFile[] = [];
    let store: ParameterStore | undefined;
    try {
      const settings = settingsOf(options);
      const notices: string[] = [];
      requireLayers(source, config, path.join(folder, CONFIG_FILE));
      const needed = encoderParameters(config).flatMap(
        (spec): readonly NeededWeight[] => spec.parts ?? [spec],
      );
      const found = findEncoderWeights(source, needed, config);
      if (found.others.length > 0)
        notices.push(
          `${printable(source.describe())}: not used and not written again: ${listed(found.others)}`,
        );
      const head = (file: string) => {
        const full = path.join(folder, file);
        if (PositionedFile.exists(full)) {
          requireInside(folder, full);
          const file = TorchFile.open(full);
          opened.push(file);
          return file;
        }
        notices.push(`${printable(full)}: no such file; this head starts with random weights`);
        return undefined;
      };
      const colbert = head('colbert_linear.pt');
      const sparse = head('sparse_linear.pt');
      if (colbert && !(options.colbertDim && options.colbertDim > 0))
        settings.colbertDim = colbert.info('weight').shape[0] ?? settings.colbertDim;
      const columns = colbert?.info('weight').shape[0];
      if (columns !== undefined && columns !== settings.colbertDim)
        throw new InputError(
          `--colbert_dim: expected ${columns}, as ${printable(path.join(folder, 'colbert_linear.pt'))} has, found ${settings.colbertDim}`,
        );
      const specs = parameterSpecs(config, settings, options);
      const heads = { colbert_linear: colbert, sparse_linear: sparse };
      for (const name of HEADS)
        for (const kind of ['weight', 'bias'])
          if (heads[name])
            requireTensor(heads[name], kind, specs.find((spec) => spec.name === `${name}.${kind}`)!.shape);
      store = new ParameterStore(gpu, specs, options.precision);
      const model = new M3Model(gpu, config, settings, store, new Map(), notices);
      for (const parameter of store.parameters) {
        if (parameter.name.startsWith(ENCODER_PREFIX))
          for (const part of parameter.parts)
            fill(parameter, part, source, found.stored.get(part.name.slice(ENCODER_PREFIX.length))!);
      }
      for (const name of HEADS) {
        const file = heads[name];
        const seed = new CounterRandom(options.seed ?? 42, name === 'colbert_linear' ? [1] : [2]);
        for (const kind of ['weight', 'bias'] as const) {
          const parameter = store.parameters.find((candidate) => candidate.name === `${name}.${kind}`)!;
          if (file) fill(parameter, parameter.parts[0]!, file, kind);
          else initializeHead(parameter, config.hiddenSize, seed);
        }
      }
      if (!gpu.planning)
        for (const { name, shape } of found.pooler) {
          const data = new Float32Array(sizeOf(shape));
          for (const piece of finitePieces(source, found.stored.get(name)!, UPLOAD_ELEMENTS))
            data.set(piece.data, piece.offset);
          model.unused.set(name, { shape, data });
        }
      requireUnchanged();
      store.refreshHalves();
      return model;
    } catch (error) {
      store?.dispose();
      throw error;
    } finally {
      source.close();
      for (const file of opened) file.close();
    }
  }

  /** A model whose weights are not set: for `random`, and to learn what a model takes. */
  static empty(gpu: Gpu, config: EncoderConfig, options: M3Options = {}): M3Model {
    checkOptions(options);
    const settings = settingsOf(options);
    const store = new ParameterStore(gpu, parameterSpecs(config, settings, options), options.precision);
    return new M3Model(gpu, config, settings, store, new Map(), []);
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

  // ---- running -----------------------------------------------------------------------------------------------

  /** Last hidden states [T, hidden]. */
  hidden(batch: TokenBatch, options: EncodeOptions = {}): Tensor {
    return encode(this.store, ENCODER_PREFIX, this.config, batch, options);
  }

  /** [S, hidden], pooled and normalised. */
  dense(hidden: Tensor, batch: TokenBatch): Tensor {
    const { pooling, normalize } = this.settings;
    const pooled =
      pooling === 'mean'
        ? segmentMean(hidden, batch.packed)
        : gatherRows(hidden, pooling === 'cls' ? batch.first : batch.last);
    return normalize ? normalized(pooled) : pooled;
  }

  /** Token vectors [T, colbertDim]; those of first tokens (CLS) are not used by any score. */
  colbert(hidden: Tensor): Tensor {
    const vectors = linear(
      hidden,
      this.store.get('colbert_linear.weight'),
      this.store.get('colbert_linear.bias'),
    );
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
  contents(files: ReadonlyMap<string, string | Uint8Array> = new Map()): ModelFolderContents {
    const encoder = this.store.parameters.filter((parameter) => parameter.name.startsWith(ENCODER_PREFIX));
    const headEntries = async (head: string) => {
      const entries: TorchEntry[] = [];
      for (const name of ['weight', 'bias']) {
        const tensor = this.store.get(`${head}.${name}`);
        const data = (await tensor.toArray()) as Float32Array;
        requireFinite(`${head}.${name}`, data);
        entries.push({ name, shape: tensor.shape, data });
      }
      return entries;
    };
    return {
      config: writtenConfig(this.config),
      tensors: [
        ...encoder.flatMap((parameter) =>
          parameter.parts.map((part) => ({
            name: part.name.slice(ENCODER_PREFIX.length),
            shape: part.shape,
            pieces: () => this.finitePart(parameter, part),
          })),
        ),
        ...[...this.unused].map(([name, { shape, data }]) => ({ name, shape, pieces: () => [data] })),
      ],
      heads: new Map(HEADS.map((head) => [`${head}.pt`, () => headEntries(head)])),
      files,
    };
  }

  /**
   * Writes config.json, model.safetensors, the two heads and the tokenizer's files: the folder then holds this model
   * whole, or, when the process is killed meanwhile, what it held before or no config.json. @throws MachineError when
   * another process writes there.
   */
  async save(folder: string, tokenizer?: TokenizerFiles): Promise<void> {
    await saveModelFolder(folder, this.contents(tokenizer?.files));
  }

  /** All weights in pieces, part after part under the names that files give them. */
  async *weightPieces(): AsyncGenerator<{ name: string; data: Float32Array }> {
    for (const parameter of this.store.parameters)
      for (const part of parameter.parts)
        for await (const data of this.readPart(parameter, part)) yield { name: part.name, data };
    for (const [name, { data }] of this.unused) yield { name: `${ENCODER_PREFIX}${name}`, data };
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

  dispose(): void {
    this.store.dispose();
  }

  private async *finitePart(parameter: Parameter, part: ParameterPart): AsyncGenerator<Float32Array> {
    for await (const data of this.readPart(parameter, part)) {
      requireFinite(part.name, data);
      yield data;
    }
  }

  private async *readPart(
    parameter: Parameter,
    part: { start: number; shape: readonly number[] },
  ): AsyncGenerator<Float32Array> {
    const count = sizeOf(part.shape);
    for (let start = 0; start < count; start += UPLOAD_ELEMENTS) {
      const length = Math.min(UPLOAD_ELEMENTS, count - start);
      const range = { ...parameter.tensor.bindingRange(part.start + start, length), size: length * 4 };
      yield new Float32Array(await this.gpu.read(range));
    }
  }
}

/** The vectors themselves are not needed any more. */
function normalized(vectors: Tensor): Tensor {
  const result = normalizeRows(vectors);
  vectors.dispose();
  return result;
}

/** @throws TypeError: a name that means nothing would otherwise stand for whatever comes last. */
function checkOptions({ pooling, precision, activation, colbertDim, seed }: M3Options): void {
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

function requireFinite(name: string, data: Float32Array): void {
  if (allFinite(data)) return;
  const value = data.find((each) => !Number.isFinite(each));
  throw new MachineError(`the weight ${show(name)} is not finite (${value}): nothing is saved`);
}

function settingsOf(options: M3Options): M3Settings {
  return {
    pooling: options.pooling ?? 'cls',
    normalize: options.normalize ?? true,
    colbertDim: options.colbertDim ?? -1,
  };
}

function parameterSpecs(config: EncoderConfig, settings: M3Settings, options: M3Options): ParameterSpec[] {
  const width = settings.colbertDim > 0 ? settings.colbertDim : config.hiddenSize;
  const trainable = options.trainable ?? (() => true);
  const decay = options.decay ?? decaysByDefault;
  return [
    ...encoderParameters(config).map((spec) => ({
      ...spec,
      name: ENCODER_PREFIX + spec.name,
      ...(spec.parts
        ? { parts: spec.parts.map((part) => ({ ...part, name: ENCODER_PREFIX + part.name })) }
        : {}),
    })),
    { name: 'colbert_linear.weight', shape: [width, config.hiddenSize] },
    { name: 'colbert_linear.bias', shape: [width] },
    { name: 'sparse_linear.weight', shape: [1, config.hiddenSize] },
    { name: 'sparse_linear.bias', shape: [1] },
  ].map((spec) => ({ ...spec, trainable: trainable(spec.name), decay: decay(spec.name) }));
}

/** torch's Linear default: uniform in ±1/√in. */
function initializeHead(parameter: Parameter, inputs: number, random: CounterRandom): void {
  if (parameter.tensor.gpu.planning) return;
  const bound = 1 / Math.sqrt(inputs);
  parameter.tensor.write(
    Float32Array.from({ length: sizeOf(parameter.shape) }, () => (random.uniform() * 2 - 1) * bound),
  );
}

function fill(
  parameter: Parameter,
  part: { start: number; shape: readonly number[] },
  source: WeightSource,
  name: string,
): void {
  // A planning device holds no numbers: that the file fits is all there is to know.
  if (parameter.tensor.gpu.planning) return;
  for (const { offset, data } of finitePieces(source, name, UPLOAD_ELEMENTS))
    parameter.tensor.write(data, part.start + offset);
}
