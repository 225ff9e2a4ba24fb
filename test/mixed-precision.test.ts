/** Mixed precision in a loop of one's own: a model of f16 trains by f32 weights, whatever goes through its graph. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { add, backward, cachedBackward, checkpoint, crossEntropy, mul, sum } from '../src/autograd/index.js';
import { ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import {
  Embedding,
  LayerNorm,
  Linear,
  Module,
  manualSeed,
  TransformerEncoderLayer,
} from '../src/nn/index.js';
import { AdamW, LossScaler, SGD } from '../src/optim/index.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { scope } from '../src/tensor/scope.js';
import type { Tensor } from '../src/tensor/tensor.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open({ guardWords: 8 });
});
after(() => gpu.close());

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-mixed-'));
after(() => fs.rmSync(folder, { recursive: true }));

const scoped = (
  name: string,
  body: (own: <M extends { dispose(): void }>(item: M) => M) => Promise<unknown>,
) =>
  test(name, async () => {
    const live = gpu.memory().liveBuffers;
    const owned: { dispose(): void }[] = [];
    await scope(() =>
      body((item) => {
        owned.push(item);
        return item;
      }),
    );
    for (const item of owned) item.dispose();
    assert.equal(gpu.memory().liveBuffers, live, 'no buffer is left behind');
    await gpu.checkGuards();
  });

const IDS = [
  [3, 1, 4, 1, 5],
  [9, 2, 6, 5, 3],
];
const TARGETS = [1, 4, 1, 5, 9, 2, 6, 5, 3, 5];

/** Of odd widths, tied, with a branch of the user's own; `recompute`: layers are checkpoints. */
class Model extends Module {
  readonly tokens: Embedding;
  readonly layer: TransformerEncoderLayer;
  readonly gate: Linear;
  readonly norm: LayerNorm;
  readonly head: Linear;

  constructor(
    on: Gpu,
    private readonly recompute = false,
  ) {
    super();
    manualSeed(on, 11);
    this.tokens = new Embedding(on, 11, 12);
    this.layer = new TransformerEncoderLayer(on, 12, 3, {
      feedForward: 7,
      dropout: 0.1,
      normFirst: true,
      activation: 'gelu',
    });
    this.gate = new Linear(on, 12, 12);
    this.norm = new LayerNorm(on, 12);
    this.head = new Linear(on, 12, 11, { bias: false, weight: this.tokens.weight });
  }

  forward(ids: readonly number[][]): Tensor {
    const run = (x: Tensor) => {
      const y = this.layer.forward(x, { causal: true });
      return add(y, this.gate.forward(this.norm.forward(y)));
    };
    const x = this.tokens.forward(ids);
    return this.head.forward(this.recompute ? checkpoint(run, x) : run(x)).reshape([-1, 11]);
  }
}

const lossOf = (model: Model) => crossEntropy(model.forward(IDS), TARGETS);

async function steps(model: Model, optimizer: AdamW | SGD, scaler: LossScaler, count: number) {
  const losses: number[] = [];
  for (let n = 0; n < count; n++)
    await scope(async () => {
      const loss = lossOf(model);
      optimizer.zeroGrad();
      mul(loss, scaler.scale).backward();
      const { skipped } = await optimizer.stepScaled({ scale: 1 / scaler.scale, maxGradNorm: 1 });
      scaler.update(skipped);
      losses.push(await loss.item());
    });
  return losses;
}

const weights = async (model: Module) =>
  Object.fromEntries(
    await Promise.all(
      [...model.stateDict()].map(async ([name, tensor]) => [name, await tensor.toFloat32()] as const),
    ),
  );

for (const [name, make] of [
  ['AdamW', (model: Module) => new AdamW(model.namedParameters(), { learningRate: 0.02 })],
  ['SGD', (model: Module) => new SGD(model.namedParameters(), { learningRate: 0.3, momentum: 0.5 })],
] as const)
  scoped(
    `a model of f16 learns as that of f32 does, and goes on to the bit where it was saved: ${name}`,
    async (own) => {
      const losses: Record<string, number[]> = {};
      for (const precision of ['f32', 'f16'] as const) {
        const model = own(new Model(gpu)).to(precision).eval();
        losses[precision] = await steps(model, own(make(model)), new LossScaler(), 7);
      }
      for (const [n, loss] of losses['f16']!.entries())
        assert.ok(
          Math.abs(loss - losses['f32']![n]!) < 0.02,
          `step ${n}: ${losses['f16']} and ${losses['f32']}`,
        );
      assert.ok(losses['f16']![6]! < 0.7 * losses['f16']![0]!);

      const model = own(new Model(gpu)).to('f16').eval();
      const optimizer = own(make(model));
      const scaler = new LossScaler();
      await steps(model, optimizer, scaler, 2);
      const [file, state] = [
        path.join(folder, 'model.safetensors'),
        path.join(folder, 'optimizer.safetensors'),
      ];
      await model.save(file);
      await optimizer.save(state);
      const again = own(new Model(gpu)).to('f16').eval();
      again.loadStateDict(file);
      const restored = own(make(again));
      restored.load(state);
      assert.deepEqual(
        await steps(again, restored, new LossScaler(), 2),
        await steps(model, optimizer, scaler, 2),
      );
      assert.deepEqual(await weights(again), await weights(model));
      // The copies are of the weights as they are, whoever wrote them.
      for (const { tensor } of model.parameters())
        assert.deepEqual(await tensor.role!.half()!.toArray(), f32ToF16(await tensor.toFloat32()));

      await model.save(file, { dtype: 'f16' });
      again.loadStateDict(file);
      for (const [parameter, values] of Object.entries(await weights(model)))
        assert.deepEqual((await weights(again))[parameter], f16ToF32(f32ToF16(values)), parameter);
      await assert.rejects(model.save(file, { dtype: 'bf16' as 'f16' }), ShapeError);
      await assert.rejects(
        model.save(file, { dType: 'f16' } as object),
        /no option "dType", the nearest is dtype/,
      );
    },
  );

