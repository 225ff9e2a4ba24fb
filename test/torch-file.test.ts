/** PyTorch files: what torch wrote is read, what we write is read back, and nothing in a pickle is run. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { InputError } from '../src/errors.js';
import { PositionedFile } from '../src/files/positioned.js';
import { type FileDType, f16ToF32, f32ToF16, isFloatFileDType, toFloat32 } from '../src/tensor/dtype.js';
import { stridedPieces } from '../src/weights/strided.js';
import { readTorchFile, TorchFile, writeTorchFile } from '../src/weights/torch-file.js';

const golden = fileURLToPath(new URL('../../test/golden/torch_files/', import.meta.url));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-torch-'));
after(() => fs.rmSync(folder, { recursive: true }));
const inFolder = (name: string) => path.join(folder, name);

const dtypeOfTorch: Record<string, FileDType> = {
  'torch.float32': 'f32',
  'torch.float16': 'f16',
  'torch.bfloat16': 'bf16',
  'torch.int64': 'i64',
  'torch.bool': 'bool',
};

interface Expected {
  [name: string]: { dtype: string; shape: number[]; values: string[] };
}
const expected = JSON.parse(fs.readFileSync(path.join(golden, 'expected.json'), 'utf8')) as Expected;

/** Python's repr of a float. */
function parseFloatRepr(text: string): number {
  return Number(text.replace('inf', 'Infinity').replace('nan', 'NaN'));
}

describe('reading what torch saved', () => {
  for (const name of ['mixed.pt', 'mixed_legacy.pt', 'mixed_plaindict.pt'])
    test(name, () => {
      const tensors = readTorchFile(path.join(golden, name));
      assert.deepEqual([...tensors.keys()].toSorted(), Object.keys(expected).toSorted());
      const file = TorchFile.open(path.join(golden, name));
      for (const [key, { dtype, shape, values }] of Object.entries(expected)) {
        const tensor = tensors.get(key)!;
        assert.equal(tensor.dtype, dtypeOfTorch[dtype]);
        assert.deepEqual(tensor.shape, shape);
        const wanted = Float32Array.from(values, parseFloatRepr);
        if (!isFloatFileDType(tensor.dtype)) {
          assert.deepEqual([...tensor.data].map(Number), values.map(parseFloatRepr), key);
          assert.throws(() => file.read(key), /expected floats/);
          continue;
        }
        assert.deepEqual(toFloat32(tensor.dtype, tensor.data), wanted, key);
        assert.deepEqual(file.read(key), wanted, key);
        const pieces = [...file.stream(key, 5)];
        assert.deepEqual(Float32Array.from(pieces.flatMap(({ data }) => [...data])), wanted, key);
        let at = 0;
        for (const { offset, data } of pieces) {
          assert.ok(offset === at && data.length <= 5, key);
          at += data.length;
        }
      }
      file.close();
    });

  test('four ways to save one Linear give the same tensors', () => {
    const files = [
      'linear_state_dict.pt',
      'linear_state_dict_legacy.bin',
      'linear_proto2.pt',
      'linear_proto4.pt',
    ];
    for (const file of files) {
      const tensors = readTorchFile(path.join(golden, file));
      assert.deepEqual([...tensors.keys()], ['weight', 'bias'], file);
      assert.deepEqual(tensors.get('weight')!.shape, [2, 4], file);
      assert.deepEqual(tensors.get('bias')!.shape, [2], file);
    }
    assert.deepEqual(
      readTorchFile(path.join(golden, files[0]!)),
      readTorchFile(path.join(golden, files[1]!)),
    );
  });

  test('a parameter, and heads as FlagEmbedding saves them', () => {
    assert.deepEqual(readTorchFile(path.join(golden, 'parameter.pt')).get('w')!.shape, [2, 2]);
    const sparse = readTorchFile(path.join(golden, 'sparse_linear_like.pt'));
    assert.deepEqual([...sparse.keys()], ['weight', 'bias']);
    const model = fileURLToPath(new URL('../../test/golden/model/', import.meta.url));
    for (const head of ['colbert_linear.pt', 'sparse_linear.pt']) {
      const file = TorchFile.open(path.join(model, head));
      assert.deepEqual(file.names(), ['weight', 'bias']);
      assert.ok(file.read('weight').every(Number.isFinite));
      file.close();
    }
  });

  test('code is refused, not run', () => {
    assert.throws(
      () => readTorchFile(path.join(golden, 'evil.pt')),
      (error: Error) => {
        assert.ok(error instanceof InputError);
        assert.match(error.message, /^\S*evil\.pt: refused global "posix system"$/);
        return true;
      },
    );
  });

  test('other files are named for what they are not', () => {
    fs.writeFileSync(inFolder('text.pt'), 'version https://git-lfs');
    assert.throws(
      () => TorchFile.open(inFolder('text.pt')),
      /text\.pt: not a PyTorch file: .*found bytes 76 65 72 73/,
    );
    fs.writeFileSync(inFolder('empty.pt'), '');
    assert.throws(() => TorchFile.open(inFolder('empty.pt')), /expected a PyTorch file, found an empty file/);
    assert.throws(() => TorchFile.open(inFolder('absent.pt')), /no such file/);
  });
});

