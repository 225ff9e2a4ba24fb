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
import {
  type AttentionForm,
  type AttentionKernels,
  forwardBuffers,
  gradientBuffers,
  type Part,
} from './form.js';
import { DROPOUT, LOG2E, LOWEST, range } from './layout.js';
import { divisor, logSum, type Place, paramsOf, sidesOf } from './sides.js';

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
function pieces(form: AttentionForm, part: Part) {
  const { headDim, dtype, dropout } = form;
  const d4 = headDim / 4;
  const sides = sidesOf(form, part);
  const { from, to } = sides;
  const read = ({ buffer: source, stride }: Pick<Place, 'buffer' | 'stride'>) => `
fn read${source}(row: u32, end: u32, column: u32, e: u32) -> vec4f {
  if (row >= end || e >= ${d4}u) { return vec4f(); }
  return ${load4(dtype, source, `row * ${stride} + column + e`)};
}`;
  /** The chunk `c` of rows from `from` on; what is beyond the sequence or the head is 0. */
  const stage = (
    target: 'own' | 'other',
    { buffer, column }: Place,
    factor = '',
  ) => `for (var i = lane; i < ${(target === 'own' ? ROWS : OTHERS) * CHUNK}u; i += ${THREADS}u) {
      let n = i / ${CHUNK}u;
      ${target}[${target === 'own' ? 'n' : slot('n')} * ${STRIDE}u + i % ${CHUNK}u] = read${buffer}(${target === 'own' ? 'first' : 'block'} + n, ${target === 'own' ? 'end' : to}, ${column}, c * ${CHUNK}u + i % ${CHUNK}u)${factor};
    }`;
  const declarations = `
${dropout ? `${DROPOUT}\nfn keepEach(halves: vec4u) -> vec4f { return select(vec4f(), vec4f(p.keepScale), halves >= vec4u(p.threshold)); }` : ''}
${sides.sources.map(read).join('')}
var<workgroup> own: array<vec4f, ${ROWS * STRIDE}>;
var<workgroup> other: array<vec4f, ${OTHERS * STRIDE}>;
var<workgroup> scratch: array<vec4f, ${THREADS}>;`;
  const chunks = `let chunks = ${d4 + CHUNK - 1}u / p.block;`;
  const others = `let mine = block + 4u * tx;
    let real = vec4u(mine) + vec4u(0u, 1u, 2u, 3u) < vec4u(${to});`;
  return {
    chunks: range(Math.ceil(d4 / CHUNK)),
    ...sides,
    declarations,
    countChunks: chunks,
    others,
    head: `${declarations}
${sides.entry(THREADS, 'local_invocation_index')}
  let ty = lane / 8u;
  let tx = lane % 8u;
  let row = first + 4u * ty;
  ${chunks}`,
    /** Over the blocks of the other side; the thread's four others are `mine` and those after it. */
    walk: `${sides.open}for (var block = ${sides.first()}; block < ${sides.last(ROWS)}; block += ${OTHERS}u) {
    ${others}`,
    /** A number of each own row, as a vec4. */
    ofOwn: (value: (row: string) => string) =>
      `vec4f(${OWN.map((r) => value(`min(row + ${r}u, end - 1u)`)).join(', ')})`,
    /** Whether own row r sees the thread's others. */
    sees: (r: number) =>
      form.causal
        ? `(real & vec4<bool>(${OWN.map((j) => sides.sees(`row + ${r}u`, `mine + ${j}u`).slice(' && '.length)).join(', ')}))`
        : 'real',
    /** Adds the bias, in base 2, to `name{r}`: through `own`, in a loop, since 16 loads side by side compile for long. */
    addBias: (name: string) =>
      !form.bias
        ? ''
        : `for (var r = 0u; 2u * r < p.block; r++) {
      own[(4u * ty + r) * ${STRIDE}u + tx] = vec4f(${OWN.map((j) => sides.biasAt(`min(row + r, end - 1u)`, `min(mine + ${j}u, ${to} - 1u)`)).join(', ')});
    }
    ${OWN.map((r) => `${name}${r} += own[(4u * ty + ${r}u) * ${STRIDE}u + tx] * ${LOG2E};`).join(' ')}
    workgroupBarrier();`,
    /** Declares `name{r}`: own row r times the four others, over all components. */
    products: (
      name: string,
      own: Place,
      other: Place,
      factor = '',
    ) => `${OWN.map((r) => `var ${name}${r} = vec4f();`).join(' ')}
    for (var c = 0u; c < chunks; c++) {
    ${stage('own', own, factor)}
    ${stage('other', other)}
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
    sums: (target: string, place: Place) =>
      range(Math.ceil(d4 / CHUNK))
        .map(
          (chunk) => `{
    let c = ${chunk}u;
    ${stage('other', place)}
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
      { buffer, stride, column }: Place,
      value: (r: number, c: number) => string,
      more = (_: number) => '',
    ) =>
      OWN.map(
        (r) => `if (row + ${r}u < end) {
    ${range(Math.ceil(d4 / CHUNK))
      .map((c) => {
        const at = `${c * CHUNK}u + tx`;
        const line = store4(dtype, buffer, `(row + ${r}u) * ${stride} + ${column} + ${at}`, value(r, c));
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
                `{ let bits = randomBlock(row + ${r}u - begin, mine - ${from}, head, begin); ${name}${r} *= keepEach(bits & vec4u(0xffffu)); ${name}${r + 1} *= keepEach(bits >> vec4u(16u)); }`,
            )
            .join('\n    '),
    /** Declares `keep{r}`, the mask of keys = own rows, queries = the thread's others. */
    dropQueries: !dropout
      ? ''
      : `let bits0 = randomBlock(mine - ${from}, row - begin, head, ${from});
    let bits2 = randomBlock(mine + 2u - ${from}, row - begin, head, ${from});
    ${OWN.map((r) => `let keep${r} = keepEach(vec4u(bits0[${r}] & 0xffffu, bits0[${r}] >> 16u, bits2[${r}] & 0xffffu, bits2[${r}] >> 16u));`).join(' ')}`,
    kept: (r: number) => (dropout ? ` * keep${r}` : ''),
  };
}

/** Where row n of a block lies. */
const slot = (n: string) => `((${n} % 4u) * 8u + ${n} / 4u)`;

/** Of what the product of queries and keys takes in, so that scores are in base 2. */
const SCALED = ` * (p.scale * ${LOG2E})`;

function forward(form: AttentionForm) {
  const w = pieces(form, 'forward');
  return {
    label: 'attention',
    params: paramsOf(form),
    buffers: forwardBuffers(vec4Type(form.dtype), form),
    body: `${w.head}
  // Of the four own rows: the running maximum, and this thread's part of the sum.
  var m = vec4f(${LOWEST});
  var l = vec4f();
  ${w.accumulators('o')}
  ${w.walk}
    ${w.products('s', w.Q, w.K, SCALED)}${w.addBias('s')}
    ${OWN.map((r) => `s${r} = select(vec4f(p.minusInfinity), s${r}, ${w.sees(r)});`).join(' ')}
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
    ${w.sums('o', w.V)}
  }
  scratch[lane] = l;
  workgroupBarrier();
  l = vec4f();
  for (var i = 0u; i < p.block; i++) { l += scratch[ty * 8u + i]; }
  ${w.store(
    w.O,
    (r, c) => `o${r}_${c} / ${divisor(`l[${r}]`)}`,
    (r) => `if (tx == 0u) { outL[(row + ${r}u) * ${w.heads} + head] = ${logSum(`m[${r}]`, `l[${r}]`)}; }`,
  )}
}`,
  };
}

function dq(form: AttentionForm) {
  const w = pieces(form, 'dq');
  return {
    label: 'attentionDQ',
    params: paramsOf(form),
    buffers: gradientBuffers(vec4Type(form.dtype), form, 'dq'),
    body: `${w.head}
  let lse = ${w.ofOwn(w.lse)};
  let rowDelta = ${w.ofOwn(w.delta)};
  ${w.accumulators('d')}
  ${w.walk}
    ${w.products('s', w.Q, w.K, SCALED)}${w.addBias('s')}
    ${w.products('dp', w.DO, w.V)}
    ${w.dropKeys('dp')}
    ${OWN.map((r) => `s${r} = select(vec4f(), exp2(s${r} - lse[${r}]) * (dp${r} - rowDelta[${r}]) * p.scale, ${w.sees(r)});`).join('\n    ')}
    ${w.share('s')}
    ${w.sums('d', w.K)}
  }
  ${w.store(w.dQ, (r, c) => `d${r}_${c}`)}
}`,
  };
}

function dkv(form: AttentionForm) {
  const w = pieces(form, 'dkv');
  const others = (value: (row: string) => string) =>
    `vec4f(${OWN.map((j) => value(`min(mine + ${j}u, ${w.to} - 1u)`)).join(', ')})`;
  return {
    label: 'attentionDKV',
    params: paramsOf(form),
    buffers: gradientBuffers(vec4Type(form.dtype), form, 'dkv'),
    body: `${w.head}
  ${w.accumulators('dk')}
  ${w.accumulators('dv')}
  ${w.walk}
    let lse = ${others(w.lse)};
    let rowDelta = ${others(w.delta)};
    ${w.products('s', w.K, w.Q, SCALED)}${w.addBias('s')}
    ${w.products('dp', w.V, w.DO)}
    ${w.dropQueries}
    ${OWN.map(
      (r) => `s${r} = select(vec4f(), exp2(s${r} - lse), ${w.sees(r)});
    dp${r} = s${r} * (dp${r}${w.kept(r)} - rowDelta) * p.scale;
    ${form.dropout ? `s${r} *= keep${r};` : ''}`,
    ).join('\n    ')}
    ${w.share('s')}
    ${w.sums('dv', w.DO)}
    ${w.share('dp')}
    ${w.sums('dk', w.Q)}
  }${w.close}
  ${w.store(w.dK, (r, c) => `dk${r}_${c}`)}
  ${w.store(w.dV, (r, c) => `dv${r}_${c}`)}
}`,
  };
}

/**
 * The gradient of a bias: a workgroup owns 64 queries by 32 keys of one of its matrices, and adds up dS of all pairs of
 * sequence and head that take it, in the order of the table (`Spans.pairs`).
 */
export function biasGradient(form: AttentionForm) {
  const w = pieces(form, 'dq');
  const out = gradientBuffers(vec4Type(form.dtype), form, 'dq');
  delete out['outDQ'];
  return {
    label: 'attentionDBias',
    params: paramsOf(form),
    buffers: { ...out, ioDBias: 'array<f32>' },
    body: `${w.declarations}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let entry = tiles[2u * (p.firstTile + group.z)];
  let extents = tiles[2u * (p.firstTile + group.z) + 1u];
  let firstQuery = ${ROWS}u * group.y;
  let firstKey = ${OTHERS}u * group.x;
  let ty = lane / 8u;
  let tx = lane % 8u;
  ${w.countChunks}
  let bias = entry.z - p.biasBase;
  ${OWN.map((r) => `var sum${r} = vec4f();`).join(' ')}
  for (var pair = entry.x; pair < entry.y; pair++) {
    let rows = tiles[2u * pair];
    let place = tiles[2u * pair + 1u];
    let begin = rows.x - p.base; let end = rows.y - p.base;
    let ${w.from} = rows.z - p.otherBase; let ${w.to} = rows.w - p.otherBase;
    let first = begin + firstQuery;
    let block = ${w.from} + firstKey;
    if (first >= end || block >= ${w.last(ROWS)}) { continue; }
    let row = first + 4u * ty;
    let head = place.x;
    let column = head * ${form.headDim / 4}u;
    let keyColumn = place.y * ${form.headDim / 4}u;
    let lse = ${w.ofOwn(w.lse)};
    let rowDelta = ${w.ofOwn(w.delta)};
    ${w.others}
    ${w.products('s', w.Q, w.K, SCALED)}${w.addBias('s')}
    ${w.products('dp', w.DO, w.V)}
    ${w.dropKeys('dp')}
    ${OWN.map((r) => `sum${r} += select(vec4f(), exp2(s${r} - lse[${r}]) * (dp${r} - rowDelta[${r}]), ${w.sees(r)} & vec4<bool>(row + ${r}u < end));`).join('\n    ')}
  }
  ${OWN.map((r) => `own[(4u * ty + ${r}u) * ${STRIDE}u + tx] = sum${r};`).join(' ')}
  workgroupBarrier();
  for (var i = lane; i < ${ROWS * OTHERS}u; i += ${THREADS}u) {
    let query = i / ${OTHERS}u; let key = i % ${OTHERS}u;
    if (firstQuery + query < extents.x && firstKey + key < extents.y) {
      ioDBias[bias + (firstQuery + query) * extents.z + (firstKey + key) * extents.w] += own[query * ${STRIDE}u + key / 4u][key % 4u];
    }
  }
}`,
  };
}

/** Queries and keys of a matrix of the bias that a workgroup owns. */
export const BIAS_TILE = [ROWS, OTHERS] as const;

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
