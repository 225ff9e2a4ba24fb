/**
 * Attention on matrix units, for halves, generated from any shape M×N×K of subgroup matrices f16 → f32 that the adapter
 * lists. A workgroup owns `rows` rows, each of its subgroups an equal part of them, and walks the other side in blocks of
 * 32. Products of subgroups go to workgroup memory in f32, 32 columns at a time; there 8 threads a row take up their share
 * (four others each), compute softmax, and leave the weights as halves for the next product.
 *
 *   own, other   the own rows and the block's rows, halves in units of 8; what is beyond the sequence or the head is 0,
 *                since there are no partial matrices
 *   scores       products [rows, 32] f32 on their way from matrices, whose layout is the driver's, to threads
 *   weights      [rows, 32] halves on their way back
 *   rest         what the weights of the forward pass lose by that, halves as well: with both the result is as good as that
 *                of f32, without it rounding of weights would add as much error again as rounding the result
 *   told         what the 8 threads of a row tell each other
 *
 * The forward result is rescaled with every block, so it is kept by threads; gradients only add up, so matrices keep them.
 */
import type { Capabilities } from '../../gpu/capabilities.js';
import { store4 } from '../launch/formats.js';
import { type AttentionForm, type AttentionKernels, forwardBuffers, gradientBuffers } from './form.js';
import { DROPOUT, entry, KEY, LOG2E, LOWEST, PARAMS, QUERY, range, VALUE } from './layout.js';
import { divisor, logSum } from './sides.js';

/** Rows of a block, and columns of products that pass through `scores` at a time. */
const OTHERS = 32;
/** Threads that share a row. */
const SHARE = 8;
/** Halves in a unit of `own` and `other`. */
const UNIT = 8;
const SCORES = OTHERS / 4 + 1;
const WEIGHTS = OTHERS / 4 + 2;

/** How a workgroup divides its work; with the form everything that the source depends on. */
interface MatrixPlan {
  /** Of one product of matrices: M×K times K×N. */
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly subgroups: number;
  /** Of the largest subgroup that the driver may choose; of smaller ones some have nothing to do. */
  readonly lanes: number;
  readonly rows: number;
  /** Components of a head, filled up with zeros to whole matrices and to whole passages through `scores`. */
  readonly width: number;
}

type MatrixForm = AttentionForm & MatrixPlan;

const unitStride = (width: number) => width / UNIT + 1;

const memoryBytes = ({ rows, width }: MatrixPlan) =>
  16 * ((rows + OTHERS) * unitStride(width) + rows * SCORES) + 2 * 8 * rows * WEIGHTS + 4 * rows * SHARE;

/** On a software adapter tiles are small: there kernels for matrix units are checked, not used. */
function planOf(facts: Capabilities, { headDim, dtype }: AttentionForm): MatrixPlan | undefined {
  if (dtype !== 'f16' || headDim % UNIT !== 0 || !facts.subgroups || !facts.shaderF16) return undefined;
  const [subgroups, eachRows] = facts.software ? [2, 8] : [4, 16];
  const lanes = facts.subgroupMaxSize;
  const plans = facts.subgroupMatrixConfigs
    .filter(
      ({ componentType, resultComponentType, M, N, K }) =>
        componentType === 'f16' &&
        resultComponentType === 'f32' &&
        [M, N, K].every((extent) => extent % 8 === 0) &&
        OTHERS % N === 0 &&
        OTHERS % K === 0,
    )
    .sort((a, b) => b.M * b.N * b.K - a.M * a.N * a.K)
    .map(({ M, N, K }) => ({
      M,
      N,
      K,
      subgroups,
      lanes,
      rows: subgroups * Math.max(eachRows, M),
      width: Math.ceil(headDim / OTHERS) * OTHERS,
    }));
  return plans.find(
    (plan) =>
      (plan.rows / subgroups) % plan.M === 0 &&
      subgroups * lanes <= facts.maxWorkgroupInvocations &&
      // Dropout takes queries in pairs.
      Number.isInteger((plan.rows * SHARE) / (subgroups * lanes * 2)) &&
      memoryBytes(plan) <= facts.maxWorkgroupMemory,
  );
}

