/**
 * Pool of buffers and textures with size classes, a budget, and accounting by purpose.
 *
 * A fresh buffer costs 3–6 ms of page faults and lazy clears on lavapipe, a pooled one nothing
 * (docs/spec/dawn-node.md §0.4), and drivers overcommit, so the budget is ours to enforce (§0.7). Commands run in the
 * order they are recorded, so what is freed may be handed out again at once.
 *
 * Batches vary in length, so that no step asks for quite the sizes of the one before. What is held (live and
 * pooled) stays within a quarter above the most that was ever live: until then a size that is missing is made;
 * from then on a larger free buffer takes its place, or the buffers that were unused for longest make way.
 */
import { MachineError } from '../errors.js';
import { formatBytes } from '../show.js';
import { GPUBufferUsage, GPUTextureUsage } from './webgpu.js';

/** What memory is for, as `Gpu.memory` tells it. */
export type Purpose = 'weights' | 'gradients' | 'optimizer' | 'activations' | 'workspace';

/** What the pool hands out. */
export interface PoolEntry {
  /** Bytes of device memory. */
  readonly size: number;
  /** Unique for the life of the process; keys bind groups. */
  readonly serial: number;
  /** Entries of one kind stand in for each other when large enough. */
  readonly kind: string;
  /** What it was last handed out for; it counts there. */
  purpose: Purpose;
  /** Bytes of the size class that was asked for; `size` is more when a larger entry stands in. */
  charged: number;
  /** Number of the recording that used it last; an upload or the destruction must not overtake that. */
  lastUse: number;
  /** Orders the free entries by the time they were released. */
  released: number;
  /** Byte from which on nothing of it may be written: the guard words of tests begin there, or it ends. */
  guard: number;
  /** Whether it is handed out. */
  live: boolean;
  /** Number of the recording that was first to write to it since it was handed out; 0: none yet, −1: the host was. */
  writtenIn: number;
  /** The pool that it belongs to, and so its device. */
  readonly pool: BufferPool;
  /** Gives it back to the driver. */
  destroy(): void;
}

/** A buffer that kernels read and write. */
export interface PoolBuffer extends PoolEntry {
  /** WebGPU's own. */
  readonly buffer: GPUBuffer;
}

/** What copies are read back from: the host maps it. */
export interface ReadbackBuffer extends PoolEntry {
  /** WebGPU's own. */
  readonly buffer: GPUBuffer;
}

/** Format of a texture of rows. */
export type RowFormat = 'rgba32float' | 'rgba16float' | 'rgba32uint';

/** Bytes of one texel. */
export const texelBytes: Record<RowFormat, number> = { rgba32float: 16, rgba16float: 8, rgba32uint: 16 };

/** Rows of floats as a texture of vec4 texels: on lavapipe, loads from one are several times cheaper than from a buffer. */
export interface RowTexture extends PoolEntry {
  /** WebGPU's own. */
  readonly texture: GPUTexture;
  /** Of the whole texture, for bindings. */
  readonly view: GPUTextureView;
}

/** What a device's tensors take: now, kept for reuse, and at most. */
export interface MemoryReport {
  /** Bytes handed out, by purpose. They depend on what is live only, not on what the pool held before. */
  readonly live: Record<Purpose, number>;
  /** Buffers and textures handed out. */
  readonly liveBuffers: number;
  /** Bytes kept for reuse, and those by which live buffers are larger than was asked for. */
  readonly pooled: number;
  /** Largest sum of live bytes seen, and its parts. */
  readonly peak: number;
  /** The parts of `peak`: what was live for each purpose at that moment. */
  readonly peakByPurpose: Record<Purpose, number>;
  /** The most bytes that were live at once for each purpose, whenever that was. */
  readonly highest: Record<Purpose, number>;
}

const MEGABYTE = 1 << 20;
/** What may be held above the most that was live: this part of it, but no less than the bytes. */
const HEADROOM = 0.25;
const MIN_HEADROOM = 64 * MEGABYTE;
/** A free entry up to so many times as large is as good as one of the right size. */
const FIT = 1.25;
/** And up to so many times as large it is better than destroying others to make one. */
const LOOSE_FIT = 4;

const purposes = (): Record<Purpose, number> => ({
  weights: 0,
  gradients: 0,
  optimizer: 0,
  activations: 0,
  workspace: 0,
});

/** Eight classes per power of two: at most an eighth is lost, and varying lengths still meet. */
export function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = 2 ** Math.max(8, Math.floor(Math.log2(bytes - 1)) - 3);
  return Math.ceil(bytes / step) * step;
}

let nextSerial = 1;

