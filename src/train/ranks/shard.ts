/**
 * The optimiser's state divided among ranks: stage 1 of ZeRO (Rajbhandari et al. 2020, "ZeRO: Memory Optimizations
 * Toward Training Trillion Parameter Models", section 5). Each rank has the moments of its own parts, updates the weights
 * there, and gathers from the others what they updated, so that all ranks go on with the same weights.
 *
 * Divided is what only the update reads: moments, and in mixed precision the f32 weights that products read as f16 copies
 * (`ParameterStore.divide`). Of these the copies are gathered, half as many bytes. Other weights stay whole on every rank,
 * as forward reads them in f32: embeddings, biases, LayerNorm, heads.
 */
import type { ElementRange, GradientBucket } from '../../autograd/buckets.js';
import type { ParameterStore } from '../../autograd/parameter-store.js';
import { gpuWait } from '../../gpu/wait.js';
import { gatherRows } from '../../kernels/rows/gather.js';
import { scatterRows } from '../../kernels/rows/scatter.js';
import type { Placement } from '../../optim/state.js';
import { type Communicator, PART_ALIGNMENT, type Pending, partOf } from '../../ranks/communicator.js';
import { scope } from '../../tensor/scope.js';
import { bytesPerElement, Tensor } from '../../tensor/tensor.js';
import { type Ownership, ownershipOf, rangesOfPart } from './ownership.js';

/** A range of the flat buffers and where its moments lie in those of the rank that has them. */
export interface OwnedRange extends ElementRange {
  /** The first of the rank's moments that belongs to it. */
  readonly momentsStart: number;
}

/** Pieces that are on their way at a time. */
const IN_HAND = 3;
const ROW_BYTES = 16 << 20;

/** A rank's part of the parameters and of the optimiser's state. */
export class Shard {
  /** Of each rank, ascending. */
  private readonly ranges: readonly (readonly OwnedRange[])[];
  /** What this rank updates. */
  readonly own: Ownership;
  /** Elements of the own moments. */
  readonly count: number;
  private readonly covered: readonly ElementRange[];
  private memory: Float32Array[] = [];

  /**
   * `buckets`: of all flat parameters that train, the same on all ranks, which may sum gradients in them. `rowBytes`: of
   * rows that all ranks together exchange at a time.
   */
  constructor(
    /** What joins this rank with the others. */
    readonly communicator: Communicator,
    private readonly buckets: readonly GradientBucket[],
    private readonly rowBytes = ROW_BYTES,
  ) {
    const { size, rank } = communicator;
    const owners = Array.from({ length: size }, (_, each) => ownershipOf(buckets, size, each));
    this.own = owners[rank]!;
    this.ranges = owners.map((owner) => {
      let momentsStart = 0;
      return owner.ranges.map(({ start, end }) => {
        const range = { start, end, momentsStart };
        momentsStart += end - start;
        return range;
      });
    });
    const last = this.ranges[rank]!.at(-1);
    this.count = last ? last.momentsStart + last.end - last.start : 0;
    this.covered = ownershipOf(buckets, 1, 0).ranges;
  }

  /** What this rank has of elements [start, end) of the flat buffers, ascending. */
  within(range: ElementRange): OwnedRange[] {
    return this.of(this.own.rank, range);
  }

  /** What a rank has of them. Its moments of these lie side by side. */
  private of(rank: number, { start, end }: ElementRange): OwnedRange[] {
    return this.ranges[rank]!.flatMap((owned) => {
      const from = Math.max(start, owned.start);
      const to = Math.min(end, owned.end);
      return to > from
        ? [{ start: from, end: to, momentsStart: owned.momentsStart + from - owned.start }]
        : [];
    });
  }

  /** Where the moments lie of a parameter whose first element is `offset` of the flat buffers. */
  placementOf(offset: number): Placement {
    return {
      of: (rank, { start, end }) => {
        const owned = this.of(rank, { start: offset + start, end: offset + end });
        return {
          first: owned[0]?.momentsStart ?? 0,
          pieces: owned.map((piece) => ({ start: piece.start - offset, end: piece.end - offset })),
        };
      },
    };
  }

  /** @throws RangeError when parameters train that did not when the moments were divided: no rank has theirs. */
  requireCovered(store: ParameterStore): void {
    for (const { start, end } of store.trainingRanges())
      if (!this.covered.some((range) => range.start <= start && end <= range.end))
        throw new RangeError('parameters train that did not when the moments were divided among the ranks');
  }

  /** What every rank has updated of the dense weights, to all ranks: in f32, or of divided weights their f16 copies. */
  gatherWeights(store: ParameterStore): Promise<void> {
    const { rank } = this.communicator;
    return this.gather(
      this.buckets.map((bucket) => {
        const { count, parts } = this.message(store, bucket);
        return {
          count,
          own: wordsOf(parts[rank]!.places),
          read: () =>
            store.gpu.beginGather(
              parts[rank]!.places.map(({ tensor, start, count }) => tensor.bindingRange(start, count)),
            ),
          receive(values: Float32Array) {
            for (const [other, { first, places }] of parts.entries()) {
              if (other === rank) continue;
              let at = first;
              for (const place of places) {
                const { tensor, start, count } = place;
                const words = wordsOf([place]);
                const own = values.subarray(at, at + words);
                const half = tensor.dtype === 'f16';
                tensor.write(half ? new Uint16Array(own.buffer, own.byteOffset, count) : own, start);
                at += words;
              }
            }
          },
        };
      }),
      1,
    );
  }

