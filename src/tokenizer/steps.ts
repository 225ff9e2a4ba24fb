/**
 * The steps a tokenizer.json describes, up to the model: added tokens, normalizers, splitting into words, and the
 * special tokens around the result. Each does what the Rust `tokenizers` does, character properties included
 * (`White_Space`, not JavaScript's `\s`). Models are elsewhere.
 */
import { Charsmap } from './charsmap.js';

/** One element of a tokenizer.json: what its other fields are depends on its type. */
export interface Component {
  type: string;
  [field: string]: unknown;
}

/** What the other components lack; the reader of the file adds its name. */
export class UnsupportedComponent extends RangeError {}

// ---------------------------------------------------------------- normalizers

export type Normalizer = (text: string) => string;

/** @throws UnsupportedComponent for a type not listed here, RangeError for a broken charsmap. */
export function normalizerFrom(component: Component | null): Normalizer {
  if (component === null) return (text) => text;
  const make = NORMALIZERS[component.type];
  if (make === undefined) throw new UnsupportedComponent(`normalizer ${component.type}`);
  return make(component);
}

const NORMALIZERS: Record<string, (component: Component) => Normalizer> = {
  Sequence: ({ normalizers }) => {
    const steps = (normalizers as Component[]).map(normalizerFrom);
    return (text) => steps.reduce((partial, step) => step(partial), text);
  },
  Precompiled: ({ precompiled_charsmap }) => {
    if (!precompiled_charsmap) return (text) => text;
    const charsmap = Charsmap.parse(Buffer.from(precompiled_charsmap as string, 'base64'));
    return (text) => charsmap.normalize(text);
  },
  NFC: () => (text) => text.normalize('NFC'),
  NFD: () => (text) => text.normalize('NFD'),
  NFKC: () => (text) => text.normalize('NFKC'),
  NFKD: () => (text) => text.normalize('NFKD'),
  Lowercase: () => lowercase,
  StripAccents: () => (text) => text.replace(/\p{M}/gu, ''),
  Prepend:
    ({ prepend }) =>
    (text) =>
      text === '' ? text : `${prepend}${text}`,
  Strip:
    ({ strip_left, strip_right }) =>
    (text) => {
      const left = strip_left ? text.replace(/^\p{White_Space}+/u, '') : text;
      return strip_right ? left.slice(0, left.length - spacesAtEnd(left)) : left;
    },
  Replace: ({ pattern, content }) => {
    const { String: literal, Regex: source } = pattern as { String?: string; Regex?: string };
    // Oniguruma in Rust; the patterns in use (` {2,}`) read the same in JavaScript.
    const find = literal ?? new RegExp(source!, 'gu');
    return (text) => text.replaceAll(find, () => content as string);
  },
  BertNormalizer: (component) => {
    const { clean_text, handle_chinese_chars, lowercase: lower } = component;
    const stripAccents = component['strip_accents'] ?? lower;
    return (text) => {
      if (clean_text)
        text = text
          .replace(/(?![\t\n\r])[\0\ufffd\p{Cc}\p{Cf}\p{Co}]/gu, '')
          .replace(/\p{White_Space}/gu, ' ');
      if (handle_chinese_chars) text = text.replace(IDEOGRAPH, ' $& ');
      if (stripAccents) text = text.normalize('NFD').replace(/\p{Mn}/gu, '');
      return lower ? lowercase(text) : text;
    };
  },
};

const IDEOGRAPH =
  /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

/** Character by character: a Greek sigma at the end of a word stays σ. */
function lowercase(text: string): string {
  return text.includes('Σ') ? text.replaceAll('Σ', 'σ').toLowerCase() : text.toLowerCase();
}

/** Whether a Precompiled normalizer sits anywhere in it. */
export function usesCharsmap(component: Component | null): boolean {
  return (
    component !== null &&
    (component.type === 'Precompiled' ||
      ((component['normalizers'] as Component[] | undefined) ?? []).some(usesCharsmap))
  );
}

// ---------------------------------------------------------------- words

/** `atStart`: the section is the beginning of the text. */
export type WordSplitter = (section: string, atStart: boolean) => string[];

/** @throws UnsupportedComponent for anything but WhitespaceSplit, Metaspace and sequences of them. */
export function wordSplitterFrom(component: Component | null): WordSplitter {
  if (component === null) return (section) => [section];
  if (component.type === 'WhitespaceSplit') return (section) => section.match(/[^\p{White_Space}]+/gu) ?? [];
  if (component.type === 'Metaspace') return metaspace(component);
  if (component.type === 'Sequence') {
    const steps = (component['pretokenizers'] as Component[]).map(wordSplitterFrom);
    return (section, atStart) => {
      const first = atStart && !/^\p{White_Space}/u.test(section);
      return steps.reduce(
        (words, step) => words.flatMap((word, i) => step(word, first && i === 0)),
        [section],
      );
    };
  }
  throw new UnsupportedComponent(`pre-tokenizer ${component.type}`);
}

