/**
 * A cross-encoder (Nogueira & Cho 2019, arXiv:1901.04085): query and passage in one input, and of its first token's state
 * one score. `XLMRobertaForSequenceClassification`, `RobertaForSequenceClassification` and `BertForSequenceClassification`
 * with one label, as bge-reranker has them: score = W₂·tanh(W₁·h + b₁) + b₂.
 */
import path from 'node:path';
import { gatherRows, linear, reshape, tanh } from '../autograd/index.js';
import type { ParameterSpec } from '../autograd/parameter.js';
import { ParameterStore } from '../autograd/parameter-store.js';
import { InputError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import type { FloatDType } from '../kernels/launch/formats.js';
import { listed, printable, show } from '../show.js';
import type { Shape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { encoderFolder } from '../tokenizer/folder.js';
import { openWeights } from '../weights/open.js';
import type { WeightSource } from '../weights/source.js';
import { type EncoderConfig, readEncoderConfig } from './config.js';
import { encode, encoderParameters } from './encoder.js';
import {
  fillParameter,
  findEncoderWeights,
  type NeededWeight,
  requireLayers,
  requireTensor,
} from './encoder-weights.js';
import { Loading } from './loading.js';
import { CONFIG_FILE, watchFolder } from './model-folder.js';
import type { TokenBatch } from './token-batch.js';

/** Precision of a CrossEncoder. */
export interface CrossEncoderOptions {
  /** f16: the encoder's layers compute on f16 copies of the weights; the classifier stays in f32. Default f32. */
  readonly precision?: FloatDType;
}

/** Parameter names here, and those of files after the encoder's prefix (`roberta.`, `bert.`) or without it. */
interface HeadPart {
  readonly name: 'dense' | 'score';
  readonly stored: string;
  /** Behind the encoder's own prefix: BERT's pooler is a part of the encoder. */
  readonly inEncoder: boolean;
}

const HEADS: Record<EncoderConfig['family'], readonly HeadPart[]> = {
  'xlm-roberta': [
    { name: 'dense', stored: 'classifier.dense', inEncoder: false },
    { name: 'score', stored: 'classifier.out_proj', inEncoder: false },
  ],
  bert: [
    { name: 'dense', stored: 'pooler.dense', inEncoder: true },
    { name: 'score', stored: 'classifier', inEncoder: false },
  ],
};

/** What stands before the encoder's names in the store, and before the head's. */
const [ENCODER, HEAD] = ['model.', 'head.'];

/** A reranker: an encoder with a head that scores a query and a text together. `load` reads its folder. */
export class CrossEncoder {
  private constructor(
    /** The device of its weights. */
    readonly gpu: Gpu,
    /** Sizes of the encoder, as config.json has them. */
    readonly config: EncoderConfig,
    private readonly store: ParameterStore,
    /** One line each: tensors of the file that are not used. */
    readonly notices: readonly string[],
  ) {}

  /**
   * Reads a model folder. On a planning device (`Gpu.plan`) the files are checked, but their numbers are not read.
   * @throws InputError for what is wrong with the folder, for one without a classifier, and for one of several labels.
   */
  static load(gpu: Gpu, folder: string, { precision = 'f32' }: CrossEncoderOptions = {}): CrossEncoder {
    const requireUnchanged = watchFolder(folder);
    const config = readEncoderConfig(folder);
    const source = openWeights(encoderFolder(folder));
    let store: ParameterStore | undefined;
    try {
      requireLayers(source, config, path.join(encoderFolder(folder), CONFIG_FILE));
      const needed = encoderParameters(config).flatMap(
        (spec): readonly NeededWeight[] => spec.parts ?? [spec],
      );
      const found = findEncoderWeights(source, needed, config);
      const head = findHead(source, found.stored.get(ANCHOR)!.slice(0, -ANCHOR.length), config);
      const H = config.hiddenSize;
      const specs: ParameterSpec[] = [
        ...encoderParameters(config).map((spec) => ({
          ...spec,
          name: ENCODER + spec.name,
          parts: (spec.parts ?? [{ name: spec.name, start: 0, shape: spec.shape }]).map((part) => ({
            ...part,
            name: ENCODER + part.name,
          })),
        })),
        { name: `${HEAD}dense.weight`, shape: [H, H] },
        { name: `${HEAD}dense.bias`, shape: [H] },
        { name: `${HEAD}score.weight`, shape: [1, H] },
        { name: `${HEAD}score.bias`, shape: [1] },
      ].map((spec) => ({ ...spec, trainable: false, decay: false }));
      store = new ParameterStore(gpu, specs, precision);
      const loading = gpu.planning
        ? undefined
        : new Loading(store.parameters, path.basename(path.resolve(folder)));
      for (const parameter of store.parameters)
        for (const part of parameter.parts)
          fillParameter(
            parameter,
            part,
            source,
            head.get(part.name) ?? found.stored.get(part.name.slice(ENCODER.length))!,
            loading,
          );
      requireUnchanged();
      store.refreshHalves();
      const used = new Set([...found.stored.values(), ...head.values()]);
      const others = found.others.filter((name) => !used.has(name));
      const notices =
        others.length > 0 ? [`${printable(source.describe())}: not used: ${listed(others)}`] : [];
      return new CrossEncoder(gpu, config, store, notices);
    } catch (error) {
      store?.dispose();
      throw error;
    } finally {
      source.close();
    }
  }

  /** What the encoder's layers compute in. */
  get precision(): FloatDType {
    return this.store.precision;
  }

  /** Scores [S] f32 of the pairs of a batch, whatever their scale (logits). */
  scores(batch: TokenBatch): Tensor {
    const { store } = this;
    const weight = (name: string) => store.get(HEAD + name);
    // Of the last layer nothing else is read; rows are gathered in f32.
    const first =
      store.precision === 'f32'
        ? encode(store, ENCODER, this.config, batch, { only: batch.first })
        : gatherRows(encode(store, ENCODER, this.config, batch), batch.first);
    const pooled = tanh(linear(first, weight('dense.weight'), weight('dense.bias')));
    const scores = linear(pooled, weight('score.weight'), weight('score.bias'));
    return reshape(scores, [scores.rows]);
  }

  /** Frees all weights. */
  dispose(): void {
    this.store.dispose();
  }
}

const ANCHOR = 'embeddings.word_embeddings.weight';

/** Names in the file of the head's parameters. `prefix`: what stands before the encoder's names there. */
function findHead(source: WeightSource, prefix: string, config: EncoderConfig): Map<string, string> {
  const names = new Set(source.names());
  const outer = prefix.replace(/[^.]*\.$/, '');
  const found = new Map<string, string>();
  const missing: string[] = [];
  for (const { name, stored, inEncoder } of HEADS[config.family])
    for (const kind of ['weight', 'bias']) {
      const inFile = `${inEncoder ? prefix : outer}${stored}.${kind}`;
      if (!names.has(inFile)) missing.push(inFile);
      else found.set(`${HEAD}${name}.${kind}`, inFile);
    }
  const file = printable(source.describe());
  if (missing.length > 0)
    throw new InputError(
      `${file}: expected a reranker, an encoder with a classifier of one label, found no ${listed(missing)}` +
        ` (config.json has the architecture ${show(architectureOf(config))})`,
    );
  const H = config.hiddenSize;
  const shapes: Record<string, Shape> = {
    [`${HEAD}dense.weight`]: [H, H],
    [`${HEAD}dense.bias`]: [H],
    [`${HEAD}score.weight`]: [1, H],
    [`${HEAD}score.bias`]: [1],
  };
  const [labels] = source.info(found.get(`${HEAD}score.weight`)!).shape;
  if (labels !== undefined && labels > 1)
    throw new InputError(
      `${file}: expected a classifier of one label, whose value is the score of a pair, found one of ${labels} labels`,
    );
  for (const [name, inFile] of found) requireTensor(source, inFile, shapes[name]!);
  return found;
}

const architectureOf = ({ raw }: EncoderConfig): unknown =>
  Array.isArray(raw['architectures']) ? raw['architectures'][0] : raw['architectures'];

/**
 * For who wants embeddings of a folder: a reranker's encoder gives none that mean anything.
 * @throws InputError when config.json names a classifier.
 */
export function requireEmbedder(folder: string, flag: string): void {
  const architecture = architectureOf(readEncoderConfig(folder));
  if (typeof architecture === 'string' && /ForSequenceClassification$/.test(architecture))
    throw new InputError(
      `${flag}: expected an embedder, found ${printable(folder)}, a reranker (${printable(architecture)} in config.json), which scores pairs: dawntune score --reranker_name_or_path`,
    );
}