scoped('a step whose gradients overflow halves does not happen, and the scale falls', async (own) => {
  const model = own(new Model(gpu)).to('f16').eval();
  const optimizer = own(new AdamW(model.parameters()));
  await steps(model, optimizer, new LossScaler({ kind: 'static', scale: 8 }), 1);
  const before = await weights(model);
  const scaler = new LossScaler({
    kind: 'dynamic',
    initialScale: 2 ** 24,
    window: 2,
    hysteresis: 1,
    minimumScale: 1,
  });
  await steps(model, optimizer, scaler, 1);
  assert.equal(scaler.scale, 2 ** 23);
  assert.equal(optimizer.steps, 1);
  assert.deepEqual(await weights(model), before);
  while (optimizer.steps < 3) await steps(model, optimizer, scaler, 1);
  assert.ok(scaler.scale < 2 ** 23);
  assert.notDeepEqual(await weights(model), before);
});

scoped('recomputed, and in chunks with cached gradients, the gradients of f16 are the same', async (own) => {
  const found: Float32Array[][] = [];
  for (const kind of ['whole', 'recomputed', 'in chunks']) {
    const model = own(new Model(gpu, kind === 'recomputed'))
      .to('f16')
      .eval();
    const weight = (y: Tensor) => sum(mul(y.cast('f32'), 0.25)).mul(16);
    if (kind === 'in chunks')
      await cachedBackward(
        IDS,
        (row) => model.forward([row]),
        (logits) => weight(logits),
      );
    else backward(weight(model.forward(IDS)));
    found.push(await Promise.all(model.parameters().map(({ tensor }) => tensor.grad!.toFloat32())));
  }
  assert.deepEqual(found[1], found[0]);
  const largest = Math.max(...found[0]!.flatMap((values) => [...values]));
  for (const [p, values] of found[2]!.entries())
    for (const [i, value] of values.entries())
      assert.ok(Math.abs(value - found[0]![p]![i]!) <= 2e-3 * largest, `${p}[${i}]`);
});

scoped('dropout trains in f16; a part may stay in f32, and f32 again is f32 to the bit', async (own) => {
  const model = own(new Model(gpu)).eval();
  const before = await model.forward(IDS).toArray();
  const copies = () => gpu.memory().liveBuffers;
  const live = copies();
  await scope(async () => {
    model.to('f16').train();
    assert.equal(model.forward(IDS).dtype, 'f16');
    assert.ok(copies() > live);
    model.tokens.to('f32');
    const x = model.tokens.forward(IDS);
    assert.deepEqual(
      [x.dtype, model.layer.forward(x).dtype, model.gate.forward(x).dtype],
      ['f32', 'f32', 'f16'],
    );
    assert.equal(model.gate.forward(x, 'f32').dtype, 'f32');
    model.to('f32').eval();
  });
  assert.equal(copies(), live);
  assert.deepEqual(await model.forward(IDS).toArray(), before);
  assert.throws(() => model.to('bf16' as 'f16'), /precision must be f32 or f16, found "bf16"/);
  assert.throws(() => model.to('f16').gate.forward(model.gate.weight.tensor.cast('i32')), /i32/);
});

test('a plan accounts what a step of f16 takes', async () => {
  const peaks: number[] = [];
  for (const on of [await Gpu.open(), Gpu.plan(gpu)]) {
    const model = new Model(on).to('f16').eval();
    const optimizer = new AdamW(model.parameters());
    await steps(model, optimizer, new LossScaler(), 2);
    peaks.push(on.memory().peak);
    model.dispose();
    optimizer.dispose();
    await on.close();
  }
  assert.equal(peaks[1], peaks[0]);
});
