/** Digits that are drawn in code, shifted and covered with noise, told apart by a network of two layers. */
import { crossEntropy, Gpu, relu, scope, tensor } from 'dawntune';
import { Linear, Sequential } from 'dawntune/nn';
import { AdamW, cosineSchedule } from 'dawntune/optim';
import { noise } from './data.js';

const steps = Number(process.argv[2] ?? 200);
/** Segments of a clock's digits: top, upper left, upper right, middle, lower left, lower right, bottom. */
const segments = '1110111 0010010 1011101 1011011 0111010 1101011 1101111 1010010 1111111 1111011'.split(' ');
const bars = [[2, 1, 4, 0], [2, 1, 0, 3], [5, 1, 0, 3], [2, 4, 4, 0], [2, 4, 0, 3], [5, 4, 0, 3], [2, 7, 4, 0]];

/** A digit as 12 × 12 pixels, a row after the other; `seed` moves it and covers it. */
function draw(digit, seed) {
  const image = Array.from({ length: 144 }, (_, i) => 0.5 * noise(144 * seed + i));
  const [dx, dy] = [0, 1].map((k) => Math.round(2 * noise(2 * seed + k)) + 1);
  for (const [s, [x, y, width, height]] of bars.entries())
    if (segments[digit][s] === '1')
      for (let i = 0; i < 4; i++)
        image[12 * (y + dy + Math.min(i, height)) + x + dx + Math.min(i, width)] += 1;
  return image;
}

const gpu = await Gpu.open();
const labels = Array.from({ length: 600 }, (_, i) => i % 10);
const images = labels.map(draw);
const [train, test] = [images.slice(0, 500), images.slice(500)].map((part) => tensor(gpu, part));
const [trainLabels, testLabels] = [labels.slice(0, 500), labels.slice(500)].map((part) =>
  tensor(gpu, part, { dtype: 'u32' }),
);
const model = new Sequential(new Linear(gpu, 144, 64), relu, new Linear(gpu, 64, 10));
const learningRate = cosineSchedule({ warmupSteps: 10, totalSteps: steps });
const optimizer = new AdamW(model.parameters(), { learningRate: (step) => 0.01 * learningRate(step) });
for (let step = 1; step <= steps; step++)
  await scope(async () => {
    const loss = crossEntropy(model.forward(train), trainLabels);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    if (step % 50 === 0 || step === steps) console.log(`step ${step} loss ${(await loss.item()).toFixed(5)}`);
  });
const found = await scope(() => model.forward(test).argmax(-1).eq(testLabels).cast('f32').mean().item());
console.log(`accuracy ${found.toFixed(3)}`);
await gpu.close();
