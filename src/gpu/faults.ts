/**
 * What the device reports against calls, and whose fault it was. Dawn's Node binding reports validation and memory
 * errors while the native call that causes them is still running (docs/spec/dawn-node.md §7), so `guard` around a call
 * knows what it caused without an error scope's wait: that is thrown there, once, and nothing of it stays.
 *
 * Commands are checked only when their encoder is finished. Then the whole recording is dropped: the next thing
 * that is waited for throws, once, and what the recording would have computed first stays known as never computed
 * until something else is written there. Only a lost device is final.
 */
import { MachineError } from '../errors.js';
import { GPUOutOfMemoryError } from './webgpu.js';

/** Of failed recordings; what they would have computed is asked for soon or never. */
const REMEMBERED = 256;

export class DeviceFaults {
  /** Reported since somebody last looked. */
  private captured: string | undefined;
  /** Why the device is gone, if it is and was not closed. */
  lost: string | undefined;
  /** Failed recordings that nobody was told of yet. */
  private untold: string | undefined;
  /** Why, by the number of the recording. */
  private readonly failed = new Map<number, string>();

  /** `closing`: whether the device is being destroyed on purpose. */
  constructor(
    device: GPUDevice,
    private readonly closing: () => boolean,
  ) {
    device.onuncapturederror = (event) => {
      // Without preventDefault Dawn prints to standard output, which belongs to data.
      event.preventDefault();
      const memory = event.error instanceof GPUOutOfMemoryError;
      const message = event.error.message.trim().replace(/\s*\n[\s-]*/g, ' · ');
      this.captured ??= `${memory ? 'out of GPU memory: ' : ''}${message}`;
    };
    device.lost.then((info) => {
      if (!closing()) this.lost ??= `the GPU device was lost (${info.reason}): ${info.message}`;
    });
  }

  /** Runs native calls. @throws MachineError that begins with `what`, for what the device reports against them. */
  guard<T>(what: string, calls: () => T): T {
    this.throwLost();
    // What came before these calls is not their fault: whoever waits next is told.
    if (this.captured) this.recordingFailed(undefined, this.captured);
    this.captured = undefined;
    const result = calls();
    const message: string | undefined = this.captured;
    this.captured = undefined;
    if (message !== undefined) throw new MachineError(`${what}: ${message}`);
    return result;
  }

  /** Nothing of recording `number` was run. */
  recordingFailed(number: number | undefined, message: string): void {
    this.untold ??= message;
    if (number === undefined) return;
    this.failed.set(number, message);
    if (this.failed.size > REMEMBERED) this.failed.delete(this.failed.keys().next().value!);
  }

  /** Whether what recording `number` wrote first was never computed: why not. */
  whyMissing(number: number): string | undefined {
    return this.failed.size === 0 ? undefined : this.failed.get(number);
  }

  /** @throws MachineError once for recordings that failed, always when the device is lost. */
  throwUntold(): void {
    this.throwLost();
    if (this.captured) this.recordingFailed(undefined, this.captured);
    this.captured = undefined;
    const message = this.untold;
    this.untold = undefined;
    if (message !== undefined) throw new MachineError(message);
  }

  /** @throws MachineError when the device is gone. */
  throwLost(): void {
    if (this.closing()) throw new MachineError('the GPU device was closed');
    if (this.lost !== undefined) throw new MachineError(this.lost);
  }
}
