/** Optimisers over any tensors: PyTorch's steps, state to the bit, tables by rows, steps that do not happen. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { backward, gatherRows, mul, square, sum } from '../src/autograd/index.js';
import { Parameter } from '../src/autograd/parameter.js';
import { InputError, ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { sizeClass } from '../src/gpu/memory.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import { M3Model } from '../src/models/m3.js';
import {
  Adam,
  AdamW,
  clipGradNorm,
  cosineSchedule,
  LossScaler,
  linearSchedule,
  polynomialSchedule,
  SGD,
  stepSchedule,
} from '../src/optim/index.js';
import { RowIndex } from '../src/tensor/row-index.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { forwardBackward } from '../src/train/step/train-step.js';
import { golden } from './repository.js';
import { drawnBatch, settings } from './training-cases.js';

let gpu: Gpu;
/** Without guards, which take memory of their own. */
let plain: Gpu;
before(async () => {
  gpu = await Gpu.open({ guardWords: 8 });
  plain = await Gpu.open();
});
after(async () => {
  await gpu.close();
  await plain.close();
});

/** A test in a scope, behind which no buffer is left. */
const scoped = (name: string, body: () => Promise<unknown>) =>
  test(name, async () => {
    const live = gpu.memory().liveBuffers;
    await scope(body);
    assert.equal(gpu.memory().liveBuffers, live, 'no buffer is left behind');
    await gpu.checkGuards();
  });

const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
/** As test/interop/optimizers.py has them. */
const values = (shape: readonly number[], phase: number, factor = 1) =>
  Float32Array.from({ length: sizeOf(shape) }, (_, n) => Math.fround(Math.sin(1.7 * n + phase)) * factor);
const tensor = (shape: readonly number[], phase: number, factor = 1) =>
  Tensor.from(gpu, values(shape, phase, factor), [...shape]);
const trained = (shape: readonly number[], phase: number) => {
  const weight = tensor(shape, phase);
  weight.requiresGrad = true;
  return weight;
};
const read = async (tensor: Tensor) => [...(await tensor.toFloat32())];

const torch = JSON.parse(fs.readFileSync(golden('torch', 'optimizers.json'), 'utf8')) as {
  shapes: number[][];
  steps: number;
  cases: Record<string, { weights: number[][]; norms: number[] }>;
};

type Make = (weights: Tensor[]) => AdamW | Adam | SGD;
const grouped = (w: Tensor[]) => [
  { parameters: w.slice(0, 2), learningRate: 0.02 },
  { parameters: w.slice(2), weightDecay: 0.3 },
];
const cases: Record<string, { make: Make; clip?: number; skip?: [step: number, weight: number] }> = {
  AdamW: { make: (w) => new AdamW(w) },
  'AdamW, other settings': {
    make: (w) => new AdamW(w, { learningRate: 0.05, beta1: 0.8, beta2: 0.95, eps: 1e-4, weightDecay: 0.2 }),
  },
  'AdamW, groups': { make: (w) => new AdamW(grouped(w)) },
  'AdamW, clipped': { make: (w) => new AdamW(w, { learningRate: 0.01 }), clip: 1.5 },
  'AdamW, one without a gradient': { make: (w) => new AdamW(w, { learningRate: 0.01 }), skip: [1, 1] },
  Adam: { make: (w) => new Adam(w, { learningRate: 0.01 }) },
  'Adam, decay': { make: (w) => new Adam(w, { learningRate: 0.01, weightDecay: 0.1 }) },
  'Adam, groups': { make: (w) => new Adam(grouped(w)) },
  SGD: { make: (w) => new SGD(w, { learningRate: 0.1 }) },
  'SGD, decay': { make: (w) => new SGD(w, { learningRate: 0.1, weightDecay: 0.2 }) },
  'SGD, momentum': { make: (w) => new SGD(w, { learningRate: 0.05, momentum: 0.9 }) },
  'SGD, dampening': {
    make: (w) => new SGD(w, { learningRate: 0.05, momentum: 0.9, dampening: 0.4, weightDecay: 0.1 }),
  },
  'SGD, Nesterov': {
    make: (w) => new SGD(w, { learningRate: 0.05, momentum: 0.8, nesterov: true, weightDecay: 0.1 }),
  },
  'SGD, groups': { make: (w) => new SGD(grouped(w), { momentum: 0.5 }) },
};

/** Gives a weight the gradient of a step, as backward does. */
function give(weight: Tensor, phase: number, factor: number): void {
  weight.zeroGrad();
  backward(sum(mul(weight, tensor(weight.shape, phase, factor))));
}