/** The pieces of code that the three kernels share. `r` counts a thread's rows, `i` a subgroup's matrices down. */
function pieces(form: MatrixForm) {
  const { headDim, dtype, dropout, M, N, K, subgroups, lanes, rows, width } = form;
  const threads = subgroups * lanes;
  const each = range((rows * SHARE) / threads);
  const down = range(rows / subgroups / M);
  const across = range(OTHERS / N);
  const stride = unitStride(width);
  const passages = range(width / OTHERS);
  const left = `subgroup_matrix_left<f16, ${K}, ${M}>`;
  const right = `subgroup_matrix_right<f16, ${N}, ${K}>`;
  const sum = `subgroup_matrix_result<f32, ${N}, ${M}>`;
  const areaRow = (i: number) => `(area + ${i * M}u)`;

  const stage = (target: 'own' | 'other', source: 'QKV' | 'DO', column: string) =>
    `for (var i = lane; i < ${((target === 'own' ? rows : OTHERS) * width) / UNIT}u; i += ${threads}u) {
      let n = i / ${width / UNIT}u;
      let e = i % ${width / UNIT}u;
      let at = ${target === 'own' ? 'first' : 'block'} + n;
      var unit = vec4u();
      if (at < end && e < ${headDim / UNIT}u) { unit = ${source}[(at * ${source === 'QKV' ? 'p.stride' : 'p.hidden4'} + ${column}) / 2u + e]; }
      ${target}[n * ${stride}u + e] = unit;
    }`;
  /** All matrices of a [rows, 32] product to `scores`, for the threads. */
  const show = (name: (i: number, j: number) => string) =>
    down
      .map((i) =>
        across
          .map(
            (j) =>
              `subgroupMatrixStore<row_major>(&scores, ${areaRow(i)} * ${SCORES}u + ${(j * N) / 4}u, ${name(i, j)}, ${SCORES}u);`,
          )
          .join(' '),
      )
      .join('\n      ');
  /** Adds weights · other, of 32 of its columns, to the sums. */
  const addWeighted = (
    name: (i: number, j: number) => string,
    passage: number,
    weights: readonly string[] = ['weights'],
  ) =>
    `for (var k = 0u; k < ${OTHERS / K}u; k++) {
        ${weights.map((from) => down.map((i) => `let ${from}${i} = subgroupMatrixLoad<${left}, row_major>(&${from}, ${areaRow(i)} * ${WEIGHTS}u + k * ${K / 4}u, ${WEIGHTS}u);`).join(' ')).join('\n        ')}
        ${across
          .map(
            (
              j,
            ) => `{ let b = subgroupMatrixLoad<${right}, row_major>(&other, k * ${K * stride}u + ${(passage * OTHERS + j * N) / UNIT}u, ${stride}u);
          ${weights.map((from) => down.map((i) => `${name(i, j)} = subgroupMatrixMultiplyAccumulate(${from}${i}, b, ${name(i, j)});`).join(' ')).join(' ')} }`,
          )
          .join('\n        ')}
      }`;
  /** Zeros by name: what is declared in a loop without a value keeps that of the turn before (Dawn's compiler). */
  const sumsOf = (name: string) =>
    down.map((i) => across.map((j) => `var ${name}${i}_${j} = ${sum}();`).join(' ')).join('\n      ');
  const rowOf = (r: number) => `(own0 + ${r}u)`;

  return {
    each,
    passages,
    head: (more = '') => `
${dropout ? `${DROPOUT}\nfn keepEach(halves: vec4u) -> vec4f { return select(vec4f(), vec4f(p.keepScale), halves >= vec4u(p.threshold)); }` : ''}
var<workgroup> own: array<vec4u, ${rows * stride}>;
var<workgroup> other: array<vec4u, ${OTHERS * stride}>;
var<workgroup> scores: array<vec4f, ${rows * SCORES}>;
var<workgroup> weights: array<vec2u, ${rows * WEIGHTS}>;
var<workgroup> told: array<f32, ${rows * SHARE}>;${more}
${entry(threads, 'local_invocation_index', headDim / 4, ', @builtin(subgroup_id) subgroup: u32')}
  let works = subgroup < ${subgroups}u;
  // The subgroup's first row, and this thread's, within the tile.
  let area = subgroup * ${rows / subgroups}u;
  let own0 = lane / ${SHARE}u * ${each.length}u;
  let tx = lane % ${SHARE}u;
  let row = first + own0;`,
    walk: `for (var block = begin; block < end; block += ${OTHERS}u) {
    let mine = block + 4u * tx;
    let real = vec4u(mine) + vec4u(0u, 1u, 2u, 3u) < vec4u(end);`,
    stage,
    /** Declares `name{r}`: own row r times the four others; `own` and `other` are free after it. */
    products: (name: string) => `workgroupBarrier();
    if (works) {
      ${sumsOf('sum')}
      for (var k = 0u; k < ${width / K}u; k++) {
        ${down.map((i) => `let a${i} = subgroupMatrixLoad<${left}, row_major>(&own, ${areaRow(i)} * ${stride}u + k * ${K / UNIT}u, ${stride}u);`).join(' ')}
        ${across
          .map(
            (
              j,
            ) => `{ let b = subgroupMatrixLoad<${right}, col_major>(&other, ${j * N * stride}u + k * ${K / UNIT}u, ${stride}u);
          ${down.map((i) => `sum${i}_${j} = subgroupMatrixMultiplyAccumulate(a${i}, b, sum${i}_${j});`).join(' ')} }`,
          )
          .join('\n        ')}
      }
      ${show((i, j) => `sum${i}_${j}`)}
    }
    workgroupBarrier();
    ${each.map((r) => `var ${name}${r} = scores[${rowOf(r)} * ${SCORES}u + tx];`).join(' ')}`,
    /** Leaves `name{r}` as weights, and what these lose as `rest`. */
    shareAll: (name: string) =>
      each
        .map(
          (r) =>
            `{ let at = ${rowOf(r)} * ${WEIGHTS}u + tx; let halves = packHalves(${name}${r}); weights[at] = halves; rest[at] = packHalves(${name}${r} - unpackHalves(halves)); }`,
        )
        .join(' '),
    /** Leaves `name{r}` as weights. */
    share: (name: string) =>
      each.map((r) => `weights[${rowOf(r)} * ${WEIGHTS}u + tx] = packHalves(${name}${r});`).join(' '),
    /** weights · other, 32 columns at a time: `take(passage, r, value)` gets the thread's vec4 of row r. */
    weighted: (take: (passage: number, r: number, value: string) => string) => `workgroupBarrier();
    ${passages
      .map(
        (passage) => `if (works) {
      ${sumsOf('sum')}
      ${addWeighted((i, j) => `sum${i}_${j}`, passage, ['weights', 'rest'])}
      ${show((i, j) => `sum${i}_${j}`)}
    }
    workgroupBarrier();
    ${each.map((r) => take(passage, r, `scores[${rowOf(r)} * ${SCORES}u + tx]`)).join(' ')}
    workgroupBarrier();`,
      )
      .join('\n    ')}`,
    /** Declares matrices `name` that weighted sums are added to, [rows, width]. */
    kept: (name: string) => passages.map((passage) => sumsOf(`${name}${passage}_`)).join('\n  '),
    addTo: (name: string) => `workgroupBarrier();
    if (works) {
      ${passages.map((passage) => addWeighted((i, j) => `${name}${passage}_${i}_${j}`, passage)).join('\n      ')}
    }
    workgroupBarrier();`,
    storeKept: (name: string, base: string) =>
      passages
        .map(
          (passage) => `if (works) {
    ${show((i, j) => `${name}${passage}_${i}_${j}`)}
  }
  workgroupBarrier();
  if (${(passage * OTHERS) / 4}u + tx < ${headDim / 4}u) {
    ${each.map((r) => `if (row + ${r}u < end) { ${store4(dtype, 'outD', `(row + ${r}u) * ${base} + ${(passage * OTHERS) / 4}u + tx`, `scores[${rowOf(r)} * ${SCORES}u + tx]`)} }`).join(' ')}
  }
  workgroupBarrier();`,
        )
        .join('\n  '),
    /** Leaves a number of each row for the row's other threads; after the barrier they are `told`. */
    tell: (value: (r: number) => string) =>
      `${each.map((r) => `told[${rowOf(r)} * ${SHARE}u + tx] = ${value(r)};`).join(' ')}
    workgroupBarrier();`,
    eachTold: (r: number, code: (value: string) => string) =>
      range(SHARE)
        .map((i) => code(`told[${rowOf(r)} * ${SHARE}u + ${i}u]`))
        .join(' '),
    dropKeys: (name: string) =>
      !dropout
        ? ''
        : each
            .filter((r) => r % 2 === 0)
            .map(
              (r) =>
                `{ let bits = randomBlock(row + ${r}u - begin, mine - begin, head, begin); ${name}${r} *= keepEach(bits & vec4u(0xffffu)); ${name}${r + 1} *= keepEach(bits >> vec4u(16u)); }`,
            )
            .join('\n    '),
    /** Declares `keep{r}`, the mask of keys = own rows, queries = the thread's others. */
    dropQueries: !dropout
      ? ''
      : each
          .map(
            (
              r,
            ) => `${r % Math.min(4, each.length) === 0 ? `let low${r} = randomBlock(mine - begin, row + ${r}u - begin, head, begin); let high${r} = randomBlock(mine + 2u - begin, row + ${r}u - begin, head, begin);` : ''}
    var keep${r}: vec4f;
    { let at = (row + ${r}u - begin) & 3u; let low = low${r - (r % Math.min(4, each.length))}[at]; let high = high${r - (r % Math.min(4, each.length))}[at];
      keep${r} = keepEach(vec4u(low & 0xffffu, low >> 16u, high & 0xffffu, high >> 16u)); }`,
          )
          .join('\n    '),
    keeps: (r: number) => (dropout ? ` * keep${r}` : ''),
    ownRow: (buffer: string, r: number) => `${buffer}[min(row + ${r}u, end - 1u) * p.heads + head]`,
    others: (buffer: string) =>
      `vec4f(${range(4)
        .map((j) => `${buffer}[min(mine + ${j}u, end - 1u) * p.heads + head]`)
        .join(', ')})`,
  };
}

