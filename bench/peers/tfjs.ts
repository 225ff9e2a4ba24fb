/** TensorFlow.js with its WebGPU backend. Waits by reading one value: commands end in the order in which they began. */
import { gpuWait } from '../../src/gpu/wait.js';
import { peerRequire, provideNavigator } from './dawn.js';
import type { Library, Work } from './protocol.js';
import { characterWork } from './tfjs-characters.js';
import type { Tf, TfTensor } from './tfjs-library.js';
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

export async function open(folder: string, adapter: string | null): Promise<Library> {
  const name = await provideNavigator(adapter);
  const require = peerRequire(folder);
  const tf = require('@tensorflow/tfjs') as Tf;
  require('@tensorflow/tfjs-backend-webgpu');
  if (!(await gpuWait(tf.setBackend('webgpu')))) throw new Error('its WebGPU backend does not start');
  await gpuWait(tf.ready());
  return {
    version: tf.version_core,
    adapter: name,
    async prepare(workload) {
      if (workload.kind === 'matmul') return matmulWork(tf, workload);
      if (workload.kind === 'characters') return characterWork(tf);
      return workload.kind === 'attention' ? attentionWork(tf, workload) : trainWork(tf, workload);
    },
  };
}

const read = (tensor: TfTensor): Promise<Float32Array> => gpuWait(tensor.data());

async function waitFor(tf: Tf, tensor: TfTensor, rank: number): Promise<void> {
  const one = tf.slice(
    tensor,
    Array.from({ length: rank }, () => 0),
    Array.from({ length: rank }, () => 1),
  );
  await read(one);
  one.dispose();
}

function repeated(
  tf: Tf,
  rank: number,
  operands: readonly TfTensor[],
  compute: () => TfTensor,
  read: (y: TfTensor) => Promise<number[]>,
): Work {
  return {
    async result() {
      const y = tf.tidy(compute);
      const values = await read(y);
      y.dispose();
      return values;
    },
    async run(times) {
      let last: TfTensor | undefined;
      for (let i = 0; i < times; i++) {
        last?.dispose();
        last = tf.tidy(compute);
      }
      if (last) await waitFor(tf, last, rank);
      last?.dispose();
    },
    dispose() {
      for (const each of operands) each.dispose();
    },
  };
}

function matmulWork(tf: Tf, { n }: MatmulWorkload): Work {
  const a = tf.tensor(operand(SEEDS.a, n * n), [n, n]);
  const b = tf.tensor(operand(SEEDS.b, n * n), [n, n]);
  return repeated(
    tf,
    2,
    [a, b],
    () => tf.matMul(a, b),
    async (y) => probed(await read(y), 1, n, n),
  );
}

/** Its products want the heads before the tokens: the operands lie so, the copies are not timed. */
function attentionWork(tf: Tf, { texts, tokens, heads, headDim }: AttentionWorkload): Work {
  const width = heads * headDim;
  const byHeads = (seed: number) =>
    tf.tidy(() =>
      tf.transpose(
        tf.tensor(operand(seed, texts * tokens * width), [texts, tokens, heads, headDim]),
        [0, 2, 1, 3],
      ),
    );
  const [q, k, v] = [byHeads(SEEDS.q), byHeads(SEEDS.k), byHeads(SEEDS.v)];
  const scale = 1 / Math.sqrt(headDim);
  return repeated(
    tf,
    4,
    [q, k, v],
    () => tf.matMul(tf.softmax(tf.mul(tf.matMul(q, k, false, true), scale)), v),
    async (y) => {
      const back = tf.transpose(y, [0, 2, 1, 3]);
      const values = probed(await read(back), texts, tokens, width);
      back.dispose();
      return values;
    },
  );
}

async function trainWork(tf: Tf, { rows, width, hidden }: TrainWorkload): Promise<Work> {
  const x = tf.tensor(operand(SEEDS.x, rows * width), [rows, width]);
  const target = tf.tensor(operand(SEEDS.target, rows * width), [rows, width]);
  const variables = [
    tf.variable(tf.tensor(operand(SEEDS.w1, hidden * width, weightScale(width)), [hidden, width])),
    tf.variable(tf.tensor(new Float32Array(hidden), [hidden])),
    tf.variable(tf.tensor(operand(SEEDS.w2, width * hidden, weightScale(hidden)), [width, hidden])),
    tf.variable(tf.tensor(new Float32Array(width), [width])),
  ] as const;
  const [w1, b1, w2, b2] = variables;
  const optimizer = tf.train.adam(ADAM.learningRate, ADAM.beta1, ADAM.beta2, ADAM.eps);
  const gelu = (h: TfTensor) => tf.mul(tf.mul(h, 0.5), tf.add(tf.erf(tf.mul(h, Math.SQRT1_2)), 1));
  const layer = (input: TfTensor, weight: TfTensor, bias: TfTensor) =>
    tf.add(tf.matMul(input, weight, false, true), bias);
  const step = () =>
    optimizer.minimize(() => tf.mean(tf.square(tf.sub(layer(gelu(layer(x, w1, b1)), w2, b2), target))), true);
  const losses: number[] = [];
  for (let i = 0; i < CHECKED_STEPS; i++) {
    const loss = step();
    losses.push((await read(loss))[0]!);
    loss.dispose();
  }
  return {
    result: async () => losses,
    async run(times) {
      for (let i = 0; i < times; i++) step().dispose();
      await waitFor(tf, b2, 1);
    },
    dispose() {
      for (const each of [x, target, ...variables]) each.dispose();
    },
  };
}
