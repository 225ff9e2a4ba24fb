/**
 * How attention's kernels are launched on batches of any size. Rows of one sequence need each other and those of two never
 * do, so a batch that one binding (or texture, or grid) cannot hold is worked on in groups of whole sequences; a sequence
 * that is alone too long, in groups of heads, whose columns are brought side by side. The numbers are those of one launch.
 */
import { ShapeError } from '../../errors.js';
import type { Gpu, RowTexture } from '../../gpu/gpu.js';
import { formatBytes } from '../../gpu/memory.js';
import { bytesPerElement, Tensor } from '../../tensor/tensor.js';
import { FLAT_MAIN, flatGroups } from '../launch/grid.js';
import { flat, type Operand, whole, windowOf } from '../launch/operands.js';
import { type Shader, shaderOf } from '../launch/shader.js';
import type { AttentionForm, AttentionKernels } from './form.js';
import { ALIGNED_ROWS, type AttentionDropout, type PARAMS, parameters, type TileSource } from './layout.js';

/** A tensor [T, parts · heads · width] that kernels see by windows of rows. */
export interface RowOperand {
  readonly tensor: Tensor;
  /** 3 of qkv, whose rows are three times the heads side by side. */
  readonly parts: 1 | 3;
  /** `source`: read from a texture where the kernels read from textures. */
  readonly use: 'source' | 'read' | 'write';
}

export type RowOperands = Readonly<Record<string, RowOperand>>;

export interface Pass {
  readonly shader: Shader<typeof PARAMS>;
  readonly rowsPerTile: number;
}

export interface Batch {
  readonly reads: AttentionKernels['reads'];
  readonly form: AttentionForm;
  readonly sequences: TileSource;
  readonly heads: number;
  readonly dropout: AttentionDropout | undefined;
}

interface Group {
  /** Sequences [first, after), which have rows [begin, end); their window begins at row base. */
  readonly first: number;
  readonly after: number;
  readonly base: number;
  readonly begin: number;
  readonly end: number;
  /** Whether its rows fit with all heads. */
  readonly fits: boolean;
}

/** Runs the passes on all sequences and heads. */
export function launchTiles(gpu: Gpu, batch: Batch, passes: readonly Pass[], operands: RowOperands): void {
  const { heads } = batch;
  for (const group of groupsOf(gpu, batch, operands)) {
    const rows = group.end - group.base;
    if (group.fits) {
      launchGroup(gpu, batch, passes, group, { firstHead: 0, heads }, operands, group.base);
      continue;
    }
    const together = headsThatFit(gpu, batch, rows, operands);
    for (let firstHead = 0; firstHead < heads; firstHead += together) {
      const some = { firstHead, heads: Math.min(together, heads - firstHead) };
      const parts: Record<string, RowOperand> = {};
      for (const name in operands) {
        const { tensor, parts: count, use } = operands[name]!;
        const part = Tensor.empty(gpu, [rows, (tensor.cols / heads) * some.heads], tensor.dtype, 'workspace');
        if (use !== 'write') copyHeads(tensor, part, count, group, some, heads, 'take');
        parts[name] = { tensor: part, parts: count, use };
      }
      launchGroup(gpu, batch, passes, group, some, parts, 0);
      for (const name in operands) {
        const { tensor, parts: count, use } = operands[name]!;
        const part = parts[name]!.tensor;
        if (use === 'write') copyHeads(tensor, part, count, group, some, heads, 'put');
        part.dispose();
      }
    }
  }
}

/** Whether `rows` rows of all operands can be seen at once, `share` of their columns. */
function fits({ reads }: Batch, gpu: Gpu, rows: number, operands: RowOperands, share = 1): boolean {
  const { maxBindingSize, maxTextureSize } = gpu.capabilities;
  return Object.values(operands).every(({ tensor, use }) =>
    use === 'source' && reads !== 'buffers'
      ? rows <= maxTextureSize
      : rows * tensor.cols * share * bytesPerElement[tensor.dtype] <= maxBindingSize,
  );
}