for (const [name, { make, clip, skip }] of Object.entries(cases))
  scoped(`as torch.optim: ${name}`, async () => {
    const expected = torch.cases[name]!;
    const weights = torch.shapes.map((shape, n) => trained(shape, n));
    const optimizer = make(weights);
    for (let step = 0; step < torch.steps; step++) {
      for (const [n, weight] of weights.entries())
        if (skip && step === skip[0] && n === skip[1]) weight.zeroGrad();
        else give(weight, 10 * step + n + 0.5, 1 + step);
      if (clip) {
        const norm = await clipGradNorm(weights, clip).item();
        assert.ok(Math.abs(norm - expected.norms[step]!) < 1e-5 * norm);
      }
      optimizer.step();
    }
    for (const [n, weight] of weights.entries())
      for (const [i, value] of (await read(weight)).entries()) {
        const want = expected.weights[n]![i]!;
        assert.ok(Math.abs(value - want) <= 1e-6, `${n}[${i}]: ${value} instead of ${want}`);
      }
    assert.equal(optimizer.steps, torch.steps);
    optimizer.dispose();
  });
test('every case that PyTorch computed is looked at', () =>
  assert.deepEqual(Object.keys(cases).sort(), Object.keys(torch.cases).sort()));

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-optim-'));
after(() => fs.rmSync(folder, { recursive: true }));

/** A table, a weight in it that has no decay, and a loose tensor. */
function model() {
  const spec = { decay: true, trainable: true };
  const table = Parameter.alone(gpu, { ...spec, name: 'table', shape: [9, 4], table: true });
  const bias = Parameter.alone(gpu, { ...spec, name: 'bias', shape: [5], decay: false });
  table.tensor.write(values([9, 4], 0.3));
  bias.tensor.write(values([5], 1));
  return { table, bias, loose: trained([3, 3], 2) };
}
type Model = ReturnType<typeof model>;

function gradients({ table, bias, loose }: Model, step: number): void {
  for (const { tensor: weight } of [table, bias, { tensor: loose }]) weight.zeroGrad();
  const index = new RowIndex(gpu, Uint32Array.of(step, 5, step, 7));
  backward(sum(square(gatherRows(table.tensor, index))));
  index.dispose();
  give(bias.tensor, step, 1);
  give(loose, step + 0.2, 1);
}

const free = ({ table, bias }: Model) => {
  table.tensor.dispose();
  bias.tensor.dispose();
};

const kinds: Record<string, (model: Model) => AdamW | Adam | SGD> = {
  AdamW: (m) =>
    new AdamW([['table', m.table], ['bias', m.bias], m.loose], { learningRate: 0.05, weightDecay: 0.3 }),
  Adam: (m) => new Adam([m.table, m.bias, m.loose], { learningRate: (step) => 0.1 / (1 + step) }),
  'Adam with decay': (m) => new Adam([m.table, m.bias, m.loose], { weightDecay: 0.2 }),
  SGD: (m) => new SGD([m.table, m.bias, m.loose], { momentum: 0.9, dampening: 0.2, weightDecay: 0.1 }),
};

for (const [name, make] of Object.entries(kinds))
  scoped(`${name} goes on to the bit where it was saved`, async () => {
    const [whole, parted] = [model(), model()];
    const optimizers = [make(whole), make(parted)] as const;
    for (let step = 0; step < 2; step++)
      for (const [n, each] of [whole, parted].entries()) {
        gradients(each, step);
        optimizers[n]!.step();
      }
    const file = path.join(folder, 'state.safetensors');
    await optimizers[1].save(file);
    const again = make(parted);
    // What it held before is forgotten.
    gradients(parted, 8);
    const kept = await Promise.all(
      [parted.table.tensor, parted.bias.tensor, parted.loose].map((t) => t.toFloat32()),
    );
    again.step();
    for (const [n, t] of [parted.table.tensor, parted.bias.tensor, parted.loose].entries()) t.write(kept[n]!);
    again.load(file);
    assert.equal(again.steps, 2);
    for (const [each, optimizer] of [
      [whole, optimizers[0]],
      [parted, again],
    ] as const) {
      gradients(each, 3);
      optimizer.step();
    }
    for (const pick of [(m: Model) => m.table.tensor, (m: Model) => m.bias.tensor, (m: Model) => m.loose])
      assert.deepEqual(await read(pick(parted)), await read(pick(whole)));
    const other = new AdamW([whole.loose]);
    const before = fs.readFileSync(file);
    assert.throws(() => other.load(file), InputError);
    assert.deepEqual(fs.readFileSync(file), before);
    for (const optimizer of [...optimizers, again, other]) optimizer.dispose();
    free(whole);
    free(parted);
  });

