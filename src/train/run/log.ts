/** The run's log: what is told after steps, evaluations and at the end, and the state that `trainer_state.json` keeps. */

import type { LogEntry, Reporter } from '../../console/reporter.js';
import type { Fields } from '../../files/json-fields.js';
import { show } from '../../show.js';
import { BestModel, type BestState, noBest } from './best.js';
import type { Evaluation } from './evaluation.js';
import type { RunPlan } from './plan.js';
import type { TakenStep } from './step.js';

/** `trainer_state.json`, with Hugging Face's keys. */
export interface TrainerState extends BestState {
  global_step: number;
  epoch: number;
  max_steps: number;
  num_train_epochs: number;
  train_batch_size: number;
  logging_steps: number;
  save_steps: number;
  seed: number;
  log_history: LogEntry[];
}

export interface LogMeans {
  readonly since_log: { readonly sum: number; readonly count: number };
  readonly in_all: { readonly sum: number; readonly count: number };
}

export class RunLog {
  readonly state: TrainerState;
  /** Undefined where nobody asks which model is best. */
  readonly best: BestModel | undefined;
  /** Step at which this process began. */
  private first = 0;
  private readonly sinceLog = new Mean();
  private readonly inAll = new Mean();

  constructor(
    private readonly plan: RunPlan,
    private readonly report: Reporter,
  ) {
    const { args } = plan;
    if (plan.best) this.best = new BestModel(plan.best);
    this.state = {
      global_step: 0,
      epoch: 0,
      max_steps: plan.totalSteps,
      num_train_epochs: args.numTrainEpochs,
      train_batch_size: args.perDeviceTrainBatchSize,
      logging_steps: plan.loggingSteps,
      save_steps: plan.saveSteps,
      seed: args.seed,
      ...noBest,
      log_history: [],
    };
  }

  /** As JSON; the entries are in `trainer_state.json`. */
  means(): LogMeans {
    return { since_log: this.sinceLog.state(), in_all: this.inAll.state() };
  }

  /**
   * Goes on after a step of an earlier process: its entries and means, and what was the best. `located`: the checkpoint
   * of a name as the output folder has it; null: what was the best then does not compare with what will be.
   * @throws InputError for what is none.
   */
  restore(
    step: number,
    means: Fields,
    history: Fields,
    located: ((checkpoint: string) => string) | null = (name) => name,
  ): void {
    this.sinceLog.restore(means.fields('since_log'));
    this.inAll.restore(means.fields('in_all'));
    this.state.log_history = history.list('log_history').map((entry) => {
      const values = entry.names().map((name): [string, number | string] => {
        const value = entry.value(name);
        if (typeof value !== 'number' && typeof value !== 'string')
          throw entry.fault(name, 'a number or a text');
        return [name, value];
      });
      return Object.fromEntries(values);
    });
    if (this.best && !(located && this.best.restore(history, located))) {
      const metric = history.value('metric_for_best_model');
      const why = located ? `until then it was by ${show(metric)}` : 'until then other rows were evaluated';
      this.report.note(
        `the best model is that of the evaluations after step ${step}: ${metric === null ? 'until then nobody asked' : why}`,
      );
    }
    this.noteBest();
    this.first = this.state.global_step = step;
    this.state.epoch = this.plan.epochsAfter(step);
  }

  start(lossScale: number): void {
    this.report.start(this.plan.totalSteps, this.state.global_step);
    if (this.state.global_step > 0) return;
    if (this.plan.precision === 'f16') this.add({ event: 'loss_scale', loss_scale: lossScale, step: 0 });
  }

  /** `memoryBytes`: that the device holds after it. */
  step(
    { number, loss, norm, learningRate, lossScale, event, tokens }: TakenStep,
    memoryBytes?: number,
  ): void {
    const { plan, state } = this;
    state.global_step = number;
    state.epoch = plan.epochsAfter(number);
    if (event) this.add({ ...event, step: number });
    for (const mean of [this.sinceLog, this.inAll]) mean.add(loss);
    this.report.step(number, loss, { tokens, memoryBytes });
    if (!plan.logsAt(number)) return;
    this.add({
      ...(this.sinceLog.count > 0 ? { loss: round(this.sinceLog.value, 4) } : {}),
      ...(Number.isFinite(norm) ? { grad_norm: round(norm, 6) } : {}),
      learning_rate: learningRate,
      ...(plan.precision === 'f16' ? { loss_scale: lossScale } : {}),
      epoch: round(state.epoch, 4),
      step: number,
    });
    this.sinceLog.reset();
  }

  /** Whether there was an evaluation after the newest step, in this process or in an earlier one. */
  get evaluated(): boolean {
    const { global_step: step, log_history: entries } = this.state;
    return entries.some(
      (entry) => entry['step'] === step && Object.keys(entry).some((key) => /^eval_/.test(key)),
    );
  }

  evaluation(evaluation: Evaluation): void {
    const { loss, batches, notFinite } = evaluation;
    const { global_step: step, epoch } = this.state;
    for (const line of evaluation.notices(step)) this.report.note(line);
    const metrics = evaluation.metrics();
    // Before the first step there is nothing to be better than.
    if (step > 0) this.best?.evaluated(step, metrics);
    this.noteBest();
    this.add({
      ...(loss === undefined ? { eval_batches: batches, eval_batches_not_finite: notFinite } : {}),
      ...Object.fromEntries([...metrics].map(([name, value]) => [name, round(value, 4)])),
      epoch: round(epoch, 4),
      step,
    });
  }

  /** A checkpoint of the newest step is being written, which holds this note already. */
  saves(name: string): void {
    this.best?.saved(this.state.global_step, name);
    this.noteBest();
  }

  private noteBest(): void {
    if (this.best) Object.assign(this.state, this.best.state());
  }

  end(seconds: number): void {
    this.add({
      train_runtime: round(seconds, 2),
      train_steps_per_second: round((this.state.global_step - this.first) / seconds, 4),
      ...(this.inAll.count > 0 ? { train_loss: round(this.inAll.value, 4) } : {}),
      epoch: round(this.state.epoch, 4),
    });
  }

  private add(entry: LogEntry): void {
    this.state.log_history.push({ ...entry, step: this.state.global_step });
    this.report.log(entry);
  }
}

/** Of what is finite: the loss of a step that overflowed and was skipped says nothing. */
class Mean {
  private sum = 0;
  count = 0;

  add(value: number): void {
    if (!Number.isFinite(value)) return;
    this.sum += value;
    this.count++;
  }

  state(): { sum: number; count: number } {
    return { sum: this.sum, count: this.count };
  }

  restore(state: Fields): void {
    this.sum = state.number('sum');
    this.count = state.count('count');
  }

  get value(): number {
    return this.sum / this.count;
  }

  reset(): void {
    this.sum = this.count = 0;
  }
}

export const round = (value: number, digits: number) => Number(value.toFixed(digits));
