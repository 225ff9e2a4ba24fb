/**
 * What may stand in place of a model's weights: other files, folders, links, pipes, indexes that are wrong, files that
 * ask for more than they hold. Each is known when the folder is opened, and said in one line that names the file.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { InputError } from '../src/errors.js';
import { parseJson } from '../src/files/json.js';
import { openWeights } from '../src/weights/open.js';
import { writeSafetensors } from '../src/weights/safetensors.js';
import { TorchFile, writeTorchFile } from '../src/weights/torch-file.js';
import {
  legacyTorchFile,
  type PickledTensor,
  pickled,
  tensorPickle,
  zipOf,
  zipTorchFile,
} from './torch-bytes.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-weights-'));
after(() => fs.rmSync(folder, { recursive: true }));
let made = 0;
const home = () => {
  const model = path.join(folder, String(made++));
  fs.mkdirSync(model);
  return model;
};

/** The line that opening (and reading everything) ends with. */
function refusal(model: string): string {
  try {
    const source = openWeights(model);
    try {
      for (const name of source.names()) source.read(name);
    } finally {
      source.close();
    }
  } catch (error) {
    assert.ok(error instanceof InputError, (error as Error).stack);
    assert.doesNotMatch(error.message, /\p{Cc}/u);
    assert.ok(error.message.startsWith(`${model}/`), error.message);
    assert.ok(error.message.length < 600, error.message);
    return error.message.slice(model.length + 1);
  }
  return 'accepted';
}

const one = { shape: [2], data: Float32Array.of(1, 2) };
const safetensors = (file: string, name = 'x') => writeSafetensors(file, [{ name, dtype: 'f32', ...one }]);
const torch = (file: string, name = 'x') => writeTorchFile(file, [{ name, ...one }]);

// ---- other things in their place -----------------------------------------------------------------------------

const LFS =
  'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n';
type Placed = [what: string, place: (file: string) => void, message: RegExp];
const inPlace: Placed[] = [
  ['a Git LFS pointer', (file) => fs.writeFileSync(file, LFS), /found a Git LFS pointer/],
  ['a web page', (file) => fs.writeFileSync(file, '\n<!DOCTYPE html><html>'), /found a web page/],
  ['nothing', (file) => fs.writeFileSync(file, ''), /found an empty file/],
  ['zeros', (file) => fs.writeFileSync(file, new Uint8Array(5000)), /found zeros/],
  ['a gzip archive', (file) => fs.writeFileSync(file, '\x1f\x8b\x08', 'latin1'), /found a gzip archive/],
  [
    'a tar archive, as PyTorch wrote before 0.2',
    (file) => fs.writeFileSync(file, Buffer.from(`sys_info${'\0'.repeat(249)}ustar\0`.padEnd(1024, '\0'))),
    /found a tar archive/,
  ],
  ['three bytes', (file) => fs.writeFileSync(file, 'abc'), /not a (safetensors|PyTorch) file/],
  [
    'JSON',
    (file) => fs.writeFileSync(file, '{"error":"Repository not found"}'),
    /not a (safetensors|PyTorch) file/,
  ],
  ['a folder', (file) => fs.mkdirSync(file), /expected a file, found a folder/],
  ['a pipe', (file) => void execFileSync('mkfifo', [file]), /expected a file, found a pipe/],
  ['a link to nothing', (file) => fs.symlinkSync('gone', file), /a link to something that does not exist/],
  [
    'a link to itself',
    (file) => fs.symlinkSync(path.basename(file), file),
    /links that lead in a circle|a link/,
  ],
  [
    'a link to a device',
    (file) => fs.symlinkSync('/dev/zero', file),
    /found a link to \/dev\/zero|found a device/,
  ],
];

