/**
 * The sum of gradients over ranks, inside the step (Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating
 * Data Parallel Training"). The store says in which buckets backward completes the gradients; a bucket is read back as
 * soon as backward has passed its stage, summed over ranks while the device works on earlier layers, and written back
 * into the flat buffer. Rows of tables come last (rows.ts).
 *
 * The host records the whole of backward before the device has done it: every bucket is copied, at its place among the
 * device's commands, into memory of its own that the host can map. On the host a few buckets are under way at a time.
 */
import type { ElementRange, GradientBucket } from '../../autograd/buckets.js';
import { joinedRanges } from '../../autograd/buckets.js';
import type { TableParameter } from '../../autograd/parameter.js';
import type { ParameterStore } from '../../autograd/parameter-store.js';
import type { Binding, Gpu, PendingGather } from '../../gpu/gpu.js';
import { gpuWait } from '../../gpu/wait.js';
import { type Communicator, partOf, type WireFormat } from '../../ranks/communicator.js';
import { Tensor } from '../../tensor/tensor.js';
import { type Ownership, ownershipOf, rangesOfPart } from './ownership.js';
import {
  bytesOfPart,
  bytesOfSum,
  type HostRows,
  type RowTable,
  rowExchange,
  type SummedRows,
  sumRows,
} from './rows.js';

export interface ReducerOptions {
  readonly wire?: WireFormat | undefined;
  /** Each rank gets the sums of its own parts only (`own`), for optimisers that are sharded; the rest is left as it was. */
  readonly ownPartsOnly?: boolean | undefined;
  /** Bytes of f32 below which stages are joined. */
  readonly bucketBytes?: number | undefined;
}

/** What one reduction took. */
export interface Reduction {
  /** Bytes that this rank sent to others. */
  readonly sent: number;
  /** Milliseconds in which something was being exchanged, copies to and from the device included. */
  readonly exchanging: number;
  /** Those of them in which the device was still busy with backward. */
  readonly hidden: number;
}

/** Beyond a layer of BGE-M3's size a bucket is a layer; smaller ones are joined up to this. */
const BUCKET_BYTES = 4 << 20;
/** Buckets that the host has in hand at a time: one is read while another is summed and a third written back. */
const IN_HAND = 3;

/** Milliseconds [begin, end) of the host's clock. */
interface Span {
  readonly begin: number;
  readonly end: number;
}

interface Slot {
  readonly values: Float32Array;
  /** Until what it holds was written back. */
  free: Promise<void>;
}

export class GradientReducer {
  /** What this rank owns: part `partOf` of every bucket, and rows of tables. */
  readonly own: Ownership;
  /** For plans: rows of a table that all ranks together may have; by default no rank has one that another has. */
  mostRows = Number.POSITIVE_INFINITY;
  /** For plans: the rows of each table that each rank has, where that is known. */
  rowsOfRanks: readonly Uint32Array[] | undefined;
  /** In the order in which they are summed. */
  readonly buckets: readonly GradientBucket[];
  private readonly covered: readonly ElementRange[];
  private readonly wire: WireFormat;
  private slots: Slot[] | undefined;
  private under: UnderWay | undefined;

  constructor(
    private readonly store: ParameterStore,
    private readonly communicator: Communicator,
    private readonly options: ReducerOptions = {},
  ) {
    this.wire = options.wire ?? 'f32';
    this.buckets = store.buckets(options.bucketBytes ?? BUCKET_BYTES);
    this.covered = joinedRanges(this.buckets.flatMap(({ ranges }) => ranges));
    this.own = ownershipOf(this.buckets, communicator.size, communicator.rank);
  }

  /**
   * From here on gradients are the last of a step. Returns what backward calls with each stage that it has passed
   * (`EncodeOptions.onBackward`). @throws RangeError when parameters train that did not when the reducer was made.
   */
  arm(): (stage: number) => void {
    for (const { start, end } of this.store.trainingRanges())
      if (!this.covered.some((range) => range.start <= start && end <= range.end))
        throw new RangeError('parameters train that did not when the gradient reducer was made');
    const under: UnderWay = { next: 0, tail: Promise.resolve(), backwardEnd: 0, spans: [], sent: 0 };
    this.under = under;
    return (stage) => {
      while (under.next < this.buckets.length && this.buckets[under.next]!.stage >= stage) this.start(under);
    };
  }

  /** To be called when all gradients of the step are recorded: sends what is left, and waits until the sums are there. */
  async finish(): Promise<Reduction> {
    if (!this.under) this.arm();
    const under = this.under!;
    this.under = undefined;
    while (under.next < this.buckets.length) this.start(under);
    // Copied now too, among the device's commands.
    const tables = this.store.tables
      .filter((table) => table.trains)
      .map((table) => ({ table, read: this.beginRows(table, under) }));
    await under.tail;
    for (const { table, read } of tables) await this.reduceRows(table, await read(), under);
    await Promise.all((this.slots ?? []).map(({ free }) => free));
    return reductionOf(under);
  }

  private start(under: UnderWay): void {
    const bucket = this.buckets[under.next++]!;
    const read = beginRead(
      this.store.gpu,
      bucket.ranges.map((range) => this.binding(range)),
      under,
    );
    under.tail = under.tail.then(() => this.send(bucket, read, under));
    // Told to whoever finishes the step.
    under.tail.catch(() => undefined);
  }

  private binding({ start, end }: ElementRange) {
    return this.store.gradients!.bindingRange(start, end - start);
  }

