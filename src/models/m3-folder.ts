/**
 * A model's folder, read into parameters and described for writing: config.json, model.safetensors, colbert_linear.pt
 * and sparse_linear.pt as FlagEmbedding has them, tokenizer files, and the files of sentence-transformers.
 */
import path from 'node:path';
import type { Parameter, ParameterPart } from '../autograd/parameter.js';
import { ParameterStore } from '../autograd/parameter-store.js';
import { InputError, MachineError } from '../errors.js';
import { requireInside } from '../files/inside.js';
import { asJsonObject, parseJsonBytes } from '../files/json.js';
import { PositionedFile } from '../files/positioned.js';
import type { Gpu } from '../gpu/gpu.js';
import { listed, printable, show } from '../show.js';
import { CounterRandom } from '../tensor/random.js';
import { sizeOf } from '../tensor/shape.js';
import { encoderFolder, MODULES_FILE } from '../tokenizer/folder.js';
import { openWeights } from '../weights/open.js';
import type { SavedFormat } from '../weights/saved-weights.js';
import { type TorchEntry, TorchFile } from '../weights/torch-file.js';
import { type EncoderConfig, readEncoderConfig, writtenConfig } from './config.js';
import { encoderParameters } from './encoder.js';
import {
  allFinite,
  fillParameter,
  findEncoderWeights,
  finitePieces,
  type NeededWeight,
  requireLayers,
  requireLinear,
  UPLOAD_ELEMENTS,
} from './encoder-weights.js';
import { Loading } from './loading.js';
import {
  ENCODER_PREFIX,
  HEADS,
  initializeHead,
  type M3Options,
  type M3Settings,
  parameterSpecs,
  settingsOf,
} from './m3-parameters.js';
import { CARD_FILE, type CardDetails, modelCard } from './model-card.js';
import { CONFIG_FILE, type ModelFolderContents, watchFolder } from './model-folder.js';
import { PLAIN_TEXTS, readSentenceFolder, sentenceFiles, type TextSettings } from './sentence-files.js';

/** What a model consists of, apart from what it does. */
export interface M3Parts {
  readonly config: EncoderConfig;
  readonly settings: M3Settings;
  readonly texts: TextSettings;
  readonly store: ParameterStore;
  /** What the encoder does not use (the pooler), by bare name, to be written back unchanged. */
  readonly unused: ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>;
  /** One line each, e.g. a head that was missing. */
  readonly notices: readonly string[];
  /** Heads whose file the folder lacks. */
  readonly drawn: readonly DrawnHead[];
}

/** A head that was drawn at random, as its folder has no file of it. */
export interface DrawnHead {
  readonly name: (typeof HEADS)[number];
  /** Of the folder. */
  readonly folder: string;
  /** Of its weight when it was drawn: training, like whoever else writes it, changes it. */
  readonly version: number;
}

/** The heads that a folder has. */
export const headsIn = (folder: string): (typeof HEADS)[number][] =>
  HEADS.filter((name) => PositionedFile.exists(headFile(folder, name)));

const headFile = (folder: string, name: string): string => path.join(folder, `${name}.pt`);

/** That a folder has no file of a head which is needed. */
export const lackOfHead = (folder: string, name: string, way = ''): InputError =>
  new InputError(
    `${printable(headFile(folder, name))}: no such file: the model has no such head; ${way}finetune --unified_finetuning True makes it`,
  );

