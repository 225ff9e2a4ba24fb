/**
 * Which tensor of a weight file is which weight of the encoder, and reading it. Files name the same weight in several
 * ways (a wrapper's prefix, LayerNorm's `gamma` and `beta`); what is decided here is found under one name by all others.
 */
import type { Parameter } from '../autograd/parameter.js';
import { InputError } from '../errors.js';
import { listed, printable, show } from '../show.js';
import { isFloatFileDType } from '../tensor/dtype.js';
import { formatShape, type Shape, sameShape } from '../tensor/shape.js';
import type { FloatPiece, WeightSource } from '../weights/source.js';
import type { EncoderConfig } from './config.js';
import type { Loading } from './loading.js';

/** A file's encoder is where this is. */
const ANCHOR = 'embeddings.word_embeddings.weight';
/** Constants that older versions of transformers kept among the weights. */
const CONSTANTS = /(?:^|\.)embeddings\.(?:position_ids|token_type_ids)$/;

export interface NeededWeight {
  /** As in a Hugging Face file of the encoder alone. */
  readonly name: string;
  readonly shape: Shape;
}

export interface EncoderWeights {
  /** The name in the file of every needed weight and of the pooler's, by bare name. */
  readonly stored: ReadonlyMap<string, string>;
  /** The pooler's two tensors, or none: what the encoder does not use but a whole model has. */
  readonly pooler: readonly NeededWeight[];
  /** Names in the file that no part of the model has. */
  readonly others: readonly string[];
}

/**
 * The layers that the file has, which bounds what config.json may ask for before anything is built from it.
 * @throws InputError when there are fewer.
 */
export function requireLayers(source: WeightSource, config: EncoderConfig, configFile: string): void {
  const layers = new Set<string>();
  for (const name of source.names()) {
    const layer = /(?:^|\.)encoder\.layer\.(\d+)\./.exec(name)?.[1];
    if (layer !== undefined) layers.add(layer);
  }
  if (config.layers > layers.size)
    throw new InputError(
      `${printable(configFile)}: num_hidden_layers: expected at most ${layers.size}, the layers in ` +
        `${printable(source.describe())}, found ${config.layers}`,
    );
}

/**
 * Finds the needed weights. The prefix is whatever stands before all of them (`roberta.`, `bert.`, `module.`,
 * `0.auto_model.` …); LayerNorm's `gamma` and `beta` are its weight and bias, as transformers reads them.
 * @throws InputError when one is missing, has another shape than config.json gives it or holds no floats, and when two
 * prefixes or two names would do.
 */
export function findEncoderWeights(
  source: WeightSource,
  needed: readonly NeededWeight[],
  config: EncoderConfig,
): EncoderWeights {
  const file = printable(source.describe());
  const byName = new Map<string, string>();
  const doubled = new Map<string, string>();
  for (const stored of source.names()) {
    const name = stored
      .replace(/LayerNorm\.gamma$/, 'LayerNorm.weight')
      .replace(/LayerNorm\.beta$/, 'LayerNorm.bias');
    if (byName.has(name)) doubled.set(name, stored);
    byName.set(name, stored);
  }
  const prefixes = [...byName.keys()]
    .filter((name) => name === ANCHOR || name.endsWith(`.${ANCHOR}`))
    .map((name) => name.slice(0, -ANCHOR.length));
  if (prefixes.length === 0)
    throw new InputError(
      `${file}: expected the weights of an encoder, found no tensor "${ANCHOR}" under any prefix (it has ${listed([...byName.values()])})`,
    );
  const missingUnder = (prefix: string) => needed.filter(({ name }) => !byName.has(prefix + name));
  const complete = prefixes.filter((prefix) => needed.every(({ name }) => byName.has(prefix + name)));
  if (complete.length > 1)
    throw new InputError(
      `${file}: expected one encoder, found ${complete.length}, under the prefixes ${listed(complete)}`,
    );
  const prefix = complete[0];
  if (prefix === undefined) {
    const nearest = prefixes
      .slice(0, 100)
      .map((candidate) => ({ candidate, missing: missingUnder(candidate) }));
    const { candidate, missing } = nearest.reduce((a, b) => (b.missing.length < a.missing.length ? b : a));
    throw new InputError(
      `${file}: expected ${needed.length} tensors of the encoder, ${missing.length} missing: ` +
        `${listed(missing.map(({ name }) => candidate + name))}; ${besides(byName, needed, candidate)}`,
    );
  }
  for (const { name } of needed)
    if (doubled.has(prefix + name))
      throw new InputError(
        `${file}: expected one of ${listed([prefix + name, doubled.get(prefix + name)!])}, found both`,
      );

  const H = config.hiddenSize;
  const pooler: NeededWeight[] = [
    { name: 'pooler.dense.weight', shape: [H, H] },
    { name: 'pooler.dense.bias', shape: [H] },
  ];
  const hasPooler = pooler.every(({ name }) => byName.has(prefix + name));
  const taken = [...needed, ...(hasPooler ? pooler : [])];
  const stored = new Map(taken.map(({ name }) => [name, byName.get(prefix + name)!]));
  for (const { name, shape } of taken) requireTensor(source, stored.get(name)!, shape);
  const used = new Set(stored.values());
  return {
    stored,
    pooler: hasPooler ? pooler : [],
    others: source.names().filter((name) => !used.has(name) && !CONSTANTS.test(name)),
  };
}

