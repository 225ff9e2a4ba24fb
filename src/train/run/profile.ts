/**
 * `--profile FILE`: where the time of training steps goes. The file is a trace for chrome://tracing or Perfetto; the table
 * shows time by kernel and variant with the rates that were reached. What is measured is in src/gpu/profile.ts.
 */
import { MachineError } from '../../errors.js';
import { AtomicFile, requireWritable } from '../../files/atomic.js';
import type { Gpu, ProfileRow } from '../../gpu/gpu.js';
import { renderProfile } from '../../gpu/profile-report.js';
import { writeTrace } from '../../gpu/trace.js';
import { measureRoofline } from '../../kernels/roofline.js';
import { printable } from '../../show.js';

export interface WrittenProfile {
  readonly rows: readonly ProfileRow[];
  /** The table and what belongs to it, for people. None where the adapter has no timestamps. */
  readonly lines: readonly string[];
  /** Share of the time of steady steps in which the GPU had been given nothing to do. */
  readonly queueEmptyShare?: number;
}

export class RunProfile {
  /** @throws InputError that names the flag when the file cannot be written: before anything is computed. */
  constructor(private readonly path: string) {
    requireWritable('--profile', path);
  }

  async start(gpu: Gpu, note: (line: string) => void): Promise<void> {
    if (!gpu.capabilities.timestamps)
      note(`--profile: ${gpu.capabilities.name} has no timestamps: the trace shows the host alone`);
    await gpu.startProfile();
  }

  /** Ends the profile, writes the file, measures what the adapter reaches at best. @throws MachineError (disk full …). */
  async finish(gpu: Gpu, note: (line: string) => void): Promise<WrittenProfile> {
    const profile = await gpu.stopProfile();
    const { name, driver } = gpu.capabilities;
    writeTrace(AtomicFile.create(this.path), profile, {
      adapter: name,
      driver,
      date: new Date().toISOString(),
    });
    note(`profile written to ${printable(this.path)}`);
    if (profile.untimed > 0)
      note(`--profile: ${profile.untimed} of ${profile.dispatches.length} dispatches have no times`);
    if (!profile.times) return { rows: [], lines: [] };
    const roofline = await measureRoofline(gpu).catch((error: unknown) => {
      if (!(error instanceof MachineError)) throw error;
      note(`--profile: no roofline: ${error.message}`);
      return undefined;
    });
    const rows = profile.rows();
    const busy = rows.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
    const taken = profile.nanoseconds / 1e6;
    // Of short profiles everything.
    const steady = profile.steadySteps();
    const empty = steady.length === 0 ? profile.emptyQueue() : profile.emptyQueue(steady);
    const measured =
      steady.length === 0
        ? 'from the first dispatch to the last'
        : `of ${steady.length === 1 ? 'one step' : `${steady.length} steps`} (without the first two and the last, and those that an evaluation or a save follows)`;
    const lines = [
      ...renderProfile(rows, roofline).split('\n'),
      `the GPU was busy for ${busy.toFixed(0)} ms of ${taken.toFixed(0)} ms (${((100 * busy) / taken).toFixed(0)} %), each dispatch in a pass of its own`,
      ...(empty
        ? [
            `its queue was empty for ${(empty.nanoseconds / 1e6).toFixed(0)} ms of the ${(empty.of / 1e6).toFixed(0)} ms ${measured} (${((100 * empty.nanoseconds) / empty.of).toFixed(1)} %)`,
          ]
        : []),
      ...(roofline
        ? [
            `roofline: ${(roofline.peakFlops / 1e9).toFixed(0)} GFLOP/s multiplied and added, ${(roofline.copyBandwidth / 1e9).toFixed(1)} GB/s copied`,
          ]
        : []),
    ];
    return { rows, lines, ...(empty ? { queueEmptyShare: empty.nanoseconds / empty.of } : {}) };
  }
}
