/**
 * The device: opens an adapter, records compute work, moves data in and out.
 *
 * Work is recorded into one open compute pass and submitted at a readback, at a size threshold, or by `flush()`.
 * Nothing waits unless something is read. Rules of the Node binding that cost crashes or cores when broken
 * (spec dawn-node §0) are kept here, and nobody above needs to know them.
 */
import os from 'node:os';
import { create, globals } from 'webgpu';
import { MachineError } from '../errors.js';
import { show } from '../show.js';
import { type Access, accessesOf, type Binding, BindingRules, countWrite, entryOf } from './bindings.js';
import type { Capabilities, SubgroupMatrixConfig } from './capabilities.js';
import { type ForcedKernels, KernelChoices } from './choices.js';
import { cpuFacts } from './cpu.js';
import { DeviceFaults } from './faults.js';
import {
  BufferPool,
  formatBytes,
  type MemoryReport,
  type PoolBuffer,
  type Purpose,
  type RowFormat,
  type RowTexture,
  sizeClass,
  texelBytes,
} from './memory.js';
import { planDevice } from './plan-device.js';
import { adapterNotFound, prepareVulkan, wantedAdapter, withoutChatter } from './software-driver.js';
import { gpuWait } from './wait.js';

Object.assign(globalThis, globals);

export interface GpuOptions {
  /** Substring of the adapter's raw name (case-sensitive); the first match wins. */
  adapter?: string;
  /** Bytes that tensors may take in all. */
  memoryBudget?: number;
  /** Extra Dawn toggles to enable. */
  toggles?: string[];
  /** Bytes one binding may see, below the adapter's own limit: lets tests exercise tensors beyond the limit. */
  maxBindingSize?: number;
  /** Which kernel variants to use where the adapter supports them; by default those that suit it. */
  kernels?: ForcedKernels;
}

/** What a plan must know of the device it stands for, for instance the device itself. */
export interface PlannedDevice {
  readonly capabilities: Capabilities;
  readonly choices?: KernelChoices;
}

/** A WGSL compute shader; `label` appears in profiles and errors. The source is the identity. */
export interface ShaderSource {
  readonly label: string;
  readonly wgsl: string;
  /** Bytes of `var<immediate>` parameters. */
  readonly immediateSize: number;
}

interface Pipeline {
  readonly accesses: readonly Access[];
  readonly id: number;
  readonly label: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

interface BindGroup {
  readonly group: GPUBindGroup;
  readonly serials: readonly number[];
}

export interface ProfileRow {
  readonly label: string;
  readonly count: number;
  /** GPU milliseconds. */
  readonly milliseconds: number;
}

// If the object that create() returned is collected while its device works, Dawn crashes: keep all of them.
const instances: GPU[] = [];

/** Work on larger tensors is cut into pieces of so many bytes and a few alignments: below that, into none. */
const LEAST_BINDING = 4096;

function checkOptions({ adapter, memoryBudget, toggles, maxBindingSize, kernels }: GpuOptions): void {
  const require = (name: string, value: unknown, what: string, fits: boolean) => {
    if (value !== undefined && !fits)
      throw new TypeError(`Gpu.open: ${name} must be ${what}, found ${show(value)}`);
  };
  const bytes = (value: unknown, least: number) => typeof value === 'number' && value >= least;
  require('adapter', adapter, 'a text', typeof adapter === 'string');
  require('memoryBudget', memoryBudget, 'a number of bytes above 0', bytes(memoryBudget, 1));
  require('toggles', toggles, 'a list of texts', Array.isArray(toggles));
  require('maxBindingSize', maxBindingSize, `a number of bytes of at least ${LEAST_BINDING}`, bytes(
    maxBindingSize,
    LEAST_BINDING,
  ));
  require('kernels', kernels, '"fallback" or names of variants by family', kernels === 'fallback' ||
    (typeof kernels === 'object' &&
      kernels !== null &&
      Object.values(kernels).every((name) => typeof name === 'string')));
}

const SUBGROUP_MATRIX = 'chromium-experimental-subgroup-matrix' as GPUFeatureName;

function matrixConfigs(info: GPUAdapterInfo): SubgroupMatrixConfig[] {
  const { subgroupMatrixConfigs } = info as unknown as { subgroupMatrixConfigs?: SubgroupMatrixConfig[] };
  return [...(subgroupMatrixConfigs ?? [])].map(({ componentType, resultComponentType, M, N, K }) => ({
    componentType,
    resultComponentType,
    M,
    N,
    K,
  }));
}

const FLUSH_DISPATCHES = 128;
const UPLOAD_CHUNK = 8 << 20;
const UPLOAD_SUBMIT = 32 << 20;
const MAX_BIND_GROUPS = 8192;
const MAX_TIMESTAMPS = 4096;

export class Gpu {
  readonly pool: BufferPool;
  private readonly pipelines = new Map<string, Pipeline>();
  private readonly bindGroups = new Map<string, BindGroup>();
  /** Keys of the bind groups that a buffer or texture is in, by its serial. */
  private readonly groupKeys = new Map<number, Set<string>>();
  private readonly staging: { buffer: GPUBuffer; size: number }[] = [];
  private encoder: GPUCommandEncoder | undefined;
  private pass: GPUComputePassEncoder | undefined;
  private passPipeline: Pipeline | undefined;
  /** Labels of the dispatches that are recorded and not submitted. */
  private recorded: string[] = [];
  private recording = 1;
  private unsubmittedUpload = 0;
  private readonly faults: DeviceFaults;
  private readonly rules: BindingRules;
  private closed = false;
  private profile: { querySet: GPUQuerySet; labels: string[] } | undefined;
  /** Dispatches since the device was opened. */
  dispatchCount = 0;

