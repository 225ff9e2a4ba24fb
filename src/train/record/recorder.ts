/**
 * Keeps the record of a run (run-record/record.ts) while it trains, and writes it: into the output folder at saves, at
 * evaluations, every half minute and at the end, and into each checkpoint as it is then, from which a run that goes on
 * takes it up. What grows with the steps is thinned. A record that cannot be written is no reason to lose a run.
 */
import path from 'node:path';
import type { TrainBatch, TrainingData } from '../../data/batches.js';
import { writeFileAtomic } from '../../files/atomic.js';
import type { Gpu } from '../../gpu/gpu.js';
import type { MemoryReport } from '../../gpu/memory.js';
import { beatThrough } from '../../ranks/heartbeat.js';
import { REPORT_FILE, writeRunPage } from '../../report/report.js';
import { Columns } from '../../run-record/columns.js';
import {
  type Column,
  type DataSummary,
  type Environment,
  type EvaluationPoint,
  LOSS_COMPONENTS,
  type LossComponent,
  type MemoryByPurpose,
  type MemoryPoint,
  type ModelSummary,
  RUN_RECORD_FILE,
  RUN_RECORD_FORMAT,
  type RunRecord,
  type Session,
  type Setting,
  type StepColumns,
} from '../../run-record/record.js';
import { printable } from '../../show.js';
import type { RunPlan } from '../run/plan.js';
import type { TrainingRun } from '../run/run.js';
import type { RunBatch, TakenStep } from '../run/step.js';
import type { RunEvents } from './events.js';
import { RetrievalBeforeAndAfter } from './retrieval.js';

/** Of lists that grow, even: above it every second is left out, and of notices those in the middle. */
const MOST_MEMORY_POINTS = 256;
const MOST_EVALUATIONS = 1024;
const MOST_NOTICES = 400;
const MOST_SESSIONS = 200;
/** Longer lines are cut. */
const NOTICE_CHARACTERS = 500;
const WRITE_SECONDS = 30;

/** What is known before the first step. */
export interface RunFacts {
  readonly plan: RunPlan;
  readonly settings: readonly Setting[];
  readonly data: DataSummary;
  readonly environment: Environment;
  readonly model: ModelSummary;
  /** What the longest step takes. */
  readonly memory: MemoryReport;
  readonly gpu: Gpu;
  /** Told before. */
  readonly notices: readonly string[];
  /** Steps that the run has taken. */
  readonly from: number;
  /** The record of them, where the checkpoint has one. */
  readonly earlier: RunRecord | undefined;
  /** False: no record is written, but events are. */
  readonly kept: boolean;
  readonly events: RunEvents | undefined;
  /** For what concerns the record itself. */
  readonly note: (line: string) => void;
}

export class RunRecorder {
  private retrieval: RetrievalBeforeAndAfter | undefined;
  private columns: Columns;
  private sessions: Session[];
  private memory: MemoryPoint[] = [];
  private evaluations: EvaluationPoint[] = [];
  private notices: string[];
  private status: RunRecord['status'] = 'running';
  private reason: string | null = null;
  private readonly began = performance.now();
  private written = Number.NEGATIVE_INFINITY;
  /** Files that are written no more. */
  private readonly faults = new Set<string>();

  constructor(private readonly facts: RunFacts) {
    const { notices, from, earlier } = facts;
    this.notices = [...(earlier?.notices ?? [])];
    // A process that goes on tells what the one before it told: the adapter, flags without effect.
    for (const line of notices) if (!this.notices.includes(line)) this.notice(line);
    this.sessions = [...(earlier?.sessions ?? [])];
    this.sessions.push({ started: new Date().toISOString(), from_step: from, to_step: from, seconds: 0 });
    if (this.sessions.length > MOST_SESSIONS) this.sessions.splice(1, this.sessions.length - MOST_SESSIONS);
    this.columns = earlier && earlier.step === from ? restored(earlier.steps) : new Columns(from);
    this.memory = [...(earlier?.memory.points ?? [])];
    this.evaluations = [...(earlier?.evaluations ?? [])];
  }

  /** Ranks the examples of `--eval_data` before the first step, or takes up what an earlier process found then. */
  async rankBefore(
    run: TrainingRun,
    data: TrainingData | undefined,
    prepare: (batch: TrainBatch) => Promise<RunBatch>,
  ): Promise<void> {
    const { from, earlier } = this.facts;
    this.retrieval = this.facts.kept && data ? RetrievalBeforeAndAfter.of(data, prepare) : undefined;
    if (from === 0) await beatThrough(() => this.retrieval?.rankBefore(run));
    else if (earlier?.retrieval) this.retrieval?.restoreBefore(earlier.retrieval);
  }

  async rankAfter(run: TrainingRun): Promise<void> {
    await this.retrieval?.rankAfter(run);
  }

  notice(line: string): void {
    this.notices.push(
      line.length > NOTICE_CHARACTERS ? `${line.slice(0, NOTICE_CHARACTERS).toWellFormed()} …` : line,
    );
    if (this.notices.length > MOST_NOTICES) this.notices.splice(MOST_NOTICES / 2, 1);
  }

