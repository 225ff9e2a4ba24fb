/** Making tensors, reading and showing them, random ones, and who is still alive. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { inspect } from 'node:util';
import * as ops from '../src/autograd/index.js';
import { ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { nextBelow } from '../src/kernels/draw.js';
import { normalOf } from '../src/kernels/normal-table.js';
import { threefry4x32 } from '../src/kernels/random.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import type { NestedData, NestedValues } from '../src/tensor/nested.js';
import { RandomStreams } from '../src/tensor/random-streams.js';
import { scope } from '../src/tensor/scope.js';
import type { DType, Tensor } from '../src/tensor/tensor.js';

let gpu: Gpu;
/** Bindings of 4 kB: what is larger is made in pieces. */
let limited: Gpu;
before(async () => {
  gpu = await Gpu.open();
  limited = await Gpu.open({ maxBindingSize: 4096, maxWorkgroupsPerDimension: 8 });
});
after(async () => {
  assert.equal(gpu.memory().liveBuffers + limited.memory().liveBuffers, 0);
  await gpu.close();
  await limited.close();
});

const every: DType[] = ['f32', 'f16', 'i32', 'u32', 'bool'];

test('tensor takes lists, numbers and typed arrays, in the format of the data', async () => {
  const cases: [data: NestedData, dtype: DType, shape: number[], nested?: NestedValues][] = [
    [3, 'f32', []],
    [true, 'bool', []],
    [[], 'f32', [0]],
    [[[], []], 'f32', [2, 0]],
    [[1, 2, 3], 'f32', [3]],
    [
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      'f32',
      [3, 2],
    ],
    [[[[true, false]], [[false, false]]], 'bool', [2, 1, 2]],
    [Float32Array.of(0.5, 2), 'f32', [2], [0.5, 2]],
    [Float64Array.of(0.1, 2), 'f32', [2], [Math.fround(0.1), 2]],
    [Int32Array.of(-1, 2), 'i32', [2], [-1, 2]],
    [Uint32Array.of(2 ** 32 - 1), 'u32', [1], [2 ** 32 - 1]],
    [Uint16Array.of(0x3c00, 0xc000), 'f16', [2], [1, -2]],
    [Uint8Array.of(1, 0), 'bool', [2], [true, false]],
    [
      [Float32Array.of(1, 2), Float32Array.of(3, 4)],
      'f32',
      [2, 2],
      [
        [1, 2],
        [3, 4],
      ],
    ],
  ];
  await scope(async () => {
    for (const [data, dtype, shape, nested = data] of cases) {
      const x = ops.tensor(gpu, data);
      assert.equal(x.dtype, dtype);
      assert.deepEqual(x.shape, shape);
      assert.deepEqual(await x.toNested(), nested);
    }
    assert.deepEqual(await ops.tensor(gpu, [1, 2, 3, 4], { shape: [2, 2] }).toNested(), [
      [1, 2],
      [3, 4],
    ]);
    for (const dtype of ['f32', 'f16', 'i32', 'u32'] as const)
      assert.deepEqual(await ops.tensor(gpu, [[3, 4]], { dtype }).toNested(), [[3, 4]]);
    const leaf = ops.tensor(gpu, [1, 2], { requiresGrad: true, label: 'w' });
    assert.ok(leaf.requiresGrad && leaf.label === 'w');
  });
});