// ---- crafted pickles ---------------------------------------------------------------------------------------

const text = (value: string) => {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([Buffer.from('X'), length, bytes]);
};
const integer = (value: number) => {
  const bytes = Buffer.alloc(5, 'J');
  bytes.writeInt32LE(value, 1);
  return bytes;
};
const raw = (value: string) => Buffer.from(value, 'latin1');
const tuple = (...items: Buffer[]) => Buffer.concat([raw('('), ...items, raw('t')]);

/** A pickled tensor over storage "0" of `count` floats. */
function tensorPickle(
  count: number,
  offset: number,
  shape: number[],
  strides: number[],
  extra = raw(''),
): Buffer {
  const storage = tuple(
    text('storage'),
    raw('ctorch\nFloatStorage\n'),
    text('0'),
    text('cpu'),
    integer(count),
    extra,
  );
  return Buffer.concat([
    raw('ctorch._utils\n_rebuild_tensor_v2\n'),
    tuple(
      Buffer.concat([storage, raw('Q')]),
      integer(offset),
      tuple(...shape.map(integer)),
      tuple(...strides.map(integer)),
      raw('\x89'),
      raw('ccollections\nOrderedDict\n)R'),
    ),
    raw('R'),
  ]);
}

/** Swaps the pickle of a legacy file with one storage "0" of four floats. */
function legacyFile(name: string, object: Buffer, storages = 1): string {
  const count = Buffer.alloc(8);
  count.writeBigInt64LE(4n);
  const parts = [
    raw('\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.'),
    raw('\x80\x02M\xe9\x03.'),
    Buffer.concat([raw('\x80\x02}'), text('little_endian'), raw('\x88s.')]),
    Buffer.concat([raw('\x80\x02'), object, raw('.')]),
    Buffer.concat([
      raw('\x80\x02]'),
      ...Array.from({ length: storages }, () => Buffer.concat([text('0'), raw('a')])),
      raw('.'),
    ]),
    ...Array.from({ length: storages }, () =>
      Buffer.concat([count, Buffer.from(Float32Array.of(1, 2, 3, 4).buffer)]),
    ),
  ];
  fs.writeFileSync(inFolder(name), Buffer.concat(parts));
  return inFolder(name);
}

