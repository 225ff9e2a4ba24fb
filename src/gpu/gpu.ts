/**
 * The device: records compute work, moves data in and out, accounts for memory. It is put together from parts: adapter.ts
 * opens it, recorder.ts holds what is recorded, pipelines.ts what dispatches need, transfer.ts moves data, profile.ts
 * measures, memory.ts pools buffers, bindings.ts and faults.ts refuse and report what is wrong.
 *
 * Work is recorded into one open compute pass and submitted at a readback, at a size threshold, or by `flush()`.
 * Nothing waits unless something is read. Rules of the Node binding that cost crashes or cores when broken are kept in
 * these parts, and nobody above needs to know them.
 */
import { MachineError } from '../errors.js';
import { OptionNames } from '../options.js';
import { customInspect, show } from '../show.js';
import { openAdapter, openDevice } from './adapter.js';
import { type Access, accessesOf, type Binding, BindingRules, entryOf } from './bindings.js';
import type { Capabilities } from './capabilities.js';
import { type ForcedKernels, KernelChoices } from './choices.js';
import { DeviceFaults } from './faults.js';
import { Guards } from './guards.js';
import { type LiveTensor, LiveTensors, reportOf } from './live-tensors.js';
import { machineMemory } from './machine-memory.js';
import {
  BufferPool,
  type MemoryReport,
  type PoolBuffer,
  type Purpose,
  type RowFormat,
  type RowTexture,
  sizeClass,
} from './memory.js';
import { Pipelines, type ShaderSource } from './pipelines.js';
import { planDevice } from './plan-device.js';
import { Profiler } from './profile.js';
import type { Profile, ProfileRow, Roofline, Work } from './profile-report.js';
import { Recorder } from './recorder.js';
import { type PendingGather, type PendingRead, Transfer } from './transfer.js';
import { gpuWait } from './wait.js';
import './webgpu.js';

/** Which adapter `Gpu.open` takes, and within which limits. */
export interface GpuOptions {
  /** Substring of the adapter's raw name (case-sensitive); the first match wins. */
  adapter?: string;
  /** Bytes that tensors may take in all. */
  memoryBudget?: number;
  /** Devices on this machine among which a software adapter's memory, which is the machine's, is divided by default; 1. */
  sharers?: number;
  /** Extra Dawn toggles to enable. */
  toggles?: string[];
  /** `null`: Dawn's device that checks and compiles everything and computes nothing, for kernels that no adapter here runs. */
  backend?: 'null';
  /** Bytes one binding may see, below the adapter's own limit: lets tests exercise tensors beyond the limit. */
  maxBindingSize?: number;
  /** Workgroups of a dispatch in each dimension, below the adapter's own limit: for the same tests. */
  maxWorkgroupsPerDimension?: number;
  /** Which kernel variants to use where the adapter supports them; by default those that suit it. */
  kernels?: ForcedKernels;
  /** Keeps where every tensor was made, for `tensors()`; looks at the stack for each. Off by default, and then free. */
  track?: boolean;
  /** Words behind every buffer that `checkGuards` finds unwritten: lets tests see writes out of bounds. */
  guardWords?: number;
}

/** What a plan must know of the device it stands for, for instance the device itself. */
export interface PlannedDevice {
  /** What kernels are chosen by and tensors are cut by. */
  readonly capabilities: Capabilities;
  /** Variants that are forced or were tuned there; by default none. */
  readonly choices?: KernelChoices;
}

/** Work on larger tensors is cut into pieces of so many bytes and a few alignments: below that, into none. */
const LEAST_BINDING = 4096;

const OPTIONS = new OptionNames<GpuOptions>({
  adapter: true,
  memoryBudget: true,
  sharers: true,
  toggles: true,
  backend: true,
  maxBindingSize: true,
  maxWorkgroupsPerDimension: true,
  kernels: true,
  track: true,
  guardWords: true,
});

