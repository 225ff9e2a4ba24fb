/** Three arms of a spiral, told apart by a small network: cross-entropy and Adam. */
import { crossEntropy, Gpu, scope, tanh, tensor } from 'dawntune';
import { Linear, Sequential } from 'dawntune/nn';
import { Adam } from 'dawntune/optim';
import { noise } from './data.js';

const steps = Number(process.argv[2] ?? 400);
const gpu = await Gpu.open();
const points = [];
const labels = [];
for (let arm = 0; arm < 3; arm++)
  for (let i = 0; i < 100; i++) {
    const radius = i / 100;
    const angle = 4 * arm + 4 * radius + 0.4 * noise(100 * arm + i);
    points.push([radius * Math.sin(angle), radius * Math.cos(angle)]);
    labels.push(arm);
  }
const x = tensor(gpu, points);
const y = tensor(gpu, labels, { dtype: 'u32' });

const model = new Sequential(new Linear(gpu, 2, 64), tanh, new Linear(gpu, 64, 64), tanh, new Linear(gpu, 64, 3));
const optimizer = new Adam(model.parameters(), { learningRate: 0.01 });
for (let step = 1; step <= steps; step++)
  await scope(async () => {
    const loss = crossEntropy(model.forward(x), y);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    if (step % 100 === 0 || step === steps) console.log(`step ${step} loss ${(await loss.item()).toFixed(5)}`);
  });
const right = await scope(() => model.forward(x).argmax(-1).eq(y).cast('f32').mean().item());
console.log(`accuracy ${right.toFixed(3)}`);
await gpu.close();
