/**
 * Number formats of kernels: how f32 and f16 values lie in buffers, and the WGSL that loads, stores and rounds them.
 */
import { ShapeError } from '../../errors.js';
import type { DType, Tensor } from '../../tensor/tensor.js';

/** What activations and weights are stored as. Arithmetic is f32 everywhere. */
export type FloatDType = Extract<DType, 'f32' | 'f16'>;

/** @throws ShapeError for integers. */
export function floatDType(op: string, tensor: Tensor): FloatDType {
  if (tensor.dtype === 'f32' || tensor.dtype === 'f16') return tensor.dtype;
  throw new ShapeError(op, `needs floats, [${tensor.shape}] is ${tensor.dtype}`);
}

/**
 * Half precision is a format of memory only: two halves a word, `Half2`, four in two, `Half4`, or eight in
 * four, `Half8`. That needs no
 * `shader-f16`, so there is one form for every adapter; and on lavapipe it is faster than native halves, whose
 * loads cost as many instructions as those of f32 (docs/spec/wgsl-on-lavapipe.md §B).
 *
 * Beyond the largest half a value becomes infinity, which loss scaling looks for; the language leaves that to
 * the driver, and Direct3D rounds towards zero. 0x7bff + 1 is 0x7c00. A NaN passes.
 */
export const HALVES = `alias Half2 = u32;
alias Half4 = vec2u;
alias Half8 = vec4u;
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

const vectors = { f32: 'vec4f', f16: 'Half4', i32: 'vec4i', u32: 'vec4u', bool: 'vec4u' } as const;

/** WGSL type of a buffer of `dtype` whose unit is four values. That of bools is one of u32, which its shader must say. */
export const vec4Type = (dtype: DType): string => `array<${vectors[dtype]}>`;

/** WGSL: four values from unit `index`, as vec4f, of integers as what they are and of bools as vec4<bool>. */
export const load4 = (dtype: DType, buffer: string, index: string): string => {
  if (dtype === 'f16') return `unpackHalves(${buffer}[${index}])`;
  return dtype === 'bool' ? `(${buffer}[${index}] != vec4u())` : `${buffer}[${index}]`;
};

/** WGSL: `value`, of the type that `load4` gives, to unit `index`. */
export const store4 = (dtype: DType, buffer: string, index: string, value: string): string => {
  if (dtype === 'f16') return `${buffer}[${index}] = packHalves(${value});`;
  return `${buffer}[${index}] = ${dtype === 'bool' ? `select(vec4u(), vec4u(1u), ${value})` : value};`;
};

/** What kernels over rows take from a row at a time: four columns where the width allows, else one (f32 only). */
export type UnitName = 'v4' | 'v1';

export interface ColumnUnit {
  readonly name: UnitName;
  /** Columns of a unit. */
  readonly width: number;
  /** WGSL type of a unit's value. */
  readonly value: 'vec4f' | 'f32';
  /** WGSL buffer type, load and store of units. */
  type(dtype: FloatDType): string;
  load(dtype: FloatDType, buffer: string, index: string): string;
  store(dtype: FloatDType, buffer: string, index: string, value: string): string;
  /** WGSL: the sum of a unit's components. */
  total(value: string): string;
}

const units: Record<UnitName, ColumnUnit> = {
  v4: {
    name: 'v4',
    width: 4,
    value: 'vec4f',
    type: vec4Type,
    load: load4,
    store: store4,
    total: (value) => `dot(${value}, vec4f(1.0))`,
  },
  v1: {
    name: 'v1',
    width: 1,
    value: 'f32',
    type: () => 'array<f32>',
    load: (_, buffer, index) => `${buffer}[${index}]`,
    store: (_, buffer, index, value) => `${buffer}[${index}] = ${value};`,
    total: (value) => `(${value})`,
  },
};

export const unitOf = (name: UnitName): ColumnUnit => units[name];

/** The unit for rows of `cols`. @throws ShapeError for f16 whose rows are not whole groups of four. */
export function unitFor(op: string, cols: number, ...dtypes: FloatDType[]): ColumnUnit {
  if (cols % 4 === 0) return units.v4;
  if (dtypes.includes('f16')) throw new ShapeError(op, `f16 needs rows of whole groups of 4, found ${cols}`);
  return units.v1;
}
