/** Largest value of each group of positions, as the sparse head takes of a word's tokens: the family `segmentMax`. */
import { f32, signature, u32 } from '../../tensor/operands.js';
import { Tensor } from '../../tensor/tensor.js';
import { RANKS } from '../elementary.js';
import { FLAT_MAIN, flatGroups } from '../launch/grid.js';
import { flat, partsOf } from '../launch/operands.js';
import { shaderOf } from '../launch/shader.js';
import { Draws, trialOf } from '../trials.js';
import { type Case, type Family, runVariant, type Variant, variantOf } from '../variants.js';

interface SegmentMaxForm {
  readonly part: 'value' | 'gradient';
}

interface SegmentMaxSize {
  /** Values of x. */
  readonly size: number;
  readonly groups: number;
}

interface SegmentMaxOperands {
  /** x, or for the gradient dx. */
  readonly x: Tensor;
  /** The maxima, or for the gradient dy. */
  readonly values: Tensor;
  readonly positions: Tensor;
  /** Of the value. */
  readonly groups: { readonly order: Tensor; readonly starts: Tensor } | undefined;
}

/** Position of a group that has none, or names one that x does not have; and of one of which nothing was seen so far. */
const NOWHERE = '0xffffffffu';
const UNSEEN = '0xfffffffeu';

const maximaShader = () =>
  shaderOf('segmentMax', {}, () => ({
    label: 'segmentMax',
    params: {
      groups: 'u32',
      positions: 'u32',
      size: 'u32',
      nan: 'u32',
      firstX: 'u32',
      endX: 'u32',
      firstK: 'u32',
      endK: 'u32',
      fresh: 'u32',
    } as const,
    buffers: {
      X: 'array<f32>',
      order: 'array<u32>',
      starts: 'array<u32>',
      ioV: 'array<f32>',
      ioP: 'array<u32>',
    },
    body: `${RANKS}${FLAT_MAIN}
  if (i >= p.groups) { return; }
  let begin = starts[i];
  let end = starts[i + 1u];
  var at = select(ioP[i], ${UNSEEN}, p.fresh != 0u);
  if (begin >= end || end > p.positions) { at = ${NOWHERE}; }
  // No number's rank is 0.
  var best = 0u;
  if (at < ${UNSEEN}) { best = rank(ioV[i]); }
  for (var k = max(begin, p.firstK); k < min(end, p.endK); k++) {
    if (at == ${NOWHERE}) { break; }
    let position = order[k - p.firstK];
    if (position >= p.size) { at = ${NOWHERE}; break; }
    if (position < p.firstX || position >= p.endX) { continue; }
    let v = rank(X[position - p.firstX]);
    if (v > best) { best = v; at = position; }
  }
  ioV[i] = select(unrank(best), bitcast<f32>(p.nan), at >= ${UNSEEN});
  ioP[i] = at;
}`,
  }));

const spreadShader = () =>
  shaderOf('segmentMaxGradient', {}, () => ({
    label: 'segmentMaxGradient',
    params: { groups: 'u32', first: 'u32', end: 'u32' } as const,
    buffers: { P: 'array<u32>', DY: 'array<f32>', outX: 'array<f32>' },
    body: `${FLAT_MAIN}
  if (i >= p.groups) { return; }
  // No position is as large as ${NOWHERE}.
  if (P[i] >= p.first && P[i] < p.end) { outX[P[i] - p.first] = DY[i]; }
}`,
  }));

const threads: Variant<SegmentMaxForm, SegmentMaxSize, SegmentMaxOperands> = {
  name: 'threads',
  why: 'a thread a group, which are short',
  supports: () => true,
  prior: () => 0,
  shaders: (_, { part }) => ({ [part]: part === 'value' ? maximaShader() : spreadShader() }),
  run(gpu, _, { size }, { x, values, positions, groups }) {
    if (!groups) {
      gpu.clear(x.binding());
      for (const part of partsOf('segmentMaxGradient', gpu, flat(x)))
        spreadShader().launch(
          gpu,
          { P: flat(positions), DY: flat(values), outX: part.operand },
          ({ count }) => ({ groups: count, first: part.start, end: part.start + part.count }),
          ({ count }) => flatGroups(count),
        );
      return;
    }
    const { order, starts } = groups;
    for (const listed of partsOf('segmentMax', gpu, flat(order)))
      for (const part of partsOf('segmentMax', gpu, flat(x)))
        maximaShader().launch(
          gpu,
          {
            X: part.operand,
            order: listed.operand,
            starts: flat(starts, { beyond: 1 }),
            ioV: flat(values),
            ioP: flat(positions),
          },
          ({ count }) => ({
            groups: count,
            positions: order.size,
            size,
            // A constant that is no number would be an error in WGSL.
            nan: 0x7fc00000,
            firstX: part.start,
            endX: part.start + part.count,
            firstK: listed.start,
            endK: listed.start + listed.count,
            fresh: listed.first && part.first ? 1 : 0,
          }),
          ({ count }) => flatGroups(count),
        );
  },
};

