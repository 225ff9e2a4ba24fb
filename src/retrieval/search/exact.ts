/**
 * Exact search: every query with every row of a corpus that may be larger than memory. The corpus passes the device in
 * blocks, of which the next is read and uploaded while this one is worked on; a tile of scores at a time is a product of
 * the family `matmul`, and `topK` takes its best into the queries' lists.
 *
 * The device finds candidates in f32, a few more than k. Their scores are then computed anew in float64, rounded to f32
 * (float64.ts), and ranked: best first, equal scores by row. So what is reported does not depend on the device, and equal
 * vectors are tied. Where the last candidate is not worse than the k-th by more than f32 may be wrong, a row that was not
 * kept could be better: with these queries the corpus is searched once more, keeping thousands.
 */
import type { Gpu } from '../../gpu/gpu.js';
import { matmul } from '../../kernels/matmul/matmul.js';
import { disposeTopK, finishTopK, scanTopK, startTopK, type TopKLists } from '../../kernels/top-k/top-k.js';
import type { Communicator } from '../../ranks/communicator.js';
import { noGrad, scope } from '../../tensor/scope.js';
import { Tensor } from '../../tensor/tensor.js';
import type { VectorRows } from '../vectors/rows.js';
import { checkSearch, type Metric, type Neighbours } from './neighbours.js';
import {
  checkedLengths,
  errorOf,
  type Frame,
  frameOf,
  longestOf,
  type Operands,
  operandsOf,
} from './operands.js';
import { planSearch, type SearchPlan } from './plan.js';
import { NO_ROW, rankCandidates } from './ranking.js';
import { gatherTiles, ownTiles } from './shares.js';

/** Settings of `searchExact`. */
export interface SearchOptions {
  /** What neighbours are near by. */
  readonly metric: Metric;
  /** Neighbours of each query. */
  readonly k: number;
  /** Ranks that share the queries, each with a device of its own; all give the same and all receive all neighbours. */
  readonly communicator?: Communicator | undefined;
  /** Told how many rows of the corpus of how many were searched, of `passes` passes in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * The k best rows of the corpus for each query, exactly (see above). Where the corpus has fewer than k rows, all of them.
 * Memory: of the device a tile of scores, two blocks of the corpus (together at most a binding), the queries of a group and
 * their lists; of the host two blocks.
 * @throws InputError for vectors of two widths, an unknown metric, and a vector that is not finite, which is named.
 */
export async function searchExact(
  gpu: Gpu,
  queries: VectorRows,
  corpus: VectorRows,
  options: SearchOptions,
): Promise<Neighbours> {
  const { metric, communicator } = options;
  checkSearch(queries, corpus, options);
  const k = Math.min(options.k, corpus.count);
  const extents = { queries: queries.count, corpus: corpus.count, width: corpus.width, k };
  const found = {
    k,
    indices: new Uint32Array(queries.count * k),
    scores: new Float32Array(queries.count * k),
  };
  if (queries.count === 0 || k === 0) return found;
  const plan = planSearch(gpu.capabilities, extents);
  const frame = await frameOf(metric, queries, corpus, plan.queryTile);
  // Tile t belongs to rank t mod size. What is wrong with queries is seen by all ranks, which then fail alike.
  const own = new Set(ownTiles(communicator, queries.count, plan.queryTile));
  const tiles = Math.ceil(queries.count / plan.queryTile);
  const groupTiles = plan.groupTiles(plan.kept);
  // As many for all: a rank without queries sees the corpus too, and refuses what the others refuse.
  let passes = Math.ceil(Math.ceil(tiles / (communicator?.size ?? 1)) / groupTiles);
  let passed = 0;
  /** Searches with a group and notes what was found; returns those of which it is not sure that it is all. */
  const search = async (group: readonly QueryTile[], kept: number): Promise<QueryTile[]> => {
    const pass = new GroupSearch(gpu, corpus, metric, frame, k, plan, kept, group);
    const unsure = await noGrad(() =>
      pass.run((done) => options.onProgress?.(passed * corpus.count + done, passes * corpus.count), found),
    );
    passed++;
    return unsure;
  };
  const again: QueryTile[] = [];
  let group: QueryTile[] = [];
  for (let t = 0; t < tiles; t++) {
    const tile = await readQueries(queries, t, plan.queryTile);
    if (own.has(t)) group.push(tile);
    if (group.length < groupTiles) continue;
    again.push(...(await search(group, plan.kept)));
    group = [];
  }
  if (group.length > 0 || passed < passes) again.push(...(await search(group, plan.kept)));
  const step = plan.groupTiles(plan.keptAgain);
  passes += Math.ceil(again.length / step);
  for (let start = 0; start < again.length; start += step)
    await search(again.slice(start, start + step), plan.keptAgain);
  if (communicator && communicator.size > 1)
    await gatherTiles(communicator, found, queries.count, plan.queryTile);
  return found;
}

/** Queries that share a product. */
interface QueryTile {
  /** Which they are. */
  readonly numbers: Uint32Array;
  /** [queries · width], as they are. */
  readonly values: Float32Array;
  readonly squared: Float64Array;
}

async function readQueries(queries: VectorRows, tile: number, rows: number): Promise<QueryTile> {
  const first = tile * rows;
  const values = await queries.read(first, Math.min(queries.count, first + rows));
  const squared = checkedLengths('query', values, queries.width, first);
  return { numbers: Uint32Array.from(squared, (_, r) => first + r), values, squared };
}

/** Some of the queries of a tile, in a tile of their own. */
function partOfTile({ numbers, values, squared }: QueryTile, places: readonly number[]): QueryTile {
  const width = values.length / numbers.length;
  const part = {
    numbers: Uint32Array.from(places, (r) => numbers[r]!),
    values: new Float32Array(places.length * width),
    squared: Float64Array.from(places, (r) => squared[r]!),
  };
  for (const [to, r] of places.entries())
    part.values.set(values.subarray(r * width, (r + 1) * width), to * width);
  return part;
}

/** One pass of the corpus for some tiles of queries. */
class GroupSearch {
  private readonly kept: Tensor[] = [];
  private readonly lists: TopKLists[] = [];

