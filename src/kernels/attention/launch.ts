/**
 * How attention's kernels are launched on batches of any size. Rows of one sequence need each other and those of two never
 * do, so a batch that one binding (or texture, or grid) cannot hold is worked on in groups of whole sequences; a sequence
 * that is alone too long, in groups of heads, whose columns are brought side by side. The numbers are those of one launch.
 */

import { ShapeError } from '../../errors.js';
import type { Gpu, RowTexture } from '../../gpu/gpu.js';
import { formatBytes } from '../../show.js';
import { bytesPerElement, Tensor } from '../../tensor/tensor.js';
import { FLAT_MAIN, flatGroups, type Grid } from '../launch/grid.js';
import { flat, type Operand, whole, windowOf, windowRoom } from '../launch/operands.js';
import { type ParamType, type Shader, shaderOf } from '../launch/shader.js';
import type { ApartSources, AttentionForm, AttentionKernels, FusedSources } from './form.js';
import { ALIGNED_ROWS, type AttentionDropout, foldOf, parameters } from './layout.js';
import { fusedLayout, type Layout, type Rows, type Side } from './spans.js';

/** A tensor [rows, parts · heads · width] that kernels see by windows of rows; or a bias, of which they see elements. */
export interface RowOperand {
  readonly tensor: Tensor;
  readonly side: Side;
  /** 3 of qkv, whose rows are three times the heads side by side. */
  readonly parts: 1 | 2 | 3;
  /** `source`: read from a texture where the kernels read from textures. */
  readonly use: 'source' | 'read' | 'write' | 'bias';
}

export type RowOperands = Readonly<Record<string, RowOperand>>;

export interface Pass {
  readonly shader: Shader<Record<string, ParamType>>;
  readonly rowsPerTile: number;
  /** Whose rows its tiles are of. */
  readonly side: Side;
  /** The operands that its shader has, by default all. */
  readonly operands?: readonly string[];
  /** Its workgroups own tiles of so many queries by so many keys of the bias, instead of rows. */
  readonly biasTile?: readonly [queries: number, keys: number];
}

export interface Batch {
  readonly reads: AttentionKernels['reads'];
  readonly form: AttentionForm;
  readonly layout: Layout;
  readonly scale: number;
  readonly dropout: AttentionDropout | undefined;
}

/** Where the rows of sources lie, and the factor of their scores. */
export const layoutOf = (
  { headDim }: AttentionForm,
  sources: FusedSources | ApartSources,
): Pick<Batch, 'layout' | 'scale'> =>
  'qkv' in sources
    ? { layout: fusedLayout(sources.sequences, sources.qkv.cols / 3 / headDim), scale: sources.scale }
    : { layout: sources.spans, scale: sources.scale };

/** What all kernels read, by the names of their buffers. */
export function sourcesOf(sources: FusedSources | ApartSources): RowOperands {
  const source = (tensor: Tensor, side: Side, parts: 1 | 3 = 1): RowOperand => ({
    tensor,
    parts,
    use: 'source',
    side,
  });
  if ('qkv' in sources) return { QKV: source(sources.qkv, 'queries', 3) };
  const { q, k, v, bias } = sources;
  return {
    Q: source(q, 'queries'),
    K: source(k, 'keys'),
    V: source(v, 'keys'),
    ...(bias ? { Bias: { tensor: bias, parts: 1, use: 'bias', side: 'queries' } } : {}),
  };
}

/** Rows of a group on one side, whose window begins at row `base`. */
interface GroupRows extends Rows {
  readonly base: number;
}

interface Group {
  /** Sequences [first, after). */
  readonly first: number;
  readonly after: number;
  readonly queries: GroupRows;
  readonly keys: GroupRows;
  /** Whether its rows fit with all heads. */
  readonly fits: boolean;
}

/** Key heads side by side in the operands, and the query heads that share them. */
interface Heads {
  readonly firstHead: number;
  readonly heads: number;
  readonly firstKeyHead: number;
  readonly keyHeads: number;
}

