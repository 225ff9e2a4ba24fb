/**
 * Data in, out and across: uploads, readbacks, copies, clears, and rows of a buffer as a texture. Copies are part of the
 * open recording, so that everything happens in the order in which it was asked for.
 */

import { MachineError } from '../errors.js';
import { formatBytes } from '../show.js';
import { type Binding, type BindingRules, countWrite } from './bindings.js';
import type { DeviceFaults } from './faults.js';
import {
  type BufferPool,
  type ReadbackBuffer,
  type RowFormat,
  type RowTexture,
  sizeClass,
  texelBytes,
} from './memory.js';
import type { Profiler } from './profile.js';
import type { Recorder } from './recorder.js';
import { gpuWait } from './wait.js';
import { GPUBufferUsage, GPUMapMode } from './webgpu.js';

const UPLOAD_CHUNK = 8 << 20;
const UPLOAD_SUBMIT = 32 << 20;
/** Shared memory is copied in pieces that stay in the processor's cache until they are written. */
const SHARED_CHUNK = 1 << 20;
/** Readback buffers that are kept, and the bytes of the largest of them. */
const STAGING_BUFFERS = 16;
const STAGING_BYTES = 64 << 20;

/** A readback that the GPU has been given and the host has not waited for yet. */
export interface PendingRead {
  /** To be called once. @throws MachineError as `Gpu.read` does. */
  wait(): Promise<ArrayBuffer>;
}

/** The same of several ranges, to where the host wants them. */
export interface PendingGather {
  /**
   * Settles when the device has done it, and with it all that was recorded before: to learn when, not to wait for, which
   * takes a core until something is waited for by `into` or `gpuWait`.
   */
  readonly ready: Promise<unknown>;
  /**
   * What the ranges hold, one behind the other, is copied to `target`. Called once; until it settles the memory that it
   * is copied from is held. @throws MachineError as `Gpu.read` does.
   */
  into(target: ArrayBufferView): Promise<void>;
}

interface Staging {
  readonly buffer: GPUBuffer;
  readonly size: number;
}

export class Transfer {
  private readonly staging: Staging[] = [];
  private unsubmittedUpload = 0;
  private sharedChunk: Uint8Array<ArrayBuffer> | undefined;
  /** Readbacks since the device was opened. */
  readbacks = 0;

  constructor(
    private readonly device: GPUDevice,
    private readonly pool: BufferPool,
    private readonly recorder: Recorder,
    private readonly rules: BindingRules,
    private readonly faults: DeviceFaults,
    private readonly profiler: Profiler,
    private readonly maxTextureSize: number,
    /** Nothing is moved, only accounted. */
    private readonly planning: boolean,
  ) {}

  /** Copies a range of one buffer to another. Offsets and size are multiples of 4. */
  copy(source: Binding, target: Binding): void {
    if (source.size === 0) return;
    this.rules.range('copy', source);
    this.rules.range('copy', { ...target, size: source.size });
    if (source.entry === target.entry) throw new MachineError('copy: from a buffer to itself');
    this.rules.computed('copy', source.entry);
    this.recorder
      .commands()
      .copyBufferToBuffer(
        source.entry.buffer,
        source.offset,
        target.entry.buffer,
        target.offset,
        source.size,
      );
    source.entry.lastUse = target.entry.lastUse = this.recorder.current;
    this.recorder.writes(target);
  }

  /** Fills a range with zeros. Offset and size are multiples of 4. */
  clear(target: Binding): void {
    if (target.size === 0) return;
    this.rules.range('clear', target);
    this.recorder.commands().clearBuffer(target.entry.buffer, target.offset, target.size);
    target.entry.lastUse = this.recorder.current;
    this.recorder.writes(target);
  }

