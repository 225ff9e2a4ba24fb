/**
 * What an op takes: its operands by name, with the number formats and the shapes they may have, and the numbers
 * beside them. An op describes that once, as a `signature`, and checks it before it allocates or records anything;
 * every error then reads the same way and carries op, shapes and dtypes.
 *
 * A shape is a list of dimensions: `'C'` is an extent that must be the same wherever the name stands, `'3*heads*d'`
 * and `'S+1'` are computed from others, `'>=B*G'` bounds one from below, a number is itself, and `'...'` (or
 * `'...name'`) is any number of dimensions that must be the same wherever that name stands.
 */
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { show } from '../show.js';
import { noteRead } from './scope.js';
import { type DType, Tensor } from './tensor.js';

/** Dtypes and shape of an operand. */
export interface OperandSpec {
  /** Extents: a name is the same wherever it stands, `'...'` any number of axes, `'3*C'` is computed, a number is itself. */
  readonly shape: readonly (string | number)[];
  /** Formats that it may have. */
  readonly dtypes: readonly DType[];
  /** Whether it may be left out. */
  readonly optional: boolean;
}

const of =
  (...dtypes: DType[]) =>
  (...shape: (string | number)[]): OperandSpec => ({ shape, dtypes, optional: false });

/** An operand of f32: `f32('N', 'C')`. */
export const f32 = of('f32');
/** An operand of f16. */
export const f16 = of('f16');
/** An operand of u32. */
export const u32 = of('u32');
/** An operand of i32. */
export const i32 = of('i32');
/** f32 or f16. */
export const floats = of('f32', 'f16');
/** u32 or i32. */
export const integers = of('u32', 'i32');
/** f32, f16, i32 or u32. */
export const numbers = of('f32', 'f16', 'i32', 'u32');
/** A word of 0 or 1. */
export const bools = of('bool');
export const anyDType = of('f32', 'f16', 'u32', 'i32', 'bool');
/** The operand may be left out. */
export const optional = (spec: OperandSpec): OperandSpec => ({ ...spec, optional: true });

/** A number beside the operands. Where its name is that of a dimension, it is that dimension's extent. */
export interface NumberSpec {
  readonly what: string;
  readonly allows: (value: number) => boolean;
}

export const wholeNumber = (atLeast = 0, below = 2 ** 32): NumberSpec => ({
  what: `a whole number ${below < 2 ** 32 ? `from ${atLeast} to ${below - 1}` : `of at least ${atLeast}`}`,
  allows: (value) => Number.isInteger(value) && value >= atLeast && value < below,
});
export const integer: NumberSpec = { what: 'a whole number', allows: (value) => Number.isSafeInteger(value) };
export const probability: NumberSpec = {
  what: 'a probability from 0 to 1',
  allows: (value) => value >= 0 && value <= 1,
};
/** Kernels compute in f32: 1e39 is an infinity there, and 1e-50 a 0. */
export const notNegative: NumberSpec = {
  what: 'a finite number of at least 0',
  allows: (value) => Number.isFinite(Math.fround(value)) && value >= 0,
};
export const positive: NumberSpec = {
  what: 'a finite number above 0',
  allows: (value) => Number.isFinite(Math.fround(value)) && Math.fround(value) > 0,
};
/** Infinities and NaN included. */
export const anyNumber: NumberSpec = { what: 'a number', allows: () => true };

export interface SignatureOptions {
  readonly numbers?: Readonly<Record<string, NumberSpec>>;
  /** What a dimension's name stands for, where a message should say more than the name: `{ K: 'inner dimensions' }`. */
  readonly meanings?: Readonly<Record<string, string>>;
  /** Least extents, for ops that have no value on an empty dimension. */
  readonly atLeast?: Readonly<Record<string, number>>;
  /** What numbers must be besides: `{ teacherScores: 'queries*group' }`. */
  readonly equal?: Readonly<Record<string, string>>;
  /** Dimensions that must be multiples of 4 where any operand or the result is f16: halves are read in fours. */
  readonly foursInF16?: readonly string[];
  /** Dimensions that must be multiples of 4 where the result is f16. */
  readonly foursInF16Result?: readonly string[];
  /** Operands that must be of one dtype. */
  readonly sameDType?: readonly string[];
}

