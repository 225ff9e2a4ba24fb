/**
 * Elements at places that an index on the device names, moved by their bits, and rows with a one at such places. No place
 * outside is read: where an index names none, a NaN stands in the result, of integers a 0.
 */
import { type DType, Tensor } from '../../tensor/tensor.js';
import { FLAT_MAIN, flatGroups } from '../launch/grid.js';
import { flat, partsOf, windowed } from '../launch/operands.js';
import { shaderOf } from '../launch/shader.js';
import { bitsOf } from '../make.js';
import { indexRange, NO_PLACE, type Picks } from './layout.js';

interface TakeForm {
  readonly by: Picks['by'];
  /** Words that a thread moves, or one of two halves that lie apart. */
  readonly unit: 'words4' | 'words1' | 'halves';
  readonly dtype: DType;
  readonly index: DType;
}

const takeShader = (form: TakeForm) =>
  shaderOf('take', form, ({ by, unit, dtype, index }) => {
    const type = unit === 'words4' ? 'array<vec4u>' : 'array<u32>';
    // Of a unit of the result: the place that it is taken from, in units of x.
    const place = `
fn idOf(at: u32) -> u32 {
  return I[${by === 'elements' ? 'at' : '(at / p.inner) % p.picks'} - p.baseI];
}
fn placeOf(at: u32, id: u32) -> u32 {
  return (at / p.inner / p.picks * p.extent + id) * p.inner + at % p.inner;
}`;
    const words = `
  let at = p.first + i;
  let id = idOf(at);
  if (id >= p.extent) {
    if (p.start == 0u) { ioY[i] = ${unit === 'words4' ? 'vec4u(p.none)' : 'p.none'}; }
    return;
  }
  let place = placeOf(at, id);
  if (place >= p.start && place < p.end) { ioY[i] = X[place - p.start]; }`;
    const halves = `
  var word = ioY[i];
  for (var half = 0u; half < 2u; half++) {
    let at = 2u * (p.first + i) + half;
    if (at >= p.size) { break; }
    let id = idOf(at);
    if (id >= p.extent) {
      if (p.start == 0u) { word = insertBits(word, p.none, 16u * half, 16u); }
      continue;
    }
    let place = placeOf(at, id);
    if (place >= p.start && place < p.end) {
      let own = place - p.start;
      word = insertBits(word, X[own / 2u] >> (16u * (own % 2u)), 16u * half, 16u);
    }
  }
  ioY[i] = word;`;
    return {
      label: 'take',
      params: {
        count: 'u32',
        first: 'u32',
        size: 'u32',
        inner: 'u32',
        picks: 'u32',
        extent: 'u32',
        start: 'u32',
        end: 'u32',
        baseI: 'u32',
        none: 'u32',
      } as const,
      buffers: { X: type, I: 'array<u32>', ioY: type },
      dtypes: { X: dtype, I: index, ioY: dtype },
      body: `${place}
${FLAT_MAIN}
  if (i >= p.count) { return; }${unit === 'halves' ? halves : words}
}`,
    };
  });

/** What a thread moves, and how many elements that are. */
function unitOf(dtype: DType, { inner, by }: Picks): { unit: TakeForm['unit']; width: number } {
  const perWord = dtype === 'f16' ? 2 : 1;
  const fits = (width: number) => (by === 'rows' ? inner % width === 0 : width === 1);
  if (fits(4 * perWord)) return { unit: 'words4', width: 4 * perWord };
  if (fits(perWord)) return { unit: 'words1', width: perWord };
  return { unit: 'halves', width: 2 };
}

/**
 * The tensor of `shape`, seen as [outer, picks, inner], whose element [o,m,i] is x[o, index, i] for the index at [m], or at
 * [o,m,i]. x: any dtype, of any size; index: u32 or i32. `none`: what stands where the index is not below the extent, in a
 * format that has it: NaN by default, of integers and bools 0.
 */
