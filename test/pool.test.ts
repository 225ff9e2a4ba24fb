/** The memory pool over long runs, and planning devices, which must account for memory as real ones do. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  attention,
  backward,
  exp,
  layerNorm,
  linear,
  linearGelu,
  mul,
  sort,
  sum,
} from '../src/autograd/index.js';
import { MachineError } from '../src/errors.js';
import type { Capabilities } from '../src/gpu/capabilities.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { MemoryReport, PoolEntry } from '../src/gpu/memory.js';
import { PackedSequences } from '../src/tensor/packed.js';
import { CounterRandom } from '../src/tensor/random.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { kernelSets, nameOf, runs } from './kernel-sets.js';

const CAPABILITIES: Capabilities = {
  name: 'planned',
  driver: '',
  software: true,
  shaderF16: true,
  subgroups: true,
  subgroupMinSize: 8,
  subgroupMaxSize: 8,
  subgroupMatrixConfigs: [],
  timestamps: true,
  maxBufferSize: 2 ** 31,
  maxBindingSize: 2 ** 27,
  bindingAlignment: 16,
  maxTextureSize: 16384,
  maxWorkgroupsPerDimension: 65535,
  maxWorkgroupInvocations: 1024,
  maxWorkgroupMemory: 32768,
};

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const liveBytes = ({ live }: MemoryReport) => Object.values(live).reduce((a, b) => a + b, 0);
const heldBytes = (report: MemoryReport) => liveBytes(report) + report.pooled;

/** Counts what a planning device's pool makes and destroys from now on. */
function watch(planned: Gpu): { made: number; destroyed: number } {
  const counts = { made: 0, destroyed: 0 };
  const counted = () => {
    counts.made++;
    return { createView: () => ({}), destroy: () => void counts.destroyed++ };
  };
  Object.assign(planned.device, { createBuffer: counted, createTexture: counted });
  return counts;
}

// ---- long runs ---------------------------------------------------------------------------------------------

/** Buffers of tokens × hidden × multiple floats, freed in about the reverse order, some only at the end of the step. */
function nestedStep(on: Gpu, tokens: number): void {
  const [nested, kept]: [PoolEntry[], PoolEntry[]] = [[], []];
  for (let i = 0; i < 40; i++) {
    const multiple = [1, 3, 4, 1, 0.016, 2, 8, 0.25][i % 8]! * (1 + 0.3 * Math.floor(i / 8));
    nested.push(on.pool.allocate(Math.ceil(tokens * multiple) * 4096, 'activations'));
    if (nested.length > 1 && i % 5 > 2) on.pool.release(nested.splice(-2, 1)[0]!);
    if (i % 7 === 4) kept.push(nested.pop()!);
  }
  for (const entry of [...nested.reverse(), ...kept]) on.pool.release(entry);
}

/** What an encoder of 24 layers saves for its gradient, and frees layer by layer on the way back. */
function encoderStep(on: Gpu, tokens: number): void {
  const make = (multiple: number) => on.pool.allocate(tokens * multiple * 4096, 'activations');
  const drop = (...entries: PoolEntry[]) => {
    for (const entry of entries) on.pool.release(entry);
  };
  const height = 2 ** Math.ceil(Math.log2(tokens));
  const saved: PoolEntry[][] = [];
  let x = make(1);
  for (let layer = 0; layer < 24; layer++) {
    const qkv = make(3);
    const texture = on.pool.allocateTexture(768, height, 'rgba32float');
    const [out, logSumExp] = [make(1), make(1 / 64)];
    drop(texture);
    const projected = make(1);
    const middle = make(1);
    drop(projected);
    const [hidden, activated] = [make(4), make(4)];
    const down = make(1);
    const next = make(1);
    drop(down);
    saved.push([x, qkv, out, logSumExp, middle, hidden, activated]);
    x = next;
  }
  let dx = make(1);
  drop(x);
  for (const entries of saved.reverse()) {
    const [dActivated, dHidden] = [make(4), make(4)];
    drop(dActivated, dx);
    const texture = on.pool.allocateTexture(768, height, 'rgba32float');
    const dqkv = make(3);
    drop(dHidden, texture);
    dx = make(1);
    drop(dqkv, ...entries);
  }
  drop(dx);
}