/** `3*heads*d`, `S+1`, `>=B*G`, taken apart. */
interface Extent {
  readonly text: string;
  readonly factor: number;
  readonly names: readonly string[];
  readonly plus: number;
  readonly bound: boolean;
}

interface Plan {
  readonly name: string;
  readonly spec: OperandSpec;
  readonly text: string;
  /** Place of `...` in the shape; −1 without one. */
  readonly dotsAt: number;
  readonly dots: string;
  readonly extents: readonly (Extent | undefined)[];
}

function extentOf(dimension: string | number): Extent {
  const text = String(dimension);
  const bound = text.startsWith('>=');
  const [product, plus] = (bound ? text.slice(2) : text).split('+') as [string, string?];
  let factor = 1;
  const names: string[] = [];
  for (const part of product.split('*'))
    if (/^\d+$/.test(part)) factor *= Number(part);
    else names.push(part);
  return { text, factor, names, plus: Number(plus ?? 0), bound };
}

/** Where an extent comes from, and what it is. */
interface Known {
  readonly value: number;
  readonly source: string;
}

/** What the dimensions of a signature are in one call. */
export class Extents {
  constructor(
    private readonly known: ReadonlyMap<string, Known>,
    private readonly dots: ReadonlyMap<string, { readonly extents: readonly number[] }>,
  ) {}

  /** Of a name of the signature's. */
  of(name: string): number {
    return this.known.get(name)!.value;
  }

  /** Of a spec whose names all stand in the signature. */
  shapeOf(spec: OperandSpec): number[] {
    return spec.shape.flatMap((dimension) => {
      const dots = this.dots.get(String(dimension));
      if (dots) return dots.extents;
      const { factor, names, plus } = extentOf(dimension);
      return names.reduce((product, name) => product * this.of(name), factor) + plus;
    });
  }
}

/** The names of dimensions in a spec: `3*heads*d` has two, and `...` is one. */
export const dimensionNames = ({ shape }: OperandSpec): string[] =>
  shape.flatMap((dimension) =>
    String(dimension).startsWith('...') ? String(dimension) : extentOf(dimension).names,
  );

type Operands<S> = { readonly [K in keyof S]: Tensor | undefined };

/** Facts that stand beside the operands of one call. */
export interface CallFacts {
  /** Extents that are known from elsewhere, each with where from: `{ T: [sequences.tokens, 'tokens of the sequences'] }`. */
  readonly extents?: Readonly<Record<string, readonly [value: number, source: string]>>;
  /** Of the result, where the caller chooses it. */
  readonly result?: DType | undefined;
  /** Of what is no tensor but lives on a device (index lists): it must be the operands' device. */
  readonly gpu?: Gpu | undefined;
}

/**
 * For what stands beside the operands and is no tensor: index lists, sequences, layouts, draws.
 * @throws ShapeError when it is missing, or lacks `fields` by which one knows it.
 */
export function requireBeside(
  op: string,
  name: string,
  what: string,
  value: unknown,
  ...fields: string[]
): void {
  if (typeof value !== 'object' || value === null || !fields.every((field) => field in value))
    throw new ShapeError(op, `${name} must be ${what}, found ${show(value)}`);
}

/** What was given in place of a tensor, and what may have been meant. */
function insteadOfTensor(value: unknown): string {
  const found = show(value);
  if (typeof value !== 'object' || value === null) return found;
  if ('tensor' in value && value.tensor instanceof Tensor) return `${found}, whose .tensor is one`;
  if ('then' in value) return `${found}: await gives what it will be`;
  return Array.isArray(value) || ArrayBuffer.isView(value)
    ? `${found}: tensor(gpu, data) makes one of data on the host`
    : found;
}

export class Signature<S extends Readonly<Record<string, OperandSpec>>> {
  private readonly plans: readonly Plan[];
  private readonly numbers: readonly (readonly [name: string, spec: NumberSpec])[];

