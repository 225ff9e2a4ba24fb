/**
 * The k best entries of rows that come in tiles, as scores of queries with the documents of a corpus do: the family `topK`.
 * Highest score first, of equal scores the lower index first. A list per row runs through the tiles (shader.ts).
 */
import { ShapeError } from '../../errors.js';
import type { Gpu } from '../../gpu/gpu.js';
import { f32, signature, u32, wholeNumber } from '../../tensor/operands.js';
import { Tensor } from '../../tensor/tensor.js';
import { byRows, type Operand } from '../launch/operands.js';
import { Draws, probedRows, trialOf } from '../trials.js';
import { type Case, type Family, runVariant, type Variant, variantOf } from '../variants.js';
import { bestPositions } from './reference.js';
import { type Columns, finishShader, scanShader, type Walk } from './shader.js';

interface TopKForm {
  /** `scan`: takes a tile into the lists; `finish`: brings them to their k best, in order. */
  readonly part: 'scan' | 'finish';
  /** Of a scan: entries that are read at once. */
  readonly columns: Columns;
  /** Of a scan: entries may be no numbers, which are then the best. */
  readonly nans?: true | undefined;
}

interface TopKSize {
  readonly rows: number;
  /** Entries of a row. */
  readonly cols: number;
  readonly k: number;
}

/** The best of each row so far. Made by `startTopK`; `dispose` when done. */
export interface TopKLists {
  readonly rows: number;
  readonly k: number;
  /** Entries that a list has room for, more than k. */
  readonly capacity: number;
  /** [rows, capacity] u32: scores by their ranks, and the indices that they belong to. */
  readonly keys: Tensor;
  readonly indices: Tensor;
  /** [rows, 2] u32: entries in the list, and the rank that an entry must exceed. */
  readonly state: Tensor;
}

/** Entries of a row of a tile. */
export interface TileRange {
  /** The first that is read, and how many; by default all of the row. */
  readonly start?: number;
  readonly count?: number;
  /** Index of that first one: tiles of a row come by ascending index. */
  readonly first: number;
  /** Entries may be no numbers, which are then the best of all; without it there are none. */
  readonly nans?: boolean;
}

interface TopKOperands {
  readonly lists: TopKLists;
  /** [rows, stride] f32, of a scan. */
  readonly tile?: { readonly scores: Tensor; readonly range: Required<Omit<TileRange, 'nans'>> };
  /** [rows, k] of a finish. */
  readonly out?: { readonly scores: Tensor; readonly indices: Tensor };
}

type TopKVariant = Variant<TopKForm, TopKSize, TopKOperands>;

/**
 * Room of a list: cutting costs some thirty reads of it, which is little for each entry that comes when as many may come as
 * stay, and for a short list when it is not short. Lists begin where every adapter can bind.
 */
export const topKCapacity = (k: number): number => 64 * Math.ceil((k + Math.max(1024, 2 * k)) / 64);

const variant = (
  about: Pick<TopKVariant, 'name' | 'why' | 'supports' | 'prior'>,
  walk: Walk,
): TopKVariant => ({
  ...about,
  shaders: (_, form): ReturnType<TopKVariant['shaders']> =>
    form.part === 'scan' ? { scan: scanShader(walk, form) } : { finish: finishShader(walk) },
  run(gpu, form, { k }, { lists, tile, out }) {
    const { rows, capacity, keys, indices, state } = lists;
    const running: Record<string, Operand> = {
      ioKeys: byRows(keys),
      ioIndex: byRows(indices),
      ioState: byRows(state),
    };
    if (tile) {
      const { start, count, first } = tile.range;
      const stride = tile.scores.cols;
      scanShader(walk, form).launch(
        gpu,
        { X: byRows(tile.scores), ...running },
        (piece) => ({ rows: piece.count, stride, start, count, first, k, capacity }),
        (piece) => piece.count,
        (piece) => ({ bytes: 4 * piece.count * count, flops: 0 }),
      );
    }
    if (out)
      finishShader(walk).launch(
        gpu,
        { ...running, outV: byRows(out.scores, { rows }), outI: byRows(out.indices, { rows }) },
        (piece) => ({ rows: piece.count, k, capacity }),
        (piece) => piece.count,
      );
  },
});

