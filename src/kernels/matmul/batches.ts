/**
 * Products side by side: which matrices of the operands each of them reads, as NumPy broadcasts, and how they are cut
 * where one dispatch cannot see them all. Nothing is copied to be broadcast.
 */
import type { Gpu } from '../../gpu/gpu.js';
import type { Shape } from '../../tensor/shape.js';
import { bytesPerElement, Tensor } from '../../tensor/tensor.js';
import type { Batches, MatmulForm, MatmulOperands, MatmulSize } from './form.js';

/** Dimensions of a batch that lie side by side and that the same operands have, as one. */
interface Level {
  readonly extent: number;
  readonly inA: boolean;
  readonly inB: boolean;
}

/** The batch of a result whose operands have the batches `a` and `b`, from the outermost dimension. */
export function levelsOf(batch: Shape, a: Shape, b: Shape): Level[] {
  const levels: Level[] = [];
  const has = (own: Shape, i: number) => (own[own.length - batch.length + i] ?? 1) === batch[i];
  batch.forEach((extent, i) => {
    if (extent === 1) return;
    const level = { extent, inA: has(a, i), inB: has(b, i) };
    const before = levels.at(-1);
    if (before && before.inA === level.inA && before.inB === level.inB)
      levels[levels.length - 1] = { ...before, extent: before.extent * extent };
    else levels.push(level);
  });
  return levels;
}

const product = (levels: readonly Level[]): number => levels.reduce((all, { extent }) => all * extent, 1);

/** Which matrix of an operand product i reads: ⌊i / each⌋ mod of; undefined where that is not all of the rule. */
function readsOf(levels: readonly Level[], which: 'inA' | 'inB'): { each: number; of: number } | undefined {
  const own = levels.map((level) => level[which]);
  const [first, last] = [own.indexOf(true), own.lastIndexOf(true)];
  if (first < 0) return { each: 1, of: 1 };
  const within = levels.slice(first, last + 1);
  if (!within.every((level) => level[which])) return undefined;
  return { each: product(levels.slice(last + 1)), of: product(within) };
}

function batchesIn(levels: readonly Level[]): Batches | undefined {
  const [a, b] = [readsOf(levels, 'inA'), readsOf(levels, 'inB')];
  if (!a || !b) return undefined;
  return { batches: product(levels), eachA: a.each, ofA: a.of, eachB: b.each, ofB: b.of };
}

/** Values of an operand, rows and inner extents taken as multiples of 8, that one dispatch computes with: what is packed is scratch memory. */
const AT_ONCE = 8 << 20;

const eights = (n: number): number => 8 * Math.ceil(n / 8);

/** Whether one dispatch can compute all of them, whichever variant runs. */
function fitOne(
  { capabilities }: Gpu,
  { a, b, c }: MatmulForm,
  { M, N, K }: MatmulSize,
  { batches, ofA, ofB }: Batches,
): boolean {
  const { maxBindingSize, maxTextureSize, maxWorkgroupsPerDimension: limit } = capabilities;
  const rows = Math.max(ofA * eights(M), ofB * eights(N));
  const bytes = Math.max(
    ofA * M * K * bytesPerElement[a],
    ofB * N * K * bytesPerElement[b],
    batches * M * N * bytesPerElement[c],
  );
  return (
    batches <= limit &&
    Math.max(M, N) <= 64 * limit &&
    rows <= 8 * Math.min(maxTextureSize, limit) &&
    rows * eights(K) <= AT_ONCE &&
    bytes <= maxBindingSize - 16
  );
}

type Products = Pick<MatmulOperands, 'a' | 'b' | 'c' | 'accumulate'>;

/**
 * Calls `compute` with as many products at a time as one dispatch can see, the size then has its `Batches`; or with one.
 * Each time the operands are nothing but those products' matrices.
 */
export function inBatches(
  gpu: Gpu,
  form: MatmulForm,
  size: MatmulSize,
  levels: readonly Level[],
  operands: Products,
  compute: (size: MatmulSize, operands: Products) => void,
): void {
  const [first, ...rest] = levels;
  if (!first) {
    compute(size, operands);
    return;
  }
  const fits = (count: number): Batches | undefined => {
    const batches = batchesIn([{ ...first, extent: count }, ...rest]);
    return batches && fitOne(gpu, form, size, batches) ? batches : undefined;
  };
  const all = fits(first.extent);
  if (all) {
    compute({ ...size, ...all }, operands);
    return;
  }
  let count = first.extent;
  while (count > 1 && !fits(count)) count = Math.ceil(count / 2);
  // Where each part can be bound at its start, nothing is copied.
  if (count >= 64) count -= count % 64;
  const { M, N, K } = size;
  const below = (which: 'inA' | 'inB') => product(rest.filter((level) => level[which]));
  for (let start = 0; start < first.extent; start += count) {
    const part = Math.min(count, first.extent - start);
    const ofA = first.inA ? below('inA') * M * K : 0;
    const ofB = first.inB ? below('inB') * N * K : 0;
    withMatrices(
      operands,
      ofA ? [start * ofA, part * ofA] : undefined,
      ofB ? [start * ofB, part * ofB] : undefined,
      [start * product(rest) * M * N, part * product(rest) * M * N],
      (own) =>
        inBatches(gpu, form, size, part === 1 ? rest : [{ ...first, extent: part }, ...rest], own, compute),
    );
  }
}

/** Calls `compute` for one product after the other. */
export function oneByOne(
  { M, N, K }: MatmulSize,
  { batches, eachA, ofA, eachB, ofB }: Batches,
  operands: Products,
  compute: (operands: Products) => void,
): void {
  for (let i = 0; i < batches; i++)
    withMatrices(
      operands,
      [(Math.floor(i / eachA) % ofA) * M * K, M * K],
      [(Math.floor(i / eachB) % ofB) * N * K, N * K],
      [i * M * N, M * N],
      compute,
    );
}

type Range = readonly [start: number, count: number];

/** Ranges of the operands as tensors (undefined: all of it): views where the adapter can bind there, else copies. */
function withMatrices(
  { a, b, c, accumulate }: Products,
  ofA: Range | undefined,
  ofB: Range | undefined,
  [start, count]: Range,
  compute: (operands: Products) => void,
): void {
  const made: Tensor[] = [];
  const take = (x: Tensor, [from, values]: Range, read = true): { part: Tensor; copied: boolean } => {
    const view = x.aliasAt(from, [values]);
    const part = view ?? Tensor.empty(x.gpu, [values], x.dtype, 'workspace');
    made.push(part);
    if (!view && read) part.copyUnrecorded(x, 0, from, values);
    return { part, copied: !view };
  };
  try {
    const result = take(c, [start, count], accumulate);
    compute({
      a: ofA ? take(a, ofA).part : a,
      b: ofB ? take(b, ofB).part : b,
      c: result.part,
      accumulate,
    });
    if (result.copied) c.copyUnrecorded(result.part, start);
  } finally {
    for (const tensor of made) tensor.dispose();
  }
}
