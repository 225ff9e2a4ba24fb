/**
 * For lavapipe: both operands packed for 8 lanes (packed-operand.ts), one kernel for all layouts and sizes
 * (packed-core.ts). What a storage-buffer load costs there decides the form: textures, or on a driver and a processor that
 * gather, buffers with larger tiles.
 */
import type { Capabilities } from '../../gpu/capabilities.js';
import type { Gpu } from '../../gpu/gpu.js';
import type { FloatDType } from '../launch/formats.js';
import { foldedGrid } from '../launch/grid.js';
import {
  batchesOf,
  type MatmulForm,
  type MatmulOperands,
  type MatmulSize,
  type MatmulVariant,
  type Piece,
  partsOf,
  piecesOf,
  whole,
} from './form.js';
import { type CoreForm, coreShader, TILE_COLUMNS } from './packed-core.js';
import {
  layoutFor,
  type Packed,
  pack,
  packBytes,
  packShader,
  paddedUnits,
  type Reads,
  releasePacked,
  type Source,
  unitOf,
} from './packed-operand.js';

/** What the variants differ in. */
type Kind = Pick<CoreForm, 'reads' | 'sum' | 'rowGroups'>;

/** Bytes that one packed operand may take; products of larger ones are computed in parts. */
const PACK_BYTES = 32 << 20;

/** Halves are packed as they are where both operands are halves; else both are packed in f32. */
const packedDType = ({ a, b }: MatmulForm): FloatDType => (a === 'f16' && b === 'f16' ? 'f16' : 'f32');

/** Values along K of a part: panels are at most half as wide as a texture, and a grid packs all units of one at a time. */
const mostK = (form: MatmulForm, { maxTextureSize, maxWorkgroupsPerDimension }: Capabilities): number =>
  unitOf(packedDType(form)) * Math.min(maxTextureSize / 16, Math.floor(maxWorkgroupsPerDimension / 2) * 2);

/** Extents of a part, so that its operands fit textures, grids and `PACK_BYTES`. */
function limitsOf(form: MatmulForm, { K }: MatmulSize, facts: Capabilities): MatmulSize {
  const dtype = packedDType(form);
  const most = Math.min(K, mostK(form, facts));
  const bytes = Math.min(PACK_BYTES, facts.maxBindingSize);
  const rows = Math.floor(bytes / (16 * paddedUnits(most, dtype)));
  const panels = Math.min(facts.maxTextureSize, facts.maxWorkgroupsPerDimension);
  const limit = Math.max(64, Math.floor(Math.min(rows, 8 * panels) / 64) * 64);
  return { M: limit, N: limit, K: most };
}

/** Whether many products fit at once: each in one part, and the packs of all in textures, grids and `PACK_BYTES`. */
function fitsBatches(form: MatmulForm, size: MatmulSize, facts: Capabilities): boolean {
  const limits = limitsOf(form, size, facts);
  const { ofA, ofB } = batchesOf(size);
  const units = paddedUnits(size.K, packedDType(form));
  const most = Math.min(facts.maxTextureSize, Math.min(PACK_BYTES, facts.maxBindingSize) / (units * 128));
  return (
    size.K <= limits.K &&
    Math.max(size.M, size.N) <= limits.M &&
    Math.max(ofA * Math.ceil(size.M / 8), ofB * Math.ceil(size.N / 8)) <= most
  );
}

/** The operands of a part, as they are to be packed. */
function sourcesOf(form: MatmulForm, size: MatmulSize, operands: MatmulOperands, piece: Piece) {
  const { A, B, params, ...others } = partsOf(form, size, operands, piece);
  const { K } = piece;
  const { ofA, ofB } = batchesOf(size);
  const a: Source = {
    part: A,
    dtype: form.a,
    byRows: !form.transA,
    stride: params.lda,
    start: params.startA,
    rows: piece.M,
    K,
    ...(form.batched && { batches: ofA }),
    uses: size.N,
  };
  const b: Source = {
    part: B,
    dtype: form.b,
    byRows: form.transB,
    stride: params.ldb,
    start: params.startB,
    rows: piece.N,
    K,
    ...(form.batched && { batches: ofB }),
    uses: size.M,
  };
  return { a, b, params, ...others };
}