const planned: readonly {
  name: string;
  precision: FloatDType;
  make: (parameters: readonly Parameter[]) => AdamW | Adam | SGD;
  moments: number;
}[] = [
  { name: 'AdamW', precision: 'f32', make: (all) => new AdamW(all), moments: 2 },
  { name: 'AdamW', precision: 'f16', make: (all) => new AdamW(all), moments: 2 },
  { name: 'Adam, decay', precision: 'f32', make: (all) => new Adam(all, { weightDecay: 0.1 }), moments: 2 },
  { name: 'SGD, momentum', precision: 'f16', make: (all) => new SGD(all, { momentum: 0.9 }), moments: 1 },
  { name: 'SGD', precision: 'f32', make: (all) => new SGD(all), moments: 0 },
];
// A device that computes nothing must have room for the moments as any other has.
for (const { name, precision, make, moments } of planned)
  test(`steps take the memory that they take on a planning device: ${name}, ${precision}`, async () => {
    const taken = async (on: Gpu) => {
      on.pool.trim();
      on.pool.resetPeak();
      const model = M3Model.load(on, golden('model'), { precision });
      const optimizer = make(model.store.parameters);
      for (let step = 0; step < 2; step++) {
        const batch = drawnBatch(model, 2);
        await forwardBackward(model, batch, settings);
        batch.tokens.dispose();
        optimizer.step();
        model.store.zeroGradients();
      }
      const { peak, peakByPurpose, live } = on.memory();
      // As the pool hands it out, each parameter by itself; and the one factor that gradients are multiplied by.
      const trained = model.store.parameters.filter(({ trains }) => trains);
      const bytes = trained.reduce((sum, { tensor }) => sum + sizeClass(4 * tensor.size), 0);
      assert.equal(live.optimizer, moments * bytes + sizeClass(4));
      optimizer.dispose();
      model.dispose();
      return { peak, peakByPurpose };
    };
    const planning = Gpu.plan(plain);
    const expected = await taken(planning);
    await planning.close();
    assert.deepEqual(await taken(plain), expected);
  });

scoped('a table by rows is as a dense one', async () => {
  const by = async (dense: boolean) => {
    const m = model();
    const optimizer = new AdamW([m.table], { weightDecay: 0.1, learningRate: 0.1 });
    for (let step = 0; step < 4; step++) {
      gradients(m, step);
      // A gradient that was looked at is dense from then on.
      if (dense) assert.equal(m.table.tensor.grad!.size, 36);
      optimizer.step();
    }
    const result = await read(m.table.tensor);
    optimizer.dispose();
    free(m);
    return result;
  };
  assert.deepEqual(await by(false), await by(true));
});

scoped('a scaled step clips, and does not happen where gradients overflowed; frozen ones stay', async () => {
  const weights = [trained([3], 0), trained([2], 1)];
  const optimizer = new SGD(weights, { learningRate: 1, momentum: 0.5 });
  const start = await Promise.all(weights.map(read));
  give(weights[0]!, 0, Number.POSITIVE_INFINITY);
  give(weights[1]!, 0, 4);
  const bad = await optimizer.stepScaled({ scale: 0.5 });
  assert.deepEqual([bad.skipped, optimizer.steps], [true, 0]);
  assert.deepEqual(await Promise.all(weights.map(read)), start);
  give(weights[0]!, 0.5, 4);
  give(weights[1]!, 0.5, 4);
  weights[1]!.requiresGrad = false;
  const { norm, skipped } = await optimizer.stepScaled({ scale: 0.5, maxGradNorm: 1 });
  const gradient = values([3], 0.5, 2);
  const own = Math.hypot(...gradient);
  assert.ok(!skipped && Math.abs(norm - own) < 1e-5);
  for (const [i, value] of (await read(weights[0]!)).entries())
    assert.ok(Math.abs(value - (start[0]![i]! - gradient[i]! / own)) < 1e-5);
  assert.deepEqual(await read(weights[1]!), start[1]);
  optimizer.dispose();
});

