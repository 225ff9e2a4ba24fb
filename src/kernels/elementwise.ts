/**
 * WGSL of elementwise operations, from their rows in formulas.ts: over tensors of the result's shape, in groups of four
 * values, and over such as broadcasting stretches, whose elements are looked up. f16 is computed in f32 and rounded once,
 * when written. What runs which of these stands in elements.ts and pointwise.ts.
 */
import type { DType } from '../tensor/tensor.js';
import { elementary } from './elementary.js';
import { type FormulaName, formulas, type OperandName, readsOperand } from './formulas.js';
import { load4, store4, vec4Type } from './launch/formats.js';
import { type Each, elementMain } from './launch/grid.js';
import type { ParamType, ShaderDefinition } from './launch/shader.js';
import { functionsOf } from './transcendental.js';

/** What of an operation a kernel computes: its value, or the gradient towards an operand (towards `x` without a name). */
export type ElementPart = 'value' | 'gradient' | 'towards a' | 'towards b';

/**
 * `flat`: of the result's shape; `number`: a parameter. Of what broadcasting stretches, where the last dimension comes in
 * fours: `fours`, which has it, and `single`, one element for all four; elsewhere `elements`, each looked up.
 */
export type OperandKind = 'flat' | 'number' | 'fours' | 'single' | 'elements';

/** Names of what formulas read and kernels bind. */
export type ReadName = OperandName | 'y' | 'dy';

export interface ElementwiseForm extends Readonly<Partial<Record<OperandName, OperandKind | undefined>>> {
  readonly op: FormulaName;
  readonly part: ElementPart;
  /** Of the operands, but of a condition, which is a bool. */
  readonly dtype: DType;
  /** Of what is written. */
  readonly out: DType;
}

const isFloat = (dtype: DType): boolean => dtype === 'f32' || dtype === 'f16';

export function formulaOf(op: FormulaName, part: ElementPart, dtype: DType): string {
  const { forward, exact, gradients } = formulas[op];
  if (part === 'value') return (isFloat(dtype) ? forward : exact)!;
  return gradients[part === 'gradient' ? 'x' : part === 'towards a' ? 'a' : 'b']!;
}

const READS = ['condition', 'x', 'a', 'b', 'y', 'dy'] as const satisfies ReadName[];

/** What a formula reads: bindings that it does not would vanish from an automatic layout, so they are not declared. */
export const readsOf = (op: FormulaName, part: ElementPart, dtype: DType): readonly ReadName[] => {
  const formula = formulaOf(op, part, dtype);
  return READS.filter((name) => readsOperand(formula, name));
};

export const labelOf = ({ op, part }: Pick<ElementwiseForm, 'op' | 'part'>): string =>
  part === 'value' ? op : `${op}Gradient`;

const numberTypes = { f32: 'f32', f16: 'f32', i32: 'i32', u32: 'u32', bool: 'u32' } as const;
const valueTypes = { f32: 'vec4f', f16: 'vec4f', i32: 'vec4i', u32: 'vec4u', bool: 'vec4<bool>' } as const;

/** What both forms have: the names that are read, their formats, and the WGSL around the loads. */
function partsOf(form: ElementwiseForm) {
  const { op, part, dtype, out } = form;
  const formula = formulaOf(op, part, dtype);
  const names = readsOf(op, part, dtype);
  const dtypeOf = (name: ReadName): DType => (name === 'condition' ? 'bool' : dtype);
  const kindOf = (name: ReadName): OperandKind => form[name as OperandName] ?? 'flat';
  const numbers = names.filter((name) => kindOf(name) === 'number');
  const beside = formulas[op].numbers.filter((name) => readsOperand(formula, name));
  const tensors = names.filter((name) => kindOf(name) !== 'number');
  const params: Record<string, ParamType> = {
    ...Object.fromEntries(numbers.map((name) => [name, numberTypes[dtype]])),
    ...Object.fromEntries(beside.map((name) => [name, 'f32' as const])),
  };
  const bools = [
    ...tensors.filter((name) => dtypeOf(name) === 'bool').map((name) => `in_${name}`),
    ...(out === 'bool' ? ['outY'] : []),
  ];
  return {
    formula,
    tensors,
    dtypeOf,
    kindOf,
    params,
    dtypes: Object.fromEntries(bools.map((name) => [name, 'bool' as const])),
    functions: isFloat(dtype)
      ? `${elementary('vec4f')}${functionsOf(formula, 'floats')}`
      : `\nalias T = ${valueTypes[dtype]};\n${functionsOf(formula, 'integers')}`,
    lets: [
      ...numbers.map((name) => `let ${name} = T(p.${name});`),
      ...beside.map((name) => `let ${name} = p.${name};`),
    ],
  };
}

/** Over groups of four values of tensors that are all of the result's shape. */
export function flatDefinition(
  form: ElementwiseForm & { readonly each: Each },
): ShaderDefinition<Record<string, ParamType>> {
  const { formula, tensors, dtypeOf, params, dtypes, functions, lets } = partsOf(form);
  const loads = tensors.map((name) => `let ${name} = ${load4(dtypeOf(name), `in_${name}`, 'i')};`);
  return {
    label: labelOf(form),
    params: { count: 'u32', ...params },
    buffers: {
      ...Object.fromEntries(tensors.map((name) => [`in_${name}`, vec4Type(dtypeOf(name))])),
      outY: vec4Type(form.out),
    },
    dtypes,
    body: `${functions}${elementMain(
      form.each,
      `${[...lets, ...loads].join('\n  ')}
  ${store4(form.out, 'outY', 'i', formula)}`,
    )}`,
  };
}

