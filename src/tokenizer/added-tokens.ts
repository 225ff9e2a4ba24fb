/**
 * Added tokens: what no model may split (`<mask>`, words that were added after training). The vocabulary of them grows
 * as that of the Rust `tokenizers` does, ids included, and finds them in a text leftmost first, then longest.
 */
import type { Normalizer } from './normalizers.js';
import { Trie } from './trie.js';
import { members, spacesAtEnd, spacesAtStart } from './unicode.js';
import { WORD } from './unicode-tables.js';

export interface AddedToken {
  readonly content: string;
  /** Only where no letter or digit stands directly before or behind it. */
  readonly single_word: boolean;
  /** Takes the white space before it. */
  readonly lstrip: boolean;
  /** Takes the white space behind it. */
  readonly rstrip: boolean;
  /** Looked for in the normalised text, and itself normalised. */
  readonly normalized: boolean;
  readonly special: boolean;
}

/** What an added token is, without its text, for comparing two of the same text. */
export function sameToken(a: AddedToken, b: AddedToken): boolean {
  return (
    a.content === b.content &&
    a.single_word === b.single_word &&
    a.lstrip === b.lstrip &&
    a.rstrip === b.rstrip &&
    a.normalized === b.normalized &&
    a.special === b.special
  );
}

/** The model below: its own tokens, and how many it counts. */
export interface ModelVocabulary {
  readonly size: number;
  idOf(token: string): number | undefined;
}

export class AddedVocabulary {
  private readonly ids = new Map<string, number>();
  private readonly byId = new Map<number, AddedToken>();
  /** As they were when they first became special: Rust looks for these, whatever they are now. */
  private readonly specials = new Map<string, AddedToken>();
  /** Every form in which tokens that were not special were added: Rust looks for all of them. */
  private readonly classics: AddedToken[] = [];

  constructor(private readonly model: ModelVocabulary) {}

  /** A token of the model keeps its id; a new one gets the next. Adding a token again changes what it is, not its id. */
  add(tokens: readonly AddedToken[]): void {
    for (const token of tokens)
      if (token.special && token.content !== '' && !this.specials.has(token.content))
        this.specials.set(token.content, token);
    for (const token of tokens) this.addOne(token);
  }

  private addOne(token: AddedToken): void {
    const known = this.byId.get(this.ids.get(token.content) ?? -1);
    if (token.content === '' || (known !== undefined && sameToken(known, token))) return;
    const id = this.idOf(token.content) ?? this.nextId();
    this.ids.set(token.content, id);
    this.byId.set(id, token);
    this.greatest = Math.max(this.greatest, id);
    if (!this.specials.has(token.content)) this.classics.push(token);
  }

  /** The greatest id that was added, the model's own included; −1 when there is none. */
  private greatest = -1;

  private nextId(): number {
    const { size } = this.model;
    return this.greatest >= size || (size === 0 && this.greatest >= 0) ? this.greatest + 1 : size;
  }

  idOf(token: string): number | undefined {
    return this.ids.get(token) ?? this.model.idOf(token);
  }

  get(id: number): AddedToken | undefined {
    return this.byId.get(id);
  }

  /** By id. */
  tokens(): { id: number; token: AddedToken }[] {
    return [...this.byId].map(([id, token]) => ({ id, token })).sort((a, b) => a.id - b.id);
  }

  isSpecial(id: number): boolean {
    const token = this.byId.get(id);
    return token !== undefined && this.specials.has(token.content);
  }

  /** Every form in which tokens are looked for, with the id that finding it gives. */
  patterns(): { id: number; token: AddedToken }[] {
    return [...this.specials.values(), ...this.classics].map((token) => ({
      id: this.ids.get(token.content)!,
      token,
    }));
  }
}

const wordEnd = new RegExp(`[${members(WORD)}]$`, 'u');
const wordBegin = new RegExp(`^[${members(WORD)}]`, 'u');

export type Section = string | number;

/** Finds the tokens of one kind, those looked for before normalisation or those looked for after it. */
export class AddedTokenFinder {
  private readonly trie = new Trie();
  private readonly firstUnits = new Set<number>();
  /** Lines about tokens that no text can have, because another is found in their place. */
  readonly clashes: string[] = [];

  /**
   * `vocabulary` says what a found id is. With `splitSpecials` special tokens are text like any other.
   * @throws RangeError when a token is nothing after normalisation.
   */
  constructor(
    private readonly vocabulary: AddedVocabulary,
    patterns: readonly { id: number; token: AddedToken }[],
    normalize: Normalizer,
    private readonly splitSpecials: boolean,
  ) {
    const known = new Map<string, number>();
    for (const { id, token } of patterns) {
      const content = normalize(token.content);
      if (content === '')
        throw new RangeError(
          `the added token ${JSON.stringify(token.content)} is nothing after normalisation`,
        );
      // Of two tokens of one text after normalisation, Rust finds the one that it lists first.
      const other = known.get(content);
      if (other !== undefined) {
        if (other !== id)
          this.clashes.push(
            `tokenizer: the added tokens ${other} and ${id} are the same text after normalisation, which is found as ${other}`,
          );
        continue;
      }
      known.set(content, id);
      this.trie.set(content, id);
      this.firstUnits.add(content.charCodeAt(0));
    }
  }

  get empty(): boolean {
    return this.firstUnits.size === 0;
  }

  /** The text's sections in order, an added token as its id; a token with `lstrip` has eaten the blanks before it. */
  split(text: string): Section[] {
    if (this.empty) return text === '' ? [] : [text];
    const sections: Section[] = [];
    let done = 0;
    for (let at = 0; at < text.length; ) {
      const found = this.longestAt(text, at);
      if (found === undefined) {
        at++;
        continue;
      }
      const { id } = found;
      let start = at;
      let { end } = found;
      at = end;
      const token = this.vocabulary.get(id)!;
      if (this.splitSpecials && this.vocabulary.isSpecial(id)) continue;
      if (
        token.single_word &&
        (wordEnd.test(text.slice(Math.max(0, start - 2), start)) || wordBegin.test(text.slice(end, end + 2)))
      )
        continue;
      if (token.lstrip) start = Math.max(done, start - spacesAtEnd(text.slice(done, start)));
      if (token.rstrip) end += spacesAtStart(text.slice(end));
      if (start > done) sections.push(text.slice(done, start));
      sections.push(id);
      done = end;
    }
    if (done < text.length) sections.push(text.slice(done));
    return sections;
  }

  private longestAt(text: string, start: number): { id: number; end: number } | undefined {
    if (!this.firstUnits.has(text.charCodeAt(start))) return undefined;
    const { trie } = this;
    let found: { id: number; end: number } | undefined;
    let node = 0;
    for (let at = start; at < text.length; ) {
      node = trie.child(node, text.charCodeAt(at++));
      if (node < 0) break;
      if (trie.idAt(node) >= 0) found = { id: trie.idAt(node), end: at };
    }
    return found;
  }
}
