/**
 * What is not valid belongs to the call that made it: it is thrown there, or by the next wait where only the
 * submission shows it, once; then the device computes on.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { add, attention, matmul, mul, scale, square } from '../src/autograd/index.js';
import { silentReporter } from '../src/console/reporter.js';
import { InputError, MachineError, ShapeError } from '../src/errors.js';
import { type Binding, Gpu, type PoolBuffer, type ShaderSource } from '../src/gpu/gpu.js';
import { addInPlace } from '../src/kernels/pointwise.js';
import { PackedSequences } from '../src/tensor/packed.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { finetune } from '../src/train/trainer.js';
import { golden } from './repository.js';

let gpu: Gpu;
let other: Gpu;
before(async () => {
  gpu = await Gpu.open();
  other = await Gpu.open();
});
after(async () => {
  await gpu.close();
  await other.close();
});

/** Two waits and right numbers: nothing of an error is left. */
async function computes(on: Gpu): Promise<void> {
  await scope(async () => {
    const a = Tensor.from(on, [1, 2, 3, 4], [2, 2]);
    assert.deepEqual([...(await matmul(a, a).toFloat32())], [7, 10, 15, 22]);
    assert.deepEqual([...(await add(a, a).toFloat32())], [2, 4, 6, 8]);
  });
  await on.finish();
}
afterEach(async () => {
  await computes(gpu);
  assert.equal(gpu.memory().liveBuffers, 0);
});

const source = (label: string, body: string, buffers: string): ShaderSource => ({
  label,
  wgsl: `${buffers}\n@compute @workgroup_size(1) fn main() { ${body} }`,
  immediateSize: 0,
});
const READ = '@group(0) @binding(0) var<storage, read> X: array<f32>;';
const WRITE = '@group(0) @binding(1) var<storage, read_write> Y: array<f32>;';
const DOUBLE = source('double', 'Y[0] = 2.0 * X[0];', READ + WRITE);
const nothing = new Uint32Array(0);
/** The same memory under another identity: what no check on the host can see through. */
const disguised = ({ entry, ...rest }: Binding): Binding => ({ ...rest, entry: { ...entry } as PoolBuffer });