describe('something else in place of weights', () => {
  const shapes: [where: string, put: (model: string, place: (file: string) => void) => void, file: string][] =
    [
      [
        'model.safetensors, and not the next candidate',
        (model, place) => {
          place(path.join(model, 'model.safetensors'));
          torch(path.join(model, 'pytorch_model.bin'));
        },
        'model.safetensors',
      ],
      [
        'pytorch_model.bin',
        (model, place) => place(path.join(model, 'pytorch_model.bin')),
        'pytorch_model.bin',
      ],
      [
        'a shard',
        (model, place) => {
          place(path.join(model, 'b.safetensors'));
          safetensors(path.join(model, 'a.safetensors'));
          const index = { weight_map: { x: 'a.safetensors', y: 'b.safetensors' } };
          fs.writeFileSync(path.join(model, 'model.safetensors.index.json'), JSON.stringify(index));
        },
        'b.safetensors',
      ],
    ];
  for (const [where, put, file] of shapes)
    test(where, () => {
      for (const [what, place, message] of inPlace) {
        const model = home();
        put(model, place);
        const line = refusal(model);
        assert.match(line, message, what);
        assert.ok(line.startsWith(file), line);
      }
    });

  test('the other format', () => {
    const model = home();
    torch(path.join(model, 'model.safetensors'));
    assert.match(refusal(model), /^model\.safetensors: expected a safetensors file, found a zip archive/);
    const other = home();
    safetensors(path.join(other, 'pytorch_model.bin'));
    assert.match(refusal(other), /^pytorch_model\.bin: not a PyTorch file/);
  });

  test('an index in place of weights, and weights in place of an index', () => {
    for (const [what, place] of inPlace) {
      const model = home();
      place(path.join(model, 'model.safetensors.index.json'));
      torch(path.join(model, 'pytorch_model.bin'));
      assert.match(refusal(model), /^model\.safetensors\.index\.json: /, what);
    }
  });

  test('a download that stopped early', () => {
    for (const [name, write] of [
      ['model.safetensors', safetensors],
      ['pytorch_model.bin', torch],
    ] as const) {
      const model = home();
      const file = path.join(model, name);
      write(file);
      const whole = fs.readFileSync(file);
      for (let length = 1; length < whole.length; length += 13) {
        fs.rmSync(file);
        fs.writeFileSync(file, whole.subarray(0, length));
        assert.notEqual(refusal(model), 'accepted', `${name} of ${length} bytes`);
      }
    }
  });

  test('no folder at all', () => {
    const loop = path.join(folder, 'loop');
    fs.symlinkSync('loop', loop);
    const file = path.join(folder, 'file');
    fs.writeFileSync(file, '');
    for (const [where, message] of [
      [path.join(folder, 'gone'), /gone: no such model folder$/],
      [file, /file: expected a model folder/],
      [path.join(file, 'model'), /a part of the path is not a folder/],
      [loop, /links that lead in a circle/],
      [path.join(folder, 'a\0b'), /a\\u0000b: cannot read: no file can have such a name/],
      [path.join(folder, 'x'.repeat(5000)), /the name is too long/],
    ] as const)
      assert.throws(
        () => openWeights(where),
        (error: Error) => error instanceof InputError && message.test(error.message),
      );
  });
});

// ---- indexes -------------------------------------------------------------------------------------------------

