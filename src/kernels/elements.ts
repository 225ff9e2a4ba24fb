/**
 * The family `pointwise`: operations of one operand over floats, and how many groups of four values a thread works on,
 * which holds for the other kernels over single elements too.
 */
import type { Gpu } from '../gpu/gpu.js';
import { bytesPerElement, type DType, type Tensor } from '../tensor/tensor.js';
import { type ElementwiseForm, flatDefinition, readsOf } from './elementwise.js';
import { type UnaryFormula, type UnaryName, unaryFormulas } from './formulas.js';
import type { FloatDType } from './launch/formats.js';
import { type Each, fours, groupsOfFours } from './launch/grid.js';
import { flat, type Operand } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';
import { Draws, trialOf } from './trials.js';
import { type Case, choose, type Family, runVariant, type Variant, variantOf } from './variants.js';

interface ElementsForm {
  readonly op: UnaryName;
  readonly part: 'value' | 'gradient';
  readonly dtype: FloatDType;
}

interface ElementsSize {
  readonly count: number;
}

/** What the form's formula reads, the result, and the numbers that the row has. */
export interface ElementsOperands {
  readonly x?: Tensor | undefined;
  readonly y?: Tensor | undefined;
  readonly dy?: Tensor | undefined;
  readonly out: Tensor;
  readonly numbers: Readonly<Record<string, number>>;
}

const reads = ({ op, part, dtype }: ElementsForm) => readsOf(op, part, dtype) as ('x' | 'y' | 'dy')[];

const shaderFor = (form: ElementsForm, each: Each) =>
  shaderOf('elements', { ...form, each }, (form: ElementsForm & { readonly each: Each }) =>
    flatDefinition({ ...form, out: form.dtype } satisfies ElementwiseForm & { readonly each: Each }),
  );

type ElementsVariant = Variant<ElementsForm, ElementsSize, ElementsOperands>;

const variant = (
  each: Each,
  { name, why, prior }: Pick<ElementsVariant, 'name' | 'why' | 'prior'>,
): ElementsVariant => ({
  name,
  why,
  prior,
  supports: () => true,
  shaders: (_, form) => ({ elements: shaderFor(form, each) }),
  run(gpu, form, _, { out, numbers, ...tensors }) {
    const operands: Record<string, Operand> = { outY: flat(out) };
    for (const name of reads(form)) operands[`in_${name}`] = flat(tensors[name]!);
    shaderFor(form, each).launch(
      gpu,
      operands,
      (piece) => ({ count: fours(piece), ...numbers }),
      groupsOfFours,
    );
  },
});

const OPS = ['gelu', 'geluTanh', 'exp', 'neg'] as const;
const DTYPES = ['f32', 'f16'] as const;
const PARTS = ['value', 'gradient'] as const;

const caseOf = (
  form: ElementsForm,
  count: number,
  use: 'check' | 'bench',
): Case<ElementsForm, ElementsSize> => ({
  name: `${form.op}${form.part === 'value' ? '' : ' gradient'} ${count} ${form.dtype}`,
  form,
  size: { count },
  use,
});

/** Outputs of the intermediate layer of bge-m3's feed-forward, for 1,728 tokens. */
const BENCHED = 1728 * 4096;

export const elementsFamily: Family<ElementsForm, ElementsSize, ElementsOperands> = {
  name: 'pointwise',
  formName: ({ op, part, dtype }) => `${op}${part === 'value' ? '' : ' gradient'} ${dtype}`,
  summary: 'operations on single elements, forward and gradient; GELU is the one that training waits for',
  variants: [
    variant(1, {
      name: 'one',
      why: 'a group of four values a thread, neighbours side by side: what GPUs coalesce',
      prior: () => 0,
    }),
    variant(4, {
      name: 'four',
      why: 'four groups a thread in a loop: on CPUs a thread costs about as much as a load',
      prior: ({ software }) => (software ? 1 : -1),
    }),
  ],
  // What differs is the device, not the size.
  sizeClass: () => 'any',
  cases: [
    ...OPS.flatMap((op) =>
      DTYPES.flatMap((dtype) => PARTS.map((part) => caseOf({ op, part, dtype }, 1044, 'check'))),
    ),
    ...DTYPES.flatMap((dtype) => PARTS.map((part) => caseOf({ op: 'gelu', part, dtype }, BENCHED, 'bench'))),
    caseOf({ op: 'geluTanh', part: 'value', dtype: 'f32' }, BENCHED, 'bench'),
  ],
  cost: (form, { count }) => ({
    // Of GELU: about; others are cheaper still, and memory is what binds.
    flops: (form.op.startsWith('gelu') ? 30 : 1) * count,
    bytes: bytesPerElement[form.dtype] * count * (1 + reads(form).length),
  }),
  tolerance: ({ dtype }) => (dtype === 'f16' ? 1e-3 : 2e-6),
  trial(gpu, form, size) {
    const { op, part, dtype } = form;
    const { host }: UnaryFormula = unaryFormulas[op];
    const draws = new Draws(gpu, size.count);
    const x = draws.floats([size.count], dtype, 0, 8);
    const dy = part === 'gradient' ? draws.floats([size.count], dtype) : undefined;
    // Forward's result, rounded as forward rounds it.
    const y = reads(form).includes('y')
      ? draws.from(
          x.values.map((v) => host(v)),
          [size.count],
          dtype,
        )
      : undefined;
    const out = draws.empty([size.count], dtype);
    const probes = Math.min(size.count, 4096);
    const slope = (v: number) => (host(v + 1e-5) - host(v - 1e-5)) / 2e-5;
    const right = (i: number) => {
      if (!dy) return host(x.values[i]!);
      // The gradient of exp is taken from the y that is given.
      return dy.values[i]! * (y && op === 'exp' ? y.values[i]! : slope(x.values[i]!));
    };
    const parts = () => [
      { start: 0, values: Float64Array.from({ length: probes }, (_, i) => right(i)) },
      {
        start: size.count - probes,
        values: Float64Array.from({ length: probes }, (_, i) => right(size.count - probes + i)),
      },
    ];
    return trialOf(draws, [{ output: out, parts }], (name) =>
      variantOf(gpu, elementsFamily, form, size, name).run(gpu, form, size, {
        x: x.tensor,
        y: y?.tensor,
        dy: dy?.tensor,
        out,
        numbers: {},
      }),
    );
  },
};

/** How many groups of four values a thread of the other kernels over elements works on: as many as for a negation. */
export function eachOf(gpu: Gpu, dtype: DType, count: number): Each {
  const form = { op: 'neg', part: 'value', dtype: dtype === 'f16' ? 'f16' : 'f32' } as const;
  const chosen = choose(gpu, elementsFamily, form, { count });
  return chosen.name === 'four' ? 4 : 1;
}

/** One operation of one operand, or its gradient. */
export function runElements(gpu: Gpu, form: ElementsForm, operands: ElementsOperands): void {
  runVariant(gpu, elementsFamily, form, { count: operands.out.size }, operands);
}
