/**
 * Sums of elements at places that an index on the device names. Every place of the result has one thread, which adds up what
 * comes there in the order of the index: no atomics, the same sum in the same order every time. Of short lines each place
 * looks through its few picks; else picks are sorted by their place, so that each place has a segment.
 */
import { type DType, Tensor } from '../../tensor/tensor.js';
import { FLAT_MAIN, flatGroups } from '../launch/grid.js';
import { byRows, flat, partsOf, windowed, windowRoom } from '../launch/operands.js';
import { threadSum } from '../launch/rows.js';
import { shaderOf } from '../launch/shader.js';
import { sortedPairs } from '../sort/merge.js';
import { readStrided } from '../strided/strided.js';
import { indexRange, type Picks } from './layout.js';

/** What sums are made of; halves are cast before. */
export type SummedDType = Extract<DType, 'f32' | 'i32' | 'u32'>;

/** Picks that every thread looks through, rather than having them sorted, and places of a line where that is done. */
const FEW = 16;
const SHORT = 64;

interface Sums {
  readonly source: Tensor;
  readonly index: Tensor;
  readonly out: Tensor;
  readonly picks: Picks;
  readonly accumulate: boolean;
}

const typeOf = (dtype: DType): SummedDType => dtype as SummedDType;

function lookThrough({ source, index, out, picks: picked, accumulate }: Sums): void {
  const { inner, picks, extent, by } = picked;
  const all = { ...picked, by: 'elements' } as const;
  shaderOf('scatterAdd', { by, dtype: typeOf(out.dtype), index: index.dtype }, (form) => ({
    label: 'scatterAdd',
    params: {
      count: 'u32',
      first: 'u32',
      inner: 'u32',
      picks: 'u32',
      extent: 'u32',
      accumulate: 'u32',
      baseI: 'u32',
      baseX: 'u32',
    } as const,
    buffers: { X: `array<${form.dtype}>`, I: 'array<u32>', ioY: `array<${form.dtype}>` },
    dtypes: { I: form.index },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  let at = p.first + i;
  let place = at / p.inner % p.extent;
  // Of our column the first of the elements that may come here.
  let column = at / p.inner / p.extent * p.picks * p.inner + at % p.inner;
  var sum = ${form.dtype}();
  if (p.accumulate != 0u) { sum = ioY[i]; }
  for (var m = 0u; m < p.picks; m++) {
    let id = I[${form.by === 'rows' ? 'm' : 'column + m * p.inner'} - p.baseI];
    if (id == place) { sum += X[column + m * p.inner - p.baseX]; }
  }
  ioY[i] = sum;
}`,
  })).launch(
    out.gpu,
    {
      X: windowed(source, out.size, ({ start, count }) => indexRange(all, start, count, true, extent)),
      I: windowed(index, out.size, ({ start, count }) => indexRange(picked, start, count, true, extent)),
      ioY: flat(out),
    },
    ({ start, count }, base) => ({
      count,
      first: start,
      inner,
      picks,
      extent,
      accumulate: accumulate ? 1 : 0,
      baseI: base['I']!,
      baseX: base['X']!,
    }),
    ({ count }) => flatGroups(count),
  );
}

/** Of each element of the source the element of the result that it comes to, the largest number where that is none. */
function placesOf(index: Tensor, { inner, picks, extent }: Picks): Tensor {
  const places = Tensor.empty(index.gpu, [index.size], 'u32', 'workspace');
  shaderOf('scatterAdd.places', { index: index.dtype }, (form) => ({
    label: 'scatterAdd.places',
    params: { count: 'u32', first: 'u32', inner: 'u32', picks: 'u32', extent: 'u32' } as const,
    buffers: { I: 'array<u32>', outY: 'array<u32>' },
    dtypes: { I: form.index },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  let at = p.first + i;
  let place = (at / p.inner / p.picks * p.extent + I[i]) * p.inner + at % p.inner;
  outY[i] = select(0xffffffffu, place, I[i] < p.extent);
}`,
  })).launch(
    index.gpu,
    { I: flat(index), outY: flat(places) },
    ({ start, count }) => ({ count, first: start, inner, picks, extent }),
    ({ count }) => flatGroups(count),
  );
  return places;
}

/**
 * Adds the elements of sorted pairs to their places. Of the pairs of a place the first has the threads that add up all of
 * them, in their order, so that places which no pair names cost nothing. `ahead`: entries of the index before those of the
 * pairs.
 */
