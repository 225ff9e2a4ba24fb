/**
 * WGSL of the running top-k: `scan` takes the entries of a tile that beat a row's floor into the row's list, and `finish`
 * brings the list to its k best, in order. Scores are compared by their ranks (elementary.ts): -inf and both zeros are
 * numbers like others.
 *
 * A list has room for more than k. What beats the floor is appended, in no order; when the room is used up, the list is
 * cut to its k best or a few more, whose last is the floor from then on. Of a tile in the middle of a long row next to nothing passes, so
 * that a scan costs a read of the tile and a comparison; of the worst one (every entry better than all before) each entry
 * is appended and cut away once.
 *
 * The k-th best is found by halves: how many entries have at least this rank? Among equal scores at the cut those of the
 * lowest index stay, found by the bits of the index. Nothing depends on the order of the list.
 */
import { RANKS } from '../elementary.js';
import { rowMain } from '../launch/rows.js';
import { type Shader, shaderOf } from '../launch/shader.js';

/** How the threads of a row agree: through workgroup memory, or within their subgroup. */
export type Agreement = 'workgroup' | 'subgroup';

export interface Walk {
  readonly agreement: Agreement;
  readonly lanes: number;
  /** That a thread compares before the threads ask each other whether any passed; a multiple of four. */
  readonly entries: number;
}

/** Entries that are read at once: four where the rows of the tile, and what is read of them, begin at whole fours. */
export type Columns = 1 | 4;

/**
 * `total`, `least`, `most`, `same` of what the threads have; `slotOf`: a place of its own for each that passes, below
 * `slots`, which is asked for next; `settle`: what was written to the list is seen by all.
 */
const AGREEMENTS: Readonly<Record<Agreement, string>> = {
  subgroup: `
fn settle() {}
@diagnostic(off, subgroup_uniformity)
fn same(v: u32, lane: u32) -> u32 { return v; }
@diagnostic(off, subgroup_uniformity)
fn total(v: u32, lane: u32) -> u32 { return subgroupAdd(v); }
@diagnostic(off, subgroup_uniformity)
fn least(v: u32, lane: u32) -> u32 { return subgroupMin(v); }
@diagnostic(off, subgroup_uniformity)
fn most(v: u32, lane: u32) -> u32 { return subgroupMax(v); }
@diagnostic(off, subgroup_uniformity)
fn anyOf(passes: bool, lane: u32) -> bool { return subgroupAny(passes); }
@diagnostic(off, subgroup_uniformity)
fn slotOf(passes: bool, lane: u32) -> u32 { return countOneBits(subgroupBallot(passes).x & ((1u << lane) - 1u)); }
@diagnostic(off, subgroup_uniformity)
fn slots(passes: bool, lane: u32) -> u32 { return countOneBits(subgroupBallot(passes).x); }`,
  workgroup: `
var<workgroup> gathered: atomic<u32>;
var<workgroup> shared_: u32;
fn settle() { storageBarrier(); workgroupBarrier(); }
fn begin(v: u32, lane: u32) {
  if (lane == 0u) { atomicStore(&gathered, v); }
  workgroupBarrier();
}
fn agreed(lane: u32) -> u32 {
  workgroupBarrier();
  if (lane == 0u) { shared_ = atomicLoad(&gathered); }
  return workgroupUniformLoad(&shared_);
}
fn same(v: u32, lane: u32) -> u32 {
  if (lane == 0u) { shared_ = v; }
  return workgroupUniformLoad(&shared_);
}
fn total(v: u32, lane: u32) -> u32 {
  begin(0u, lane);
  if (v != 0u) { atomicAdd(&gathered, v); }
  return agreed(lane);
}
fn least(v: u32, lane: u32) -> u32 {
  begin(0xffffffffu, lane);
  atomicMin(&gathered, v);
  return agreed(lane);
}
fn most(v: u32, lane: u32) -> u32 {
  begin(0u, lane);
  atomicMax(&gathered, v);
  return agreed(lane);
}
fn anyOf(passes: bool, lane: u32) -> bool { return total(select(0u, 1u, passes), lane) != 0u; }
fn slotOf(passes: bool, lane: u32) -> u32 {
  begin(0u, lane);
  if (passes) { return atomicAdd(&gathered, 1u); }
  return 0u;
}
fn slots(passes: bool, lane: u32) -> u32 { return agreed(lane); }`,
};

/** WGSL: the number of entries of the list for which `condition` holds, of the entry's `key` and its index `listed()`. */
const countOf = (condition: string) => `var own = 0u;
    for (var i = lane; i < n; i += LANES) {
      let key = ioKeys[base + i];
      if (${condition}) { own++; }
    }
    let found = total(own, lane);`;

