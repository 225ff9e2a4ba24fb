/** 16-bit float conversion, atomic files, safetensors and the choice of weight files in a folder. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { InputError, MachineError, ShapeError } from '../src/errors.js';
import { AtomicFile, isTemporaryName, writeFileAtomic } from '../src/files/atomic.js';
import {
  bf16ToF32,
  bytesOf,
  encode,
  type FileDType,
  f16ToF32,
  f32ToBf16,
  f32ToF16,
} from '../src/tensor/dtype.js';
import { openWeights } from '../src/weights/open.js';
import { SafetensorsFile, SafetensorsWriter, writeSafetensors } from '../src/weights/safetensors.js';
import { writeTorchFile } from '../src/weights/torch-file.js';

const golden = fileURLToPath(new URL('../../test/golden/', import.meta.url));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-safetensors-'));
after(() => fs.rmSync(folder, { recursive: true }));
const inFolder = (name: string) => path.join(folder, name);

const allPatterns = Uint16Array.from({ length: 65536 }, (_, i) => i);

function float32OfBits(...bits: number[]): Float32Array {
  return new Float32Array(Uint32Array.from(bits).buffer);
}

describe('16-bit floats', () => {
  test('every f16 pattern has the value of its definition and survives the way to f32 and back', () => {
    const wide = f16ToF32(allPatterns);
    for (let bits = 0; bits < 65536; bits++) {
      const sign = bits >> 15 ? -1 : 1;
      const exponent = (bits >> 10) & 31;
      const mantissa = bits & 1023;
      let expected = sign * (exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25));
      if (exponent === 31) expected = mantissa === 0 ? sign * Infinity : NaN;
      if (!Object.is(wide[bits], expected)) assert.equal(wide[bits], expected, `pattern ${bits}`);
    }
    assert.deepEqual(f32ToF16(wide), allPatterns);
  });

  test('every bf16 pattern survives', () => {
    assert.deepEqual(f32ToBf16(bf16ToF32(allPatterns)), allPatterns);
    assert.deepEqual([...bf16ToF32(Uint16Array.of(0x3f80, 0xc020, 0x0001))], [1, -2.5, 2 ** -133]);
  });

  for (const [name, narrow, widen, largest] of [
    ['f16', f32ToF16, f16ToF32, 0x7bff],
    ['bf16', f32ToBf16, bf16ToF32, 0x7f7f],
  ] as const)
    test(`${name} rounds to nearest, ties to even, between every two neighbours`, () => {
      // 2^16 and 2^128 stand for the neighbour that would follow the largest value.
      const values = widen(allPatterns.subarray(0, largest + 2));
      const above = (i: number) => (i === largest ? (name === 'f16' ? 65536 : 2 ** 128) : values[i + 1]!);
      const middles = Float32Array.from({ length: largest + 1 }, (_, i) => (values[i]! + above(i)) / 2);
      const bits = new Uint32Array(middles.buffer);
      const even = narrow(middles);
      const below = narrow(new Float32Array(bits.map((b) => b - 1).buffer));
      const over = narrow(new Float32Array(bits.map((b) => b + 1).buffer));
      const negative = narrow(middles.map((x) => -x));
      for (let i = 0; i <= largest; i++) {
        // Halfway between the two smallest bf16 values there is an f32 too, so every middle is exact.
        const wanted = [i, i + (i & 1), i + 1];
        if (below[i] !== wanted[0] || even[i] !== wanted[1] || over[i] !== wanted[2])
          assert.deepEqual([below[i], even[i], over[i]], wanted, `around ${middles[i]}`);
        if (negative[i] !== even[i]! + 0x8000) assert.equal(negative[i], even[i]! + 0x8000);
      }
    });

  test('NaN stays NaN, tiny becomes signed zero, huge becomes infinity', () => {
    const odd = float32OfBits(0x7f800001, 0xffc00000, 0x00000001, 0x80000001, 0x7f7fffff, 0xff800000);
    assert.deepEqual([...f32ToF16(odd)], [0x7e00, 0xfe00, 0, 0x8000, 0x7c00, 0xfc00]);
    assert.deepEqual([...f32ToBf16(odd)], [0x7fc0, 0xffc0, 0, 0x8000, 0x7f80, 0xff80]);
  });

  test('encode takes only what the file type can hold', () => {
    assert.throws(() => encode('i64', new Int32Array(1)), ShapeError);
    assert.throws(() => encode('f32', new Float64Array(1)), /encode: f32 takes a Float32Array/);
  });
});

describe('atomic files', () => {
  test('nothing is visible before commit, and nothing stays after abort', () => {
    const file = inFolder('atomic');
    fs.writeFileSync(file, 'old');
    const aborted = AtomicFile.create(file);
    aborted.write(new TextEncoder().encode('new'));
    assert.deepEqual(fs.readdirSync(folder).filter(isTemporaryName).length, 1);
    assert.equal(fs.readFileSync(file, 'utf8'), 'old');
    aborted.abort();
    aborted.abort();
    assert.deepEqual(fs.readdirSync(folder), ['atomic']);
    writeFileAtomic(file, 'newer');
    assert.equal(fs.readFileSync(file, 'utf8'), 'newer');
    assert.deepEqual(fs.readdirSync(folder), ['atomic']);
    assert.throws(() => aborted.write(new Uint8Array(1)), MachineError);
    fs.rmSync(file);
  });

  test('a folder that does not exist is the user’s mistake', () => {
    assert.throws(() => AtomicFile.create(inFolder('absent/file')), /cannot write: no such file or folder/);
    assert.throws(() => AtomicFile.create(folder), /is a folder/);
  });

  test('a killed writer leaves the old file and a leftover of a known name', async () => {
    const home = fs.mkdtempSync(path.join(folder, 'killed-'));
    const file = path.join(home, 'model.safetensors');
    fs.writeFileSync(file, 'old');
    const module = new URL('../src/files/atomic.js', import.meta.url);
    const script = `
      import { AtomicFile } from ${JSON.stringify(module.href)};
      const file = AtomicFile.create(${JSON.stringify(file)});
      for (let first = true; ; first = false) {
        file.write(new Uint8Array(65536), 0);
        if (first) console.log('writing');
      }`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.equal(fs.readFileSync(file, 'utf8'), 'old');
    const [leftover, ...others] = fs.readdirSync(home);
    assert.ok(isTemporaryName(leftover!));
    assert.deepEqual(others, ['model.safetensors']);
  });
});

// ---- safetensors -------------------------------------------------------------------------------------------

interface Header {
  [name: string]: unknown;
}

/** A file with this header, right or wrong. */
function craft(name: string, header: Header | string | Uint8Array, dataBytes: number): string {
  const json =
    header instanceof Uint8Array
      ? header
      : new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  fs.writeFileSync(inFolder(name), bytes);
  return inFolder(name);
}

