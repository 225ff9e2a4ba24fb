/** What became of a step in numbers, and what to say of one after which a run cannot go on. */
import type { RowPlace } from '../../data/rows.js';
import { broadcastJson, type Communicator } from '../../ranks/communicator.js';
import type { LossComponent } from '../../run-record/record.js';
import type { Reduction } from '../ranks/reducer.js';
import { adviceOn, type NotFinite } from './not-finite.js';

export interface StepNumbers {
  /** Of each of this rank's batches. */
  readonly losses: ArrayLike<number>;
  /** Mean over them, and over ranks. */
  readonly loss: number;
  /** Global norm of the gradient before clipping. */
  readonly norm: number;
  readonly skipped: boolean;
  /** The first rank whose loss is not finite. */
  readonly notFinite?: number | undefined;
  readonly reduction?: Reduction | undefined;
  /** Means over this rank's batches, and over ranks, of the parts of the loss that the run tells. */
  readonly parts: LossParts;
  /** Of all ranks' batches. */
  readonly tokens: number;
}

export type LossParts = ReadonlyMap<LossComponent, number>;

export function meanOf(values: ArrayLike<number>): number {
  let mean = 0;
  for (let n = 0; n < values.length; n++) mean += values[n]! / values.length;
  return mean;
}

export interface FailedStep extends Omit<NotFinite, 'rows' | 'weightsFinite'> {
  readonly numbers: StepNumbers;
  /** Of each of this rank's batches. */
  readonly rows: readonly (readonly RowPlace[])[];
  readonly weightsFinite: () => Promise<boolean>;
}

/**
 * What to do after a step that is not finite. With several ranks all of them ask, and all get what the rank finds whose
 * loss it is; or else rank 0.
 */
export async function adviceAfter(
  { numbers, rows, weightsFinite, ...facts }: FailedStep,
  communicator: Communicator | undefined,
): Promise<string> {
  const places: RowPlace[] = [];
  rows.forEach((ofBatch, n) => {
    // Those of a batch that is not finite, else some of all.
    if (!Number.isFinite(numbers.losses[n]!)) places.unshift(...ofBatch);
    else if (places.length < ofBatch.length) places.push(...ofBatch);
  });
  // Ranks may have to ask each other.
  const finite = await weightsFinite();
  const own = () => adviceOn({ ...facts, rows: places, weightsFinite: finite });
  if (!communicator || communicator.size === 1) return own();
  const { notFinite } = numbers;
  const root = notFinite ?? 0;
  const advice = await broadcastJson(communicator, communicator.rank === root ? own() : '', root);
  return notFinite === undefined ? advice : `the loss is that of rank ${notFinite}: ${advice}`;
}