/** Halves in units of 8, as they will lie in workgroup memory. */
const SOURCE = 'array<Half8>';
const LANGUAGE = {
  params: PARAMS,
  subgroups: true,
  enables: ['f16', 'chromium_experimental_subgroup_matrix'],
} as const;

function forward(form: MatrixForm) {
  const w = pieces(form);
  return {
    ...LANGUAGE,
    label: 'attention',
    buffers: forwardBuffers(SOURCE, form),
    body: `${w.head(`\nvar<workgroup> rest: array<vec2u, ${form.rows * WEIGHTS}>;`)}
  ${w.each.map((r) => `var m${r} = ${LOWEST}; var l${r} = 0.0; ${w.passages.map((c) => `var o${r}_${c} = vec4f();`).join(' ')}`).join('\n  ')}
  ${w.stage('own', 'QKV', QUERY)}
  ${w.walk}
    ${w.stage('other', 'QKV', KEY)}
    ${w.products('s')}
    ${w.stage('other', 'QKV', VALUE)}
    ${w.each.map((r) => `s${r} = select(vec4f(p.minusInfinity), s${r} * (p.scale * ${LOG2E}), real);`).join(' ')}
    ${w.tell((r) => `max(max(s${r}.x, s${r}.y), max(s${r}.z, s${r}.w))`)}
    ${w.each
      .map(
        (r) => `var top${r} = m${r}; ${w.eachTold(r, (value) => `top${r} = max(top${r}, ${value});`)}
    let shrink${r} = exp2(m${r} - top${r}); m${r} = top${r};
    s${r} = exp2(s${r} - top${r});
    l${r} = l${r} * shrink${r} + dot(s${r}, vec4f(1.0));`,
      )
      .join('\n    ')}
    ${w.dropKeys('s')}
    ${w.shareAll('s')}
    ${w.weighted((c, r, value) => `o${r}_${c} = o${r}_${c} * shrink${r} + ${value};`)}
  }
  ${w.tell((r) => `l${r}`)}
  ${w.each
    .map(
      (r) => `l${r} = 0.0; ${w.eachTold(r, (value) => `l${r} += ${value};`)}
  if (row + ${r}u < end) {
    ${w.passages
      .map(
        (c) =>
          `if (${(c * OTHERS) / 4}u + tx < ${form.headDim / 4}u) { ${store4('f16', 'outO', `(row + ${r}u) * p.hidden4 + column + ${(c * OTHERS) / 4}u + tx`, `o${r}_${c} / ${divisor(`l${r}`)}`)} }`,
      )
      .join(' ')}
    if (tx == 0u) { outL[(row + ${r}u) * p.heads + head] = ${logSum(`m${r}`, `l${r}`)}; }
  }`,
    )
    .join('\n  ')}
}`,
  };
}