test('lists that are ragged, and values that do not fit, are refused with their place', () => {
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  const cases: [data: unknown, error: typeof ShapeError | typeof TypeError, says: RegExp, dtype?: DType][] = [
    [[[1, 2], [3]], ShapeError, /ragged: data\[1\] is a list of 1, data\[0\] is a list of 2/],
    [[[1, 2], 3], ShapeError, /ragged: data\[1\] is a number, data\[0\] is a list of 2/],
    [[1, [2]], ShapeError, /ragged: data\[1\] is a list of 1, data\[0\] is a number/],
    [
      [
        [[1], [2]],
        [[1], 2],
      ],
      ShapeError,
      /ragged: data\[1\]\[1\] is a number, data\[0\]\[0\] is a list of 1/,
    ],
    [[[], [1]], ShapeError, /ragged: data\[1\] is a list of 1, data\[0\] is a list of 0/],
    [[Float32Array.of(1), Int32Array.of(1)], ShapeError, /data\[1\] is a Int32Array of 1/],
    [[Float32Array.of(1), [1]], ShapeError, /data\[1\] is a list of 1, data\[0\] is a Float32Array of 1/],
    [[Float32Array.of(1), Float32Array.of(1, 2)], ShapeError, /data\[1\] is a Float32Array of 2/],
    [cyclic, ShapeError, /nested deeper than 32/],
    ['12', TypeError, /data is "12", neither a number nor a boolean/],
    [[['a']], TypeError, /data\[0\]\[0\] is "a"/],
    [[new Array(2)], TypeError, /data\[0\]\[0\] is nothing/],
    [undefined, TypeError, /data is nothing/],
    [
      [
        [true, true],
        [false, 1],
      ],
      TypeError,
      /number at data\[1\]\[1\] does not fit a tensor of bool/,
    ],
    [[[1, true]], TypeError, /boolean at data\[0\]\[1\] does not fit a tensor of f32/],
    [[[1], [1.5]], TypeError, /number 1.5 at data\[1\]\[0\] does not fit a tensor of i32/, 'i32'],
    [-1, TypeError, /the number -1 does not fit a tensor of u32/, 'u32'],
    [Uint8Array.of(1, 7), TypeError, /7 at data\[1\] is no bool/],
    [Uint8Array.of(1, 7), TypeError, /Uint8Array \(bool\) does not fit a tensor of f32; .*Array.from/, 'f32'],
    [new BigInt64Array(1), TypeError, /BigInt64Array is none of/],
    [[1], TypeError, /tensor: no dtype f64/, 'f64' as DType],
  ];
  for (const [data, kind, says, dtype] of cases)
    assert.throws(
      () => ops.tensor(gpu, data as NestedData, { dtype }),
      (error: Error) => {
        assert.ok(error instanceof kind, `${says}: ${error}`);
        assert.match(error.message, says);
        return true;
      },
    );
});

test('values everywhere, of every format, in pieces too', async () => {
  for (const device of [gpu, limited])
    for (const dtype of every)
      for (const shape of [[], [0], [7], [3, 1367]])
        await scope(async () => {
          const size = shape.reduce((a, b) => a * b, 1);
          const some = dtype === 'bool' ? true : dtype === 'i32' ? -3 : 3;
          const x = ops.full(device, shape, some, { dtype });
          const cases: [Tensor, number | boolean][] = [
            [ops.zeros(device, shape, { dtype }), dtype === 'bool' ? false : 0],
            [ops.ones(device, shape, { dtype }), dtype === 'bool' ? true : 1],
            [x, some],
            [ops.zerosLike(x), dtype === 'bool' ? false : 0],
            [ops.onesLike(x), dtype === 'bool' ? true : 1],
            [ops.fullLike(x, some), some],
          ];
          for (const [tensor, value] of cases) {
            assert.deepEqual([tensor.dtype, tensor.shape], [dtype, shape]);
            const nested = [await tensor.toNested()].flat(3);
            assert.equal(nested.length, size);
            assert.ok(nested.every((each) => each === value));
          }
          assert.deepEqual(ops.emptyLike(x, { dtype: 'f32' }).dtype, 'f32');
        });
  await scope(async () => {
    assert.equal((await ops.full(gpu, [1], -0).toArray('f32'))[0], -0);
    assert.equal(ops.full(gpu, [1], true).dtype, 'bool');
    for (const [value, dtype] of [
      [0.5, 'i32'],
      [1, 'bool'],
      [true, 'f32'],
    ] as const)
      assert.throws(() => ops.full(gpu, [1], value, { dtype }), /^TypeError: full: .* does not fit/);
  });
});

