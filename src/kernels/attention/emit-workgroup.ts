/**
 * Attention that works anywhere, in tiles: a workgroup of 16×8 threads owns 64 rows (queries; in dK/dV keys) and walks the
 * other side in blocks of 32. Thread (ty, tx) has rows 4ty … 4ty+3 and, of each block, the others 4tx … 4tx+3: 16 scores in
 * four vec4s, one per own row. Products go through workgroup memory in chunks of 32 components, so 16 KiB are enough for
 * any head size, and loops over chunks have bounds that the compiler does not know, so any head size compiles in moments.
 *
 *   own     a chunk of the own rows; then the weights of a block, one vec4 (four own rows) per other row
 *   other   a chunk of the block's rows
 *   scratch what the 8 threads of a row tell each other
 *
 * The four others of a thread lie 8 slots apart, so that 8 threads read from different banks.
 */
import { load4, store4, vec4Type } from '../launch/formats.js';
import { type AttentionForm, type AttentionKernels, forwardBuffers, gradientBuffers } from './form.js';
import { DROPOUT, entry, KEY, LOG2E, LOWEST, PARAMS, QUERY, range, VALUE } from './layout.js';

const THREADS = 128;
const ROWS = 64;
const OTHERS = 32;
/** Vec4s of a chunk, and from a row of chunks to the next: one more, against bank conflicts. */
const CHUNK = 8;
const STRIDE = CHUNK + 1;
/** From one other row's weights to the next's. */
const WEIGHTS = ROWS / 4 + 1;

const OWN = range(4);