/** Spaces become ▁, one is put in front, and every ▁ begins a word. */
function metaspace(component: Component): WordSplitter {
  const mark = (component['replacement'] as string | undefined) ?? '▁';
  const scheme =
    (component['prepend_scheme'] as string | undefined) ??
    (component['add_prefix_space'] === false ? 'never' : 'always');
  const split = component['split'] !== false;
  return (section, atStart) => {
    if (section === '') return [];
    const marked = section.replaceAll(' ', mark);
    const prepend = !marked.startsWith(mark) && (scheme === 'always' || (scheme === 'first' && atStart));
    const text = prepend ? mark + marked : marked;
    if (!split) return [text];
    const words: string[] = [];
    for (let start = 0; start < text.length; ) {
      const next = text.indexOf(mark, start + 1);
      const end = next < 0 ? text.length : next;
      words.push(text.slice(start, end));
      start = end;
    }
    return words;
  };
}

// ---------------------------------------------------------------- added tokens

export interface AddedToken {
  id: number;
  content: string;
  single_word?: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
  normalized?: boolean;
  special?: boolean;
}

const WORD_END = /(?<=[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_C}])$/u;
const WORD_BEGIN = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_C}]/u;

/** Finds tokens that are not the model's to split (`<mask>` …): leftmost, then longest. */
export class AddedTokens {
  private readonly byContent: Map<string, AddedToken>;
  private readonly pattern: RegExp | null;

  constructor(tokens: readonly AddedToken[]) {
    this.byContent = new Map(tokens.filter(({ content }) => content !== '').map((t) => [t.content, t]));
    const contents = [...this.byContent.keys()].sort((a, b) => b.length - a.length);
    this.pattern =
      contents.length === 0
        ? null
        : new RegExp(contents.map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|'), 'g');
  }

  /** The text's sections in order, an added token as its id; a token with `lstrip` has eaten the blanks before it. */
  split(text: string): { section: string | number; start: number }[] {
    const sections: { section: string | number; start: number }[] = [];
    let done = 0;
    for (const match of this.pattern === null ? [] : text.matchAll(this.pattern)) {
      const token = this.byContent.get(match[0])!;
      let start = match.index;
      let end = start + match[0].length;
      if (
        token.single_word &&
        (WORD_END.test(text.slice(Math.max(0, start - 2), start)) || WORD_BEGIN.test(text.slice(end)))
      )
        continue;
      if (token.lstrip) start = Math.max(done, start - spacesAtEnd(text.slice(0, start)));
      if (token.rstrip) end += /^\p{White_Space}*/u.exec(text.slice(end))![0].length;
      if (start > done) sections.push({ section: text.slice(done, start), start: done });
      sections.push({ section: token.id, start });
      done = end;
    }
    if (done < text.length) sections.push({ section: text.slice(done), start: done });
    return sections;
  }
}

/** How many units of White_Space end the text; looked at from the end, since a regular expression would not. */
function spacesAtEnd(text: string): number {
  let end = text.length;
  while (end > 0 && /\p{White_Space}/u.test(text[end - 1]!)) end--;
  return text.length - end;
}

// ---------------------------------------------------------------- special tokens around the text

/** The ids before and after a single text. @throws UnsupportedComponent for an unknown post-processor. */
export function specialsAround(component: Component | null): { prefix: number[]; suffix: number[] } {
  const around = { prefix: [] as number[], suffix: [] as number[] };
  if (component === null) return around;
  switch (component.type) {
    case 'ByteLevel':
      return around;
    case 'Sequence':
      for (const step of (component['processors'] as Component[]).map(specialsAround)) {
        around.prefix.unshift(...step.prefix);
        around.suffix.push(...step.suffix);
      }
      return around;
    case 'BertProcessing':
    case 'RobertaProcessing': {
      const id = (field: string) => (component[field] as [string, number])[1];
      return { prefix: [id('cls')], suffix: [id('sep')] };
    }
    case 'TemplateProcessing': {
      type Item = { SpecialToken?: { id: string }; Sequence?: unknown };
      const ids = component['special_tokens'] as Record<string, { ids: number[] }>;
      let side = around.prefix;
      for (const { SpecialToken } of component['single'] as Item[])
        if (SpecialToken === undefined) side = around.suffix;
        else side.push(...ids[SpecialToken.id]!.ids);
      return around;
    }
    default:
      throw new UnsupportedComponent(`post-processor ${component.type}`);
  }
}