  /**
   * Words of all ranks' parts of a bucket, and of each part where it begins and where its elements lie. An f16 copy is half
   * a word, so that ranks' parts differ in words where the bucket has both formats, and all are as long as the longest.
   */
  private message(store: ParameterStore, bucket: GradientBucket) {
    const { size } = this.communicator;
    const places = Array.from({ length: size }, (_, each) =>
      rangesOfPart(bucket, size, each).flatMap((range) => store.placesOf(range)),
    );
    const longest = Math.ceil(Math.max(...places.map(wordsOf)) / PART_ALIGNMENT) * PART_ALIGNMENT;
    const whole = places.flat().every(({ tensor }) => tensor.dtype === 'f32');
    const count = whole ? bucket.size : longest * size;
    return {
      count,
      parts: places.map((each, rank) => ({ first: partOf(count, size, rank).start, places: each })),
    };
  }

  /**
   * Of `rows` of a table, the n-th of which rank n mod W has updated, each rank's to all ranks. `room`: at least the own
   * ones. Memory on the device is taken for that many, or as many as go at a time, and a plan knows how many that are.
   */
  gatherRows(table: Tensor, rows: Uint32Array, room: number): Promise<void> {
    const { size, rank } = this.communicator;
    const { gpu, cols } = table;
    /** Rows of each rank in a piece, of this one, and of all. */
    const each = Math.min(Math.ceil(table.rows / size), Math.ceil(this.rowBytes / (4 * cols * size)));
    const [ours, all] = [Math.min(each, room), each * size];
    const index = (values: Uint32Array) => Tensor.from(gpu, values, [values.length], 'u32', 'workspace');
    const read = new Float32Array(ours * cols);
    const pieces: Piece[] = [];
    for (let first = 0; first < rows.length; first += all) {
      const listed = rows.subarray(first, first + all);
      const own = listed.filter((_, n) => n % size === rank);
      const length = Math.ceil((Math.ceil(listed.length / size) * cols) / PART_ALIGNMENT) * PART_ALIGNMENT;
      pieces.push({
        count: length * size,
        own: own.length * cols,
        read: () =>
          scope(() => {
            const from = new Uint32Array(ours);
            from.set(own);
            const updated = gatherRows(table, index(from));
            const reading = gpu.beginGather([
              { ...updated.bindingRange(0, read.length), size: 4 * read.length },
            ]);
            return {
              async into(values: Float32Array) {
                await reading.into(read);
                values.set(read.subarray(0, values.length));
              },
            };
          }),
        receive: (values) =>
          scope(() => {
            const updated = Tensor.empty(gpu, [all, cols], 'f32', 'workspace');
            // No table has such a row.
            const to = new Uint32Array(all).fill(0xffffffff);
            for (let other = 0; other < size; other++) {
              if (other === rank) continue;
              const theirs = listed.filter((_, n) => n % size === other);
              const from = other * length;
              updated.write(values.subarray(from, from + theirs.length * cols), other * each * cols);
              to.set(theirs, other * each);
            }
            scatterRows(table, index(to), updated);
          }),
      });
    }
    // One after the other: however many there are, they take no more than one.
    return this.gather(pieces, 0);
  }

  /** Each is read `lag` turns before it is exchanged, and exchanged as long before it is written. */
  private async gather(pieces: readonly Piece[], lag: 0 | 1): Promise<void> {
    const { communicator } = this;
    const { size, rank } = communicator;
    const largest = Math.max(0, ...pieces.map(({ count }) => count));
    if ((this.memory[0]?.length ?? 0) < largest)
      this.memory = Array.from({ length: IN_HAND }, () => communicator.memory(largest));
    const { memory } = this;
    const reads: ReturnType<Piece['read']>[] = [];
    const sent: { readonly values: Float32Array; readonly pending: Pending }[] = [];
    for (let n = 0; n < pieces.length + 2 * lag; n++) {
      if (n < pieces.length) reads[n] = pieces[n]!.read();
      const [sends, receives] = [n - lag, n - 2 * lag];
      if (sends >= 0 && sends < pieces.length) {
        const { count } = pieces[sends]!;
        const values = memory[sends % IN_HAND]!.subarray(0, count);
        const { start } = partOf(count, size, rank);
        await reads[sends]!.into(values.subarray(start, start + pieces[sends]!.own));
        sent[sends] = { values, pending: communicator.startGatherParts(values) };
      }
      if (receives >= 0) {
        const { values, pending } = sent[receives]!;
        // Others may be on their way from the device meanwhile, and waits beside those are to sleep.
        await gpuWait(pending.wait());
        pieces[receives]!.receive(values);
      }
    }
  }
}

type Place = ReturnType<ParameterStore['placesOf']>[number];

/** Of 32 bits. */
const wordsOf = (places: readonly Place[]): number =>
  places.reduce((words, { tensor, count }) => words + (count * bytesPerElement[tensor.dtype]) / 4, 0);

/** What ranks exchange at once. */
interface Piece {
  /** Elements of all ranks. */
  readonly count: number;
  /** Of this one: its part of them (`partOf`), or the beginning of it. */
  readonly own: number;
  /** The own ones, one range behind the other. */
  read(): { into(values: Float32Array): Promise<void> };
  /** Those of all ranks are there: takes those of the others. */
  receive(values: Float32Array): void;
}

/** Where the moments lie of a table's rows [n, cols], the k-th of which rank k mod `size` has. */
export function placementOfRows(cols: number, size: number): Placement {
  return {
    of(rank, { start, end }) {
      const pieces: ElementRange[] = [];
      const before = Math.floor(start / cols);
      const firstRow = before + ((((rank - before) % size) + size) % size);
      for (let row = firstRow; row * cols < end; row += size)
        pieces.push({ start: Math.max(start, row * cols), end: Math.min(end, (row + 1) * cols) });
      const into = (pieces[0]?.start ?? firstRow * cols) - firstRow * cols;
      return { first: Math.floor(firstRow / size) * cols + into, pieces };
    },
  };
}