/** The pieces of code that the three kernels share, for one form. `r` counts the thread's own rows. */
function pieces({ headDim, dtype, dropout }: AttentionForm) {
  const d4 = headDim / 4;
  const read = (source: string, stride: string) => `
fn read${source}(row: u32, end: u32, column: u32, e: u32) -> vec4f {
  if (row >= end || e >= ${d4}u) { return vec4f(); }
  return ${load4(dtype, source, `row * ${stride} + column + e`)};
}`;
  /** The chunk `c` of rows from `from` on; what is beyond the sequence or the head is 0. */
  const stage = (
    target: 'own' | 'other',
    source: 'QKV' | 'DO',
    column: string,
    from: string,
    factor = '',
  ) => `for (var i = lane; i < ${(target === 'own' ? ROWS : OTHERS) * CHUNK}u; i += ${THREADS}u) {
      let n = i / ${CHUNK}u;
      ${target}[${target === 'own' ? 'n' : slot('n')} * ${STRIDE}u + i % ${CHUNK}u] = read${source}(${from} + n, end, ${column}, c * ${CHUNK}u + i % ${CHUNK}u)${factor};
    }`;
  return {
    chunks: range(Math.ceil(d4 / CHUNK)),
    head: (sources: readonly ('QKV' | 'DO')[]) => `
${dropout ? `${DROPOUT}\nfn keepEach(halves: vec4u) -> vec4f { return select(vec4f(), vec4f(p.keepScale), halves >= vec4u(p.threshold)); }` : ''}
${sources.map((source) => read(source, source === 'QKV' ? 'p.stride' : 'p.hidden4')).join('')}
var<workgroup> own: array<vec4f, ${ROWS * STRIDE}>;
var<workgroup> other: array<vec4f, ${OTHERS * STRIDE}>;
var<workgroup> scratch: array<vec4f, ${THREADS}>;
${entry(THREADS, 'local_invocation_index', d4)}
  let ty = lane / 8u;
  let tx = lane % 8u;
  let row = first + 4u * ty;
  let chunks = (p.hidden4 / p.heads + ${CHUNK - 1}u) / ${CHUNK}u;`,
    /** Over the blocks of the other side; the thread's four others are `mine` and those after it. */
    walk: `for (var block = begin; block < end; block += ${OTHERS}u) {
    let mine = block + 4u * tx;
    let real = vec4u(mine) + vec4u(0u, 1u, 2u, 3u) < vec4u(end);`,
    /** Declares `name{r}`: own row r times the four others, over all components. */
    products: (
      name: string,
      own: readonly ['QKV' | 'DO', string, string?],
      other: readonly ['QKV' | 'DO', string],
    ) => `${OWN.map((r) => `var ${name}${r} = vec4f();`).join(' ')}
    for (var c = 0u; c < chunks; c++) {
    ${stage('own', own[0], own[1], 'first', own[2])}
    ${stage('other', other[0], other[1], 'block')}
    workgroupBarrier();
    for (var e = 0u; e < p.block; e++) {
      ${OWN.map((j) => `let b${j} = other[(${8 * j}u + tx) * ${STRIDE}u + e];`).join(' ')}
      ${OWN.map((r) => `{ let a = own[(4u * ty + ${r}u) * ${STRIDE}u + e]; ${name}${r} += vec4f(${OWN.map((j) => `dot(a, b${j})`).join(', ')}); }`).join('\n      ')}
    }
    workgroupBarrier();
    }`,
    /** Leaves the weights `name{r}` for `sums`: one vec4 of own rows for each other row. */
    share: (name: string) =>
      ['x', 'y', 'z', 'w']
        .map(
          (x, j) =>
            `own[(${8 * j}u + tx) * ${WEIGHTS}u + ty] = vec4f(${OWN.map((r) => `${name}${r}.${x}`).join(', ')});`,
        )
        .join(' '),
    /** `target{r}_{c}` += Σ over the block of weight · row, for the thread's vec4 of every chunk. */
    sums: (target: string, source: 'QKV' | 'DO', column: string) =>
      range(Math.ceil(d4 / CHUNK))
        .map(
          (chunk) => `{
    let c = ${chunk}u;
    ${stage('other', source, column, 'block')}
    workgroupBarrier();
    for (var n = 0u; n < 4u * p.block; n++) {
      let weight = own[n * ${WEIGHTS}u + ty];
      let b = other[n * ${STRIDE}u + tx];
      ${OWN.map((r) => `${target}${r}_${chunk} = fma(vec4f(weight[${r}]), b, ${target}${r}_${chunk});`).join('\n      ')}
    }
    workgroupBarrier();
    }`,
        )
        .join('\n    '),
    /** Declares `name{r}_{c}`. */
    accumulators: (name: string) =>
      range(Math.ceil(d4 / CHUNK))
        .map((c) => OWN.map((r) => `var ${name}${r}_${c} = vec4f();`).join(' '))
        .join('\n  '),
    /** Writes `value(r, c)` where row and column exist. */
    store: (
      buffer: string,
      base: string,
      value: (r: number, c: number) => string,
      more = (_: number) => '',
    ) =>
      OWN.map(
        (r) => `if (row + ${r}u < end) {
    ${range(Math.ceil(d4 / CHUNK))
      .map((c) => {
        const at = `${c * CHUNK}u + tx`;
        const line = store4(dtype, buffer, `(row + ${r}u) * ${base} + ${at}`, value(r, c));
        return (c + 1) * CHUNK <= d4 ? line : `if (${at} < ${d4}u) { ${line} }`;
      })
      .join(' ')} ${more(r)}
  }`,
      ).join('\n  '),
    /** Multiplies `name{r}` by the mask of queries = own rows, keys = the thread's others. */
    dropKeys: (name: string) =>
      !dropout
        ? ''
        : [0, 2]
            .map(
              (r) =>
                `{ let bits = randomBlock(row + ${r}u - begin, mine - begin, head, begin); ${name}${r} *= keepEach(bits & vec4u(0xffffu)); ${name}${r + 1} *= keepEach(bits >> vec4u(16u)); }`,
            )
            .join('\n    '),
    /** Declares `keep{r}`, the mask of keys = own rows, queries = the thread's others. */
    dropQueries: !dropout
      ? ''
      : `let bits0 = randomBlock(mine - begin, row - begin, head, begin);
    let bits2 = randomBlock(mine + 2u - begin, row - begin, head, begin);
    ${OWN.map((r) => `let keep${r} = keepEach(vec4u(bits0[${r}] & 0xffffu, bits0[${r}] >> 16u, bits2[${r}] & 0xffffu, bits2[${r}] >> 16u));`).join(' ')}`,
    kept: (r: number) => (dropout ? ` * keep${r}` : ''),
  };
}

/** Where row n of a block lies. */
const slot = (n: string) => `((${n} % 4u) * 8u + ${n} / 4u)`;

const SCALED = ` * (p.scale * ${LOG2E})`;

