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
