/**
 * SentencePiece's character map (the `Precompiled` normalizer of a tokenizer.json): a double-array trie from byte
 * strings to replacements, applied as the Rust `tokenizers` does it, because that is what FlagEmbedding's fast
 * tokenizers ran and the ids in its checkpoints mean. Rust goes by grapheme clusters and replaces a whole cluster
 * by what its shortest known prefix maps to, even where that drops a mark; the C++ original does neither.
 *
 * Blob: u32 byte length of the trie, the trie's u32 units, then NUL-terminated UTF-8 replacements.
 * Trie units: darts-clone (Yata, "double-array structure").
 */
import { isUtf8 } from 'node:buffer';
import { InputError } from '../errors.js';

/** Rust tries a cluster as a whole only below this many UTF-8 bytes. */
const WHOLE_CLUSTER_BYTES = 6;

/**
 * Texts without a match have no cluster of several characters below six bytes, so they need no segmentation:
 * such a cluster is CR LF, a short character with something joining, or a prefixing sign with what follows it.
 * The classes are generous; what they admit too much only costs time.
 */
const MAYBE_SHORT_CLUSTER =
  /\r\n|[\0-\u07ff][\p{M}\p{Cf}\p{Emoji_Modifier}\p{Grapheme_Extend}\u0e33\u0eb3]|[\u0800-\uffff][\u0300-\u07ff]|[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\u{110bd}-\u{11f02}]/u;

/** How many UTF-16 units are segmented at once. */
const PIECE = 512;

/** UTF-16 units of a normalised text that are put together at once. */
const LONGEST_PART = 1 << 16;

const graphemes = new Intl.Segmenter('und', { granularity: 'grapheme' });
const utf8 = new TextDecoder('utf-8', { fatal: true });

export class Charsmap {
  /** What each character seen so far maps to; null: itself. */
  private readonly characters = new Map<number, string | null>();

  private constructor(
    private readonly units: Uint32Array,
    private readonly replacements: Uint8Array,
  ) {}

  /** @throws RangeError when the blob is not a charsmap. */
  static parse(blob: Uint8Array): Charsmap {
    const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
    const trieBytes = blob.length >= 4 ? view.getUint32(0, true) : 0;
    if (trieBytes === 0 || trieBytes % 4 !== 0 || 4 + trieBytes > blob.length)
      throw new RangeError(`not a charsmap: a trie of ${trieBytes} bytes in a blob of ${blob.length}`);
    const units = new Uint32Array(trieBytes / 4);
    for (let i = 0; i < units.length; i++) units[i] = view.getUint32(4 + 4 * i, true);
    const replacements = blob.subarray(4 + trieBytes);
    if (!isUtf8(replacements)) throw new RangeError('not a charsmap: replacements that are no UTF-8');
    return new Charsmap(units, replacements);
  }

  /** `text`: well-formed UTF-16. */
  normalize(text: string): string {
    if (!MAYBE_SHORT_CLUSTER.test(text)) return this.byCharacter(text);
    // Joined in parts: millions of clusters added one by one would be a string of as many nodes.
    const parts: string[] = [];
    let result = '';
    for (const segment of clusters(text)) {
      if (result.length > LONGEST_PART) {
        parts.push(Buffer.from(result, 'utf16le').toString('utf16le'));
        result = '';
      }
      const whole = segment.length > 1 && segment.length < WHOLE_CLUSTER_BYTES ? this.short(segment) : null;
      result += whole ?? this.byCharacter(segment);
    }
    return parts.join('') + result;
  }

  private short(cluster: string): string | null {
    const bytes = Buffer.from(cluster, 'utf8');
    return bytes.length < WHOLE_CLUSTER_BYTES ? this.lookup(bytes) : null;
  }

  private byCharacter(text: string): string {
    let result = '';
    let copied = 0;
    for (let i = 0; i < text.length; ) {
      const codePoint = text.codePointAt(i)!;
      const next = i + (codePoint > 0xffff ? 2 : 1);
      let mapped = this.characters.get(codePoint);
      if (mapped === undefined) {
        mapped = this.lookup(Buffer.from(text.slice(i, next), 'utf8'));
        this.characters.set(codePoint, mapped);
      }
      if (mapped !== null) {
        result += text.slice(copied, i) + mapped;
        copied = next;
      }
      i = next;
    }
    return copied === 0 ? text : result + text.slice(copied);
  }

  /** The replacement of the shortest key that `bytes` begins with. */
  private lookup(bytes: Uint8Array): string | null {
    let node = offset(this.units[0]!);
    for (const byte of bytes) {
      if (byte === 0) return null;
      node ^= byte;
      const unit = this.units[node];
      if (unit === undefined || label(unit) !== byte) return null;
      node ^= offset(unit);
      if (hasLeaf(unit)) return this.replacementAt(this.units[node]! & 0x7fffffff);
    }
    return null;
  }

  private replacementAt(start: number): string {
    const end = this.replacements.indexOf(0, start);
    const bytes = this.replacements.subarray(start, end < 0 ? undefined : end);
    // Begins and ends within characters only where the trie is damaged.
    if (!isUtf8(bytes))
      throw new InputError('the tokenizer has a damaged charsmap: a replacement that is no UTF-8');
    return utf8.decode(bytes);
  }
}

/**
 * The grapheme clusters of `text`. Intl.Segmenter takes quadratic time and more in a long text, so it gets pieces:
 * inside a piece that begins at a boundary every boundary is right, only the last cluster may go on behind it.
 */
function* clusters(text: string): Generator<string> {
  let size = PIECE;
  for (let start = 0; start < text.length; ) {
    let end = Math.min(start + size, text.length);
    if (end < text.length && isLeadSurrogate(text.charCodeAt(end - 1))) end++;
    const first = start;
    for (const { segment, index } of graphemes.segment(text.slice(first, end))) {
      if (first + index + segment.length === end && end < text.length) break;
      yield segment;
      start = first + index + segment.length;
    }
    size = start === first ? 2 * size : PIECE;
  }
}

function isLeadSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00;
}

/** The distance to a unit's children; bit 9 says that it is stored in units of 256. */
function offset(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}

/** The byte that leads to this unit; the sign bit is set in values and so never equals a byte. */
function label(unit: number): number {
  return unit & 0x800000ff;
}

function hasLeaf(unit: number): boolean {
  return (unit & 0x100) !== 0;
}
