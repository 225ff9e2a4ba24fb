/**
 * Sums of elements at places that an index on the device names. Every place of the result has one thread, which adds up what
 * comes there in the order of the index: no atomics, the same sum in the same order every time. Few picks each thread looks
 * through; many are sorted by their place, so that each place has a segment.
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

/** Picks that every thread looks through, rather than having them sorted. */
const FEW = 16;

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

/** [places+1] u32: where among sorted pairs those of each place begin. */
function startsOf(pairs: Tensor, places: number): Tensor {
  const count = pairs.size / 2;
  const starts = Tensor.empty(pairs.gpu, [places + 1], 'u32', 'workspace');
  // Part by part: what lies before a place in one part is added to what does in those before.
  for (const part of partsOf('scatterAdd.starts', pairs.gpu, byRows(pairs, { rows: count })))
    shaderOf('scatterAdd.starts', {}, () => ({
      label: 'scatterAdd.starts',
      params: { count: 'u32', first: 'u32', length: 'u32', begin: 'u32' } as const,
      buffers: { pairs: 'array<vec2u>', ioY: 'array<u32>' },
      body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  var low = 0u;
  var high = p.length;
  while (low < high) {
    let tried = (low + high) / 2u;
    if (pairs[tried].x < p.first + i) { low = tried + 1u; } else { high = tried; }
  }
  var before = 0u;
  if (p.begin > 0u) { before = ioY[i]; }
  ioY[i] = before + low;
}`,
    })).launch(
      pairs.gpu,
      { pairs: part.operand, ioY: flat(starts) },
      (piece) => ({ count: piece.count, first: piece.start, length: part.count, begin: part.start }),
      (piece) => flatGroups(piece.count),
    );
  return starts;
}

/** `ahead`: entries of the index before those of the pairs. */
function addSegments(
  pairs: Tensor,
  ahead: number,
  { source, out, picks: { inner, picks, extent }, accumulate }: Sums,
): void {
  const { gpu } = out;
  const starts = startsOf(pairs, extent);
  const form = { dtype: typeOf(out.dtype), four: inner % 4 === 0 && out.dtype === 'f32' };
  const width = form.four ? 4 : 1;
  const shader = shaderOf('scatterAdd.segments', form, ({ dtype, four }) => {
    const type = four ? 'vec4f' : dtype;
    return {
      label: 'scatterAdd.segments',
      params: {
        count: 'u32',
        first: 'u32',
        inner: 'u32',
        picks: 'u32',
        extent: 'u32',
        accumulate: 'u32',
        baseS: 'u32',
        firstX: 'u32',
        endX: 'u32',
        firstK: 'u32',
        endK: 'u32',
        ahead: 'u32',
      } as const,
      buffers: { X: `array<${type}>`, pairs: 'array<vec2u>', starts: 'array<u32>', ioY: `array<${type}>` },
      body: `
fn valueOf(k: u32, column: u32) -> ${type} {
  let at = column + (pairs[k - p.firstK].y + p.ahead) * p.inner;
  if (at < p.firstX || at >= p.endX) { return ${type}(); }
  return X[at - p.firstX];
}
${FLAT_MAIN}
  if (i >= p.count) { return; }
  let at = p.first + i;
  let place = at / p.inner % p.extent;
  let column = at / p.inner / p.extent * p.picks * p.inner + at % p.inner;
  let begin = max(starts[place - p.baseS], p.firstK);
  let end = min(starts[place + 1u - p.baseS], p.endK);
  ${threadSum('sum', type, ['begin', 'end', '1u'], (k) => `valueOf(${k}, column)`)}
  if (p.accumulate != 0u) { sum += ioY[i]; }
  ioY[i] = sum;
}`,
    };
  });
  const places = { outer: 1, extent, inner, picks: extent, by: 'rows' } as const;
  for (const listed of partsOf('scatterAdd', gpu, byRows(pairs, { rows: pairs.size / 2 })))
    for (const from of partsOf('scatterAdd', gpu, flat(source, { each: width })))
      shader.launch(
        gpu,
        {
          X: from.operand,
          pairs: listed.operand,
          starts: windowed(starts, out.size / width, ({ start, count }) => {
            const [first, seen] = indexRange(places, start * width, count * width);
            return [first, seen === 0 ? 0 : seen + 1];
          }),
          ioY: flat(out, { each: width }),
        },
        ({ start, count }, base) => ({
          count,
          first: start,
          inner: inner / width,
          picks,
          extent,
          accumulate: accumulate || !listed.first || !from.first ? 1 : 0,
          baseS: base['starts']!,
          firstX: from.start,
          endX: from.start + from.count,
          firstK: listed.start,
          endK: listed.start + listed.count,
          ahead,
        }),
        ({ count }) => flatGroups(count),
      );
  starts.dispose();
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
    (outer === 1 || block <= 4 * windowRoom(source)) &&
    block <= source.gpu.capabilities.maxBindingSize
  ) {
    lookThrough(sums);
    return;
  }
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
  for (let start = 0; start < Math.max(1, index.size); start += room) {
    const length = Math.min(room, index.size - start);
    const part = readStrided(index, [length], { start, strides: [1] });
    const pairs = sortedPairs(part, { rows: 1, length, descending: false, bits });
    addSegments(pairs, start, { ...sums, accumulate: sums.accumulate || start > 0 });
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
