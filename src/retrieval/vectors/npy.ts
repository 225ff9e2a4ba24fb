/**
 * NumPy's `.npy`: magic · version · header length · a Python dict of dtype, order and shape · the elements.
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, versions 1 to 3.
 *
 * Read by position; written as a stream whose number of rows is known at its end. Little-endian, C order, the few dtypes
 * that vectors and their offsets have.
 */
import { InputError } from '../../errors.js';
import { kindOf } from '../../files/kind.js';
import { PositionedFile } from '../../files/positioned.js';
import { printable, show } from '../../show.js';
import { type FileDType, fileDTypeBytes } from '../../tensor/dtype.js';

const MAGIC = Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59);
/** A header is a line about few numbers. */
const MAX_HEADER = 1 << 16;

/** Those that are read and written here. */
const descriptors = new Map<string, FileDType>([
  ['<f4', 'f32'],
  ['<f2', 'f16'],
  ['<i8', 'i64'],
  ['<i4', 'i32'],
  ['<u4', 'u32'],
]);
const descriptorOf = new Map([...descriptors].map(([descriptor, dtype]) => [dtype, descriptor]));

export interface NpyArray {
  readonly file: PositionedFile;
  readonly dtype: FileDType;
  readonly shape: readonly number[];
  /** Of the first element, in bytes. */
  readonly dataStart: number;
}

/** Whether a file begins as `.npy` files do. */
export function isNpy(file: PositionedFile): boolean {
  return file.size >= MAGIC.length && Buffer.compare(file.readBytes(0, MAGIC.length), MAGIC) === 0;
}

/** Reads the header; the file is open then. @throws InputError that names the file and what is wrong with it. */
export function openNpy(path: string): NpyArray {
  const file = PositionedFile.open(path);
  try {
    return { file, ...readHeader(file) };
  } catch (error) {
    file.close();
    throw error;
  }
}

function readHeader(file: PositionedFile): Omit<NpyArray, 'file'> {
  const fail = (problem: string): never => {
    throw new InputError(`${printable(file.path)}: ${problem}`);
  };
  if (!isNpy(file)) {
    const kind = kindOf(file.readBytes(0, Math.min(512, file.size)));
    return fail(`expected a .npy file, found ${kind ?? 'something else'}`);
  }
  const [version = 0, minor = 0] = file.readBytes(MAGIC.length, 2);
  if (version < 1 || version > 3)
    fail(`expected version 1, 2 or 3 of the .npy format, found ${version}.${minor}`);
  const wide = version >= 2;
  const lengthBytes = file.readBytes(8, wide ? 4 : 2);
  const view = new DataView(lengthBytes.buffer);
  const length = wide ? view.getUint32(0, true) : view.getUint16(0, true);
  if (length > MAX_HEADER) fail(`expected a header of at most ${MAX_HEADER} bytes, found ${length}`);
  const headerStart = 8 + lengthBytes.length;
  const text = Buffer.from(file.readBytes(headerStart, length)).toString(version === 3 ? 'utf8' : 'latin1');
  const { descr, fortran, shape } = parseHeader(text, fail);
  const dtype = descriptors.get(descr);
  if (!dtype)
    return fail(
      `expected a dtype of ${[...descriptors.keys()].join(' ')} (little-endian), found ${show(descr)}`,
    );
  if (fortran) fail('expected rows one after the other (C order), found Fortran order');
  const dataStart = headerStart + length;
  const bytes = shape.reduce((product, extent) => product * extent, fileDTypeBytes(dtype));
  if (!Number.isSafeInteger(bytes)) fail(`expected a shape of fewer elements, found ${show(shape)}`);
  if (file.size - dataStart !== bytes)
    fail(
      `${file.size - dataStart < bytes ? 'truncated' : 'not what its header says'}: expected ${bytes} bytes of ${descr} ${show(shape)}, found ${file.size - dataStart}`,
    );
  return { dtype, shape, dataStart };
}

/** The dict with its three keys in any order, as Python writes one. */
function parseHeader(
  text: string,
  fail: (problem: string) => never,
): { descr: string; fortran: boolean; shape: number[] } {
  const dict = /^\s*\{(.*)\}\s*$/s.exec(text)?.[1];
  if (dict === undefined) return fail(`expected a header like {'descr': '<f4', …}, found ${show(text)}`);
  const found = new Map<string, string>();
  const entry = /\s*(['"])(\w+)\1\s*:\s*('[^']*'|"[^"]*"|True|False|\([\d\s,L]*\)|\[[^\]]*\])\s*(?:,|$)/y;
  while (entry.lastIndex < dict.length && dict.slice(entry.lastIndex).trim() !== '') {
    const at = entry.lastIndex;
    const match = entry.exec(dict);
    if (!match) return fail(`expected an entry of a header, found ${show(dict.slice(at))}`);
    if (found.has(match[2]!)) fail(`the header has ${show(match[2])} twice`);
    found.set(match[2]!, match[3]!);
  }
  const value = (name: string) =>
    found.get(name) ?? fail(`expected ${show(name)} in the header, found ${show(dict)}`);
  const [descr, order, shape] = [value('descr'), value('fortran_order'), value('shape')];
  if (descr.startsWith('[')) fail(`expected a dtype of one number, found ${show(descr)}`);
  if (!/^['"]/.test(descr)) fail(`expected a dtype, found ${show(descr)}`);
  if (order !== 'True' && order !== 'False')
    fail(`expected True or False as fortran_order, found ${show(order)}`);
  if (!/^\(\s*(?:\d+L?\s*,\s*)*(?:\d+L?\s*)?\)$/.test(shape)) fail(`expected a shape, found ${show(shape)}`);
  const extents = [...shape.matchAll(/\d+/g)].map(([digits]) => Number(digits));
  return { descr: descr.slice(1, -1), fortran: order === 'True', shape: extents };
}

/** Bytes before the elements: as many as numpy takes for up to two extents. */
export const NPY_HEADER_BYTES = 128;

/** The header of version 1, for an array of up to two extents. */
export function npyHeader(dtype: FileDType, shape: readonly number[]): Uint8Array {
  const extents = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const dict = `{'descr': '${descriptorOf.get(dtype)}', 'fortran_order': False, 'shape': (${extents}), }`;
  const header = Buffer.alloc(NPY_HEADER_BYTES, ' ');
  header.set(MAGIC);
  header.set([1, 0], MAGIC.length);
  header.writeUInt16LE(NPY_HEADER_BYTES - 10, 8);
  header.write(dict, 10, 'latin1');
  header[NPY_HEADER_BYTES - 1] = 0x0a;
  return header;
}