  constructor(
    readonly op: string,
    specs: S,
    private readonly options: SignatureOptions = {},
  ) {
    this.numbers = Object.entries(options.numbers ?? {});
    this.plans = Object.entries(specs).map(([name, spec]) => {
      const dotsAt = spec.shape.findIndex((dimension) => String(dimension).startsWith('...'));
      return {
        name,
        spec,
        text: `[${spec.shape.join(',')}]`,
        dotsAt,
        dots: dotsAt < 0 ? '' : String(spec.shape[dotsAt]),
        extents: spec.shape.map((dimension, i) => (i === dotsAt ? undefined : extentOf(dimension))),
      };
    });
  }

  /**
   * Nothing may be allocated or recorded before this.
   * @returns what the dimensions are.
   * @throws ShapeError when an operand is missing, freed, on another device, of another dtype or shape, or a
   * number is not what it must be.
   */
  check(
    operands: Operands<S>,
    numbers: Readonly<Record<string, number>> = {},
    facts: CallFacts = {},
  ): Extents {
    const fail = (problem: string): never => {
      const given = operands as Record<string, unknown>;
      const tensors = Object.entries(given).filter(([, operand]) => operand instanceof Tensor);
      throw new ShapeError(this.op, problem, Object.fromEntries(tensors) as Record<string, Tensor>);
    };
    this.checkTensors(operands, facts, fail);
    const { result } = facts;
    if (result !== undefined && result !== 'f32' && result !== 'f16')
      fail(`the result must be f32 or f16, not ${show(result)}`);
    const known = new Map<string, Known>();
    for (const [name, spec] of this.numbers) {
      const value: unknown = numbers[name];
      if (typeof value !== 'number' || !spec.allows(value))
        fail(`${name} must be ${spec.what}, found ${show(value)}`);
      known.set(name, { value: value as number, source: name });
    }
    for (const name in facts.extents) {
      const [value, source] = facts.extents[name]!;
      known.set(name, { value, source });
    }
    const extents = this.checkShapes(operands, known, fail);
    for (const name in this.options.atLeast) {
      const least = this.options.atLeast[name]!;
      const { value, source } = known.get(name)!;
      if (value < least) fail(`${name} must be at least ${least}, it is ${value} in ${source}`);
    }
    const { foursInF16 = [], foursInF16Result = [] } = this.options;
    const fours = [
      ...(facts.result === 'f16' || this.plans.some(({ name }) => operands[name]?.dtype === 'f16')
        ? foursInF16
        : []),
      ...(facts.result === 'f16' ? foursInF16Result : []),
    ];
    for (const name of fours) {
      const { value } = known.get(name)!;
      if (value % 4 !== 0) fail(`f16 needs whole groups of 4 in ${name}, which is ${value}`);
    }
    noteRead(() => this.plans.flatMap(({ name }) => operands[name] ?? []));
    return extents;
  }

  private checkTensors(operands: Operands<S>, { gpu }: CallFacts, fail: (problem: string) => never): void {
    let first: Tensor | undefined;
    let firstName = '';
    for (const { name, spec } of this.plans) {
      const operand: unknown = operands[name];
      if (operand === undefined && spec.optional) continue;
      if (!(operand instanceof Tensor))
        throw fail(`${name} must be a tensor, found ${insteadOfTensor(operand)}`);
      if (operand.freed)
        fail(`${name} was already freed: by dispose(), or by its scope, which frees what it does not return`);
      if (!spec.dtypes.includes(operand.dtype))
        fail(`${name} must be ${spec.dtypes.join(' or ')}, to which cast() converts`);
      if (first && operand.gpu !== first.gpu) fail(`${firstName} and ${name} are on different devices`);
      if (gpu && operand.gpu !== gpu) fail(`${name} is on another device than the index lists`);
      if (!first) {
        first = operand;
        firstName = name;
      }
    }
    const { sameDType } = this.options;
    if (sameDType) {
      const [name, ...others] = sameDType.filter((each) => operands[each]);
      for (const other of others)
        if (operands[other]!.dtype !== operands[name!]!.dtype)
          fail(`${name} and ${other} must be of one dtype, to which cast() converts`);
    }
  }