/** Calls that throw at once. */
const atOnce: Record<string, [RegExp, () => void]> = {
  'a shader that does not compile': [
    /bad: .*[\s\S]*nonsense/,
    () => gpu.dispatch(source('bad', 'nonsense', ''), [], nothing, [1]),
  ],
  'a binding too few': [
    /double: 1 operands for 2 bindings/,
    () => scope(() => gpu.dispatch(DOUBLE, [Tensor.zeros(gpu, [1]).binding()], nothing, [1])),
  ],
  'a binding too many': [
    /double: 3 operands for 2 bindings/,
    () =>
      scope(() => {
        const [a, b, c] = [Tensor.zeros(gpu, [1]), Tensor.zeros(gpu, [1]), Tensor.zeros(gpu, [1])];
        gpu.dispatch(DOUBLE, [a.binding(), b.binding(), c.binding()], nothing, [1]);
      }),
  ],
  'a binding that nothing in the shader reads': [
    /idle: .*/,
    () =>
      scope(() =>
        gpu.dispatch(
          source('idle', 'Y[0] = 1.0;', READ + WRITE),
          [Tensor.zeros(gpu, [1]).binding(), Tensor.zeros(gpu, [1]).binding()],
          nothing,
          [1],
        ),
      ),
  ],
  'one buffer read and written': [
    /double: an operand that is written and one that is read are one buffer/,
    () =>
      scope(() => {
        const a = Tensor.zeros(gpu, [1]);
        gpu.dispatch(DOUBLE, [a.binding(), a.binding()], nothing, [1]);
      }),
  ],
  'a tensor added to itself in place': [
    /addInPlace: .*one buffer/,
    () =>
      scope(() => {
        const a = Tensor.zeros(gpu, [4]);
        addInPlace(a, a.view([4]));
      }),
  ],
  'tensors of two devices': [
    /double: an operand is on another device/,
    () =>
      scope(() =>
        gpu.dispatch(
          DOUBLE,
          [Tensor.zeros(other, [1]).binding(), Tensor.zeros(gpu, [1]).binding()],
          nothing,
          [1],
        ),
      ),
  ],
  'a copy to another device': [
    /copy: an operand is on another device/,
    () => scope(() => gpu.copy(Tensor.zeros(other, [4]).binding(), Tensor.zeros(gpu, [4]).binding())),
  ],
  'a freed buffer': [
    /double: use of memory that was already freed/,
    () =>
      scope(() => {
        const [a, b] = [Tensor.zeros(gpu, [1]), Tensor.zeros(gpu, [1])];
        const binding = a.binding();
        a.dispose();
        gpu.dispatch(DOUBLE, [binding, b.binding()], nothing, [1]);
      }),
  ],
  'a binding beyond its buffer': [
    /double: bytes 0 to 1048576 of buffer \d+/,
    () =>
      scope(() =>
        gpu.dispatch(
          DOUBLE,
          [{ ...Tensor.zeros(gpu, [1]).binding(), size: 1 << 20 }, Tensor.zeros(gpu, [1]).binding()],
          nothing,
          [1],
        ),
      ),
  ],
  'an offset that the adapter cannot bind': [
    /cannot be bound/,
    () =>
      scope(() =>
        gpu.dispatch(
          DOUBLE,
          [{ ...Tensor.zeros(gpu, [64]).binding(), offset: 4, size: 16 }, Tensor.zeros(gpu, [1]).binding()],
          nothing,
          [1],
        ),
      ),
  ],
  'half a word copied': [
    /copy: bytes 2 to 6/,
    () =>
      scope(() =>
        gpu.copy(
          { ...Tensor.zeros(gpu, [4]).binding(), offset: 2, size: 4 },
          { ...Tensor.zeros(gpu, [4]).binding(), size: 4 },
        ),
      ),
  ],
  'a copy within one buffer': [
    /copy: from a buffer to itself/,
    () =>
      scope(() => {
        const a = Tensor.zeros(gpu, [64]);
        gpu.copy({ ...a.binding(), size: 16 }, { ...a.binding(), offset: 32, size: 16 });
      }),
  ],
  'a copy beyond the target': [
    /copy: bytes/,
    () => scope(() => gpu.copy(Tensor.zeros(gpu, [4096]).binding(), Tensor.zeros(gpu, [4]).binding())),
  ],
  'a clear beyond the buffer': [
    /clear: bytes/,
    () => scope(() => gpu.clear({ ...Tensor.zeros(gpu, [4]).binding(), offset: 1 << 20 })),
  ],
  'an upload beyond the buffer': [
    /upload: bytes/,
    () =>
      scope(() => gpu.upload({ ...Tensor.zeros(gpu, [4]).binding(), offset: 1 << 20 }, new Uint32Array(4))),
  ],
  'an upload of more than the range': [
    /upload: 64 bytes into a range of 16/,
    () => scope(() => gpu.upload(Tensor.zeros(gpu, [4]).binding(), new Uint32Array(16))),
  ],
  'too many workgroups': [
    /double: .*workgroups exceed/,
    () =>
      scope(() =>
        gpu.dispatch(
          DOUBLE,
          [Tensor.zeros(gpu, [1]).binding(), Tensor.zeros(gpu, [1]).binding()],
          nothing,
          [1e6],
        ),
      ),
  ],
  'a number of workgroups that is none': [
    /double: .*workgroups/,
    () =>
      scope(() =>
        gpu.dispatch(DOUBLE, [Tensor.zeros(gpu, [1]).binding(), Tensor.zeros(gpu, [1]).binding()], nothing, [
          Number.NaN,
        ]),
      ),
  ],
};
for (const [name, [says, call]] of Object.entries(atOnce))
  test(`${name} is thrown at once and only there`, async () => {
    for (let time = 0; time < 2; time++)
      assert.throws(call, (error: unknown) => {
        assert.ok(error instanceof MachineError, String(error));
        assert.match(error.message, says);
        return true;
      });
    const b = other.memory().liveBuffers;
    assert.equal(b, 0);
  });

test('what only the submission shows is thrown by the next wait, once, and says what was lost', async () => {
  const hidden: [RegExp, (a: Tensor) => void][] = [
    [
      /usage|writable|read/i,
      (a) => gpu.dispatch(DOUBLE, [disguised(a.binding()), a.binding()], nothing, [1]),
    ],
    [/destroy/i, (a) => a.binding().entry.buffer.destroy()],
  ];
  for (const [says, spoil] of hidden) {
    const ones = Tensor.from(gpu, [1, 1], [2]);
    const victim = Tensor.from(gpu, [1, 1], [2]);
    await gpu.finish();
    const before = add(ones, ones);
    square(victim).dispose();
    spoil(victim);
    const after = scale(ones, 3);
    await assert.rejects(
      after.toArray(),
      (error: unknown) =>
        error instanceof MachineError &&
        says.test(error.message) &&
        /none of its \d+ dispatches was run \(.*add.*\)/.test(error.message),
    );
    // Told once; what was there before is there still, what was to be computed is known to be missing.
    assert.deepEqual([...(await ones.toFloat32())], [1, 1]);
    await assert.rejects(before.toArray(), /read: an operand was never computed: .*none of its/);
    assert.throws(() => scope(() => mul(before, ones)), /never computed/);
    // It may be written again.
    before.write(Float32Array.of(5, 6));
    const product = mul(before, ones);
    assert.deepEqual([...(await product.toFloat32())], [5, 6]);
    for (const tensor of [ones, before, after, product]) tensor.dispose();
    // A buffer that is gone stays in the pool; the driver's own must not come back from there.
    victim.dispose();
    gpu.pool.trim();
  }
});

