/**
 * An event file that a run appends to: whatever kills the run, TensorBoard reads the records before. Tags are those of
 * Hugging Face's callback: `train/loss`, `eval/loss`, texts under `args`.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { writingFault } from '../../files/reason.js';
import { scalarsEvent, textEvent, tfRecord, versionEvent } from './event-format.js';

const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');

/** `Nov27_10-41-50_host`, as Hugging Face names the folder of a run in `runs/`. */
export function runFolderName(now: Date, host = os.hostname()): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const clock = [now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join('-');
  return `${MONTHS[now.getMonth()]}${two(now.getDate())}_${clock}_${host.replace(/[^\w.-]/g, '_')}`;
}

export class EventFile {
  readonly path: string;
  private readonly descriptor: number;

  /** @throws InputError, MachineError when the file cannot be made. */
  constructor(folder: string) {
    const seconds = Math.floor(Date.now() / 1000);
    const host = os.hostname().replace(/[^\w.-]/g, '_');
    this.path = path.join(folder, `events.out.tfevents.${seconds}.${host}.${process.pid}.0`);
    try {
      fs.mkdirSync(folder, { recursive: true });
      this.descriptor = fs.openSync(this.path, 'ax');
    } catch (error) {
      throw writingFault(this.path, 'cannot write', error);
    }
    this.append(versionEvent(Date.now() / 1000));
  }

  scalars(step: number, values: ReadonlyMap<string, number>): void {
    if (values.size > 0) this.append(scalarsEvent(Date.now() / 1000, step, values));
  }

  text(step: number, tag: string, markdown: string): void {
    this.append(textEvent(Date.now() / 1000, step, tag, markdown));
  }

  close(): void {
    fs.closeSync(this.descriptor);
  }

  private append(event: Uint8Array): void {
    try {
      fs.writeFileSync(this.descriptor, tfRecord(event));
    } catch (error) {
      throw writingFault(this.path, 'cannot write', error);
    }
  }
}

/**
 * Tags of an entry of the log: what begins with `eval_` under `eval/`, all else under `train/`. Texts and the step itself
 * are no scalars.
 */
export function scalarsOf(entry: Readonly<Record<string, number | string>>): Map<string, number> {
  const scalars = new Map<string, number>();
  for (const [name, value] of Object.entries(entry))
    if (name !== 'step' && typeof value === 'number')
      scalars.set(name.startsWith('eval_') ? `eval/${name.slice('eval_'.length)}` : `train/${name}`, value);
  return scalars;
}
