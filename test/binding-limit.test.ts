/** Tensors larger than one binding: gather and its gradient, AdamW, the norm, casts, transfer, activations. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { add, backward, cast, dropout, gatherRows, linear, linearGelu } from '../src/autograd/index.js';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { silentReporter } from '../src/console/reporter.js';
import { Gpu } from '../src/gpu/gpu.js';
import { globalNorm } from '../src/kernels/adamw.js';
import { fillNormal } from '../src/kernels/random.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { CounterRandom } from '../src/tensor/random.js';
import { RowIndex } from '../src/tensor/row-index.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { StoreAdamW } from '../src/train/optimizer.js';
import { finetune } from '../src/train/trainer.js';
import { SafetensorsFile } from '../src/weights/safetensors.js';
import { kernelSets, nameOf } from './kernel-sets.js';
import { golden } from './repository.js';

const ROWS = 1000;
const COLS = 96; // 384 kB in bindings of 64 kB: six ranges of 128 rows and more
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open({ maxBindingSize: 65536 });
});
after(() => gpu.close());

const random = new CounterRandom(5, 0);
const values = (count: number) => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
const ids = Uint32Array.from({ length: 150 }, () => random.int(ROWS));

for (const weightDecay of [0.1, 0])
  test(`a table and flat parameters train as one float64 AdamW says, untouched rows included, decay ${weightDecay}`, async () => {
    const specs = [
      { name: 'table', shape: [ROWS, COLS], table: true, trainable: true, decay: true },
      { name: 'dense', shape: [60, 1000], trainable: true, decay: true, product: true },
      { name: 'bias', shape: [7], trainable: true, decay: false },
    ];
    const store = new ParameterStore(gpu, specs, 'f16');
    const start = new Map(['table', 'dense', 'bias'].map((name) => [name, values(store.get(name).size)]));
    for (const [name, data] of start) store.get(name).write(data);
    store.refreshHalves();
    const options = { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay, maxGradNorm: 0.5 };
    const optimizer = new StoreAdamW(store, options);
    const state = new Map(
      [...start].map(([name, data]) => [
        name,
        { p: Float64Array.from(data), m: new Float64Array(data.length), v: new Float64Array(data.length) },
      ]),
    );

    for (let step = 1; step <= 3; step++) {
      const gradients = new Map([...start].map(([name, data]) => [name, new Float64Array(data.length)]));
      // Two pieces with common rows, and a step without any row: moments alone must move the table then.
      // The last step's are more rows than the first's: those begin to move then.
      const pieces = step === 2 ? [] : [step === 1 ? ids.subarray(0, 100) : ids, ids.subarray(0, 40)];
      for (const piece of pieces) {
        const seed = values(piece.length * COLS);
        await scope(async () => {
          const index = new RowIndex(gpu, piece);
          const out = gatherRows(store.get('table'), index);
          const got = await out.toArray();
          piece.forEach((row, i) => {
            for (let c = 0; c < COLS; c += 31)
              assert.ok(Math.abs(got[i * COLS + c]! - state.get('table')!.p[row * COLS + c]!) < 1e-6);
          });
          backward(out, Tensor.from(gpu, seed, out.shape));
          index.dispose();
        });
        piece.forEach((row, i) => {
          for (let c = 0; c < COLS; c++) gradients.get('table')![row * COLS + c]! += seed[i * COLS + c]!;
        });
      }
      for (const name of ['dense', 'bias']) {
        const data = values(start.get(name)!.length);
        store.get(name).grad!.write(data);
        gradients.set(name, Float64Array.from(data));
      }
      const { norm } = await optimizer.step(1e-2, 0.5);
      let squares = 0;
      for (const gradient of gradients.values()) for (const g of gradient) squares += (g * 0.5) ** 2;
      const want = Math.sqrt(squares);
      assert.ok(Math.abs(norm - want) < 1e-5 * want, `norm ${norm} instead of ${want}`);
      const factor = 0.5 * Math.min(1, options.maxGradNorm / (want + 1e-6));
      for (const [name, { p, m, v }] of state) {
        const decay = name === 'bias' ? 1 : 1 - 1e-2 * options.weightDecay;
        gradients.get(name)!.forEach((raw, i) => {
          const g = raw * factor;
          m[i] = 0.9 * m[i]! + 0.1 * g;
          v[i] = 0.99 * v[i]! + 0.01 * g * g;
          p[i] =
            p[i]! * decay -
            (1e-2 * (m[i]! / (1 - 0.9 ** step))) / (Math.sqrt(v[i]! / (1 - 0.99 ** step)) + 1e-8);
        });
      }
    }
    for (const [name, { p }] of state) {
      const got = await store.get(name).toArray();
      let worst = 0;
      p.forEach((want, i) => {
        worst = Math.max(worst, Math.abs(got[i]! - want));
      });
      assert.ok(worst < 2e-6, `${name} is off by ${worst}`);
    }
    // The copy that products read was written along.
    const dense = store.get('dense');
    assert.deepEqual(await dense.role!.half()!.toArray(), f32ToF16(await dense.toFloat32()));
    optimizer.dispose();
    store.dispose();
    assert.equal(gpu.memory().liveBuffers, 0);
  });

test('norm of a tensor larger than a binding', async () => {
  const data = values(100_003);
  await scope(async () => {
    const norm = await globalNorm([Tensor.from(gpu, data, [data.length])]).item();
    const want = Math.sqrt(data.reduce((sum, v) => sum + v * v, 0));
    assert.ok(Math.abs(norm - want) < 1e-5 * want);
  });
});

/** One way of computing on an adapter with the limit and on one without: the same to the bit, since pieces are rows. */
for (const kernels of kernelSets)
  for (const dtype of ['f32', 'f16'] as const)
    test(`activations larger than a binding: products, GELU, dropout, sums, casts: ${nameOf(kernels)} ${dtype}`, async () => {
      const [T, H, F] = [700, 32, 128]; // [T, F] f32 is 358 kB
      const data = {
        x: values(T * H),
        w: values(F * H),
        v: values(H * F),
        b: values(F),
        seed: values(T * H),
      };
      const run = async (maxBindingSize: number | undefined) => {
        const own = await Gpu.open({ kernels, ...(maxBindingSize ? { maxBindingSize } : {}) });
        const results = await scope(async () => {
          const leaf = (array: Float32Array, shape: number[]) => {
            const tensor = Tensor.from(own, array, shape);
            tensor.requiresGrad = true;
            return tensor;
          };
          const leaves = {
            x: leaf(data.x, [T, H]),
            w: leaf(data.w, [F, H]),
            v: leaf(data.v, [H, F]),
            b: leaf(data.b, [F]),
          };
          const x = dtype === 'f16' ? cast(leaves.x, 'f16') : leaves.x;
          const inner = dropout(linearGelu(x, leaves.w, leaves.b), 0.3, { seed: 1, stream: 2 });
          const y = linear(add(inner, inner), leaves.v, undefined, 'f32');
          backward(y, Tensor.from(own, data.seed, [T, H]));
          const arrays = [await y.toFloat32()];
          for (const tensor of Object.values(leaves)) {
            arrays.push(await tensor.grad!.toFloat32());
            tensor.grad!.dispose();
          }
          return arrays;
        });
        assert.equal(own.memory().liveBuffers, 0);
        await own.close();
        return results;
      };
      const [whole, pieces] = [await run(undefined), await run(65536)];
      whole.forEach((want, n) => {
        // dW adds up pieces of rows; everything else is the same arithmetic.
        const top = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        pieces[n]!.forEach((value, i) => {
          const bound = n === 2 || n === 3 ? 1e-5 * top : 0;
          assert.ok(Math.abs(value - want[i]!) <= bound, `result ${n} at ${i}: ${value}, ${want[i]}`);
        });
      });
    });

