/**
 * The `pre_tokenizer` of a tokenizer.json: how a normalised section of a text is split into the words that the model
 * sees one at a time, as the Rust `tokenizers` split it.
 */
import { byteLevelWords } from './bpe.js';
import type { Part } from './part.js';
import { members } from './unicode.js';
import { NUMERIC, PUNCTUATION, WORD } from './unicode-tables.js';

export interface WordSplitter {
  (section: string): readonly string[];
  /** Whether a space always ends one word and begins the next, with or without the text before it. */
  readonly atSpaces?: boolean;
}

const atSpaces = (splitter: (section: string) => readonly string[]): WordSplitter =>
  Object.assign(splitter, { atSpaces: true });

/** @throws InputError for a type not listed below and for members of another type than Rust expects. */
export function wordSplitterFrom(component: Part | undefined): WordSplitter {
  if (component === undefined) return (section) => [section];
  const make = SPLITTERS.get(component.get('type') as string);
  if (make === undefined) return component.fail('type', `one of ${[...SPLITTERS.keys()].join(', ')}`);
  return make(component);
}

const matches = (pattern: RegExp) => (section: string) => section.match(pattern) ?? [];

const SPLITTERS = new Map<string, (component: Part) => WordSplitter>([
  [
    'Sequence',
    (component) => {
      const steps = component.parts('pretokenizers').map(wordSplitterFrom);
      const all = (section: string) =>
        steps.reduce<readonly string[]>((words, step) => words.flatMap((word) => step(word)), [section]);
      return steps.some((step) => step.atSpaces) ? atSpaces(all) : all;
    },
  ],
  ['WhitespaceSplit', () => atSpaces(matches(/\P{White_Space}+/gu))],
  [
    'Whitespace',
    () => atSpaces(matches(new RegExp(`[${members(WORD)}]+|[^${members(WORD)}\\p{White_Space}]+`, 'gu'))),
  ],
  [
    'BertPreTokenizer',
    () =>
      atSpaces(
        matches(new RegExp(`[${members(PUNCTUATION)}]|[^${members(PUNCTUATION)}\\p{White_Space}]+`, 'gu')),
      ),
  ],
  [
    'Punctuation',
    (component) => {
      if (component.has('behavior')) component.oneOf('behavior', ['Isolated']);
      return matches(new RegExp(`[${members(PUNCTUATION)}]|[^${members(PUNCTUATION)}]+`, 'gu'));
    },
  ],
  [
    'Digits',
    (component) =>
      matches(
        new RegExp(
          `[${members(NUMERIC)}]${component.boolean('individual_digits') ? '' : '+'}|[^${members(NUMERIC)}]+`,
          'gu',
        ),
      ),
  ],
  ['Metaspace', metaspace],
  [
    'ByteLevel',
    (component) => {
      if (component.has('use_regex') && !component.boolean('use_regex')) component.fail('use_regex', 'true');
      return byteLevelWords(component.boolean('add_prefix_space'));
    },
  ],
]);

/** Spaces become ▁, one is put in front, and every ▁ begins a word. */
function metaspace(component: Part): WordSplitter {
  const mark = component.string('replacement');
  if ([...mark].length !== 1) component.fail('replacement', 'one character');
  // The prefix of `first` depends on whether the normaliser has dropped what begins the text.
  const scheme = component.has('prepend_scheme')
    ? component.oneOf('prepend_scheme', ['always', 'never'])
    : 'always';
  if (!component.boolean('add_prefix_space', true) && scheme !== 'never')
    component.fail('add_prefix_space', `true with "prepend_scheme" ${JSON.stringify(scheme)}`);
  const split = (component.get('split') ?? null) === null ? true : component.boolean('split');
  const words = (section: string) => {
    if (section === '') return [];
    const marked = section.replaceAll(' ', mark);
    const text = scheme === 'always' && !marked.startsWith(mark) ? mark + marked : marked;
    if (!split) return [text];
    const found: string[] = [];
    for (let start = 0; start < text.length; ) {
      const next = text.indexOf(mark, start + mark.length);
      const end = next < 0 ? text.length : next;
      found.push(text.slice(start, end));
      start = end;
    }
    return found;
  };
  return split && scheme === 'always' ? atSpaces(words) : words;
}