describe('an index of shards', () => {
  const opened = (index: string, more: (model: string) => void = () => {}) => {
    const model = home();
    safetensors(path.join(model, 'a.safetensors'), 'x');
    safetensors(path.join(model, 'b.safetensors'), 'y');
    fs.writeFileSync(path.join(model, 'model.safetensors.index.json'), index);
    more(model);
    return refusal(model);
  };
  const map = (value: unknown) => JSON.stringify({ weight_map: value });
  const both = { x: 'a.safetensors', y: 'b.safetensors' };
  const total = (metadata: unknown, weightMap: unknown = both) =>
    JSON.stringify({ metadata, weight_map: weightMap });

  test('is taken when it is right', () => {
    assert.equal(opened(total({ total_size: 16 })), 'accepted');
    assert.equal(opened(total({ total_size: 16, total_parameters: 4 })), 'accepted');
    assert.equal(opened(total({ total_size: 8 }, { x: 'a.safetensors' })), 'accepted');
    for (const metadata of [undefined, {}, null, []]) assert.equal(opened(total(metadata)), 'accepted');
  });

  test('counts shared storages once or each time, and bools as bits or bytes', () => {
    const verdict = (totalSize: number) => {
      const model = home();
      const view = { offset: 0, shape: [4], strides: [1] };
      fs.writeFileSync(
        path.join(model, 'a.bin'),
        zipTorchFile(
          ['tied', 'again', 'half'].map((name) => [
            name,
            tensorPickle(8, name === 'half' ? view : { ...view, shape: [8] }),
          ]),
          8,
        ),
      );
      writeTorchFile(path.join(model, 'b.bin'), [{ name: 'y', ...one }]);
      const weightMap = { tied: 'a.bin', again: 'a.bin', half: 'a.bin', y: 'b.bin' };
      fs.writeFileSync(
        path.join(model, 'pytorch_model.bin.index.json'),
        total({ total_size: totalSize }, weightMap),
      );
      return refusal(model);
    };
    for (const right of [40, 88, 24]) assert.equal(verdict(right), 'accepted', `${right}`);
    for (const wrong of [23, 89])
      assert.match(
        verdict(wrong),
        /total_size: expected 24 to 88, the bytes of .* "a\.bin", "b\.bin", found/,
      );
    const bools = (totalSize: number) =>
      opened(total({ total_size: totalSize }, { x: 'a.safetensors', mask: 'b.safetensors' }), (model) =>
        writeSafetensors(path.join(model, 'b.safetensors'), [
          { name: 'mask', dtype: 'bool', shape: [20], data: new Uint8Array(20) },
        ]),
      );
    for (const right of [28, 10.5]) assert.match(bools(right), /"mask": expected floats, found bool/);
    assert.match(bools(29), /total_size/);
  });

  const refused: [index: string, message: RegExp][] = [
    ['', /found an empty file/],
    ['null', /expected a JSON object, found null/],
    ['[]', /expected a JSON object, found \[\]/],
    ['{"weight', /expected JSON/],
    [`${'['.repeat(20_000)}${']'.repeat(20_000)}`, /at most \d+ nested/],
    ['{}', /expected an object "weight_map".*found nothing/],
    ...[null, 1, 'a.safetensors', ['a.safetensors'], true].map((value): [string, RegExp] => [
      map(value),
      /expected an object "weight_map"/,
    ]),
    [map({}), /"weight_map" of at least one tensor/],
    ...[
      null,
      3,
      '',
      '.',
      '..',
      '../a.safetensors',
      '/etc/passwd',
      'sub/a.safetensors',
      'sub\\a.safetensors',
      './a.safetensors',
      '.hidden',
      'a\0.safetensors',
      'x'.repeat(300),
      ['a.safetensors'],
    ].map((file): [string, RegExp] => [
      map({ x: file }),
      /index\.json: tensor "x": expected the name of a file beside the index, found /,
    ]),
    [map({ x: 'c.safetensors' }), /^c\.safetensors: cannot read: no such file or folder$/],
    [
      map({ x: 'a.safetensors', z: 'b.safetensors' }),
      /tensor "z": expected in b\.safetensors, which does not have it/,
    ],
    [map({ x: 'b.safetensors' }), /tensor "x": expected in b\.safetensors, which does not/],
    [map({ toString: 'a.safetensors' }), /tensor "toString": expected in a\.safetensors, which does not/],
    ['{"weight_map":{"__proto__":"a.safetensors"}}', /tensor "__proto__": expected in a\.safetensors, which/],
    ...[15, 17, 0, 32, 1e300].map((size): [string, RegExp] => [
      total({ total_size: size }),
      /metadata\.total_size: expected 16, the bytes of its tensors in "a\.safetensors", "b\.safetensors", found \d/,
    ]),
    ...['16', -1, null, [16], true].map((size): [string, RegExp] => [
      total({ total_size: size }),
      /metadata\.total_size: expected a number of bytes, found /,
    ]),
    [map({ 'a\u001b[31m\u202e': 'a.safetensors' }), /tensor "a\\u001b\[31m\\u202e": expected in/],
    [
      map(Object.fromEntries(Array.from({ length: 600 }, (_, i) => [`t${i}`, `s${i}`]))),
      /at most 512 files, found 600/,
    ],
  ];
  test('is refused in one line when it is wrong', () => {
    for (const [index, message] of refused) assert.match(opened(index), message, index.slice(0, 100));
  });

  test('a tensor in two shards', () => {
    const line = opened(map({ x: 'a.safetensors', y: 'b.safetensors' }), (model) =>
      writeSafetensors(path.join(model, 'b.safetensors'), [
        { name: 'y', dtype: 'f32', ...one },
        { name: 'x', dtype: 'f32', ...one },
      ]),
    );
    assert.match(line, /tensor "x": expected in a\.safetensors alone, found in b\.safetensors too/);
  });
});

