/** GPU time by shader: while a profile is taken, every dispatch is a pass of its own between two timestamps. */
import { gpuWait } from './wait.js';

export interface ProfileRow {
  readonly label: string;
  readonly count: number;
  /** GPU milliseconds. */
  readonly milliseconds: number;
}

const MAX_TIMESTAMPS = 4096;

export class Profiler {
  private querySet: GPUQuerySet | undefined;
  private labels: string[] = [];

  constructor(private readonly device: GPUDevice) {}

  get active(): boolean {
    return this.querySet !== undefined;
  }

  start(): void {
    this.querySet = this.device.createQuerySet({ type: 'timestamp', count: MAX_TIMESTAMPS });
    this.labels = [];
  }

  /** Where a pass is to write its times. */
  stamp(label: string): GPUComputePassTimestampWrites | undefined {
    if (!this.querySet || this.labels.length * 2 >= MAX_TIMESTAMPS) return undefined;
    const index = this.labels.push(label) - 1;
    return {
      querySet: this.querySet,
      beginningOfPassWriteIndex: 2 * index,
      endOfPassWriteIndex: 2 * index + 1,
    };
  }

  /** Ends the profile. `commands` gives an encoder after all work of the profile, `flush` submits it. */
  async stop(commands: () => GPUCommandEncoder, flush: () => void): Promise<ProfileRow[]> {
    const { querySet, labels, device } = this;
    this.querySet = undefined;
    const totals = new Map<string, { count: number; milliseconds: number }>();
    if (labels.length > 0) {
      const resolve = device.createBuffer({
        size: MAX_TIMESTAMPS * 8,
        usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
      });
      const staging = device.createBuffer({
        size: MAX_TIMESTAMPS * 8,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      });
      const encoder = commands();
      encoder.resolveQuerySet(querySet!, 0, labels.length * 2, resolve, 0);
      encoder.copyBufferToBuffer(resolve, 0, staging, 0, labels.length * 16);
      flush();
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
    querySet?.destroy();
    return [...totals]
      .map(([label, row]) => ({ label, ...row }))
      .sort((a, b) => b.milliseconds - a.milliseconds);
  }
}
