/**
 * A variant for GPUs, made of a way to compute tiles: what it supports, and how a product runs on it, piece by piece, with K
 * split where that is asked for.
 */
import type { Capabilities } from '../../gpu/capabilities.js';
import { Tensor } from '../../tensor/tensor.js';
import { flatGroups, foldedGrid } from '../launch/grid.js';
import type { Shader } from '../launch/shader.js';
import {
  batchesOf,
  type MatmulForm,
  type MatmulSize,
  type MatmulVariant,
  partsOf,
  piecesOf,
  whole,
} from './form.js';
import { type GPU_PARAMS, tileCount, tileGrid } from './gpu-tiles.js';
import { type PartExtent, partsOfK, splitWorkspace, sumShader } from './split-k.js';

/** How tiles are computed on an adapter in one form. */
export interface Tiling extends PartExtent {
  /** Values of a row of A or B that are read together. */
  readonly unit: number;
  /** Computes tiles into C or, `partial`, the sums of parts of K into scratch memory. */
  shader(partial: boolean): Shader<typeof GPU_PARAMS>;
}

export interface GpuVariant {
  readonly name: string;
  readonly why: string;
  /** Undefined where the adapter cannot. */
  tiling(facts: Capabilities, form: MatmulForm): Tiling | undefined;
  /** Splits K among workgroups, and supports only what is worth it. */
  readonly split?: boolean;
  /** On a GPU, for so many tiles of C, or of all products. */
  prior(tiles: number): number;
}

/** Rows of the operands are read in units, those of C and the bias four values at a time. */
const comesInUnits = ({ transA, transB }: MatmulForm, { M, N, K }: MatmulSize, unit: number): boolean =>
  K > 0 && whole(N) && (transA ? M : K) % unit === 0 && (transB ? K : N) % unit === 0;

/** What a form runs on an adapter, each made when it is first asked for. */
class Kernels {
  private ofProduct: Shader<typeof GPU_PARAMS> | undefined;
  private ofParts: Shader<typeof GPU_PARAMS> | undefined;
  private ofSum: ReturnType<typeof sumShader> | undefined;

  constructor(
    private readonly form: MatmulForm,
    /** Undefined where the adapter cannot; then there are no shaders either. */
    readonly tiling: Tiling | undefined,
  ) {}

  get product(): Shader<typeof GPU_PARAMS> {
    this.ofProduct ??= this.tiling!.shader(false);
    return this.ofProduct;
  }

  get parts(): Shader<typeof GPU_PARAMS> {
    this.ofParts ??= this.tiling!.shader(true);
    return this.ofParts;
  }

  get sum(): ReturnType<typeof sumShader> {
    this.ofSum ??= sumShader(this.form);
    return this.ofSum;
  }
}

export function gpuVariant({ name, why, tiling, split = false, prior }: GpuVariant): MatmulVariant {
  const kernels = remembered((facts, form) => new Kernels(form, tiling(facts, form)));
  return {
    name,
    why,
    gpuOnly: true,
    supports(facts, form, size) {
      const known = kernels(facts, form).tiling;
      if (!known || !comesInUnits(form, size, known.unit) || (split && form.batched)) return false;
      return !split || partsOfK(size, known).parts > 1;
    },
    prior(facts, form, size) {
      const known = kernels(facts, form).tiling;
      return facts.software || !known ? -1 : prior(tileCount(size, known) * batchesOf(size).batches);
    },
    fuses: new Set(['gelu']),
    ...(split && {
      workspace(facts: Capabilities, form: MatmulForm, size: MatmulSize) {
        const known = kernels(facts, form).tiling;
        return known ? splitWorkspace(size, known) : 0;
      },
    }),
    shaders(facts, form): Readonly<Record<string, Pick<Shader<typeof GPU_PARAMS>, 'source'>>> {
      const known = kernels(facts, form);
      if (!known.tiling) return {};
      const { product } = known;
      return split ? { product, parts: known.parts, sum: known.sum } : { product };
    },
    run(gpu, form, size, operands) {
      const { maxWorkgroupsPerDimension: limit, maxBindingSize } = gpu.capabilities;
      const known = kernels(gpu.capabilities, form);
      const extent = known.tiling!;
      for (const piece of piecesOf(gpu, form, size)) {
        const { A, B, bias, C, U, params } = partsOf(form, size, operands, piece);
        const results = U ? [bias, C, U] : [bias, C];
        const { parts, depth } = split
          ? partsOfK(piece, extent, maxBindingSize)
          : { parts: 1, depth: piece.K };
        const grid = tileGrid(piece, extent, size.batches ?? parts, limit);
        if (parts === 1) {
          known.product.run(gpu, [A, B, ...results], { ...params, depth }, grid);
          continue;
        }
        const sums = Tensor.empty(gpu, [parts, piece.M, piece.N], 'f32', 'workspace');
        known.parts.run(gpu, [A, B, sums], { ...params, depth }, grid);
        const groups = foldedGrid(flatGroups((piece.M * piece.N) / 4), limit);
        known.sum.run(gpu, [sums, ...results], { ...params, parts }, groups);
        sums.dispose();
      }
    },
  };
}

/** A number of its own for each form. */
const indexOf = ({ transA, transB, a, b, c, gelu, batched }: MatmulForm): number =>
  (transA ? 1 : 0) +
  (transB ? 2 : 0) +
  (a === 'f16' ? 4 : 0) +
  (b === 'f16' ? 8 : 0) +
  (c === 'f16' ? 16 : 0) +
  (gelu ? 32 : 0) +
  (batched ? 64 : 0);

/** `make`, whose results are kept: every product asks for them, and to make them takes longer than to record a dispatch. */
function remembered<T>(
  make: (facts: Capabilities, form: MatmulForm) => T,
): (facts: Capabilities, form: MatmulForm) => T {
  const known = new WeakMap<Capabilities, Map<number, T>>();
  return (facts, form) => {
    let ofFacts = known.get(facts);
    if (!ofFacts) {
      ofFacts = new Map();
      known.set(facts, ofFacts);
    }
    const index = indexOf(form);
    let made = ofFacts.get(index);
    if (made === undefined) {
      made = make(facts, form);
      ofFacts.set(index, made);
    }
    return made;
  };
}