function runPacked(kind: Kind, gpu: Gpu, form: MatmulForm, size: MatmulSize, operands: MatmulOperands): void {
  const { capabilities } = gpu;
  const batches = batchesOf(size);
  const dtype = packedDType(form);
  const core = coreShader({
    ...kind,
    packed: dtype,
    c: form.c,
    gelu: form.gelu,
    fours: whole(size.N),
    ...(form.batched && { batched: true }),
  });
  const tileRows = 8 * kind.rowGroups;
  // Column by column, so that B's part is packed once, and A's too where B fits in one.
  const pieces = piecesOf(gpu, form, size, limitsOf(form, size, capabilities)).sort(
    (left, right) => left.n0 - right.n0 || left.k0 - right.k0 || left.m0 - right.m0,
  );
  const held = new Map<'a' | 'b', { key: string; packed: Packed }>();
  const release = (name: 'a' | 'b') => {
    const before = held.get(name);
    if (before) releasePacked(gpu, before.packed);
    held.delete(name);
  };
  const take = (name: 'a' | 'b', key: string, source: Source): Packed => {
    const before = held.get(name);
    if (before?.key === key) return before.packed;
    release(name);
    const packed = pack(gpu, source, layoutFor(source, dtype, kind.reads, capabilities.maxTextureSize));
    held.set(name, { key, packed });
    return packed;
  };
  try {
    for (const piece of pieces) {
      const { a, b, bias, C, U, params } = sourcesOf(form, size, operands, piece);
      const packedB = take('b', `${piece.n0} ${piece.k0}`, b);
      const packedA = take('a', `${piece.m0} ${piece.k0}`, a);
      const units = paddedUnits(piece.K, dtype);
      const tiles = Math.ceil(piece.M / tileRows) * Math.ceil(piece.N / TILE_COLUMNS);
      const [x, y] = foldedGrid(tiles, capabilities.maxWorkgroupsPerDimension);
      core.run(
        gpu,
        [packedA.operand, packedB.operand, bias, C, ...(U ? [U] : [])],
        {
          M: piece.M,
          N: piece.N,
          steps: dtype === 'f16' ? Math.ceil(piece.K / 8) : units / 2,
          units,
          ldc: params.ldc,
          startC: params.startC,
          hasBias: params.hasBias,
          accumulate: params.accumulate,
          plainA: packedA.layout.plain ? 1 : 0,
          plainB: packedB.layout.plain ? 1 : 0,
          stores: (kind.rowGroups * TILE_COLUMNS) / 4,
          ...(form.batched ? batches : undefined),
        },
        [x, y, batches.batches],
      );
    }
  } finally {
    release('a');
    release('b');
  }
}

/** The most bytes that the packs of one part take: B is packed first. */
function workspace(kind: Kind, facts: Capabilities, form: MatmulForm, size: MatmulSize): number {
  const limits = limitsOf(form, size, facts);
  const dtype = packedDType(form);
  const K = Math.min(size.K, limits.K);
  const { ofA, ofB } = batchesOf(size);
  const bytes = (
    from: FloatDType,
    byRows: boolean,
    rows: number,
    limit: number,
    uses: number,
    batches: number,
  ) =>
    packBytes(
      layoutFor(
        {
          dtype: from,
          byRows,
          stride: byRows ? size.K : rows,
          rows: Math.min(rows, limit),
          K,
          uses,
          batches,
        },
        dtype,
        kind.reads,
        facts.maxTextureSize,
      ),
      K,
    );
  const a = bytes(form.a, !form.transA, size.M, limits.M, size.N, ofA);
  const b = bytes(form.b, form.transB, size.N, limits.N, size.M, ofB);
  return b.kept + Math.max(b.passing, a.kept + a.passing);
}

function packedVariant(
  name: string,
  why: string,
  kind: Kind,
  prior: (facts: Capabilities, size: MatmulSize) => number,
): MatmulVariant {
  return {
    name,
    why,
    supports: (facts, form, size) =>
      facts.subgroupMinSize >= 8 &&
      size.K > 0 &&
      (!form.batched || fitsBatches(form, size, facts)) &&
      (form.c === 'f32' || whole(size.N)) &&
      // Of a product that adds up over parts the pre-activation is known after the last.
      !(form.gelu && size.K > mostK(form, facts)),
    prior: (facts, _, size) => (facts.software ? prior(facts, size) : -1),
    fuses: new Set(['gelu']),
    workspace: (facts, form, size) => workspace(kind, facts, form, size),
    shaders: (_, form) => {
      const dtype = packedDType(form);
      const many = form.batched && { batched: true as const };
      const core = { ...kind, packed: dtype, c: form.c, gelu: form.gelu, ...many };
      const [a, b] = [
        { byRows: !form.transA, from: form.a, to: dtype, ...many },
        { byRows: form.transB, from: form.b, to: dtype, ...many },
      ];
      return {
        packA: packShader({ ...a, fours: true }),
        packB: packShader({ ...b, fours: true }),
        packRaggedA: packShader({ ...a, fours: false }),
        packRaggedB: packShader({ ...b, fours: false }),
        product: coreShader({ ...core, fours: true }),
        ...(form.c === 'f32' ? { productRagged: coreShader({ ...core, fours: false }) } : {}),
      };
    },
    run: (gpu, form, size, operands) => runPacked(kind, gpu, form, size, operands),
  };
}

const reads = (r: Reads, sum: Kind['sum'], rowGroups: number): Kind => ({ reads: r, sum, rowGroups });

/**
 * Whether loads from storage buffers are cheap: Mesa's compiler gathers from 26 on, and Intel's processors with AVX-512
 * gather fast. On AMD's, with AVX-512 too, buffers reach 0.65 of the rate of textures.
 */
const gathersFast = ({ driver, cpu }: Capabilities): boolean =>
  cpu?.avx512 === true && /Intel/i.test(cpu.model) && Number(/Mesa (\d+)/.exec(driver)?.[1] ?? 0) >= 26;

export const packedTextureTree = packedVariant(
  'packed-texture-tree',
  'lavapipe with 16 vector registers (AVX2): products of a column are added as a tree, so that its sums stay in registers',
  reads('texture', 'tree', 4),
  () => 30,
);

export const packedTextureChain = packedVariant(
  'packed-texture-chain',
  'lavapipe with 32 vector registers (AVX-512): chains of multiply-adds',
  reads('texture', 'chain', 4),
  ({ cpu }) => (cpu?.avx512 ? 31 : 29),
);

export const packedBuffer = packedVariant(
  'packed-buffer',
  'lavapipe of Mesa 26 on processors that gather fast (Intel, AVX-512): panels in storage buffers, 48 rows a tile',
  reads('buffer', 'chain', 6),
  (facts) => (gathersFast(facts) ? 32 : 5),
);