/** Dimensions that a kernel takes as parameters; of more it reads the extents from a buffer. */
export type Rank = 2 | 4 | 'many';

/** WGSL: a half from its word, by the element's number. */
const half = (buffer: string, at: string): string =>
  `unpack2x16float(${buffer}[${at} >> 1u] >> ((${at} & 1u) * 16u)).x`;

/** WGSL: four values of an operand that is stretched. */
function lookUp(kind: OperandKind, dtype: DType, buffer: string, at: string): string {
  if (kind === 'fours') return load4(dtype, buffer, at);
  const element = (at: string) => (dtype === 'f16' ? half(buffer, at) : `${buffer}[${at}]`);
  const found =
    kind === 'single' ? element(at) : ['x', 'y', 'z', 'w'].map((c) => element(`${at}.${c}`)).join(', ');
  return dtype === 'bool' ? `(vec4u(${found}) != vec4u())` : `${valueTypes[dtype]}(${found})`;
}

const elementTypes = {
  f32: 'array<f32>',
  f16: 'array<Half2>',
  i32: 'array<i32>',
  u32: 'array<u32>',
  bool: 'array<u32>',
} as const;

/**
 * Over a result of which operands are stretched. Its elements, or its fours, are counted from the last dimension on
 * (`extent` 0), a bit of an operand's mask a dimension that the operand has.
 */
export function stretchedDefinition(
  form: ElementwiseForm & { readonly each: Each; readonly rank: Rank },
): ShaderDefinition<Record<string, ParamType>> {
  const { formula, tensors, dtypeOf, kindOf, params, dtypes, functions, lets } = partsOf(form);
  const stretched = tensors.filter((name) => kindOf(name) !== 'flat');
  const inFours = stretched.every((name) => kindOf(name) !== 'elements');
  const inner = form.rank === 'many' ? 0 : form.rank - 1;
  const dimension = (extent: string, k: string) => `{
    let extent = ${extent};
    let outer = rest / extent;
    let own = rest - outer * extent;
    rest = outer;
    ${stretched.map((name) => `if (((p.mask_${name} >> ${k}) & 1u) == 1u) { at_${name} += own * step_${name}; step_${name} *= extent; }`).join('\n    ')}
  }`;
  const dimensions =
    form.rank === 'many'
      ? `for (var k = 0u; k < p.inner; k++) ${dimension('extents[k]', 'k')}`
      : Array.from({ length: inner }, (_, k) => dimension(`p.extent${k}`, `${k}u`)).join('\n  ');
  const top = form.rank === 'many' ? 'p.inner' : `${inner}u`;
  const [index, first] = inFours
    ? ['u32', 'p.first + i']
    : // Beyond the last element there is room for what is computed, but nothing to look up.
      ['vec4u', 'p.first + min(vec4u(i * 4u) + vec4u(0u, 1u, 2u, 3u), vec4u(p.last))'];
  return {
    label: `${labelOf(form)}Broadcast`,
    params: {
      first: 'u32',
      count: 'u32',
      ...(inFours ? {} : { last: 'u32' as const }),
      ...params,
      ...Object.fromEntries(
        stretched.flatMap((name) => [
          [`mask_${name}`, 'u32' as const],
          [`base_${name}`, 'u32' as const],
        ]),
      ),
      ...(form.rank === 'many'
        ? { inner: 'u32' as const }
        : Object.fromEntries(Array.from({ length: inner }, (_, k) => [`extent${k}`, 'u32' as const]))),
    },
    buffers: {
      ...Object.fromEntries(
        tensors.map((name) => {
          const types = ['flat', 'fours'].includes(kindOf(name)) ? vec4Type : (of: DType) => elementTypes[of];
          return [`in_${name}`, types(dtypeOf(name))];
        }),
      ),
      outY: vec4Type(form.out),
      ...(form.rank === 'many' ? { extents: 'array<u32>' } : {}),
    },
    dtypes,
    body: `${functions}${elementMain(
      form.each,
      `var rest = ${first};
  ${stretched.map((name) => `var at_${name} = ${index}(); var step_${name} = 1u;`).join('\n  ')}
  ${dimensions}
  ${stretched.map((name) => `if (((p.mask_${name} >> ${top}) & 1u) == 1u) { at_${name} += rest * step_${name}; }\n  at_${name} -= ${index}(p.base_${name});`).join('\n  ')}
  ${lets.join('\n  ')}
  ${tensors
    .map((name) =>
      kindOf(name) === 'flat'
        ? `let ${name} = ${load4(dtypeOf(name), `in_${name}`, 'i')};`
        : `let ${name} = ${lookUp(kindOf(name), dtypeOf(name), `in_${name}`, `at_${name}`)};`,
    )
    .join('\n  ')}
  ${store4(form.out, 'outY', 'i', formula)}`,
    )}`,
  };
}
