/** Inputs for the readers of weights: files whose frame is right around headers, directories and pickles that are not. */
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

export function safetensorsInput(random: FuzzRandom): Record<string, Uint8Array> {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let at = 0;
  for (let i = 0; i < 1 + random.below(4); i++) {
    const shape = Array.from({ length: random.below(4) }, () => random.below(5));
    const dtype = random.pick(['F32', 'F32', 'F16', 'BF16', 'F64', 'U8', 'I64']);
    const width = { F64: 8, I64: 8, F32: 4, F16: 2, BF16: 2, U8: 1 }[dtype]!;
    const size = shape.reduce((product, extent) => product * extent, width);
    header['xyzw'[i]!] = { dtype, shape, data_offsets: [at, at + size] };
    at += size;
  }
  const data = random.bytes(at);
  const tree = treeOf(header);
  const text = textOf(random.chance(0.7) ? damageTree(tree, random, safetensorsWords) : tree);
  const file = frameSafetensors(`${text}${' '.repeat(random.below(9))}`, data);
  return { 'model.safetensors': random.chance(0.3) ? damageBytes(file, random) : file };
}

// ---- PyTorch files -----------------------------------------------------------------------------------------

const zips = once(() => [
  ...torchFiles(),
  goldenBytes('model', 'sparse_linear.pt'),
  goldenBytes('shapes', 'mean-48', 'sparse_linear.pt'),
]);
const torchWords = once(() => wordsOf('weights/torch-file.js').map((word) => Buffer.from(word)));

export function torchInput(random: FuzzRandom): Record<string, Uint8Array> {
  return { 'pytorch_model.bin': damageBytes(random.pick(zips()), random, [...zips(), ...torchWords()]) };
}
