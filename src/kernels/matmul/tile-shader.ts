/**
 * Products for GPUs without matrix units: a tile of C a workgroup, 8×8 of it a thread, in registers. Slices of A and B
 * along K lie in workgroup memory as f32, two at a time: while one is multiplied the next is on its way through registers
 * into the other, so that a turn needs one barrier.
 */
import { vec4Type } from '../launch/formats.js';
import type { ShaderDefinition } from '../launch/shader.js';
import { type MatmulForm, paramsOf, startsOf } from './form.js';
import { GPU_PARAMS, sumBuffers, sumStore, type TileExtent, tileOrigin } from './gpu-tiles.js';

/** Of C a workgroup, of K a turn, and of C a thread: `each`² values, 4 or 8 a side. */
export interface TileShape extends TileExtent {
  readonly depth: number;
  readonly each: number;
}

const AXES = ['x', 'y', 'z', 'w'] as const;
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

export const tileThreads = ({ rows, columns, each }: TileShape): number => (rows * columns) / each ** 2;

/** vec4s from one slice index of K to the next: one more than the tile has, against bank conflicts. */
const stride = (extent: number) => extent / 4 + 1;

/** Bytes of workgroup memory. */
export const tileMemory = ({ rows, columns, depth }: TileShape): number =>
  2 * depth * (stride(rows) + stride(columns)) * 16;

/** How one operand comes from its buffer into workgroup memory, `[k][index]`. */
interface Staging {
  /** Declarations of what a thread holds on the way. */
  readonly held: string;
  /** Reads the slice that begins at `slice`. */
  readonly fetch: string;
  /** Writes what is held to slice `half`. */
  readonly put: string;
}

/**
 * `alongK`: K is contiguous in memory. Then a thread reads four vec4s along K and turns the 4×4 block in its registers, as
 * single values could not be stored side by side without conflicts; else vec4s lie in memory as they are wanted.
 * Beyond K come zeros; rows or columns beyond C may hold anything that is within the buffer.
 */
function staging(
  form: MatmulForm,
  buffer: 'A' | 'B',
  alongK: boolean,
  extent: number,
  { depth }: TileShape,
  threads: number,
  /** The first thread that has work, where there is less than for all. */
  offset: number,
): Staging {
  const name = buffer.toLowerCase();
  const dtype = buffer === 'A' ? form.a : form.b;
  const start = startsOf(form)[buffer];
  const [origin, limit, row] = buffer === 'A' ? ['row0', 'p.M', 'p.lda'] : ['col0', 'p.N', 'p.ldb'];
  const stored = dtype === 'f16' ? 'Half4' : 'vec4f';
  const value = (at: string) => (dtype === 'f16' ? `unpackHalves(${at})` : at);
  const step = stride(extent);
  const units = (extent * depth) / (alongK ? 16 : 4);
  const rounds = range(Math.ceil(units / threads));
  const each = (code: (round: number) => string) =>
    rounds
      .map((round) => {
        const unit = offset === 0 ? 'index' : `(index + ${threads - offset}u) % ${threads}u`;
        const body = (round + 1) * threads <= units ? code(round) : `if (u < ${units}u) { ${code(round)} }`;
        return `{ let u = ${unit}${round ? ` + ${round * threads}u` : ''}; ${body} }`;
      })
      .join('\n    ');
  if (alongK) {
    const quads = depth / 4;
    const place = `let i = u / ${quads}u * 4u; let k = u % ${quads}u * 4u;`;
    return {
      held: rounds
        .map((n) =>
          range(4)
            .map((r) => `var ${name}${n}_${r}: ${stored};`)
            .join(' '),
        )
        .join('\n  '),
      fetch: each(
        (n) =>
          `${place} let at = slice + k; let inside = at < end; let v = min(at, p.K - 4u) / 4u;
      ${range(4)
        .map(
          (r) =>
            `${name}${n}_${r} = select(${stored}(), ${buffer}[(${start} + min(${origin} + i + ${r}u, ${limit} - 1u) * ${row}) / 4u + v], inside);`,
        )
        .join('\n      ')}`,
      ),
      put: each(
        (n) =>
          `${place} let at = half * ${depth * step}u + k * ${step}u + i / 4u;
      ${range(4)
        .map((r) => `let r${r} = ${value(`${name}${n}_${r}`)};`)
        .join(' ')}
      ${AXES.map((x, j) => `s${buffer}[at + ${j * step}u] = vec4f(r0.${x}, r1.${x}, r2.${x}, r3.${x});`).join('\n      ')}`,
      ),
    };
  }
  const quads = extent / 4;
  const place = `let k = u / ${quads}u; let i = u % ${quads}u;`;
  return {
    held: rounds.map((n) => `var ${name}${n}: ${stored};`).join(' '),
    fetch: each(
      (n) =>
        `${place} let at = slice + k; let inside = at < end;
      ${name}${n} = select(${stored}(), ${buffer}[(${start} + min(at, p.K - 1u) * ${row}) / 4u + min(${origin} / 4u + i, ${limit} / 4u - 1u)], inside);`,
    ),
    put: each(
      (n) => `${place} s${buffer}[half * ${depth * step}u + k * ${step}u + i] = ${value(`${name}${n}`)};`,
    ),
  };
}

