/** TensorBoard's event file of a run (`--report_to`, `--logging_dir`): what the log has, the parts of the loss, the settings. */
import path from 'node:path';
import type { LogEntry } from '../../console/reporter.js';
import { InputError, MachineError } from '../../errors.js';
import type { LossComponent, Setting } from '../../run-record/record.js';
import { EventFile, runFolderName, scalarsOf } from '../../run-record/tensorboard/event-file.js';
import type { FinetuneArguments } from '../arguments.js';
import type { TakenStep } from '../run/step.js';

export class RunEvents {
  /** Made with the first record: a run without a step leaves none. */
  private file: EventFile | undefined;
  /** Why nothing is written any more. */
  private fault: string | undefined;
  private step = 0;
  private tokens = 0;
  private seconds = 0;
  private readonly parts = new Map<LossComponent, { sum: number; count: number }>();

  /** `note`: told once, when the file cannot be written. */
  constructor(
    private readonly args: FinetuneArguments,
    private readonly settings: readonly Setting[],
    private readonly note: (line: string) => void,
  ) {}

  /** For the means that go with the next entry of the log. */
  taken({ number, skipped, parts, tokens, seconds }: TakenStep): void {
    this.step = number;
    this.tokens += tokens;
    this.seconds += seconds;
    if (skipped) return;
    for (const [name, value] of parts) {
      const own = this.parts.get(name) ?? { sum: 0, count: 0 };
      this.parts.set(name, { sum: own.sum + value, count: own.count + 1 });
    }
  }

  logged(entry: LogEntry): void {
    const scalars = scalarsOf(entry);
    if (entry['learning_rate'] !== undefined) {
      for (const [name, { sum, count }] of this.parts) scalars.set(`train/${name}_loss`, sum / count);
      if (this.seconds > 0) scalars.set('train/tokens_per_second', this.tokens / this.seconds);
      this.parts.clear();
      this.tokens = this.seconds = 0;
    }
    const { step } = entry;
    this.write((file) => file.scalars(typeof step === 'number' ? step : this.step, scalars));
  }

  close(): void {
    this.file?.close();
    this.file = undefined;
  }

  private write(to: (file: EventFile) => void): void {
    if (this.fault !== undefined) return;
    try {
      this.file ??= this.begin();
      to(this.file);
    } catch (error) {
      if (!(error instanceof MachineError || error instanceof InputError)) throw error;
      this.fault = error.message;
      this.note(`TensorBoard's events are written no more: ${error.message}`);
    }
  }

  private begin(): EventFile {
    const { loggingDir, outputDir } = this.args;
    const file = new EventFile(loggingDir ?? path.join(outputDir, 'runs', runFolderName(new Date())));
    const rows = this.settings.map(({ name, value, origin }) => `| ${name} | ${cell(value)} | ${origin} |`);
    file.text(this.step, 'args', ['| flag | value | from |', '| --- | --- | --- |', ...rows].join('\n'));
    return file;
  }
}

/** As JSON, in which nothing is Markdown. */
function cell(value: unknown): string {
  return JSON.stringify(value).replace(/[\\`*_{}[\]<>()#+!|~]/g, '\\$&');
}
