/** Inputs for the readers of weights: files whose frame is right around headers, directories and pickles that are not. */
import { legacyTorchFile, pickled, tensorPickle, zipTorchFile } from '../torch-bytes.js';
import { damageBytes } from './bytes.js';
import { goldenBytes, torchFiles, wordsOf } from './corpus.js';
import { damageTree, textOf, treeOf } from './json.js';
import type { FuzzRandom } from './random.js';

const once = <T>(make: () => T): (() => T) => {
  let value: T | undefined;
  return () => (value ??= make());
};

// ---- safetensors -------------------------------------------------------------------------------------------

const DTYPES = 'F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL F8_E4M3 F8_E5M2 F4 C64 f32'.split(' ');
const safetensorsWords = [
  ...DTYPES,
  'dtype',
  'shape',
  'data_offsets',
  '__metadata__',
  'format',
  'pt',
  'x',
  'y',
];

/** u64 length, header, data. */
export function frameSafetensors(header: Uint8Array | string, data: Uint8Array, length?: bigint): Uint8Array {
  const json = typeof header === 'string' ? Buffer.from(header) : header;
  const file = new Uint8Array(8 + json.length + data.length);
  new DataView(file.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  file.set(json, 8);
  file.set(data, 8 + json.length);
  return file;
}

/** A right file of a few tensors of these types; `names` has one for each that may be there. */
function rightSafetensors(random: FuzzRandom, dtypes: readonly string[], names: string) {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let at = 0;
  for (let i = 0; i < 1 + random.below(names.length); i++) {
    const shape = Array.from({ length: random.below(4) }, () => random.below(5));
    const dtype = random.pick(dtypes);
    const width = { F64: 8, I64: 8, F32: 4, F16: 2, BF16: 2, U8: 1 }[dtype]!;
    const size = shape.reduce((product, extent) => product * extent, width);
    header[names[i]!] = { dtype, shape, data_offsets: [at, at + size] };
    at += size;
  }
  return { header, data: random.bytes(at) };
}

export function safetensorsInput(random: FuzzRandom): Record<string, Uint8Array> {
  return oneSafetensors(random, ['F32', 'F32', 'F16', 'BF16', 'F64', 'U8', 'I64']);
}

/** Files of 16-bit floats, whose every bit pattern is a number. */
export function halvesInput(random: FuzzRandom): Record<string, Uint8Array> {
  return oneSafetensors(random, ['F16', 'BF16']);
}

function oneSafetensors(random: FuzzRandom, dtypes: readonly string[]): Record<string, Uint8Array> {
  const { header, data } = rightSafetensors(random, dtypes, 'xyzw');
  const tree = treeOf(header);
  const text = textOf(random.chance(0.7) ? damageTree(tree, random, safetensorsWords) : tree);
  const file = frameSafetensors(`${text}${' '.repeat(random.below(9))}`, data);
  return { 'model.safetensors': random.chance(0.3) ? damageBytes(file, random) : file };
}

const shardWords = [...safetensorsWords, 'a.safetensors', 'b.safetensors', '../a.safetensors', 'total_size'];

/** An index of two shards, as they are written here and by transformers; one thing or nothing of it is damaged. */
export function shardsInput(random: FuzzRandom): Record<string, Uint8Array | string> {
  const shards = (['wx', 'yz'] as const).map((names) =>
    rightSafetensors(random, ['F32', 'F16', 'BF16', 'I64'], names),
  );
  const weightMap: Record<string, string> = {};
  const files: Record<string, Uint8Array | string> = {};
  for (const [i, { header, data }] of shards.entries()) {
    const file = `${'ab'[i]}.safetensors`;
    for (const name of Object.keys(header)) if (name !== '__metadata__') weightMap[name] = file;
    const bytes = frameSafetensors(JSON.stringify(header), data);
    files[file] = random.chance(0.15) ? damageBytes(bytes, random) : bytes;
  }
  if (random.chance(0.05)) delete files['b.safetensors'];
  const index = treeOf({
    metadata: { total_size: shards[0]!.data.length + shards[1]!.data.length, total_parameters: 5 },
    weight_map: weightMap,
  });
  const text = textOf(random.chance(0.6) ? damageTree(index, random, shardWords) : index);
  files['model.safetensors.index.json'] = random.chance(0.1) ? damageBytes(Buffer.from(text), random) : text;
  return files;
}

// ---- PyTorch files -----------------------------------------------------------------------------------------

const zips = once(() => [
  ...torchFiles(),
  goldenBytes('model', 'sparse_linear.pt'),
  goldenBytes('shapes', 'mean-48', 'sparse_linear.pt'),
]);
const torchWords = once(() => wordsOf('weights').map((word) => Buffer.from(word)));

/** The pickles of the golden files, without their frames. */
const pickles = once(() =>
  zips().flatMap((bytes) => {
    const start = Buffer.from(bytes).indexOf('\x80\x02', 0, 'latin1');
    const end = bytes.indexOf(0x2e, start + 60);
    return start < 0 || end < 0 ? [] : [bytes.slice(start + 2, Math.min(start + 2000, bytes.length))];
  }),
);

export function torchInput(random: FuzzRandom): Record<string, Uint8Array> {
  const frame = random.chance(0.7) ? zipTorchFile : legacyTorchFile;
  return { 'pytorch_model.bin': torchBytes(random, zips(), frame) };
}

/** Files as they were before PyTorch 1.6. */
export function legacyInput(random: FuzzRandom): Record<string, Uint8Array> {
  return { 'pytorch_model.bin': torchBytes(random, legacies(), legacyTorchFile) };
}

const legacies = once(() => zips().filter((bytes) => bytes[0] === 0x80));

type Frame = typeof zipTorchFile;

function torchBytes(random: FuzzRandom, whole: readonly Uint8Array[], frame: Frame): Uint8Array {
  switch (random.below(4)) {
    case 0:
      return damageBytes(random.pick(whole), random, [...whole, ...torchWords()]);
    case 1:
      return frame(damageBytes(random.pick(pickles()), random, [...pickles(), ...torchWords()]), 4);
    case 2:
      return viewsOfOneStorage(random, frame);
    default: {
      const bytes = frame(anyPickle(random), 4);
      return random.chance(0.1) ? damageBytes(bytes, random) : bytes;
    }
  }
}

/** Tensors with shapes, strides and offsets around what their storage holds. */
function viewsOfOneStorage(random: FuzzRandom, frame: Frame): Uint8Array {
  const count = random.below(200);
  const extent = () => random.pick([0, 1, 1, 2, 3, 5, 8, 100, 1000, 2 ** 31, 2 ** 40]);
  const tensors = Array.from({ length: 1 + random.below(20) }, (_, i) => {
    const rank = random.below(5);
    const small = random.chance(0.7);
    const shape = Array.from({ length: rank }, () => (small ? random.below(6) : extent()));
    const strides = Array.from({ length: random.chance(0.95) ? rank : random.below(6) }, () =>
      small ? random.below(6) : random.pick([0, 1, -1, extent()]),
    );
    const claimed = random.chance(0.9) ? count : random.below(300);
    const offset = random.chance(0.8) ? random.below(4) : random.pick([-1, count, 2 ** 52]);
    const view = random.chance(0.1) ? ([random.below(4), random.below(200)] as const) : undefined;
    return [`t${i}`, tensorPickle(claimed, { offset, shape, strides, ...(view && { view }) })] as const;
  });
  return frame(tensors, count);
}

const { integer, raw, text, tuple, u32 } = pickled;

/** Instructions one after the other that often, but not always, find on the stack what they take. */
function anyPickle(random: FuzzRandom): Buffer {
  const storage = () =>
    Buffer.concat([
      tuple(
        text(random.pick(['storage', 'storage', 'module'])),
        raw(
          `ctorch\n${random.pick(['Float', 'Half', 'BFloat16', 'Long', 'Double', 'Bool', 'Untyped'])}Storage\n`,
        ),
        text(random.pick(['0', '0', '1', '__proto__', '../0'])),
        text('cpu'),
        integer(random.pick([0, 1, 4, 4, 2, 5, -1, 2 ** 31, 2 ** 50])),
        ...(random.chance(0.1) ? [raw('N')] : []),
      ),
      raw('Q'),
    ]);
  const pieces: (() => Buffer)[] = [
    () => raw(random.pick(['N', '\x88', '\x89', ']', '}', ')', '('])),
    () =>
      raw(
        random.pick([
          '0',
          '1',
          '2',
          't',
          'l',
          'd',
          'e',
          'u',
          'a',
          's',
          '\x85',
          '\x86',
          '\x87',
          'b',
          'R',
          'Q',
          '\x81',
          '\x93',
          '\x94',
          '.',
        ]),
      ),
    () => integer(random.pick([0, 1, 2, 4, -1, 2 ** 31, 2 ** 40])),
    () => text(random.pick(['', 'weight', '__proto__', 'storage', '\u001b[0m', 'x'.repeat(300)])),
    () => Buffer.concat([raw(random.pick(['h', 'q'])), Buffer.of(random.below(4))]),
    () => Buffer.concat([raw(random.pick(['j', 'r'])), u32(random.pick([0, 1, 255, 256, 0xffffffff]))]),
    () =>
      Buffer.concat([
        raw(random.pick(['X', 'T', 'B', '\x8b', 'J'])),
        u32(random.pick([0, 3, 1000, 0x7fffffff, 0xffffffff])),
        raw('abc'),
      ]),
    () =>
      Buffer.concat([raw('\x8a'), Buffer.of(random.below(256)), Buffer.from(random.bytes(random.below(12)))]),
    () =>
      raw(
        `c${random.pick(['torch._utils', 'collections', 'os', 'torch', '__builtin__', ''])}\n${random.pick(['_rebuild_tensor_v2', '_rebuild_parameter', 'OrderedDict', 'system', 'FloatStorage', ''])}\n`,
      ),
    storage,
    () => tensorPickle(4, { offset: 0, shape: [random.below(6)], strides: [random.below(3)] }),
    () =>
      Buffer.concat([
        raw('}'),
        text('weight'),
        tensorPickle(4, { offset: 0, shape: [4], strides: [1] }),
        raw('s'),
      ]),
    () => raw('ccollections\nOrderedDict\n)R'),
  ];
  const parts = Array.from({ length: random.size(40) }, () => random.pick(pieces)());
  return Buffer.concat(
    random.chance(0.5)
      ? [...parts, raw('}'), text('w'), tensorPickle(4, { offset: 0, shape: [4], strides: [1] }), raw('s')]
      : parts,
  );
}