function checkOptions(options: GpuOptions): void {
  OPTIONS.read('Gpu.open', options);
  const { adapter, memoryBudget, toggles, backend, kernels } = options;
  const { maxBindingSize, maxWorkgroupsPerDimension, guardWords } = options;
  const require = (name: string, value: unknown, what: string, fits: boolean) => {
    if (value !== undefined && !fits)
      throw new TypeError(`Gpu.open: ${name} must be ${what}, found ${show(value)}`);
  };
  const bytes = (value: unknown, least: number) => typeof value === 'number' && value >= least;
  require('adapter', adapter, 'a text', typeof adapter === 'string');
  require('memoryBudget', memoryBudget, 'a number of bytes above 0', bytes(memoryBudget, 1));
  require('toggles', toggles, 'a list of texts', Array.isArray(toggles));
  require('backend', backend, "'null' or nothing", backend === 'null');
  require('maxBindingSize', maxBindingSize, `a number of bytes of at least ${LEAST_BINDING}`, bytes(
    maxBindingSize,
    LEAST_BINDING,
  ));
  const whole = (value: unknown) => Number.isInteger(value) && (value as number) >= 1;
  require('maxWorkgroupsPerDimension', maxWorkgroupsPerDimension, 'a whole number of at least 1', whole(
    maxWorkgroupsPerDimension,
  ));
  require('track', options.track, 'true or false', typeof options.track === 'boolean');
  require('guardWords', guardWords, 'a whole number of at least 1', whole(guardWords));
  require('kernels', kernels, '"fallback" or names of variants by family', kernels === 'fallback' ||
    (typeof kernels === 'object' &&
      kernels !== null &&
      Object.values(kernels).every((name) => typeof name === 'string')));
}

const isCount = (value: number, limit: number): boolean =>
  Number.isInteger(value) && value > 0 && value <= limit;

/** A device, its memory and what is recorded for it. Tensors live on one. */
export class Gpu {
  /** Its memory. */
  readonly pool: BufferPool;
  private readonly faults: DeviceFaults;
  private readonly rules: BindingRules;
  private readonly pipelines: Pipelines;
  private readonly profiler: Profiler;
  private readonly recorder: Recorder;
  private readonly transfer: Transfer;
  private readonly guards: Guards | undefined;
  private closed = false;
  /** Of a device that was opened with `track`. */
  readonly live: LiveTensors | undefined;
  /** Dispatches since the device was opened. */
  dispatchCount = 0;

  private constructor(
    /** WebGPU's own, for what this class does not do. */
    readonly device: GPUDevice,
    /** What its adapter can do. */
    readonly capabilities: Capabilities,
    budget: number,
    /** Nothing is computed and no memory taken: see `plan`. */
    readonly planning: boolean,
    /** Which variant of each kernel family runs here. */
    readonly choices: KernelChoices,
    guardWords = 0,
    /** The part of its adapter's name by which it was opened; undefined: the first of the list, and in plans. */
    readonly adapterAsked?: string,
    track = false,
  ) {
    if (track) this.live = new LiveTensors();
    if (guardWords > 0)
      this.guards = new Guards(device, () => this.recorder, capabilities.maxBindingSize, guardWords);
    this.faults = new DeviceFaults(device, () => this.closed);
    this.pool = new BufferPool(
      device,
      budget,
      capabilities.maxBufferSize,
      (entry) => {
        if (entry.lastUse === this.recorder.current) this.recorder.submit();
        this.pipelines.forget(entry.serial);
      },
      (what, calls) => this.faults.guard(what, calls),
      this.guards,
    );
    this.rules = new BindingRules(this.pool, capabilities, this.faults);
    this.pipelines = new Pipelines(device, this.faults, capabilities.maxBindingSize);
    this.profiler = new Profiler(device, capabilities.timestamps);
    this.recorder = new Recorder(device, this.faults, this.profiler, () => this.transfer.submitted());
    this.transfer = new Transfer(
      device,
      this.pool,
      this.recorder,
      this.rules,
      this.faults,
      this.profiler,
      capabilities.maxTextureSize,
      planning,
    );
  }