test('the identity, of every format, in pieces too', async () => {
  for (const device of [gpu, limited])
    for (const dtype of every)
      for (const [rows, columns] of [
        [3, 3],
        [2, 5],
        [45, 101],
        [101, 45],
        [3, 1],
        [0, 4],
      ] as const)
        await scope(async () => {
          const x = (await ops.eye(device, rows, columns, { dtype }).toNested()) as NestedValues[];
          const [no, yes] = dtype === 'bool' ? [false, true] : [0, 1];
          assert.deepEqual(
            x,
            Array.from({ length: rows }, (_, r) =>
              Array.from({ length: columns }, (_, c) => (r === c ? yes : no)),
            ),
          );
        });
});

test('sequences are those of float64, rounded once', async () => {
  await scope(async () => {
    assert.deepEqual(await ops.arange(gpu, 4).toNested(), [0, 1, 2, 3]);
    assert.deepEqual(await ops.arange(gpu, 1, 4, { dtype: 'i32' }).toNested(), [1, 2, 3]);
    assert.deepEqual(await ops.arange(gpu, 5, -1, -2, { dtype: 'i32' }).toNested(), [5, 3, 1]);
    assert.deepEqual(await ops.arange(gpu, 3, 3).toNested(), []);
    const tenths = await ops.arange(gpu, 0, 1, 0.1).toArray('f32');
    assert.deepEqual(
      tenths,
      Float32Array.from({ length: 10 }, (_, i) => i * 0.1),
    );
    const many = await ops.arange(gpu, 2 ** 18 + 3, { dtype: 'u32' }).toArray('u32');
    assert.ok(many.length === 2 ** 18 + 3 && many.every((value, i) => value === i));
    const halves = ops.arange(gpu, 7, { dtype: 'f16' });
    assert.deepEqual(await halves.toNested(), [0, 1, 2, 3, 4, 5, 6]);
    assert.throws(
      () => ops.arange(gpu, 0, 1, 0.5, { dtype: 'i32' }),
      /0.5 of the sequence does not fit .* i32/,
    );
    assert.throws(() => ops.arange(gpu, -1, 2 ** 31, 1, { dtype: 'u32' }), TypeError);
    assert.deepEqual(await ops.linspace(gpu, 0, 1, 5).toNested(), [0, 0.25, 0.5, 0.75, 1]);
    assert.deepEqual(await ops.linspace(gpu, 2, 3, 1).toNested(), [2]);
    assert.deepEqual(await ops.linspace(gpu, 2, 3, 0).toNested(), []);
    const line = await ops.linspace(gpu, -0.1, 0.3, 1001).toArray('f32');
    assert.deepEqual([line[0], line[1000]], [Math.fround(-0.1), Math.fround(0.3)]);
  });
});

test('values are read as arrays of their format, or refused', async () => {
  await scope(async () => {
    for (const dtype of every) {
      const x = ops.ones(gpu, [2], { dtype });
      assert.deepEqual(await x.toArray(dtype), await x.toArray());
      assert.equal(await ops.ones(gpu, [1, 1], { dtype }).item(), 1);
      for (const other of every)
        if (other !== dtype)
          await assert.rejects(
            x.toArray(other),
            (error: Error) =>
              error instanceof ShapeError && error.message.includes(`is ${dtype}, not "${other}"`),
          );
    }
    await assert.rejects(ops.ones(gpu, [2]).item(), /item: needs one element/);
  });
});

