/** Files of vectors: what numpy writes, byte for byte, what is refused and how, and vectors beyond memory. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { NpyStream, openVectors, readOffsets, writeNpy } from '../src/retrieval/vectors/files.js';
import { memoryRows } from '../src/retrieval/vectors/rows.js';
import { VectorSpool } from '../src/retrieval/vectors/spool.js';
import { writeSafetensors } from '../src/weights/safetensors.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-vectors-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => path.join(folder, name);

/** What `numpy.save` 2.4 wrote: the elements behind a header of 128 bytes. */
const numpyHeader = (dict: string, version = 1) =>
  Buffer.concat([
    Buffer.from([0x93]),
    Buffer.from('NUMPY'),
    Buffer.from(version === 1 ? [1, 0, 118, 0] : [version, 0, 116, 0, 0, 0]),
    Buffer.from(`${dict.padEnd(version === 1 ? 117 : 115)}\n`),
  ]);
const bytes = (...values: number[]) => Buffer.from(Float32Array.from(values).buffer);
const quarters = bytes(0, 0.25, 0.5, 0.75, 1, 1.25);
const halves = Buffer.from('AMAAvAAAADwAQABC', 'base64');
const f32Dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
const written = Buffer.from(
  'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDMpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAACAPgAAAD8AAEA/AACAPwAAoD8=',
  'base64',
);

test('the files of numpy are written to the byte', async () => {
  assert.deepEqual(Buffer.concat([numpyHeader(f32Dict), quarters]), written);
  const rows = memoryRows(Float32Array.of(0, 0.25, 0.5, 0.75, 1, 1.25), 3);
  await writeNpy(at('a.npy'), rows);
  assert.deepEqual(fs.readFileSync(at('a.npy')), written);
  await writeNpy(at('h.npy'), memoryRows(Float32Array.of(-2, -1, 0, 1, 2, 3), 2), 'f16');
  const f16Dict = "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 2), }";
  assert.deepEqual(fs.readFileSync(at('h.npy')), Buffer.concat([numpyHeader(f16Dict), halves]));
  await writeNpy(at('none.npy'), memoryRows(new Float32Array(), 4));
  const noneDict = "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4), }";
  assert.deepEqual(fs.readFileSync(at('none.npy')), numpyHeader(noneDict));
  const none = openVectors(at('none.npy'));
  assert.deepEqual([none.count, none.width, await none.read(0, 0)], [0, 4, new Float32Array()]);
  none.close();
});

test('vectors are read by position, whatever wrote them', async () => {
  const order = "{ 'shape':(2,3),'fortran_order':False,'descr':\"<f4\"}";
  const long = "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }";
  for (const [name, content] of [
    ['v1', Buffer.concat([numpyHeader(f32Dict), quarters])],
    ['v2', Buffer.concat([numpyHeader(f32Dict, 2), quarters])],
    ['v3', Buffer.concat([numpyHeader(f32Dict, 3), quarters])],
    ['order', Buffer.concat([numpyHeader(order), quarters])],
    ['long', Buffer.concat([numpyHeader(long), quarters])],
  ] as const) {
    fs.writeFileSync(at(name), content);
    const vectors = openVectors(at(name));
    assert.deepEqual([vectors.count, vectors.width, vectors.dtype], [2, 3, 'f32'], name);
    assert.deepEqual(await vectors.read(1, 2), Float32Array.of(0.75, 1, 1.25), name);
    await assert.rejects(vectors.read(1, 3), /no rows 1 to 3 of 2/);
    vectors.close();
  }
  writeSafetensors(at('a.safetensors'), [
    { name: 'dense', dtype: 'f16', shape: [3, 2], data: Float32Array.of(-2, -1, 0, 1, 2, 3) },
    { name: 'colbert', dtype: 'f32', shape: [1, 2], data: Float32Array.of(5, 6) },
  ]);
  for (const [tensor, rows, expected] of [
    [undefined, [1, 3], [0, 1, 2, 3]],
    ['colbert', [0, 1], [5, 6]],
  ] as const) {
    const vectors = openVectors(at('a.safetensors'), tensor);
    assert.deepEqual([...(await vectors.read(rows[0], rows[1]))], expected);
    vectors.close();
  }
  assert.throws(
    () => openVectors(at('a.safetensors'), 'sparse'),
    /expected a tensor "sparse", found "colbert", "dense"/,
  );
});

