/**
 * Words behind every buffer that nothing may write, for tests: a kernel that writes beyond its results would otherwise
 * write into room that size classes leave, or be stopped by the driver, and nobody would know. Writable operands that
 * end where the words begin are bound with them, so that a write out of bounds lands there. The words are looked at
 * when a buffer is given back, and in buffers that live, by `check`.
 */

import { MachineError } from '../errors.js';
import { formatBytes } from '../show.js';
import { type Access, type Binding, entryOf } from './bindings.js';
import type { PoolBuffer, RowTexture } from './memory.js';
import type { Recorder } from './recorder.js';
import { gpuWait } from './wait.js';
import { GPUBufferUsage, GPUMapMode } from './webgpu.js';

/** A NaN as f32, two as f16, and no index. */
const GUARD = 0xffc5ffc5;
/** Guards of buffers that were given back, and are copied into one buffer until somebody looks. */
const LEDGER = 4096;

interface Ledger {
  readonly buffer: GPUBuffer;
  /** What the guards at each place belong to. */
  readonly of: string[];
}

export class Guards {
  private readonly pattern: GPUBuffer;
  private readonly live = new Set<PoolBuffer>();
  private readonly writers = new WeakMap<PoolBuffer, string>();
  private ledgers: Ledger[] = [];

  /** `words`: behind every buffer. */
  constructor(
    private readonly device: GPUDevice,
    private readonly recorder: () => Recorder,
    private readonly maxBindingSize: number,
    private readonly words: number,
  ) {
    this.pattern = device.createBuffer({
      size: this.bytes,
      usage: GPUBufferUsage.COPY_SRC,
      mappedAtCreation: true,
    });
    new Uint32Array(this.pattern.getMappedRange()).fill(GUARD);
    this.pattern.unmap();
  }

  get bytes(): number {
    return 4 * this.words;
  }

  /** A buffer was handed out, whose guard begins at `entry.guard`. */
  place(entry: PoolBuffer): void {
    this.live.add(entry);
    this.recorder().commands().copyBufferToBuffer(this.pattern, 0, entry.buffer, entry.guard, this.bytes);
    entry.lastUse = this.recorder().current;
  }

  /** A buffer is given back: what its guard is now is kept. */
  release(entry: PoolBuffer): void {
    if (this.live.delete(entry)) this.keep(entry);
  }

  /** The operands of a dispatch; those that it writes, with their guards. */
  extended(
    label: string,
    accesses: readonly Access[],
    bindings: readonly (Binding | RowTexture)[],
  ): readonly (Binding | RowTexture)[] {
    return bindings.map((binding, i) => {
      if (!accesses[i]?.writes || !('entry' in binding)) return binding;
      const entry = entryOf(binding) as PoolBuffer;
      this.writers.set(entry, label);
      const size = binding.size + this.bytes;
      return binding.offset + binding.size === entry.guard && size <= this.maxBindingSize
        ? { ...binding, size }
        : binding;
    });
  }

  /** @throws MachineError naming the buffers whose guards were written since the last time. */
  async check(): Promise<void> {
    for (const entry of this.live) this.keep(entry);
    this.recorder().submit();
    const broken: string[] = [];
    for (const { buffer, of } of this.ledgers.splice(0)) {
      await gpuWait(buffer.mapAsync(GPUMapMode.READ));
      const found = new Uint32Array(buffer.getMappedRange());
      of.forEach((what, i) => {
        const at = found.subarray(i * this.words, (i + 1) * this.words).findIndex((word) => word !== GUARD);
        if (at >= 0) broken.push(`${what}, word ${at}: 0x${found[i * this.words + at]!.toString(16)}`);
      });
      buffer.unmap();
      buffer.destroy();
    }
    if (broken.length === 0) return;
    for (const entry of this.live) this.place(entry);
    throw new MachineError(`written behind the end of ${broken.slice(0, 8).join('; ')}`);
  }

  private keep(entry: PoolBuffer): void {
    let ledger = this.ledgers.at(-1);
    if (!ledger || ledger.of.length === LEDGER) {
      const buffer = this.device.createBuffer({
        size: LEDGER * this.bytes,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      });
      ledger = { buffer, of: [] };
      this.ledgers.push(ledger);
    }
    const writer = this.writers.get(entry);
    const place =
      ledger.of.push(
        `buffer ${entry.serial} (${formatBytes(entry.guard)}, ${entry.purpose}${writer === undefined ? '' : `, last written by ${writer}`})`,
      ) - 1;
    this.recorder()
      .commands()
      .copyBufferToBuffer(entry.buffer, entry.guard, ledger.buffer, place * this.bytes, this.bytes);
    entry.lastUse = this.recorder().current;
  }
}