  step(taken: TakenStep): void {
    const { number, loss, norm, learningRate, lossScale, skipped, parts, tokens, seconds } = taken;
    const memory = this.facts.gpu.memory();
    this.facts.events?.taken(taken);
    const half = this.facts.plan.precision === 'f16';
    this.columns.add({
      ...{ learning_rate: learningRate, tokens, seconds, tokens_per_second: tokens / seconds },
      ...(half ? { loss_scale: lossScale } : {}),
      // What a step came to that was skipped says nothing of the model.
      ...(skipped ? { skipped: 1 } : { loss, grad_norm: norm, ...Object.fromEntries(parts) }),
    });
    const last = this.memory.at(-1);
    if (!last || memory.peak > last.peak)
      this.memory.push({ step: number, peak: memory.peak, by_purpose: byPurpose(memory) });
    if (this.memory.length > MOST_MEMORY_POINTS) this.memory = thinned(this.memory);
    this.progressed(number);
  }

  /** What was due after the newest step is done. */
  betweenSteps(): void {
    if (performance.now() - this.written > 1000 * WRITE_SECONDS) this.write();
  }

  evaluated(step: number, epoch: number, metrics: ReadonlyMap<string, number>): void {
    const finite = [...metrics].flatMap(([name, value]) =>
      Number.isFinite(value) ? [[name, Number(value.toPrecision(6))]] : [],
    );
    this.evaluations.push({ step, epoch: Number(epoch.toFixed(4)), metrics: Object.fromEntries(finite) });
    if (this.evaluations.length > MOST_EVALUATIONS) this.evaluations = thinned(this.evaluations);
  }

  /** How the process ends; `reason` where that was not meant. */
  end(status: 'stopped' | 'finished' | 'failed', reason: string | null = null): void {
    this.status = status;
    this.reason = reason;
    this.progressed(this.columns.step);
  }

  private progressed(step: number): void {
    const { started, from_step: from } = this.sessions.at(-1)!;
    const seconds = Number(((performance.now() - this.began) / 1000).toFixed(3));
    this.sessions[this.sessions.length - 1] = { started, from_step: from, to_step: step, seconds };
  }

  record(): RunRecord {
    const { facts, columns, status, reason, retrieval } = this;
    const { plan, memory, gpu } = facts;
    const { budget } = gpu.pool;
    return {
      format: RUN_RECORD_FORMAT,
      ...{ status, reason, step: columns.step, total_steps: plan.totalSteps },
      epoch: Number(plan.epochsAfter(columns.step).toFixed(4)),
      updated: new Date().toISOString(),
      sessions: this.sessions,
      plan: plan.describe(),
      settings: facts.settings,
      steps: stepColumns(columns, plan.precision === 'f16'),
      memory: {
        planned: { peak: memory.peak, by_purpose: byPurpose(memory) },
        budget: budget < Number.MAX_SAFE_INTEGER ? budget : null,
        points: this.memory,
      },
      evaluations: this.evaluations,
      data: facts.data,
      retrieval: retrieval?.result() ?? null,
      ...{ environment: facts.environment, model: facts.model, notices: this.notices },
    };
  }

  /** For a checkpoint of the newest step; undefined where none is kept. */
  text(): string | undefined {
    return this.facts.kept ? textOf(this.record()) : undefined;
  }

  /** Into the run's output folder, with the page that people read. */
  write(): void {
    this.written = performance.now();
    if (!this.facts.kept) return;
    const { outputDir } = this.facts.plan.args;
    const record = this.record();
    this.attempt(RUN_RECORD_FILE, (file) => writeFileAtomic(file, textOf(record)));
    this.attempt(REPORT_FILE, () => writeRunPage(outputDir, record));
  }

  /** A file that could not be written is told of once, and not tried again. */
  private attempt(name: string, write: (file: string) => void): void {
    if (this.faults.has(name)) return;
    const file = path.join(this.facts.plan.args.outputDir, name);
    try {
      write(file);
    } catch (error) {
      // Whatever is wrong with a report, the run goes on.
      this.faults.add(name);
      const reason = error instanceof Error ? error.message : String(error);
      this.facts.note(`${printable(file)} is written no more: ${reason}`);
    }
  }
}

const textOf = (record: RunRecord): string => `${JSON.stringify(record)}\n`;

const byPurpose = ({ peakByPurpose }: MemoryReport): MemoryByPurpose => ({ ...peakByPurpose });

/** Every second of an odd number, so that the first and the newest are among them. */
function thinned<T>(list: readonly T[]): T[] {
  return list.filter((_, n) => n % 2 === 0);
}

function stepColumns(columns: Columns, half: boolean): StepColumns {
  const all = new Map(columns);
  const column = (name: string): Column => all.get(name) ?? columns.get(name);
  const components = Object.fromEntries(
    LOSS_COMPONENTS.flatMap((name): [LossComponent, Column][] =>
      all.has(name) ? [[name, column(name)]] : [],
    ),
  );
  return {
    ...{ from: columns.from, stride: columns.stride, step: columns.steps() },
    ...{ loss: column('loss'), components, learning_rate: column('learning_rate') },
    grad_norm: column('grad_norm'),
    ...(half ? { loss_scale: column('loss_scale'), skipped: columns.counts('skipped') } : {}),
    ...{
      tokens: column('tokens'),
      seconds: column('seconds'),
      tokens_per_second: column('tokens_per_second'),
    },
  };
}

function restored({ from, stride, step, components, skipped, ...columns }: StepColumns): Columns {
  const all = new Map<string, Column>();
  for (const [name, column] of [...Object.entries(columns), ...Object.entries(components)])
    if (column) all.set(name, column);
  if (skipped?.some((count) => count > 0))
    all.set('skipped', { mean: skipped.map((count) => (count > 0 ? 1 : null)), count: skipped });
  return Columns.restore({ from, stride, step }, all);
}
