/**
 * The communication thread of a rank: one operation after the other over a transport that blocks. It takes the sums,
 * tells others the beats of the thread in which the rank computes, and ends all ranks when one fails.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { bytesOf, partOf, RankError, type RankFailure, type WireFormat } from './communicator.js';
import { BeatsOfBusy, Watchdog } from './heartbeat.js';
import {
  type Answer,
  type CarrierSeat,
  CELLS,
  type Command,
  difference,
  HEAD_LENGTH,
  headOf,
  lengthIn,
  type Operation,
  type SharedValues,
} from './operations.js';
import { SliceSums } from './slice-sums.js';
import type { Transport, TransportModule } from './transport.js';

/** Of a transport that has no size of its own that suits it best; shorter where those of all ranks would be much. */
const SLICE_BYTES = 4 << 20;
const SLICES_BYTES = 32 << 20;
/** Elements of a part that are gathered at once: MPI counts in 32 bits. */
const GATHERED_ELEMENTS = 16 << 20;
/** How long an idle thread sleeps between two looks at the others. */
const IDLE_MILLISECONDS = 100;

type Bytes = Uint8Array<ArrayBuffer>;

class CarrierThread {
  private sequence = 0;
  private readonly slices: SliceSums;

  constructor(private readonly transport: Transport) {
    const { size, sliceBytes = Math.min(SLICE_BYTES, SLICES_BYTES / size) } = transport;
    this.slices = new SliceSums(size, sliceBytes / 4);
  }

  /** @throws RankError; anything else is a fault of this rank. */
  run(operation: Operation): Bytes[] {
    const heads = this.agree(operation);
    switch (operation.kind) {
      case 'sum':
      case 'reduce-scatter':
        this.sum(floats(operation.values), operation.wire, operation.kind === 'sum');
        return [];
      case 'gather-parts':
        this.gatherParts(floats(operation.values));
        return [];
      case 'exchange':
        return this.exchange(operation.parts);
      case 'gather': {
        const received = heads.map((head) => new Uint8Array(lengthIn(head)));
        this.transport.allGather(operation.bytes, received);
        return received;
      }
      case 'broadcast': {
        const { rank } = this.transport;
        const received = heads.map((head, r) => new Uint8Array(r === operation.root ? lengthIn(head) : 0));
        this.transport.allGather(
          rank === operation.root ? operation.bytes : operation.bytes.subarray(0, 0),
          received,
        );
        return [received[operation.root]!];
      }
      case 'barrier':
        return [];
    }
  }

  /** The heads of all ranks. Nobody goes on before all have come, so this alone is a barrier. */
  private agree(operation: Operation): Float64Array[] {
    const heads = Array.from({ length: this.transport.size }, () => new Float64Array(HEAD_LENGTH));
    this.transport.allGather(bytesOf(headOf(operation, this.sequence++)), heads.map(bytesOf));
    const failure = difference(heads);
    if (failure) throw new RankError(failure);
    return heads;
  }

  /** A slice of each part at a time: to its owner, added there in rank order, and, if all want it, back to all. */
  private sum(values: Float32Array, wire: WireFormat, toAll: boolean): void {
    const { rank, size } = this.transport;
    const own = partOf(values.length, size, rank);
    const longest = partOf(values.length, size, 0).end;
    const slice = this.slices.length;
    for (let from = 0; from < longest; from += slice) {
      const parts = Array.from({ length: size }, (_, r) => {
        const { start, end } = partOf(values.length, size, r);
        return values.subarray(Math.min(end, start + from), Math.min(end, start + from + slice));
      });
      const length = Math.max(0, Math.min(own.end - own.start - from, slice));
      if (wire === 'bf16') this.sumPacked(parts, length, toAll);
      else this.sumSlice(parts, length, toAll);
    }
  }

  private sumSlice(parts: readonly Float32Array[], length: number, toAll: boolean): void {
    const { values, total } = this.slices;
    this.transport.allToAll(
      parts.map(bytesOf),
      values.map((each) => bytesOf(each.subarray(0, length))),
    );
    this.slices.add(length);
    const sum = total.subarray(0, length);
    if (toAll) this.transport.allGather(bytesOf(sum), parts.map(bytesOf));
    else parts[this.transport.rank]!.set(sum);
  }