  /**
   * Opens the first matching adapter, a real GPU before a software one.
   * @throws MachineError when there is none, InputError when none has the name that is asked for; says what to do next. TypeError for options that mean nothing.
   */
  static async open(options: GpuOptions = {}): Promise<Gpu> {
    checkOptions(options);
    const { adapter, asked } = await openAdapter(options);
    const { device, capabilities } = await openDevice(adapter, options);
    // A software adapter takes the machine's own memory; of a real GPU's, WebGPU tells nothing.
    const budget =
      options.memoryBudget ??
      (capabilities.software
        ? Math.floor((machineMemory() * 0.9) / (options.sharers ?? 1))
        : Number.MAX_SAFE_INTEGER);
    return new Gpu(
      device,
      capabilities,
      budget,
      false,
      new KernelChoices(options.kernels),
      options.guardWords,
      asked,
      options.track,
    );
  }

  /**
   * A device that computes nothing and takes no memory, but checks and accounts like one with these capabilities and
   * kernels: the peaks of its `memory()` are those that the same work has on a real one. Reads yield zeros. Needs no
   * adapter.
   */
  static plan(like: PlannedDevice, memoryBudget = Number.MAX_SAFE_INTEGER): Gpu {
    const { capabilities, choices = new KernelChoices() } = like;
    return new Gpu(planDevice(capabilities), capabilities, memoryBudget, true, choices.copy());
  }

  // ---- recording -----------------------------------------------------------------------------------------

  /**
   * Records one dispatch. `immediates` are the kernel's parameters (at most 64 bytes); workgroup counts beyond
   * the adapter's limit per dimension are the caller's to fold. `work`: what it computes, for
   * profiles, which else take it that every range that is bound is read or written once.
   */
  dispatch(
    shader: ShaderSource,
    operands: readonly (Binding | RowTexture)[],
    immediates: ArrayBufferView<ArrayBuffer>,
    grid: readonly [number, number?, number?],
    work?: Work,
  ): void {
    const [x, y = 1, z = 1] = grid;
    if (x === 0 || y === 0 || z === 0) return;
    const limit = this.capabilities.maxWorkgroupsPerDimension;
    if (!(isCount(x, limit) && isCount(y, limit) && isCount(z, limit)))
      throw new MachineError(
        `${shader.label}: ${x}×${y}×${z} workgroups exceed the adapter's ${limit} per dimension`,
      );
    const bindings = this.guards
      ? this.guards.extended(shader.label, accessesOf(shader.wgsl), operands)
      : operands;
    // From here on nothing is allocated for operands that came before: a step has thousands of dispatches.
    const { recorder } = this;
    for (let i = 0; i < bindings.length; i++) this.rules.binding(shader.label, bindings[i]!);
    if (this.planning) {
      recorder.openEncoder();
      this.writes(accessesOf(shader.wgsl), bindings);
    } else {
      const pipeline = this.pipelines.of(shader);
      this.rules.access(pipeline.label, pipeline.accesses, bindings);
      const group = this.pipelines.bindGroup(pipeline, bindings);
      this.writes(pipeline.accesses, bindings);
      const parameters = shader.immediateSize > 0 ? immediates : undefined;
      const told = work ?? this.profiler.untold(pipeline.accesses, bindings);
      recorder.dispatch(pipeline, group, parameters, x, y, z, told);
    }
    const { current } = recorder;
    for (let i = 0; i < bindings.length; i++) entryOf(bindings[i]!).lastUse = current;
    this.dispatchCount++;
    recorder.dispatched(shader.label);
  }

  private writes(accesses: readonly Access[], bindings: readonly (Binding | RowTexture)[]): void {
    for (let i = 0; i < accesses.length; i++) if (accesses[i]!.writes) this.recorder.writes(bindings[i]!);
  }

  /**
   * Submits what is recorded; does not wait.
   * @throws MachineError when a recording since the last time could not be run.
   */
  flush(): void {
    this.recorder.submit();
    this.faults.throwUntold();
  }

  // ---- moving data ---------------------------------------------------------------------------------------