describe('safetensors', () => {
  test('reads a model that transformers saved', () => {
    const file = SafetensorsFile.open(path.join(golden, 'model/model.safetensors'));
    const config = JSON.parse(fs.readFileSync(path.join(golden, 'model/config.json'), 'utf8'));
    assert.equal(file.metadata.get('format'), 'pt');
    const name = file.names().find((candidate) => candidate.endsWith('word_embeddings.weight'))!;
    assert.deepEqual(file.info(name), { shape: [config.vocab_size, config.hidden_size], dtype: 'f32' });
    const whole = file.read(name);
    assert.ok(whole.every(Number.isFinite) && whole.some((x) => x !== 0));
    const pieces = [...file.stream(name, 1000)];
    assert.deepEqual(
      pieces.map((piece) => piece.offset),
      pieces.map((_, i) => i * 1000),
    );
    assert.deepEqual(Float32Array.from(pieces.flatMap((piece) => [...piece.data])), whole);
    assert.throws(() => file.read('absent'), /model\.safetensors: no tensor "absent"/);
    file.close();
    assert.throws(() => file.read(name), MachineError);
  });

  test('round trip of every dtype, in pieces and in any order', () => {
    const file = inFolder('all.safetensors');
    const values = Float32Array.of(0, -0, 1.5, 65504, 2 ** -24, Infinity);
    const rest = {
      u8: Uint8Array.of(0, 255),
      f64: Float64Array.of(Math.PI),
      i64: BigInt64Array.of(-(2n ** 63n), 7n),
      i32: Int32Array.of(-1),
      bool: Uint8Array.of(1, 0, 1),
    };
    const tensors = [
      { name: 'half', dtype: 'f16' as FileDType, shape: [2, 3] },
      { name: 'brain', dtype: 'bf16' as FileDType, shape: [6] },
      { name: 'single', dtype: 'f32' as FileDType, shape: [3, 1, 2] },
      { name: '__proto__', dtype: 'f32' as FileDType, shape: [] },
      { name: 'none', dtype: 'f32' as FileDType, shape: [0, 4] },
      ...Object.entries(rest).map(([dtype, data]) => ({
        name: `raw.${dtype}`,
        dtype: dtype as FileDType,
        shape: [data.length],
      })),
    ];
    const writer = SafetensorsWriter.create(file, tensors, { format: 'pt', ümlaut: '"' });
    for (const [dtype, data] of Object.entries(rest)) writer.write(`raw.${dtype}`, data);
    for (const name of ['half', 'brain', 'single']) {
      writer.write(name, values.subarray(0, 4));
      assert.equal(fs.existsSync(file), false);
      writer.write(name, values.subarray(4));
    }
    writer.write('__proto__', Float32Array.of(42));
    writer.finish();

    const read = SafetensorsFile.open(file);
    assert.deepEqual(
      [...read.metadata],
      [
        ['format', 'pt'],
        ['ümlaut', '"'],
      ],
    );
    assert.deepEqual(read.names().toSorted(), tensors.map((tensor) => tensor.name).toSorted());
    for (const { name, dtype, shape } of tensors) assert.deepEqual(read.info(name), { dtype, shape });
    assert.deepEqual(read.read('single'), values);
    assert.deepEqual(read.read('half'), values);
    assert.deepEqual(read.read('brain'), bf16ToF32(f32ToBf16(values)));
    assert.deepEqual(read.readRaw('half'), f32ToF16(values));
    assert.deepEqual(read.read('raw.f64'), Float32Array.of(Math.PI));
    assert.deepEqual([...read.read('__proto__')], [42]);
    assert.deepEqual([...read.stream('none', 10)], []);
    assert.deepEqual(
      [...read.stream('half', 4)].map(({ offset, data }) => [offset, [...data]]),
      [
        [0, [0, -0, 1.5, 65504]],
        [4, [2 ** -24, Infinity]],
      ],
    );
    for (const [dtype, data] of Object.entries(rest)) assert.deepEqual(read.readRaw(`raw.${dtype}`), data);
    assert.throws(() => read.read('raw.i64'), /tensor "raw\.i64": expected floats, found i64/);
    read.close();
    const header = fs.readFileSync(file).readBigUInt64LE(0);
    assert.equal(header % 8n, 0n);
  });

  test('npm safetensors reads what we write', () => {
    const { SafeTensor } = createRequire(import.meta.url)('safetensors') as {
      SafeTensor: new (bytes: Uint8Array) => { getTensor(name: string): Uint8Array };
    };
    const file = inFolder('for-npm.safetensors');
    const data = Float32Array.from({ length: 12 }, (_, i) => i / 7);
    writeSafetensors(
      file,
      [
        { name: 'b', dtype: 'f16', shape: [12], data },
        { name: 'a', dtype: 'f32', shape: [3, 4], data },
      ],
      {},
    );
    // That reader takes `__metadata__` for a tensor and fails, so its bytes go to it without the entry.
    // Not by TextDecoder, whose latin1 is windows-1252 since Node 22: bytes from 0x80 on would become others.
    const text = fs.readFileSync(file).toString('latin1');
    const blanked = Buffer.from(text.replace('"__metadata__":{},', ' '.repeat(18)), 'latin1');
    const theirs = new SafeTensor(new Uint8Array(blanked));
    assert.deepEqual(new Uint8Array(theirs.getTensor('a')), bytesOf(data));
    assert.deepEqual(new Uint8Array(theirs.getTensor('b')), encode('f16', data));
  });

  test('the writer refuses what does not fit and then leaves nothing', () => {
    const file = inFolder('refused.safetensors');
    const one = { name: 'x', dtype: 'f32' as FileDType, shape: [2] };
    assert.throws(() => SafetensorsWriter.create(file, [one, one]), /"x" is repeated/);
    assert.throws(() => SafetensorsWriter.create(file, [{ ...one, name: '__metadata__' }]), /reserved/);
    assert.throws(() => SafetensorsWriter.create(file, [{ ...one, shape: [-1] }]), /bad shape \[-1\]/);
    const writer = SafetensorsWriter.create(file, [one]);
    assert.throws(() => writer.write('y', new Float32Array(1)), /"y" was announced/);
    assert.throws(() => writer.write('x', new Float32Array(3)), /12 bytes more, room for 8/);
    writer.write('x', new Float32Array(1));
    assert.throws(() => writer.finish(), /4 bytes were never written/);
    assert.deepEqual(
      fs.readdirSync(folder).filter((name) => name.includes('refused')),
      [],
    );
  });

  const f32 = (shape: unknown, offsets: unknown, dtype: unknown = 'F32') => ({
    dtype,
    shape,
    data_offsets: offsets,
  });
  const wrong: [string, Header | string | Uint8Array, number, RegExp][] = [
    ['not JSON', '{nope', 0, /the header is not JSON/],
    ['not UTF-8', Buffer.from('{"\xff":0}', 'latin1'), 0, /the header is not UTF-8/],
    ['an array', '[]', 0, /a header that begins with "\{", found "\[\]"/],
    ['deep nesting', `{"x":${'['.repeat(100_000)}`, 0, /tensor "x": expected an object, found "\[\[\[/],
    ['tensor is null', { x: null }, 0, /tensor "x": expected an object, found "null"/],
    ['unknown dtype', { x: f32([1], [0, 4], 'F31') }, 4, /tensor "x": expected a dtype of .*found "F31"/],
    ['dtype of Object', { x: f32([1], [0, 4], 'constructor') }, 4, /expected a dtype/],
    ['fractional shape', { x: f32([1.5], [0, 6]) }, 6, /expected a shape of whole numbers/],
    ['negative shape', { x: f32([-1], [0, 4]) }, 4, /expected a shape/],
    ['overflowing shape', { x: f32([2 ** 40, 2 ** 40], [0, 4]) }, 4, /fewer than 2\^64 elements/],
    ['three offsets', { x: f32([1], [0, 4, 8]) }, 8, /data_offsets: expected at most 2/],
    ['reversed offsets', { x: f32([1], [4, 0]) }, 4, /begin ≤ end/],
    ['wrong size', { x: f32([2], [0, 4]) }, 4, /tensor "x": expected 8 bytes for F32 \[2\], found 4/],
    [
      'truncated data',
      { x: f32([2], [0, 8]) },
      7,
      /tensor "x": truncated: expected data up to byte 8, .* 7 bytes/,
    ],
    ['bytes after the end', { x: f32([1], [0, 4]) }, 5, /expected 4 bytes of data, found 5/],
    ['overlap', { x: f32([2], [0, 8]), y: f32([1], [4, 8]) }, 8, /tensor "y": overlaps .* at 8, found 4/],
    ['gap', { x: f32([1], [0, 4]), y: f32([1], [8, 12]) }, 12, /tensor "y": leaves a gap.* at 4, found 8/],
    ['metadata of numbers', { __metadata__: { a: 1 } }, 0, /__metadata__: "a": expected a string/],
    ['a name with line ends', { 'a\nb': null }, 0, /tensor "a\\nb"/],
  ];
  for (const [what, header, dataBytes, message] of wrong)
    test(`refuses ${what} in one line`, () => {
      const file = craft('wrong.safetensors', header, dataBytes);
      assert.throws(
        () => SafetensorsFile.open(file),
        (error: Error) => {
          assert.ok(error instanceof InputError);
          assert.match(error.message, message);
          assert.match(error.message, /^\S*wrong\.safetensors: .*$/);
          return true;
        },
      );
    });

  test('a truncated file is refused at every length', () => {
    const whole = inFolder('whole.safetensors');
    const data = new Float32Array(6);
    writeSafetensors(whole, [
      { name: 'x', dtype: 'f32', shape: [6], data },
      { name: 'y', dtype: 'f16', shape: [6], data },
    ]);
    const bytes = fs.readFileSync(whole);
    for (let length = 0; length < bytes.length; length++) {
      fs.writeFileSync(inFolder('cut.safetensors'), bytes.subarray(0, length));
      assert.throws(() => SafetensorsFile.open(inFolder('cut.safetensors')), InputError, `length ${length}`);
    }
    fs.writeFileSync(inFolder('cut.safetensors'), new Uint8Array(16).fill(0x7f));
    assert.throws(() => SafetensorsFile.open(inFolder('cut.safetensors')), /expected at most 100000000/);
    assert.throws(() => SafetensorsFile.open(inFolder('absent')), /cannot read: no such file/);
    assert.throws(() => SafetensorsFile.open(folder), /expected a file, found a folder/);
  });

  test('a random header is read whole or refused with an InputError', () => {
    const small = fc.oneof(fc.integer({ min: -1, max: 12 }), fc.double(), fc.constant(2 ** 53));
    const entry = fc.record(
      {
        dtype: fc.oneof(fc.constantFrom('F32', 'F16', 'U8', 'toString'), fc.string()),
        shape: fc.oneof(fc.array(small, { maxLength: 3 }), fc.jsonValue()),
        data_offsets: fc.oneof(fc.array(small, { maxLength: 3 }), fc.jsonValue()),
      },
      { requiredKeys: [] },
    );
    const name = fc.oneof(fc.constantFrom('__proto__', '__metadata__', 'x'), fc.string());
    const header = fc.oneof(fc.dictionary(name, fc.oneof(entry, fc.jsonValue())), fc.jsonValue());
    fc.assert(
      fc.property(header, fc.nat(24), (value, dataBytes) => {
        const file = craft('random.safetensors', JSON.stringify(value), dataBytes);
        try {
          const source = SafetensorsFile.open(file);
          for (const tensor of source.names()) source.readRaw(tensor);
          source.close();
        } catch (error) {
          assert.ok(error instanceof InputError, String(error));
          assert.ok(!error.message.includes('\n'));
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('openWeights', () => {
  const home = (name: string) => {
    const made = inFolder(name);
    fs.mkdirSync(made);
    return made;
  };
  const save = (file: string, name: string, value: number) =>
    writeSafetensors(file, [{ name, dtype: 'f32', shape: [1], data: Float32Array.of(value) }]);
  const index = (file: string, map: unknown) => fs.writeFileSync(file, JSON.stringify({ weight_map: map }));

  test('prefers model.safetensors, then its shards, then pytorch_model.bin', () => {
    const model = home('preference');
    assert.throws(
      () => openWeights(model),
      /no weights found \(looked for model\.safetensors, .*index\.json\)/,
    );
    assert.throws(() => openWeights(inFolder('nowhere')), /nowhere: no such model folder/);
    const value = () => {
      const source = openWeights(model);
      try {
        return [path.basename(source.describe()), source.read('x')[0]];
      } finally {
        source.close();
      }
    };
    writeTorchFile(path.join(model, 'torch-1.bin'), [{ name: 'x', shape: [1], data: Float32Array.of(4) }]);
    index(path.join(model, 'pytorch_model.bin.index.json'), { x: 'torch-1.bin' });
    assert.deepEqual(value(), ['pytorch_model.bin.index.json', 4]);
    writeTorchFile(path.join(model, 'pytorch_model.bin'), [
      { name: 'x', shape: [1], data: Float32Array.of(3) },
    ]);
    assert.deepEqual(value(), ['pytorch_model.bin', 3]);
    save(path.join(model, 'part.safetensors'), 'x', 2);
    index(path.join(model, 'model.safetensors.index.json'), { x: 'part.safetensors' });
    assert.deepEqual(value(), ['model.safetensors.index.json', 2]);
    save(path.join(model, 'model.safetensors'), 'x', 1);
    assert.deepEqual(value(), ['model.safetensors', 1]);
  });

  test('reads across shards', () => {
    const model = home('sharded');
    save(path.join(model, 'a.safetensors'), 'first', 1);
    save(path.join(model, 'b.safetensors'), 'second', 2);
    const map = { first: 'a.safetensors', second: 'b.safetensors' };
    index(path.join(model, 'model.safetensors.index.json'), map);
    const source = openWeights(model);
    assert.deepEqual(source.names(), Object.keys(map));
    assert.deepEqual([...source.read('second')], [2]);
    assert.deepEqual([...source.stream('first', 5)], [{ offset: 0, data: Float32Array.of(1) }]);
    assert.deepEqual(source.info('first'), { shape: [1], dtype: 'f32' });
    assert.ok(source.has('second') && !source.has('absent'));
    assert.throws(() => source.read('absent'), /index\.json: no tensor "absent"/);
    source.close();
  });
});