/** With `partial` the sums of a part of K go to scratch memory as they are, for `split-k.ts` to add. */
export function tileShader(
  form: MatmulForm,
  shape: TileShape,
  partial: boolean,
): ShaderDefinition<typeof GPU_PARAMS> {
  const { transA, transB } = form;
  const { rows, columns, depth, each } = shape;
  const runs = each / 4;
  const threads = tileThreads(shape);
  const unitsOfA = (rows * depth) / (transA ? 4 : 16);
  const a = staging(form, 'A', !transA, rows, shape, threads, 0);
  const b = staging(form, 'B', transB, columns, shape, threads, unitsOfA % threads);
  const [strideA, strideB] = [stride(rows), stride(columns)];
  // A thread's rows and columns are runs of four, so that neighbours read neighbouring vec4s.
  const products = range(each).flatMap((r) =>
    range(runs).map(
      (v) => `c${r}_${v} = fma(vec4f(a${Math.floor(r / 4)}.${AXES[r % 4]}), b${v}, c${r}_${v});`,
    ),
  );
  const rowOf = (r: number) => `row0 + ${Math.floor(r / 4) * (rows / runs) + (r % 4)}u + y * 4u`;
  const unitOf = (v: number) => `col0 / 4u + ${v * (columns / each)}u + x`;
  return {
    label: `matmul${transA ? 'T' : 'N'}${transB ? 'T' : 'N'}.tile${rows}x${columns}${partial ? '.part' : ''}${form.batched ? '.batched' : ''}`,
    params: paramsOf(form, GPU_PARAMS),
    buffers: { A: vec4Type(form.a), B: vec4Type(form.b), ...sumBuffers(form, partial) },
    body: `
var<workgroup> sA: array<vec4f, ${2 * depth * strideA}>;
var<workgroup> sB: array<vec4f, ${2 * depth * strideB}>;
${sumStore(form, partial)}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) index: u32) {
  ${tileOrigin(shape, form)}
  let x = index % ${columns / each}u;
  let y = index / ${columns / each}u;
  ${range(each)
    .map((r) =>
      range(runs)
        .map((v) => `var c${r}_${v}: vec4f;`)
        .join(' '),
    )
    .join(' ')}
  ${a.held}
  ${b.held}
  var slice = first;
  var half = 0u;
  {
    ${a.fetch}
    ${b.fetch}
    ${a.put}
    ${b.put}
  }
  workgroupBarrier();
  while (slice < end) {
    slice += ${depth}u;
    let more = slice < end;
    if (more) {
    ${a.fetch}
    ${b.fetch}
    }
    for (var k = 0u; k < ${depth}u; k++) {
      ${range(runs)
        .map(
          (run) =>
            `let a${run} = sA[half * ${depth * strideA}u + k * ${strideA}u + ${(run * rows) / each}u + y];`,
        )
        .join('\n      ')}
      ${range(runs)
        .map(
          (run) =>
            `let b${run} = sB[half * ${depth * strideB}u + k * ${strideB}u + ${(run * columns) / each}u + x];`,
        )
        .join('\n      ')}
      ${products.join('\n      ')}
    }
    half = 1u - half;
    if (more) {
    ${a.put}
    ${b.put}
    }
    workgroupBarrier();
  }
  ${range(each)
    .map((r) =>
      range(runs)
        .map((v) => `store(${rowOf(r)}, ${unitOf(v)}, c${r}_${v}, group.z);`)
        .join(' '),
    )
    .join('\n  ')}
}`,
  };
}
