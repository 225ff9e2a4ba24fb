/**
 * What all kernel families share: declaring a shader with its parameters and buffers, choosing grids, and
 * the reduction across the lanes of a row. Nothing about any one kernel belongs here.
 */
import { ShapeError } from '../errors.js';
import type { Binding, Gpu, RowTexture, ShaderSource } from '../gpu/gpu.js';
import type { DType, Tensor } from '../tensor/tensor.js';
import { usesSubgroup8 } from './variants.js';

type ParamType = 'u32' | 'i32' | 'f32';

export interface ShaderDefinition<P extends Record<string, ParamType>> {
  label: string;
  /** At most 16 scalars; readable in WGSL as `p.name`. They are never constants, so loops stay loops. */
  params: P;
  /** WGSL types in binding order, storage buffers or textures; a name that begins with `out` or `io` is writable. */
  buffers: Record<string, string>;
  subgroups?: boolean;
  /** Further language extensions, e.g. `f16`. */
  enables?: readonly ('f16' | 'chromium_experimental_subgroup_matrix')[];
  /** Module-scope code and `fn main`. */
  body: string;
}

/** A shader whose parameters are packed by name. */
export class Shader<P extends Record<string, ParamType>> {
  readonly source: ShaderSource;
  private readonly names: (keyof P & string)[];
  private readonly elementTypes: DType[];

  constructor(private readonly definition: ShaderDefinition<P>) {
    this.names = Object.keys(definition.params);
    if (this.names.length > 16) throw new RangeError(`${definition.label}: more than 64 bytes of parameters`);
    this.elementTypes = Object.values(definition.buffers).map(elementType);
    const fields = this.names.map((name) => `${name}: ${definition.params[name]}`).join(', ');
    const buffers = Object.entries(definition.buffers).map(([name, type], i) =>
      type.startsWith('texture')
        ? `@group(0) @binding(${i}) var ${name}: ${type};`
        : `@group(0) @binding(${i}) var<storage, ${/^(out|io)/.test(name) ? 'read_write' : 'read'}> ${name}: ${type};`,
    );
    const lines = [
      ...(definition.subgroups ? ['enable subgroups;'] : []),
      ...(definition.enables ?? []).map((name) => `enable ${name};`),
      'requires immediate_address_space;',
      ...(Object.values(definition.buffers).some((type) => type.includes('Half')) ? [HALVES] : []),
      ...(fields ? [`struct Params { ${fields} }`, 'var<immediate> p: Params;'] : []),
      ...buffers,
      definition.body,
    ];
    this.source = { label: definition.label, wgsl: lines.join('\n'), immediateSize: this.names.length * 4 };
  }

  run(
    gpu: Gpu,
    tensors: readonly (Tensor | Binding | RowTexture)[],
    params: { [K in keyof P]: number },
    grid: readonly [number, number?, number?],
  ): void {
    const words = new Uint32Array(this.names.length);
    const floats = new Float32Array(words.buffer);
    this.names.forEach((name, i) => {
      if (this.definition.params[name] === 'f32') floats[i] = params[name];
      else words[i] = params[name];
    });
    this.checkTypes(tensors);
    const bindings = tensors.map((tensor) => ('binding' in tensor ? tensor.binding() : tensor));
    gpu.dispatch(this.source, bindings, words, grid);
  }

  /** Bits of one format read as another would be a wrong number without any error. */
  private checkTypes(tensors: readonly (Tensor | Binding | RowTexture)[]): void {
    tensors.forEach((tensor, i) => {
      const wants = this.elementTypes[i];
      if ('dtype' in tensor && tensor.dtype !== undefined && tensor.dtype !== wants)
        throw new ShapeError(
          this.definition.label,
          `works on ${wants} here, operand ${i}${'shape' in tensor ? ` [${tensor.shape}]` : ''} is ${tensor.dtype}`,
        );
    });
  }
}

/** Of a WGSL buffer type. */
function elementType(type: string): DType {
  if (type.includes('Half') || type.includes('f16')) return 'f16';
  const scalar = /<(?:vec\d)?([fiu])(?:32)?>/.exec(type)?.[1];
  return scalar === 'u' ? 'u32' : scalar === 'i' ? 'i32' : 'f32';
}

// ---- number formats ------------------------------------------------------------------------------------------

/** What activations and weights are stored as. Arithmetic is f32 everywhere. */
export type FloatDType = Extract<DType, 'f32' | 'f16'>;

/** @throws ShapeError for integers. */
export function floatDType(op: string, tensor: Tensor): FloatDType {
  if (tensor.dtype === 'f32' || tensor.dtype === 'f16') return tensor.dtype;
  throw new ShapeError(op, `needs floats, [${tensor.shape}] is ${tensor.dtype}`);
}