  private constructor(
    readonly device: GPUDevice,
    readonly capabilities: Capabilities,
    budget: number,
    /** Nothing is computed and no memory taken: see `plan`. */
    readonly planning: boolean,
    /** Which variant of each kernel family runs here. */
    readonly choices: KernelChoices,
  ) {
    this.faults = new DeviceFaults(device, () => this.closed);
    this.pool = new BufferPool(
      device,
      budget,
      capabilities.maxBufferSize,
      (entry) => {
        if (entry.lastUse === this.recording) this.submit();
        this.forgetBindGroups(entry.serial);
      },
      (what, calls) => this.faults.guard(what, calls),
    );
    this.rules = new BindingRules(this.pool, capabilities, this.faults);
  }

  /**
   * Opens the first matching adapter, a real GPU before a software one.
   * @throws MachineError when there is none, InputError when none has the name that is asked for; says what to do next. TypeError for options that mean nothing.
   */
  static async open(options: GpuOptions = {}): Promise<Gpu> {
    checkOptions(options);
    prepareVulkan();
    const toggles = ['allow_unsafe_apis', 'vulkan_enable_f16_on_nvidia', ...(options.toggles ?? [])];
    const flags = [
      `enable-dawn-features=${toggles.join(',')}`,
      'disable-dawn-features=timestamp_quantization',
    ];
    const wanted = wantedAdapter(options.adapter);
    if (wanted) flags.push(`adapter=${wanted.name}`);
    const instance = create(flags);
    instances.push(instance);
    // Dawn rejects where there is no adapter of that name.
    const adapter = await withoutChatter(() =>
      instance.requestAdapter({ powerPreference: 'high-performance' }),
    ).catch(() => null);
    if (!adapter) throw await adapterNotFound(wanted);
    const wantedFeatures: GPUFeatureName[] = ['shader-f16', 'subgroups', 'timestamp-query', SUBGROUP_MATRIX];
    const requiredFeatures = wantedFeatures.filter((name) => adapter.features.has(name));
    const limits: Record<string, number> = {};
    for (const key in adapter.limits) {
      const value = (adapter.limits as unknown as Record<string, unknown>)[key];
      if (typeof value === 'number') limits[key] = value;
    }
    const info = adapter.info;
    const device = await adapter.requestDevice({ requiredFeatures, requiredLimits: limits });
    const software =
      info.isFallbackAdapter || /llvmpipe|swiftshader/i.test(`${info.device} ${info.description}`);
    const subgroups = requiredFeatures.includes('subgroups');
    const capabilities: Capabilities = {
      name: info.device || info.description || info.vendor,
      driver: info.description,
      software,
      cpu: software ? cpuFacts() : undefined,
      shaderF16: requiredFeatures.includes('shader-f16'),
      subgroups,
      subgroupMinSize: subgroups ? (info.subgroupMinSize ?? 0) : 0,
      subgroupMaxSize: subgroups ? (info.subgroupMaxSize ?? 0) : 0,
      subgroupMatrixConfigs: requiredFeatures.includes(SUBGROUP_MATRIX) ? matrixConfigs(info) : [],
      timestamps: requiredFeatures.includes('timestamp-query'),
      maxBufferSize: limits['maxBufferSize']!,
      maxBindingSize: Math.min(limits['maxStorageBufferBindingSize']!, options.maxBindingSize ?? Infinity),
      bindingAlignment: limits['minStorageBufferOffsetAlignment']!,
      maxTextureSize: limits['maxTextureDimension2D']!,
      maxWorkgroupsPerDimension: limits['maxComputeWorkgroupsPerDimension']!,
      maxWorkgroupInvocations: limits['maxComputeInvocationsPerWorkgroup']!,
      maxWorkgroupMemory: limits['maxComputeWorkgroupStorageSize']!,
    };
    // A software adapter takes the machine's own memory; of a real GPU's, WebGPU tells nothing.
    const budget =
      options.memoryBudget ?? (software ? Math.floor(os.totalmem() * 0.9) : Number.MAX_SAFE_INTEGER);
    return new Gpu(device, capabilities, budget, false, new KernelChoices(options.kernels));
  }

