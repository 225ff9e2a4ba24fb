/**
 * Products for GPUs with matrix units, for any shape of subgroup matrices that the adapter lists: a tile of C a workgroup,
 * an area of it a subgroup, in matrices of sums. As in `tile-shader.ts` two slices of A and B along K lie in workgroup
 * memory and a turn needs one barrier.
 *
 * The rules of the language's extension (experimental): types name columns first, `subgroup_matrix_left<T, K, M>`; a matrix
 * may be loaded from an array of vectors, whose elements offsets and strides then count, so that halves stay packed; there
 * are no partial loads, so what lies outside is zero in workgroup memory; the layout of a matrix in registers is the
 * driver's, so sums pass through workgroup memory on their way out.
 */
import type { Capabilities, SubgroupMatrixConfig } from '../../gpu/capabilities.js';
import type { FloatDType } from '../launch/formats.js';
import type { ShaderDefinition } from '../launch/shader.js';
import { layoutOf, type MatmulForm, paramsOf, startsOf } from './form.js';
import { GPU_PARAMS, sumBuffers, sumStore, type TileExtent, tileOrigin } from './gpu-tiles.js';

/** How a workgroup divides its tile. Everything that the source depends on beside the form. */
export interface MatrixPlan extends TileExtent {
  readonly factors: 'f16' | 'f32';
  /** Of one subgroup matrix: M×K times K×N. */
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** Matrices of sums of a subgroup, down and across. */
  readonly down: number;
  readonly across: number;
  /** Subgroups of the workgroup, down and across. */
  readonly subgroupsDown: number;
  readonly subgroupsAcross: number;
  /** Of K a turn. */
  readonly depth: number;
  /** Lanes of the largest subgroup that the driver may choose. */
  readonly lanes: number;
  /** It may choose smaller ones: then some subgroups have nothing to do. */
  readonly lanesVary: boolean;
}

/** Values in a unit of workgroup memory, a vec4u: eight halves, or four f32. */
export const perUnit = (factors: MatrixPlan['factors']) => (factors === 'f16' ? 8 : 4);

/** Units of A and B in one slice; a row of units is padded by one against bank conflicts. */
function slices({ transA, transB }: Pick<MatmulForm, 'transA' | 'transB'>, plan: MatrixPlan) {
  const per = perUnit(plan.factors);
  const slice = (alongK: boolean, extent: number) => {
    const [lines, length] = alongK ? [extent, plan.depth / per] : [plan.depth, extent / per];
    return { alongK, length, lines, stride: length + 1, size: lines * (length + 1) };
  };
  return { a: slice(!transA, plan.rows), b: slice(transB, plan.columns) };
}

/** One matrix down and all across, of each subgroup, in f32: what passes through workgroup memory at a time. */
const bandUnits = ({ across, N }: MatrixPlan) => (across * N) / 4;
const bandSize = (plan: MatrixPlan) =>
  plan.subgroupsDown * plan.subgroupsAcross * plan.M * (bandUnits(plan) + 1);

const memoryUnits = (form: Pick<MatmulForm, 'transA' | 'transB'>, plan: MatrixPlan): number => {
  const { a, b } = slices(form, plan);
  return Math.max(2 * (a.size + b.size), 2 * bandSize(plan));
};

/** Values of C that a lane of a subgroup holds. */
const EACH_LANE = 64;

/**
 * The configurations that can compute the form, the largest first: factors as they are stored, halves also where matrices
 * of f32 are all there is, but never f32 rounded to halves.
 */
export function usableConfigs(
  { shaderF16, subgroups, subgroupMatrixConfigs }: Capabilities,
  { a, b }: Pick<MatmulForm, 'a' | 'b'>,
): SubgroupMatrixConfig[] {
  if (!subgroups) return [];
  const halves = a === 'f16' && b === 'f16';
  const usable = (type: 'f16' | 'f32') =>
    subgroupMatrixConfigs
      .filter(
        ({ componentType, resultComponentType, M, N, K }) =>
          componentType === type &&
          resultComponentType === 'f32' &&
          [M, N, K].every((extent) => extent % perUnit(type) === 0),
      )
      .sort((x, y) => y.M * y.N * y.K - x.M * x.N * x.K);
  return [...(halves && shaderF16 ? usable('f16') : []), ...usable('f32')];
}

/**
 * A GPU's workgroup has 2×2 subgroups, `wide` 2×4, whose lanes hold 64 sums each: of 32 lanes a tile of 128×64 or 128×128. On
 * a software adapter it is small, since there kernels for matrix units are checked, not used. Undefined where the adapter
 * has no room for it.
 */
