/**
 * A character model: a causal transformer of two layers learns a text by heart, and goes on from its beginning.
 * `character-model.js 150 f16` trains it in mixed precision.
 */
import { crossEntropy, Gpu, gelu, noGrad, scaledDotProductAttention, scope, tensor } from 'dawntune';
import { Embedding, LayerNorm, Linear, Module, Sequential } from 'dawntune/nn';
import { AdamW, LossScaler } from 'dawntune/optim';

const [steps, precision] = [Number(process.argv[2] ?? 150), process.argv[3] || 'f32'];
const [width, heads, layers, context] = [64, 4, 2, 32];
const text =
  'the quick brown fox jumps over the lazy dog. pack my box with five dozen liquor jugs. how vexingly quick daft zebras jump. ';
const alphabet = [...new Set(text)].sort();
const ids = [...text].map((character) => alphabet.indexOf(character));

class Block extends Module {
  constructor(gpu) {
    super();
    this.norm1 = new LayerNorm(gpu, width);
    this.qkv = new Linear(gpu, width, 3 * width);
    this.out = new Linear(gpu, width, width);
    this.norm2 = new LayerNorm(gpu, width);
    this.mlp = new Sequential(new Linear(gpu, width, 4 * width), gelu, new Linear(gpu, 4 * width, width));
  }

  forward(x) {
    const [batch, length] = x.shape;
    const parts = this.qkv.forward(this.norm1.forward(x)).chunk(3, -1);
    const [q, k, v] = parts.map((part) => part.reshape([batch, length, heads, width / heads]));
    const mixed = scaledDotProductAttention(q, k, v, { causal: true, layout: 'blhd' });
    const attended = x.add(this.out.forward(mixed.reshape(x.shape)));
    return attended.add(this.mlp.forward(this.norm2.forward(attended)));
  }
}

class CharacterModel extends Module {
  constructor(gpu) {
    super();
    this.tokens = new Embedding(gpu, alphabet.length, width);
    this.positions = new Embedding(gpu, context, width);
    this.blocks = Array.from({ length: layers }, () => new Block(gpu));
    this.norm = new LayerNorm(gpu, width);
    this.head = new Linear(gpu, width, alphabet.length);
  }

  /** Lists of characters' numbers to the scores of the next ones: [batch · length, alphabet]. */
  forward(rows) {
    const places = rows.map((row) => row.map((_, i) => i));
    let x = this.tokens.forward(rows).add(this.positions.forward(places));
    for (const block of this.blocks) x = block.forward(x);
    return this.head.forward(this.norm.forward(x)).reshape([-1, alphabet.length]);
  }
}

const gpu = await Gpu.open();
const starts = Array.from({ length: 16 }, (_, i) => i * 5);
const rows = starts.map((start) => ids.slice(start, start + context));
const targets = tensor(gpu, starts.flatMap((start) => ids.slice(start + 1, start + context + 1)), { dtype: 'i32' });
const model = new CharacterModel(gpu).to(precision);
const optimizer = new AdamW(model.parameters(), { learningRate: 0.003 });
const scaler = new LossScaler(precision === 'f16' ? undefined : null);
for (let step = 1; step <= steps; step++)
  await scope(async () => {
    const loss = crossEntropy(model.forward(rows), targets);
    optimizer.zeroGrad();
    loss.mul(scaler.scale).backward();
    scaler.update((await optimizer.stepScaled({ scale: 1 / scaler.scale })).skipped);
    if (step % 50 === 0 || step === steps) console.log(`step ${step} loss ${(await loss.item()).toFixed(5)}`);
  });

const written = ids.slice(0, 8);
while (written.length < context) {
  const next = await noGrad(() => scope(() => model.forward([written]).argmax(-1).toArray()));
  written.push(next.at(-1));
}
console.log(written.map((id) => alphabet[id]).join(''));
await gpu.close();
