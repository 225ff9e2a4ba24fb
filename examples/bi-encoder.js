/** A bi-encoder from nothing: questions find their answers by the cosine of two vectors, with all other answers as negatives. */
import { crossEntropy, Gpu, noGrad, scope, tensor } from 'dawntune';
import { Embedding, LayerNorm, Linear, Module } from 'dawntune/nn';
import { AdamW } from 'dawntune/optim';

const steps = Number(process.argv[2] ?? 100);
const pairs = [
  ['what do cows eat', 'grass and hay feed cattle on a farm'],
  ['how fast is light', 'nothing travels more quickly than a photon'],
  ['who wrote hamlet', 'the tragedy of a danish prince is by shakespeare'],
  ['where is the louvre', 'a museum with the mona lisa stands in paris'],
  ['why is the sky blue', 'air scatters short waves of the sun most'],
  ['when did the wall fall', 'berlin was one city again after november 1989'],
  ['what is the boiling point of water', 'at sea level it turns to steam at 100 degrees'],
  ['how many legs has a spider', 'arachnids walk on eight of them'],
];
const words = ['', ...new Set(pairs.flat().flatMap((text) => text.split(' ')))];
const length = 10;
const idsOf = (text) => Array.from({ length }, (_, i) => words.indexOf(text.split(' ')[i] ?? ''));

class Encoder extends Module {
  constructor(gpu) {
    super();
    this.words = new Embedding(gpu, words.length, 64, { paddingIndex: 0 });
    this.norm = new LayerNorm(gpu, 64);
    this.project = new Linear(gpu, 64, 32);
  }

  /** Texts to vectors of length 1: [texts, 32]. */
  forward(texts) {
    const pooled = this.words.forward(texts.map(idsOf)).sum(1);
    return this.project.forward(this.norm.forward(pooled)).normalizeRows();
  }
}

const gpu = await Gpu.open();
const model = new Encoder(gpu);
const [questions, answers] = [0, 1].map((side) => pairs.map((pair) => pair[side]));
const own = tensor(gpu, pairs.map((_, i) => i), { dtype: 'i32' });
const cosines = () => model.forward(questions).matmul(model.forward(answers), { transB: true });
const optimizer = new AdamW(model.parameters(), { learningRate: 0.003 });
for (let step = 1; step <= steps; step++)
  await scope(async () => {
    const loss = crossEntropy(cosines().div(0.05), own);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    if (step % 20 === 0 || step === steps) console.log(`step ${step} loss ${(await loss.item()).toFixed(5)}`);
  });
const found = await noGrad(() => scope(() => cosines().argmax(-1).toArray()));
console.log(`${found.filter((answer, i) => answer === i).length} of ${pairs.length} questions find their answer`);
await gpu.close();
