/**
 * WordPiece (Schuster and Nakajima 2012; Devlin et al. 2018): a word is cut, from its beginning, into the longest known
 * pieces, of which all but the first are known with a prefix (`##`). A word that cannot be cut so is unknown as a whole.
 */
import type { Ids } from './ids.js';
import { Trie } from './trie.js';

export class WordPiece {
  private readonly trie = new Trie();
  /** Where the walk for a piece within a word begins; −1 when no piece has the prefix. */
  private readonly inner: number;

  constructor(
    vocabulary: ReadonlyMap<string, number>,
    private readonly unknownId: number,
    continuingPrefix: string,
    /** In characters; a longer word is unknown. */
    private readonly longestWord: number,
  ) {
    for (const [piece, id] of vocabulary) this.trie.set(piece, id);
    this.inner = this.trie.walk(continuingPrefix);
  }

  /** Appends the ids of one word. */
  encode(word: string, ids: Ids): void {
    if (this.isTooLong(word)) {
      ids.push(this.unknownId);
      return;
    }
    const { trie } = this;
    const before = ids.length;
    for (let start = 0; start < word.length; ) {
      let node = start === 0 ? 0 : this.inner;
      let id = -1;
      let end = start;
      for (let at = start; at < word.length && node >= 0; ) {
        node = trie.child(node, word.charCodeAt(at++));
        if (node >= 0 && trie.idAt(node) >= 0) {
          id = trie.idAt(node);
          end = at;
        }
      }
      if (id < 0) {
        ids.length = before;
        ids.push(this.unknownId);
        return;
      }
      ids.push(id);
      start = end;
    }
  }

  private isTooLong(word: string): boolean {
    if (word.length <= this.longestWord) return false;
    let characters = 0;
    for (let i = 0; i < word.length; characters++) i += word.codePointAt(i)! > 0xffff ? 2 : 1;
    return characters > this.longestWord;
  }
}