/** Runs the passes on all sequences and heads. */
export function launchTiles(gpu: Gpu, batch: Batch, passes: readonly Pass[], operands: RowOperands): void {
  const { heads, keyHeads } = batch.layout;
  const all = { firstHead: 0, heads, firstKeyHead: 0, keyHeads };
  for (const group of groupsOf(gpu, batch, operands)) {
    if (group.fits) {
      launchGroup(gpu, batch, passes, group, all, operands, group);
      continue;
    }
    const together = keyHeadsThatFit(gpu, batch, group, operands);
    for (let firstKeyHead = 0; firstKeyHead < keyHeads; firstKeyHead += together) {
      const some = headsFrom(batch.layout, firstKeyHead, together);
      const parts: Record<string, RowOperand> = {};
      const each = (run: (operand: RowOperand, name: string, columns: Columns) => void) => {
        for (const name in operands) {
          const operand = operands[name]!;
          const { side } = operand;
          if (operand.use === 'bias') parts[name] = operand;
          else
            run(
              operand,
              name,
              side === 'keys'
                ? { first: firstKeyHead, count: some.keyHeads, of: keyHeads }
                : { first: some.firstHead, count: some.heads, of: heads },
            );
        }
      };
      each((operand, name, columns) => {
        const { tensor, parts: count, use, side } = operand;
        const rows = group[side].end - group[side].base;
        const part = Tensor.empty(
          gpu,
          [rows, (tensor.cols / columns.of) * columns.count],
          tensor.dtype,
          'workspace',
        );
        if (use !== 'write') copyHeads(tensor, part, count, group[side], columns, 'take');
        parts[name] = { ...operand, tensor: part };
      });
      launchGroup(gpu, batch, passes, group, some, parts, { queries: { base: 0 }, keys: { base: 0 } });
      each(({ tensor, parts: count, use, side }, name, columns) => {
        const part = parts[name]!.tensor;
        if (use === 'write') copyHeads(tensor, part, count, group[side], columns, 'put');
        part.dispose();
      });
    }
  }
}

function headsFrom({ heads, keyHeads }: Layout, firstKeyHead: number, most: number): Heads {
  const members = heads / keyHeads;
  const some = Math.min(most, keyHeads - firstKeyHead);
  return { firstHead: firstKeyHead * members, heads: some * members, firstKeyHead, keyHeads: some };
}

/** Rows side by side in the rows of textures, of the sources with `share` of their columns; 1 where there are none. */
const foldOfSources = ({ reads }: Pick<Batch, 'reads'>, operands: RowOperands, share = 1): number =>
  Object.values(operands).reduce(
    (most, { tensor, use }) =>
      use === 'source' && reads !== 'buffers'
        ? Math.max(most, foldOf(Math.round(tensor.cols * share) * bytesPerElement[tensor.dtype]))
        : most,
    1,
  );

/** Whether so many rows of all operands can be seen at once, `share` of their columns. */
function fits(
  batch: Batch,
  gpu: Gpu,
  rows: Readonly<Record<Side, number>>,
  operands: RowOperands,
  share = 1,
): boolean {
  const { maxBindingSize, maxTextureSize } = gpu.capabilities;
  const fold = foldOfSources(batch, operands, share);
  return Object.values(operands).every(
    ({ tensor, use, side }) =>
      use === 'bias' ||
      (use === 'source' && batch.reads !== 'buffers'
        ? rows[side] <= maxTextureSize * fold && (tensor.cols * share * fold) / 4 <= maxTextureSize
        : rows[side] * tensor.cols * share * bytesPerElement[tensor.dtype] <= maxBindingSize),
  );
}

/** Whether the bias of sequences [first, after) can be seen at once, of some heads. */
function biasFits(
  gpu: Gpu,
  { layout }: Batch,
  first: number,
  after: number,
  { firstHead, heads }: Pick<Heads, 'firstHead' | 'heads'>,
  operands: RowOperands,
): boolean {
  const { Bias } = operands;
  if (!Bias || Bias.tensor.bytes <= gpu.capabilities.maxBindingSize) return true;
  return layout.biasRange(first, after, firstHead, heads)[1] <= windowRoom(Bias.tensor);
}