describe('a pickle is checked like any input', () => {
  test('a bare tensor has the name ""; slices and expansions are followed', () => {
    const read = (...args: [number, number, number[], number[]]) =>
      [...readTorchFile(legacyFile('bare.pt', tensorPickle(...args))).get('')!.data].map(Number);
    assert.deepEqual(read(4, 0, [2, 2], [2, 1]), [1, 2, 3, 4]);
    assert.deepEqual(read(4, 0, [2, 2], [1, 2]), [1, 3, 2, 4]);
    assert.deepEqual(read(4, 3, [2, 3], [0, 0]), [4, 4, 4, 4, 4, 4]);
    assert.deepEqual(read(4, 1, [2], [2]), [2, 4]);
    assert.deepEqual(read(4, 2, [], []), [3]);
    assert.deepEqual(read(4, 4, [0, 7], [1, 1]), []);
  });

  test('a view of a storage, as before PyTorch 1.6, and a tensor as before 0.4', () => {
    const view = tensorPickle(4, 0, [3], [1], tuple(text('k'), integer(1), integer(3)));
    assert.deepEqual([...readTorchFile(legacyFile('view.pt', view)).get('')!.data].map(Number), [2, 3, 4]);
    const both = Buffer.concat([
      raw('}('),
      ...[text('view'), view, text('whole'), tensorPickle(4, 0, [4], [1])],
      raw('u'),
    ]);
    const file = TorchFile.open(legacyFile('view.pt', both));
    assert.deepEqual([...file.read('view'), ...file.read('whole')], [2, 3, 4, 1, 2, 3, 4]);
    file.close();
    const storage = tuple(
      ...[text('storage'), raw('ctorch\nFloatStorage\n'), text('0'), text('cpu'), integer(4)],
    );
    const old = Buffer.concat([
      raw('ctorch._utils\n_rebuild_tensor\n'),
      tuple(
        Buffer.concat([storage, raw('Q')]),
        integer(1),
        tuple(integer(1), integer(3)),
        tuple(integer(3), integer(1)),
      ),
      raw('R'),
    ]);
    const read = readTorchFile(legacyFile('old.pt', old)).get('')!;
    assert.deepEqual(
      [read.shape, [...read.data].map(Number)],
      [
        [1, 3],
        [2, 3, 4],
      ],
    );
  });

  test('entries that are no tensors are set aside', () => {
    const dict = Buffer.concat([
      raw('}('),
      text('__proto__'),
      tensorPickle(4, 0, [4], [1]),
      text('epoch'),
      integer(3),
      text('nested'),
      raw('}'),
      raw('u'),
    ]);
    const file = TorchFile.open(legacyFile('dict.pt', dict));
    assert.deepEqual(file.names(), ['__proto__']);
    assert.deepEqual(file.otherEntries, ['epoch', 'nested']);
    assert.deepEqual([...file.read('__proto__')], [1, 2, 3, 4]);
    assert.throws(() => file.info('epoch'), /no tensor "epoch"/);
    file.close();
    const onlyOthers = Buffer.concat([raw('}'), text('epoch'), integer(3), raw('s')]);
    assert.throws(() => TorchFile.open(legacyFile('dict.pt', onlyOthers, 0)), /found only "epoch"/);
  });

  const tensor = tensorPickle(4, 0, [4], [1]);
  const refused: [string, Buffer, RegExp][] = [
    ['a tensor beyond its storage', tensorPickle(4, 1, [4], [1]), /needs 5 elements, found 4/],
    ['strides beyond the storage', tensorPickle(4, 0, [2, 2], [3, 1]), /needs 5 elements, found 4/],
    ['a negative offset', tensorPickle(4, -1, [4], [1]), /expected an offset ≥ 0, found -1/],
    ['negative strides', tensorPickle(4, 3, [4], [-1]), /strides: expected whole numbers/],
    ['shape and strides of different rank', tensorPickle(4, 0, [2, 2], [1]), /2 dimensions and 1 strides/],
    [
      'a terabyte out of one element',
      tensorPickle(4, 0, [1e6, 1e6], [0, 0]),
      /repeats or shares elements: .* 4000000000000 bytes, expected at most 8 times the file's/,
    ],
    [
      'a view beyond its storage',
      tensorPickle(4, 0, [2], [1], tuple(text('k'), integer(3), integer(2))),
      /storage "0": expected a view within its 4 elements, found a tuple of "k", 3, 2/,
    ],
    ['a view without a place', tensorPickle(4, 0, [2], [1], text('k')), /expected a view .* found "k"/],
    [
      'a tensor beyond its view',
      tensorPickle(4, 0, [3], [1], tuple(text('k'), integer(1), integer(2))),
      /needs 3 elements, found 2/,
    ],
    ['a wrong count', tensorPickle(5, 0, [4], [1]), /expected 5 f32, found 4/],
    ['a list', Buffer.concat([raw(']'), tensor, raw('a')]), /expected a dict of tensors, found a list/],
    [
      'a storage type as function',
      raw('ctorch\nFloatStorage\n)R'),
      /refused call of "torch FloatStorage" with \(\)/,
    ],
    ['a module', raw('c__builtin__\neval\n'), /refused global "__builtin__ eval"/],
    [
      'a global by stack',
      Buffer.concat([text('os'), text('system'), raw('\x93')]),
      /refused global "os system"/,
    ],
    ['a global without text', raw('NN\x93'), /a global without a name/],
    [
      'a newer dtype',
      raw('ctorch._utils\n_rebuild_tensor_v3\n'),
      /refused global "torch\._utils _rebuild_tensor_v3"/,
    ],
    ['a call of a string', Buffer.concat([text('x'), raw(')R')]), /calls "x"/],
    ['attributes of a tensor', Buffer.concat([tensor, raw('}b')]), /sets items or state of a tensor/],
    ['an unknown opcode', raw('\x98'), /refused opcode 0x98/],
    ['an instance by text', raw('(ios\nsystem\n'), /refused opcode 0x69/],
    ['an empty stack', raw('0'), /empty stack/],
    ['a mark never set', raw('t'), /mark that was never set/],
    ['a memo never stored', raw('h\x07'), /recalls 7/],
    ['values left behind', raw('NN'), /leaves values behind/],
    ['a key without a value', raw('}(Nu'), /a key without a value/],
    ['deep nesting', raw('('.repeat(200)), /nested deeper than 100/],
    ['a long name', raw(`c${'x'.repeat(2000)}`), /more than 1000 bytes/],
    ['a string longer than the file', raw('X\xff\xff\xff\x7f'), /truncated/],
    ['a string that is not UTF-8', raw('X\x01\0\0\0\xff'), /not UTF-8/],
    ['a huge integer', raw('\x8b\xff\xff\xff\x7f'), /integer of 2147483647 bytes/],
    ['another reference', raw('NQ'), /refused reference None/],
  ];
  for (const [what, pickle, message] of refused)
    test(`refuses ${what}`, () => {
      assert.throws(
        () => readTorchFile(legacyFile('refused.pt', pickle)),
        (error: Error) => {
          assert.ok(error instanceof InputError, String(error));
          assert.match(error.message, message);
          assert.match(error.message, /^\S*refused\.pt: .*$/);
          return true;
        },
      );
    });

  test('storages that nobody uses, twice or never there, are refused', () => {
    assert.throws(() => readTorchFile(legacyFile('storages.pt', tensor, 2)), /"0" is listed twice/);
    assert.throws(
      () => readTorchFile(legacyFile('storages.pt', tensor, 0)),
      /"0" of a tensor is not in the file/,
    );
    assert.throws(
      () => readTorchFile(legacyFile('storages.pt', integer(3), 0)),
      /expected a dict of tensors, found 3/,
    );
    assert.throws(() => readTorchFile(legacyFile('storages.pt', raw('}'), 1)), /"0" is not of a tensor/);
  });

  test('big-endian files are refused', () => {
    const legacy = fs.readFileSync(legacyFile('big.pt', tensor));
    legacy[legacy.indexOf('little_endian') + 'little_endian'.length] = 0x89;
    fs.writeFileSync(inFolder('big.pt'), legacy);
    assert.throws(() => TorchFile.open(inFolder('big.pt')), /expected byte order "little", found "big"/);
    writeTorchFile(inFolder('big.pt'), []);
    const zip = fs.readFileSync(inFolder('big.pt'));
    zip.write('bigbig', zip.indexOf('little'));
    fs.writeFileSync(inFolder('big.pt'), zip);
    assert.throws(() => TorchFile.open(inFolder('big.pt')), /expected byte order "little", found "bigbig"/);
  });
});