  /**
   * A device that computes nothing and takes no memory, but checks and accounts like one with these capabilities and kernels:
   * the peaks of its `memory()` are those that the same work has on a real one Reads yield
   * zeros. Needs no adapter.
   */
  static plan(like: PlannedDevice, memoryBudget = Number.MAX_SAFE_INTEGER): Gpu {
    const { capabilities, choices = new KernelChoices() } = like;
    return new Gpu(planDevice(capabilities), capabilities, memoryBudget, true, choices.copy());
  }

  // ---- recording -----------------------------------------------------------------------------------------

  /**
   * Records one dispatch. `immediates` are the kernel's parameters (at most 64 bytes); workgroup counts beyond
   * the adapter's limit per dimension are the caller's to fold.
   */
  dispatch(
    shader: ShaderSource,
    bindings: readonly (Binding | RowTexture)[],
    immediates: ArrayBufferView<ArrayBuffer>,
    [x, y = 1, z = 1]: readonly [number, number?, number?],
  ): void {
    if (x === 0 || y === 0 || z === 0) return;
    const limit = this.capabilities.maxWorkgroupsPerDimension;
    if (![x, y, z].every((count) => Number.isInteger(count) && count > 0 && count <= limit))
      throw new MachineError(
        `${shader.label}: ${x}×${y}×${z} workgroups exceed the adapter's ${limit} per dimension`,
      );
    for (const binding of bindings) this.rules.binding(shader.label, binding);
    if (this.planning) {
      this.openEncoder();
      accessesOf(shader.wgsl).forEach(({ writes }, i) => {
        if (writes) this.writes(bindings[i]!);
      });
    } else this.record(shader, bindings, immediates, x, y, z);
    for (const binding of bindings) entryOf(binding).lastUse = this.recording;
    this.dispatchCount++;
    if (this.profile) this.closePass();
    if (this.recorded.push(shader.label) >= FLUSH_DISPATCHES) this.submit();
  }

  /** Copies a range of one buffer to another. Offsets and size are multiples of 4. */
  copy(source: Binding, target: Binding): void {
    if (source.size === 0) return;
    this.rules.range('copy', source);
    this.rules.range('copy', { ...target, size: source.size });
    if (source.entry === target.entry) throw new MachineError('copy: from a buffer to itself');
    this.rules.computed('copy', source.entry);
    this.closePass();
    this.openEncoder().copyBufferToBuffer(
      source.entry.buffer,
      source.offset,
      target.entry.buffer,
      target.offset,
      source.size,
    );
    source.entry.lastUse = target.entry.lastUse = this.recording;
    this.writes(target);
  }

  /** Fills a range with zeros. Offset and size are multiples of 4. */
  clear(target: Binding): void {
    if (target.size === 0) return;
    this.rules.range('clear', target);
    this.closePass();
    this.openEncoder().clearBuffer(target.entry.buffer, target.offset, target.size);
    target.entry.lastUse = this.recording;
    this.writes(target);
  }