  constructor(
    private readonly gpu: Gpu,
    private readonly corpus: VectorRows,
    private readonly metric: Metric,
    private readonly frame: Frame | undefined,
    private readonly k: number,
    private readonly plan: SearchPlan,
    private readonly keeps: number,
    private readonly parts: readonly QueryTile[],
  ) {}

  /** Notes in `found` what was found; returns queries of which f32 cannot tell whether something better was passed by. */
  async run(onProgress: (done: number) => void, found: Neighbours): Promise<QueryTile[]> {
    const { gpu, plan, parts, metric, frame } = this;
    const { width } = this.corpus;
    const blocks = blocksOf(this.corpus, plan.corpusTile, plan.blockRows);
    try {
      // Of each query, its length as the product sees it.
      const lengths: Float64Array[] = [];
      let longest = 0;
      const tiles = parts.map((part) => {
        const { values } = operandsOf(metric, 'query', part.values, part.squared, frame);
        const tensor = this.made([plan.queryTile, width]);
        tensor.fillZero();
        tensor.write(values);
        lengths.push(checkedLengths('query', values, width, 0).map(Math.sqrt));
        this.lists.push(startTopK(gpu, plan.queryTile, this.keeps, { keep: true }));
        return tensor;
      });
      const scores = this.made([plan.queryTile, plan.corpusTile]);
      const device = [0, 1].map(
        (): DeviceBlock => ({
          rows: this.made([plan.blockRows, width]),
          bias: metric === 'l2' ? this.made([plan.blockRows]) : undefined,
          done: undefined,
        }),
      );
      for await (const { number, first, count, values } of blocks) {
        const squared = checkedLengths('corpus', values, width, first);
        if (tiles.length === 0) continue;
        const operands = operandsOf(metric, 'corpus', values, squared, frame);
        longest = Math.max(longest, longestOf(squared, operands, frame));
        const block = device[number % 2]!;
        // What was uploaded there before was searched.
        await block.done?.wait();
        this.upload(block, operands, count);
        for (let start = 0; start < count; start += plan.corpusTile)
          for (const [t, tile] of tiles.entries())
            scope(() => {
              const { corpusTile } = plan;
              const rows = block.rows.aliasAt(start * width, [corpusTile, width])!;
              const bias = block.bias?.aliasAt(start, [corpusTile]);
              matmul(tile, rows, { transB: true, bias, out: scores });
              scanTopK(scores, this.lists[t]!, {
                first: first + start,
                count: Math.min(corpusTile, count - start),
              });
            });
        block.done = this.lists.at(-1)!.state.beginRead();
        onProgress(first + count);
      }
      for (const { done } of device) await done?.wait();
      return await this.rank(found, (part, row) => errorOf(metric, width, lengths[part]![row]!, longest));
    } finally {
      for (const tensor of this.kept) tensor.dispose();
      for (const lists of this.lists) disposeTopK(lists);
    }
  }

