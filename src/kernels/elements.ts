/**
 * Kernels over single elements: how many groups of four values a thread works on, the family `pointwise`, and the
 * operations of one operand, from their formulas. f16 tensors are computed in f32 and rounded once, when written.
 */
import type { Gpu } from '../gpu/gpu.js';
import { anyNumber, floats, signature } from '../tensor/operands.js';
import { bytesPerElement, Tensor } from '../tensor/tensor.js';
import { elementary } from './elementary.js';
import { byName, readsOperand, type UnaryFormula, type UnaryName, unaryFormulas } from './formulas.js';
import { type FloatDType, floatDType, load4, store4, vec4Type } from './launch/formats.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { flat, type Operand, type Piece } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';
import { Draws, trialOf } from './trials.js';
import { type Case, choose, type Family, runVariant, type Variant, variantOf } from './variants.js';

/** Groups of four values of a piece; what lies after the last value is room that every tensor has. */
export const fours = ({ count }: Piece): number => Math.ceil(count / 4);

/** Workgroups for them, with any number a thread: all have 256 of them. */
export const groupsOfFours = (piece: Piece): number => flatGroups(fours(piece));

/** Groups of four values that a thread works on: variants of the family `pointwise`. */
export type Each = 1 | 4;

/** WGSL: `main` that does `work`, over groups of four values by their number `i`, for `p.count` of them. */
export const elementMain = (each: Each, work: string): string =>
  each === 1
    ? `${FLAT_MAIN}
  if (i >= p.count) { return; }
  ${work}
}`
    : `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let first = ((group.y * groups.x + group.x) * 64u + local) * 4u;
  for (var i = first; i < min(first + 4u, p.count); i++) {
  ${work}
  }
}`;

interface ElementsForm {
  readonly op: UnaryName;
  readonly part: 'value' | 'gradient';
  readonly dtype: FloatDType;
}

interface ElementsSize {
  readonly count: number;
}

interface ElementsOperands {
  /** x, or for the gradient what forward saved; not read where it saves nothing. */
  readonly saved: Tensor | undefined;
  readonly dy: Tensor | undefined;
  readonly out: Tensor;
  readonly scalar: number;
}

const savedBy = ({ op, part }: ElementsForm): 'x' | 'y' | 'nothing' =>
  part === 'value' ? 'x' : (unaryFormulas[op] as UnaryFormula).saves;

const unaryShader = (form: ElementsForm, each: Each) =>
  shaderOf('unary', { ...form, each }, ({ op, part, dtype, each }) => {
    const formula: UnaryFormula = unaryFormulas[op];
    const saves = savedBy({ op, part, dtype });
    const type = vec4Type(dtype);
    return {
      label: part === 'value' ? op : `${op}Gradient`,
      params: { count: 'u32', s: 'f32' } as const,
      buffers: {
        ...(part === 'gradient' ? { DY: type } : {}),
        outY: type,
        ...(saves === 'nothing' ? {} : { S: type }),
      },
      body: `${elementary('vec4f')}
${elementMain(
  each,
  `let s = p.s;
  ${part === 'gradient' ? `let dy = ${load4(dtype, 'DY', 'i')};` : ''}
  ${saves === 'nothing' ? '' : `let ${saves} = ${load4(dtype, 'S', 'i')};`}
  ${store4(dtype, 'outY', 'i', part === 'value' ? formula.forward : formula.gradient)}`,
)}`,
    };
  });

type ElementsVariant = Variant<ElementsForm, ElementsSize, ElementsOperands>;

const variant = (
  each: Each,
  { name, why, prior }: Pick<ElementsVariant, 'name' | 'why' | 'prior'>,
): ElementsVariant => ({
  name,
  why,
  prior,
  supports: () => true,
  shaders: (_, form) => ({ elements: unaryShader(form, each) }),
  run(gpu, form, _, { saved, dy, out, scalar }) {
    const operands: Record<string, Operand> = { outY: flat(out) };
    if (form.part === 'gradient') operands['DY'] = flat(dy!);
    if (savedBy(form) !== 'nothing') operands['S'] = flat(saved!);
    unaryShader(form, each).launch(
      gpu,
      operands,
      (piece) => ({ count: fours(piece), s: scalar }),
      groupsOfFours,
    );
  },
});

const OPS = ['gelu', 'geluTanh', 'exp', 'scale'] as const;
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
    bytes:
      bytesPerElement[form.dtype] *
      count *
      (1 + (form.part === 'gradient' ? 1 : 0) + (savedBy(form) === 'nothing' ? 0 : 1)),
  }),
  tolerance: ({ dtype }) => (dtype === 'f16' ? 1e-3 : 2e-6),
  trial(gpu, form, size) {
    const { op, part, dtype } = form;
    const { host }: UnaryFormula = unaryFormulas[op];
    const draws = new Draws(gpu, size.count);
    const scalar = 1.5;
    const x = draws.floats([size.count], dtype, 0, 8);
    const dy = part === 'gradient' ? draws.floats([size.count], dtype) : undefined;
    const saves = savedBy(form);
    // Forward's result, rounded as forward rounds it.
    const y =
      saves === 'y'
        ? draws.from(
            x.values.map((v) => host(v, scalar)),
            [size.count],
            dtype,
          )
        : undefined;
    const out = draws.empty([size.count], dtype);
    const probes = Math.min(size.count, 4096);
    const slope = (v: number) => (host(v + 1e-5, scalar) - host(v - 1e-5, scalar)) / 2e-5;
    const right = (i: number) => {
      if (!dy) return host(x.values[i]!, scalar);
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
    const saved = saves === 'nothing' ? undefined : (y ?? x).tensor;
    return trialOf(draws, [{ output: out, parts }], (name) =>
      variantOf(gpu, elementsFamily, form, size, name).run(gpu, form, size, {
        saved,
        dy: dy?.tensor,
        out,
        scalar,
      }),
    );
  },
};

/** How many groups of four values a thread of the other kernels over elements works on: as many as for a negation. */
export function eachOf(gpu: Gpu, dtype: FloatDType, count: number): Each {
  const chosen = choose(gpu, elementsFamily, { op: 'neg', part: 'value', dtype }, { count });
  return chosen.name === 'four' ? 4 : 1;
}

/** Only where the formula has one is there a number beside x. */
const UNARY = byName(unaryFormulas, (name) =>
  signature(
    name,
    { x: floats('...') },
    { numbers: readsOperand(unaryFormulas[name].forward, 's') ? { s: anyNumber } : {} },
  ),
);

/** `scalar`: the formula's `s`. @throws ShapeError. */
export function unary(name: UnaryName, x: Tensor, scalar?: number): Tensor {
  UNARY[name].check({ x }, { s: scalar as number });
  const form: ElementsForm = { op: name, part: 'value', dtype: floatDType(name, x) };
  const out = Tensor.empty(x.gpu, x.shape, form.dtype);
  run(x.gpu, form, { saved: x, dy: undefined, out, scalar: scalar ?? 0 });
  return out;
}

/** `saved` is x or y, as the formula says; ignored when it saves nothing. */
export function unaryGradient(name: UnaryName, saved: Tensor | undefined, dy: Tensor, scalar = 0): Tensor {
  const form: ElementsForm = { op: name, part: 'gradient', dtype: floatDType(name, dy) };
  const out = Tensor.empty(dy.gpu, dy.shape, form.dtype);
  run(dy.gpu, form, { saved, dy, out, scalar });
  return out;
}

function run(gpu: Gpu, form: ElementsForm, operands: ElementsOperands): void {
  const size = { count: operands.out.size };
  runVariant(gpu, elementsFamily, form, size, operands);
}
