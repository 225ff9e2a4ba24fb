/**
 * The `normalizer` of a tokenizer.json: each does to a text what the same component of the Rust `tokenizers` does.
 * Texts are well-formed UTF-16.
 */
import { Charsmap } from './charsmap.js';
import type { Part } from './part.js';
import { lowercase, members, normalizationForm, spacesAtEnd, spacesAtStart } from './unicode.js';
import { COMBINING, CONTROL, NONSPACING } from './unicode-tables.js';

export interface Normalizer {
  (text: string): string;
  /** Whether it works on one side of a space between two letters without looking at the other, and keeps the space. */
  readonly local?: boolean;
}

const local = (normalizer: (text: string) => string): Normalizer =>
  Object.assign(normalizer, { local: true });

/** @throws InputError for a type not listed below and for members of another type than Rust expects. */
export function normalizerFrom(component: Part | undefined): Normalizer {
  if (component === undefined) return local((text) => text);
  const make = NORMALIZERS.get(component.get('type') as string);
  if (make === undefined) return component.fail('type', `one of ${[...NORMALIZERS.keys()].join(', ')}`);
  return make(component);
}

/** Whether `Lowercase` is it or one of its steps; BERT's own lower-casing does not count, as in sentence-transformers. */
export function lowerCases(component: Part | undefined): boolean {
  const type = component?.get('type');
  return (
    type === 'Lowercase' ||
    (type === 'Sequence' && component!.parts('normalizers').some((step) => step.get('type') === 'Lowercase'))
  );
}

export function lowerCasedFirst(normalizer: Normalizer): Normalizer {
  const both = (text: string) => normalizer(lowercase(text));
  return normalizer.local ? local(both) : both;
}

const NORMALIZERS = new Map<string, (component: Part) => Normalizer>([
  [
    'Sequence',
    (component) => {
      const steps = component.parts('normalizers').map(normalizerFrom);
      const all = (text: string) => steps.reduce((partial, step) => step(partial), text);
      return steps.every((step) => step.local) ? local(all) : all;
    },
  ],
  [
    'Precompiled',
    (component) => {
      const blob = component.string('precompiled_charsmap');
      try {
        const charsmap = Charsmap.parse(Buffer.from(blob, 'base64'));
        return local((text) => charsmap.normalize(text));
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        return component.fail('precompiled_charsmap', `a charsmap (${error.message})`);
      }
    },
  ],
  ...(['NFC', 'NFD', 'NFKC', 'NFKD'] as const).map(
    (form) => [form, () => local((text) => normalizationForm(text, form))] as const,
  ),
  ['Lowercase', () => local(lowercase)],
  ['StripAccents', () => local((text) => text.replace(combining, ''))],
  ['Nmt', () => (text) => text.replace(nmtDropped, '').replace(nmtSpace, ' ')],
  [
    'Prepend',
    (component) => {
      const prepend = component.string('prepend');
      return (text) => (text === '' ? text : `${prepend}${text}`);
    },
  ],
  [
    'Strip',
    (component) => {
      const left = component.boolean('strip_left');
      const right = component.boolean('strip_right');
      return local((text) => {
        const start = left ? spacesAtStart(text) : 0;
        return text.slice(start, right ? Math.max(start, text.length - spacesAtEnd(text)) : undefined);
      });
    },
  ],
  ['Replace', replace],
  ['BertNormalizer', bertNormalizer],
]);

/**
 * Regular expressions of published tokenizers, as they read here. Any other is refused: Rust's are Oniguruma's, whose
 * classes are others, and one from a file could run for ever.
 */
const PUBLISHED_PATTERNS = new Map([
  [' {2,}', / {2,}/g],
  ['[ ]{2,}', / {2,}/g],
  [' +', / +/g],
  ['\\s+', /\p{White_Space}+/gu],
  ['\\s{2,}', /\p{White_Space}{2,}/gu],
]);

function replace(component: Part): Normalizer {
  const pattern = component.part('pattern');
  const content = component.string('content');
  if (pattern.has('Regex')) {
    const source = pattern.string('Regex');
    const find = PUBLISHED_PATTERNS.get(source);
    if (find === undefined)
      return pattern.fail(
        'Regex',
        `one of ${[...PUBLISHED_PATTERNS.keys()].map((known) => JSON.stringify(known)).join(', ')}`,
      );
    const replaced = (text: string) => text.replaceAll(find, () => content);
    return source.endsWith('{2,}') ? local(replaced) : replaced;
  }
  const literal = pattern.string('String');
  if (literal === '') pattern.fail('String', 'at least one character');
  return (text) => text.replaceAll(literal, () => content);
}

const combining = new RegExp(`[${members(COMBINING)}]+`, 'gu');
// biome-ignore lint/suspicious/noControlCharactersInRegex: those it drops
const nmtDropped = /[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: those it takes for spaces
const nmtSpace = /[\u0009\u000a\u000c\u000d\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g;

const control = new RegExp(`[${members(CONTROL)}]+`, 'gu');
const nonspacing = new RegExp(`[${members(NONSPACING)}]+`, 'gu');
const ideograph =
  /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

function bertNormalizer(component: Part): Normalizer {
  const clean = component.boolean('clean_text');
  const ideographs = component.boolean('handle_chinese_chars');
  const lower = component.boolean('lowercase');
  const accents =
    (component.get('strip_accents') ?? null) === null ? lower : component.boolean('strip_accents');
  return local((text) => {
    let result = text;
    if (clean) result = result.replace(control, '').replace(/\p{White_Space}/gu, ' ');
    if (ideographs) result = result.replace(ideograph, ' $& ');
    if (accents) result = normalizationForm(result, 'NFD').replace(nonspacing, '');
    return lower ? lowercase(result) : result;
  });
}
