/** One product with drawn operands, checked at probes: what the tuner, the bench and the tests run. */
import type { Gpu } from '../../gpu/gpu.js';
import { f16ToF32, f32ToF16 } from '../../tensor/dtype.js';
import { CounterRandom } from '../../tensor/random.js';
import { scope } from '../../tensor/scope.js';
import { Tensor } from '../../tensor/tensor.js';
import type { FloatDType } from '../launch/formats.js';
import { unaryFormulas } from '../pointwise.js';
import type { Trial } from '../variants.js';
import { batchesOf, type MatmulForm, type MatmulOperands, type MatmulSize } from './form.js';
import { matmulElement } from './reference.js';

/** Elements of a result that are compared, when it has more: its edges, and some between. */
const PROBES = 400;

export function drawTrial(
  gpu: Gpu,
  form: MatmulForm,
  size: MatmulSize,
  compute: (operands: MatmulOperands, variant: string | undefined) => void,
): Trial {
  const { M, N, K } = size;
  const { batches, eachA, ofA, eachB, ofB } = batchesOf(size);
  const random = new CounterRandom(M * 31 + N * 17 + K, 0);
  const draw = (shape: number[], dtype: FloatDType) => {
    const values = new Float32Array(shape[0]! * shape[1]!);
    for (let i = 0; i < values.length; i++) values[i] = random.uniform() - 0.5;
    if (dtype === 'f32') return { values, tensor: Tensor.from(gpu, values, shape).keep() };
    const halves = f32ToF16(values);
    return { values: f16ToF32(halves), tensor: Tensor.from(gpu, halves, shape, 'f16').keep() };
  };
  const a = draw(form.transA ? [ofA * K, M] : [ofA * M, K], form.a);
  const b = draw(form.transB ? [ofB * N, K] : [ofB * K, N], form.b);
  const empty = () => Tensor.empty(gpu, [batches * M, N], form.c).keep();
  const c = empty();
  const preActivation = form.gelu ? empty() : undefined;
  const outputs = preActivation ? [c, preActivation] : [c];
  const operands = { a: a.tensor, b: b.tensor, c, preActivation, accumulate: false };
  return {
    outputs,
    run: (variant) => scope(() => compute(operands, variant)),
    async error() {
      let worst = 0;
      for (const output of outputs) {
        const got = await output.toFloat32();
        let top = 1e-6;
        let error = 0;
        for (const at of probes(batches * M, N)) {
          const batch = Math.floor(at / (M * N));
          const sum = matmulElement(
            matrix(a.values, Math.floor(batch / eachA) % ofA, M * K),
            matrix(b.values, Math.floor(batch / eachB) % ofB, K * N),
            { ...size, ...form },
            Math.floor(at / N) % M,
            at % N,
          );
          const want = output === c && form.gelu ? unaryFormulas.gelu.host(sum) : sum;
          top = Math.max(top, Math.abs(want));
          const off = Math.abs(got[at]! - want);
          // What is no number is as wrong as can be.
          error = Number.isNaN(off) ? Infinity : Math.max(error, off);
        }
        worst = Math.max(worst, error / top);
      }
      return worst;
    },
    dispose() {
      for (const tensor of [a.tensor, b.tensor, ...outputs]) tensor.dispose();
    },
  };
}

const matrix = (values: Float32Array, index: number, size: number): Float32Array =>
  values.subarray(index * size, (index + 1) * size);

function* probes(M: number, N: number): Generator<number> {
  if (M * N <= 4 * PROBES) {
    for (let at = 0; at < M * N; at++) yield at;
    return;
  }
  const random = new CounterRandom(M * N, 1);
  for (let i = 0; i < PROBES; i++) {
    const m = i % 4 === 0 ? M - 1 - (i % Math.min(M, 40)) : Math.floor(random.uniform() * M);
    const n = i % 3 === 0 ? N - 1 - (i % Math.min(N, 40)) : Math.floor(random.uniform() * N);
    yield m * N + n;
  }
}
