/** AdamW over a parameter store: fused update, global-norm clipping, no readback on the way. */
import type { Parameter, ParameterStore } from '../autograd/parameters.js';
import { type AdamWSettings, adamW, adamWRows, clipFactor, globalNorm } from '../kernels/adamw.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

export interface AdamWOptions {
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  /** Gradients are clipped to this global norm; 0: no clipping. */
  maxGradNorm: number;
}

export class AdamW {
  /** Updates done. */
  steps = 0;
  private readonly moments: { m: Tensor; v: Tensor } | undefined;
  private readonly tableMoments = new Map<Parameter, { m: Tensor; v: Tensor }>();

  constructor(
    private readonly store: ParameterStore,
    private readonly options: AdamWOptions,
  ) {
    const zeros = (shape: readonly number[]) => Tensor.zeros(store.gpu, shape, 'f32', 'optimizer').keep();
    if (store.weights) this.moments = { m: zeros(store.weights.shape), v: zeros(store.weights.shape) };
    for (const table of store.tables)
      this.tableMoments.set(table, { m: zeros(table.shape), v: zeros(table.shape) });
  }

  /**
   * One update with the gradients in the store times `scale` (1/micro-batches), then clears them. Returns the
   * global norm [1] before clipping, to be read only when it is logged; the caller disposes of it.
   */
  step(learningRate: number, scale = 1): Tensor {
    const { store, options } = this;
    const settings = (decay: boolean): AdamWSettings => ({
      step: this.steps,
      learningRate,
      beta1: options.beta1,
      beta2: options.beta2,
      eps: options.eps,
      weightDecay: decay ? options.weightDecay : 0,
    });
    this.steps++;
    const norm = scope(() => {
      const rows = store.tables.map((table) => ({ table, gradient: store.mergedRows(table) }));
      const sources = [
        ...(store.gradients ? [store.gradients] : []),
        ...rows.flatMap(({ gradient }) => (gradient ? [gradient.values] : [])),
      ];
      if (sources.length === 0) return Tensor.zeros(store.gpu, [1]);
      const { factor, norm } = clipFactor(globalNorm(sources), scale, options.maxGradNorm);
      if (store.weights && this.moments) {
        const { weights, gradients, decayEnd } = store;
        const { m, v } = this.moments;
        if (decayEnd > 0) adamW(weights, gradients!, m, v, factor, settings(true), 0, decayEnd);
        if (decayEnd < weights.size)
          adamW(weights, gradients!, m, v, factor, settings(false), decayEnd, weights.size - decayEnd);
      }
      for (const { table, gradient } of rows) {
        const { m, v } = this.tableMoments.get(table)!;
        const rowOf = new Uint32Array(table.tensor.rows).fill(0xffffffff);
        gradient?.rows.forEach((row, i) => {
          rowOf[row] = i;
        });
        const map = Tensor.from(store.gpu, rowOf, [rowOf.length], 'u32', 'workspace');
        const values = gradient?.values ?? Tensor.zeros(store.gpu, [1, table.tensor.cols]);
        adamWRows(table.tensor, values, map, m, v, factor, settings(table.decay));
      }
      return norm;
    });
    store.zeroGradients();
    return norm;
  }

  dispose(): void {
    this.moments?.m.dispose();
    this.moments?.v.dispose();
    for (const { m, v } of this.tableMoments.values()) {
      m.dispose();
      v.dispose();
    }
  }
}
