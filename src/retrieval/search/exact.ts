/**
 * Exact search: every query with every row of a corpus that may be larger than memory. The corpus passes the device in
 * blocks, of which the next is read and uploaded while this one is worked on; a tile of scores at a time is a product of
 * the family `matmul`, and `topK` takes its best into the queries' lists.
 *
 * The device finds candidates in f32, a few more than k. Their scores are then computed anew in float64, rounded to f32
 * (float64.ts), and ranked: best first, equal scores by row. So what is reported does not depend on the device, and equal
 * vectors are tied. Which rows are candidates is decided in f32: at the end of the list a row can be missing whose float64
 * score lies within f32's rounding of the last that was kept, where more such rows compete than are kept beyond k.
 */
import type { Gpu } from '../../gpu/gpu.js';
import { matmul } from '../../kernels/matmul/matmul.js';
import { disposeTopK, finishTopK, scanTopK, startTopK, type TopKLists } from '../../kernels/top-k/top-k.js';
import { noGrad, scope } from '../../tensor/scope.js';
import { Tensor } from '../../tensor/tensor.js';
import type { Communicator } from '../../train/ranks/communicator.js';
import type { VectorRows } from '../vectors/rows.js';
import { checkSearch, type Metric, type Neighbours } from './neighbours.js';
import { checkedLengths, type Frame, frameOf, type Operands, operandsOf } from './operands.js';
import { planSearch, type SearchPlan } from './plan.js';
import { rankCandidates } from './ranking.js';
import { gatherTiles, ownTiles } from './shares.js';

export interface SearchOptions {
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
  const { queryTile, groupTiles } = plan;
  const frame = await frameOf(metric, queries, corpus, queryTile);
  // Tile t belongs to rank t mod size. What is wrong with queries is seen by all ranks, which then fail alike.
  const own = ownTiles(communicator, queries.count, queryTile);
  const tiles = Math.ceil(queries.count / queryTile);
  for (let t = 0; t < tiles; t++) if (!own.includes(t)) await readQueries(queries, t, queryTile);
  // As many for all: a rank without queries sees the corpus too, and refuses what the others refuse.
  const passes = Math.ceil(Math.ceil(tiles / (communicator?.size ?? 1)) / groupTiles);
  for (let pass = 0; pass < passes; pass++) {
    const group = own.slice(pass * groupTiles, (pass + 1) * groupTiles);
    const parts: QueryTile[] = [];
    for (const tile of group) parts.push(await readQueries(queries, tile, queryTile));
    const search = new GroupSearch(gpu, corpus, metric, frame, k, plan, parts);
    await noGrad(() =>
      search.run((done) => options.onProgress?.(pass * corpus.count + done, passes * corpus.count)),
    );
    for (const part of parts) {
      found.indices.set(part.indices, part.first * k);
      found.scores.set(part.scores, part.first * k);
    }
  }
  if (communicator && communicator.size > 1) await gatherTiles(communicator, found, queries.count, queryTile);
  return found;
}

/** Queries that share a product. */
interface QueryTile {
  readonly first: number;
  readonly values: Float32Array;
  readonly squared: Float64Array;
  /** [rows · k], of the result. */
  indices: Uint32Array;
  scores: Float32Array;
}

async function readQueries(queries: VectorRows, tile: number, rows: number): Promise<QueryTile> {
  const first = tile * rows;
  const values = await queries.read(first, Math.min(queries.count, first + rows));
  return {
    first,
    values,
    squared: checkedLengths('query', values, queries.width, first),
    indices: new Uint32Array(),
    scores: new Float32Array(),
  };
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
    private readonly parts: readonly QueryTile[],
  ) {}

  async run(onProgress: (done: number) => void): Promise<void> {
    const { gpu, plan, parts, metric, frame } = this;
    const { width } = this.corpus;
    const blocks = new Blocks(this.corpus, plan.blockRows);
    try {
      const tiles = parts.map((part) => {
        const { values } = operandsOf(metric, 'query', part.values, part.squared, frame);
        const tensor = this.made([plan.queryTile, width]);
        tensor.fillZero();
        tensor.write(values);
        this.lists.push(startTopK(gpu, plan.queryTile, plan.kept, { keep: true }));
        return tensor;
      });
      const scores = this.made([plan.queryTile, plan.corpusTile]);
      const device = [0, 1].map(() => ({
        rows: this.made([plan.blockRows, width]),
        bias: metric === 'l2' ? this.made([plan.blockRows]) : undefined,
        done: undefined as { wait(): Promise<unknown> } | undefined,
      }));
      for await (const { first, count, values } of blocks) {
        const squared = checkedLengths('corpus', values, width, first);
        if (tiles.length === 0) continue;
        const operands = operandsOf(metric, 'corpus', values, squared, frame);
        const block = device[(first / plan.blockRows) % 2]!;
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
      await this.rank();
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

  private upload(
    { rows, bias }: { rows: Tensor; bias: Tensor | undefined },
    operands: Operands,
    count: number,
  ): void {
    // Rows beyond the last are multiplied too and looked at by nobody; they must only have been written.
    if (count < this.plan.blockRows) {
      rows.fillZero();
      bias?.fillZero();
    }
    rows.write(operands.values);
    if (operands.bias) bias!.write(operands.bias);
  }

  /** The candidates by their float64 scores, as results. */
  private async rank(): Promise<void> {
    const { corpus, parts, plan, k, metric } = this;
    const candidates: Uint32Array[] = [];
    for (const lists of this.lists) {
      const { scores, indices } = finishTopK(lists);
      candidates.push((await indices.toArray()) as Uint32Array);
      scores.dispose();
      indices.dispose();
    }
    const scores = await rankCandidates(
      metric,
      corpus,
      parts.map(({ values }, p) => ({ queries: values, rows: candidates[p]! })),
      plan.kept,
    );
    for (const [p, part] of parts.entries()) {
      const rows = part.squared.length;
      part.indices = new Uint32Array(rows * k);
      part.scores = new Float32Array(rows * k);
      for (let r = 0; r < rows; r++) {
        const start = r * plan.kept;
        part.indices.set(candidates[p]!.subarray(start, start + k), r * k);
        part.scores.set(scores[p]!.subarray(start, start + k), r * k);
      }
    }
  }
}

/** The corpus in blocks, the next of which is read while one is worked on. */
class Blocks {
  constructor(
    private readonly corpus: VectorRows,
    private readonly rows: number,
  ) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<{ first: number; count: number; values: Float32Array }> {
    const { corpus, rows } = this;
    const read = (first: number) => {
      const values = corpus.read(first, Math.min(corpus.count, first + rows));
      // Of a block that is not reached, nobody is told.
      values.catch(() => undefined);
      return values;
    };
    let next = read(0);
    for (let first = 0; first < corpus.count; first += rows) {
      const values = await next;
      if (first + rows < corpus.count) next = read(first + rows);
      yield { first, count: values.length / corpus.width, values };
    }
  }
}