/** A device's memory: buffers and textures that are handed out, accounted for by purpose, and used again. */
export class BufferPool {
  /**
   * Free entries by kind and size, in descending order of their serials. The one that was made first is handed out
   * first, so that the same requests in the same order get the same entries, whatever was free before: then their bind
   * groups are known. Handing out what was released last would permute them from step to step.
   */
  private readonly free = new Map<string, Map<number, PoolEntry[]>>();
  private freeBytes = 0;
  private releases = 0;
  private readonly live = purposes();
  private liveBytes = 0;
  private liveBuffers = 0;
  /** Bytes by which live entries are larger than their classes. */
  private slack = 0;
  /** What `peak` would be without `resetPeak`, or what is expected of it. */
  private mostLive = 0;
  private peak = 0;
  private peakByPurpose = purposes();
  private highest = purposes();

  /** `budget`: bytes that live and pooled entries may take together. */
  constructor(
    private readonly device: GPUDevice,
    /** Bytes that live and pooled entries may take together. */
    readonly budget: number,
    private readonly maxBufferSize: number,
    /** Called before an entry is destroyed, which must not come between its recording and the submission. */
    private readonly onDestroy: (entry: PoolEntry) => void,
    /** Runs native calls and throws what the device reports against them. */
    private readonly guard: <T>(what: string, calls: () => T) => T,
    /** See guards.ts. */
    private readonly guards?: {
      readonly bytes: number;
      place(entry: PoolBuffer): void;
      release(entry: PoolBuffer): void;
    },
  ) {}

  /**
   * A buffer of at least `bytes` bytes; its contents are undefined. @throws MachineError when the budget has no room for
   * it.
   */
  allocate(bytes: number, purpose: Purpose): PoolBuffer {
    // Large buffers are few and long-lived: rounding them to a class would waste hundreds of megabytes.
    const needed = bytes + (this.guards?.bytes ?? 0);
    const size = needed > 64 * MEGABYTE ? Math.ceil(needed / MEGABYTE) * MEGABYTE : sizeClass(needed);
    if (size > this.maxBufferSize)
      throw new MachineError(
        `a buffer of ${formatBytes(bytes)} exceeds the adapter's limit of ${formatBytes(this.maxBufferSize)}`,
      );
    const taken = this.take('buffer', size, purpose, (entry): PoolBuffer => {
      const buffer = this.device.createBuffer({
        label: `buffer ${entry.serial} of ${formatBytes(size)}`,
        size,
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
      });
      return { ...entry, buffer, destroy: () => buffer.destroy() };
    });
    if (this.guards) {
      taken.guard = bytes;
      this.guards.place(taken);
    }
    return taken;
  }

  /** A texture to copy rows of `width` texels into, of at least `height` rows; counts as workspace. */
  allocateTexture(width: number, height: number, format: RowFormat): RowTexture {
    const size = width * height * texelBytes[format];
    return this.take(`${format} ${width}`, size, 'workspace', (entry): RowTexture => {
      const texture = this.device.createTexture({
        label: `texture ${entry.serial} of ${width}×${height}`,
        size: { width, height },
        format,
        usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.STORAGE_BINDING | GPUTextureUsage.COPY_DST,
      });
      return { ...entry, texture, view: texture.createView(), destroy: () => texture.destroy() };
    });
  }

  /** Memory that the host can map, to copy to and to read from; counts as workspace. */
  allocateReadback(bytes: number): ReadbackBuffer {
    return this.take('readback', sizeClass(bytes), 'workspace', (entry): ReadbackBuffer => {
      const buffer = this.device.createBuffer({
        label: `readback ${entry.serial} of ${formatBytes(entry.size)}`,
        size: entry.size,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      });
      return { ...entry, buffer, destroy: () => buffer.destroy() };
    });
  }

  private take<E extends PoolEntry>(
    kind: string,
    size: number,
    purpose: Purpose,
    make: (entry: Omit<PoolEntry, 'destroy'>) => E,
  ): E {
    const most = Math.max(this.mostLive, this.liveBytes + size);
    let entry = this.takeFree(kind, size, FIT, most);
    if (!entry) {
      const allowance = Math.min(this.budget, most + Math.max(MIN_HEADROOM, HEADROOM * most));
      if (this.heldBytes + size > allowance) {
        entry = this.takeFree(kind, size, LOOSE_FIT, most);
        if (!entry) this.evict(allowance - size);
      }
    }
    if (!entry) {
      if (this.heldBytes + size > this.budget) throw this.outOfMemory(size, purpose);
      const description = {
        size,
        serial: nextSerial++,
        kind,
        purpose,
        charged: size,
        lastUse: 0,
        released: 0,
        guard: size,
        live: false,
        writtenIn: 0,
        pool: this,
      };
      const what = `${formatBytes(size)} more for ${purpose}`;
      try {
        entry = this.guard(what, () => make(description));
      } catch (error) {
        // The driver may have less than the budget says: what is only kept for reuse makes way, once.
        if (this.freeBytes === 0) throw error;
        this.evict(0);
        entry = this.guard(what, () => make(description));
      }
    }
    entry.purpose = purpose;
    entry.charged = size;
    entry.live = true;
    entry.writtenIn = 0;
    this.slack += entry.size - size;
    this.live[purpose] += size;
    this.highest[purpose] = Math.max(this.highest[purpose], this.live[purpose]);
    this.liveBytes += size;
    this.liveBuffers++;
    this.mostLive = most;
    if (this.liveBytes > this.peak) {
      this.peak = this.liveBytes;
      this.peakByPurpose = { ...this.live };
    }
    // Entries of one kind are of one type.
    return entry as E;
  }