function dq(form: MatrixForm) {
  const w = pieces(form);
  return {
    ...LANGUAGE,
    label: 'attentionDQ',
    buffers: gradientBuffers(SOURCE, form, 'dq'),
    body: `${w.head()}
  ${w.each.map((r) => `let lse${r} = ${w.ownRow('L', r)}; let delta${r} = ${w.ownRow('delta', r)};`).join('\n  ')}
  ${w.kept('d')}
  ${w.walk}
    ${w.stage('own', 'QKV', QUERY)}
    ${w.stage('other', 'QKV', KEY)}
    ${w.products('s')}
    ${w.stage('own', 'DO', 'column')}
    ${w.stage('other', 'QKV', VALUE)}
    ${w.products('dp')}
    ${w.stage('other', 'QKV', KEY)}
    ${w.dropKeys('dp')}
    ${w.each.map((r) => `s${r} = select(vec4f(), exp2(s${r} * (p.scale * ${LOG2E}) - lse${r}) * (dp${r} - delta${r}) * p.scale, real);`).join('\n    ')}
    ${w.share('s')}
    ${w.addTo('d')}
  }
  ${w.storeKept('d', `p.stride + ${QUERY}`)}
}`,
  };
}

function dkv(form: MatrixForm) {
  const w = pieces(form);
  return {
    ...LANGUAGE,
    label: 'attentionDKV',
    buffers: gradientBuffers(SOURCE, form, 'dkv'),
    body: `${w.head()}
  ${w.kept('dk')}
  ${w.kept('dv')}
  ${w.walk}
    let lse = ${w.others('L')};
    let rowDelta = ${w.others('delta')};
    ${w.stage('own', 'QKV', KEY)}
    ${w.stage('other', 'QKV', QUERY)}
    ${w.products('s')}
    ${w.stage('own', 'QKV', VALUE)}
    ${w.stage('other', 'DO', 'column')}
    ${w.products('dp')}
    ${w.dropQueries}
    ${w.each
      .map(
        (r) => `s${r} = select(vec4f(), exp2(s${r} * (p.scale * ${LOG2E}) - lse), real);
    dp${r} = s${r} * (dp${r}${w.keeps(r)} - rowDelta) * p.scale;
    ${form.dropout ? `s${r} *= keep${r};` : ''}`,
      )
      .join('\n    ')}
    ${w.share('s')}
    ${w.addTo('dv')}
    ${w.share('dp')}
    ${w.stage('other', 'QKV', QUERY)}
    ${w.addTo('dk')}
  }
  ${w.storeKept('dk', `p.stride + ${KEY}`)}
  ${w.storeKept('dv', `p.stride + ${VALUE}`)}
}`,
  };
}

export const subgroupMatrix: AttentionKernels<MatrixPlan> = {
  name: 'subgroupMatrix',
  why: 'halves on matrix units: products of subgroup matrices f16 → f32, softmax between them in f32',
  gpuOnly: true,
  reads: 'buffers',
  plan: planOf,
  rowsPerTile: (_, __, { rows }) => rows,
  supports: (facts, form) => !form.apart && !form.causal && planOf(facts, form) !== undefined,
  prior: ({ software }) => (software ? -1 : 3),
  parts: { forward, dq, dkv },
};
