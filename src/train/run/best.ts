/**
 * Which evaluation was the best so far, which checkpoint holds that model, and whether a run has gone on for too long
 * without a better one (as Hugging Face's trainer and its `EarlyStoppingCallback` define it).
 */
import type { Fields } from '../../files/json-fields.js';

export interface BestSettings {
  /** As it is logged: `eval_…`. */
  readonly metric: string;
  readonly greaterIsBetter: boolean;
  /** The model that is written at the end is that of the best checkpoint. */
  readonly load: boolean;
  /** Evaluations without a better one after which the run stops; null: it does not. */
  readonly patience: number | null;
  /** By how much one must be better to count for `patience`. */
  readonly threshold: number;
}

/** Within `trainer_state.json`: the first three as Hugging Face has them. */
export interface BestState {
  best_metric: number | null;
  best_global_step: number | null;
  /** A folder, from the output folder on. */
  best_model_checkpoint: string | null;
  /** The metric of that checkpoint: a better model may not have been saved. */
  best_checkpoint_metric: number | null;
  /** Evaluations since one was better by the threshold. */
  early_stopping_patience_counter: number;
  /** What was best by these. */
  metric_for_best_model: string | null;
}

/** Of a run that does not ask. */
export const noBest: BestState = {
  best_metric: null,
  best_global_step: null,
  best_model_checkpoint: null,
  best_checkpoint_metric: null,
  early_stopping_patience_counter: 0,
  metric_for_best_model: null,
};

export class BestModel {
  private best: number | null = null;
  private bestStep: number | null = null;
  private checkpoint: string | null = null;
  private checkpointMetric: number | null = null;
  private waited = 0;
  /** Of the newest evaluation, with its step. */
  private newest: { step: number; metric: number } | undefined;

  constructor(private readonly settings: BestSettings) {}

  /** Takes note of an evaluation; without the metric (something was not finite) it is not better. */
  evaluated(step: number, metrics: ReadonlyMap<string, number>): void {
    const metric = metrics.get(this.settings.metric);
    this.newest = metric === undefined ? undefined : { step, metric };
    const { threshold } = this.settings;
    if (metric !== undefined && this.isBetter(metric, this.best, threshold)) this.waited = 0;
    else this.waited++;
    if (metric === undefined || !this.isBetter(metric, this.best)) return;
    this.best = metric;
    this.bestStep = step;
  }

  /** Takes note of a checkpoint, after the evaluation of its step. */
  saved(step: number, name: string): void {
    if (this.newest?.step !== step || !this.isBetter(this.newest.metric, this.checkpointMetric)) return;
    this.checkpoint = name;
    this.checkpointMetric = this.newest.metric;
  }

  /** Name of the checkpoint with the best metric. */
  get bestCheckpoint(): string | undefined {
    return this.checkpoint ?? undefined;
  }

  /** For people: the metric of that checkpoint. */
  get value(): string {
    return `${this.settings.metric} ${this.checkpointMetric === null ? 'none' : Number(this.checkpointMetric.toPrecision(6))}`;
  }

  /** Why the run stops here; undefined: it goes on. */
  get whyStopped(): string | undefined {
    const { metric, patience, threshold } = this.settings;
    if (patience === null || this.waited < patience) return undefined;
    const by = threshold > 0 ? ` by more than ${threshold}` : '';
    return `${metric} was not better than ${this.best}${by} in ${this.waited === 1 ? 'the last evaluation' : `the last ${this.waited} evaluations`}`;
  }

  private get name(): string {
    return `${this.settings.metric} (${this.settings.greaterIsBetter ? 'greater' : 'less'} is better)`;
  }

  private isBetter(metric: number, than: number | null, by = 0): boolean {
    if (than === null) return true;
    return (this.settings.greaterIsBetter ? metric > than : metric < than) && Math.abs(metric - than) > by;
  }

  state(): BestState {
    return {
      best_metric: this.best,
      best_global_step: this.bestStep,
      best_model_checkpoint: this.checkpoint,
      best_checkpoint_metric: this.checkpointMetric,
      early_stopping_patience_counter: this.waited,
      metric_for_best_model: this.name,
    };
  }

  /**
   * Takes up what was the best so far; `located`: the checkpoint of that name as the output folder has it.
   * @returns false where that was by another metric, and nothing is taken up. @throws InputError for what is no such state.
   */
  restore(state: Fields, located: (checkpoint: string) => string = (name) => name): boolean {
    if (state.value('metric_for_best_model') !== this.name) return false;
    const number = (name: string) => (state.value(name) === null ? null : state.number(name));
    this.best = number('best_metric');
    this.bestStep = number('best_global_step');
    this.checkpointMetric = number('best_checkpoint_metric');
    const checkpoint = state.value('best_model_checkpoint');
    if (checkpoint !== null && typeof checkpoint !== 'string')
      throw state.fault('best_model_checkpoint', 'the name of a checkpoint, or null');
    this.checkpoint = checkpoint === null ? null : located(checkpoint);
    this.waited = state.count('early_stopping_patience_counter');
    return true;
  }
}