describe('tensors that do not lie as they are counted', () => {
  const file = inFolder('elements.bin');
  fs.writeFileSync(file, new Uint8Array(Float32Array.from({ length: 4096 }, (_, i) => i).buffer));
  const source = PositionedFile.open(file);
  after(() => source.close());
  /** Element by element, in the order of counting. */
  const expected = (shape: readonly number[], strides: readonly number[]): number[] =>
    shape.length === 0
      ? [0]
      : Array.from({ length: shape[0]! }, (_, i) =>
          expected(shape.slice(1), strides.slice(1)).map((at) => i * strides[0]! + at),
        ).flat();

  test('come in consecutive pieces of at most what was asked', () => {
    const axis = fc.record({
      extent: fc.integer({ min: 0, max: 7 }),
      stride: fc.integer({ min: 0, max: 80 }),
    });
    fc.assert(
      fc.property(fc.array(axis, { maxLength: 4 }), fc.integer({ min: 1, max: 50 }), (axes, most) => {
        const shape = axes.map(({ extent }) => extent);
        const strides = axes.map(({ stride }) => stride);
        const found: number[] = [];
        for (const { offset, data } of stridedPieces(
          source,
          { dtype: 'f32', position: 0, shape, strides },
          most,
        )) {
          assert.equal(offset, found.length);
          assert.ok(data.length > 0 && data.length <= most, `${data.length} of at most ${most}`);
          found.push(...(data as Float32Array));
        }
        assert.deepEqual(found, expected(shape, strides));
      }),
      { numRuns: 1000 },
    );
  });

  test('never have more of the file in memory than a window', () => {
    const [rows, cols] = [3000, 1000];
    const large = inFolder('large.bin');
    fs.writeFileSync(large, new Uint8Array(Float32Array.from({ length: rows * cols }, (_, i) => i).buffer));
    const counted = PositionedFile.open(large);
    const read = counted.readInto.bind(counted);
    const reads: number[] = [];
    counted.readInto = (target, position) => {
      reads.push(target.length);
      read(target, position);
    };
    let at = 0;
    const transposed = { dtype: 'f32', position: 0, shape: [cols, rows], strides: [1, cols] } as const;
    for (const { data } of stridedPieces(counted, transposed, 1 << 20))
      for (const value of data) {
        if (value !== (at % rows) * cols + Math.floor(at / rows)) assert.fail(`${at}: ${value}`);
        at++;
      }
    assert.equal(at, rows * cols);
    assert.ok(Math.max(...reads) <= 4 << 20, `${Math.max(...reads)}`);
    // Each of the three pieces goes through the file once.
    assert.ok(reads.reduce((a, b) => a + b) <= 3 * rows * cols * 4);
    counted.close();
  });
});

