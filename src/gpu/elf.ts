/**
 * The outline of a shared object (ELF-64, little endian; System V ABI chapters 4 and 5): its segments, and the
 * libraries it needs. Whatever the bytes are, the answer is an outline or undefined.
 */

export interface ElfSegment {
  readonly type: number;
  /** In the file, in bytes. */
  readonly offset: number;
  readonly size: number;
  /** In memory. */
  readonly address: number;
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT_NEEDED = 1n;
const DT_STRTAB = 5n;

/** Bytes from the start of the file that hold the header and the table of segments of every library we know. */
export const ELF_HEAD = 4096;

/** @param head the file, or its first `ELF_HEAD` bytes. Undefined for what is no 64-bit little-endian ELF file. */
export function elfSegments(head: Buffer): ElfSegment[] | undefined {
  if (head.length < 64 || head.readUInt32BE(0) !== 0x7f454c46 || head[4] !== 2 || head[5] !== 1)
    return undefined;
  const table = Number(head.readBigUInt64LE(32));
  const width = head.readUInt16LE(54);
  const count = head.readUInt16LE(56);
  if (width < 56 || table + count * width > head.length) return undefined;
  return Array.from({ length: count }, (_, i) => {
    const at = table + i * width;
    return {
      type: head.readUInt32LE(at),
      offset: Number(head.readBigUInt64LE(at + 8)),
      address: Number(head.readBigUInt64LE(at + 16)),
      size: Number(head.readBigUInt64LE(at + 32)),
    };
  });
}

/** Bytes that a file with these segments has at least. What is mapped beyond its end is a SIGBUS for who touches it. */
export function elfBytes(segments: readonly ElfSegment[]): number {
  const loaded = segments.filter(({ type }) => type === PT_LOAD);
  return Math.max(0, ...loaded.map(({ offset, size }) => offset + size));
}

/** SONAMEs that a shared object needs; undefined for what is none, or is cut off. */
export function neededLibraries(elf: Buffer): string[] | undefined {
  const segments = elfSegments(elf);
  if (!segments || elfBytes(segments) > elf.length) return undefined;
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  if (!dynamic) return [];
  const names: number[] = [];
  let strings = 0;
  for (let at = dynamic.offset; at + 16 <= Math.min(elf.length, dynamic.offset + dynamic.size); at += 16) {
    const tag = elf.readBigUInt64LE(at);
    const value = Number(elf.readBigUInt64LE(at + 8));
    if (tag === DT_NEEDED) names.push(value);
    if (tag === DT_STRTAB) strings = value;
  }
  // The string table is given by its address in memory; the load segment around it tells where that is in the file.
  const holder = segments.find(
    ({ type, address, size }) => type === PT_LOAD && strings >= address && strings < address + size,
  );
  const base = strings - (holder ? holder.address - holder.offset : 0);
  return names.map((name) => elf.toString('latin1', base + name, elf.indexOf(0, base + name)));
}
