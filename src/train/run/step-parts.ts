/**
 * The parts of the loss of each batch of a step, beside the loss itself in the tensor of numbers that the step reads back
 * once: each is copied there while the batch goes forward, and no one waits for it.
 */
import type { LossComponent } from '../../run-record/record.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { M3LossParts } from '../losses/m3-loss.js';
import type { LossParts } from './step-outcome.js';

const OF_HEADS: readonly LossComponent[] = ['dense', 'sparse', 'colbert', 'ensemble'];

export class StepParts {
  private readonly names: readonly LossComponent[];
  /** Of each batch so far, the parts that it has: self-distillation begins with a later one. */
  private present: ReadonlySet<LossComponent>[] = [];

  /** `first`: index of the first part in the numbers. A loss of one score has no parts. */
  constructor(
    private readonly window: number,
    private readonly first: number,
    unified: boolean,
    selfDistils: boolean,
  ) {
    this.names = unified ? [...OF_HEADS, ...(selfDistils ? (['distillation'] as const) : [])] : [];
  }

  /** Numbers that they take. */
  get size(): number {
    return this.window * this.names.length;
  }

  /** Copies those of the batch that is the `batch`-th of its step into `numbers`. */
  gather(numbers: Tensor, batch: number, { hybrid, ...parts }: M3LossParts): void {
    const own = { ...parts, ensemble: hybrid };
    const present = new Set<LossComponent>();
    for (const [n, name] of this.names.entries()) {
      const part = own[name];
      if (!part) continue;
      numbers.copyFrom(part, this.first + n * this.window + batch);
      present.add(name);
    }
    this.present[batch] = present;
  }

  /** The next batch is the first of a step. */
  clear(): void {
    this.present = [];
  }

  /** What takes the means over the batches so far from the numbers, once those are read. */
  reading(): (numbers: Float32Array) => LossParts {
    const { present, names, first, window } = this;
    return (numbers) => {
      const means = new Map<LossComponent, number>();
      for (const [n, name] of names.entries()) {
        const values = present.flatMap((parts, batch) =>
          parts.has(name) ? [numbers[first + n * window + batch]!] : [],
        );
        if (values.length > 0) means.set(name, values.reduce((sum, value) => sum + value, 0) / values.length);
      }
      return means;
    };
  }
}