  private checkShapes(
    operands: Operands<S>,
    known: Map<string, Known>,
    fail: (problem: string) => never,
  ): Extents {
    const dots = new Map<string, { extents: readonly number[]; source: string }>();
    const later: { extent: Extent; value: number; source: string }[] = [];
    for (const plan of this.plans) {
      const shape = operands[plan.name]?.shape;
      if (!shape) continue;
      const source = `${plan.name} ${plan.text}`;
      const spare = shape.length - plan.extents.length + (plan.dotsAt < 0 ? 0 : 1);
      if (plan.dotsAt < 0 ? spare !== 0 : spare < 0)
        fail(`${plan.name} must be ${plan.text}, found ${shape.length} dimensions`);
      if (plan.dotsAt >= 0) {
        const extents = shape.slice(plan.dotsAt, plan.dotsAt + spare);
        const same = dots.get(plan.dots);
        if (!same) dots.set(plan.dots, { extents, source });
        else if (extents.length !== same.extents.length || extents.some((e, i) => e !== same.extents[i]))
          fail(
            `dimensions differ: ${plan.dots} is [${same.extents}] in ${same.source} and [${extents}] in ${source}`,
          );
      }
      plan.extents.forEach((extent, i) => {
        if (!extent) return;
        const value = shape[plan.dotsAt >= 0 && i > plan.dotsAt ? i + spare - 1 : i]!;
        if (extent.names.length !== 1 || extent.factor !== 1 || extent.plus !== 0 || extent.bound)
          later.push({ extent, value, source });
        else this.agree(extent.names[0]!, { value, source }, known, fail);
      });
    }
    for (const name in this.options.equal)
      later.push({
        extent: extentOf(this.options.equal[name]!),
        value: known.get(name)!.value,
        source: name,
      });
    for (const { extent, value, source } of later) {
      let product = extent.factor;
      const unknown: string[] = [];
      for (const name of extent.names) {
        const found = known.get(name);
        if (found) product *= found.value;
        else unknown.push(name);
      }
      const because = () =>
        extent.names
          .filter((name) => known.has(name))
          .map((name) => {
            const { value: of, source: from } = known.get(name)!;
            return from === name ? `${name} = ${of}` : `${name} = ${of} of ${from}`;
          })
          .join(', ');
      if (unknown.length === 0) {
        const wanted = product + extent.plus;
        if (extent.bound ? value < wanted : value !== wanted)
          fail(
            `${extent.text} is ${value} in ${source}, not ${extent.bound ? 'at least ' : ''}${wanted}${extent.names.length > 0 ? ` (${because()})` : ''}`,
          );
      } else {
        const solved = (value - extent.plus) / product;
        // Of an empty dimension nothing can be said about its factors.
        const solution = Number.isNaN(solved) ? 0 : solved;
        if (!Number.isInteger(solution) || solution < 0)
          fail(
            `${extent.text} is ${value} in ${source}, which leaves no whole number for ${unknown[0]}${because() ? ` (${because()})` : ''}`,
          );
        known.set(unknown[0]!, { value: solution, source });
      }
    }
    return new Extents(known, dots);
  }

  private agree(
    name: string,
    found: Known,
    known: Map<string, Known>,
    fail: (problem: string) => never,
  ): void {
    const before = known.get(name);
    if (!before) known.set(name, found);
    else if (before.value !== found.value) {
      // Where the dimension has a name that says it all, the shapes that follow are enough.
      const meaning = this.options.meanings?.[name];
      fail(
        meaning === undefined
          ? `dimensions differ: ${name} is ${before.value} in ${before.source} and ${found.value} in ${found.source}`
          : `${meaning} differ`,
      );
    }
  }
}

/** The description of an op's operands, made once. */
export function signature<const S extends Readonly<Record<string, OperandSpec>>>(
  op: string,
  specs: S,
  options?: SignatureOptions,
): Signature<S> {
  return new Signature(op, specs, options);
}
