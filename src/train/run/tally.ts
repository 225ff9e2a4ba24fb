/**
 * What a run has really done, beside what it was asked for: steps that were applied and steps that overflowed, rates of
 * 0, evaluations whose loss was finite. A run that trained nothing must not end like one that did.
 */
import { placeName, type RowPlace } from '../../data/rows.js';
import { MachineError } from '../../errors.js';
import type { Fields } from '../../files/json-fields.js';

export interface TallyState {
  readonly applied: number;
  readonly skipped: number;
  readonly without_rate: number;
  readonly without_gradient: number;
  /** Of the last checkpoint that was due, or null. */
  readonly saved: { readonly step: number; readonly applied: number } | null;
  readonly evaluations: number;
  readonly evaluations_not_finite: number;
}

export class RunTally {
  /** Steps that changed the weights, or would have at another rate: what the schedule counts. */
  applied = 0;
  /** Steps whose gradients overflowed. */
  skipped = 0;
  private withoutRate = 0;
  private withoutGradient = 0;
  private lastSave: { readonly step: number; readonly applied: number } | null = null;
  private evaluations = 0;
  private unfinishedEvaluations = 0;

  /** As JSON, for checkpoints. */
  state(): TallyState {
    return {
      applied: this.applied,
      skipped: this.skipped,
      without_rate: this.withoutRate,
      without_gradient: this.withoutGradient,
      saved: this.lastSave,
      evaluations: this.evaluations,
      evaluations_not_finite: this.unfinishedEvaluations,
    };
  }

  /** Of the checkpoint of `step`. @throws InputError for what is no such state. */
  restore(state: Fields, step: number): void {
    this.applied = state.count('applied');
    this.skipped = state.count('skipped');
    if (this.applied + this.skipped !== step)
      throw state.fault('applied', `so that with "skipped" it is ${step}`);
    this.withoutRate = state.count('without_rate');
    this.withoutGradient = state.count('without_gradient');
    this.evaluations = state.count('evaluations');
    this.unfinishedEvaluations = state.count('evaluations_not_finite');
    this.lastSave = null;
    if (state.value('saved') === null) return;
    const saved = state.fields('saved');
    this.lastSave = { step: saved.count('step'), applied: saved.count('applied') };
  }

  /** `norm`: of the gradient. */
  step(skipped: boolean, rate: number, norm: number): void {
    if (skipped) this.skipped++;
    else {
      this.applied++;
      if (Math.fround(rate) === 0) this.withoutRate++;
      if (norm === 0) this.withoutGradient++;
    }
  }

  /** Whether some applied step had a learning rate above 0: before that the weights are those of the start. */
  get moved(): boolean {
    return this.applied > this.withoutRate;
  }

  /** Whether the weights are those of the last checkpoint, or of the start. */
  get nothingNew(): boolean {
    return this.applied === (this.lastSave?.applied ?? 0);
  }

  /** For people, why a checkpoint that is due has nothing to hold. */
  get whyNothingNew(): string {
    const since = this.lastSave === null ? 'so far' : `since checkpoint-${this.lastSave.step}`;
    return `every step ${since} overflowed and was skipped`;
  }

  /** A checkpoint that is due is being written, which holds this note already. */
  saved(step: number): void {
    this.lastSave = { step, applied: this.applied };
  }

  evaluated({ batches, notFinite }: { readonly batches: number; readonly notFinite: number }): void {
    this.evaluations++;
    if (notFinite > 0 || batches === 0) this.unfinishedEvaluations++;
  }

  /** @throws MachineError when no step was applied: then there is nothing to save. */
  requireApplied(lossScale: number): void {
    if (this.applied > 0) return;
    throw new MachineError(
      `no step was applied: the gradients of ${this.skipped === 1 ? 'the only step' : `all ${this.skipped} steps`} overflowed f16 (loss scale ${lossScale} now); ` +
        'nothing is saved; begin with a lower loss scale, take more steps, or train without --fp16',
    );
  }

  /** Where the run did less than was asked, one line each. */
  notices(): string[] {
    const steps = this.applied + this.skipped;
    const lines: string[] = [];
    if (this.skipped > 0)
      lines.push(
        `${this.skipped} of ${steps} steps overflowed and were skipped: ${this.applied} were applied`,
      );
    const everyStep =
      this.applied === 1 ? 'the one step that was applied' : `all ${this.applied} steps that were applied`;
    if (this.applied > 0 && !this.moved)
      lines.push(`the learning rate was 0 in ${everyStep}: nothing was learnt`);
    else if (this.applied > 0 && this.withoutGradient === this.applied)
      lines.push(`the gradient was 0 in ${everyStep}: nothing was learnt`);
    if (this.unfinishedEvaluations > 0)
      lines.push(
        `${this.unfinishedEvaluations} of ${this.evaluations} evaluations had a loss that is not finite`,
      );
    return lines;
  }
}

/** A few places of rows for a message. */
export function placesOf(rows: readonly RowPlace[], most = 4): string {
  const shown = rows.slice(0, most).map(placeName).join(', ');
  return `${shown}${rows.length > most ? ` and ${rows.length - most} more rows` : ''}`;
}
