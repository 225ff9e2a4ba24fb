/** A kernel of one's own with its gradient: the activation x · tanh(softplus(x)), Mish, in a network that learns a curve. */
import { Gpu, scope, tensor } from 'dawntune';
import { defineKernel, f32 } from 'dawntune/kernels';
import { Linear, Sequential } from 'dawntune/nn';
import { Adam } from 'dawntune/optim';

const steps = Number(process.argv[2] ?? 300);
const mish = defineKernel({
  name: 'mish',
  inputs: { x: f32('...') },
  outputs: { y: f32('...') },
  functions: 'fn softplus(x: f32) -> f32 { return max(x, 0.0) + log(1.0 + exp(-abs(x))); }',
  body: 'y[i] = x[i] * tanh(softplus(x[i]));',
  gradient: {
    x: `let t = tanh(softplus(x[i]));
        let sigmoid = 1.0 / (1.0 + exp(-x[i]));
        dx[i] = dy[i] * (t + x[i] * sigmoid * (1.0 - t * t));`,
  },
});

const gpu = await Gpu.open();
const places = Array.from({ length: 128 }, (_, i) => i / 32 - 2);
const x = tensor(gpu, places.map((place) => [place]));
const y = tensor(gpu, places.map((place) => [Math.sin(2 * place)]));
const model = new Sequential(new Linear(gpu, 1, 32), (h) => mish({ x: h }), new Linear(gpu, 32, 1));
const optimizer = new Adam(model.parameters(), { learningRate: 0.02 });
for (let step = 1; step <= steps; step++)
  await scope(async () => {
    const loss = model.forward(x).sub(y).square().mean();
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    if (step % 100 === 0 || step === steps) console.log(`step ${step} loss ${(await loss.item()).toFixed(5)}`);
  });
await gpu.close();