  /** Buckets come here one after the other, on all ranks in the same order. */
  private async send(bucket: GradientBucket, read: TimedRead, under: UnderWay): Promise<void> {
    const slot = await this.freeSlot();
    const values = slot.values.subarray(0, bucket.size);
    await read.into(values);
    const { communicator, wire } = this;
    const pending = this.options.ownPartsOnly
      ? communicator.startReduceScatter(values, wire)
      : communicator.startSum(values, wire);
    under.sent += this.options.ownPartsOnly
      ? bytesOfPart(bucket.size, communicator, wire)
      : bytesOfSum(bucket.size, communicator, wire);
    const receive = async () => {
      await pending.wait();
      const { size, rank } = communicator;
      const { ownPartsOnly } = this.options;
      let at = ownPartsOnly ? partOf(bucket.size, size, rank).start : 0;
      for (const range of ownPartsOnly ? rangesOfPart(bucket, size, rank) : bucket.ranges) {
        const count = range.end - range.start;
        this.store.gpu.upload(this.binding(range), values.subarray(at, at + count));
        at += count;
      }
      under.spans.push({ begin: read.readyAt, end: performance.now() });
    };
    slot.free = receive();
    slot.free.catch(() => undefined);
  }

  /** The next one in turn, once what it held was written back. */
  private async freeSlot(): Promise<Slot> {
    if (!this.slots) {
      const largest = Math.max(...this.buckets.map(({ size }) => size));
      this.slots = Array.from({ length: Math.min(IN_HAND, this.buckets.length) }, () => ({
        values: this.communicator.memory(largest),
        free: Promise.resolve(),
      }));
    }
    const slot = this.slots.shift()!;
    this.slots.push(slot);
    // Later buckets may be on their way from the device meanwhile, and such waits are to sleep.
    await gpuWait(slot.free);
    return slot;
  }

  // ---- tables --------------------------------------------------------------------------------------------

  private beginRows(table: TableParameter, under: UnderWay): () => Promise<HostRows & { begin: number }> {
    const merged = table.gradient.merged();
    if (!merged)
      return async () => ({ rows: new Uint32Array(), values: new Float32Array(), begin: performance.now() });
    const { rows, values } = merged;
    const read = beginRead(this.store.gpu, [values.bindingRange(0, values.size)], under);
    return async () => {
      const host = new Float32Array(values.size);
      await read.into(host);
      return { rows, values: host, begin: read.readyAt };
    };
  }

  private async reduceRows(
    table: TableParameter,
    own: HostRows & { begin: number },
    under: UnderWay,
  ): Promise<void> {
    const { gpu } = this.store;
    const { rows: tableRows, cols } = table.tensor;
    // Its memory is free before that of the sums is taken.
    table.gradient.clear();
    const shape = { rows: tableRows, cols };
    const summed = gpu.planning
      ? this.plannedRows(own.rows, shape)
      : await sumRows(own, shape, this.communicator, this.wire);
    under.sent += summed.sent;
    const { rows } = summed;
    const values = Tensor.from(gpu, summed.values, [rows.length, cols], 'f32', 'gradients');
    table.gradient.replace({ rows, values });
    under.spans.push({ begin: own.begin, end: performance.now() });
  }

  private plannedRows(own: Uint32Array, table: RowTable): SummedRows {
    const most = Math.min(table.rows, this.mostRows, own.length * this.own.size);
    const lists = this.rowsOfRanks ?? otherRows(own, this.own, table.rows, most);
    const { rows, sent } = rowExchange(lists, table, this.own, this.wire);
    return { rows, values: new Float32Array(rows.length * table.cols), sent };
  }
}

/** One reduction. */
interface UnderWay {
  /** The bucket that is to be started next. */
  next: number;
  /** Settles when all that were started have been handed to the communicator. */
  tail: Promise<void>;
  /** When the device had done the last of backward. */
  backwardEnd: number;
  readonly spans: Span[];
  sent: number;
}

interface TimedRead extends PendingGather {
  /** When the device had done it. */
  readyAt: number;
}

function beginRead(gpu: Gpu, sources: readonly Binding[], under: UnderWay): TimedRead {
  const read: TimedRead = { ...gpu.beginGather(sources), readyAt: 0 };
  const note = () => {
    read.readyAt = performance.now();
    under.backwardEnd = Math.max(under.backwardEnd, read.readyAt);
  };
  read.ready.then(note, () => undefined);
  return read;
}

/** Ranks with as many rows each as this one, which all together have `count`: from the end of the table those it has not. */
function otherRows(
  own: Uint32Array,
  { rank, size }: Ownership,
  tableRows: number,
  count: number,
): Uint32Array[] {
  const present = new Set(own);
  const others: number[] = [];
  for (let row = tableRows - 1; own.length + others.length < count; row--)
    if (!present.has(row)) others.push(row);
  others.reverse();
  const share = Math.ceil(others.length / (size - 1));
  // Those that are short of rows have some of this rank's.
  const listOf = (nth: number) => {
    const list = others.slice(nth * share, (nth + 1) * share);
    if (list.length === 0) return own;
    return Uint32Array.from([...own.subarray(0, own.length - list.length), ...list]).sort();
  };
  return Array.from({ length: size }, (_, r) => (r === rank ? own : listOf(r < rank ? r : r - 1)));
}

function reductionOf({ spans, backwardEnd, sent }: UnderWay): Reduction {
  let [exchanging, hidden, until] = [0, 0, 0];
  for (const { begin, end } of [...spans].sort((a, b) => a.begin - b.begin)) {
    const from = Math.max(begin, until);
    if (end <= from) continue;
    exchanging += end - from;
    hidden += Math.max(0, Math.min(end, backwardEnd) - from);
    until = end;
  }
  return { sent, exchanging, hidden };
}