test('values of every format are written, copied, seen through views and slots, and cleared', async () => {
  for (const dtype of every)
    await scope(async () => {
      const [no, yes] = dtype === 'bool' ? [false, true] : [0, 1];
      const x = ops.zeros(gpu, [6], { dtype });
      x.write([yes, no, yes] as number[], 1);
      assert.deepEqual(await x.toNested(), [no, yes, no, yes, no, no]);
      const y = ops.ones(gpu, [2, 3], { dtype });
      y.copyFrom(x, 3, 1, 3);
      assert.deepEqual(await y.toNested(), [
        [yes, yes, yes],
        [yes, no, yes],
      ]);
      y.copyFrom(y.detach(), 0, 3, 3);
      assert.deepEqual(await y.view([6]).toNested(), [yes, no, yes, yes, no, yes]);
      assert.deepEqual(await y.sliceRows(1, 2).toNested(), [[yes, no, yes]]);
      const slot = ops.zeros(gpu, [256], { dtype }).slot(128, [2]);
      slot.write([yes, yes] as number[]);
      assert.deepEqual(await slot.toNested(), [yes, yes]);
      assert.throws(() => slot.slot(1, [1]), /slot: begins at a multiple of 128, not at 1/);
      assert.throws(() => slot.slot(0, [3]), /slot: no 3 values at 0: tensor \[2\]/);
      slot.fillZero();
      assert.deepEqual(await slot.toNested(), [no, no]);
      const wrong: NestedData = dtype === 'bool' ? 1 : true;
      assert.throws(
        () => x.write([wrong] as number[]),
        /^TypeError: write: .* at 0 does not fit a tensor of/,
      );
      for (const other of every)
        if (other !== dtype)
          assert.throws(() => x.copyFrom(ops.ones(gpu, [2], { dtype: other })), /copyFrom: copies no/);
    });
});

test('whoever uses a freed tensor is told which, and where', async () => {
  const gone = ops.ones(gpu, [2, 2], { label: 'gone' });
  const x = ops.ones(gpu, [2, 2]);
  gone.dispose();
  const uses: [op: string, use: () => unknown][] = [
    ['read', () => gone.toArray()],
    ['read', () => gone.toNested()],
    ['read', () => gone.view([1]).item()],
    ['write', () => gone.write([1])],
    ['fillZero', () => gone.fillZero()],
    ['copyFrom', () => gone.copyFrom(x)],
    ['copyFrom', () => x.copyFrom(gone)],
    ['view', () => gone.view([4])],
    ['detach', () => gone.detach()],
    ['slot', () => gone.slot(0, [1])],
    ['add', () => x.add(gone)],
    ['reshape', () => gone.reshape([4])],
    ['read', () => gone.allClose(x)],
    ['read', () => gone.format()],
    ['zerosLike', () => ops.zerosLike(gone)],
    ['sum', () => gone.sum()],
  ];
  for (const [op, use] of uses)
    await assert.rejects(
      async () => use(),
      (error: Error) => {
        assert.ok(error instanceof ShapeError, `${op}: ${error}`);
        assert.match(error.message, new RegExp(`^(${op}|view): .*already freed.*\\[2,2\\] f32`));
        return true;
      },
    );
  x.dispose();
});

// ---- comparing, showing ------------------------------------------------------------------------------------