function addSegments(
  pairs: Tensor,
  ahead: number,
  { source, out, picks: { outer, inner, picks, extent } }: Sums,
): void {
  const { gpu } = out;
  const form = { dtype: typeOf(out.dtype), four: inner % 4 === 0 && out.dtype === 'f32' };
  const width = form.four ? 4 : 1;
  const columns = inner / width;
  const shader = shaderOf('scatterAdd.segments', form, ({ dtype, four }) => {
    const type = four ? 'vec4f' : dtype;
    return {
      label: 'scatterAdd.segments',
      params: {
        count: 'u32',
        entries: 'u32',
        inner: 'u32',
        picks: 'u32',
        extent: 'u32',
        ahead: 'u32',
        firstX: 'u32',
        endX: 'u32',
        firstY: 'u32',
        endY: 'u32',
      } as const,
      buffers: { X: `array<${type}>`, pairs: 'array<vec2u>', ioY: `array<${type}>` },
      body: `
fn valueOf(k: u32, column: u32) -> ${type} {
  let at = column + (p.ahead + pairs[k].y) * p.inner;
  if (at < p.firstX || at >= p.endX) { return ${type}(); }
  return X[at - p.firstX];
}
${FLAT_MAIN}
  if (i >= p.count) { return; }
  let k = i / p.inner % p.entries;
  let place = pairs[k].x;
  if (place >= p.extent || (k > 0u && pairs[k - 1u].x == place)) { return; }
  let block = i / p.inner / p.entries;
  let at = (block * p.extent + place) * p.inner + i % p.inner;
  if (at < p.firstY || at >= p.endY) { return; }
  // The pairs of the place end before the first of another.
  var end = k + 1u;
  var high = p.entries;
  while (end < high) {
    let tried = (end + high) / 2u;
    if (pairs[tried].x == place) { end = tried + 1u; } else { high = tried; }
  }
  let column = block * p.picks * p.inner + i % p.inner;
  ${threadSum('sum', type, ['k', 'end', '1u'], (c) => `valueOf(${c}, column)`)}
  ioY[at - p.firstY] += sum;
}`,
    };
  });
  for (const to of partsOf('scatterAdd', gpu, flat(out, { each: width })))
    for (const from of partsOf('scatterAdd', gpu, flat(source, { each: width })))
      shader.launch(
        gpu,
        { X: from.operand, pairs: byRows(pairs, { rows: pairs.size / 2 }), ioY: to.operand },
        ({ count }) => ({
          count: outer * count * columns,
          entries: count,
          inner: columns,
          picks,
          extent,
          ahead,
          firstX: from.start,
          endX: from.start + from.count,
          firstY: to.start,
          endY: to.start + to.count,
        }),
        ({ count }) => flatGroups(outer * count * columns),
      );
}

/**
 * out[o, index, i] (+)= source[o,m,i] for the index at [m], or at [o,m,i]; out: [outer, extent, inner] and source: [outer,
 * picks, inner], both f32, i32 or u32; index: u32 or i32, of which what is not below the extent adds to nothing. Without
 * `accumulate` all of `out` is written.
 */
export function scatterAdd(sums: Sums): void {
  const { source, index, out, picks } = sums;
  const { outer, extent, inner } = picks;
  if (out.size === 0) return;
  const block = 4 * picks.picks * inner;
  if (
    picks.picks <= FEW &&
    extent <= SHORT &&
    (outer === 1 || block <= 4 * windowRoom(source)) &&
    block <= source.gpu.capabilities.maxBindingSize
  ) {
    lookThrough(sums);
    return;
  }
  if (!sums.accumulate) out.fillZero();
  if (picks.by === 'rows') {
    addSorted(index, true, sums);
    return;
  }
  const places = placesOf(index, picks);
  const [length, results] = [places.size, outer * extent * inner];
  addSorted(places, false, {
    ...sums,
    picks: { outer: 1, extent: results, inner: 1, picks: length, by: 'rows' },
  });
  places.dispose();
}

/** In parts of the index whose pairs a binding shows, one after the other. `bits`: the index may be i32. */
function addSorted(index: Tensor, bits: boolean, sums: Sums): void {
  const room = 8 * Math.floor(index.gpu.capabilities.maxBindingSize / 64);
  for (let start = 0; start < index.size; start += room) {
    const length = Math.min(room, index.size - start);
    const part = readStrided(index, [length], { start, strides: [1] });
    const pairs = sortedPairs(part, { rows: 1, length, descending: false, bits });
    addSegments(pairs, start, sums);
    pairs.dispose();
    part.dispose();
  }
}

/** The tensor of `shape` [outer, extent, inner] of zeros but source[o,m,i] at [o, index[o,m,i], i], where no place is named twice. */
export function scatterDistinct(
  source: Tensor,
  index: Tensor,
  picks: Picks,
  shape: readonly number[],
): Tensor {
  const out = Tensor.zeros(source.gpu, shape, source.dtype);
  if (source.size === 0) return out;
  const { inner, extent } = picks;
  for (const part of partsOf('scatter', out.gpu, flat(out)))
    shaderOf('scatter', { index: index.dtype }, (form) => ({
      label: 'scatter',
      params: {
        count: 'u32',
        first: 'u32',
        inner: 'u32',
        picks: 'u32',
        extent: 'u32',
        start: 'u32',
        end: 'u32',
      } as const,
      buffers: { X: 'array<f32>', I: 'array<u32>', ioY: 'array<f32>' },
      dtypes: { I: form.index },
      body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  let at = p.first + i;
  let place = (at / p.inner / p.picks * p.extent + I[i]) * p.inner + at % p.inner;
  if (place >= p.start && place < p.end) { ioY[place - p.start] = X[i]; }
}`,
    })).launch(
      out.gpu,
      { X: flat(source), I: flat(index), ioY: part.operand },
      ({ start, count }) => ({
        count,
        first: start,
        inner,
        picks: picks.picks,
        extent,
        start: part.start,
        end: part.start + part.count,
      }),
      ({ count }) => flatGroups(count),
    );
  return out;
}