for (const [name, step] of [
  ['nested', nestedStep],
  ['encoder', encoderStep],
] as const)
  test(`1000 ${name} steps of varying length leave the pool where it was after 100`, () => {
    const planned = Gpu.plan({ capabilities: CAPABILITIES });
    planned.pool.allocate(1e8, 'weights');
    const random = new CounterRandom(1, 2);
    const before = liveBytes(planned.memory());
    let early = 0;
    for (let i = 1; i <= 1000; i++) {
      step(planned, 20 + random.int(1981));
      const report = planned.memory();
      assert.equal(liveBytes(report), before);
      assert.ok(heldBytes(report) <= 1.3 * report.peak + (64 << 20), `step ${i} holds ${heldBytes(report)}`);
      if (i === 100) early = heldBytes(report);
    }
    assert.ok(heldBytes(planned.memory()) <= 1.1 * early, `${heldBytes(planned.memory())} after ${early}`);

    // Whatever came before, steps of one length soon neither make nor destroy anything.
    const counts = watch(planned);
    for (let i = 0; i < 5; i++) step(planned, 1234);
    const { made, destroyed } = counts;
    for (let i = 0; i < 20; i++) step(planned, 1234);
    assert.deepEqual(counts, { made, destroyed });
  });

test('equal steps make nothing after the first', () => {
  const planned = Gpu.plan({ capabilities: CAPABILITIES });
  encoderStep(planned, 1000);
  const counts = watch(planned);
  for (let i = 0; i < 20; i++) encoderStep(planned, 1000);
  assert.deepEqual(counts, { made: 0, destroyed: 0 });
});

test('peaks by purpose, and starting them anew', () => {
  const planned = Gpu.plan({ capabilities: CAPABILITIES });
  const weights = planned.pool.allocate(1024, 'weights');
  planned.pool.release(planned.pool.allocate(8192, 'workspace'));
  const gradients = planned.pool.allocate(4096, 'gradients');
  planned.pool.release(planned.pool.allocate(6144, 'activations'));
  const zero = { weights: 0, gradients: 0, optimizer: 0, activations: 0, workspace: 0 };
  const { peak, peakByPurpose, highest } = planned.memory();
  assert.equal(peak, 1024 + 4096 + 6144);
  assert.deepEqual(peakByPurpose, { ...zero, weights: 1024, gradients: 4096, activations: 6144 });
  assert.deepEqual(highest, { ...peakByPurpose, workspace: 8192 });
  planned.pool.release(weights);
  planned.pool.resetPeak();
  const reset = planned.memory();
  assert.equal(reset.peak, 4096);
  assert.deepEqual(reset.peakByPurpose, { ...zero, gradients: 4096 });
  assert.deepEqual(reset.highest, { ...zero, gradients: 4096 });
  planned.pool.release(gradients);
});

test('what is expected fits into the budget whatever was pooled before', () => {
  for (const expected of [true, false]) {
    const planned = Gpu.plan({ capabilities: CAPABILITIES }, 100_000);
    if (expected) planned.pool.expect(100_000 - 256);
    for (const bytes of [20_480, 10_240, 2048])
      planned.pool.release(planned.pool.allocate(bytes, 'activations'));
    const rest = () => {
      for (const bytes of [16_384, 8192, 1792, 57_344, 14_336]) planned.pool.allocate(bytes, 'activations');
    };
    if (expected) rest();
    else assert.throws(rest, MachineError);
  }
});

// ---- planning devices --------------------------------------------------------------------------------------

