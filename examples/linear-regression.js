/** Linear regression: the weights of y = 3a − 2b + 0.5 from noisy samples, by gradient descent. */
import { Gpu, scope, tensor } from 'dawntune';
import { Linear } from 'dawntune/nn';
import { SGD } from 'dawntune/optim';
import { noise } from './data.js';

const steps = Number(process.argv[2] ?? 200);
const gpu = await Gpu.open();
const points = Array.from({ length: 256 }, (_, i) => [noise(3 * i), noise(3 * i + 1)]);
const x = tensor(gpu, points);
const y = tensor(gpu, points.map(([a, b], i) => [3 * a - 2 * b + 0.5 + 0.1 * noise(3 * i + 2)]));

const model = new Linear(gpu, 2, 1);
const optimizer = new SGD(model.parameters(), { learningRate: 0.5 });
for (let step = 1; step <= steps; step++)
  // What is made in a scope and not returned from it is freed at its end.
  await scope(async () => {
    const loss = model.forward(x).sub(y).square().mean();
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    // Reading waits for the GPU, so a loop reads rarely.
    if (step % 50 === 0 || step === steps) console.log(`step ${step} loss ${(await loss.item()).toFixed(5)}`);
  });
console.log('weights', await model.weight.tensor.toArray(), 'bias', await model.bias.tensor.toArray());
await gpu.close();
