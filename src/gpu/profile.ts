/**
 * Measures what a device does between `start` and `stop`: when each dispatch began and ended on the GPU, by timestamps
 * around a pass of its own, and the phases of the host. There may be any number of dispatches: timestamps are taken
 * out of their query set whenever it is full. What comes out is in profile-report.ts and trace.ts.
 *
 * The GPU's clock is laid over the host's at the start and at the end of a profile, each time by an empty pass that the
 * host waits for: in between, times are off by no more than such a wait, some tenths of a millisecond.
 */
import { MachineError } from '../errors.js';
import type { Access, Binding } from './bindings.js';
import type { RowTexture } from './memory.js';
import {
  type HostPhase,
  type LaunchSpan,
  Profile,
  type Submission,
  type TimedDispatch,
  type Work,
} from './profile-report.js';
import { gpuWait } from './wait.js';
import { GPUBufferUsage, GPUMapMode } from './webgpu.js';

/** A query set holds 4096 timestamps: two a dispatch. */
const DISPATCHES_PER_SET = 2048;
/** The set that is written is never the one that was just resolved. */
const SETS = 2;

/** Nanoseconds of the two clocks at one moment. */
interface Moment {
  readonly host: number;
  readonly gpu: bigint;
}

/** Timestamps of dispatches `first` and following, on their way to the host. */
interface Batch {
  readonly buffer: GPUBuffer;
  readonly first: number;
  readonly count: number;
}

interface Open {
  readonly began: number;
  readonly clock: Moment | undefined;
}

const hostNow = (): number => Math.round(performance.now() * 1e6);

export class Profiler {
  /** A profile is taken: dispatches are to have passes of their own where `times` is true. */
  active = false;
  private sets: GPUQuerySet[] = [];
  /** Timestamp pairs in the current set. */
  private filled = 0;
  private batches: Batch[] = [];
  private dispatches: TimedDispatch[] = [];
  /** Dispatches of earlier recordings. */
  private settled = 0;
  private spans: LaunchSpan[] = [];
  private openSpans: LaunchSpan[] = [];
  private phases: HostPhase[] = [];
  private submissions: Submission[] = [];
  private openPhases: HostPhase[] = [];
  private began: Open | undefined;

  constructor(
    private readonly device: GPUDevice,
    /** The adapter has timestamps; without them only the host is measured. */
    readonly times: boolean,
  ) {}

  /** To be called when the GPU has nothing to do. @throws MachineError during a profile. */
  async start(): Promise<void> {
    if (this.began) throw new MachineError('a profile is being taken already');
    this.dispatches = [];
    this.settled = this.filled = 0;
    this.spans = [];
    this.phases = [];
    this.submissions = [];
    this.openPhases = [];
    this.batches = [];
    this.sets = this.times
      ? Array.from({ length: SETS }, () =>
          this.device.createQuerySet({ type: 'timestamp', count: 2 * DISPATCHES_PER_SET }),
        )
      : [];
    const clock = this.times ? await this.readClocks() : undefined;
    this.began = { began: hostNow(), clock };
    this.active = true;
  }

  // ---- while it is taken ---------------------------------------------------------------------------------

  /** Where the pass of the next dispatch writes its times; `encoder` is outside of any pass. */
  stamp(encoder: GPUCommandEncoder, label: string, work: Work | undefined): GPUComputePassTimestampWrites {
    if (this.filled === DISPATCHES_PER_SET) this.resolve(encoder);
    const span = this.openSpans.at(-1);
    // A launch has told its work already: the bytes of its dispatches would count a second time.
    this.dispatches.push({ label, work: span ? undefined : work, span, begin: 0, end: 0 });
    const index = this.filled++;
    return {
      querySet: this.sets[0]!,
      beginningOfPassWriteIndex: 2 * index,
      endOfPassWriteIndex: 2 * index + 1,
    };
  }

  /** The dispatches that are recorded now belong to a launch whose work was told. */
  get inLaunch(): boolean {
    return this.openSpans.length > 0;
  }

  /** What is taken of a dispatch of which nobody told anything: each range that is bound is read, or written, or both. */
  untold(accesses: readonly Access[], bindings: readonly (Binding | RowTexture)[]): Work | undefined {
    if (!this.active || this.inLaunch) return undefined;
    let bytes = 0;
    accesses.forEach(({ reads, writes }, i) => {
      bytes += bindings[i]!.size * (reads && writes ? 2 : 1);
    });
    return { bytes };
  }

