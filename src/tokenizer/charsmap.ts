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

/** UTF-16 units of a stretch that is remembered, and how many are; a longer one would be a slice that keeps its text. */
const SHORT_STRETCH = 12;
const REMEMBERED = 1 << 14;

const graphemes = new Intl.Segmenter('und', { granularity: 'grapheme' });
const utf8 = new TextDecoder('utf-8', { fatal: true });

export class Charsmap {
  /** What each character seen so far maps to; null: itself. */
  private readonly characters = new Map<number, string | null>();
  /** What short stretches of joined characters become. */
  private readonly stretches = new Map<string, string>();

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
    const result = new Pieces();
    if (MAYBE_SHORT_CLUSTER.test(text)) {
      let done = 0;
      for (let at = 0; at < text.length; ) {
        const stretch = nextStretch(text, at);
        if (stretch === undefined) break;
        this.byCharacter(text, done, stretch.start, result);
        result.add(this.byCluster(text.slice(stretch.start, stretch.end)));
        done = at = stretch.end;
      }
      this.byCharacter(text, done, text.length, result);
    } else if (!this.byCharacter(text, 0, text.length, result)) return text;
    return result.toString();
  }

  private byCluster(stretch: string): string {
    const known = this.stretches.get(stretch);
    if (known !== undefined) return known;
    const result = new Pieces();
    for (const cluster of clusters(stretch)) {
      const whole = cluster.length > 1 && cluster.length < WHOLE_CLUSTER_BYTES ? this.short(cluster) : null;
      if (whole !== null) result.add(whole);
      else this.byCharacter(cluster, 0, cluster.length, result);
    }
    const normalized = result.toString();
    if (stretch.length <= SHORT_STRETCH) {
      if (this.stretches.size >= REMEMBERED) this.stretches.clear();
      this.stretches.set(stretch, normalized);
    }
    return normalized;
  }

  private short(cluster: string): string | null {
    const bytes = Buffer.from(cluster, 'utf8');
    return bytes.length < WHOLE_CLUSTER_BYTES ? this.lookup(bytes) : null;
  }

  /** Adds what the characters from `start` to `end` map to; false when each is itself. */
  private byCharacter(text: string, start: number, end: number, result: Pieces): boolean {
    let copied = start;
    for (let i = start; i < end; ) {
      const codePoint = text.codePointAt(i)!;
      const next = i + (codePoint > 0xffff ? 2 : 1);
      let mapped = this.characters.get(codePoint);
      if (mapped === undefined) {
        mapped = this.lookup(Buffer.from(text.slice(i, next), 'utf8'));
        this.characters.set(codePoint, mapped);
      }
      if (mapped !== null) {
        if (copied < i) result.add(text.slice(copied, i));
        result.add(mapped);
        copied = next;
      }
      i = next;
    }
    const changed = copied > start;
    if (copied < end) result.add(text.slice(copied, end));
    return changed;
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
 * A text in the making, put together in parts: millions of pieces added one by one would be a string of as many nodes.
 */
class Pieces {
  private readonly parts: string[] = [];
  private last = '';

  add(piece: string): void {
    if (this.last.length > LONGEST_PART) {
      this.parts.push(Buffer.from(this.last, 'utf16le').toString('utf16le'));
      this.last = '';
    }
    this.last += piece;
  }

  toString(): string {
    return this.parts.length === 0 ? this.last : this.parts.join('') + this.last;
  }
}

// ---------------------------------------------------------------- grapheme clusters

/**
 * What a character may do to its neighbours by the rules for grapheme clusters (Unicode, UAX 29), generously: PLAIN ones
 * join nothing by themselves, HANGUL and flags join their like, a MARK joins what stands before it, a JOINER (ZWJ,
 * viramas, prefixing signs, what is no surely harmless mark) what stands on either side.
 */
const PLAIN = 0;
const HANGUL = 1;
const MARK = 2;
const JOINER = 3;

const hangulOrFlag =
  /[\u1100-\u11ff\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb\u{16d63}-\u{16d6a}\u{1f1e6}-\u{1f1ff}]/gu;
const joiner = /[\p{M}\p{Cf}\p{Emoji_Modifier}\p{Grapheme_Extend}\u0e33\u0eb3\u0d4e\u{110bd}-\u{11f02}]/gu;
/** Of Latin, Greek, Cyrillic, Hebrew, Arabic, Thai, symbols, kana; and the variation selectors. */
const MARKS = [
  [0x300, 0x36f],
  [0x591, 0x5bd],
  [0x64b, 0x65f],
  [0xe31, 0xe31],
  [0xe33, 0xe39],
  [0xe47, 0xe4e],
  [0x20d0, 0x20ff],
  [0x3099, 0x309a],
  [0xfe00, 0xfe0f],
] as const;

/** By UTF-16 unit, surrogates left out. */
const JOINS: Uint8Array = (() => {
  const joins = new Uint8Array(0x10000);
  let all = '';
  for (let unit = 0; unit < 0x10000; unit++)
    if (unit < 0xd800 || unit > 0xdfff) all += String.fromCharCode(unit);
  for (const [pattern, kind] of [
    [hangulOrFlag, HANGUL],
    [joiner, JOINER],
  ] as const)
    for (const [character] of all.matchAll(pattern)) joins[character.charCodeAt(0)] = kind;
  for (const [first, last] of MARKS) joins.fill(MARK, first, last + 1);
  return joins;
})();

function joinsAt(text: string, at: number): number {
  const unit = text.charCodeAt(at);
  if (!isLeadSurrogate(unit)) return JOINS[unit]!;
  const character = String.fromCodePoint(text.codePointAt(at)!);
  for (const [pattern, kind] of [
    [hangulOrFlag, HANGUL],
    [joiner, JOINER],
  ] as const) {
    pattern.lastIndex = 0;
    if (pattern.test(character)) return kind;
  }
  return PLAIN;
}

/**
 * The next stretch from `from` on in which characters of different kinds may be joined: the clusters before it are
 * single characters, or Hangul and flags, of which several have six bytes and more. It begins and ends at boundaries.
 */
function nextStretch(text: string, from: number): { start: number; end: number } | undefined {
  const width = (at: number) => (isLeadSurrogate(text.charCodeAt(at)) ? 2 : 1);
  /** Behind one plain character, or a run of Hangul or flags. */
  const behindBase = (at: number): number => {
    if (joinsAt(text, at) === PLAIN) return at + width(at);
    let end = at;
    while (end < text.length && joinsAt(text, end) === HANGUL) end += width(end);
    return end;
  };
  for (let start = from; start < text.length; ) {
    if (isLineEnd(text, start)) return { start, end: start + 2 };
    let end = joinsAt(text, start) < MARK ? behindBase(start) : start;
    if (end < text.length && joinsAt(text, end) >= MARK) {
      for (;;) {
        let joiners = false;
        for (let kind: number; end < text.length && (kind = joinsAt(text, end)) >= MARK; end += width(end))
          joiners ||= kind === JOINER;
        if (!joiners || end === text.length || isLineEnd(text, end)) return { start, end };
        end = behindBase(end);
        if (end === text.length || joinsAt(text, end) < MARK) return { start, end };
      }
    }
    start = end;
  }
  return undefined;
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

/** CR LF is a cluster, whatever stands beside it. */
function isLineEnd(text: string, at: number): boolean {
  return text.charCodeAt(at) === 0x0d && text.charCodeAt(at + 1) === 0x0a;
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