export function take(
  x: Tensor,
  index: Tensor,
  picks: Picks,
  shape: readonly number[],
  none: 'NaN' | 'zero' = 'NaN',
): Tensor {
  const { gpu, dtype } = x;
  const out = Tensor.empty(gpu, shape, dtype);
  if (out.size === 0) return out;
  const { unit, width } = unitOf(dtype, picks);
  // Halves are found one by one, whatever a thread writes of them.
  const inUnits = unit === 'halves' ? 1 : width;
  const units = Math.ceil(out.size / width);
  const shader = takeShader({ by: picks.by, unit, dtype, index: index.dtype });
  for (const part of partsOf('take', gpu, flat(x, { each: inUnits })))
    shader.launch(
      gpu,
      {
        X: part.operand,
        I: windowed(index, units, ({ start, count }) =>
          indexRange(picks, start * width, Math.min(count * width, out.size - start * width)),
        ),
        ioY: flat(out, { each: width }),
      },
      ({ start, count }, base) => ({
        count,
        first: start,
        size: out.size,
        inner: picks.inner / inUnits,
        picks: picks.picks,
        extent: picks.extent,
        start: part.start,
        end: part.start + part.count,
        baseI: base['I']!,
        none: none === 'zero' ? 0 : NO_PLACE[dtype],
      }),
      ({ count }) => flatGroups(count),
    );
  return out;
}

/** The index as u32, in which no place stands where `place` did. */
export function without(index: Tensor, place: number): Tensor {
  const out = Tensor.empty(index.gpu, index.shape, 'u32', 'workspace');
  shaderOf('take.without', { index: index.dtype }, (form) => ({
    label: 'take.without',
    params: { count: 'u32', place: 'u32' } as const,
    buffers: { I: 'array<u32>', outY: 'array<u32>' },
    dtypes: { I: form.index },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  outY[i] = select(I[i], 0xffffffffu, I[i] == p.place);
}`,
  })).launch(
    index.gpu,
    { I: flat(index), outY: flat(out) },
    ({ count }) => ({ count, place }),
    ({ count }) => flatGroups(count),
  );
  return out;
}

/** [...ids, classes] of 0, and of 1 where the last index is the id; an id that is no class has a row of zeros. ids: u32 or i32. */
export function oneHot(ids: Tensor, classes: number, dtype: DType): Tensor {
  const { gpu } = ids;
  const out = Tensor.empty(gpu, [...ids.shape, classes], dtype);
  if (out.size === 0) return out;
  const each = dtype === 'f16' ? 2 : 1;
  const units = Math.ceil(out.size / each);
  shaderOf('oneHot', { dtype, ids: ids.dtype }, (form) => ({
    label: 'oneHot',
    params: { count: 'u32', first: 'u32', size: 'u32', classes: 'u32', base: 'u32', one: 'u32' } as const,
    buffers: { I: 'array<u32>', outY: 'array<u32>' },
    dtypes: { I: form.ids, outY: form.dtype },
    body: `fn bitsOf(at: u32) -> u32 { return select(0u, p.one, I[at / p.classes - p.base] == at % p.classes); }
${FLAT_MAIN}
  if (i >= p.count) { return; }
  ${
    form.dtype === 'f16'
      ? 'let at = 2u * (p.first + i); outY[i] = bitsOf(at) | (bitsOf(min(at + 1u, p.size - 1u)) << 16u);'
      : 'outY[i] = bitsOf(p.first + i);'
  }
}`,
  })).launch(
    gpu,
    {
      I: windowed(ids, units, ({ start, count }) => {
        const [first, last] = [start * each, Math.min((start + count) * each, out.size) - 1];
        const [begin, end] = [Math.floor(first / classes), Math.floor(last / classes)];
        return [begin, end - begin + 1];
      }),
      outY: flat(out, { each }),
    },
    ({ start, count }, base) => ({
      count,
      first: start,
      size: out.size,
      classes,
      base: base['I']!,
      one: bitsOf('oneHot', dtype, dtype === 'bool' ? true : 1),
    }),
    ({ count }) => flatGroups(count),
  );
  return out;
}
