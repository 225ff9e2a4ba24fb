/**
 * Reductions in fixed order: of what one thread walks, and across the lanes that share a row.
 */
import type { Capabilities } from '../../gpu/capabilities.js';

interface RowWay {
  readonly name: string;
  /** Lanes that share a row, a power of 2; also the workgroup size. */
  readonly lanes: number;
  /** What the lanes come to one value through. In a subgroup there are no more of them than the smallest has. */
  readonly through: 'workgroup' | 'subgroup';
  readonly why: string;
  supports(facts: Capabilities): boolean;
  prior(facts: Capabilities): number;
}

/** How the lanes of a row come to one value: variants of all families over rows. The first works everywhere. */
export const rowWays = [
  {
    name: 'workgroup64',
    lanes: 64,
    through: 'workgroup',
    why: '64 threads a row, which reduce through workgroup memory',
    supports: () => true,
    prior: () => 0,
  },
  {
    name: 'subgroup8',
    lanes: 8,
    through: 'subgroup',
    why: '8 lanes a row, which reduce in their subgroup: where barriers are dear, as on lavapipe',
    supports: ({ subgroupMinSize }) => subgroupMinSize >= 8,
    prior: ({ software }) => (software ? 1 : -1),
  },
] as const satisfies readonly [RowWay, ...RowWay[]];

export type RowVariant = (typeof rowWays)[number]['name'];

export interface RowReduction {
  /** Lanes that share a row; also the workgroup size. */
  readonly lanes: number;
  readonly subgroups: boolean;
  /** WGSL: `LANES`, `rowSum(f32, lane)`, and `rowMax(u32, lane)`, of floats by their ranks (`RANKS`). */
  readonly prelude: string;
}

const tree = (lanes: number, name: string, type: string, combine: string) => `
var<workgroup> ${name}Scratch: array<${type}, ${lanes}>;
fn ${name}(v: ${type}, lane: u32) -> ${type} {
  ${name}Scratch[lane] = v;
  workgroupBarrier();
  for (var s = ${lanes / 2}u; s > 0u; s >>= 1u) {
    if (lane < s) { let a = ${name}Scratch[lane]; let b = ${name}Scratch[lane + s]; ${name}Scratch[lane] = ${combine}; }
    workgroupBarrier();
  }
  let result = ${name}Scratch[0];
  workgroupBarrier();
  return result;
}`;

const preludes: Record<RowWay['through'], (lanes: number) => string> = {
  workgroup: (lanes) => `
const LANES = ${lanes}u;

${tree(lanes, 'rowSum', 'f32', 'a + b')}
${tree(lanes, 'rowMax', 'u32', 'max(a, b)')}`,
  subgroup: (lanes) => `
const LANES = ${lanes}u;

fn rowSum(v: f32, lane: u32) -> f32 { return subgroupAdd(v); }
fn rowMax(v: u32, lane: u32) -> u32 { return subgroupMax(v); }`,
};

const wayOf = (variant: RowVariant): RowWay => rowWays.find(({ name }) => name === variant)!;

/** WGSL: `name(v, lane)`, of a value of each lane of a row what `combine` makes of all; `ofSubgroup`: the same in a subgroup. */
export function rowCombination(
  variant: RowVariant,
  name: string,
  type: string,
  combine: string,
  ofSubgroup: string,
): string {
  const { lanes, through } = wayOf(variant);
  return through === 'workgroup'
    ? tree(lanes, name, type, combine)
    : `
fn ${name}(v: ${type}, lane: u32) -> ${type} { return ${ofSubgroup}(v); }`;
}

/** One workgroup a row, whose lanes reduce within their subgroup or through workgroup memory. */
export function rowReductionOf(variant: RowVariant): RowReduction {
  const { lanes, through } = wayOf(variant);
  return { lanes, subgroups: through === 'subgroup', prelude: preludes[through](lanes) };
}

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