async function trainingSteps(on: Gpu): Promise<void> {
  const hidden = 128;
  const parameter = (...shape: number[]) => {
    const tensor = Tensor.zeros(on, shape, 'f32', 'weights');
    tensor.requiresGrad = true;
    return tensor;
  };
  const weights = [
    parameter(3 * hidden, hidden),
    parameter(4 * hidden, hidden),
    parameter(hidden, 4 * hidden),
  ];
  const [gamma, beta] = [parameter(hidden), parameter(hidden)];
  for (const lengths of [[70, 3], [200], [1, 9, 33], [150, 150, 20], [64]]) {
    const packed = new PackedSequences(on, lengths);
    await scope(async () => {
      const x = Tensor.from(on, new Float32Array(packed.tokens * hidden).fill(0.1), [packed.tokens, hidden]);
      x.requiresGrad = true;
      const mixed = attention(linear(x, weights[0]!), packed, 4);
      const normed = layerNorm(mixed, gamma, beta, 1e-5, x);
      const y = linear(linearGelu(normed, weights[1]!), weights[2]!);
      const loss = sum(mul(y, y));
      backward(loss);
      await loss.item();
    });
    packed.dispose();
  }
  for (const tensor of [...weights, gamma, beta]) tensor.dispose();
}

for (const kernels of kernelSets)
  test(`a plan has the peaks of the run: ${nameOf(kernels)}`, async (t) => {
    if (!runs(gpu, kernels)) return t.skip('no subgroups of 8');
    const real = await Gpu.open({ kernels });
    const planned = Gpu.plan(real);
    await trainingSteps(real);
    await trainingSteps(planned);
    assert.ok(planned.planning && !real.planning);
    assert.ok(planned.memory().highest.workspace > 0 && planned.memory().peakByPurpose.gradients > 0);
    assert.deepEqual(planned.memory(), real.memory());
    assert.equal(planned.dispatchCount, real.dispatchCount);

    // The peak is what a budget must allow, and no less.
    const { peak } = planned.memory();
    const exact = await Gpu.open({ kernels, memoryBudget: peak });
    exact.pool.expect(peak);
    await trainingSteps(exact);
    assert.equal(exact.memory().peak, peak);
    await assert.rejects(trainingSteps(Gpu.plan(real, peak - 1)), /out of GPU memory/);
    await exact.close();
    await real.close();
    await planned.close();
  });

test('a plan keeps the limits of the adapter, yields zeros, and is not timed', async () => {
  const planned = Gpu.plan({
    capabilities: { ...CAPABILITIES, maxBindingSize: 65536, maxWorkgroupsPerDimension: 10 },
  });
  const rows = Tensor.zeros(planned, [128, 128]);
  // Elements are cut into pieces that can be bound; a row that is one operand's cannot be.
  scope(() => assert.doesNotThrow(() => exp(Tensor.zeros(planned, [20_000]))));
  assert.throws(() => sort(Tensor.zeros(planned, [20_000])), MachineError);
  assert.throws(
    () => planned.dispatch({ label: 'wide', wgsl: '', immediateSize: 0 }, [], new Uint8Array(0), [11]),
    /wide: 11×1×1 workgroups exceed the adapter's 10/,
  );
  assert.deepEqual(await rows.toArray(), new Float32Array(128 * 128));
  await assert.rejects(planned.startProfile(), MachineError);
  await planned.finish();
  await planned.close();
});

test('the same requests get the same buffers, in whatever order those were given back', async () => {
  const planned = Gpu.plan({ capabilities: CAPABILITIES });
  const take = () => [1000, 5000, 1000, 9000, 1000, 5000].map((n) => planned.pool.allocate(n, 'activations'));
  const first = take();
  for (const order of [
    [0, 1, 2, 3, 4, 5],
    [5, 0, 4, 2, 1, 3],
  ]) {
    for (const i of order) planned.pool.release(first[i]!);
    assert.deepEqual(
      take().map(({ serial }) => serial),
      first.map(({ serial }) => serial),
    );
  }
  await planned.close();
});

test('a step finds the bind groups of the step before, also where its batch is a little longer', async () => {
  const device = await Gpu.open();
  let made = 0;
  const original = device.device.createBindGroup.bind(device.device);
  device.device.createBindGroup = (descriptor) => {
    made++;
    return original(descriptor);
  };
  const step = async (tokens: number) => {
    const before = made;
    const result = await scope(async () => {
      const x = Tensor.from(device, new Float32Array(tokens * 64).fill(0.5), [tokens, 64]);
      const y = exp(mul(x, exp(x)));
      return [...(await sum(y).toArray())];
    });
    return { made: made - before, result };
  };
  assert.ok((await step(500)).made >= 4);
  const again = await step(500);
  assert.equal(again.made, 0);
  assert.equal((await step(510)).made, 0);
  assert.deepEqual((await step(500)).result, again.result);
  await device.close();
});