describe('damage', () => {
  const attempt = (file: string) => {
    try {
      readTorchFile(file);
    } catch (error) {
      assert.ok(error instanceof InputError, (error as Error).stack);
      assert.ok(!error.message.includes('\n'));
      return error;
    }
    return undefined;
  };

  for (const name of ['linear_state_dict.pt', 'mixed_legacy.pt'])
    test(`${name} is refused at every shorter length`, () => {
      const bytes = fs.readFileSync(path.join(golden, name));
      for (let length = 0; length < bytes.length; length += length < 64 ? 1 : 7) {
        fs.writeFileSync(inFolder('cut.pt'), bytes.subarray(0, length));
        assert.ok(attempt(inFolder('cut.pt')), `length ${length}`);
      }
    });

  for (const name of ['mixed.pt', 'mixed_legacy.pt', 'linear_proto4.pt', 'parameter.pt'])
    test(`${name} with changed bytes is read or refused with an InputError`, () => {
      const bytes = fs.readFileSync(path.join(golden, name));
      const change = fc.tuple(
        fc.nat(bytes.length - 1),
        fc.oneof(fc.nat(255), fc.constantFrom(0, 0x28, 0x30, 0x52, 0x71, 0xff)),
      );
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
          const damaged = Uint8Array.from(bytes);
          for (const [at, value] of changes) damaged[at] = value;
          fs.writeFileSync(inFolder('damaged.pt'), damaged);
          attempt(inFolder('damaged.pt'));
        }),
        { numRuns: 400 },
      );
    });
});