/**
 * Half precision is a format of memory only: two halves a word, `Half2`, or four in two, `Half4`. That needs no
 * `shader-f16`, so there is one form for every adapter; and on lavapipe it is faster than native halves, whose
 * loads cost as many instructions as those of f32 (spec wgsl-on-lavapipe §B).
 *
 * Beyond the largest half a value becomes infinity, which loss scaling looks for; the language leaves that to
 * the driver, and Direct3D rounds towards zero. 0x7bff + 1 is 0x7c00. A NaN passes.
 */
const HALVES = `alias Half2 = u32;
alias Half4 = vec2u;
fn unpackHalves(v: vec2u) -> vec4f { return vec4f(unpack2x16float(v.x), unpack2x16float(v.y)); }
fn packHalves(v: vec4f) -> vec2u {
  // Signed integers: below 2^31 they compare alike, and CPUs have no other comparison in vectors.
  let bits = bitcast<vec4i>(v);
  let size = bits & vec4i(0x7fffffff);
  // Rebias the exponent and round away 13 bits of mantissa, ties to even; a carry walks into the exponent.
  let normal = (size + (vec4i(0xfff - 0x38000000) + ((size >> vec4u(13u)) & vec4i(1)))) >> vec4u(13u);
  // Below 2^-14: units of 2^-24, which are those of numbers from 0.5 on.
  let small = bitcast<vec4i>(bitcast<vec4f>(size) + 0.5) - vec4i(0x3f000000);
  // From 65520 on: infinity; and what is no number stays none.
  let large = select(vec4i(0x7c00), vec4i(0x7e00), size > vec4i(0x7f800000));
  let half = select(select(normal, small, size < vec4i(0x38800000)), large, size >= vec4i(0x477ff000));
  let h = bitcast<vec4u>(half | ((bits >> vec4u(16u)) & vec4i(0x8000)));
  return vec2u(h.x | (h.y << 16u), h.z | (h.w << 16u));
}`;

/** WGSL type of a buffer of `dtype` whose unit is four values. */
export const vec4Type = (dtype: FloatDType): string => (dtype === 'f16' ? 'array<Half4>' : 'array<vec4f>');

/** WGSL: four values from unit `index`, as vec4f. */
export const load4 = (dtype: FloatDType, buffer: string, index: string): string =>
  dtype === 'f16' ? `unpackHalves(${buffer}[${index}])` : `${buffer}[${index}]`;

/** WGSL: `value`, a vec4f, to unit `index`. */
export const store4 = (dtype: FloatDType, buffer: string, index: string, value: string): string =>
  `${buffer}[${index}] = ${dtype === 'f16' ? `packHalves(${value})` : value};`;

const shaders = new Map<string, Shader<Record<string, ParamType>>>();

/** The shader for `key`, built once. Keys name everything the source depends on. */
export function shaderOf<P extends Record<string, ParamType>>(
  key: string,
  build: () => ShaderDefinition<P>,
): Shader<P> {
  let shader = shaders.get(key);
  if (!shader) {
    shader = new Shader(build()) as unknown as Shader<Record<string, ParamType>>;
    shaders.set(key, shader);
  }
  return shader as unknown as Shader<P>;
}

/** What kernels over rows take from a row at a time: four columns where the width allows, else one (f32 only). */
export interface ColumnUnit {
  /** Units of a row. */
  readonly count: number;
  /** Distinguishes the variant in shader keys. */
  readonly key: string;
  /** WGSL type of a unit's value. */
  readonly value: 'vec4f' | 'f32';
  /** WGSL buffer type, load and store of units. */
  type(dtype: FloatDType): string;
  load(dtype: FloatDType, buffer: string, index: string): string;
  store(dtype: FloatDType, buffer: string, index: string, value: string): string;
  /** WGSL: the sum of a unit's components. */
  total(value: string): string;
}

/** @throws ShapeError for f16 whose rows are not whole groups of four. */
export function columnUnit(op: string, cols: number, ...dtypes: FloatDType[]): ColumnUnit {
  if (cols % 4 === 0)
    return {
      count: cols / 4,
      key: 'v4',
      value: 'vec4f',
      type: vec4Type,
      load: load4,
      store: store4,
      total: (value) => `dot(${value}, vec4f(1.0))`,
    };
  if (dtypes.includes('f16')) throw new ShapeError(op, `f16 needs rows of whole groups of 4, found ${cols}`);
  return {
    count: cols,
    key: 'v1',
    value: 'f32',
    type: () => 'array<f32>',
    load: (_, buffer, index) => `${buffer}[${index}]`,
    store: (_, buffer, index, value) => `${buffer}[${index}] = ${value};`,
    total: (value) => `(${value})`,
  };
}

