/**
 * A communicator whose exchanges run in a thread beside the one that computes (carrier-thread.ts), over whatever
 * transport that opens: shared memory between threads, or MPI. What is started here goes on while this thread computes.
 */
import { Worker } from 'node:worker_threads';
import { MachineError } from '../errors.js';
import {
  type Communicator,
  type Pending,
  partOf,
  pendingOf,
  RankError,
  type RankFailure,
  requireRank,
  type WireFormat,
} from './communicator.js';
import { BUSY_SECONDS, Heartbeat } from './heartbeat.js';
import {
  type Answer,
  type CarrierSeat,
  CELLS,
  type Command,
  type Operation,
  type SharedValues,
} from './operations.js';
import type { TransportPlace } from './transport.js';

/** A command without its number; of each of the union's kinds. */
type Unnumbered<T> = T extends unknown ? Omit<T, 'id'> : never;

export interface CarrierOptions {
  readonly transport: TransportPlace;
  /** How long a rank that others wait for may give no sign of life; Infinity: for ever. */
  readonly timeoutSeconds?: number;
  /** How long one in work that lets no timer run may give no sign of progress; BUSY_SECONDS, or the timeout if that is longer. */
  readonly busySeconds?: number | undefined;
}

export const DEFAULT_TIMEOUT_SECONDS = 20;

/** An abort is told to the communication thread, and by it to the others, within so long or not at all. */
const ABORT_MILLISECONDS = 5000;
/** Shared copies of arrays that are summed are kept for the next ones, so many at most. */
const MOST_COPIES = 8;

interface Waiting {
  readonly resolve: (received: readonly Uint8Array<ArrayBuffer>[]) => void;
  readonly reject: (error: Error) => void;
}

export class CarriedCommunicator implements Communicator {
  private readonly waiting = new Map<number, Waiting>();
  private readonly copies: SharedArrayBuffer[] = [];
  private readonly heart: Heartbeat;
  private nextId = 0;
  /** Why nothing is exchanged any more. */
  private failed: Error | undefined;
  /** Why there is no communication thread any more. */
  private exited: MachineError | undefined;
  private closing: Promise<void> | undefined;

  private constructor(
    readonly rank: number,
    readonly size: number,
    private readonly worker: Worker,
    private readonly cells: Int32Array,
  ) {
    this.heart = new Heartbeat(cells, CELLS);
    worker.on('message', (answer: Answer) => this.answered(answer));
    worker.on('error', (error: Error) => this.end(threadEnded(error.message)));
    worker.on('exit', (code) => this.end(threadEnded(`exit code ${code}`)));
    // A thread that has nothing to do keeps no process alive; listening for messages would.
    worker.unref();
  }