  /** The same with bf16 on the wire, where the part of this rank is rounded like those that travel. */
  private sumPacked(parts: readonly Float32Array[], length: number, toAll: boolean): void {
    const { rank } = this.transport;
    const { outgoing, arrived, total } = this.slices;
    parts.forEach((part, r) => {
      total.set(part);
      this.slices.packTotal(outgoing[r]!, part.length);
    });
    const cut = (packed: readonly Uint16Array[]) =>
      packed.map((each, r) => bytesOf(each.subarray(0, parts[r]!.length)));
    this.transport.allToAll(
      cut(outgoing),
      arrived.map((each) => bytesOf(each.subarray(0, length))),
    );
    this.slices.addArrived(length);
    this.slices.packTotal(outgoing[rank]!, length);
    if (toAll) this.transport.allGather(cut(outgoing)[rank]!, cut(arrived));
    parts.forEach((part, r) => {
      if (!toAll && r !== rank) return;
      this.slices.unpackTotal(toAll ? arrived[r]! : outgoing[r]!, part.length);
      part.set(total.subarray(0, part.length));
    });
  }

  private gatherParts(values: Float32Array): void {
    const { rank, size } = this.transport;
    const longest = partOf(values.length, size, 0).end;
    for (let from = 0; from < longest; from += GATHERED_ELEMENTS) {
      const parts = Array.from({ length: size }, (_, r) => {
        const { start, end } = partOf(values.length, size, r);
        return bytesOf(
          values.subarray(Math.min(end, start + from), Math.min(end, start + from + GATHERED_ELEMENTS)),
        );
      });
      this.transport.allGather(parts[rank]!, parts);
    }
  }

  private exchange(parts: readonly Uint8Array[]): Bytes[] {
    const { rank, size } = this.transport;
    const lengths = Array.from({ length: size }, () => new Float64Array(size));
    lengths[rank]!.set(parts.map((part) => part.length));
    this.transport.allGather(bytesOf(lengths[rank]!), lengths.map(bytesOf));
    const received = lengths.map((sent) => new Uint8Array(sent[rank]!));
    this.transport.allToAll(parts, received);
    return received;
  }
}

function floats({ buffer, byteOffset, length }: SharedValues): Float32Array {
  return new Float32Array(buffer, byteOffset, length);
}

// ---- the thread ----------------------------------------------------------------------------------------------

async function main(): Promise<void> {
  const { transport: place, cells: memory, timeoutSeconds, busySeconds } = workerData as CarrierSeat;
  const port = parentPort!;
  const cells = new Int32Array(memory);
  const queue: Command[] = [];
  const answer = (message: Answer, bytes: readonly Bytes[] = []) =>
    port.postMessage(
      message,
      bytes.map(({ buffer }) => buffer),
    );
  const receive = () => {
    for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port))
      queue.push(next.message as Command);
  };
  const aborted = (): RankFailure | undefined => {
    if (Atomics.load(cells, CELLS.aborted) === 0) return undefined;
    receive();
    const command = queue.find((each) => 'abort' in each);
    return command && 'abort' in command ? command.abort : undefined;
  };

  let transport: Transport | undefined;
  const beats = new BeatsOfBusy(busySeconds);
  const watchdog = new Watchdog({
    rank: () => transport?.rank,
    timeoutSeconds,
    aborted,
    beats() {
      const own = beats.count(Atomics.load(cells, CELLS.beats), Atomics.load(cells, CELLS.busy) > 0);
      return transport?.beats(own) ?? [];
    },
  });
  const { openTransport } = (await import(place.module)) as TransportModule;
  transport = await openTransport(place.data, watchdog);
  const { rank, size } = transport;
  const carrier = new CarrierThread(transport);
  answer({ ready: { rank, size } });

  let failed: RankFailure | undefined;
  const fail = (error: unknown) => {
    if (failed) return;
    failed = error instanceof RankError ? error.failure : ownFailure(rank, error);
    transport.abort(failed);
  };
  for (;;) {
    const seen = Atomics.load(cells, CELLS.commands);
    receive();
    const command = queue.shift();
    if (!command) {
      Atomics.wait(cells, CELLS.commands, seen, IDLE_MILLISECONDS);
      if (failed) continue;
      try {
        // Nobody is waited for: the others hear beats, and this rank of a failure.
        watchdog.look(() => false);
      } catch (error) {
        fail(error);
      }
      continue;
    }
    const { id } = command;
    if ('close' in command)
      try {
        watchdog.begin('closed the run and waited for it');
        transport.close();
        answer({ id, received: [] });
        return;
      } catch (error) {
        fail(error);
      }
    else if ('abort' in command) fail(new RankError(command.abort));
    else if (!failed)
      try {
        watchdog.begin();
        const received = carrier.run(command.operation);
        watchdog.met();
        answer({ id, received }, received);
        continue;
      } catch (error) {
        fail(error);
      }
    answer({ id, failure: failed! });
  }
}

function ownFailure(rank: number, error: unknown): RankFailure {
  const message = error instanceof Error ? error.message : String(error);
  return { rank, message: `its exchange failed: ${message}`, exitCode: 1 };
}

await main();
