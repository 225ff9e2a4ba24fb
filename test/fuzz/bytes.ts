/** Damage to bytes that knows nothing of their format. */
import type { FuzzRandom } from './random.js';

const EDGES = [0n, 1n, 2n, 0x7fn, 0x80n, 0xffn, 0xffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn, 1n << 53n];
const WIDE_EDGES = [...EDGES, (1n << 63n) - 1n, 1n << 63n, (1n << 64n) - 1n];

type Damage = (bytes: Uint8Array, random: FuzzRandom, others: readonly Uint8Array[]) => Uint8Array;

const splice = (bytes: Uint8Array, at: number, removed: number, added: Uint8Array): Uint8Array =>
  Uint8Array.from(Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)]));

const damages: readonly Damage[] = [
  (bytes, random) => {
    const result = Uint8Array.from(bytes);
    const at = random.below(bytes.length);
    result[at] = result[at]! ^ (1 << random.below(8));
    return result;
  },
  (bytes, random) => {
    const result = Uint8Array.from(bytes);
    result[random.below(bytes.length)] = random.pick([0, 1, 0x22, 0x28, 0x2e, 0x5c, 0x7f, 0x80, 0xc0, 0xff]);
    return result;
  },
  // An integer at the edge of its type, in either byte order.
  (bytes, random) => {
    const result = Uint8Array.from(bytes);
    const width = random.pick([1, 2, 4, 8]);
    if (bytes.length < width) return result;
    const at = random.below(bytes.length - width + 1);
    let value = random.pick(WIDE_EDGES);
    const littleEndian = random.chance(0.7);
    for (let i = 0; i < width; i++) {
      result[at + (littleEndian ? i : width - 1 - i)] = Number(value & 255n);
      value >>= 8n;
    }
    return result;
  },
  (bytes, random) => bytes.slice(0, random.below(bytes.length + 1)),
  (bytes, random) => splice(bytes, random.below(bytes.length + 1), random.size(64), new Uint8Array(0)),
  (bytes, random) => splice(bytes, random.below(bytes.length + 1), 0, random.bytes(random.size(32))),
  // A piece of it once more, somewhere else.
  (bytes, random) => {
    const from = random.below(bytes.length);
    return splice(bytes, random.below(bytes.length + 1), 0, bytes.slice(from, from + random.size(256)));
  },
  // A piece of another file.
  (bytes, random, others) => {
    if (others.length === 0) return bytes;
    const other = random.pick(others);
    const from = random.below(other.length);
    const piece = other.slice(from, from + random.size(256));
    return splice(bytes, random.below(bytes.length + 1), random.chance(0.5) ? piece.length : 0, piece);
  },
];

/** `bytes` after one or a few damages; small ones are likelier. */
export function damageBytes(
  bytes: Uint8Array,
  random: FuzzRandom,
  others: readonly Uint8Array[] = [],
): Uint8Array {
  let result = bytes;
  for (let left = random.size(8); left > 0; left--)
    result =
      result.length === 0 ? random.bytes(random.size(16)) : random.pick(damages)(result, random, others);
  return result;
}
