/** The memory of tensors, counted by its handles: tensors, views of them, and what the tape keeps for gradients. */
import { MachineError } from '../errors.js';
import type { Gpu, PoolBuffer } from '../gpu/gpu.js';

export class Storage {
  references = 1;

  constructor(
    readonly gpu: Gpu,
    readonly entry: PoolBuffer,
  ) {}

  retain(): void {
    if (this.references === 0) throw new MachineError('use of a tensor that was already freed');
    this.references++;
  }

  release(): void {
    if (--this.references > 0) return;
    this.gpu.live?.freed(this);
    this.gpu.pool.release(this.entry);
  }
}

/**
 * What language and console do with a tensor. These members stand in a class of their own, since operations are declared as
 * methods of `Tensor` from elsewhere (`src/autograd/methods.ts`): of a class with such declarations the compiler sees
 * members that are named by symbols or does not, as it comes by.
 */
export abstract class Handle {
  abstract dispose(): void;
  abstract toString(): string;

  /** `using x = …` disposes of it where the block ends. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** What `console.log` shows: `toString`, and no value, which would have to be waited for (`print`). */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}
