/** State dicts that `torch.load` takes with `weights_only=True`: a zip of a pickle and of the tensors' bytes. */
import { InputError } from '../errors.js';
import { AtomicFile } from '../files/atomic.js';
import { show } from '../show.js';
import { encode, fileDTypeBytes } from '../tensor/dtype.js';
import { formatShape, type Shape, sizeOf, stridesOf } from '../tensor/shape.js';
import { ORDERED_DICT, REBUILD_TENSOR } from './unpickler.js';

/** Number formats that are written to PyTorch files. */
export type TorchDType = 'f32' | 'f16' | 'bf16';

const storageOf: Readonly<Record<TorchDType, string>> = {
  f32: 'torch FloatStorage',
  f16: 'torch HalfStorage',
  bf16: 'torch BFloat16Storage',
};

/** A tensor that is to be written to a PyTorch file. */
export interface TorchEntry {
  /** In the dict. */
  readonly name: string;
  /** Extents of its axes. */
  readonly shape: Shape;
  /** All elements, row-major. */
  readonly data: Float32Array;
}

/** Without zip64 its fields have 32 bits for a place and 16 for a count. */
const MOST_BYTES = 2 ** 32 - 2 ** 16;
const MOST_ENTRIES = 2 ** 16 - 2 ** 8;
/** More than a tensor takes beside its elements and its name: in the pickle, in two headers, to the next multiple of 64. */
const ENTRY_BYTES = 512;

/**
 * Writes a state dict, atomically: `torch.load(path, weights_only=True)` gives an OrderedDict of contiguous CPU
 * tensors. For heads and small models; a file of 4 GiB or more is refused (write safetensors then).
 * @throws InputError when data and shape differ, a name repeats, or a file cannot have so much; nothing is written then.
 */
export function writeTorchFile(
  path: string,
  entries: readonly TorchEntry[],
  {
    dtype = 'f32',
  }: {
    /** What values are rounded to. Default f32. */
    dtype?: TorchDType;
  } = {},
): void {
  if (new Set(entries.map((entry) => entry.name)).size !== entries.length)
    throw new InputError(`${path}: a tensor name is repeated`);
  for (const { name, shape, data } of entries)
    if (data.length !== sizeOf(shape))
      throw new InputError(
        `${path}: tensor ${show(name)}: ${data.length} values for shape ${formatShape(shape)}`,
      );
  const bytes = entries.reduce(
    (sum, { name, data }) => sum + data.length * fileDTypeBytes(dtype) + 4 * name.length + ENTRY_BYTES,
    0,
  );
  if (entries.length > MOST_ENTRIES || bytes > MOST_BYTES)
    throw new InputError(
      `${path}: ${entries.length} tensors of ${bytes} bytes are more than a PyTorch file written here can have (${MOST_ENTRIES} of 4 GiB); write safetensors`,
    );
  const zip = new ZipWriter(path);
  try {
    zip.add('data.pkl', pickleStateDict(entries, dtype));
    zip.add('byteorder', ascii('little'));
    for (const [i, { data }] of entries.entries()) zip.add(`data/${i}`, encode(dtype, data));
    zip.add('version', ascii('3\n'));
    zip.finish();
  } catch (error) {
    zip.abort();
    throw error;
  }
}

/** The pickle of an OrderedDict of tensors; storage i is record `data/i`. Protocol 2, nothing memoised. */
function pickleStateDict(entries: readonly TorchEntry[], dtype: TorchDType): Uint8Array {
  const global = (name: string) => ascii(`c${name.replace(' ', '\n')}\n`);
  const emptyDict = [global(ORDERED_DICT), ascii(')R')];
  const storageType = global(storageOf[dtype]);
  const parts: Uint8Array[] = [Uint8Array.of(0x80, 2), ...emptyDict, ascii('(')];
  for (const [i, { name, shape, data }] of entries.entries()) {
    parts.push(pickledText(name), global(REBUILD_TENSOR), ascii('(('), pickledText('storage'), storageType);
    parts.push(pickledText(String(i)), pickledText('cpu'), pickledInteger(data.length), ascii('tQ'));
    parts.push(pickledInteger(0));
    for (const counts of [shape, stridesOf(shape)])
      parts.push(ascii('('), ...counts.map(pickledInteger), ascii('t'));
    parts.push(Uint8Array.of(0x89), ...emptyDict, ascii('tR'));
  }
  parts.push(ascii('u.'));
  return Buffer.concat(parts);
}

