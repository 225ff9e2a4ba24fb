/**
 * Byte-pair encoding (Sennrich et al. 2016): a word's characters are merged in pairs, the pair that training merged
 * first goes first, of equal ones the leftmost. RoBERTa's words are bytes, each written as one printable character
 * (GPT-2's table), and are found in the text by ByteLevel's expression.
 */
import type { Ids } from './ids.js';
import { members } from './unicode.js';
import { BYTE_LEVEL_LETTER, BYTE_LEVEL_NUMBER } from './unicode-tables.js';

export class Bpe {
  /** Left id and right id to rank and merged id. */
  private readonly merges = new Map<number, { rank: number; id: number }>();

  /** @throws RangeError for a merge of tokens that the vocabulary does not have. */
  constructor(
    private readonly vocabulary: ReadonlyMap<string, number>,
    merges: readonly (readonly [string, string])[],
    /** Undefined: characters that the vocabulary lacks are dropped. */
    private readonly unknownId: number | undefined,
    /** Whether neighbouring unknown characters are one token. */
    private readonly fuseUnknown: boolean,
  ) {
    merges.forEach(([left, right], rank) => {
      const [a, b, id] = [left, right, left + right].map((token) => vocabulary.get(token));
      if (a === undefined || b === undefined || id === undefined)
        throw new RangeError(
          `merge ${rank} of ${JSON.stringify(left)} and ${JSON.stringify(right)}: not in the vocabulary`,
        );
      this.merges.set(pairKey(a, b), { rank, id });
    });
  }

  /** Appends the ids of one word. */
  encode(word: string, ids: Ids): void {
    const symbols = this.symbols(word);
    const next = Int32Array.from(symbols, (_, i) => i + 1);
    const previous = Int32Array.from(symbols, (_, i) => i - 1);
    const queue = new MergeQueue();
    const offer = (left: number) => {
      const right = next[left]!;
      if (right >= symbols.length) return;
      const merge = this.merges.get(pairKey(symbols[left]!, symbols[right]!));
      if (merge) queue.push(merge.rank, left, merge.id);
    };
    for (let i = 0; i + 1 < symbols.length; i++) offer(i);
    for (let top = queue.pop(); top !== undefined; top = queue.pop()) {
      const { left, id } = top;
      const right = symbols[left]! < 0 ? symbols.length : next[left]!;
      // What was offered may have been merged otherwise meanwhile.
      if (right >= symbols.length || this.merges.get(pairKey(symbols[left]!, symbols[right]!))?.id !== id)
        continue;
      symbols[left] = id;
      symbols[right] = -1;
      next[left] = next[right]!;
      if (next[left]! < symbols.length) previous[next[left]!] = left;
      if (previous[left]! >= 0) offer(previous[left]!);
      offer(left);
    }
    for (let i = 0; i < symbols.length; i = next[i]!) ids.push(symbols[i]!);
  }

  private symbols(word: string): number[] {
    const symbols: number[] = [];
    let unknownBefore = false;
    for (const character of word) {
      const id = this.vocabulary.get(character);
      if (id !== undefined) symbols.push(id);
      else if (this.unknownId !== undefined && !(unknownBefore && this.fuseUnknown))
        symbols.push(this.unknownId);
      unknownBefore = id === undefined;
    }
    return symbols;
  }
}

/** Ids are below 2^31, and 2^53 bounds the numbers that are told apart. */
function pairKey(left: number, right: number): number {
  return left * 2 ** 22 + right;
}

/** A binary heap: the least rank first, then the leftmost. */
class MergeQueue {
  private readonly entries: { rank: number; left: number; id: number }[] = [];

  push(rank: number, left: number, id: number): void {
    const { entries } = this;
    let at = entries.push({ rank, left, id }) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.before(at, parent)) break;
      this.swap(at, parent);
      at = parent;
    }
  }

  pop(): { rank: number; left: number; id: number } | undefined {
    const { entries } = this;
    const top = entries[0];
    const last = entries.pop();
    if (top === undefined || entries.length === 0) return top;
    entries[0] = last!;
    for (let at = 0; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < entries.length && this.before(child, least)) least = child;
      if (least === at) return top;
      this.swap(at, least);
      at = least;
    }
  }

  private before(a: number, b: number): boolean {
    const [x, y] = [this.entries[a]!, this.entries[b]!];
    return x.rank < y.rank || (x.rank === y.rank && x.left < y.left);
  }

  private swap(a: number, b: number): void {
    const held = this.entries[a]!;
    this.entries[a] = this.entries[b]!;
    this.entries[b] = held;
  }
}

// ---------------------------------------------------------------- bytes as characters

/** GPT-2's: printable Latin-1 stands for itself, the other bytes are the characters from U+0100 on, in order. */
const BYTE_CHARACTERS: readonly string[] = (() => {
  const characters: string[] = [];
  let shifted = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const itself = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    characters.push(String.fromCharCode(itself ? byte : shifted++));
  }
  return characters;
})();

/** The words of a section, in the characters that stand for its bytes. */
export function byteLevelWords(addPrefixSpace: boolean): (section: string) => readonly string[] {
  const [letter, number] = [members(BYTE_LEVEL_LETTER), members(BYTE_LEVEL_NUMBER)];
  const space = '\\p{White_Space}';
  const pattern = new RegExp(
    `'s|'t|'re|'ve|'m|'ll|'d| ?[${letter}]+| ?[${number}]+| ?[^${space}${letter}${number}]+|${space}+(?!\\P{White_Space})|${space}+`,
    'gu',
  );
  return (section) => {
    const text = addPrefixSpace && !section.startsWith(' ') && section !== '' ? ` ${section}` : section;
    return (text.match(pattern) ?? []).map((word) => {
      let bytes = '';
      for (const byte of Buffer.from(word, 'utf8')) bytes += BYTE_CHARACTERS[byte]!;
      return bytes;
    });
  };
}
