/** The launcher: how operands are cut, what a shader accepts, and that its source depends on its form alone. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MachineError, ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import {
  byRows,
  flat,
  type Operand,
  partOf,
  piecesOf,
  whole,
  windowed,
} from '../src/kernels/launch/operands.js';
import { rebuildShaders, shaderOf } from '../src/kernels/launch/shader.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

let gpu: Gpu;
/** Binds at multiples of 256 bytes, as the strictest adapters do. */
let strict: Gpu;
before(async () => {
  gpu = await Gpu.open({ maxBindingSize: 4096, maxWorkgroupsPerDimension: 8 });
  strict = Gpu.plan({ capabilities: { ...gpu.capabilities, bindingAlignment: 256 } });
});
after(() => gpu.close());

const emptyOn = (on: Gpu, shape: number[], dtype: 'f32' | 'f16' = 'f32') => Tensor.empty(on, shape, dtype);
const spans = (operands: Record<string, Operand>, most = Infinity) =>
  piecesOf('test', strict, operands, ({ count }) => count <= most).map(({ start, count }) => [start, count]);

describe('pieces', () => {
  test('one where everything fits, whatever its size', () =>
    scope(() => {
      assert.deepEqual(
        spans({ x: byRows(emptyOn(strict, [7, 3])), y: byRows(emptyOn(strict, [7]), { rows: 7 }) }),
        [[0, 7]],
      );
      assert.deepEqual(spans({ x: byRows(emptyOn(strict, [0, 3])) }), [[0, 0]]);
      assert.deepEqual(spans({ x: byRows(emptyOn(strict, [5, 0])) }), [[0, 5]]);
      assert.deepEqual(spans({ x: flat(emptyOn(strict, [1024])) }), [[0, 1024]]);
      assert.deepEqual(spans({ x: whole(emptyOn(strict, [1024])) }), [[0, 1]]);
    }));

  test('begin where every operand can be bound, and are as large as the widest allows', () =>
    scope(() => {
      // 12 bytes a row: only every 64th row begins at a multiple of 256 bytes. 341 rows fit.
      assert.deepEqual(spans({ x: byRows(emptyOn(strict, [400, 3])) }), [
        [0, 320],
        [320, 80],
      ]);
      // Halves beside floats: 4096 bytes are 1024 floats, and 128 halves are 256 bytes.
      assert.deepEqual(spans({ x: flat(emptyOn(strict, [1500])), y: flat(emptyOn(strict, [1500], 'f16')) }), [
        [0, 1024],
        [1024, 476],
      ]);
      // Chunks of four rows to a row of the others.
      assert.deepEqual(
        spans({ x: byRows(emptyOn(strict, [25, 64]), { each: 4 }), y: byRows(emptyOn(strict, [7, 64])) }),
        [
          [0, 4],
          [4, 3],
        ],
      );
    }));

  test('are smaller where a grid asks for it', () =>
    scope(() => {
      const found = spans({ x: flat(emptyOn(strict, [900])) }, 300);
      assert.ok(found.every(([, count]) => count! <= 300));
      assert.equal(
        found.reduce((sum, [, count]) => sum + count!, 0),
        900,
      );
    }));

  test('refuse what cannot be cut', () =>
    scope(() => {
      assert.throws(
        () => spans({ x: byRows(emptyOn(strict, [3, 2000])) }),
        /of x \[3,2000\] f32 must be seen at once/,
      );
      assert.throws(
        () => spans({ x: byRows(emptyOn(strict, [3, 2])), y: byRows(emptyOn(strict, [4, 2])) }),
        ShapeError,
      );
      assert.throws(() => byRows(emptyOn(strict, [3, 2]), { rows: 4 }), ShapeError);
      assert.throws(() => flat(emptyOn(strict, [3]), { start: 1, count: 3 }), ShapeError);
    }));

  test('a window shows the elements that are asked for, and all of what fits', () =>
    scope(() => {
      const x = emptyOn(strict, [5000]);
      const y = emptyOn(strict, [100]);
      // 40 rows of 125, each with one element of the row before it.
      const operands = {
        x: windowed(x, 40, ({ start, count }) => [Math.max(0, start * 125 - 1), count * 125 + 1]),
        y: windowed(y, 40, ({ start }) => [start, 1]),
      };
      const pieces = piecesOf('test', strict, operands);
      assert.equal(
        pieces.reduce((sum, { count }) => sum + count, 0),
        40,
      );
      for (const piece of pieces) {
        const { part, base } = partOf(operands.x, piece);
        assert.ok('offset' in part && part.offset === base * 4 && base % 64 === 0 && part.size <= 4096);
        assert.ok(base <= Math.max(0, piece.start * 125 - 1));
        assert.ok(base + part.size / 4 >= (piece.start + piece.count) * 125);
        assert.deepEqual(partOf(operands.y, piece), { part: y, base: 0 });
      }
      assert.throws(() => spans({ x: windowed(x, 2, () => [0, 2000]) }), /must be seen at once/);
    }));
});