const formName = ({ part }: SegmentMaxForm): string => (part === 'value' ? 'f32' : 'gradient f32');

const caseOf = (
  form: SegmentMaxForm,
  [size, groups]: readonly [number, number],
  use: 'check' | 'bench',
): Case<SegmentMaxForm, SegmentMaxSize> => ({
  name: `${groups} of ${size} ${formName(form)}`,
  form,
  size: { size, groups },
  use,
});

export const segmentMaxFamily: Family<SegmentMaxForm, SegmentMaxSize, SegmentMaxOperands> = {
  name: 'segmentMax',
  summary: 'largest value of each group of positions, and its gradient',
  variants: [threads],
  formName,
  sizeClass: () => 'any',
  cases: (['value', 'gradient'] as const).flatMap((part) => [
    caseOf({ part }, [11, 4], 'check'),
    caseOf({ part }, [1000, 700], 'check'),
    caseOf({ part }, [1728, 1200], 'bench'),
  ]),
  // Forward: each position, its value, and the bounds; the gradient: all of dx.
  cost: ({ part }, { size, groups }) => ({
    flops: part === 'value' ? size : 0,
    bytes: part === 'value' ? 8 * size + 12 * groups : 4 * size + 8 * groups,
  }),
  tolerance: () => 0,
  trial(gpu, form, size) {
    const { size: values, groups } = size;
    const draws = new Draws(gpu, values + groups);
    const x = draws.floats([values]);
    // Position k is in group k % groups, so that all groups have some.
    const lists = Array.from({ length: groups }, (_, g) =>
      Array.from({ length: Math.ceil((values - g) / groups) }, (_, n) => g + n * groups),
    );
    const best = lists.map((list) => list.reduce((a, b) => (x.values[b]! > x.values[a]! ? b : a)));
    const u32s = (numbers: readonly number[]) =>
      draws.kept(Tensor.from(gpu, Uint32Array.from(numbers), [numbers.length], 'u32'));
    const run = (name: string | undefined, operands: SegmentMaxOperands) =>
      variantOf(gpu, segmentMaxFamily, form, size, name).run(gpu, form, size, operands);
    if (form.part === 'gradient') {
      const dy = draws.floats([groups]);
      const positions = u32s(best);
      const dx = draws.empty([values]);
      const right = new Float64Array(values);
      for (const [g, at] of best.entries()) right[at] = dy.values[g]!;
      return trialOf(draws, [{ output: dx, parts: () => [{ start: 0, values: right }] }], (name) =>
        run(name, { x: dx, values: dy.tensor, positions, groups: undefined }),
      );
    }
    const bounds = [0];
    for (const list of lists) bounds.push(bounds.at(-1)! + list.length);
    const listed = { order: u32s(lists.flat()), starts: u32s(bounds) };
    const maxima = draws.empty([groups]);
    const positions = draws.kept(Tensor.empty(gpu, [groups], 'u32'));
    return trialOf(
      draws,
      [
        { output: maxima, parts: () => [{ start: 0, values: best.map((at) => x.values[at]!) }] },
        { output: positions, parts: () => [{ start: 0, values: best }] },
      ],
      (name) => run(name, { x: x.tensor, values: maxima, positions, groups: listed }),
    );
  },
};

function run(part: SegmentMaxForm['part'], operands: SegmentMaxOperands): void {
  const { x, positions } = operands;
  runVariant(x.gpu, segmentMaxFamily, { part }, { size: x.size, groups: positions.size }, operands);
}

const SEGMENT_MAX = signature('segmentMax', {
  x: f32('...'),
  order: u32('positions'),
  starts: u32('groups+1'),
});

/**
 * Largest value of each group of positions, and the first position that has it. x: [n]; order: positions sorted
 * by group, and within one; starts: [groups+1]. A NaN is the largest. A group that is empty, leaves `order` or names a
 * position that x does not have is NaN and gets no gradient: only the device sees these numbers.
 */
export function segmentMax(x: Tensor, order: Tensor, starts: Tensor): { values: Tensor; positions: Tensor } {
  SEGMENT_MAX.check({ x, order, starts });
  const { gpu } = x;
  const values = Tensor.empty(gpu, [starts.size - 1]);
  const positions = Tensor.empty(gpu, [starts.size - 1], 'u32');
  run('value', { x, values, positions, groups: { order, starts } });
  return { values, positions };
}

/** dx of `segmentMax`: zero but dy at each group's position. x has `size` elements. */
export function segmentMaxGradient(positions: Tensor, dy: Tensor, size: number): Tensor {
  const dx = Tensor.empty(dy.gpu, [size]);
  run('gradient', { x: dx, values: dy, positions, groups: undefined });
  return dx;
}