/** A form of its own for what begins at whole fours. */
const formOf = (part: TopKForm['part'], ...begins: readonly number[]): TopKForm => ({
  part,
  columns: part === 'scan' && begins.every((at) => at % 4 === 0) ? 4 : 1,
});

const caseOf = (part: TopKForm['part'], use: 'check' | 'bench', [rows, cols, k]: readonly number[]) => ({
  name: `${rows}×${cols} best ${k} ${part}`,
  form: formOf(part, cols!),
  size: { rows: rows!, cols: cols!, k: k! },
  use,
});

const CASES: readonly Case<TopKForm, TopKSize>[] = [
  // Lists that are cut more than once, lists that never are, and a single entry.
  ...(
    [
      [5, 3000, 7],
      [3, 5000, 1000],
      [9, 130, 100],
      [3, 40, 1],
      [2, 1, 1],
    ] as const
  ).map((size) => caseOf('finish', 'check', size)),
  caseOf('scan', 'check', [5, 3000, 7]),
  caseOf('scan', 'check', [5, 3001, 7]),
  // A tile of the search, where the lists are empty and where they are full.
  ...([10, 100, 1000] as const).flatMap((k) => [
    caseOf('finish', 'bench', [256, 8192, k]),
    caseOf('scan', 'bench', [256, 8192, k]),
  ]),
];

export const topKFamily: Family<TopKForm, TopKSize, TopKOperands> = {
  name: 'topK',
  summary:
    'the best entries of rows that come in tiles: a tile of which few pass (scan), and all from the first tile on',
  variants: [
    variant(
      {
        name: 'workgroup256',
        why: '256 threads a row, which agree through workgroup memory',
        supports: () => true,
        prior: () => 0,
      },
      { agreement: 'workgroup', lanes: 256, entries: 4 },
    ),
    variant(
      {
        name: 'subgroup8',
        why: 'on CPUs: 8 lanes a row that run together, without barriers',
        // The lanes see what the others wrote because they are one vector there, which no GPU promises.
        supports: ({ software, subgroupMinSize }) => software && subgroupMinSize >= 8,
        prior: () => 1,
      },
      { agreement: 'subgroup', lanes: 8, entries: 8 },
    ),
  ],
  formName: ({ part, columns }) => (columns === 4 ? `${part} by fours` : part),
  sizeClass: ({ k }) => `${Math.ceil(Math.log2(Math.max(1, k)))}`,
  cases: CASES,
  sizes: {
    spelled: 'RxCxK',
    read: ([rows, cols, k, ...more], { part }) =>
      rows && cols && k && k <= cols && more.length === 0
        ? caseOf(part, 'bench', [rows, cols, k])
        : undefined,
  },
  cost: ({ part }, { rows, cols, k }) => ({
    flops: 0,
    bytes: 4 * rows * cols + (part === 'scan' ? 0 : 8 * rows * k),
  }),
  tolerance: () => 0,
  trial(gpu, form, size) {
    const { rows, cols, k } = size;
    const draws = new Draws(gpu, rows + cols + k);
    // Few distinct values, so that ties are met everywhere.
    const drawn = draws.floats([rows, cols]).values.map((value) => Math.round(value * 4096) / 4096);
    const { tensor: scores } = draws.from(drawn, [rows, cols]);
    const out = { scores: draws.empty([rows, k]), indices: draws.kept(Tensor.empty(gpu, [rows, k], 'u32')) };
    const run = (own: TopKForm, name: string | undefined, operands: TopKOperands) =>
      variantOf(gpu, topKFamily, own, size, name).run(gpu, own, size, operands);
    const finish = (lists: TopKLists, name?: string) => run(formOf('finish'), name, { lists, out });
    const scan = (
      lists: TopKLists,
      name: string | undefined,
      tile: Tensor,
      start: number,
      count: number,
      first: number,
    ) =>
      count > 0 &&
      run(formOf('scan', cols, start), name, {
        lists,
        tile: { scores: tile, range: { start, count, first } },
      });
    // Of a scan the lists are full before, of better entries, so that nothing passes.
    const values = form.part === 'scan' ? drawn.map((value) => value + 1) : drawn;
    const full = form.part === 'scan' ? startTopK(gpu, rows, k, { keep: true }) : undefined;
    if (full) {
      for (const tensor of [full.keys, full.indices, full.state]) draws.kept(tensor);
      scan(full, undefined, draws.from(values, [rows, cols]).tensor, 0, cols, 0);
      finish(full);
    }
    const best = (r: number) => bestPositions(values.subarray(r * cols, (r + 1) * cols), k);
    const partsOf = (resultOf: (r: number, c: number) => number) => () =>
      probedRows(rows).map((r) => ({ start: r * k, values: best(r).map((c) => resultOf(r, c)) }));
    return trialOf(
      draws,
      [
        { output: out.scores, parts: partsOf((r, c) => values[r * cols + c]!) },
        { output: out.indices, parts: partsOf((_, c) => c) },
      ],
      (name) => {
        const lists = full ?? startTopK(gpu, rows, k);
        const half = full ? cols : Math.ceil(cols / 2);
        scan(lists, name, scores, 0, half, full ? cols : 0);
        scan(lists, name, scores, half, cols - half, half);
        finish(lists, name);
      },
    );
  },
};

