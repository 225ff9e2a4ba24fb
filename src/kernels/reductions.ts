/**
 * Reductions as one-line formulas: what a value adds, how two results become one, and what nothing makes. Floats of any
 * format are reduced in f32, integers and bools (words of 0 and 1) in their own. Maxima and minima, which have positions,
 * are in extremes.ts.
 */
import type { DType } from '../tensor/tensor.js';
import { load4, vec4Type } from './launch/formats.js';

export interface Reduction {
  /** WGSL: what a value `v` adds. */
  readonly of: string;
  /** WGSL: of two results. */
  readonly combine: '+' | '*' | '|' | '&';
  /** Of nothing. */
  readonly start: 0 | 1;
  /** WGSL: of a result of each lane of a subgroup. */
  readonly lanes: string;
  /** What makes one result of several. */
  readonly again: ReductionName;
  readonly dtypes: readonly DType[];
  readonly host: (sofar: number, v: number) => number;
}

export type ReductionName = 'sum' | 'squares' | 'absolutes' | 'product' | 'any' | 'all';

const added = { combine: '+', start: 0, lanes: 'subgroupAdd', again: 'sum' } as const;
const floats = ['f32', 'f16'] as const;
const numbers = ['f32', 'f16', 'i32', 'u32'] as const;

export const reductions: Readonly<Record<ReductionName, Reduction>> = {
  /** Of bools how many are true, u32. */
  sum: { ...added, of: 'v', dtypes: [...numbers, 'bool'], host: (sofar, v) => sofar + v },
  squares: { ...added, of: 'v * v', dtypes: floats, host: (sofar, v) => sofar + v * v },
  absolutes: { ...added, of: 'abs(v)', dtypes: floats, host: (sofar, v) => sofar + Math.abs(v) },
  product: {
    of: 'v',
    combine: '*',
    start: 1,
    lanes: 'subgroupMul',
    again: 'product',
    dtypes: numbers,
    host: (sofar, v) => sofar * v,
  },
  any: {
    of: 'v',
    combine: '|',
    start: 0,
    lanes: 'subgroupOr',
    again: 'any',
    dtypes: ['bool'],
    host: (sofar, v) => sofar | v,
  },
  all: {
    of: 'v',
    combine: '&',
    start: 1,
    lanes: 'subgroupAnd',
    again: 'all',
    dtypes: ['bool'],
    host: (sofar, v) => sofar & v,
  },
};

/** The format that the kernels leave a result in; halves are rounded afterwards. */
export function reducedDType(of: ReductionName, dtype: DType): DType {
  if (dtype === 'f16') return 'f32';
  return dtype === 'bool' && of === 'sum' ? 'u32' : dtype;
}

/** Columns that are read together. */
export type Width = 1 | 4;

/** Columns of `inner` go in fours where they can. */
export const widthOf = (inner: number): Width => (inner % 4 === 0 ? 4 : 1);

/** WGSL of values in a buffer, `width` at a time, as the kernels compute with them: f32, i32 or u32. */
export interface Values {
  /** Of one unit. */
  readonly type: string;
  readonly buffer: string;
  /** Unit `index` of `name`. Halves one at a time begin at an even one, as every binding does. */
  load(name: string, index: string): string;
}

export function valuesOf(dtype: DType, width: Width): Values {
  const scalar = dtype === 'i32' ? 'i32' : dtype === 'u32' || dtype === 'bool' ? 'u32' : 'f32';
  const type = width === 1 ? scalar : `vec4<${scalar}>`;
  if (dtype === 'f16')
    return width === 4
      ? { type, buffer: vec4Type('f16'), load: (name, index) => load4('f16', name, index) }
      : {
          type,
          buffer: 'array<Half2>',
          load: (name, index) => `halfAt(${name}[(${index}) / 2u], ${index})`,
        };
  return { type, buffer: `array<${type}>`, load: (name, index) => `${name}[${index}]` };
}

/** WGSL of what `valuesOf` loads with. */
export const HALF_AT = `
fn halfAt(pair: u32, index: u32) -> f32 { let v = unpack2x16float(pair); return select(v.x, v.y, (index & 1u) == 1u); }
`;

/** WGSL: what a reduction takes from an expression. */
export const takenOf = (of: ReductionName, value: string): string =>
  reductions[of].of.replaceAll(/\bv\b/g, value);