function groupsOf(gpu: Gpu, batch: Batch, operands: RowOperands): Group[] {
  const { layout } = batch;
  const { count, heads } = layout;
  if (count === 0) return [];
  const all = { firstHead: 0, heads };
  const rowsOf = (side: Side, first: number, after: number, base?: number): GroupRows => {
    const { begin } = layout.rows(side, first);
    const { end } = layout.rows(side, after - 1);
    return { begin, end, base: base ?? Math.floor(begin / ALIGNED_ROWS) * ALIGNED_ROWS };
  };
  const groupOf = (first: number, after: number, base?: number) => ({
    first,
    after,
    queries: rowsOf('queries', first, after, base),
    keys: rowsOf('keys', first, after, base),
  });
  const groupFits = ({ first, after, queries, keys }: Omit<Group, 'fits'>) =>
    fits(batch, gpu, { queries: queries.end - queries.base, keys: keys.end - keys.base }, operands) &&
    biasFits(gpu, batch, first, after, all, operands);
  const whole = groupOf(0, count, 0);
  if (whole.queries.end === 0 && whole.keys.end === 0) return [];
  if (groupFits(whole)) return [{ ...whole, fits: true }];
  const groups: Group[] = [];
  for (let first = 0; first < count; ) {
    let group = groupOf(first, first + 1);
    const alone = groupFits(group);
    while (alone && group.after < count) {
      const more = groupOf(first, group.after + 1);
      if (!groupFits(more)) break;
      group = more;
    }
    groups.push({ ...group, fits: alone });
    first = group.after;
  }
  return groups;
}

/** How many key heads of a group's rows can be seen at once. @throws ShapeError when it is none. */
function keyHeadsThatFit(gpu: Gpu, batch: Batch, group: Group, operands: RowOperands): number {
  const { form, layout } = batch;
  const { keyHeads } = layout;
  const rows = {
    queries: group.queries.end - group.queries.base,
    keys: group.keys.end - group.keys.base,
  };
  for (let some = keyHeads - 1; some > 0; some--) {
    if (!form.folded && foldOfSources(batch, operands, some / keyHeads) > 1) continue;
    if (!fits(batch, gpu, rows, operands, some / keyHeads)) continue;
    let every = true;
    for (let first = 0; first < keyHeads && every; first += some)
      every = biasFits(gpu, batch, group.first, group.after, headsFrom(layout, first, some), operands);
    if (every) return some;
  }
  throw new ShapeError(
    'attention',
    `one head of a sequence of ${Math.max(rows.queries, rows.keys)} tokens takes more than the ${formatBytes(gpu.capabilities.maxBindingSize)} that this adapter can bind; use shorter texts`,
  );
}

/** The group's rows are those from row `from` of the operands on. */
function launchGroup(
  gpu: Gpu,
  { reads, form, layout, scale, dropout }: Batch,
  passes: readonly Pass[],
  group: Group,
  heads: Heads,
  operands: RowOperands,
  from: Readonly<Record<Side, { readonly base: number }>>,
): void {
  const textures: RowTexture[] = [];
  try {
    const seen: Record<string, Operand> = {};
    const fold = foldOfSources({ reads }, operands);
    let biasBase = 0;
    for (const name in operands) {
      const { tensor, use, side } = operands[name]!;
      if (use === 'bias') {
        const range = layout.biasRange(group.first, group.after, heads.firstHead, heads.heads);
        const window = windowOf(tensor, ...range);
        seen[name] = window.operand;
        biasBase = window.base;
        continue;
      }
      const rows = group[side].end - group[side].base;
      const range = () => tensor.bindingRange(from[side].base * tensor.cols, rows * tensor.cols);
      if (use !== 'source' || reads === 'buffers') {
        seen[name] = whole(rows === tensor.rows ? tensor : range());
        continue;
      }
      const rowBytes = tensor.cols * bytesPerElement[tensor.dtype];
      const texture = gpu.rowTexture(
        range(),
        rowBytes * fold,
        rowBytes * rows,
        form.dtype === 'f16' ? 'rgba16float' : 'rgba32float',
      );
      if (!texture) throw new ShapeError('attention', 'does not fit a texture', { x: tensor });
      textures.push(texture);
      seen[name] = whole(texture);
    }
    const most = gpu.capabilities.maxWorkgroupsPerDimension;
    for (const pass of passes) {
      const { shader, rowsPerTile, side, operands: names = Object.keys(operands), biasTile } = pass;
      const [own, other] = side === 'queries' ? [group.queries, group.keys] : [group.keys, group.queries];
      const bound: Record<string, Operand> = {};
      for (const name of names) bound[name] = seen[name]!;
      const launch = (firstTile: number, grid: Grid) =>
        shader.launch(
          gpu,
          bound,
          () =>
            parameters(
              {
                ...heads,
                base: own.base,
                otherBase: other.base,
                firstQuery: group.queries.base,
                firstTile,
                biasBase,
                fold,
              },
              form.headDim,
              scale,
              dropout,
            ),
          () => grid,
        );
      if (biasTile && layout.pairs) {
        const { table, matrices, queries, keys } = layout.pairs(group, heads);
        bound['tiles'] = whole(table);
        const grid = [Math.ceil(keys / biasTile[1]), Math.ceil(queries / biasTile[0])] as const;
        for (let first = 0; first < matrices; first += most)
          launch(first, [...grid, Math.min(most, matrices - first)]);
        table.dispose();
        continue;
      }
      const [begin, end] = tilesOf(layout, group, side, rowsPerTile);
      if (begin === end) continue;
      const words = layout.tileWords;
      const tiles = layout.tiles(side, rowsPerTile);
      const table = windowOf(tiles, words * begin, words * (end - begin));
      bound['tiles'] = table.operand;
      for (let firstTile = begin; firstTile < end; firstTile += most)
        launch(firstTile - table.base / words, [
          Math.min(most, end - firstTile),
          side === 'queries' ? heads.heads : heads.keyHeads,
        ]);
      tiles.dispose();
    }
  } finally {
    for (const texture of textures) gpu.releaseTexture(texture);
  }
}