// ---- textures ----------------------------------------------------------------------------------------------

test('textures count as workspace, are pooled by format and width, and make way', () => {
  const planned = Gpu.plan({ capabilities: CAPABILITIES }, 2.6e6);
  const counts = watch(planned);
  const source = Tensor.empty(planned, [256, 256]).binding();
  const { live, liveBuffers, pooled } = planned.memory();
  const texture = planned.rowTexture(source, 1024, 1024 * 256)!;
  assert.equal(planned.memory().live.workspace, live.workspace + 256 * 1024);
  assert.equal(planned.memory().liveBuffers, liveBuffers + 1);
  planned.releaseTexture(texture);
  assert.equal(planned.memory().pooled, pooled + 256 * 1024);
  assert.equal(planned.rowTexture(source, 1024, 1024 * 250), texture);
  planned.releaseTexture(texture);
  const half = planned.rowTexture(source, 512, 512 * 256, 'rgba16float')!;
  assert.notEqual(half, texture);
  assert.equal(planned.memory().live.workspace, live.workspace + 128 * 1024);
  planned.releaseTexture(half);
  // Of the two, the one released first makes way for a buffer.
  Tensor.empty(planned, [500_000]);
  assert.equal(counts.destroyed, 1);
  assert.equal(planned.memory().pooled, 128 * 1024);
  planned.pool.trim();
  assert.equal(counts.destroyed, 2);
  assert.throws(
    () => planned.rowTexture(source, 4096, 4096 * 256),
    /^MachineError: out of GPU memory: 1\.0 MB more for workspace/,
  );
  assert.equal(planned.rowTexture(source, 1000, 4000), undefined);
  assert.equal(planned.rowTexture(source, 1024, 1024 * 16385), undefined);
});

test('rows of halves and of floats arrive in textures; a texture outlives the recording that reads it', async () => {
  const cols = 128;
  for (const [format, data] of [
    ['rgba16float', Uint16Array.from({ length: 3 * cols }, (_, i) => 0x3c00 + i)],
    ['rgba32float', Float32Array.from({ length: 3 * cols }, (_, i) => 1 + i / 1024)],
  ] as const)
    await scope(async () => {
      const source = Tensor.from(gpu, data, [3, cols], format === 'rgba16float' ? 'f16' : 'f32');
      const out = Tensor.zeros(gpu, [3, cols]);
      const texture = gpu.rowTexture(source.binding(), source.bytes / 3, source.bytes, format)!;
      const wgsl = `
@group(0) @binding(0) var source: texture_2d<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4f>;
@compute @workgroup_size(32) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) i: u32) {
  out[group.x * 32u + i] = textureLoad(source, vec2u(i, group.x), 0);
}`;
      gpu.dispatch(
        { label: `read ${format}`, wgsl, immediateSize: 0 },
        [texture, out.binding()],
        new Uint8Array(0),
        [3],
      );
      gpu.releaseTexture(texture);
      gpu.pool.trim();
      assert.deepEqual(
        await out.toArray(),
        Float32Array.from({ length: 3 * cols }, (_, i) => 1 + i / 1024),
      );
    });
});

// ---- uploads -----------------------------------------------------------------------------------------------

test('writing much without reading does not pile up staging memory', async (t) => {
  if (!gpu.capabilities.software) return t.skip('only a software adapter keeps it in memory that we can see');
  await scope(async () => {
    const piece = new Float32Array(16 << 18).fill(1);
    const target = Tensor.empty(gpu, [4 * piece.length]);
    const write = () => {
      for (let i = 0; i < 4; i++) target.write(piece, i * piece.length);
    };
    write();
    await gpu.finish();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 4; i++) write();
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 128 << 20, `${grown} bytes more after writing 256 MiB`);
  });
});