  /**
   * Copies rows of `rowBytes` bytes (a multiple of 256) into a pooled texture of four values a texel; give it back
   * with `releaseTexture`. Undefined when the adapter cannot: too many rows or a width that does not fit.
   * @throws MachineError when the memory budget has no room for it.
   */
  rowTexture(
    source: Binding,
    rowBytes: number,
    rows: number,
    format: RowFormat = 'rgba32float',
  ): RowTexture | undefined {
    const limit = this.capabilities.maxTextureSize;
    const width = rowBytes / texelBytes[format];
    if (rowBytes % 256 !== 0 || width > limit || rows > limit) return undefined;
    // Height in classes, so that batches of varying length share textures.
    const height = Math.min(limit, sizeClass(rows * 256) / 256);
    this.rules.range('rowTexture', source);
    this.rules.computed('rowTexture', source.entry);
    const entry = this.pool.allocateTexture(width, height, format);
    this.closePass();
    this.openEncoder().copyBufferToTexture(
      { buffer: source.entry.buffer, offset: source.offset, bytesPerRow: rowBytes, rowsPerImage: rows },
      { texture: entry.texture },
      { width, height: rows },
    );
    source.entry.lastUse = entry.lastUse = this.recording;
    this.writes(entry);
    return entry;
  }

  releaseTexture(entry: RowTexture): void {
    this.pool.release(entry);
  }

  /**
   * Submits what is recorded; does not wait.
   * @throws MachineError when a recording since the last time could not be run.
   */
  flush(): void {
    this.submit();
    this.faults.throwUntold();
  }

  // ---- data in and out -----------------------------------------------------------------------------------

  /** Writes host data into a range, after all work recorded so far that uses the buffer. */
  upload(target: Binding, data: ArrayBufferView<ArrayBufferLike>): void {
    this.rules.range('upload', { ...target, size: Math.ceil(data.byteLength / 4) * 4 });
    if (data.byteLength > Math.ceil(target.size / 4) * 4)
      throw new MachineError(`upload: ${data.byteLength} bytes into a range of ${target.size}`);
    countWrite(target);
    // writeBuffer is ordered against submissions, not against what is still being recorded.
    if (target.entry.lastUse === this.recording) this.submit();
    if (this.planning) return;
    let bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    // Shared memory given to writeBuffer crashes the process.
    if (data.buffer instanceof SharedArrayBuffer) bytes = new Uint8Array(bytes);
    if (bytes.byteLength % 4 !== 0) {
      const padded = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
      padded.set(bytes);
      bytes = padded;
    }
    for (let start = 0; start < bytes.byteLength; start += UPLOAD_CHUNK) {
      const part = bytes.subarray(start, Math.min(bytes.byteLength, start + UPLOAD_CHUNK));
      this.faults.guard('upload', () =>
        this.device.queue.writeBuffer(
          target.entry.buffer,
          target.offset + start,
          part as Uint8Array<ArrayBuffer>,
        ),
      );
      // Dawn copies into staging memory, which it takes anew until a submission lets it use the old again.
      this.unsubmittedUpload += part.byteLength;
      if (this.unsubmittedUpload >= UPLOAD_SUBMIT) {
        this.device.queue.submit([]);
        this.unsubmittedUpload = 0;
      }
    }
    target.entry.writtenIn = -1;
  }

  /**
   * Reads a range back: flush, then a sleeping wait.
   * @throws MachineError when a recording since the last wait could not be run, or the range was never computed.
   */
  async read(source: Binding): Promise<ArrayBuffer> {
    const size = Math.ceil(source.size / 4) * 4;
    if (size === 0) return new ArrayBuffer(0);
    if (this.planning) {
      this.flush();
      return new ArrayBuffer(source.size);
    }
    this.rules.range('read', { ...source, size });
    const staging = this.takeStaging(size);
    let copy: ArrayBuffer;
    try {
      this.closePass();
      this.openEncoder().copyBufferToBuffer(source.entry.buffer, source.offset, staging.buffer, 0, size);
      this.flush();
      this.rules.computed('read', source.entry);
      await gpuWait(this.faults.guard('read', () => staging.buffer.mapAsync(GPUMapMode.READ, 0, size))).catch(
        (error: Error) => {
          this.faults.throwUntold();
          throw new MachineError(`reading back from the GPU failed: ${error.message}`);
        },
      );
      copy = staging.buffer.getMappedRange(0, size).slice(0, source.size);
      staging.buffer.unmap();
    } catch (error) {
      staging.buffer.destroy();
      throw error;
    }
    if (staging.size <= 64 << 20 && this.staging.length < 16) this.staging.push(staging);
    else staging.buffer.destroy();
    this.faults.throwUntold();
    return copy;
  }

  /** One that was used before, of not much more than `size` bytes, or a new one. */
  private takeStaging(size: number): { buffer: GPUBuffer; size: number } {
    const index = this.staging.findIndex(
      (candidate) => candidate.size >= size && candidate.size <= 4 * size + 4096,
    );
    if (index >= 0) return this.staging.splice(index, 1)[0]!;
    const buffer = this.faults.guard('read', () =>
      this.device.createBuffer({
        label: `readback of ${formatBytes(size)}`,
        size,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      }),
    );
    return { buffer, size };
  }