/** The group's tiles [from, to) in the table of all. */
function tilesOf(
  layout: Layout,
  { first, after }: Group,
  side: Side,
  rowsPerTile: number,
): [from: number, to: number] {
  let from = 0;
  let to = 0;
  for (let s = 0; s < after; s++) {
    if (s === first) from = to;
    to += layout.tileCount(side, rowsPerTile, s);
  }
  return [from, to];
}

/** Heads side by side: `count` from `first` on, of all. */
interface Columns {
  readonly first: number;
  readonly count: number;
  readonly of: number;
}

/** Copies the columns of some heads from the rows of the group's window of `all` into `part`, or its own rows back. */
export function copyHeads(
  all: Tensor,
  part: Tensor,
  parts: number,
  { base, begin, end }: GroupRows,
  { first, count: heads, of: allHeads }: Columns,
  direction: 'take' | 'put',
): void {
  const rows = end - base;
  // Of rows of numbers per head a unit is one, of others four; they are moved as bits.
  const perHead = all.cols / parts / allHeads;
  const unit = perHead % 4 === 0 ? 4 : 1;
  const words = (unit * bytesPerElement[all.dtype]) / 4;
  const width = (perHead / unit) * heads;
  const take = direction === 'take';
  const form = { take, words, dtype: all.dtype };
  const shader = shaderOf('attentionHeads', form, ({ take, words, dtype }) => {
    const type = words === 1 ? 'array<u32>' : `array<vec${words}u>`;
    const [all, part] = take ? ['All', 'outPart'] : ['outAll', 'Part'];
    return {
      label: 'attentionHeads',
      params: {
        count: 'u32',
        start: 'u32',
        skip: 'u32',
        parts: 'u32',
        width: 'u32',
        allWidth: 'u32',
        column: 'u32',
      } as const,
      buffers: { [all]: type, [part]: type },
      dtypes: { [all]: dtype, [part]: dtype },
      body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  // The i-th unit of the part is in row r and, of that, in one of its parts.
  let r = i / (p.parts * p.width);
  if (p.start + r < p.skip) { return; }
  let which = (i / p.width) % p.parts;
  let there = (r * p.parts + which) * p.allWidth + p.column + i % p.width;
  ${take ? `${part}[i] = ${all}[there];` : `${all}[there] = ${part}[i];`}
}`,
    };
  });
  shader.launch(
    all.gpu,
    {
      [take ? 'All' : 'outAll']: flat(all, {
        start: base * all.cols,
        count: rows * all.cols,
        each: all.cols,
      }),
      [take ? 'outPart' : 'Part']: flat(part, { each: part.cols }),
    },
    ({ start, count }) => ({
      count: count * parts * width,
      start,
      // The window may begin with rows of another sequence.
      skip: take ? 0 : begin - base,
      parts,
      width,
      allWidth: (perHead / unit) * allHeads,
      column: (perHead / unit) * first,
    }),
    ({ count }) => flatGroups(count * parts * width),
  );
}