/**
 * `cut`: the list of a row, of n > k entries, to its k best, or to them and at most `slack` that follow. Returns how many
 * stay, and a rank that at least k of them have and none of the others exceeds.
 */
const CUT = `
// The rank of -inf.
const LOWEST = 0x00800000u;
@diagnostic(off, subgroup_uniformity)
fn cut(base: u32, n: u32, k: u32, slack: u32, lane: u32) -> vec2u {
  var low = 0xffffffffu;
  var high = 0u;
  for (var i = lane; i < n; i += LANES) { let key = ioKeys[base + i]; low = min(low, key); high = max(high, key); }
  // The largest rank that at least k entries have, or one below it that few more have, lies from floor_ to below beyond.
  var floor_ = least(low, lane);
  var beyond = most(high, lane) + 1u;
  var reached = n;
  for (var step = 0u; reached > k + slack && beyond - floor_ > 1u; step++) {
    // Halves the scores, among which entries are spread, and every other time the ranks, of which there are 2^32.
    var tried = floor_ + (beyond - floor_) / 2u;
    let middle = rank(0.5 * unrank(floor_) + 0.5 * unrank(beyond - 1u));
    if (step % 2u == 0u && middle > floor_ && middle < beyond) { tried = middle; }
    ${countOf('key >= tried')}
    if (found >= k) { floor_ = tried; reached = found; } else { beyond = tried; }
  }
  // Of equal scores at the cut as many stay as there is room for: up to this index.
  var last = 0xffffffffu;
  if (reached > k + slack) {
    var above = 0u;
    {
      ${countOf('key > floor_')}
      above = found;
    }
    last = 0u;
    var bit = 31u;
    loop {
      let tried = last | (1u << bit);
      ${countOf('key == floor_ && ioIndex[base + i] < tried')}
      if (above + found < k) { last = tried; }
      if (bit == 0u) { break; }
      bit--;
    }
  }
  var kept = 0u;
  for (var start = 0u; start < n; start += LANES) {
    let i = min(start + lane, n - 1u);
    let key = ioKeys[base + i];
    let index = ioIndex[base + i];
    let stays = start + lane < n && (key > floor_ || (key == floor_ && index <= last));
    let slot = kept + slotOf(stays, lane);
    kept += slots(stays, lane);
    // Never beyond what was read: all threads have read up to here.
    if (stays) { ioKeys[base + slot] = key; ioIndex[base + slot] = index; }
  }
  settle();
  return vec2u(kept, floor_);
}`;

/** The rank that a list has of what is no number: just above that of infinity, so that there is room above it. */
const NANS = `
const NOT_A_NUMBER = 0xff800001u;
fn isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn areNan(x: vec4f) -> vec4<bool> { return (bitcast<vec4u>(x) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u); }
`;

const SCAN_PARAMS = {
  rows: 'u32',
  /** Entries from one row of the tile to the next. */
  stride: 'u32',
  /** Of the row: the first entry, and how many. */
  start: 'u32',
  count: 'u32',
  /** Index of the first entry. */
  first: 'u32',
  k: 'u32',
  capacity: 'u32',
} as const;

/** What a scan reads: `nans`, that entries may be none, which are then the best of all. */
export interface ScanForm {
  readonly columns: Columns;
  readonly nans?: true | undefined;
}