describe('writing', () => {
  const values = f16ToF32(Uint16Array.from({ length: 65536 }, (_, i) => i));

  for (const dtype of ['f32', 'f16'] as const)
    test(`${dtype} state dict comes back`, () => {
      const file = inFolder(`written-${dtype}.pt`);
      const entries = [
        { name: 'weight', shape: [256, 256], data: values },
        { name: 'bias', shape: [1], data: Float32Array.of(1 / 3) },
        { name: 'scalar', shape: [], data: Float32Array.of(-2) },
        { name: 'leer.ü', shape: [0, 3], data: new Float32Array(0) },
      ];
      writeTorchFile(file, entries, { dtype });
      const tensors = readTorchFile(file);
      assert.deepEqual(
        [...tensors.keys()],
        entries.map(({ name }) => name),
      );
      for (const { name, shape, data } of entries) {
        const tensor = tensors.get(name)!;
        assert.deepEqual([tensor.dtype, tensor.shape], [dtype, shape]);
        const wanted = dtype === 'f32' ? data : f32ToF16(data);
        // Bytes, because NaN payloads count too.
        assert.deepEqual(Buffer.from(tensor.data.buffer), Buffer.from(wanted.slice().buffer));
      }
    });

  test('records are aligned to 64 bytes and the same weights give the same bytes', () => {
    const entries = ['a', 'bb'].map((name) => ({
      name,
      shape: [3],
      data: Float32Array.of(7.25, 8.25, 9.25),
    }));
    writeTorchFile(inFolder('one.pt'), entries);
    writeTorchFile(inFolder('two.pt'), entries);
    const bytes = fs.readFileSync(inFolder('one.pt'));
    assert.deepEqual(bytes, fs.readFileSync(inFolder('two.pt')));
    const payload = Buffer.from(entries[0]!.data.buffer);
    const first = bytes.indexOf(payload);
    const second = bytes.indexOf(payload, first + 1);
    assert.deepEqual([first % 64, second % 64, second > first], [0, 0, true]);
  });

  test('checksums satisfy an independent unzip', (context) => {
    writeTorchFile(inFolder('checked.pt'), [{ name: 'w', shape: [65536], data: values }]);
    try {
      execFileSync('python3', ['--version'], { stdio: 'ignore' });
    } catch {
      return context.skip('no python3 here');
    }
    const script = 'import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).testzip())';
    assert.equal(
      execFileSync('python3', ['-c', script, inFolder('checked.pt')], { encoding: 'utf8' }),
      'None\n',
    );
  });

  test('refuses a repeated name and data of another size, and leaves no file', () => {
    const entry = { name: 'w', shape: [2], data: new Float32Array(2) };
    assert.throws(() => writeTorchFile(inFolder('no.pt'), [entry, entry]), /repeated/);
    assert.throws(() => writeTorchFile(inFolder('no.pt'), [{ ...entry, shape: [3] }]), InputError);
    assert.equal(fs.existsSync(inFolder('no.pt')), false);
  });
});