  /** Resolves when the transport is open. @throws MachineError when it cannot be opened. */
  static async open({
    transport,
    timeoutSeconds = DEFAULT_TIMEOUT_SECONDS,
    busySeconds = Math.max(BUSY_SECONDS, timeoutSeconds),
  }: CarrierOptions): Promise<CarriedCommunicator> {
    const cells = new Int32Array(new SharedArrayBuffer(4 * Object.keys(CELLS).length));
    const seat: CarrierSeat = { transport, cells: cells.buffer, timeoutSeconds, busySeconds };
    // No flags of this process: some are for its main file only.
    const worker = new Worker(new URL('./carrier-thread.js', import.meta.url), {
      workerData: seat,
      execArgv: [],
    });
    const { rank, size } = await new Promise<{ rank: number; size: number }>((resolve, reject) => {
      worker.once('message', (answer: Answer) => {
        if ('ready' in answer) resolve(answer.ready);
      });
      worker.once('error', (error: Error) => reject(new MachineError(error.message)));
      worker.once('exit', (code) => reject(threadEnded(`exit code ${code}`)));
    }).finally(() => {
      for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event);
    });
    return new CarriedCommunicator(rank, size, worker, cells);
  }

  memory(count: number): Float32Array {
    return new Float32Array(new SharedArrayBuffer(4 * count));
  }

  startSum(values: Float32Array, wire: WireFormat = 'f32'): Pending {
    return this.startOn(values, 'all', 'all', (shared) => ({ kind: 'sum', values: shared, wire }));
  }

  startReduceScatter(values: Float32Array, wire: WireFormat = 'f32'): Pending {
    return this.startOn(values, 'all', 'own', (shared) => ({ kind: 'reduce-scatter', values: shared, wire }));
  }

  startGatherParts(values: Float32Array): Pending {
    return this.startOn(values, 'own', 'all', (shared) => ({ kind: 'gather-parts', values: shared }));
  }

  async exchange(parts: readonly Uint8Array[]): Promise<Uint8Array[]> {
    if (parts.length !== this.size)
      throw new MachineError(`an exchange of ${parts.length} parts among ${this.size} ranks`);
    return [...(await this.operate({ kind: 'exchange', parts: parts.map(sendable) }))];
  }

  async allGather(bytes: Uint8Array): Promise<Uint8Array[]> {
    return [...(await this.operate({ kind: 'gather', bytes: sendable(bytes) }))];
  }

  async broadcast(bytes: Uint8Array, root: number): Promise<Uint8Array> {
    requireRank(root, this.size);
    const given = this.rank === root ? sendable(bytes) : new Uint8Array();
    return (await this.operate({ kind: 'broadcast', bytes: given, root }))[0]!;
  }

  async barrier(): Promise<void> {
    await this.operate({ kind: 'barrier' });
  }

  async abort(failure: RankFailure): Promise<never> {
    if (!this.failed && !this.exited) {
      Atomics.store(this.cells, CELLS.aborted, 1);
      // Rejects with what ended the exchanges: this failure, or one that came before.
      const told = this.post({ abort: failure }).catch((error: Error) => this.fail(error));
      await Promise.race([told, new Promise((resolve) => setTimeout(resolve, ABORT_MILLISECONDS).unref())]);
    }
    throw this.fail(new RankError(failure));
  }

  close(): Promise<void> {
    this.closing ??= this.endThread();
    return this.closing;
  }

  private async endThread(): Promise<void> {
    const exited = new Promise<void>((resolve) => this.worker.once('exit', () => resolve()));
    if (this.exited) return this.heart.stop();
    try {
      await this.post({ close: true });
    } finally {
      // Not before: of two ranks that wait here for a third one, each still waits for the other.
      this.heart.stop();
    }
    this.fail(this.closed());
    this.worker.ref();
    await exited;
  }

  /** `give`: the elements that the operation needs; `take`: those that it changes. */
  private startOn(
    values: Float32Array,
    give: 'all' | 'own',
    take: 'all' | 'own',
    operation: (shared: SharedValues) => Operation,
  ): Pending {
    const { buffer, byteOffset, length } = values;
    if (buffer instanceof SharedArrayBuffer)
      return pendingOf(this.operate(operation({ buffer, byteOffset, length })).then(() => undefined));
    const range = (which: 'all' | 'own') =>
      which === 'all' ? { start: 0, end: length } : partOf(length, this.size, this.rank);
    const memory = this.borrow(4 * length);
    const copy = new Float32Array(memory, 0, length);
    const given = range(give);
    copy.set(values.subarray(given.start, given.end), given.start);
    const done = this.operate(operation({ buffer: memory, byteOffset: 0, length })).then(() => {
      const taken = range(take);
      values.set(copy.subarray(taken.start, taken.end), taken.start);
      if (this.copies.length < MOST_COPIES) this.copies.push(memory);
    });
    return pendingOf(done);
  }

  /** First touch is slow: what was used before is taken again where it is not much too large. */
  private borrow(bytes: number): SharedArrayBuffer {
    const index = this.copies.findIndex(({ byteLength }) => byteLength >= bytes && byteLength <= 2 * bytes);
    return index < 0 ? new SharedArrayBuffer(bytes) : this.copies.splice(index, 1)[0]!;
  }

  private operate(operation: Operation): Promise<readonly Uint8Array<ArrayBuffer>[]> {
    const sent =
      operation.kind === 'exchange'
        ? operation.parts
        : operation.kind === 'gather' || operation.kind === 'broadcast'
          ? [operation.bytes]
          : [];
    return this.post(
      { operation },
      sent.flatMap(({ buffer }) => (buffer instanceof ArrayBuffer ? [buffer] : [])),
    );
  }

  private post(
    command: Unnumbered<Command>,
    transferred: readonly ArrayBuffer[] = [],
  ): Promise<readonly Uint8Array<ArrayBuffer>[]> {
    const late = 'operation' in command ? this.failed : this.exited;
    if (late) return Promise.reject(late);
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.ref();
      this.worker.postMessage({ id, ...command } satisfies Command, transferred);
      Atomics.add(this.cells, CELLS.commands, 1);
      Atomics.notify(this.cells, CELLS.commands);
    });
  }

  private answered(answer: Answer): void {
    if ('ready' in answer) return;
    const waiting = this.waiting.get(answer.id);
    this.waiting.delete(answer.id);
    if (this.waiting.size === 0) this.worker.unref();
    if ('failure' in answer) waiting?.reject(this.fail(new RankError(answer.failure)));
    else waiting?.resolve(answer.received);
  }

  /** Nothing is exchanged any more, for the first reason that there was. */
  private closed(): MachineError {
    return new MachineError(`rank ${this.rank} is closed`);
  }

  private fail(error: Error): Error {
    this.failed ??= error;
    return this.failed;
  }

  private end(reason: MachineError): void {
    this.exited ??= reason;
    // The answer to `close` can come together with the thread's exit, before `endThread` goes on.
    this.fail(this.closing && this.waiting.size === 0 ? this.closed() : reason);
    for (const { reject } of this.waiting.values()) reject(this.failed!);
    this.waiting.clear();
  }
}

function threadEnded(reason: string): MachineError {
  return new MachineError(`the communication thread has ended (${reason})`);
}

/** Bytes that may go to another thread: shared memory as it is, else a copy of their own. */
function sendable(bytes: Uint8Array): Uint8Array {
  return bytes.buffer instanceof SharedArrayBuffer ? bytes : new Uint8Array(bytes);
}