export const scanShader = (walk: Walk, { columns, nans }: ScanForm): Shader<typeof SCAN_PARAMS> =>
  shaderOf('topK.scan', { ...walk, columns, nans }, ({ agreement, lanes, entries, columns, nans }) => {
    const four = columns === 4;
    const units = Array.from({ length: entries / columns }, (_, u) => u);
    // Asked of each vector of entries, since few hold one that passes; values stay in registers, as loads are dear.
    const taking = units.flatMap((u) =>
      Array.from({ length: columns }, (_, e) => {
        const value = four ? `v${u}[${e}]` : `v${u}`;
        return `if (anyOf(${value} >= limit${nans ? ` || isNan(${value})` : ''}, lane)) {
        let place = (first + ${u}u * LANES) * ${columns}u + ${e}u;
        let key = ${nans ? `min(rank(${value}), NOT_A_NUMBER)` : `rank(${value})`};
        let taken = place < p.count && key > floor_;
        let slot = n + slotOf(taken, lane);
        n += slots(taken, lane);
        if (taken) { ioKeys[base + slot] = key; ioIndex[base + slot] = p.first + place; }
      }`;
      }),
    );
    return {
      label: 'topK.scan',
      params: SCAN_PARAMS,
      buffers: {
        X: four ? 'array<vec4f>' : 'array<f32>',
        ioKeys: 'array<u32>',
        ioIndex: 'array<u32>',
        ioState: 'array<vec2u>',
      },
      subgroups: agreement === 'subgroup',
      body: `const LANES = ${lanes}u;
const STEP = ${entries}u * LANES;
${RANKS}${nans ? NANS : ''}${AGREEMENTS[agreement]}${CUT}
@diagnostic(off, subgroup_uniformity)
${rowMain({ lanes }, 'p.rows').trim()}
  let base = row * p.capacity;
  let origin = (row * p.stride + p.start) / ${columns}u;
  let final_ = (p.count - 1u) / ${columns}u;
  var n = same(ioState[row].x, lane);
  var floor_ = same(ioState[row].y, lane);
  for (var c = 0u; c < p.count; c += STEP) {
    // What equals the floor may be here and fails below, where ranks are compared; so may what lies beyond the row.
    let limit = unrank(max(floor_, LOWEST));
    let first = c / ${columns}u + lane;
    ${units.map((u) => `let v${u} = X[origin + min(first + ${u}u * LANES, final_)];`).join('\n    ')}
    let passes = ${units.map((u) => `(v${u} >= ${four ? 'vec4f(limit)' : 'limit'})${nans ? ` | ${four ? 'areNan' : 'isNan'}(v${u})` : ''}`).join(' | ')};
    if (anyOf(${four ? 'any(passes)' : 'passes'}, lane)) {
      if (n + STEP > p.capacity) {
        let left = cut(base, n, p.k, min(p.k / 2u, (p.capacity - p.k - STEP) / 2u), lane);
        n = left.x;
        floor_ = left.y;
      }
      ${taking.join('\n      ')}
      settle();
    }
  }
  if (lane == 0u) { ioState[row] = vec2u(n, floor_); }
}`,
    };
  });

const FINISH_PARAMS = { rows: 'u32', k: 'u32', capacity: 'u32' } as const;

export const finishShader = (walk: Pick<Walk, 'agreement' | 'lanes'>): Shader<typeof FINISH_PARAMS> =>
  shaderOf('topK.finish', { agreement: walk.agreement, lanes: walk.lanes }, ({ agreement, lanes }) => ({
    label: 'topK.finish',
    params: FINISH_PARAMS,
    buffers: {
      ioKeys: 'array<u32>',
      ioIndex: 'array<u32>',
      ioState: 'array<vec2u>',
      outV: 'array<f32>',
      outI: 'array<u32>',
    },
    subgroups: agreement === 'subgroup',
    body: `const LANES = ${lanes}u;
${RANKS}${AGREEMENTS[agreement]}${CUT}
// Puts the better of two entries first.
fn order(a: u32, b: u32) {
  let keyA = ioKeys[a];
  let keyB = ioKeys[b];
  let indexA = ioIndex[a];
  let indexB = ioIndex[b];
  if (keyB > keyA || (keyB == keyA && indexB < indexA)) {
    ioKeys[a] = keyB; ioIndex[a] = indexB;
    ioKeys[b] = keyA; ioIndex[b] = indexA;
  }
}
@diagnostic(off, subgroup_uniformity)
${rowMain({ lanes }, 'p.rows').trim()}
  let base = row * p.capacity;
  var n = same(ioState[row].x, lane);
  var floor_ = same(ioState[row].y, lane);
  if (n > p.k) {
    let left = cut(base, n, p.k, 0u, lane);
    n = left.x;
    floor_ = left.y;
  }
  // A bitonic network that never moves what lies beyond n, as if the worst of all lay there: its first step of each
  // size compares from both ends.
  let pairs = 1u << (31u - countLeadingZeros(max(n, 2u) - 1u));
  for (var size = 2u; size < 2u * n; size <<= 1u) {
    for (var half = size >> 1u; half > 0u; half >>= 1u) {
      let ends = half == size >> 1u;
      for (var t = lane; t < pairs; t += LANES) {
        let low = t & (half - 1u);
        let block = (t - low) << 1u;
        let a = block + low;
        let b = select(a + half, block + size - 1u - low, ends);
        if (b < n) { order(base + a, base + b); }
      }
      settle();
    }
  }
  for (var i = lane; i < p.k; i += LANES) {
    let there = i < n;
    outV[row * p.k + i] = select(unrank(LOWEST), unrank(ioKeys[base + min(i, p.capacity - 1u)]), there);
    outI[row * p.k + i] = select(0xffffffffu, ioIndex[base + min(i, p.capacity - 1u)], there);
  }
  if (lane == 0u) { ioState[row] = vec2u(n, floor_); }
}`,
  }));