test('close values are close as in NumPy', async () => {
  const nan = Number.NaN;
  const cases: [a: NestedData, b: NestedData, options: ops.CloseOptions, close: boolean][] = [
    [[1, 2], [1, 2], {}, true],
    [[1, 2], [1, 2.1], {}, false],
    [[1, 2], [1.000009, 2], {}, true],
    [[100], [101], { rtol: 0.01 }, true],
    // Relative to b, not to a.
    [[101], [100], { rtol: 0.00995 }, false],
    [[0], [1e-9], {}, true],
    [[0], [0.5], { atol: 0.5 }, true],
    [[Infinity, -Infinity], [Infinity, -Infinity], {}, true],
    [[Infinity], [-Infinity], {}, false],
    [[1], [Infinity], {}, false],
    [[nan], [nan], {}, false],
    [[nan, 1], [nan, 1], { equalNan: true }, true],
    [
      [
        [1, 2, 3],
        [1, 2, 3],
      ],
      [1, 2, 3],
      {},
      true,
    ],
    [
      [
        [1, 2, 3],
        [1, 2, 4],
      ],
      [1, 2, 3],
      {},
      false,
    ],
    [
      [[1], [2]],
      [
        [1, 1],
        [2, 2],
      ],
      {},
      true,
    ],
    [[1, 1], 1, {}, true],
    [[true, false], [1, 0], {}, true],
    [Uint16Array.of(0x3c00), Uint16Array.of(0x3c00), {}, true],
    [[], [], {}, true],
  ];
  await scope(async () => {
    for (const [a, b, options, close] of cases) {
      const x = ops.tensor(gpu, a);
      assert.equal(await ops.allClose(x, b, options), close, `${a} and ${b}`);
      assert.equal(await x.allClose(ops.tensor(gpu, b), options), close);
    }
    const x = ops.tensor(
      gpu,
      [
        [1, 2],
        [3, 4],
      ],
      { dtype: 'f16' },
    );
    await x.assertClose([
      [1, 2],
      [3, 4],
    ]);
    await assert.rejects(
      x.assertClose([
        [1, 2.5],
        [4, 4],
      ]),
      (error: ops.ValuesDiffer) => {
        assert.equal(
          error.message,
          '2 of 4 values are not within 1e-8 + 0.00001·|expected|: at [0,1] 2, expected 2.5; the largest difference is 1 at [1,0]',
        );
        assert.deepEqual([error.count, error.size, error.first, error.largest], [2, 4, [0, 1], 1]);
        return true;
      },
    );
    await assert.rejects(ops.assertClose(x, nan), /4 of 4 values .* at \[0,0\] 1, expected NaN$/);
    await assert.rejects(x.assertClose([1, 2]), /assertClose: shapes differ: a \[2,2\] f16 · expected \[2\]/);
    await assert.rejects(x.allClose([1, 2, 3]), /allClose: shapes do not broadcast/);
    await assert.rejects(x.allClose(x, { atol: -1 }), /allClose: atol must be/);
  });
});

test('a tensor says what it is, and its values when it is asked', async () => {
  await scope(async () => {
    const device = gpu.capabilities.name;
    const x = ops.tensor(
      gpu,
      [
        [1, 2],
        [3, 4],
      ],
      { requiresGrad: true, label: 'w' },
    );
    assert.equal(inspect(x), `Tensor "w" [2,2] f32 (requires gradient) on ${device}`);
    assert.ok(inspect([x]).includes(String(x)));
    const y = x.square();
    assert.equal(`${y}`, `Tensor [2,2] f32 (result of square) on ${device}`);
    y.dispose();
    assert.equal(`${y}`, `Tensor [2,2] f32 (freed) on ${device}`);
    const cases: [NestedData, DType | undefined, string][] = [
      [3, undefined, '3.'],
      [[], undefined, '[]'],
      [[true, false], undefined, '[ true, false]'],
      [[-1, 20, 3], 'i32', '[-1, 20,  3]'],
      [
        [
          [1, -2],
          [3, 40],
        ],
        undefined,
        '[[ 1., -2.],\n [ 3., 40.]]',
      ],
      [[1, 2.5, Number.NaN, -Infinity], 'f16', '[   1.0000,    2.5000,       NaN, -Infinity]'],
      [[1e-7, 1], undefined, '[1.0000e-7, 1.0000e+0]'],
      [
        [
          [[1], [2]],
          [[3], [4]],
        ],
        'u32',
        '[[[1],\n  [2]],\n\n [[3],\n  [4]]]',
      ],
    ];
    for (const [data, dtype, text] of cases)
      assert.equal(await ops.tensor(gpu, data, { dtype }).format(), text);
    assert.equal(await ops.arange(gpu, 5000).format(), '[   0.,    1.,    2., ..., 4997., 4998., 4999.]');
    assert.equal(
      await ops.arange(gpu, 4000, { dtype: 'i32' }).reshape([1000, 4]).format({ edge: 1 }),
      '[[   0, ...,    3],\n ...,\n [3996, ..., 3999]]',
    );
    assert.equal(await ops.arange(gpu, 6).format({ width: 12 }), '[0., 1.,\n 2., 3.,\n 4., 5.]');
    const log = console.log;
    const lines: string[] = [];
    console.log = (line: string) => lines.push(line);
    try {
      await x.print({ precision: 1 });
    } finally {
      console.log = log;
    }
    assert.deepEqual(lines, [`${x}\n[[1., 2.],\n [3., 4.]]`]);
  });
});

