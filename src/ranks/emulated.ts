/**
 * Ranks that one process plays as concurrent tasks, for tests and for parity: each call waits until all ranks have made
 * it. The tasks may share a device and even a model, whose gradients then add up.
 */
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
import { sumOnWire } from './sums.js';

/** One call that all ranks make. */
interface Meeting {
  readonly kind: string;
  readonly given: unknown[];
  readonly all: Promise<unknown[]>;
  readonly resolve: (given: unknown[]) => void;
  readonly reject: (error: Error) => void;
  arrived: number;
}

export class EmulatedRanks {
  private readonly meetings: Meeting[] = [];
  private readonly calls: number[];
  private readonly closed = new Set<number>();
  private failed: Error | undefined;

  constructor(readonly size: number) {
    this.calls = new Array<number>(size).fill(0);
  }

  /** @throws MachineError when there is no such rank. */
  rank(rank: number): Communicator {
    requireRank(rank, this.size);
    return new EmulatedRank(this, rank);
  }

  /** What all ranks give at their n-th call, once all have made it. Values of `kind` must be the same on all. */
  async meet<T>(rank: number, kind: string, given: T): Promise<T[]> {
    if (this.failed) throw this.failed;
    if (this.closed.has(rank)) throw new MachineError(`rank ${rank} is closed`);
    const call = this.calls[rank]!++;
    let meeting = this.meetings[call];
    if (!meeting) this.meetings[call] = meeting = this.convene(kind);
    if (meeting.kind !== kind) {
      const other = meeting.given.findIndex((each) => each !== undefined);
      return this.fail(
        new MachineError(
          `ranks do not do the same: at call ${call} rank ${other} does "${meeting.kind}", rank ${rank} does "${kind}"`,
        ),
      );
    }
    meeting.given[rank] = given;
    if (++meeting.arrived === this.size) {
      delete this.meetings[call];
      meeting.resolve(meeting.given);
    } else if (this.closed.size > 0) this.fail(this.closedEarly());
    return (await meeting.all) as T[];
  }

  /** All that wait, and all that come, reject with it. */
  fail(error: Error): never {
    this.failed ??= error;
    for (const meeting of Object.values(this.meetings)) meeting.reject(this.failed);
    throw error;
  }

  close(rank: number): void {
    this.closed.add(rank);
    if (this.failed || !Object.values(this.meetings).length) return;
    this.failed = this.closedEarly();
    for (const meeting of Object.values(this.meetings)) meeting.reject(this.failed);
  }

  private closedEarly(): MachineError {
    return new MachineError(`rank ${[...this.closed][0]} closed while others wait for it`);
  }

  private convene(kind: string): Meeting {
    let resolve!: (given: unknown[]) => void;
    let reject!: (error: Error) => void;
    const all = new Promise<unknown[]>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    // Whoever was there last does not wait.
    all.catch(() => undefined);
    return { kind, given: new Array<unknown>(this.size), all, resolve, reject, arrived: 0 };
  }
}

class EmulatedRank implements Communicator {
  readonly emulated = true;

  constructor(
    private readonly ranks: EmulatedRanks,
    readonly rank: number,
  ) {}

  get size(): number {
    return this.ranks.size;
  }

  memory(count: number): Float32Array {
    return new Float32Array(count);
  }

  startSum(values: Float32Array, wire: WireFormat = 'f32'): Pending {
    return pendingOf(this.sum(values, wire, 'sum'));
  }

  startReduceScatter(values: Float32Array, wire: WireFormat = 'f32'): Pending {
    return pendingOf(this.sum(values, wire, 'reduce-scatter'));
  }

  private async sum(values: Float32Array, wire: WireFormat, what: string): Promise<void> {
    // What is given is what it is now, and all take the sum before any writes it.
    const all = await this.ranks.meet(this.rank, `${what} of ${values.length} in ${wire}`, values.slice());
    const sum = sumOnWire(all, wire);
    if (what === 'sum') {
      values.set(sum);
      return;
    }
    values.fill(Number.NaN);
    const { start, end } = partOf(values.length, this.size, this.rank);
    values.set(sum.subarray(start, end), start);
  }

  startGatherParts(values: Float32Array): Pending {
    const gather = async () => {
      const own = partOf(values.length, this.size, this.rank);
      const all = await this.ranks.meet(
        this.rank,
        `parts of ${values.length}`,
        values.slice(own.start, own.end),
      );
      all.forEach((part, rank) => {
        values.set(part, partOf(values.length, this.size, rank).start);
      });
    };
    return pendingOf(gather());
  }

  async exchange(parts: readonly Uint8Array[]): Promise<Uint8Array[]> {
    if (parts.length !== this.size)
      throw new MachineError(`an exchange of ${parts.length} parts among ${this.size} ranks`);
    const all = await this.ranks.meet(
      this.rank,
      'exchange',
      parts.map((part) => part.slice()),
    );
    return all.map((given) => given[this.rank]!);
  }

  async allGather(bytes: Uint8Array): Promise<Uint8Array[]> {
    const all = await this.ranks.meet(this.rank, 'gather', bytes.slice());
    return all.map((each) => each.slice());
  }

  async broadcast(bytes: Uint8Array, root: number): Promise<Uint8Array> {
    requireRank(root, this.size);
    const all = await this.ranks.meet(this.rank, `broadcast from ${root}`, bytes.slice());
    return all[root]!.slice();
  }

  async barrier(): Promise<void> {
    await this.ranks.meet(this.rank, 'barrier', null);
  }

  async abort(failure: RankFailure): Promise<never> {
    return this.ranks.fail(new RankError(failure));
  }

  async close(): Promise<void> {
    this.ranks.close(this.rank);
  }
}
