/** dawntune itself, as a peer among the others. */
import { backward, linear, linearGelu, mean, square, sub } from '../../src/autograd/index.js';
import { ParameterStore } from '../../src/autograd/parameter-store.js';
import { Gpu } from '../../src/gpu/gpu.js';
import { attention } from '../../src/kernels/attention/attention.js';
import { matmul } from '../../src/kernels/matmul/matmul.js';
import { PackedSequences } from '../../src/tensor/packed.js';
import { noGrad, scope } from '../../src/tensor/scope.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { StoreAdamW } from '../../src/train/optimizer.js';
import { characterWork } from './dawntune-characters.js';
import type { Library, Work } from './protocol.js';
import {
  ADAM,
  type AttentionWorkload,
  CHECKED_STEPS,
  type MatmulWorkload,
  operand,
  probed,
  SEEDS,
  type TrainWorkload,
  weightScale,
} from './workloads.js';

export async function open(_folder: string, adapter: string | null): Promise<Library> {
  const gpu = await Gpu.open(adapter ? { adapter } : {});
  return {
    version: 'this one',
    adapter: gpu.capabilities.name,
    async prepare(workload) {
      if (workload.kind === 'matmul') return matmulWork(gpu, workload);
      if (workload.kind === 'characters')
        return characterWork(gpu, () => variantsOf(gpu, ['matmul', 'attention']));
      return workload.kind === 'attention' ? attentionWork(gpu, workload) : trainWork(gpu, workload);
    },
  };
}

/** Names of the variants that the device chose for a family, in the order of its first use. */
function variantsOf(gpu: Gpu, families: readonly string[]): string | null {
  const names = [...gpu.choices.decided.values()]
    .filter(({ family }) => families.includes(family))
    .map(({ variant }) => variant.name);
  return [...new Set(names)].join(', ') || null;
}

/** Work whose result is one tensor, computed anew each time. */
function repeated(
  gpu: Gpu,
  family: string,
  operands: readonly { dispose(): void }[],
  compute: () => Tensor,
  pick: (result: Float32Array) => number[],
): Work {
  return {
    async result() {
      const y = scope(() => compute().keep());
      const values = pick(await y.toFloat32());
      y.dispose();
      return values;
    },
    variant: () => variantsOf(gpu, [family]),
    async run(times) {
      for (let i = 0; i < times; i++) noGrad(() => scope(() => void compute()));
      await gpu.finish();
    },
    dispose() {
      for (const each of operands) each.dispose();
      gpu.choices.decided.clear();
    },
  };
}

function matmulWork(gpu: Gpu, { n }: MatmulWorkload): Work {
  const a = Tensor.from(gpu, operand(SEEDS.a, n * n), [n, n]).keep();
  const b = Tensor.from(gpu, operand(SEEDS.b, n * n), [n, n]).keep();
  return repeated(
    gpu,
    'matmul',
    [a, b],
    () => matmul(a, b),
    (y) => probed(y, 1, n, n),
  );
}

function attentionWork(gpu: Gpu, { texts, tokens, heads, headDim }: AttentionWorkload): Work {
  const width = heads * headDim;
  const rows = texts * tokens;
  const joined = new Float32Array(rows * 3 * width);
  for (const [part, seed] of [SEEDS.q, SEEDS.k, SEEDS.v].entries()) {
    const values = operand(seed, rows * width);
    for (let row = 0; row < rows; row++)
      joined.set(values.subarray(row * width, (row + 1) * width), (3 * row + part) * width);
  }
  const qkv = Tensor.from(gpu, joined, [rows, 3 * width]).keep();
  const sequences = new PackedSequences(
    gpu,
    Array.from({ length: texts }, () => tokens),
  );
  return repeated(
    gpu,
    'attention',
    [qkv, sequences],
    () => attention(qkv, sequences, heads).out,
    (y) => probed(y, texts, tokens, width),
  );
}

async function trainWork(gpu: Gpu, { rows, width, hidden }: TrainWorkload): Promise<Work> {
  const spec = (name: string, shape: number[]) => ({ name, shape, decay: false, trainable: true });
  const store = new ParameterStore(gpu, [
    spec('w1', [hidden, width]),
    spec('b1', [hidden]),
    spec('w2', [width, hidden]),
    spec('b2', [width]),
  ]);
  const [w1, b1, w2, b2] = store.parameters.map(({ tensor }) => tensor) as [Tensor, Tensor, Tensor, Tensor];
  w1.write(operand(SEEDS.w1, hidden * width, weightScale(width)));
  w2.write(operand(SEEDS.w2, width * hidden, weightScale(hidden)));
  const x = Tensor.from(gpu, operand(SEEDS.x, rows * width), [rows, width]).keep();
  const target = Tensor.from(gpu, operand(SEEDS.target, rows * width), [rows, width]).keep();
  const { learningRate, beta1, beta2, eps } = ADAM;
  const optimizer = new StoreAdamW(store, { beta1, beta2, eps, weightDecay: 0, maxGradNorm: 0 });
  const step = async (): Promise<Tensor> => {
    const loss = scope(() => {
      const y = linear(linearGelu(x, w1, b1), w2, b2);
      const result = mean(square(sub(y, target)));
      backward(result);
      return result.detach().keep();
    });
    await optimizer.step(learningRate);
    return loss;
  };
  const losses: number[] = [];
  for (let i = 0; i < CHECKED_STEPS; i++) {
    const loss = await step();
    losses.push((await loss.toFloat32())[0]!);
    loss.dispose();
  }
  return {
    result: async () => losses,
    variant: () => variantsOf(gpu, ['matmul']),
    async run(times) {
      for (let i = 0; i < times; i++) (await step()).dispose();
      await gpu.finish();
    },
    dispose() {
      for (const each of [x, target, optimizer, store]) each.dispose();
      gpu.choices.decided.clear();
    },
  };
}