test('using frees where the block ends', async () => {
  const before = gpu.memory().liveBuffers;
  {
    using x = ops.ones(gpu, [3]);
    using y = x.sum();
    assert.equal(await y.item(), 3);
    assert.equal(gpu.memory().liveBuffers, before + 2);
  }
  assert.equal(gpu.memory().liveBuffers, before);
  let own: Gpu;
  {
    await using opened = await Gpu.open();
    own = opened;
    using x = ops.ones(opened, [1]);
    assert.equal(await x.item(), 1);
  }
  await assert.rejects(ops.ones(own, [1]).item());
});

// ---- random ------------------------------------------------------------------------------------------------

const { fround } = Math;
/** Word of element e: the kernel's own, on the host. */
const word = (seed: number, stream: number, kind: number, e: number) =>
  threefry4x32([seed >>> 0, stream, kind, Math.floor(seed / 2 ** 32) >>> 0], [Math.floor(e / 4), 0, 0, 0])[
    e % 4
  ]!;
const toHalf = (value: number) => f16ToF32(f32ToF16(Float32Array.of(value)))[0]!;
/** 64 bits of element e. */
const long = (seed: number, stream: number, e: number) =>
  (BigInt(word(seed, stream, 4, 2 * e)) << 32n) | BigInt(word(seed, stream, 4, 2 * e + 1));

test('random numbers are those of the host to the bit, whatever the size and the cuts', async () => {
  const seed = 2 ** 40 + 11;
  const [low, high] = [-0.7, 1.3];
  const unit = (bits: number, e: number) => (word(seed, 3, 2, e) >>> (32 - bits)) * 2 ** -bits;
  const within = (bits: number, e: number) =>
    fround(fround(unit(bits, e) * fround(fround(high) - fround(low))) + fround(low));
  const normal = (e: number) => fround(fround(normalOf(word(seed, 3, 3, e)) * fround(0.02)) + fround(0.3));
  type Make = (gpu: Gpu, shape: number[]) => Tensor;
  const random = { seed: { seed, stream: 3 } };
  const cases: [string, Make, (e: number) => number | boolean][] = [
    ['uniform', (g, s) => ops.uniform(g, s, { ...random, low, high }), (e) => within(24, e)],
    [
      'uniform f16',
      (g, s) => ops.uniform(g, s, { ...random, low, high, dtype: 'f16' }),
      (e) => toHalf(Math.min(within(11, e), nextBelow(fround(high), 'f16'))),
    ],
    ['normal', (g, s) => ops.normal(g, s, { ...random, mean: 0.3, std: 0.02 }), normal],
    [
      'normal f16',
      (g, s) => ops.normal(g, s, { ...random, mean: 0.3, std: 0.02, dtype: 'f16' }),
      (e) => toHalf(normal(e)),
    ],
    [
      'randomInts',
      (g, s) => ops.randomInts(g, s, -5, 1_000_000, random),
      (e) => Number((long(seed, 3, e) * 1_000_005n) >> 64n) - 5,
    ],
    [
      'randomInts u32',
      (g, s) => ops.randomInts(g, s, 0, 2 ** 32, { ...random, dtype: 'u32' }),
      (e) => Number(long(seed, 3, e) >> 32n),
    ],
    ...every.map((dtype): [string, Make, (e: number) => number | boolean] => [
      `bernoulli ${dtype}`,
      (g, s) => ops.bernoulli(g, s, 0.3, { ...random, dtype }),
      (e) => {
        const hit = word(seed, 3, 5, e) >= Math.round(0.7 * 2 ** 32);
        return dtype === 'bool' ? hit : Number(hit);
      },
    ]),
  ];
  for (const [name, make, value] of cases)
    await scope(async () => {
      const want = Array.from({ length: 5003 }, (_, e) => value(e));
      assert.deepEqual(await make(limited, [5003]).toNested(), want, `${name} in pieces`);
      assert.deepEqual(await make(gpu, [5003]).toNested(), want, name);
      assert.deepEqual(await make(gpu, [3, 5]).reshape([15]).toNested(), want.slice(0, 15), name);
      assert.deepEqual(await make(gpu, [0]).toNested(), []);
    });
});