  private made(shape: number[]): Tensor {
    const tensor = Tensor.empty(this.gpu, shape, 'f32', 'workspace').keep();
    this.kept.push(tensor);
    return tensor;
  }

  private upload({ rows, bias }: DeviceBlock, operands: Operands, count: number): void {
    const { corpusTile } = this.plan;
    rows.write(operands.values);
    if (operands.bias) bias!.write(operands.bias);
    // Rows of the last tile beyond the last row are multiplied too and looked at by nobody; they must only have been written.
    const beyond = Math.ceil(count / corpusTile) * corpusTile - count;
    if (beyond === 0) return;
    rows.write(new Float32Array(beyond * rows.cols), count * rows.cols);
    bias?.write(new Float32Array(beyond), count);
  }

  /** The candidates by their float64 scores, as results; `errorFor`: of a query, by how much f32 may be wrong. */
  private async rank(
    found: Neighbours,
    errorFor: (part: number, row: number) => number,
  ): Promise<QueryTile[]> {
    const { corpus, parts, keeps, k, metric } = this;
    const candidates: Uint32Array[] = [];
    const unsure: QueryTile[] = [];
    for (const [p, lists] of this.lists.entries()) {
      const { scores, indices } = finishTopK(lists);
      candidates.push((await indices.toArray()) as Uint32Array);
      const values = await scores.toFloat32();
      scores.dispose();
      indices.dispose();
      // A plan reads zeros, which would be equal; what it accounts is a search whose first candidates are enough.
      if (keeps >= corpus.count || this.gpu.planning) continue;
      // What is not kept is no better than the last that is: is that surely worse than the k best?
      const places: number[] = [];
      for (let r = 0; r < parts[p]!.numbers.length; r++) {
        const [start, end] = [r * keeps, (r + 1) * keeps];
        // Where they are so, those after that need no other score.
        const worst = values[start + k - 1]! - 2 * errorFor(p, r);
        let possible = end;
        while (possible > start + k && values[possible - 1]! < worst) possible--;
        candidates[p]!.fill(NO_ROW, possible, end);
        if (possible === end) places.push(r);
      }
      if (places.length > 0) unsure.push(partOfTile(parts[p]!, places));
    }
    const scores = await rankCandidates(
      metric,
      corpus,
      parts.map(({ values }, p) => ({ queries: values, rows: candidates[p]! })),
      keeps,
    );
    for (const [p, { numbers }] of parts.entries())
      for (const [r, query] of numbers.entries()) {
        const best = [r * keeps, r * keeps + k] as const;
        found.indices.set(candidates[p]!.subarray(...best), query * k);
        found.scores.set(scores[p]!.subarray(...best), query * k);
      }
    return unsure;
  }
}

/** A block of the corpus on the device. */
interface DeviceBlock {
  /** [rows, width] f32, and of `l2` what is added to the products. */
  readonly rows: Tensor;
  readonly bias: Tensor | undefined;
  /** What was uploaded there last was searched. */
  done: { wait(): Promise<unknown> } | undefined;
}

/** Rows of the corpus as they are read. */
interface Block {
  readonly number: number;
  readonly first: number;
  readonly count: number;
  /** [count · width], until the block after the next is asked for. */
  readonly values: Float32Array;
}

/**
 * The corpus in blocks, the next of which is read while one is worked on. The first is a tile and each twice the one before,
 * up to `rows`, so that the device does not wait for a long one at the start.
 */
async function* blocksOf(corpus: VectorRows, tile: number, rows: number): AsyncGenerator<Block> {
  const { count, width } = corpus;
  const memory: Float32Array[] = [];
  const read = (number: number, first: number) => {
    const end = Math.min(count, first + Math.min(rows, tile * 2 ** Math.min(number, 30)));
    if (memory.length <= number % 2) memory.push(new Float32Array(Math.min(count, rows) * width));
    const values = corpus.read(first, end, memory[number % 2]!);
    // Of a block that is not reached, nobody is told.
    values.catch(() => undefined);
    return { number, first, count: end - first, values };
  };
  let next = read(0, 0);
  for (let first = 0; first < count; ) {
    const block = next;
    const values = await block.values;
    first += block.count;
    if (first < count) next = read(block.number + 1, first);
    yield { ...block, values };
  }
}
