/** From when on the record of a run is kept: what was told before its first step is in it, and how the run ended. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { LogEntry, Reporter } from '../../console/reporter.js';
import { InputError } from '../../errors.js';
import type { CommandLine } from '../../flags.js';
import type { MemoryReport } from '../../gpu/memory.js';
import type { Communicator } from '../../ranks/communicator.js';
import { readRunRecord } from '../../run-record/read.js';
import { RUN_RECORD_FILE, type RunRecord } from '../../run-record/record.js';
import type { OpenCheckpoint } from '../checkpoints/training-state.js';
import type { RunInputs } from '../run/inputs.js';
import type { TrainingRun } from '../run/run.js';
import { dataSummary } from './data-summary.js';
import { environmentOf, modelSummary } from './environment.js';
import { RunEvents } from './events.js';
import { RunRecorder } from './recorder.js';
import { settingsOf } from './settings.js';

export interface RecordedRun {
  readonly run: TrainingRun;
  readonly inputs: RunInputs;
  /** What the longest step takes. */
  readonly memory: MemoryReport;
  /** That the run goes on from. */
  readonly checkpoint: OpenCheckpoint | undefined;
  readonly ranks: Communicator;
  readonly commandLine: CommandLine | undefined;
}

export class RunRecording {
  private lines: string[] = [];
  private recorder: RunRecorder | undefined;
  private events: RunEvents | undefined;
  private note: (line: string) => void = () => {};

  /** `kept`: whether there is a record; `told`: whether there are events. */
  constructor(
    private readonly kept: boolean,
    private readonly told: boolean,
  ) {}

  /** The same reporter, whose notes are in the record too, and its log among the events. */
  listening(report: Reporter): Reporter {
    if (!this.kept && !this.told) return report;
    this.note = (line) => report.note(line);
    const note = (line: string) => {
      if (this.recorder) this.recorder.notice(line);
      else this.lines.push(line);
      report.note(line);
    };
    const log = (entry: LogEntry) => {
      this.events?.logged(entry);
      report.log(entry);
    };
    return new Proxy(report, {
      get(target, name) {
        if (name === 'note') return note;
        if (name === 'log') return log;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  /** All is known that there is before the first step. Undefined where neither is kept. */
  begin({ run, inputs, memory, checkpoint, ranks, commandLine }: RecordedRun): RunRecorder | undefined {
    if (!this.kept && !this.told) return undefined;
    const { plan, sources } = inputs;
    const { gpu } = run.model;
    const settings = settingsOf(plan.args, sources, commandLine);
    if (this.told) this.events = new RunEvents(plan.args, settings, this.note);
    this.recorder = new RunRecorder({
      ...{ plan, gpu, memory, note: this.note },
      ...{ settings, kept: this.kept, events: this.events },
      data: dataSummary(inputs),
      environment: environmentOf(gpu, ranks.size),
      model: modelSummary(run.model, plan.args),
      notices: this.lines,
      from: run.completed,
      earlier: checkpoint && this.recordIn(checkpoint.folder),
    });
    this.recorder.write();
    return this.recorder;
  }

  end(status: 'stopped' | 'finished' | 'failed', reason: string | null = null): void {
    this.recorder?.end(status, reason);
    this.recorder?.write();
    this.events?.close();
  }

  /** Of a checkpoint; undefined where there is none that can be read, which is no reason not to go on from there. */
  private recordIn(folder: string): RunRecord | undefined {
    if (!existsSync(path.join(folder, RUN_RECORD_FILE))) return undefined;
    try {
      return readRunRecord(folder);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      this.note(`the record of the run begins anew: ${error.message}`);
      return undefined;
    }
  }
}
