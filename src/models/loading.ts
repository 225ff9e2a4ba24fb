/** Signs (progress.ts) of how many bytes of a model's weights, as f32, have been read and given to the device. */
import type { Parameter } from '../autograd/parameter.js';
import { progress } from '../progress.js';
import { sizeOf } from '../tensor/shape.js';

export class Loading {
  private done = 0;
  private readonly total: number;

  /** `subject`: the model's folder. What is read once is told of these parameters. */
  constructor(
    parameters: readonly Parameter[],
    private readonly subject: string,
  ) {
    this.total = 4 * parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    this.tell();
  }

  /** Elements that have been read. */
  read(elements: number): void {
    this.done += 4 * elements;
    this.tell();
  }

  private tell(): void {
    const { done, total, subject } = this;
    progress({ phase: 'load', done, total, unit: 'bytes', subject });
  }
}