/** `M3Model.load`, of options that are checked. @throws InputError for what is wrong with the folder. */
export function readM3(gpu: Gpu, folder: string, options: M3Options): M3Parts {
  const requireUnchanged = watchFolder(folder);
  const read = readEncoderConfig(folder);
  const config = options.activation ? { ...read, activation: options.activation } : read;
  const { settings, texts, notices } = settingsFor(folder, options);
  const source = openWeights(encoderFolder(folder));
  const opened: TorchFile[] = [];
  let store: ParameterStore | undefined;
  try {
    requireLayers(source, config, path.join(encoderFolder(folder), CONFIG_FILE));
    const needed = encoderParameters(config).flatMap((spec): readonly NeededWeight[] => spec.parts ?? [spec]);
    const found = findEncoderWeights(source, needed, config);
    if (found.others.length > 0)
      notices.push(
        `${printable(source.describe())}: not used and not written again: ${listed(found.others)}`,
      );
    const head = (name: (typeof HEADS)[number]) => {
      const full = headFile(folder, name);
      if (PositionedFile.exists(full)) {
        requireInside(folder, full);
        const file = TorchFile.open(full);
        opened.push(file);
        return file;
      }
      if (options.needs?.includes(name)) throw lackOfHead(folder, name);
      if (!options.needs)
        notices.push(`${printable(full)}: no such file; this head starts with random weights`);
      return undefined;
    };
    const colbert = head('colbert_linear');
    const sparse = head('sparse_linear');
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
      if (heads[name])
        requireLinear(heads[name], (kind) => specs.find((spec) => spec.name === `${name}.${kind}`)!.shape);
    store = new ParameterStore(gpu, specs, options.precision);
    const unused = new Map<string, { shape: readonly number[]; data: Float32Array }>();
    const encoder = store.parameters.filter(({ name }) => name.startsWith(ENCODER_PREFIX));
    const loading = gpu.planning ? undefined : new Loading(encoder, path.basename(path.resolve(folder)));
    for (const parameter of encoder)
      for (const part of parameter.parts) {
        const stored = found.stored.get(part.name.slice(ENCODER_PREFIX.length))!;
        fillParameter(parameter, part, source, stored, loading);
      }
    for (const name of HEADS) {
      const file = heads[name];
      const seed = new CounterRandom(options.seed ?? 42, name === 'colbert_linear' ? [1] : [2]);
      for (const kind of ['weight', 'bias'] as const) {
        const parameter = store.parameters.find((candidate) => candidate.name === `${name}.${kind}`)!;
        if (file) fillParameter(parameter, parameter.parts[0]!, file, kind);
        else initializeHead(parameter, config.hiddenSize, seed);
      }
    }
    if (!gpu.planning)
      for (const { name, shape } of found.pooler) {
        const data = new Float32Array(sizeOf(shape));
        for (const piece of finitePieces(source, found.stored.get(name)!, UPLOAD_ELEMENTS))
          data.set(piece.data, piece.offset);
        unused.set(name, { shape, data });
      }
    requireUnchanged();
    store.refreshHalves();
    const drawn = HEADS.filter((name) => !heads[name]).map((name) => {
      const { version } = store!.get(`${name}.weight`);
      return { name, folder, version: version.current };
    });
    return { config, settings, texts, store, unused, notices, drawn };
  } catch (error) {
    store?.dispose();
    throw error;
  } finally {
    source.close();
    for (const file of opened) file.close();
  }
}

/**
 * What the folder of this model holds, beside `files` (by name): the description that every save goes by. Weights
 * that are not finite are a MachineError when they are read: no folder with them could be loaded again.
 */
export function m3Contents(
  { config, settings, texts, store, unused }: M3Parts,
  files: ReadonlyMap<string, string | Uint8Array>,
  format: SavedFormat = {},
  card: CardDetails = {},
): ModelFolderContents {
  const encoder = store.parameters.filter((parameter) => parameter.name.startsWith(ENCODER_PREFIX));
  const headEntries = async (head: string) => {
    const entries: TorchEntry[] = [];
    for (const name of ['weight', 'bias']) {
      const tensor = store.get(`${head}.${name}`);
      const data = (await tensor.toArray()) as Float32Array;
      requireFinite(`${head}.${name}`, data);
      entries.push({ name, shape: tensor.shape, data });
    }
    return entries;
  };
  const written = {
    pooling: settings.pooling,
    normalize: settings.normalize,
    hiddenSize: config.hiddenSize,
    maxLength: Math.min(texts.maxLength ?? modelMaxLength(files), config.maxTokens),
    texts,
  };
  const shape = {
    colbertDim: store.get('colbert_linear.bias').size,
    layers: config.layers,
    vocabSize: config.vocabSize,
  };
  return {
    config: writtenConfig(config, format.dtype),
    format,
    tensors: [
      ...encoder.flatMap((parameter) =>
        parameter.parts.map((part) => ({
          name: part.name.slice(ENCODER_PREFIX.length),
          shape: part.shape,
          pieces: () => finitePart(parameter, part),
        })),
      ),
      ...[...unused].map(([name, { shape, data }]) => ({ name, shape, pieces: () => [data] })),
    ],
    heads: new Map(HEADS.map((head) => [`${head}.pt`, () => headEntries(head)])),
    files: new Map([
      ...sentenceFiles(written),
      [CARD_FILE, modelCard({ ...card, ...written, ...shape })],
      ...files,
    ]),
  };
}

/** What tokenizer_config.json, which the tokenizer has read and found good, says of lengths. */
function modelMaxLength(files: ReadonlyMap<string, string | Uint8Array>): number {
  const bytes = files.get('tokenizer_config.json');
  if (!(bytes instanceof Uint8Array)) return Number.POSITIVE_INFINITY;
  const { model_max_length: length } = asJsonObject(
    parseJsonBytes(bytes, 'tokenizer_config.json'),
    'tokenizer_config.json',
  );
  return Number.isSafeInteger(length) && (length as number) > 0
    ? (length as number)
    : Number.POSITIVE_INFINITY;
}