test('what is no file of vectors is refused by name', () => {
  const dict = (text: string, data: Buffer = quarters) => Buffer.concat([numpyHeader(text), data]);
  const f4 = (shape: string, order = 'False') =>
    `{'descr': '<f4', 'fortran_order': ${order}, 'shape': ${shape}, }`;
  for (const [name, content, wrong] of [
    [
      'fortran',
      dict(f4('(2, 3)', 'True')),
      /expected rows one after the other \(C order\), found Fortran order/,
    ],
    ['big-endian', dict(f32Dict.replace('<', '>')), /expected a dtype of <f4 .*found ">f4"/],
    ['doubles', dict(f32Dict.replace('f4', 'f8')), /expected a dtype of .*found "<f8"/],
    ['objects', dict("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }"), /found "\|O"/],
    ['record', dict("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }"), /expected/],
    ['integers', dict(f32Dict.replace('f4', 'i4')), /expected vectors of f16 or f32, found i32/],
    [
      'truncated',
      dict(f32Dict, quarters.subarray(0, 20)),
      /truncated: expected 24 bytes of <f4 \[2,3\], found 20/,
    ],
    ['longer', dict(f32Dict, Buffer.concat([quarters, quarters])), /not what its header says: expected 24/],
    ['flat', dict(f4('(6,)')), /expected vectors \[count, width\], found the shape \[6\]/],
    ['cube', dict(f4('(1, 2, 3)')), /expected vectors \[count, width\]/],
    ['huge', dict(f4('(4503599627370496, 4503599627370496)')), /expected a shape of fewer elements/],
    ['twice', dict(f32Dict.replace('}', "'descr': '<f4', }")), /twice/],
    ['no shape', dict("{'descr': '<f4', 'fortran_order': False, }"), /expected "shape" in the header/],
    ['no dict', dict('import os'), /expected a header like/],
    [
      'version',
      Buffer.concat([Buffer.from([0x93]), Buffer.from('NUMPY'), Buffer.from([4, 0, 0, 0])]),
      /version 1, 2 or 3/,
    ],
    ['header', numpyHeader(f32Dict).subarray(0, 60), /truncated: expected 118 bytes at 10, file has 60/],
    ['text', Buffer.from('hello'), /expected at least 8 bytes|not a safetensors/],
    ['empty', Buffer.alloc(0), /found an empty file/],
  ] as [string, Buffer, RegExp][]) {
    fs.writeFileSync(at(name), content);
    assert.throws(
      () => openVectors(at(name)).close(),
      (error: Error) => {
        assert.equal(error.name, 'InputError', name);
        assert.match(error.message, wrong, name);
        assert.ok(error.message.includes(at(name)), error.message);
        return true;
      },
      name,
    );
  }
});

test('offsets rise from 0 to the rows', () => {
  const save = (name: string, ...values: number[]) => {
    const file = { bytes: Buffer.alloc(0) };
    const stream = new NpyStream(
      {
        write(piece, position) {
          if (position === undefined) file.bytes = Buffer.concat([file.bytes, piece]);
          else file.bytes.set(piece, position);
        },
      },
      'i64',
      0,
    );
    stream.write(BigInt64Array.from(values, BigInt));
    stream.finish();
    fs.writeFileSync(at(name), file.bytes);
    return at(name);
  };
  assert.deepEqual([...readOffsets(save('o', 0, 2, 2, 6), 6)], [0, 2, 2, 6]);
  assert.throws(() => readOffsets(save('p', 0, 2, 1), 1), /rise from 0, found 1 at 2/);
  assert.throws(() => readOffsets(save('q', 1, 2), 2), /rise from 0, found 1 at 0/);
  assert.throws(() => readOffsets(save('r', 0, 2), 3), /end with the 3 rows, found 2/);
  assert.throws(() => readOffsets(at('a.npy'), 2), /expected offsets \[texts \+ 1\] of i64, found f32/);
});

test('a spool is the same in memory and on disk, and leaves nothing', async () => {
  const width = 3;
  const values = Float32Array.from({ length: 600 * width }, (_, i) => i);
  for (const memory of [1 << 20, 1000, 0]) {
    const spool = new VectorSpool({ width, memory, folder });
    for (let row = 0; row < 600; row += 7)
      spool.append(values.subarray(row * width, Math.min(600, row + 7) * width));
    assert.equal(spool.count, 600);
    assert.equal(spool.onDisk, memory < 7200);
    for (const [start, end] of [
      [0, 600],
      [0, 0],
      [600, 600],
      [5, 200],
      [599, 600],
    ] as const)
      assert.deepEqual(await spool.read(start, end), values.subarray(start * width, end * width));
    await assert.rejects(spool.read(0, 601), /no rows 0 to 601 of 600/);
    assert.throws(() => spool.append(new Float32Array(4)), /4 values are no rows of 3/);
    spool.dispose();
    await assert.rejects(spool.read(0, 1), /disposed/);
    assert.deepEqual(
      fs.readdirSync(folder).filter((name) => name.startsWith('dawntune-vectors')),
      [],
    );
  }
  const lost = new VectorSpool({ width, memory: 0, folder: at('nowhere') });
  assert.throws(
    () => lost.append(new Float32Array(3)),
    /cannot keep temporary files there: no such file or folder/,
  );
});