  private resolve(encoder: GPUCommandEncoder): void {
    if (this.filled === 0) return;
    const size = this.filled * 16;
    const { device } = this;
    const resolved = device.createBuffer({
      label: 'timestamps',
      size,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    const buffer = device.createBuffer({
      label: 'readback of timestamps',
      size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    encoder.resolveQuerySet(this.sets[0]!, 0, this.filled * 2, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, buffer, 0, size);
    this.batches.push({ buffer, first: this.dispatches.length - this.filled, count: this.filled });
    this.sets.push(this.sets.shift()!);
    this.filled = 0;
  }

  /** The open recording was handed over; of a failed one nothing was run. */
  submitted(run: boolean): void {
    if (this.active && this.dispatches.length > this.settled)
      this.submissions.push({ time: hostNow(), first: this.settled, end: this.dispatches.length });
    if (!run) for (let i = this.settled; i < this.dispatches.length; i++) this.dispatches[i]!.failed = true;
    this.settled = this.dispatches.length;
  }

  /** Runs the launch of one operation: the dispatches that it records are counted as that operation's. */
  attributed<T>(work: Work, launch: () => T): T {
    const span: LaunchSpan = { work, first: this.dispatches.length, end: 0 };
    this.spans.push(span);
    this.openSpans.push(span);
    try {
      return launch();
    } finally {
      this.openSpans.pop();
      span.end = this.dispatches.length;
    }
  }

  /** A phase of the host begins; returns what ends it, and with it the phases that began in it. */
  open(name: string): () => void {
    const phase: HostPhase = { name, begin: hostNow(), end: undefined };
    this.phases.push(phase);
    this.openPhases.push(phase);
    return () => {
      const index = this.openPhases.indexOf(phase);
      if (index < 0) return;
      const end = hostNow();
      for (const each of this.openPhases.splice(index)) each.end = end;
    };
  }

  phase<T>(name: string, work: () => T): T {
    if (!this.active) return work();
    const close = this.open(name);
    let result: T;
    try {
      result = work();
    } catch (error) {
      close();
      throw error;
    }
    if (result instanceof Promise) return result.finally(close) as T;
    close();
    return result;
  }

  // ---- the end -------------------------------------------------------------------------------------------

  /**
   * Ends the profile. `finish` submits and waits for everything, `encoder` gives the open recording's, outside of passes.
   * @throws MachineError when no profile is taken, or the device is lost.
   */
  async stop(encoder: () => GPUCommandEncoder, finish: () => Promise<void>): Promise<Profile> {
    const { began } = this;
    if (!began) throw new MachineError('no profile is being taken');
    try {
      if (this.times) this.resolve(encoder());
      this.active = false;
      await finish();
      const ended = hostNow();
      for (const phase of this.openPhases) phase.end = ended;
      this.openPhases = [];
      if (began.clock) await this.readTimes(began.clock, await this.readClocks(), began.began);
      for (const phase of this.phases) {
        phase.begin -= began.began;
        phase.end! -= began.began;
      }
      const submissions = this.submissions.map((each) => ({ ...each, time: each.time - began.began }));
      const { dispatches, spans, phases, times } = this;
      return new Profile({
        ...{ times, nanoseconds: ended - began.began, dispatches, spans, phases, submissions },
      });
    } finally {
      this.active = false;
      this.began = undefined;
      for (const { buffer } of this.batches) buffer.destroy();
      for (const set of this.sets) set.destroy();
      this.dispatches = [];
      this.spans = [];
      this.phases = [];
    }
  }

  /** Fills in the times of all dispatches, in nanoseconds since the profile began. */
  private async readTimes(first: Moment, last: Moment, began: number): Promise<void> {
    const elapsed = Number(last.gpu - first.gpu);
    // Clocks drift apart by some millionths; over a short time the error of reading them is larger than that.
    const rate = elapsed > 1e9 ? (last.host - first.host) / elapsed : 1;
    const host = (gpu: bigint) => Math.round(Number(gpu - first.gpu) * rate) + first.host - began;
    let before = 0;
    for (const batch of this.batches) {
      await gpuWait(batch.buffer.mapAsync(GPUMapMode.READ));
      const times = new BigUint64Array(batch.buffer.getMappedRange());
      for (let i = 0; i < batch.count; i++) {
        const dispatch = this.dispatches[batch.first + i]!;
        const [begin, end] = [times[2 * i]!, times[2 * i + 1]!];
        if (begin === 0n || end < begin) dispatch.failed = true;
        if (dispatch.failed) {
          dispatch.begin = dispatch.end = before;
          continue;
        }
        // Both ends by the same rule: otherwise a dispatch could end after the next one has begun.
        dispatch.begin = host(begin);
        dispatch.end = host(end);
        before = dispatch.end;
      }
      batch.buffer.unmap();
      batch.buffer.destroy();
    }
  }

  /** The two clocks at one moment: of some tries the one during which the host waited least. */
  private async readClocks(): Promise<Moment> {
    const { device } = this;
    const querySet = device.createQuerySet({ type: 'timestamp', count: 2 });
    const usage = GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
    const resolved = device.createBuffer({ size: 16, usage });
    const readback = device.createBuffer({
      size: 16,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    try {
      let best: Moment | undefined;
      let least = Infinity;
      for (let i = 0; i < 5; i++) {
        const encoder = device.createCommandEncoder();
        const timestampWrites = { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 };
        encoder.beginComputePass({ timestampWrites }).end();
        encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
        encoder.copyBufferToBuffer(resolved, 0, readback, 0, 16);
        const commands = encoder.finish();
        const before = hostNow();
        device.queue.submit([commands]);
        await gpuWait(readback.mapAsync(GPUMapMode.READ));
        const after = hostNow();
        const gpu = new BigUint64Array(readback.getMappedRange())[1]!;
        readback.unmap();
        if (after - before < least) {
          least = after - before;
          best = { host: before + Math.round(least / 2), gpu };
        }
      }
      return best!;
    } finally {
      for (const each of [querySet, resolved, readback]) each.destroy();
    }
  }
}