function pickledText(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  const result = new Uint8Array(5 + bytes.length);
  result[0] = 0x58;
  view(result).setUint32(1, bytes.length, true);
  result.set(bytes, 5);
  return result;
}

/** BININT up to 2^31, LONG1 of 8 bytes beyond. */
function pickledInteger(value: number): Uint8Array {
  const wide = value > 0x7fffffff;
  const result = new Uint8Array(wide ? 10 : 5);
  if (wide) {
    result.set([0x8a, 8]);
    view(result).setBigInt64(2, BigInt(value), true);
  } else {
    result[0] = 0x4a;
    view(result).setInt32(1, value, true);
  }
  return result;
}

const ZIP_FOLDER = 'archive';
const RECORD_ALIGNMENT = 64;
/** Records are named in UTF-8. */
const ZIP_FLAGS = 0x0800;
/** 1980-01-01: the same weights give the same bytes. */
const ZIP_DATE = 0x0021;

/** Stored records, each beginning at a multiple of 64 so that PyTorch can map them. */
class ZipWriter {
  private readonly file: AtomicFile;
  private readonly directory: Uint8Array[] = [];

  constructor(path: string) {
    this.file = AtomicFile.create(path);
  }

  add(record: string, content: Uint8Array): void {
    const name = ascii(`${ZIP_FOLDER}/${record}`);
    const start = this.file.position;
    const unaligned = start + 30 + name.length + 4;
    const padding = (RECORD_ALIGNMENT - (unaligned % RECORD_ALIGNMENT)) % RECORD_ALIGNMENT;

    // Version · flags · method · time · date · crc · sizes · name length: the same in both headers.
    const common = new Uint8Array(24);
    const fields = view(common);
    fields.setUint16(2, ZIP_FLAGS, true);
    fields.setUint16(8, ZIP_DATE, true);
    fields.setUint32(10, crc32(content), true);
    fields.setUint32(14, content.length, true);
    fields.setUint32(18, content.length, true);
    fields.setUint16(22, name.length, true);

    const local = new Uint8Array(30 + name.length + 4 + padding).fill(0x5a);
    const localView = view(local);
    localView.setUint32(0, 0x04034b50, true);
    local.set(common, 4);
    localView.setUint16(28, 4 + padding, true);
    local.set(name, 30);
    local.set(ascii('FB'), 30 + name.length);
    localView.setUint16(32 + name.length, padding, true);
    this.file.write(local);
    this.file.write(content);

    const central = new Uint8Array(46 + name.length);
    view(central).setUint32(0, 0x02014b50, true);
    central.set(common, 6);
    view(central).setUint32(42, start, true);
    central.set(name, 46);
    this.directory.push(central);
  }

  finish(): void {
    const start = this.file.position;
    for (const entry of this.directory) this.file.write(entry);
    const end = new Uint8Array(22);
    const fields = view(end);
    fields.setUint32(0, 0x06054b50, true);
    fields.setUint16(8, this.directory.length, true);
    fields.setUint16(10, this.directory.length, true);
    fields.setUint32(12, this.file.position - start, true);
    fields.setUint32(16, start, true);
    this.file.write(end);
    this.file.commit();
  }

  abort(): void {
    this.file.abort();
  }
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

let crcTable: Uint32Array | undefined;

/** CRC-32 of zip (polynomial 0xedb88320); `zlib.crc32` is younger than the oldest Node 20 we run on. */
function crc32(bytes: Uint8Array): number {
  crcTable ??= Uint32Array.from({ length: 256 }, (_, i) => {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    return crc;
  });
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ crcTable[(crc ^ bytes[i]!) & 255]!;
  return ~crc >>> 0;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