test('the table of normal numbers is the quantile function', () => {
  for (const [upper, quantile] of [
    [0.4, 0.2533471031357997],
    [0.1586552539314571, 1],
    [0.025, 1.959963984540054],
    [0.01, 2.3263478740408408],
    [1e-3, 3.090232306167813],
    [1e-6, 4.753424308822899],
    [1e-8, 5.612001244174789],
  ] as const) {
    const bits = Math.round(upper * 2 ** 32);
    // Between two words where few are left.
    const slack = 3e-6 + 0.5 / 2 ** 32 / upper / quantile;
    assert.ok(Math.abs(normalOf(bits) - quantile) < slack, `${upper}: ${normalOf(bits)}`);
    assert.equal(normalOf((bits | 0x80000000) >>> 0), -normalOf(bits));
  }
  assert.ok(normalOf(0) > 6 && normalOf(0) < 6.3);
});

test('draws have the distribution that they are called by', async () => {
  await scope(async () => {
    const n = 200_000;
    const moments = (x: ArrayLike<number>) => {
      let [m1, m2, m4] = [0, 0, 0];
      for (let i = 0; i < x.length; i++) {
        m1 += x[i]! / x.length;
        m2 += x[i]! ** 2 / x.length;
        m4 += x[i]! ** 4 / x.length;
      }
      return [m1, m2, m4];
    };
    const near = (x: ArrayLike<number>, want: number[], slack: number[]) => {
      const got = moments(x);
      got.forEach((value, i) => {
        assert.ok(Math.abs(value - want[i]!) < slack[i]!, `moments ${got}, not ${want}`);
      });
    };
    near(await ops.normal(gpu, [n], { seed: 1 }).toArray('f32'), [0, 1, 3], [0.01, 0.014, 0.09]);
    near(await ops.normal(gpu, [n], { seed: 1, dtype: 'f16' }).toFloat32(), [0, 1, 3], [0.01, 0.014, 0.09]);
    near(await ops.uniform(gpu, [n], { seed: 1 }).toArray('f32'), [1 / 2, 1 / 3, 1 / 5], [3e-3, 3e-3, 3e-3]);
    const faces = new Array<number>(6).fill(0);
    for (const face of await ops.randomInts(gpu, [n], 1, 7, { seed: 4 }).toArray('i32')) faces[face - 1]!++;
    const chi = faces.reduce((sum, count) => sum + (count - n / 6) ** 2 / (n / 6), 0);
    assert.ok(chi < 20.5, `${faces}`); // p ≈ 0.001 of 5 degrees of freedom
    for (const p of [0, 1e-11, 1]) {
      const drawn = await ops.bernoulli(gpu, [1000], p, { seed: 2 }).toArray('bool');
      assert.ok(drawn.every((value) => value === Math.round(p)));
    }
    const order = await ops.permutation(gpu, 1000, { seed: 5 }).toArray('i32');
    assert.deepEqual(
      order.toSorted(),
      Int32Array.from({ length: 1000 }, (_, i) => i),
    );
    assert.ok(order.filter((value, i) => value === i).length < 10);
    assert.deepEqual(await ops.permutation(gpu, 0, { seed: 5, dtype: 'u32' }).toNested(), []);
    // Never the end of the range itself, where rounding would lead there.
    const top = await ops.uniform(gpu, [5000], { seed: 1, low: 1, high: 1.002, dtype: 'f16' }).toFloat32();
    assert.ok(top.every((value) => value >= 1 && value < 1.002));
    assert.deepEqual(await ops.uniform(gpu, [2], { seed: 1, low: 3, high: 3 }).toNested(), [3, 3]);
  });
});