function groupsOf(gpu: Gpu, batch: Batch, operands: RowOperands): Group[] {
  const { bounds } = batch.sequences;
  const count = bounds.length - 1;
  const tokens = bounds[count]!;
  if (tokens === 0) return [];
  if (fits(batch, gpu, tokens, operands))
    return [{ first: 0, after: count, base: 0, begin: 0, end: tokens, fits: true }];
  const groups: Group[] = [];
  for (let first = 0; first < count; ) {
    const begin = bounds[first]!;
    const base = Math.floor(begin / ALIGNED_ROWS) * ALIGNED_ROWS;
    const fitsTo = (after: number) => fits(batch, gpu, bounds[after]! - base, operands);
    let after = first + 1;
    const alone = fitsTo(after);
    while (alone && after < count && fitsTo(after + 1)) after++;
    groups.push({ first, after, base, begin, end: bounds[after]!, fits: alone });
    first = after;
  }
  return groups;
}

/** How many heads of `rows` rows can be seen at once. @throws ShapeError when it is none. */
function headsThatFit(gpu: Gpu, batch: Batch, rows: number, operands: RowOperands): number {
  const { reads, heads, form } = batch;
  // Rows of a texture are copied in multiples of 256 bytes.
  const copied = (some: number) => (some * form.headDim * bytesPerElement[form.dtype]) % 256 === 0;
  for (let some = heads - 1; some > 0; some--)
    if ((reads === 'buffers' || copied(some)) && fits(batch, gpu, rows, operands, some / heads)) return some;
  throw new ShapeError(
    'attention',
    `one head of a sequence of ${rows} tokens takes more than the ${formatBytes(gpu.capabilities.maxBindingSize)} that this adapter can bind; use shorter texts`,
  );
}

interface Heads {
  readonly firstHead: number;
  readonly heads: number;
}

/** The group's rows are those from row `from` of the operands on. */
function launchGroup(
  gpu: Gpu,
  { reads, form, sequences, dropout }: Batch,
  passes: readonly Pass[],
  group: Group,
  heads: Heads,
  operands: RowOperands,
  from: number,
): void {
  const rows = group.end - group.base;
  const textures: RowTexture[] = [];
  try {
    const bound: Record<string, Operand> = {};
    for (const name in operands) {
      const { tensor, use } = operands[name]!;
      const range = () => tensor.bindingRange(from * tensor.cols, rows * tensor.cols);
      if (use !== 'source' || reads === 'buffers') {
        bound[name] = whole(rows === tensor.rows ? tensor : range());
        continue;
      }
      const texture = gpu.rowTexture(
        range(),
        tensor.cols * bytesPerElement[tensor.dtype],
        rows,
        form.dtype === 'f16' ? 'rgba16float' : 'rgba32float',
      );
      if (!texture) throw new ShapeError('attention', 'does not fit a texture', { x: tensor });
      textures.push(texture);
      bound[name] = whole(texture);
    }
    const most = gpu.capabilities.maxWorkgroupsPerDimension;
    for (const { shader, rowsPerTile } of passes) {
      const [begin, end] = tilesOf(sequences, group, rowsPerTile);
      const table = windowOf(sequences.tiles(rowsPerTile), 4 * begin, 4 * (end - begin));
      bound['tiles'] = table.operand;
      for (let firstTile = begin; firstTile < end; firstTile += most)
        shader.launch(
          gpu,
          bound,
          () =>
            parameters(
              { ...heads, base: group.base, firstTile: firstTile - table.base / 4 },
              form.headDim,
              dropout,
            ),
          () => [Math.min(most, end - firstTile), heads.heads],
        );
    }
  } finally {
    for (const texture of textures) gpu.releaseTexture(texture);
  }
}

/** The group's tiles [from, to) in the table of all. */
function tilesOf({ bounds }: TileSource, { first, after }: Group, rowsPerTile: number): [number, number] {
  let from = 0;
  let to = 0;
  for (let s = 0; s < after; s++) {
    if (s === first) from = to;
    to += Math.ceil((bounds[s + 1]! - bounds[s]!) / rowsPerTile);
  }
  return [from, to];
}

/** Copies the columns of some heads from the rows of the group's window of `all` into `part`, or its own rows back. */
function copyHeads(
  all: Tensor,
  part: Tensor,
  parts: number,
  { base, begin, end }: Group,
  { firstHead, heads }: Heads,
  allHeads: number,
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
      column: (perHead / unit) * firstHead,
    }),
    ({ count }) => flatGroups(count * parts * width),
  );
}
