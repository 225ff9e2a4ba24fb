/** Weights into the tensors of a module: from files or tensors, by name, with one error for all that does not fit. */
import { InputError, ShapeError } from '../errors.js';
import { cast } from '../kernels/pointwise.js';
import { OptionNames } from '../options.js';
import { printable, show } from '../show.js';
import { isFloatFileDType } from '../tensor/dtype.js';
import { noGrad, scope } from '../tensor/scope.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { SafetensorsFile } from '../weights/safetensors.js';
import type { WeightSource } from '../weights/source.js';
import { TorchFile } from '../weights/torch-file.js';

/** A file's path, an open source, or tensors by name. */
export type StateDict =
  | string
  | WeightSource
  | ReadonlyMap<string, Tensor>
  | { readonly [name: string]: Tensor };

/** How names are matched when a state is loaded. */
export interface LoadOptions {
  /** What is missing or unexpected is an error. Default true. */
  readonly strict?: boolean;
  /** Of the names in the source; names without it are not looked at. */
  readonly prefix?: string;
  /** Names as they are here to those in the source, without the prefix. */
  readonly rename?: (name: string) => string;
}

const LOAD_OPTIONS = new OptionNames<LoadOptions>({ strict: 'boolean', prefix: 'string', rename: 'any' });

/** What did not match when a state was loaded. */
export interface LoadReport {
  /** Here and not in the source, as they are called there. */
  readonly missing: readonly string[];
  /** In the source and not here. */
  readonly unexpected: readonly string[];
}

/** Elements on the host at a time. */
const PIECE = 4 << 20;

/** Where values are read, whatever it is. */
interface Values {
  names(): readonly string[];
  describe(): string;
  /** What it has under a name, for messages; undefined shape when that cannot be loaded. */
  look(name: string, to: Tensor): { readonly shape: readonly number[]; readonly problem?: string };
  copy(name: string, to: Tensor): void;
}

const isSource = (source: object): source is WeightSource =>
  typeof (source as Partial<WeightSource>).stream === 'function';

/** Opens a file by what its name says. */
const open = (file: string): WeightSource =>
  file.endsWith('.safetensors') ? SafetensorsFile.open(file) : TorchFile.open(file);

const ofSource = (source: WeightSource): Values => ({
  names: () => source.names(),
  describe: () => printable(source.describe()),
  look(name) {
    if (!source.isReadable(name)) return { shape: [], problem: 'of a format that is not read here' };
    const { shape, dtype } = source.info(name);
    return { shape, ...(isFloatFileDType(dtype) ? {} : { problem: `${dtype}, expected floats` }) };
  },
  copy(name, to) {
    for (const { offset, data } of source.stream(name, PIECE)) to.write(data, offset);
  },
});

const ofTensors = (tensors: ReadonlyMap<string, Tensor>): Values => ({
  names: () => [...tensors.keys()],
  describe: () => 'the tensors given',
  look(name, to) {
    const tensor = tensors.get(name);
    if (!(tensor instanceof Tensor)) return { shape: [], problem: `no tensor but ${show(tensor)}` };
    const { shape, dtype } = tensor;
    if (dtype !== 'f32' && dtype !== 'f16') return { shape, problem: `${dtype}, expected floats` };
    if (tensor.freed) return { shape, problem: 'already freed' };
    return { shape, ...(tensor.gpu === to.gpu ? {} : { problem: 'on another device' }) };
  },
  copy(name, to) {
    const tensor = tensors.get(name)!;
    scope(() => to.copyUnrecorded(tensor.dtype === 'f32' ? tensor : cast(tensor, 'f32')));
  },
});

/** `entries`: names and the tensors they lead to, of which one may have several names. See `Module.loadStateDict`. */
export function loadEntries(
  entries: readonly (readonly [name: string, tensor: Tensor])[],
  source: StateDict,
  options: LoadOptions,
): LoadReport {
  const { strict = true, prefix = '', rename = (name) => name } = LOAD_OPTIONS.read('loadStateDict', options);
  if (typeof source === 'string') {
    const file = open(source);
    try {
      return load(entries, ofSource(file), strict, prefix, rename);
    } finally {
      file.close();
    }
  }
  const kind = typeof source === 'object' && source !== null ? Object.getPrototypeOf(source) : undefined;
  const plain = kind === Object.prototype || kind === null || source instanceof Map;
  if (!plain && !(kind && isSource(source)))
    throw new ShapeError(
      'loadStateDict',
      `expected a file, an open source, or tensors by name (stateDict() of another module), found ${show(source)}`,
    );
  const freed = entries.find(([, tensor]) => tensor.freed);
  if (freed) throw new ShapeError('loadStateDict', `${show(freed[0])} of the module was already freed`);
  if (isSource(source)) return load(entries, ofSource(source), strict, prefix, rename);
  const tensors = source instanceof Map ? source : new Map(Object.entries(source));
  return load(entries, ofTensors(tensors), strict, prefix, rename);
}

function load(
  entries: readonly (readonly [name: string, tensor: Tensor])[],
  values: Values,
  strict: boolean,
  prefix: string,
  rename: (name: string) => string,
): LoadReport {
  const there = new Set(values.names().filter((name) => name.startsWith(prefix)));
  const namesOf = new Map<Tensor, string[]>();
  for (const [name, tensor] of entries)
    namesOf.set(tensor, [...(namesOf.get(tensor) ?? []), prefix + rename(name)]);
  const known = new Set([...namesOf.values()].flat());
  const unexpected = [...there].filter((name) => !known.has(name));
  const missing: string[] = [];
  const wrong: string[] = [];
  const found: [name: string, tensor: Tensor][] = [];
  for (const [tensor, names] of namesOf) {
    const own = names.filter((name) => there.has(name));
    if (own.length === 0) missing.push(names[0]!);
    for (const name of own) {
      const { shape, problem } = values.look(name, tensor);
      if (problem) wrong.push(`${show(name)} is ${problem}`);
      else if (!sameShape(shape, tensor.shape))
        wrong.push(`${show(name)} is ${formatShape(shape)}, expected ${formatShape(tensor.shape)}`);
      else found.push([name, tensor]);
    }
  }
  const list = (what: string, names: readonly string[]) =>
    names.length > 0 ? [`${names.length} ${what}: ${names.map((name) => show(name)).join(', ')}`] : [];
  const problems = [
    ...(strict ? [...list('missing', missing), ...list('unexpected', unexpected)] : []),
    ...(wrong.length > 0 ? [`${wrong.length} that do not fit: ${wrong.join(', ')}`] : []),
  ];
  if (problems.length > 0) throw new InputError(`${values.describe()}: ${problems.join('; ')}`);
  noGrad(() => {
    for (const [name, tensor] of found) values.copy(name, tensor);
  });
  return { missing, unexpected };
}