test('JSON of more values than any file of a model has is refused before it is parsed', () => {
  for (const value of ['[],', '{"a":1},', '1,'])
    assert.throws(
      () => parseJson(`[${value.repeat(2 ** 22)}0]`, 'x.json'),
      /^InputError: x\.json: expected at most 4194304 values, found more$/,
    );
  assert.equal((parseJson(`["${',[{:'.repeat(2 ** 20)}"]`, 'x.json') as string[])[0]!.length, 2 ** 22);
});

// ---- names ---------------------------------------------------------------------------------------------------

test('tensors may have any name, and messages escape it', () => {
  for (const name of ['__proto__', 'constructor', 'toString', '', '\u001b[2J', 'a\nb', '\ud83e\udd17'])
    for (const [file, write] of [
      ['model.safetensors', safetensors],
      ['pytorch_model.bin', torch],
    ] as const) {
      const model = home();
      write(path.join(model, file), name);
      const source = openWeights(model);
      assert.deepEqual(source.names(), [name]);
      assert.deepEqual([...source.read(name)], [1, 2]);
      assert.ok(!source.has('valueOf') && !source.has('hasOwnProperty'));
      for (const absent of ['valueOf', '\u001b[2J absent'])
        assert.throws(
          () => source.info(absent),
          (error: Error) => error instanceof InputError && !/\p{Cc}/u.test(error.message),
        );
      source.close();
    }
});

// ---- PyTorch files that ask for more than they hold ------------------------------------------------------------