  /** Flushes and waits until the GPU has finished everything. */
  async finish(): Promise<void> {
    this.flush();
    await gpuWait(this.device.queue.onSubmittedWorkDone());
    this.faults.throwUntold();
  }

  // ---- measuring -----------------------------------------------------------------------------------------

  memory(): MemoryReport {
    return this.pool.report();
  }

  /** Runs `work` with one timed pass per dispatch; the rows add up GPU time by shader label. */
  async profiled(work: () => Promise<void> | void): Promise<ProfileRow[]> {
    if (this.planning) throw new MachineError('a planning device computes nothing that could be timed');
    if (!this.capabilities.timestamps)
      throw new MachineError('this adapter has no timestamp queries to profile with');
    await this.finish();
    const querySet = this.device.createQuerySet({ type: 'timestamp', count: MAX_TIMESTAMPS });
    this.profile = { querySet, labels: [] };
    const totals = new Map<string, { count: number; milliseconds: number }>();
    try {
      await work();
      this.flush();
    } finally {
      const { labels } = this.profile;
      this.profile = undefined;
      if (labels.length > 0) {
        const resolve = this.device.createBuffer({
          size: MAX_TIMESTAMPS * 8,
          usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
        });
        const staging = this.device.createBuffer({
          size: MAX_TIMESTAMPS * 8,
          usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
        });
        const encoder = this.openEncoder();
        encoder.resolveQuerySet(querySet, 0, labels.length * 2, resolve, 0);
        encoder.copyBufferToBuffer(resolve, 0, staging, 0, labels.length * 16);
        this.flush();
        await gpuWait(staging.mapAsync(GPUMapMode.READ));
        const times = new BigUint64Array(staging.getMappedRange().slice(0));
        labels.forEach((label, i) => {
          const row = totals.get(label) ?? { count: 0, milliseconds: 0 };
          row.count++;
          row.milliseconds += Number(times[2 * i + 1]! - times[2 * i]!) / 1e6;
          totals.set(label, row);
        });
        staging.unmap();
        staging.destroy();
        resolve.destroy();
      }
      querySet.destroy();
    }
    return [...totals]
      .map(([label, row]) => ({ label, ...row }))
      .sort((a, b) => b.milliseconds - a.milliseconds);
  }

  /** Destroys the device and waits until it is gone. */
  async close(): Promise<void> {
    if (this.closed) return;
    await this.finish().catch(() => undefined);
    this.closed = true;
    this.device.destroy();
    await gpuWait(this.device.lost);
  }

  // ---- internals -----------------------------------------------------------------------------------------

  private record(
    shader: ShaderSource,
    bindings: readonly (Binding | RowTexture)[],
    immediates: ArrayBufferView<ArrayBuffer>,
    x: number,
    y: number,
    z: number,
  ): void {
    const pipeline = this.pipelineOf(shader);
    this.rules.access(pipeline.label, pipeline.accesses, bindings);
    const group = this.bindGroupOf(pipeline, bindings);
    bindings.forEach((binding, i) => {
      if (pipeline.accesses[i]!.writes) this.writes(binding);
    });
    const pass = this.openPass(pipeline.label);
    if (this.passPipeline !== pipeline) {
      pass.setPipeline(pipeline.pipeline);
      this.passPipeline = pipeline;
    }
    pass.setBindGroup(0, group);
    if (shader.immediateSize > 0)
      (pass as unknown as { setImmediates(offset: number, data: ArrayBufferView): void }).setImmediates(
        0,
        immediates,
      );
    pass.dispatchWorkgroups(x, y, z);
  }

  private openEncoder(): GPUCommandEncoder {
    this.encoder ??= this.device.createCommandEncoder({ label: `recording ${this.recording}` });
    return this.encoder;
  }

  private openPass(label: string): GPUComputePassEncoder {
    if (this.pass) return this.pass;
    const descriptor: GPUComputePassDescriptor = {};
    if (this.profile && this.profile.labels.length * 2 < MAX_TIMESTAMPS) {
      const index = this.profile.labels.push(label) - 1;
      descriptor.timestampWrites = {
        querySet: this.profile.querySet,
        beginningOfPassWriteIndex: 2 * index,
        endOfPassWriteIndex: 2 * index + 1,
      };
    }
    this.pass = this.openEncoder().beginComputePass(descriptor);
    this.passPipeline = undefined;
    return this.pass;
  }

