/**
 * What is recorded and not yet handed over: one command encoder and in it one compute pass, as long as nothing but
 * dispatches comes. Recordings are numbered, so that others can tell whether a buffer is used by the open one.
 */
import { progress } from '../progress.js';
import { type Binding, countWrite, entryOf } from './bindings.js';
import type { DeviceFaults } from './faults.js';
import type { RowTexture } from './memory.js';
import type { Pipeline } from './pipelines.js';
import type { Profiler } from './profile.js';
import type { Work } from './profile-report.js';

const FLUSH_DISPATCHES = 128;

/** `setImmediates` is Dawn's own, not yet in the standard's types. */
type ComputePass = GPUComputePassEncoder & {
  setImmediates(offset: number, data: ArrayBufferView | ArrayBuffer): void;
};

export class Recorder {
  private encoder: GPUCommandEncoder | undefined;
  private pass: ComputePass | undefined;
  /** What the pass was last given. */
  private passPipeline: Pipeline | undefined;
  private passGroup: GPUBindGroup | undefined;
  /** Labels of the dispatches that are recorded and not submitted. */
  private recorded: string[] = [];
  /** Number of the recording that is open. */
  current = 1;

  constructor(
    private readonly device: GPUDevice,
    private readonly faults: DeviceFaults,
    private readonly profiler: Profiler,
    /** Called when commands are handed over. */
    private readonly onSubmit: () => void,
  ) {}

  /** The encoder of the open recording, outside of any pass: for copies and the like. */
  commands(): GPUCommandEncoder {
    this.closePass();
    return this.openEncoder();
  }

  dispatch(
    pipeline: Pipeline,
    group: GPUBindGroup,
    immediates: ArrayBufferView<ArrayBuffer> | undefined,
    x: number,
    y: number,
    z: number,
    work: Work | undefined,
  ): void {
    const pass = this.openPass(pipeline.label, work);
    if (this.passPipeline !== pipeline) {
      pass.setPipeline(pipeline.pipeline);
      this.passPipeline = pipeline;
    }
    if (this.passGroup !== group) {
      pass.setBindGroup(0, group);
      this.passGroup = group;
    }
    if (immediates) {
      // The binding takes a whole buffer in a quarter of the time that it takes a view.
      const { buffer, byteLength } = immediates;
      pass.setImmediates(0, buffer.byteLength === byteLength ? buffer : immediates);
    }
    pass.dispatchWorkgroups(x, y, z);
    // While a profile is taken every dispatch has a pass of its own.
    if (this.profiler.active && this.profiler.times) this.closePass();
  }

  /** Counts a dispatch; hands the recording over when it is long. */
  dispatched(label: string): void {
    if (this.recorded.push(label) >= FLUSH_DISPATCHES) this.submit();
  }

  /** The open recording writes to it; whatever was there, or was never computed, is no longer of interest. */
  writes(target: Binding | RowTexture): void {
    countWrite(target);
    const entry = entryOf(target);
    if (entry.writtenIn === 0 || this.faults.whyMissing(entry.writtenIn) !== undefined)
      entry.writtenIn = this.current;
  }

  /** Hands over what is recorded. Of a recording that is not valid nothing is run, and whoever waits next is told. */
  submit(): void {
    this.closePass();
    const { encoder, recorded } = this;
    if (encoder) {
      const number = this.current++;
      this.encoder = undefined;
      this.recorded = [];
      this.onSubmit();
      try {
        const commands = this.faults.guard(`recording ${number}`, () => encoder.finish());
        this.faults.guard(`recording ${number}`, () => this.device.queue.submit([commands]));
        progress();
        this.profiler.submitted(true);
      } catch (error) {
        this.profiler.submitted(false);
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

  openEncoder(): GPUCommandEncoder {
    this.encoder ??= this.device.createCommandEncoder({ label: `recording ${this.current}` });
    return this.encoder;
  }

  private openPass(label: string, work: Work | undefined): ComputePass {
    if (this.pass) return this.pass;
    const encoder = this.openEncoder();
    const { profiler } = this;
    this.pass = encoder.beginComputePass(
      profiler.active && profiler.times
        ? { timestampWrites: profiler.stamp(encoder, label, work) }
        : undefined,
    ) as ComputePass;
    this.passPipeline = this.passGroup = undefined;
    return this.pass;
  }

  private closePass(): void {
    this.pass?.end();
    this.pass = undefined;
  }
}