  /**
   * The smallest free entry of at most `fit` times the size. One that is too large must leave room for `most`
   * bytes of live ones, so that what fits into the budget fits whatever came before.
   */
  private takeFree(kind: string, size: number, fit: number, most: number): PoolEntry | undefined {
    const sizes = this.free.get(kind);
    if (!sizes) return undefined;
    const largest = Math.min(fit * size, this.budget - most - this.slack + size);
    let best = sizes.has(size) ? size : Infinity;
    if (best === Infinity)
      for (const candidate of sizes.keys())
        if (candidate > size && candidate <= largest && candidate < best) best = candidate;
    const list = sizes.get(best);
    const entry = list?.pop();
    if (list?.length === 0) sizes.delete(best);
    if (entry) this.freeBytes -= entry.size;
    return entry;
  }

  /** Takes an entry back, for whoever asks for one of its kind next. */
  release(entry: PoolEntry): void {
    if (this.guards && 'buffer' in entry) this.guards.release(entry as PoolBuffer);
    entry.live = false;
    this.live[entry.purpose] -= entry.charged;
    this.liveBytes -= entry.charged;
    this.slack -= entry.size - entry.charged;
    this.liveBuffers--;
    this.freeBytes += entry.size;
    entry.released = ++this.releases;
    let sizes = this.free.get(entry.kind);
    if (!sizes) this.free.set(entry.kind, (sizes = new Map()));
    const list = sizes.get(entry.size);
    if (!list) sizes.set(entry.size, [entry]);
    else {
      let at = list.length;
      while (at > 0 && list[at - 1]!.serial < entry.serial) at--;
      list.splice(at, 0, entry);
    }
  }

  /** Gives every free entry back to the driver. */
  trim(): void {
    this.evict(0);
  }

  /** Destroys free entries, those released longest ago first, until at most `bytes` are held. */
  private evict(bytes: number): void {
    while (this.freeBytes > 0 && this.heldBytes > bytes) {
      let oldest: PoolEntry | undefined;
      for (const sizes of this.free.values())
        for (const list of sizes.values())
          for (const each of list) if (each.released < (oldest?.released ?? Infinity)) oldest = each;
      if (!oldest) return;
      this.onDestroy(oldest);
      const sizes = this.free.get(oldest.kind)!;
      const list = sizes.get(oldest.size)!;
      list.splice(list.indexOf(oldest), 1);
      if (list.length === 0) sizes.delete(oldest.size);
      this.freeBytes -= oldest.size;
      oldest.destroy();
    }
  }

  /**
   * Says that `bytes` will be live at once, as a planning device found out: then buffers are never reused so
   * wastefully that these bytes would not fit into the budget.
   */
  expect(bytes: number): void {
    this.mostLive = Math.max(this.mostLive, bytes);
  }

  /** Starts the peaks of the report anew from what is live now. */
  resetPeak(): void {
    this.peak = this.liveBytes;
    this.peakByPurpose = { ...this.live };
    this.highest = { ...this.live };
  }

  /** Bytes by purpose: live now, kept for reuse, and the most so far. */
  report(): MemoryReport {
    return {
      live: { ...this.live },
      liveBuffers: this.liveBuffers,
      pooled: this.freeBytes + this.slack,
      peak: this.peak,
      peakByPurpose: { ...this.peakByPurpose },
      highest: { ...this.highest },
    };
  }

  /** Bytes that the device holds for this pool: live ones and those that are kept for reuse. */
  get heldBytes(): number {
    return this.liveBytes + this.slack + this.freeBytes;
  }

  private outOfMemory(bytes: number, purpose: Purpose): MachineError {
    const held = Object.entries(this.live)
      .filter(([, value]) => value > 0)
      .map(([name, value]) => `${name} ${formatBytes(value)}`)
      .join(', ');
    return new MachineError(
      `out of GPU memory: ${formatBytes(bytes)} more for ${purpose} would exceed the budget of ` +
        `${formatBytes(this.budget)} (held: ${held || 'nothing'}); use smaller batches or lengths, or raise --max_gpu_memory`,
    );
  }
}