test('casts and random weights of tensors larger than a binding', async () => {
  await scope(async () => {
    const data = values(70_001);
    const x = Tensor.from(gpu, data, [data.length]);
    const back = await cast(cast(x, 'f16'), 'f32').toFloat32();
    const want = f16ToF32(f32ToF16(data));
    back.forEach((value, i) => {
      assert.ok(Math.abs(value - want[i]!) <= 2 ** -24, `${i}`);
    });
    const drawn = Tensor.empty(gpu, [70_002]);
    fillNormal(drawn, 0.5, { seed: 3, stream: 1 });
    const z = await drawn.toFloat32();
    const mean = z.reduce((sum, v) => sum + v, 0) / z.length;
    const variance = z.reduce((sum, v) => sum + (v - mean) ** 2, 0) / z.length;
    assert.ok(Math.abs(mean) < (5 * 0.5) / Math.sqrt(z.length), `mean ${mean}`);
    assert.ok(Math.abs(variance - 0.25) < 0.25 * 5 * Math.sqrt(2 / z.length), `variance ${variance}`);
    // A piece goes on where the one before it ended.
    const whole = await Gpu.open();
    const same = scope(() => {
      const tensor = Tensor.empty(whole, [70_002]).keep();
      fillNormal(tensor, 0.5, { seed: 3, stream: 1 });
      return tensor;
    });
    assert.deepEqual(await same.toFloat32(), z);
    same.dispose();
    await whole.close();
  });
});