  /** Copies a range of one buffer to another. Offsets and size are multiples of 4. */
  copy(source: Binding, target: Binding): void {
    this.transfer.copy(source, target);
  }

  /** Fills a range with zeros. Offset and size are multiples of 4. */
  clear(target: Binding): void {
    this.transfer.clear(target);
  }

  /**
   * Copies rows of `rowBytes` bytes (a multiple of 256) into a pooled texture of four values a texel; give it back
   * with `releaseTexture`. The last row may be a part of one, of `bytes % rowBytes`, whole texels. Undefined when the
   * adapter cannot: too many rows or a width that does not fit.
   * @throws MachineError when the memory budget has no room for it.
   */
  rowTexture(
    source: Binding,
    rowBytes: number,
    bytes: number,
    format: RowFormat = 'rgba32float',
  ): RowTexture | undefined {
    return this.transfer.rowTexture(source, rowBytes, bytes, format);
  }

  /**
   * A pooled texture of at least `height` rows; what was in it is undefined. Give it back with `releaseTexture`.
   * @throws MachineError when the memory budget has no room for it.
   */
  texture(width: number, height: number, format: RowFormat): RowTexture {
    // Height in classes, so that batches of varying length share textures.
    const rows = Math.min(this.capabilities.maxTextureSize, sizeClass(height * 256) / 256);
    return this.pool.allocateTexture(width, rows, format);
  }

  /**
   * Copies `rows` rows of `width` texels into a texture, from its first row on. `stride`: bytes from one row of the
   * source to the next, a multiple of 256.
   */
  copyToTexture(source: Binding, stride: number, width: number, rows: number, target: RowTexture): void {
    this.transfer.copyToTexture(source, stride, width, rows, target);
  }

  /** Gives a texture of `rowTexture` or `texture` back to the pool. */
  releaseTexture(entry: RowTexture): void {
    this.pool.release(entry);
  }

  /** Writes host data into a range, after all work recorded so far that uses the buffer. */
  upload(target: Binding, data: ArrayBufferView<ArrayBufferLike>): void {
    this.transfer.upload(target, data);
  }

  /**
   * Reads a range back: flush, then a sleeping wait.
   * @throws MachineError when a recording since the last wait could not be run, or the range was never computed.
   */
  async read(source: Binding): Promise<ArrayBuffer> {
    return this.beginRead(source).wait();
  }

  /**
   * The same in two parts: what the range holds after the work so far is copied aside and handed over here, and waited
   * for when somebody wants it, so that the host may record more meanwhile.
   * @throws MachineError when a recording since the last wait could not be run, or the range was never computed.
   */
  beginRead(source: Binding): PendingRead {
    return this.transfer.beginRead(source, () => this.flush());
  }

  /**
   * `beginRead` of several ranges at once, to memory of the caller's (shared memory too), without a copy in between. What
   * is held for it until it was waited for counts as workspace. Offsets and sizes are multiples of 4.
   * @throws MachineError as `beginRead` does, and when the memory budget has no room for it.
   */
  beginGather(sources: readonly Binding[]): PendingGather {
    return this.transfer.beginGather(sources, () => this.flush());
  }

  /** How often something was read back since the device was opened. */
  get readbackCount(): number {
    return this.transfer.readbacks;
  }

  /** Adapter, and what lies on it. */
  toString(): string {
    const { liveBuffers, live } = this.memory();
    const bytes = Object.values(live).reduce((sum, each) => sum + each, 0);
    return `Gpu ${this.capabilities.name}${this.closed ? ' (closed)' : ''}: ${bytes} B in ${liveBuffers} buffers`;
  }

  /** How `console.log` shows it. */
  [customInspect](): string {
    return this.toString();
  }

  /** Flushes and waits until the GPU has finished everything. */
  async finish(): Promise<void> {
    this.flush();
    await this.profiler.phase('wait', () => gpuWait(this.device.queue.onSubmittedWorkDone()));
    this.faults.throwUntold();
  }

  /** Why the device is gone, if it is: nothing can be computed on it any more. Undefined while it is there. */
  get lost(): string | undefined {
    return this.faults.lost;
  }