/** Threads of a workgroup in kernels where each thread walks down one unit of columns. */
export const COLUMN_WORKGROUP = 32;

/** Threads of a workgroup in one-thread-per-item kernels. */
const FLAT_WORKGROUP = 256;

/** Workgroups for `items` flat items, folded into two dimensions; pair with `FLAT_INDEX`. */
export function flatGrid(items: number, perWorkgroup = FLAT_WORKGROUP): [number, number] {
  const groups = Math.ceil(items / perWorkgroup);
  if (groups <= 65535) return [groups, 1];
  const x = Math.ceil(Math.sqrt(groups));
  return [x, Math.ceil(groups / x)];
}

/** Entry of a flat kernel: defines `i`, the item; the body must check it against its own bound. */
export const FLAT_MAIN = `
@compute @workgroup_size(${FLAT_WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * ${FLAT_WORKGROUP}u + local;
`;

/** Workgroup count for `rows` rows, folded like `flatGrid`. */
export function rowGrid(rows: number): [number, number] {
  return flatGrid(rows, 1);
}

export interface RowReduction {
  /** Lanes that share a row; also the workgroup size. */
  readonly lanes: number;
  readonly subgroups: boolean;
  /** Distinguishes the variant in shader keys. */
  readonly key: string;
  /** WGSL: `LANES`, `rowSum(f32, lane)`, and `rowMax(u32, lane)`, of floats by their ranks (`RANKS`). */
  readonly prelude: string;
}

/**
 * One workgroup a row. On lavapipe 8 lanes reduce within their subgroup; elsewhere 64 threads reduce through
 * workgroup memory, which is right for any subgroup size.
 */
export function rowReduction(gpu: Gpu): RowReduction {
  const entry = (lanes: number) => `
const LANES = ${lanes}u;
`;
  if (usesSubgroup8(gpu, 'rows'))
    return {
      lanes: 8,
      subgroups: true,
      key: 's8',
      prelude: `${entry(8)}
fn rowSum(v: f32, lane: u32) -> f32 { return subgroupAdd(v); }
fn rowMax(v: u32, lane: u32) -> u32 { return subgroupMax(v); }`,
    };
  const tree = (name: string, type: string, combine: string) => `
var<workgroup> ${name}Scratch: array<${type}, 64>;
fn ${name}(v: ${type}, lane: u32) -> ${type} {
  ${name}Scratch[lane] = v;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (lane < s) { let a = ${name}Scratch[lane]; let b = ${name}Scratch[lane + s]; ${name}Scratch[lane] = ${combine}; }
    workgroupBarrier();
  }
  let result = ${name}Scratch[0];
  workgroupBarrier();
  return result;
}`;
  return {
    lanes: 64,
    subgroups: false,
    key: 'w64',
    prelude: `${entry(64)}
${tree('rowSum', 'f32', 'a + b')}
${tree('rowMax', 'u32', 'max(a, b)')}`,
  };
}

/** Summands that a thread adds in a chain, and chains whose sums it adds in a chain. */
const CHAIN = 16;
const CHAINS = 64;

/**
 * WGSL: declares `sum` of `type`, Σ value(c) for every `stride`-th c in [start, end): chains of a few summands, then the
 * sums of some chains, then those of all. The rounding of one long chain would grow with its length.
 */
export function threadSum(
  sum: string,
  type: 'f32' | 'vec4f',
  [start, end, stride]: readonly [start: string, end: string, stride: string],
  value: (c: string) => string,
): string {
  return `var ${sum} = ${type}();
  for (var outer = ${start}; outer < ${end}; outer += ${CHAINS * CHAIN}u * ${stride}) {
    var chains = ${type}();
    for (var inner = outer; inner < min(${end}, outer + ${CHAINS * CHAIN}u * ${stride}); inner += ${CHAIN}u * ${stride}) {
      var chain = ${type}();
      for (var c = inner; c < min(${end}, inner + ${CHAIN}u * ${stride}); c += ${stride}) { chain += ${value('c')}; }
      chains += chain;
    }
    ${sum} += chains;
  }`;
}

/** WGSL: the same for the lanes of a row together: `sum` is this lane's share, for `rowSum`. */
export function laneSum(
  sum: string,
  value: (c: string) => string,
  end: string,
  { start = '0u' } = {},
): string {
  return threadSum(sum, 'f32', [`${start} + lane`, end, 'LANES'], value);
}

/** Entry of a row kernel: defines `row` and `lane`, and leaves when the row does not exist (all lanes alike). */
export function rowMain(reduction: RowReduction, rows: string): string {
  return `
@compute @workgroup_size(${reduction.lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= ${rows}) { return; }
`;
}
