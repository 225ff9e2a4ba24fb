/**
 * Reductions in fixed order: of what one thread walks, and across the lanes that share a row.
 */
/** How the lanes of a row come to one value: variants of all families over rows (src/kernels/row-variants.ts). */
export type RowVariant = 'workgroup64' | 'subgroup8';

export interface RowReduction {
  /** Lanes that share a row; also the workgroup size. */
  readonly lanes: number;
  readonly subgroups: boolean;
  /** WGSL: `LANES`, `rowSum(f32, lane)`, and `rowMax(u32, lane)`, of floats by their ranks (`RANKS`). */
  readonly prelude: string;
}

const tree = (name: string, type: string, combine: string) => `
var<workgroup> ${name}Scratch: array<${type}, 64>;
fn ${name}(v: ${type}, lane: u32) -> ${type} {
  ${name}Scratch[lane] = v;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (lane < s) { let a = ${name}Scratch[lane]; let b = ${name}Scratch[lane + s]; ${name}Scratch[lane] = ${combine}; }
    workgroupBarrier();
  }
  let result = ${name}Scratch[0];
  workgroupBarrier();
  return result;
}`;

const reductions: Record<RowVariant, RowReduction> = {
  workgroup64: {
    lanes: 64,
    subgroups: false,
    prelude: `
const LANES = 64u;

${tree('rowSum', 'f32', 'a + b')}
${tree('rowMax', 'u32', 'max(a, b)')}`,
  },
  subgroup8: {
    lanes: 8,
    subgroups: true,
    prelude: `
const LANES = 8u;

fn rowSum(v: f32, lane: u32) -> f32 { return subgroupAdd(v); }
fn rowMax(v: u32, lane: u32) -> u32 { return subgroupMax(v); }`,
  },
};

/** WGSL: `name(v, lane)`, of a value of each lane of a row what `combine` makes of all; `lanes`: the same in a subgroup. */
export const rowCombination = (
  variant: RowVariant,
  name: string,
  type: string,
  combine: string,
  lanes: string,
): string =>
  variant === 'workgroup64'
    ? tree(name, type, combine)
    : `
fn ${name}(v: ${type}, lane: u32) -> ${type} { return ${lanes}(v); }`;

/** One workgroup a row: 8 lanes reduce within their subgroup, or 64 threads through workgroup memory. */
export const rowReductionOf = (variant: RowVariant): RowReduction => reductions[variant];

/** Summands that a thread adds in a chain, and chains whose sums it adds in a chain. */
const CHAIN = 16;
const CHAINS = 64;

/**
 * WGSL: declares `sum` of `type`, Σ value(c) for every `stride`-th c in [start, end): chains of a few summands, then the
 * sums of some chains, then those of all. The rounding of one long chain would grow with its length. `keep`: a buffer that
 * keeps the values, from `base` on.
 */
export function threadSum(
  sum: string,
  type: string,
  [start, end, stride]: readonly [start: string, end: string, stride: string],
  value: (c: string) => string,
  keep?: string,
): string {
  const add = keep ? `let v = ${value('c')}; ${keep}[base + c] = v; chain += v;` : `chain += ${value('c')};`;
  return `var ${sum} = ${type}();
  for (var outer = ${start}; outer < ${end}; outer += ${CHAINS * CHAIN}u * ${stride}) {
    var chains = ${type}();
    for (var inner = outer; inner < min(${end}, outer + ${CHAINS * CHAIN}u * ${stride}); inner += ${CHAIN}u * ${stride}) {
      var chain = ${type}();
      for (var c = inner; c < min(${end}, inner + ${CHAIN}u * ${stride}); c += ${stride}) { ${add} }
      chains += chain;
    }
    ${sum} += chains;
  }`;
}

/** WGSL: the same for the lanes of a row together: `sum` is this lane's share, for `rowSum`. */
export function laneSum(
  sum: string,
  value: (c: string) => string,
  end: string,
  { start = '0u', type = 'f32' } = {},
): string {
  return threadSum(sum, type, [`${start} + lane`, end, 'LANES'], value);
}

/** Entry of a row kernel: defines `row` and `lane`, and leaves when the row does not exist (all lanes alike). */
export function rowMain(reduction: Pick<RowReduction, 'lanes'>, rows: string): string {
  return `
@compute @workgroup_size(${reduction.lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= ${rows}) { return; }
`;
}