const empty = (shape: number[], dtype: 'f32' | 'f16' = 'f32') => emptyOn(gpu, shape, dtype);
const copy = (type: string, dtypes?: Record<string, 'f16'>) =>
  shaderOf('test.copy', { type, ...dtypes }, (form) => ({
    label: 'copy',
    params: { count: 'u32' } as const,
    buffers: { X: form.type, outY: form.type },
    ...('X' in form ? { dtypes: { X: 'f16', outY: 'f16' } as const } : {}),
    ...(form.type.includes('<f16>') ? { enables: ['f16'] as const } : {}),
    body: `@compute @workgroup_size(1) fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = group.y * groups.x + group.x;
  if (i < p.count) { outY[i] = X[i]; }
}`,
  }));

describe('launch', () => {
  test('cuts operands and grids, and takes the operands in any order', async () =>
    scope(async () => {
      const data = Float32Array.from({ length: 3000 }, (_, i) => i);
      const [x, y] = [Tensor.from(gpu, data, [3000]), empty([3000])];
      // 8 × 8 workgroups of one element each: many pieces.
      copy('array<f32>').launch(
        gpu,
        { outY: flat(y), X: flat(x) },
        ({ count }) => ({ count }),
        ({ count }) => count,
      );
      assert.deepEqual(await y.toArray(), data);
    }));

  test('refuses missing, unknown and freed operands, other dtypes, and what no grid has', () =>
    scope(() => {
      const [x, y, halves] = [empty([8]), empty([8]), empty([64], 'f16')];
      const launch = (type: string, operands: Record<string, Operand>, dtypes?: Record<string, 'f16'>) =>
        copy(type, dtypes).launch(
          gpu,
          operands,
          () => ({ count: 1 }),
          () => 1,
        );
      assert.throws(() => launch('array<f32>', { X: flat(x) }), MachineError);
      assert.throws(() => launch('array<f32>', { X: flat(x), outY: flat(y), Z: flat(y) }), MachineError);
      assert.throws(() => launch('array<f32>', { X: flat(halves), outY: flat(halves) }), /works on f32/);
      for (const type of ['array<Half2>', 'array<Half4>', 'array<Half8>', 'array<f16>']) {
        if (type === 'array<f16>' && !gpu.capabilities.shaderF16) continue;
        assert.throws(() => launch(type, { X: whole(x), outY: whole(y) }), /works on f16/);
        launch(type, { X: whole(halves), outY: whole(empty([64], 'f16')) });
      }
      // Packed halves in words, as the definition says.
      assert.throws(() => launch('array<vec4u>', { X: whole(halves), outY: whole(halves) }), /works on u32/);
      launch('array<vec4u>', { X: whole(halves), outY: whole(empty([64], 'f16')) }, { X: 'f16' });
      assert.throws(() => launch('array<vec4u>', { X: whole(x), outY: whole(y) }, { X: 'f16' }), /f16/);
      assert.throws(
        () =>
          copy('array<f32>').launch(
            gpu,
            { X: whole(x), outY: whole(y) },
            () => ({ count: 1 }),
            () => [9],
          ),
        /workgroups exceed/,
      );
    }));

  test('reads rows through sampled and storage textures of the format that it names', async () =>
    scope(async () => {
      const data = Float32Array.from({ length: 192 }, (_, i) => i);
      const rows = gpu.rowTexture(Tensor.from(gpu, data, [3, 64]).binding(), 256, 3 * 256)!;
      const read = (type: string, load: string) => {
        const y = empty([3, 64]);
        shaderOf('test.texture', { type, load }, (form) => ({
          label: 'texture',
          params: {},
          buffers: { T: form.type, outY: 'array<vec4f>' },
          body: `@compute @workgroup_size(16) fn main(@builtin(workgroup_id) g: vec3u, @builtin(local_invocation_index) i: u32) {
  outY[g.x * 16u + i] = ${form.load};
}`,
        })).launch(
          gpu,
          { T: whole(rows), outY: whole(y) },
          () => ({}),
          () => 3,
        );
        return y.toArray();
      };
      assert.deepEqual(await read('texture_2d<f32>', 'textureLoad(T, vec2u(i, g.x), 0)'), data);
      assert.deepEqual(
        await read('texture_storage_2d<rgba32float, read>', 'textureLoad(T, vec2u(i, g.x))'),
        data,
      );
      assert.throws(
        () => read('texture_storage_2d<rgba16float, read>', 'textureLoad(T, vec2u(i, g.x))'),
        /works on rgba16float here, operand T is rgba32float/,
      );
      gpu.releaseTexture(rows);
    }));
});

test('a source that depends on more than its form is found out', () => {
  const make = (factor: string) =>
    shaderOf('test.captures', { of: 1 }, () => ({
      label: 'captures',
      params: {},
      buffers: { outY: 'array<f32>' },
      body: `@compute @workgroup_size(1) fn main() { outY[0] = ${factor}; }`,
    }));
  rebuildShaders(true);
  try {
    assert.equal(make('1.0'), make('1.0'));
    assert.throws(() => make('2.0'), /depends on more than its form/);
  } finally {
    rebuildShaders(false);
  }
});