  /** See `Gpu.rowTexture`. */
  rowTexture(source: Binding, rowBytes: number, bytes: number, format: RowFormat): RowTexture | undefined {
    const limit = this.maxTextureSize;
    const width = rowBytes / texelBytes[format];
    const rows = Math.ceil(bytes / rowBytes);
    const whole = Math.floor(bytes / rowBytes);
    if (rowBytes % 256 !== 0 || width > limit || rows > limit) return undefined;
    // Height in classes, so that batches of varying length share textures.
    const height = Math.min(limit, sizeClass(rows * 256) / 256);
    this.rules.range('rowTexture', source);
    this.rules.computed('rowTexture', source.entry);
    const entry = this.pool.allocateTexture(width, height, format);
    const { buffer } = source.entry;
    const commands = this.recorder.commands();
    commands.copyBufferToTexture(
      { buffer, offset: source.offset, bytesPerRow: rowBytes, rowsPerImage: whole },
      { texture: entry.texture },
      { width, height: whole },
    );
    if (rows > whole)
      commands.copyBufferToTexture(
        { buffer, offset: source.offset + whole * rowBytes },
        { texture: entry.texture, origin: [0, whole] },
        { width: (bytes % rowBytes) / texelBytes[format], height: 1 },
      );
    source.entry.lastUse = entry.lastUse = this.recorder.current;
    this.recorder.writes(entry);
    return entry;
  }

  /** See `Gpu.copyToTexture`. */
  copyToTexture(source: Binding, stride: number, width: number, rows: number, target: RowTexture): void {
    const texel = texelBytes[target.kind.split(' ')[0] as RowFormat];
    this.rules.range('copyToTexture', source);
    this.rules.computed('copyToTexture', source.entry);
    if (stride % 256 !== 0 || (rows - 1) * stride + width * texel > source.size)
      throw new MachineError(
        `copyToTexture: no ${rows} rows of ${width} texels, ${stride} bytes apart, in ${source.size} bytes`,
      );
    this.recorder
      .commands()
      .copyBufferToTexture(
        { buffer: source.entry.buffer, offset: source.offset, bytesPerRow: stride, rowsPerImage: rows },
        { texture: target.texture },
        { width, height: rows },
      );
    source.entry.lastUse = target.lastUse = this.recorder.current;
    this.recorder.writes(target);
  }

  /** Writes host data into a range, after all work recorded so far that uses the buffer. */
  upload(target: Binding, data: ArrayBufferView<ArrayBufferLike>): void {
    this.rules.range('upload', { ...target, size: Math.ceil(data.byteLength / 4) * 4 });
    if (data.byteLength > Math.ceil(target.size / 4) * 4)
      throw new MachineError(`upload: ${data.byteLength} bytes into a range of ${target.size}`);
    countWrite(target);
    // writeBuffer is ordered against submissions, not against what is still being recorded.
    if (target.entry.lastUse === this.recorder.current) this.recorder.submit();
    if (this.planning) return;
    let bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (bytes.byteLength % 4 !== 0) {
      const padded = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
      padded.set(bytes);
      bytes = padded;
    }
    // Shared memory given to writeBuffer crashes the process.
    const shared = bytes.buffer instanceof SharedArrayBuffer;
    const chunk = shared ? SHARED_CHUNK : UPLOAD_CHUNK;
    for (let start = 0; start < bytes.byteLength; start += chunk) {
      const piece = bytes.subarray(start, Math.min(bytes.byteLength, start + chunk));
      const part = shared ? this.unshared(piece) : (piece as Uint8Array<ArrayBuffer>);
      this.faults.guard('upload', () =>
        this.device.queue.writeBuffer(target.entry.buffer, target.offset + start, part),
      );
      // Dawn copies into staging memory, which it takes anew until a submission lets it use the old again.
      this.unsubmittedUpload += part.byteLength;
      if (this.unsubmittedUpload >= UPLOAD_SUBMIT) {
        this.device.queue.submit([]);
        this.submitted();
      }
    }
    target.entry.writtenIn = -1;
  }

  /** A copy, in memory that is used again: writeBuffer has taken what it needs when it returns. */
  private unshared(piece: Uint8Array): Uint8Array<ArrayBuffer> {
    this.sharedChunk ??= new Uint8Array(SHARED_CHUNK);
    this.sharedChunk.set(piece);
    return this.sharedChunk.subarray(0, piece.byteLength);
  }

  /** Something was submitted: what uploads took of staging memory is free again. */
  submitted(): void {
    this.unsubmittedUpload = 0;
  }

