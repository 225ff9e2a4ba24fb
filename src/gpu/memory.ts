/**
 * Buffer pool with size classes, a budget, and accounting by purpose.
 *
 * A fresh buffer costs 3–6 ms of page faults and lazy clears on lavapipe, a pooled one nothing (spec dawn-node
 * §0.4), and drivers overcommit, so the budget is ours to enforce (§0.7). Commands run in the order they are
 * recorded, so a freed buffer may be handed out again at once.
 */
import { MachineError } from '../errors.js';

export type Purpose = 'weights' | 'gradients' | 'optimizer' | 'activations' | 'workspace';

/** One pooled GPU buffer. `serial` is unique for the life of the process and keys bind groups. */
export interface PoolBuffer {
  readonly buffer: GPUBuffer;
  /** Bytes of the size class. */
  readonly size: number;
  readonly serial: number;
  purpose: Purpose;
  /** Number of the recording that used it last; an upload must not overtake that. */
  lastUse: number;
}

export interface MemoryReport {
  /** Bytes handed out, by purpose. */
  readonly live: Record<Purpose, number>;
  readonly liveBuffers: number;
  /** Bytes kept for reuse. */
  readonly pooled: number;
  /** Largest sum of live bytes seen, and its parts. */
  readonly peak: number;
  readonly peakByPurpose: Record<Purpose, number>;
}

const MEGABYTE = 1 << 20;
const purposes = (): Record<Purpose, number> => ({
  weights: 0,
  gradients: 0,
  optimizer: 0,
  activations: 0,
  workspace: 0,
});

/** Four classes per power of two: at most 25 % is lost, and varying lengths still meet. */
export function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = 2 ** Math.max(8, Math.floor(Math.log2(bytes - 1)) - 2);
  return Math.ceil(bytes / step) * step;
}

let nextSerial = 1;

export class BufferPool {
  private readonly free = new Map<number, PoolBuffer[]>();
  private readonly live = purposes();
  private liveBuffers = 0;
  private pooled = 0;
  private peak = 0;
  private peakByPurpose = purposes();

  /** `budget`: bytes that live and pooled buffers may take together. */
  constructor(
    private readonly device: GPUDevice,
    readonly budget: number,
    private readonly maxBufferSize: number,
    private readonly onDestroy: (buffer: PoolBuffer) => void,
    /** Submits what is recorded: a buffer must not be destroyed between its recording and the submission. */
    private readonly flush: () => void,
  ) {}

  allocate(bytes: number, purpose: Purpose): PoolBuffer {
    // Large buffers are few and long-lived: rounding them to a class would waste hundreds of megabytes.
    const size = bytes > 64 * MEGABYTE ? Math.ceil(bytes / MEGABYTE) * MEGABYTE : sizeClass(bytes);
    if (size > this.maxBufferSize)
      throw new MachineError(
        `a buffer of ${formatBytes(bytes)} exceeds the adapter's limit of ${formatBytes(this.maxBufferSize)}`,
      );
    let entry = this.takeFree(size);
    if (entry) {
      this.pooled -= entry.size;
      entry.purpose = purpose;
    } else {
      // Sizes that never come back would pile up: what is pooled stays below what was ever in use.
      const enough = Math.max(this.peak, 256 * MEGABYTE);
      if (this.liveBytes() + this.pooled + size > this.budget || this.pooled > enough) this.trim();
      if (this.liveBytes() + size > this.budget) throw this.outOfMemory(bytes, purpose);
      entry = {
        buffer: this.device.createBuffer({
          size,
          usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
        }),
        size,
        serial: nextSerial++,
        purpose,
        lastUse: 0,
      };
    }
    this.live[purpose] += entry.size;
    this.liveBuffers++;
    const total = this.liveBytes();
    if (total > this.peak) {
      this.peak = total;
      this.peakByPurpose = { ...this.live };
    }
    return entry;
  }

  /** The smallest free buffer that is at most a quarter too large. */
  private takeFree(size: number): PoolBuffer | undefined {
    let best: number | undefined;
    for (const [candidate, list] of this.free)
      if (candidate >= size && candidate <= 1.25 * size && list.length > 0 && candidate < (best ?? Infinity))
        best = candidate;
    return best === undefined ? undefined : this.free.get(best)!.pop();
  }

  release(entry: PoolBuffer): void {
    this.live[entry.purpose] -= entry.size;
    this.liveBuffers--;
    this.pooled += entry.size;
    const list = this.free.get(entry.size);
    if (list) list.push(entry);
    else this.free.set(entry.size, [entry]);
  }

  /** Gives every pooled buffer back to the driver. */
  trim(): void {
    this.flush();
    for (const list of this.free.values())
      for (const entry of list) {
        this.onDestroy(entry);
        entry.buffer.destroy();
      }
    this.free.clear();
    this.pooled = 0;
  }

  report(): MemoryReport {
    return {
      live: { ...this.live },
      liveBuffers: this.liveBuffers,
      pooled: this.pooled,
      peak: this.peak,
      peakByPurpose: { ...this.peakByPurpose },
    };
  }

  private liveBytes(): number {
    let sum = 0;
    for (const bytes of Object.values(this.live)) sum += bytes;
    return sum;
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

export function formatBytes(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(2)} GB`;
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  if (bytes >= 1e3) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${bytes} B`;
}