scoped('what cannot be trained is refused', async () => {
  const w = trained([2], 0);
  const refuses = (call: () => unknown, says: RegExp) =>
    assert.throws(call, (error) => error instanceof ShapeError && says.test(error.message));
  refuses(() => new AdamW([]), /at least one/);
  refuses(() => new AdamW(3 as never), /expected parameters/);
  refuses(() => new AdamW(['x'] as never), /expected parameters or tensors/);
  refuses(() => new AdamW([tensor([2], 0)]), /requires no gradient/);
  refuses(() => new AdamW([square(w)]), /only leaves/);
  refuses(() => new AdamW([w, w]), /named twice/);
  refuses(() => new AdamW([w], { beta1: 1 }), /beta1/);
  refuses(() => new AdamW([w], { lr: 1 } as never), /no setting "lr"; there are learningRate, /);
  const parameters = () => [w];
  const module = { parameters } as never;
  for (const given of [module, [module], [{ parameters: module }]])
    refuses(() => new AdamW(given), /whose parameters\(\) are meant/);
  refuses(() => new AdamW([{ params: [w] }] as never), /groups { parameters: … } of them, found {"params"/);
  assert.equal(
    String(new SGD([{ parameters: [w], learningRate: () => 1 }], { momentum: 0.5 })),
    'SGD after 0 steps\n  1 tensors: learningRate by schedule, momentum 0.5, dampening 0, weightDecay 0, nesterov false',
  );
  refuses(() => new AdamW([{ parameters: [w], eps: 0 }]), /eps/);
  refuses(() => new SGD([w], { nesterov: true }), /nesterov needs/);
  refuses(() => clipGradNorm([w], 0), /maxNorm/);
  const half = Tensor.zeros(gpu, [2], 'f16');
  half.requiresGrad = true;
  refuses(() => new SGD([half]), /f32 weights/);
  const optimizer = new SGD([w], { learningRate: () => Number.NaN });
  give(w, 0, 1);
  refuses(() => optimizer.step(), /learningRate/);
  await assert.rejects(optimizer.stepScaled({ maxNorm: 1 } as never), /no option "maxNorm"/);
  assert.throws(() => Object.assign(optimizer.groups[0]!, { lr: 1 }), TypeError);
  const gone = trained([2], 0);
  const left = new AdamW([['gone', gone], w]);
  gone.dispose();
  refuses(() => left.step(), /the parameter "gone" was disposed of/);
  await assert.rejects(left.stepScaled(), /the parameter "gone" was disposed of/);
  refuses(() => new AdamW([gone]), /was disposed of/);
  left.dispose();
  optimizer.dispose();
});

test('schedules of no size, and loss scalings of no kind, are refused where they are made', () => {
  const fails: [call: () => unknown, says: RegExp][] = [
    [() => linearSchedule({ warmupSteps: 2 } as never), /totalSteps must be/],
    [
      () => cosineSchedule({ warmup: 2, totalSteps: 5 } as never),
      /no option "warmup", the nearest is warmupSteps/,
    ],
    [() => polynomialSchedule({ totalSteps: 5 }, { pow: 2 } as never), /no option "pow"/],
    [() => stepSchedule(0), /stepSize must be/],
    [() => new LossScaler({ kind: 'dynamic', initialScale: 64 } as never), /must be/],
    [() => new LossScaler({ kind: 'dynmic' } as never), /takes \{ kind/],
    [() => new LossScaler({ kind: 'static', scale: 0 }), /scale must be/],
    [() => new LossScaler({ kind: 'static', scale: 2, window: 3 } as never), /no option "window"/],
  ];
  for (const [call, says] of fails)
    assert.throws(call, (error) => error instanceof ShapeError && says.test(error.message), `${says}`);
});

test('what a loss scaler gave restores another, as it is and through JSON', () => {
  const scaler = new LossScaler();
  for (const overflow of [false, true, false, false]) scaler.update(overflow);
  for (const state of [scaler.state(), JSON.parse(JSON.stringify(scaler.state()))]) {
    const restored = new LossScaler();
    restored.restore(state);
    assert.deepEqual(restored.state(), scaler.state());
  }
  assert.throws(() => new LossScaler().restore(undefined as never), /expected the state of a loss scale/);
  assert.throws(() => new LossScaler().restore({ scale: 3 } as never), /expected "good"/);
});

test('schedules', () => {
  const size = { warmupSteps: 2, totalSteps: 6 };
  const course = (schedule: (step: number) => number) =>
    Array.from({ length: 8 }, (_, step) => +schedule(step).toFixed(3));
  assert.deepEqual(course(linearSchedule(size)), course(polynomialSchedule(size)));
  assert.deepEqual(course(polynomialSchedule(size, { power: 2, end: 0.1 })), [
    ...[0, 0.5, 1, 0.606, 0.325, 0.156, 0.1, 0.1],
  ]);
  // Beyond its end a cosine does not rise again.
  assert.deepEqual(course(cosineSchedule({ warmupSteps: 1, totalSteps: 3 })), [0, 1, 0.5, 0, 0, 0, 0, 0]);
  assert.deepEqual(course(stepSchedule(3, 0.5)), [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]);
});