test('a seed draws the same again, streams others each time, and the same after resuming', async () => {
  await scope(async () => {
    const draw = (seed: ops.RandomSource) => ops.normal(gpu, [8], { seed }).toNested();
    assert.deepEqual(await draw(7), await draw(7));
    assert.notDeepEqual(await draw(7), await draw(8));
    assert.notDeepEqual(await draw(7), await draw(7 + 2 ** 32));
    const streams = new RandomStreams(7);
    const steps = [await draw(streams), await draw(streams), await draw(streams)];
    assert.notDeepEqual(steps[0], steps[1]);
    const resumed = new RandomStreams(7, 1);
    assert.deepEqual([await draw(resumed), await draw(resumed)], steps.slice(1));
    assert.deepEqual(await draw(new RandomStreams(7).next()), steps[0]);
    // What is refused moves no counter.
    assert.throws(() => ops.normal(gpu, [-1], { seed: streams }), ShapeError);
    assert.equal(streams.counter, 3);
    // Rows of a part of a batch are those of the whole.
    const whole = (await ops.uniform(gpu, [6, 4], { seed: { seed: 1, stream: 2 } }).toNested()) as unknown[];
    const part = await ops.uniform(gpu, [2, 4], { seed: { seed: 1, stream: 2, firstRow: 3 } }).toNested();
    assert.deepEqual(part, whole.slice(3, 5));
  });
});

// ---- who is alive ------------------------------------------------------------------------------------------

test('a device that tracks names every live tensor and the line that made it; closing it can ask for none', async () => {
  assert.throws(() => gpu.tensors(), /opened without track/);
  await assert.rejects(Gpu.open({ track: 1 as unknown as boolean }), /track must be true or false, found 1/);
  const tracked = await Gpu.open({ track: true });
  assert.deepEqual(tracked.tensors(), []);
  const w = ops.tensor(tracked, [1, 2], { label: 'w', requiresGrad: true });
  const view = w.detach();
  // Several layers of the library lie between this line and the one that makes them.
  w.square().sum();
  const told = () =>
    tracked
      .tensors()
      .map(({ kind, label, shape, dtype, bytes }) => `${kind} ${label} [${shape}] ${dtype} ${bytes}`);
  assert.deepEqual(told(), [
    'tensor w [2] f32 8',
    'view undefined [2] f32 8',
    'tensor undefined [2] f32 8',
    'tensor undefined [] f32 4',
  ]);
  const places = tracked.tensors().map(({ place }) => place);
  const here = path.join('dist', 'test', 'tensors.test.js');
  assert.ok(
    places.every((place) => place.startsWith(`${here}:`) && /:\d+:\d+$/.test(place)),
    `${places}`,
  );
  const lines = places.map((place) => Number(place.split(':').at(-2)));
  assert.deepEqual(
    lines.map((line) => line - lines[0]!),
    [0, 1, 3, 3],
  );
  w.dispose();
  assert.equal(told()[0], 'tensor undefined [2] f32 8');
  view.dispose();
  // The graph that leads to y keeps what its gradient needs.
  assert.equal(told()[0], 'held w [2] f32 8');
  await assert.rejects(
    tracked.close({ requireFreed: true }),
    /^MachineError: Gpu.close: 3 tensors are alive: "w" \[2\] f32, held by a graph, 8 B, made at /,
  );
  const plain = await Gpu.open();
  ops.ones(plain, [3]);
  await assert.rejects(plain.close({ requireFreed: true }), /1 buffer is alive; Gpu.open\({ track: true }\)/);
  const clean = await Gpu.open({ track: true });
  await scope(async () => {
    await Promise.resolve();
    ops.ones(clean, [3]).square();
    assert.ok(clean.tensors().every(({ place }) => place.startsWith(here)));
  });
  await clean.close({ requireFreed: true });
});