export function matrixPlan(
  facts: Capabilities,
  form: Pick<MatmulForm, 'transA' | 'transB'>,
  { componentType, M, N, K }: SubgroupMatrixConfig,
  wide = false,
): MatrixPlan | undefined {
  const factors = componentType as MatrixPlan['factors'];
  const lanes = facts.subgroupMaxSize;
  const planOf = (
    [subgroupsDown, subgroupsAcross]: [number, number],
    [down, across]: [number, number],
    depth: number,
  ): MatrixPlan => ({
    factors,
    M,
    N,
    K,
    down,
    across,
    subgroupsDown,
    subgroupsAcross,
    depth,
    lanes,
    lanesVary: facts.subgroupMinSize !== lanes,
    rows: subgroupsDown * down * M,
    columns: subgroupsAcross * across * N,
  });
  if (facts.software) return wide ? undefined : planOf([1, 2], [1, 2], 2 * K);
  // As near to a square as powers of two allow, and no narrower than a matrix.
  const rows = 2 ** Math.ceil(Math.log2(EACH_LANE * lanes) / 2);
  const columns = (EACH_LANE * lanes) / rows;
  const areas: [number, number] = [Math.max(1, rows / M), Math.max(1, columns / N)];
  const depths = factors === 'f16' ? [32, 16] : [16, 8];
  return depths
    .filter((depth) => depth % K === 0)
    .map((depth) => planOf([2, wide ? 4 : 2], areas, depth))
    .find(
      (plan) =>
        plan.subgroupsDown * plan.subgroupsAcross * lanes <= facts.maxWorkgroupInvocations &&
        memoryUnits(form, plan) * 16 <= facts.maxWorkgroupMemory,
    );
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/** With `partial` the sums of a part of K go to scratch memory as they are, for `split-k.ts` to add. */
export function matrixShader(
  form: MatmulForm,
  plan: MatrixPlan,
  partial: boolean,
): ShaderDefinition<typeof GPU_PARAMS> {
  const { factors, M, N, K, down, across, subgroupsDown, subgroupsAcross, depth, lanes, rows, columns } =
    plan;
  const per = perUnit(factors);
  const subgroups = subgroupsDown * subgroupsAcross;
  const threads = subgroups * lanes;
  const { a, b } = slices(form, plan);
  const startOfB = 2 * a.size;
  /** A unit of an operand as it lies in its buffer, and in workgroup memory. */
  const unit = (dtype: FloatDType) => {
    if (factors === 'f16') return { type: 'Half8', stored: 'vec4u', staged: (v: string) => v };
    if (dtype === 'f16')
      return { type: 'Half4', stored: 'vec2u', staged: (v: string) => `bitcast<vec4u>(unpackHalves(${v}))` };
    return { type: 'vec4f', stored: 'vec4f', staged: (v: string) => `bitcast<vec4u>(${v})` };
  };
  const staging = (buffer: 'A' | 'B') => {
    const slice = buffer === 'A' ? a : b;
    const { type, stored, staged } = unit(buffer === 'A' ? form.a : form.b);
    const name = buffer.toLowerCase();
    const units = slice.lines * slice.length;
    const rounds = range(Math.ceil(units / threads));
    const start = startsOf(form)[buffer];
    const [origin, limit, row] = buffer === 'A' ? ['row0', 'p.M', 'p.lda'] : ['col0', 'p.N', 'p.ldb'];
    const each = (code: (round: number) => string) =>
      rounds
        .map((n) => {
          const body = (n + 1) * threads <= units ? code(n) : `if (u < ${units}u) { ${code(n)} }`;
          return `{ let u = index${n ? ` + ${n * threads}u` : ''}; ${body} }`;
        })
        .join('\n    ');
    // A line of the slice is a line of the buffer: row i with part of K, or step k of K with part of the rows.
    const [line, within] = slice.alongK
      ? [`${origin} + u / ${slice.length}u`, `slice + u % ${slice.length}u * ${per}u`]
      : [`slice + u / ${slice.length}u`, `${origin} + u % ${slice.length}u * ${per}u`];
    const inside = slice.alongK ? `line < ${limit} && at < end` : `line < end && at < ${limit}`;
    const from = buffer === 'A' ? '' : `${startOfB}u + `;
    return {
      type: `array<${type}>`,
      held: rounds.map((n) => `var ${name}${n}: ${stored};`).join(' '),
      fetch: each(
        (n) =>
          `let line = ${line}; let at = ${within}; ${name}${n} = ${stored}(); if (${inside}) { ${name}${n} = ${buffer}[(${start} + line * ${row} + at) / ${per}u]; }`,
      ),
      put: each(
        (n) =>
          `S[${from}half * ${slice.size}u + u / ${slice.length}u * ${slice.stride}u + u % ${slice.length}u] = ${staged(`${name}${n}`)};`,
      ),
    };
  };
  const A = staging('A');
  const B = staging('B');
  const load = (side: 'left' | 'right', slice: typeof a, from: string, step: number, at: string) => {
    const type = side === 'left' ? `${factors}, ${K}, ${M}` : `${factors}, ${N}, ${K}`;
    const order = slice.alongK === (side === 'left') ? 'row_major' : 'col_major';
    const offset = slice.alongK
      ? `(${at}) * ${slice.stride}u + ${(step * K) / per}u`
      : `${step * K * slice.stride}u + (${at}) / ${per}u`;
    return `subgroupMatrixLoad<subgroup_matrix_${side}<${type}>, ${order}>(&S, ${from} + ${offset}, ${slice.stride}u)`;
  };
  const multiply = range(depth / K)
    .map(
      (step) => `{
      ${range(down)
        .map((i) => `let x${i} = ${load('left', a, `half * ${a.size}u`, step, `areaRow + ${i * M}u`)};`)
        .join('\n      ')}
      ${range(across)
        .map(
          (j) =>
            `let y${j} = ${load('right', b, `${startOfB}u + half * ${b.size}u`, step, `areaColumn + ${j * N}u`)};`,
        )
        .join('\n      ')}
      ${range(down)
        .map((i) =>
          range(across)
            .map((j) => `c${i}_${j} = subgroupMatrixMultiplyAccumulate(x${i}, y${j}, c${i}_${j});`)
            .join(' '),
        )
        .join('\n      ')}
    }`,
    )
    .join('\n    ');
  const units = bandUnits(plan);
  // Two bands in turns: while one is read the next is written.
  const whenWorking = (code: string) =>
    plan.lanesVary
      ? `if (subgroup < ${subgroups}u) {
    ${code}
  }`
      : code;
  const band = (i: number) => {
    const stores = range(across).map(
      (j) => `subgroupMatrixStore<row_major>(&S, band${i} + ${(j * N) / 4}u, c${i}_${j}, ${units + 1}u);`,
    );
    return `let band${i} = ${(i % 2) * bandSize(plan)}u + subgroup * ${M * (units + 1)}u;
  ${whenWorking(stores.join('\n    '))}
  workgroupBarrier();
  ${whenWorking(`for (var t = lane; t < ${M * units}u; t += laneCount) {
    let value = bitcast<vec4f>(S[band${i} + t / ${units}u * ${units + 1}u + t % ${units}u]);
    store(row0 + areaRow + ${i * M}u + t / ${units}u, (col0 + areaColumn) / 4u + t % ${units}u, value, group.z);
  }`)}`;
  };
  return {
    label: `matmul${layoutOf(form)}.subgroupMatrix${M}x${N}x${K}${partial ? '.part' : ''}${form.batched ? '.batched' : ''}`,
    params: paramsOf(form, GPU_PARAMS),
    buffers: { A: A.type, B: B.type, ...sumBuffers(form, partial) },
    subgroups: true,
    enables: [...(factors === 'f16' ? (['f16'] as const) : []), 'chromium_experimental_subgroup_matrix'],
    body: `
var<workgroup> S: array<vec4u, ${memoryUnits(form, plan)}>;
${sumStore(form, partial)}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) laneCount: u32) {
  ${tileOrigin({ rows, columns }, form)}
  let areaRow = subgroup / ${subgroupsAcross}u * ${down * M}u;
  let areaColumn = subgroup % ${subgroupsAcross}u * ${across * N}u;
  ${range(down)
    .map((i) =>
      range(across)
        .map((j) => `var c${i}_${j}: subgroup_matrix_result<f32, ${N}, ${M}>;`)
        .join(' '),
    )
    .join('\n  ')}
  ${A.held}
  ${B.held}
  var slice = first;
  var half = 0u;
  {
    ${A.fetch}
    ${B.fetch}
    ${A.put}
    ${B.put}
  }
  workgroupBarrier();
  while (slice < end) {
    slice += ${depth}u;
    let more = slice < end;
    if (more) {
    ${A.fetch}
    ${B.fetch}
    }
    ${whenWorking(multiply)}
    half = 1u - half;
    if (more) {
    ${A.put}
    ${B.put}
    }
    workgroupBarrier();
  }
  ${range(down).map(band).join('\n  ')}
}`,
  };
}