  /** See `Gpu.beginRead`; `flush` is the device's. */
  beginRead(source: Binding, flush: () => void): PendingRead {
    const size = Math.ceil(source.size / 4) * 4;
    if (size === 0 || this.planning) {
      if (size > 0) flush();
      return { wait: async () => new ArrayBuffer(source.size) };
    }
    this.rules.range('read', { ...source, size });
    const staging = this.takeStaging(size);
    let mapped: Promise<undefined>;
    try {
      this.recorder
        .commands()
        .copyBufferToBuffer(source.entry.buffer, source.offset, staging.buffer, 0, size);
      flush();
      this.rules.computed('read', source.entry);
      mapped = this.faults.guard('read', () => staging.buffer.mapAsync(GPUMapMode.READ, 0, size));
    } catch (error) {
      staging.buffer.destroy();
      throw error;
    }
    this.readbacks++;
    // Whoever waits is told of a failure; where nobody waits any more it must not end the process.
    mapped.catch(() => undefined);
    return { wait: () => this.finishRead(staging, size, source.size, mapped) };
  }

  private async finishRead(
    staging: Staging,
    size: number,
    bytes: number,
    mapped: Promise<undefined>,
  ): Promise<ArrayBuffer> {
    let copy: ArrayBuffer;
    try {
      copy = await this.mapped(staging.buffer, size, mapped, (range) => range.slice(0, bytes));
    } catch (error) {
      staging.buffer.destroy();
      throw error;
    }
    if (staging.size <= STAGING_BYTES && this.staging.length < STAGING_BUFFERS) this.staging.push(staging);
    else staging.buffer.destroy();
    this.faults.throwUntold();
    return copy;
  }

  /** See `Gpu.beginGather`. */
  beginGather(sources: readonly Binding[], flush: () => void): PendingGather {
    const bytes = sources.reduce((sum, { size }) => sum + size, 0);
    if (bytes === 0) return { ready: Promise.resolve(), into: async () => undefined };
    for (const source of sources) this.rules.range('read', source);
    const staging = this.pool.allocateReadback(bytes);
    if (this.planning) {
      flush();
      return { ready: Promise.resolve(), into: async () => this.pool.release(staging) };
    }
    let mapped: Promise<undefined>;
    try {
      let at = 0;
      for (const { entry, offset, size } of sources) {
        this.recorder.commands().copyBufferToBuffer(entry.buffer, offset, staging.buffer, at, size);
        entry.lastUse = this.recorder.current;
        at += size;
      }
      staging.lastUse = this.recorder.current;
      flush();
      for (const { entry } of sources) this.rules.computed('read', entry);
      mapped = this.faults.guard('read', () => staging.buffer.mapAsync(GPUMapMode.READ, 0, bytes));
    } catch (error) {
      this.pool.release(staging);
      throw error;
    }
    this.readbacks++;
    // Whoever waits is told of a failure; where nobody waits any more it must not end the process.
    mapped.catch(() => undefined);
    return { ready: mapped, into: (target) => this.finishGather(staging, bytes, mapped, target) };
  }

  private async finishGather(
    staging: ReadbackBuffer,
    bytes: number,
    mapped: Promise<undefined>,
    target: ArrayBufferView,
  ): Promise<void> {
    if (target.byteLength !== bytes)
      throw new MachineError(`read: ${bytes} bytes into an array of ${target.byteLength}`);
    await this.mapped(staging.buffer, bytes, mapped, (range) =>
      new Uint8Array(target.buffer, target.byteOffset, bytes).set(new Uint8Array(range)),
    );
    this.pool.release(staging);
    this.faults.throwUntold();
  }

  /** What `use` makes of `bytes` bytes of a buffer once they are mapped. @throws MachineError where they never are. */
  private async mapped<T>(
    buffer: GPUBuffer,
    bytes: number,
    pending: Promise<undefined>,
    use: (range: ArrayBuffer) => T,
  ): Promise<T> {
    try {
      await this.profiler.phase('wait', () => gpuWait(pending));
      // A device that is lost after it was mapped takes the range along.
      const result = use(buffer.getMappedRange(0, bytes));
      buffer.unmap();
      return result;
    } catch (error) {
      this.faults.throwUntold();
      const { message, name } = error as Error;
      throw new MachineError(`reading back from the GPU failed: ${message || name}`);
    }
  }

  /** One that was used before, of not much more than `size` bytes, or a new one. */
  private takeStaging(size: number): Staging {
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
}