  // ---- measuring -----------------------------------------------------------------------------------------

  /** What lies on it now and the most that did, in bytes by purpose. On a planning device what would. */
  memory(): MemoryReport {
    return this.pool.report();
  }

  /** @throws MachineError naming the buffers behind whose end something was written, of a device with `guardWords`. */
  async checkGuards(): Promise<void> {
    if (!this.guards) throw new MachineError('the device was opened without guardWords');
    await this.guards.check();
  }

  /**
   * From here to `stopProfile` every dispatch is a pass of its own between two timestamps, and phases of the host are
   * kept: see profile.ts. Where the adapter has no timestamps the host alone is measured. Results do not change.
   * @throws MachineError on a planning device, and while a profile is taken.
   */
  async startProfile(): Promise<void> {
    if (this.planning) throw new MachineError('a planning device computes nothing that could be timed');
    await this.finish();
    await this.profiler.start();
  }

  /** @throws MachineError when no profile is taken, or what was recorded could not be run. */
  stopProfile(): Promise<Profile> {
    return this.profiler.stop(
      () => this.recorder.commands(),
      () => this.finish(),
    );
  }

  /** A profile is being taken: it is worth telling what a launch computes. */
  get profiling(): boolean {
    return this.profiler.active;
  }

  /** A profile is being taken, and what comes next belongs to no launch whose work was told (`attributed`). */
  get wantsWork(): boolean {
    return this.profiler.active && !this.profiler.inLaunch;
  }

  /** Runs `launch`, which records the dispatches of one operation: a profile counts them, and `work` once, as its. */
  attributed<T>(work: Work, launch: () => T): T {
    return this.profiler.active ? this.profiler.attributed(work, launch) : launch();
  }

  /** Runs a part of the host's work under a name that profiles show; one that returns a promise ends when it settles. */
  phase<T>(name: string, work: () => T): T {
    return this.profiler.phase(name, work);
  }

  /** The same for what is no function of its own: returns what ends the phase. */
  openPhase(name: string): () => void {
    return this.profiler.active ? this.profiler.open(name) : () => {};
  }

  /**
   * Every tensor that is alive: label, shape, dtype, bytes, and the line of the caller's code that made it.
   * @throws MachineError unless the device was opened with `track`.
   */
  tensors(): LiveTensor[] {
    if (!this.live) throw new MachineError('the device was opened without track');
    return this.live.list();
  }

  /**
   * Destroys the device and waits until it is gone. `requireFreed`: afterwards throws a MachineError when something was
   * still alive, which names it and the places where it was made if the device was opened with `track`.
   */
  async close({
    requireFreed = false,
  }: {
    /** Whether what is still alive is an error. Default false. */
    readonly requireFreed?: boolean;
  } = {}): Promise<void> {
    const left = requireFreed && !this.closed ? this.leftAlive() : undefined;
    await this.destroy();
    if (left !== undefined) throw new MachineError(`Gpu.close: ${left}`);
  }

  /** `await using gpu = await Gpu.open()` closes it where the block ends. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private leftAlive(): string | undefined {
    const { liveBuffers } = this.memory();
    if (liveBuffers === 0) return undefined;
    const tensors = this.live?.list() ?? [];
    if (tensors.length > 0) return reportOf(tensors);
    const buffers = `${liveBuffers} buffer${liveBuffers === 1 ? ' is' : 's are'} alive`;
    return this.live ? buffers : `${buffers}; Gpu.open({ track: true }) tells where they were made`;
  }

  private async destroy(): Promise<void> {
    if (this.closed) return;
    await this.finish().catch(() => undefined);
    this.closed = true;
    this.device.destroy();
    await gpuWait(this.device.lost);
  }
}

export type {
  Binding,
  LiveTensor,
  PendingGather,
  PendingRead,
  PoolBuffer,
  Profile,
  ProfileRow,
  Purpose,
  Roofline,
  RowFormat,
  RowTexture,
  ShaderSource,
  Work,
};