test('a model is loaded, trained and saved through bindings smaller than its table', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-binding-'));
  const flags = (output: string) => [
    ...['--model_name_or_path', golden('model')],
    ...['--train_data', golden('example_data', 'retrieval', 'nq.jsonl')],
    ...['--output_dir', path.join(folder, output), '--train_group_size', '3', '--max_steps', '3'],
    ...['--query_max_len', '16', '--passage_max_len', '32', '--per_device_train_batch_size', '2'],
    ...['--unified_finetuning', 'True', '--learning_rate', '1e-3', '--weight_decay', '0.1'],
    ...['--save_strategy', 'no'],
  ];
  const runs = [undefined, 262144].map(async (maxBindingSize) => {
    const name = String(maxBindingSize);
    await finetune(parseFinetuneArguments(flags(name)).args, silentReporter, () =>
      Gpu.open(maxBindingSize ? { maxBindingSize } : {}),
    );
    return SafetensorsFile.open(path.join(folder, name, 'model.safetensors'));
  });
  const [whole, pieces] = [await runs[0]!, await runs[1]!];
  const table = 'embeddings.word_embeddings.weight';
  assert.ok(whole.read(table).byteLength > 3 * 262144);
  for (const name of whole.names()) {
    const [want, got] = [whole.read(name), pieces.read(name)];
    // The norm adds up other pieces, which may move the clipping factor by a bit.
    got.forEach((value, i) => {
      assert.ok(Math.abs(value - want[i]!) <= 2e-5, `${name} at ${i}: ${value}, ${want[i]}`);
    });
  }
  for (const file of [whole, pieces]) file.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

test('more touched rows than a binding holds: merged pieces, their sum and the update', async () => {
  const specs = [{ name: 'table', shape: [ROWS, COLS], table: true, trainable: true, decay: false }];
  const data = values(ROWS * COLS);
  // 170 rows of 96 f32 fit a binding: 710 are touched, some twice, in pieces of 150.
  const pieces = [0, 140, 850, 280, 420, 300].map((first) =>
    Uint32Array.from({ length: 150 }, (_, i) => (first + i) % ROWS),
  );
  const seeds = pieces.map((piece) => values(piece.length * COLS));
  const run = async (on: Gpu) => {
    const store = new ParameterStore(on, specs);
    store.get('table').write(data);
    const optimizer = new StoreAdamW(store, {
      beta1: 0.9,
      beta2: 0.99,
      eps: 1e-8,
      weightDecay: 0,
      maxGradNorm: 0,
    });
    scope(() => {
      pieces.forEach((piece, n) => {
        const index = new RowIndex(on, piece);
        const out = gatherRows(store.get('table'), index);
        backward(out, Tensor.from(on, seeds[n]!, out.shape));
        index.dispose();
      });
    });
    const gradient = (await store.readGradients()).get('table')!;
    await optimizer.step(1e-2);
    const weights = await store.get('table').toFloat32();
    optimizer.dispose();
    store.dispose();
    return { gradient, weights };
  };
  const want = new Float64Array(ROWS * COLS);
  pieces.forEach((piece, n) => {
    piece.forEach((row, i) => {
      for (let c = 0; c < COLS; c++) want[row * COLS + c]! += seeds[n]![i * COLS + c]!;
    });
  });
  const unlimited = await Gpu.open();
  const [whole, limited] = [await run(unlimited), await run(gpu)];
  await unlimited.close();
  want.forEach((value, i) => {
    assert.ok(Math.abs(limited.gradient[i]! - value) < 1e-6, `gradient ${i}`);
  });
  assert.deepEqual(limited, whole);
});