/**
 * Of a folder that leaves open how its vectors are made, one line: models such as E5 are pooled by mean, and with cls
 * find far less. Undefined where it says (or says what cannot be done here, which is told), and where it has heads: it is
 * then a model of BGE-M3, which has cls.
 */
export function unsaidPooling(folder: string): string | undefined {
  if (headsIn(folder).length > 0 || readSentenceFolder(folder) !== undefined) return undefined;
  return `${printable(folder)} does not say how its vectors are pooled: cls is taken; models such as E5 want --sentence_pooling_method mean`;
}

/**
 * What the options and the folder say together. Of a folder that makes other vectors than can be made here, the part
 * that is asked for is an error, the part that is told otherwise a notice.
 */
function settingsFor(
  folder: string,
  options: M3Options,
): { settings: M3Settings; texts: TextSettings; notices: string[] } {
  const said = readSentenceFolder(folder);
  const settings = settingsOf(options, said);
  const texts = { ...(said?.texts ?? PLAIN_TEXTS), ...options.texts };
  const notices: string[] = [];
  const unsaid = options.pooling === undefined && unsaidPooling(folder);
  if (unsaid) notices.push(unsaid);
  if (said === undefined) return { settings, texts, notices };
  const told: [boolean, readonly string[], string][] = [
    [
      options.pooling !== undefined && options.normalize !== undefined,
      said.vectorProblems,
      'a pooling and a normalisation that are given go before it',
    ],
    [options.texts !== undefined, said.textProblems, 'settings of texts that are given go before it'],
  ];
  for (const [given, problems, how] of told)
    for (const problem of problems) {
      if (!given) throw new InputError(`${problem}; ${how}`);
      notices.push(`${problem}: not used here`);
    }
  const where = printable(path.join(folder, MODULES_FILE));
  if (said.pooling !== undefined && said.pooling !== settings.pooling)
    notices.push(
      `${where}: pooling is ${said.pooling}; ${settings.pooling} is used (--sentence_pooling_method)`,
    );
  if (said.normalize !== undefined && said.normalize !== settings.normalize)
    notices.push(
      `${where}: vectors are ${said.normalize ? '' : 'not '}normalised; here they are ${settings.normalize ? '' : 'not '}(--normalize_embeddings)`,
    );
  if (
    said.similarity !== undefined &&
    !(said.similarity === 'dot' || (said.similarity === 'cosine' && settings.normalize))
  )
    notices.push(
      `${printable(folder)}: config_sentence_transformers.json: similarity_fn_name is ${show(said.similarity)}; dense scores here are inner products of ${settings.normalize ? '' : 'vectors that are not '}normalised${settings.normalize ? ' vectors' : ''}`,
    );
  if (said.texts.lowerCase && !texts.lowerCase)
    notices.push(
      `${printable(folder)}: sentence_bert_config.json lower-cases texts; here they stay as they are`,
    );
  const unused = [...said.texts.prompts].filter(
    ([name, text]) => text !== '' && texts.prompts.get(name) !== text,
  );
  if (unused.length > 0)
    notices.push(
      `${printable(folder)}: prompts of config_sentence_transformers.json that are not used: ` +
        `${unused
          .slice(0, 3)
          .map(([name, text]) => `${show(name)} ${show(text)}`)
          .join(', ')}` +
        `${unused.length > 3 ? ` and ${unused.length - 3} more` : ''} ` +
        '(--query_instruction_for_retrieval, --passage_instruction_for_retrieval)',
    );
  return { settings, texts, notices };
}

/** All weights in pieces, part after part under the names that files give them. */
export async function* weightPieces({
  store,
  unused,
}: M3Parts): AsyncGenerator<{ name: string; data: Float32Array }> {
  for (const parameter of store.parameters)
    for (const part of parameter.parts)
      for await (const data of readPart(parameter, part)) yield { name: part.name, data };
  for (const [name, { data }] of unused) yield { name: `${ENCODER_PREFIX}${name}`, data };
}

async function* finitePart(parameter: Parameter, part: ParameterPart): AsyncGenerator<Float32Array> {
  for await (const data of readPart(parameter, part)) {
    requireFinite(part.name, data);
    yield data;
  }
}

async function* readPart(
  parameter: Parameter,
  part: { start: number; shape: readonly number[] },
): AsyncGenerator<Float32Array> {
  const count = sizeOf(part.shape);
  for (let start = 0; start < count; start += UPLOAD_ELEMENTS) {
    const length = Math.min(UPLOAD_ELEMENTS, count - start);
    yield await parameter.read(part.start + start, length);
  }
}

function requireFinite(name: string, data: Float32Array): void {
  if (allFinite(data)) return;
  const value = data.find((each) => !Number.isFinite(each));
  throw new MachineError(`the weight ${show(name)} is not finite (${value}): nothing is saved`);
}