/** What a file has beside the needed weights, first those that begin as they do: a misnamed one is among them. */
function besides(
  byName: ReadonlyMap<string, string>,
  needed: readonly NeededWeight[],
  prefix: string,
): string {
  const wanted = new Set(needed.map(({ name }) => prefix + name));
  const others = [...byName].filter(
    ([name]) => !wanted.has(name) && !CONSTANTS.test(name) && !name.startsWith(`${prefix}pooler.`),
  );
  if (others.length === 0) return 'it has no other tensors';
  const near = (name: string) =>
    name.startsWith(`${prefix}encoder.`) || name.startsWith(`${prefix}embeddings.`);
  const names = [...others.filter(([name]) => near(name)), ...others.filter(([name]) => !near(name))];
  return `its other tensors are ${listed(
    names.map(([, stored]) => stored),
    5,
  )}`;
}

/** @throws InputError when the tensor is not there, has another shape or holds no floats. */
export function requireTensor(source: WeightSource, name: string, shape: Shape): void {
  const info = source.info(name);
  const where = `${printable(source.describe())}: tensor ${show(name)}`;
  if (!sameShape(info.shape, shape))
    throw new InputError(
      `${where} has shape ${formatShape(info.shape)}, expected ${formatShape(shape)}, as config.json says`,
    );
  if (!isFloatFileDType(info.dtype)) throw new InputError(`${where}: expected floats, found ${info.dtype}`);
}

/**
 * A head's file has the two tensors of a linear layer and no other, as `load_state_dict` requires.
 * @throws InputError when it has others, or one of another shape or of no floats.
 */
export function requireLinear(source: WeightSource, shapeOf: (kind: 'weight' | 'bias') => Shape): void {
  for (const kind of ['weight', 'bias'] as const) requireTensor(source, kind, shapeOf(kind));
  const others = source.names().filter((name) => name !== 'weight' && name !== 'bias');
  if (others.length > 0)
    throw new InputError(
      `${printable(source.describe())}: expected the tensors "weight" and "bias" alone, found ${listed(others)} too`,
    );
}

/**
 * The tensor in pieces, as `WeightSource.stream` gives them. @throws InputError for a value that is not finite (or not
 * in float32): one such weight makes every result NaN, and one that is not used would be written back.
 */
export function* finitePieces(
  source: WeightSource,
  name: string,
  maxElements: number,
): Generator<FloatPiece> {
  for (const piece of source.stream(name, maxElements)) {
    if (!allFinite(piece.data)) {
      const at = piece.data.findIndex((value) => !Number.isFinite(value));
      const { shape } = source.info(name);
      throw new InputError(
        `${printable(source.describe())}: tensor ${show(name)}: expected finite float32 numbers, ` +
          `found ${piece.data[at]} at ${indexOf(piece.offset + at, shape)}`,
      );
    }
    yield piece;
  }
}

/** Elements of a weight that are in host memory at once on their way to the device. */
export const UPLOAD_ELEMENTS = 4 << 20;

/** Writes a tensor of a file to its place in a parameter; `loading` hears of it. @throws as `finitePieces`. */
export function fillParameter(
  parameter: Parameter,
  part: { readonly start: number },
  source: WeightSource,
  name: string,
  loading?: Loading,
): void {
  // A planning device holds no numbers: that the file fits is all there is to know.
  if (parameter.tensor.gpu.planning) return;
  for (const { offset, data } of finitePieces(source, name, UPLOAD_ELEMENTS)) {
    parameter.tensor.write(data, part.start + offset);
    loading?.read(data.length);
  }
}

/**
 * Whether no value is NaN or infinite: their exponent's eight bits are all set, and adding one to it then carries into
 * the sign. A gigabyte takes a fraction of a second this way.
 */
export function allFinite(data: Float32Array): boolean {
  const bits = new Int32Array(data.buffer, data.byteOffset, data.length);
  const whole = bits.length & ~3;
  let carry = 0;
  for (let i = 0; i < whole; i += 4)
    carry |=
      ((bits[i]! & 0x7fffffff) + 0x800000) |
      ((bits[i + 1]! & 0x7fffffff) + 0x800000) |
      ((bits[i + 2]! & 0x7fffffff) + 0x800000) |
      ((bits[i + 3]! & 0x7fffffff) + 0x800000);
  for (let i = whole; i < bits.length; i++) carry |= (bits[i]! & 0x7fffffff) + 0x800000;
  return carry >= 0;
}

/** `[row,column]` of the element. */
function indexOf(element: number, shape: Shape): string {
  const index: number[] = [];
  let rest = element;
  for (const size of [...shape].reverse()) {
    index.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return formatShape(index);
}