test('a recording that fails in the middle of others takes only itself', async () => {
  await scope(async () => {
    const a = Tensor.from(gpu, [2], [1]);
    const kept = square(a);
    gpu.flush();
    gpu.dispatch(DOUBLE, [disguised(a.binding()), a.binding()], nothing, [1]);
    // Far more than one submission holds: calls that only record are not blamed.
    let x = kept;
    for (let i = 0; i < 300; i++) x = scale(kept, 1);
    await assert.rejects(gpu.finish(), /none of its/);
    assert.equal(await kept.item(), 4);
    assert.equal(await x.item(), 4);
  });
});

test('memory that the driver refuses is an error of that allocation', async () => {
  const create = gpu.device.createBuffer.bind(gpu.device);
  let refusals = 0;
  // A buffer larger than the device allows, which the pool's own limit would not let through.
  gpu.device.createBuffer = (descriptor) => {
    if (descriptor.size < 1e6) return create(descriptor);
    refusals++;
    return create({ ...descriptor, size: 2 ** 44 });
  };
  try {
    assert.throws(() => Tensor.empty(gpu, [1e6]), /more for activations: /);
    assert.ok(refusals > 0);
  } finally {
    gpu.device.createBuffer = create;
  }
  assert.equal(gpu.memory().liveBuffers, 0);
});

test('two devices, odd halves and copies onto themselves from the public side', async () => {
  await scope(async () => {
    const x = Tensor.from(gpu, [1, 2, 3], [3]);
    x.copyFrom(x.view(x.shape));
    assert.deepEqual([...(await x.toFloat32())], [1, 2, 3]);
    assert.throws(() => add(x, Tensor.from(other, [1, 2, 3], [3])), /add: a and b are on different devices/);
    assert.throws(() => x.copyFrom(Tensor.from(other, [1, 2, 3], [3])), /devices/);
    assert.throws(
      () => attention(Tensor.zeros(gpu, [3, 24]), new PackedSequences(other, [3]), 2),
      /another device/,
    );
    const half = Tensor.from(gpu, Uint16Array.of(0x3c00, 0x4000, 0x4200), [3], 'f16');
    half.copyFrom(half.view([3]), 1, 0, 2);
    assert.deepEqual([...(await half.toFloat32())], [1, 1, 2]);
  });
});

test('a lost device stays lost and says so', async () => {
  const lost = await Gpu.open();
  const x = Tensor.from(lost, [1], [1]);
  lost.device.destroy();
  await assert.rejects(async () => square(x).toArray(), MachineError);
  await new Promise((resolve) => setTimeout(resolve, 20));
  for (let i = 0; i < 2; i++) await assert.rejects(async () => square(x).toArray(), /lost/);
});

test('a device that was closed computes nothing more', async () => {
  const closed = await Gpu.open();
  const x = Tensor.from(closed, [1], [1]);
  await closed.close();
  await assert.rejects(async () => square(x).toArray(), /the GPU device was closed/);
  await assert.rejects(async () => x.toArray(), /the GPU device was closed/);
  x.dispose();
  await closed.close();
});

test('resources carry labels, so that messages name them', async () => {
  const x = Tensor.zeros(gpu, [4]);
  assert.match(x.binding().entry.buffer.label, /^buffer \d+ of 256 B$/);
  x.dispose();
});

test('a fault of the engine in a step of training is not told as one of its rows', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-fault-'));
  try {
    const data = path.join(folder, 'rows.jsonl');
    fs.writeFileSync(data, '{"query":"a","pos":["b"],"neg":["c"]}\n'.repeat(2));
    const { args } = parseFinetuneArguments([
      ...[
        '--model_name_or_path',
        golden('model'),
        '--train_data',
        data,
        '--output_dir',
        path.join(folder, 'out'),
      ],
      ...['--train_group_size', '2', '--per_device_train_batch_size', '2', '--max_steps', '1'],
    ]);
    const broken = async () => {
      const opened = await Gpu.open();
      opened.dispatch = () => {
        throw new ShapeError('broken', 'a fault', { x: { shape: [1], dtype: 'f32' } });
      };
      return opened;
    };
    await assert.rejects(finetune(args, silentReporter, broken), (error: unknown) => {
      assert.ok(error instanceof ShapeError && !(error instanceof InputError), String(error));
      assert.equal(error.message, 'broken: a fault: x [1] f32');
      assert.equal(error.exitCode, 1);
      return true;
    });
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});