  private closePass(): void {
    this.pass?.end();
    this.pass = undefined;
  }

  private pipelineOf(shader: ShaderSource): Pipeline {
    let pipeline = this.pipelines.get(shader.wgsl);
    if (!pipeline) {
      const compute = this.pipelineFor(shader);
      pipeline = {
        accesses: accessesOf(shader.wgsl),
        id: this.pipelines.size,
        label: shader.label,
        pipeline: compute,
        layout: compute.getBindGroupLayout(0),
      };
      this.pipelines.set(shader.wgsl, pipeline);
    }
    return pipeline;
  }

  private pipelineFor(shader: ShaderSource): GPUComputePipeline {
    try {
      return this.faults.guard(shader.label, () => {
        const module = this.device.createShaderModule({ code: shader.wgsl, label: shader.label });
        return this.device.createComputePipeline({
          label: shader.label,
          layout: 'auto',
          compute: { module, entryPoint: 'main' },
        });
      });
    } catch (error) {
      if (!(error instanceof MachineError)) throw error;
      throw new MachineError(`${error.message}\n${numberLines(shader.wgsl)}`);
    }
  }

  private bindGroupOf(pipeline: Pipeline, bindings: readonly (Binding | RowTexture)[]): GPUBindGroup {
    let key = `${pipeline.id}`;
    for (const item of bindings)
      key += 'entry' in item ? `,${item.entry.serial}:${item.offset}:${item.size}` : `,${item.serial}:`;
    const known = this.bindGroups.get(key);
    if (known) return known.group;
    // Cached groups keep their buffers alive and shapes vary from batch to batch: drop all when too many.
    if (this.bindGroups.size >= MAX_BIND_GROUPS) {
      this.bindGroups.clear();
      this.groupKeys.clear();
    }
    const group = this.faults.guard(pipeline.label, () =>
      this.device.createBindGroup({
        label: pipeline.label,
        layout: pipeline.layout,
        entries: bindings.map((item, binding) => ({
          binding,
          resource:
            'entry' in item ? { buffer: item.entry.buffer, offset: item.offset, size: item.size } : item.view,
        })),
      }),
    );
    const serials = bindings.map((item) => ('entry' in item ? item.entry : item).serial);
    this.bindGroups.set(key, { group, serials });
    for (const serial of serials) {
      const keys = this.groupKeys.get(serial);
      if (keys) keys.add(key);
      else this.groupKeys.set(serial, new Set([key]));
    }
    return group;
  }

  private forgetBindGroups(serial: number): void {
    for (const key of this.groupKeys.get(serial) ?? []) {
      for (const other of this.bindGroups.get(key)!.serials)
        if (other !== serial) this.groupKeys.get(other)?.delete(key);
      this.bindGroups.delete(key);
    }
    this.groupKeys.delete(serial);
  }

  /** Hands over what is recorded. Of a recording that is not valid nothing is run, and whoever waits next is told. */
  private submit(): void {
    this.closePass();
    const { encoder, recorded } = this;
    if (encoder) {
      const number = this.recording++;
      this.encoder = undefined;
      this.recorded = [];
      this.unsubmittedUpload = 0;
      try {
        const commands = this.faults.guard(`recording ${number}`, () => encoder.finish());
        this.faults.guard(`recording ${number}`, () => this.device.queue.submit([commands]));
      } catch (error) {
        const labels = [...new Set(recorded)];
        this.faults.recordingFailed(
          number,
          `${(error as Error).message}; none of its ${recorded.length} dispatches was run` +
            `${labels.length > 0 ? ` (${labels.slice(0, 8).join(', ')}${labels.length > 8 ? ', …' : ''})` : ''}`,
        );
      }
    }
    this.faults.throwLost();
  }

  /** The recording now open writes to it; whatever was there, or was never computed, is no longer of interest. */
  private writes(target: Binding | RowTexture): void {
    countWrite(target);
    const entry = entryOf(target);
    if (entry.writtenIn === 0 || this.faults.whyMissing(entry.writtenIn) !== undefined)
      entry.writtenIn = this.recording;
  }
}

function numberLines(text: string): string {
  return text
    .split('\n')
    .map((line, i) => `${String(i + 1).padStart(4)} ${line}`)
    .join('\n');
}

export type { Binding, PoolBuffer, Purpose, RowTexture };