describe('a PyTorch file cannot ask for more than it holds', () => {
  const file = path.join(folder, 'bomb.pt');
  /** The line that a file of these tensors over one storage of `count` floats is refused with, or 'accepted'. */
  const verdict = (count: number, tensors: PickledTensor[]) => {
    const bytes = zipTorchFile(
      tensors.map((tensor, i) => [`t${i}`, tensorPickle(count, tensor)]),
      count,
    );
    return attempt(bytes);
  };
  const attempt = (bytes: Uint8Array) => {
    fs.rmSync(file, { force: true });
    fs.writeFileSync(file, bytes);
    const start = process.cpuUsage().user;
    try {
      const source = TorchFile.open(file);
      for (const name of source.names()) source.read(name);
      source.close();
    } catch (error) {
      assert.ok(error instanceof InputError, (error as Error).stack);
      assert.match(error.message, /^\S+bomb\.pt: /);
      assert.ok(error.message.length < 600 && !/\p{Cc}/u.test(error.message), error.message);
      return error.message.slice(file.length + 2);
    } finally {
      // Not by the clock: the machine may be busy.
      assert.ok(process.cpuUsage().user - start < 5e6);
    }
    return 'accepted';
  };
  const view = (shape: number[], strides: number[], offset = 0): PickledTensor => ({
    offset,
    shape,
    strides,
  });
  const many = (length: number, tensor: PickledTensor) => Array.from({ length }, () => tensor);
  const TOO_MUCH = /repeats or shares elements/;

  test('tied weights, slices and small expansions are read', () => {
    assert.equal(verdict(1000, many(8, view([1000], [1]))), 'accepted');
    assert.equal(
      verdict(1000, [view([10, 100], [1, 10]), view([500], [2]), view([1, 1000], [0, 1])]),
      'accepted',
    );
    assert.equal(verdict(4, [view([2, 3], [0, 0], 3)]), 'accepted');
    assert.equal(verdict(0, [view([0, 7], [7, 1]), view([7, 0], [1, 1])]), 'accepted');
    assert.equal(verdict(4, [view([2 ** 30, 2 ** 30, 0], [0, 0, 1])]), 'accepted');
  });

  test('views that repeat elements beyond that are not', () => {
    assert.match(verdict(400_000, many(700, view([1 << 20], [0]))), TOO_MUCH);
    assert.match(verdict(1, [view([1 << 19], [0])]), TOO_MUCH);
    assert.match(verdict(1, [view([1e9, 1e9, 1e9], [0, 0, 0])]), TOO_MUCH);
    assert.match(verdict(1, many(40, view([1 << 14], [0]))), TOO_MUCH);
    assert.match(verdict(100_000, many(100, view([100_000], [1]))), TOO_MUCH);
    assert.match(verdict(200_000, many(60, view([100_000, 2], [1, 100_000]))), TOO_MUCH);
    assert.match(verdict(2, [view(new Array(60).fill(2 ** 30), new Array(60).fill(0))]), TOO_MUCH);
  });

  test('and views beyond their storage are not either', () => {
    for (const tensor of [
      view([5], [1]),
      view([4], [1], 1),
      view([2, 2], [3, 1]),
      view([2], [2 ** 30]),
      view([1], [1], 2 ** 30),
      view([2 ** 30, 2 ** 30], [2 ** 30, 2 ** 30]),
    ])
      assert.match(verdict(4, [tensor]), /from \d+ needs \S+ elements, found 4/);
    assert.match(verdict(4, [view([1], [1], -1)]), /expected an offset ≥ 0, found -1/);
    assert.match(verdict(4, [view([2], [-1], 3)]), /strides: expected whole numbers ≥ 0/);
    assert.match(verdict(4, [view([-1], [1])]), /shape: expected whole numbers ≥ 0/);
    assert.match(verdict(4, [view(new Array(65).fill(1), new Array(65).fill(1))]), /at most 64/);
  });

  const { u32, text, raw } = pickled;
  const bombs: [what: string, pickle: Uint8Array][] = [
    ['marks', raw('('.repeat(1e6))],
    ['lists in lists', raw(']'.repeat(4e5) + 'a'.repeat(399_999))],
    ['lists in lists beyond the budget', raw(']'.repeat(1.1e6))],
    ['a list that holds itself', raw(']q\x00h\x00a')],
    ['a dict that holds itself', Buffer.concat([raw('}q\x00'), text('me'), raw('h\x00s')])],
    ['tuples that double', raw(`${')'}${'2\x86'.repeat(4e5)}`)],
    ['a memo of everything', raw(`N${'\x94'.repeat(1.1e6)}`)],
    [
      'a memo at far places',
      Buffer.concat([
        raw('N'),
        ...Array.from({ length: 1000 }, (_, i) => Buffer.concat([raw('r'), u32(0xffffffff - i)])),
      ]),
    ],
    ['a tuple of everything', raw(`(${'N'.repeat(1e6)}t`)],
    [
      'tuples of a tuple of everything',
      raw(`(${'N'.repeat(5e5)}tq\x00${`(${'h\x00'.repeat(100)}t`.repeat(5000)}`),
    ],
    ['a string of 4 GB', raw('X\xff\xff\xff\xff')],
    ['a string of 2^63 bytes', raw('\x8d\0\0\0\0\0\0\0\x80')],
    ['bytes of 4 GB', raw('B\xff\xff\xff\xff')],
    ['an integer of 2 GB', raw('\x8b\xff\xff\xff\x7f')],
    ['a long integer as a count', Buffer.concat([raw('\x8a\xff'), Buffer.alloc(255, 0x7f)])],
    ['a frame of 2^63 bytes', raw('\x95\0\0\0\0\0\0\0\x80N')],
    ['a long name', raw(`c${'x'.repeat(1e6)}\n`)],
    ['tensors without end', Buffer.concat([raw('('), ...endlessTensors()])],
  ];
  function endlessTensors(): Uint8Array[] {
    const tensor = tensorPickle(4, view(new Array(64).fill(1), new Array(64).fill(0)));
    // The call's function and arguments are remembered, so that each further tensor takes five bytes.
    const parts = Buffer.from(tensor).subarray(0, -1);
    return [
      raw('ctorch._utils\n_rebuild_tensor_v2\nq\x01'),
      parts.subarray('ctorch._utils\n_rebuild_tensor_v2\n'.length),
      raw('q\x02R'),
      raw('h\x01h\x02R'.repeat(3e5)),
    ];
  }
  for (const [what, pickle] of bombs)
    test(what, () => {
      assert.notEqual(attempt(zipTorchFile(pickle, 4)), 'accepted');
      if (pickle.length < 100_000) assert.notEqual(attempt(legacyTorchFile(pickle, 4)), 'accepted');
    });

  test('a zip whose directory is wrong', () => {
    const whole = Buffer.from(zipTorchFile([['x', tensorPickle(4, view([4], [1]))]], 4));
    assert.equal(attempt(whole), 'accepted');
    const end = whole.length - 22;
    const directory = whole.readUInt32LE(end + 16);
    const entry = (record: string) => whole.lastIndexOf(record) - 46;
    const changed = (change: (bytes: Buffer) => void) => {
      const bytes = Buffer.from(whole);
      change(bytes);
      return attempt(bytes);
    };
    const data = entry('archive/data/0');
    const cases: [RegExp, (bytes: Buffer) => void][] = [
      [
        /expected 4 directory entries, found 3|expected \d directory entries/,
        (b) => b.writeUInt16LE(9, end + 10),
      ],
      [/at most \d+ bytes|must end by/, (b) => b.writeUInt32LE(0xfffffff0, end + 12)],
      [/must end by/, (b) => b.writeUInt32LE(0xfffffff0, end + 16)],
      [/no zip64 locator/, (b) => b.writeUInt32LE(0xffffffff, end + 16)],
      [/stored size|expected \d+ bytes at/, (b) => b.writeUInt32LE(0x7fffffff, data + 24)],
      [
        /expected \d+ bytes at/,
        (b) => {
          b.writeUInt32LE(0x7fffffff, data + 24);
          b.writeUInt32LE(0x7fffffff, data + 20);
        },
      ],
      [
        /expected 16 bytes for 4 f32, found 8/,
        (b) => {
          b.writeUInt32LE(8, data + 24);
          b.writeUInt32LE(8, data + 20);
        },
      ],
      [/compressed \(method 8\)/, (b) => b.writeUInt16LE(8, data + 10)],
      [/encrypted/, (b) => b.writeUInt16LE(1, data + 8)],
      [/header at/, (b) => b.writeUInt32LE(directory, data + 42)],
      [/no header at/, (b) => b.writeUInt32LE(1, data + 42)],
      [/overlap/, (b) => b.writeUInt32LE(b.readUInt32LE(entry('archive/data.pkl') + 42), data + 42)],
      [/no record "data\/0"/, (b) => b.write('archive/data/7', data + 46)],
      [/is cut off/, (b) => b.writeUInt16LE(0xffff, data + 30)],
    ];
    for (const [message, change] of cases) assert.match(changed(change), message);
    const records = ['archive/data.pkl', 'archive/data.pkl'].map((name) => [name, raw('}.')] as const);
    assert.match(attempt(zipOf(records)), /record "archive\/data\.pkl" appears twice/);
  });
});