function forward(form: AttentionForm) {
  const w = pieces(form);
  return {
    label: 'attention',
    params: PARAMS,
    buffers: forwardBuffers(vec4Type(form.dtype), form),
    body: `${w.head(['QKV'])}
  // Of the four own rows: the running maximum, and this thread's part of the sum.
  var m = vec4f(${LOWEST});
  var l = vec4f();
  ${w.accumulators('o')}
  ${w.walk}
    ${w.products('s', ['QKV', QUERY, SCALED], ['QKV', KEY])}
    ${OWN.map((r) => `s${r} = select(vec4f(p.minusInfinity), s${r}, real);`).join(' ')}
    scratch[lane] = vec4f(${OWN.map((r) => `max(max(s${r}.x, s${r}.y), max(s${r}.z, s${r}.w))`).join(', ')});
    workgroupBarrier();
    var top = m;
    for (var i = 0u; i < p.block; i++) { top = max(top, scratch[ty * 8u + i]); }
    let shrink = exp2(m - top);
    m = top;
    ${OWN.map((r) => `s${r} = exp2(s${r} - top[${r}]);`).join(' ')}
    l = l * shrink + vec4f(${OWN.map((r) => `dot(s${r}, vec4f(1.0))`).join(', ')});
    ${w.chunks.map((c) => OWN.map((r) => `o${r}_${c} *= shrink[${r}];`).join(' ')).join('\n    ')}
    ${w.dropKeys('s')}
    ${w.share('s')}
    ${w.sums('o', 'QKV', VALUE)}
  }
  scratch[lane] = l;
  workgroupBarrier();
  l = vec4f();
  for (var i = 0u; i < p.block; i++) { l += scratch[ty * 8u + i]; }
  ${w.store(
    'outO',
    'p.hidden4 + column',
    (r, c) => `o${r}_${c} / l[${r}]`,
    (r) => `if (tx == 0u) { outL[(row + ${r}u) * p.heads + head] = m[${r}] + log2(l[${r}]); }`,
  )}
}`,
  };
}

function dq(form: AttentionForm) {
  const w = pieces(form);
  const own = (buffer: string) =>
    `vec4f(${OWN.map((r) => `${buffer}[min(row + ${r}u, end - 1u) * p.heads + head]`).join(', ')})`;
  return {
    label: 'attentionDQ',
    params: PARAMS,
    buffers: gradientBuffers(vec4Type(form.dtype), form),
    body: `${w.head(['QKV', 'DO'])}
  let lse = ${own('L')};
  let rowDelta = ${own('delta')};
  ${w.accumulators('d')}
  ${w.walk}
    ${w.products('s', ['QKV', QUERY, SCALED], ['QKV', KEY])}
    ${w.products('dp', ['DO', 'column'], ['QKV', VALUE])}
    ${w.dropKeys('dp')}
    ${OWN.map((r) => `s${r} = select(vec4f(), exp2(s${r} - lse[${r}]) * (dp${r} - rowDelta[${r}]) * p.scale, real);`).join('\n    ')}
    ${w.share('s')}
    ${w.sums('d', 'QKV', KEY)}
  }
  ${w.store('outD', `p.stride + ${QUERY}`, (r, c) => `d${r}_${c}`)}
}`,
  };
}

function dkv(form: AttentionForm) {
  const w = pieces(form);
  const others = (buffer: string) =>
    `vec4f(${OWN.map((j) => `${buffer}[min(mine + ${j}u, end - 1u) * p.heads + head]`).join(', ')})`;
  return {
    label: 'attentionDKV',
    params: PARAMS,
    buffers: gradientBuffers(vec4Type(form.dtype), form),
    body: `${w.head(['QKV', 'DO'])}
  ${w.accumulators('dk')}
  ${w.accumulators('dv')}
  ${w.walk}
    let lse = ${others('L')};
    let rowDelta = ${others('delta')};
    ${w.products('s', ['QKV', KEY, SCALED], ['QKV', QUERY])}
    ${w.products('dp', ['QKV', VALUE], ['DO', 'column'])}
    ${w.dropQueries}
    ${OWN.map(
      (r) => `s${r} = select(vec4f(), exp2(s${r} - lse), real);
    dp${r} = s${r} * (dp${r}${w.kept(r)} - rowDelta) * p.scale;
    ${form.dropout ? `s${r} *= keep${r};` : ''}`,
    ).join('\n    ')}
    ${w.share('s')}
    ${w.sums('dv', 'DO', 'column')}
    ${w.share('dp')}
    ${w.sums('dk', 'QKV', QUERY)}
  }
  ${w.store('outD', `p.stride + ${KEY}`, (r, c) => `dk${r}_${c}`)}
  ${w.store('outD', `p.stride + ${VALUE}`, (r, c) => `dv${r}_${c}`)}
}`,
  };
}

export const workgroup: AttentionKernels = {
  name: 'workgroup',
  why: 'works anywhere: tiles of 64 rows by 32, products through 16 KiB of workgroup memory',
  reads: 'buffers',
  plan: () => ({}),
  rowsPerTile: () => ROWS,
  supports: () => true,
  prior: () => 1,
  parts: { forward, dq, dkv },
};