/** Empty lists for the k best of each of `rows` rows. `keep`: they outlive the scope. */
export function startTopK(gpu: Gpu, rows: number, k: number, { keep = false } = {}): TopKLists {
  if (!(Number.isInteger(k) && k >= 1)) throw new ShapeError('topK', `k must be at least 1, found ${k}`);
  const capacity = topKCapacity(k);
  const made = (shape: number[]) => {
    const tensor = Tensor.empty(gpu, shape, 'u32', 'workspace');
    return keep ? tensor.keep() : tensor;
  };
  const lists = {
    rows,
    k,
    capacity,
    keys: made([rows, capacity]),
    indices: made([rows, capacity]),
    state: made([rows, 2]),
  };
  gpu.clear(lists.state.binding());
  return lists;
}

export function disposeTopK({ keys, indices, state }: TopKLists): void {
  for (const tensor of [keys, indices, state]) tensor.dispose();
}

const SCAN = signature(
  'topK',
  { scores: f32('rows', 'N'), state: u32('rows', 2) },
  { numbers: { first: wholeNumber() } },
);

/**
 * Takes entries of a tile into the lists. scores: [rows, N] f32, a NaN only with `nans`; the tiles of a row come by ascending index, so that
 * an entry as good as the last of a full list never displaces it.
 * @throws ShapeError when the range does not lie in the rows.
 */
export function scanTopK(scores: Tensor, lists: TopKLists, range: TileRange): void {
  const { first, start = 0, count = scores.cols - start } = range;
  SCAN.check({ scores, state: lists.state }, { first });
  if (
    !(Number.isInteger(start) && Number.isInteger(count) && start >= 0 && count >= 0) ||
    start + count > scores.cols
  )
    throw new ShapeError('topK', `no entries ${start} to ${start + count} in a row`, { scores });
  if (count === 0) return;
  const { rows, k } = lists;
  runVariant(
    scores.gpu,
    topKFamily,
    { ...formOf('scan', scores.cols, start), nans: range.nans || undefined },
    { rows, cols: count, k },
    { lists, tile: { scores, range: { start, count, first } } },
  );
}

/**
 * The best of each row so far: scores [rows, k] f32, a zero without its sign, and indices [rows, k] u32, best first and of
 * equal scores the lower index first. Where a row had fewer than k entries, -inf and 2^32 − 1 follow.
 */
export function finishTopK(lists: TopKLists): { scores: Tensor; indices: Tensor } {
  const { rows, k, keys } = lists;
  const { gpu } = keys;
  const out = { scores: Tensor.empty(gpu, [rows, k]), indices: Tensor.empty(gpu, [rows, k], 'u32') };
  runVariant(gpu, topKFamily, formOf('finish'), { rows, cols: k, k }, { lists, out });
  return out;
}
