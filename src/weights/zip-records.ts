/**
 * The records of a zip file, as PyTorch writes them: stored, not compressed, so that they can be read in place.
 * Format: APPNOTE.TXT of PKWARE, 4.3 (with zip64, 4.3.14 and 4.5.3). What the records mean belongs to `torch-file.ts`.
 */
import { InputError } from '../errors.js';
import type { PositionedFile } from '../files/positioned.js';
import { printable, show } from '../show.js';

export interface ZipRecord {
  readonly position: number;
  readonly size: number;
}

export function isZip(file: PositionedFile): boolean {
  return file.size >= 4 && view(file.readBytes(0, 4)).getUint32(0, true) === 0x04034b50;
}

/** Far more than a state dict needs; keeps a damaged size from asking for all memory. */
const MAX_DIRECTORY_BYTES = 1 << 24;
const MAX_RECORDS = 1 << 17;

/** Name → where its bytes are, from the central directory (local headers leave sizes to a trailing descriptor). */
export function readZipRecords(file: PositionedFile): Map<string, ZipRecord> {
  const fail = (problem: string): never => {
    throw new InputError(`${printable(file.path)}: damaged zip: ${problem}`);
  };
  const { start, size, count } = findDirectory(file, fail);
  if (size > MAX_DIRECTORY_BYTES)
    fail(`expected a directory of at most ${MAX_DIRECTORY_BYTES} bytes, found ${size}`);
  if (count > MAX_RECORDS) fail(`expected at most ${MAX_RECORDS} records, found ${count}`);
  const bytes = file.readBytes(start, size);
  const directory = view(bytes);
  const records = new Map<string, ZipRecord>();
  const regions: { name: string; from: number; to: number }[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > size || directory.getUint32(at, true) !== 0x02014b50)
      fail(`expected ${count} directory entries, found ${i}`);
    const flags = directory.getUint16(at + 8, true);
    const method = directory.getUint16(at + 10, true);
    const nameLength = directory.getUint16(at + 28, true);
    const extraLength = directory.getUint16(at + 30, true);
    const next = at + 46 + nameLength + extraLength + directory.getUint16(at + 32, true);
    if (next > size) fail(`directory entry ${i} is cut off`);
    const name = latin1(bytes.subarray(at + 46, at + 46 + nameLength));
    if (records.has(name)) fail(`record ${show(name)} appears twice`);
    if (method !== 0 || (flags & 1) !== 0)
      fail(
        `record ${show(name)}: expected it stored, found it ${method !== 0 ? `compressed (method ${method})` : 'encrypted'}`,
      );
    const extra = bytes.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
    const [recordSize, packedSize, header] = widenZip64(extra, [
      directory.getUint32(at + 24, true),
      directory.getUint32(at + 20, true),
      directory.getUint32(at + 42, true),
    ]);
    if (recordSize !== packedSize)
      fail(`record ${show(name)}: stored size ${packedSize}, expected ${recordSize}`);
    if (header + 30 > start) fail(`record ${show(name)}: header at ${header}, beyond the records`);
    const local = view(file.readBytes(header, 30));
    if (local.getUint32(0, true) !== 0x04034b50) fail(`record ${show(name)}: no header at ${header}`);
    const position = header + 30 + local.getUint16(26, true) + local.getUint16(28, true);
    if (position + recordSize > start)
      fail(
        `record ${show(name)}: expected ${recordSize} bytes at ${position}, found ${Math.max(0, start - position)}`,
      );
    records.set(name, { position, size: recordSize });
    regions.push({ name, from: header, to: position + recordSize });
    at = next;
  }
  regions.sort((a, b) => a.from - b.from);
  for (const [i, { name, from }] of regions.entries())
    if (i > 0 && from < regions[i - 1]!.to)
      fail(`records ${show(regions[i - 1]!.name)} and ${show(name)} overlap`);
  return records;
}

/** Finds the end record (zip64 where its fields overflow). */
function findDirectory(file: PositionedFile, fail: (problem: string) => never) {
  const tailStart = Math.max(0, file.size - 22 - 65535);
  const tail = view(file.readBytes(tailStart, file.size - tailStart));
  let end = tail.byteLength - 22;
  while (
    end >= 0 &&
    !(
      tail.getUint32(end, true) === 0x06054b50 &&
      end + 22 + tail.getUint16(end + 20, true) === tail.byteLength
    )
  )
    end--;
  if (end < 0) return fail('truncated: no end record (the file was not fetched whole?)');
  let count = tail.getUint16(end + 10, true);
  let size = tail.getUint32(end + 12, true);
  let start = tail.getUint32(end + 16, true);
  let limit = tailStart + end;
  if (count === 0xffff || size === 0xffffffff || start === 0xffffffff) {
    if (end < 20 || tail.getUint32(end - 20, true) !== 0x07064b50) return fail('no zip64 locator');
    limit = Number(tail.getBigUint64(end - 12, true));
    const wide = view(file.readBytes(limit, 56));
    if (wide.getUint32(0, true) !== 0x06064b50) return fail(`no zip64 end record at ${limit}`);
    count = Number(wide.getBigUint64(32, true));
    size = Number(wide.getBigUint64(40, true));
    start = Number(wide.getBigUint64(48, true));
  }
  if (start + size > limit) fail(`directory of ${size} bytes at ${start}, but it must end by ${limit}`);
  return { start, size, count };
}

/** Replaces 32-bit fields that overflow by the 64-bit ones of extra field 1, which come in this order. */
function widenZip64(extra: Uint8Array, fields: [number, number, number]): [number, number, number] {
  const data = view(extra);
  for (let at = 0; at + 4 <= extra.length; at += 4 + data.getUint16(at + 2, true)) {
    if (data.getUint16(at, true) !== 1) continue;
    const end = Math.min(extra.length, at + 4 + data.getUint16(at + 2, true));
    let next = at + 4;
    for (let i = 0; i < 3; i++)
      if (fields[i] === 0xffffffff && next + 8 <= end) {
        fields[i] = Number(data.getBigUint64(next, true));
        next += 8;
      }
    break;
  }
  return fields;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}
