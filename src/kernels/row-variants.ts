/**
 * Variants of a kernel that has one workgroup a row: the lanes of a row come to one value through workgroup memory or within
 * their subgroup.
 */
import type { Gpu } from '../gpu/gpu.js';
import type { DType } from '../tensor/tensor.js';
import { type RowVariant, rowMain, rowReductionOf, rowWays } from './launch/rows.js';
import { type ParamType, type Shader, shaderOf } from './launch/shader.js';
import type { Case, SizeReader, Variant } from './variants.js';

/** Extents of most kernels over rows. */
export interface RowsSize {
  readonly rows: number;
  readonly cols: number;
}

/** Widths decide; rows differ little in cost. */
export const widthClass = ({ cols }: { readonly cols: number }): string =>
  `${Math.ceil(Math.log2(Math.max(1, cols)))}`;

type Extents = readonly [rows: number, cols: number];

/** `cases` and `sizes` of a family over rows × columns: each form with each of the sizes. */
export function rowCases<Form extends object>(
  forms: readonly Form[],
  nameOf: (form: Form) => string,
  { check, bench }: { readonly check: readonly Extents[]; readonly bench: readonly Extents[] },
): { readonly cases: readonly Case<Form, RowsSize>[]; readonly sizes: SizeReader<Form, RowsSize> } {
  const caseOf = (form: Form, [rows, cols]: Extents, use: 'check' | 'bench'): Case<Form, RowsSize> => ({
    name: `${rows}×${cols} ${nameOf(form)}`,
    form,
    size: { rows, cols },
    use,
  });
  return {
    cases: forms.flatMap((form) => [
      ...check.map((size) => caseOf(form, size, 'check')),
      ...bench.map((size) => caseOf(form, size, 'bench')),
    ]),
    sizes: {
      spelled: 'RxC',
      read: ([rows, cols, ...more], form) =>
        rows && cols && more.length === 0 ? caseOf(form, [rows, cols], 'bench') : undefined,
    },
  };
}

/** What of a kernel over rows differs from part to part of its family. */
export interface RowKernel {
  readonly label: string;
  readonly buffers: Record<string, string>;
  readonly dtypes?: Readonly<Record<string, DType>>;
  /** WGSL of functions that the body calls. */
  readonly functions?: string;
  /** WGSL, in `main`. */
  readonly body: string;
}

/** A kernel with one workgroup a row: `build` gives what stands in `main` where `row` and `lane` are known. */
export const rowShader = <F extends object, P extends Record<string, ParamType>>(
  name: string,
  form: F,
  reduction: RowVariant,
  build: (form: F, reduction: RowVariant) => RowKernel & { readonly params: P },
): Shader<P> =>
  shaderOf(name, { ...form, reduction }, (whole) => {
    const { label, params, buffers, dtypes, functions = '', body } = build(whole, whole.reduction);
    const { prelude, subgroups, lanes } = rowReductionOf(whole.reduction);
    return {
      label,
      params,
      buffers,
      ...(dtypes ? { dtypes } : {}),
      subgroups,
      body: `${functions}${prelude}${rowMain({ lanes }, 'p.rows')}${body}
}`,
    };
  });

/** Those of `rowWays`, of which the first works everywhere. `run` launches the shader that it is given. */
export function rowVariants<
  Form extends object,
  Size extends object,
  Operands,
  P extends Record<string, ParamType>,
>(
  shader: (form: Form, reduction: RowVariant) => Shader<P>,
  run: (shader: Shader<P>, gpu: Gpu, form: Form, size: Size, operands: Operands) => void,
): [Variant<Form, Size, Operands>, ...Variant<Form, Size, Operands>[]] {
  const variant = ({
    name,
    why,
    supports,
    prior,
  }: (typeof rowWays)[number]): Variant<Form, Size, Operands> => ({
    name,
    why,
    supports,
    prior,
    shaders: (_, form) => ({ rows: shader(form, name) }),
    run: (gpu, form, size, operands) => run(shader(form, name), gpu, form, size, operands),
  });
  const [first, ...others] = rowWays;
  return [variant(first), ...others.map(variant)];
}
