/**
 * Characters as the Rust `tokenizers` sees them. Its tables are of an older Unicode than Node's and stay the same
 * whatever Node runs us, so that ids do.
 */
import { HAS_LOWERCASE, INERT } from './unicode-tables.js';

/** The ranges of a table of unicode-tables.ts, for a class in a regular expression with the flag `u` or `v`. */
export function members(table: string): string {
  const numbers = table.split(' ').map((digits) => Number.parseInt(digits, 36));
  const hex = (point: number) => `\\u{${point.toString(16)}}`;
  let text = '';
  let last = 0;
  for (let i = 0; i < numbers.length; i += 2) {
    const start = last + numbers[i]!;
    last = start + numbers[i + 1]!;
    text += last === start ? hex(start) : `${hex(start)}-${hex(last)}`;
  }
  return text;
}

const notAscii = /[^\0-\x7f]/;
const inert = new RegExp(`[${members(INERT)}]+`, 'gu');
const hasLowercase = new RegExp(`[${members(HAS_LOWERCASE)}]`, 'gu');

export type NormalizationForm = 'NFC' | 'NFD' | 'NFKC' | 'NFKD';

/** What Rust's tables do not know stays as it is, and nothing is combined or reordered across it. */
export function normalizationForm(text: string, form: NormalizationForm): string {
  if (!notAscii.test(text)) return text;
  let result = '';
  let done = 0;
  for (const match of text.matchAll(inert)) {
    result += text.slice(done, match.index).normalize(form) + match[0];
    done = match.index + match[0].length;
  }
  return done === 0 ? text.normalize(form) : result + text.slice(done).normalize(form);
}

/** Character by character: a Greek sigma at the end of a word becomes σ as everywhere. */
export function lowercase(text: string): string {
  if (!notAscii.test(text)) return text.toLowerCase();
  return text.replace(hasLowercase, (character) => character.toLowerCase());
}

/** How many units of white space end the text; looked at from the end, since a regular expression would not. */
export function spacesAtEnd(text: string): number {
  let end = text.length;
  while (end > 0 && /\p{White_Space}/u.test(text[end - 1]!)) end--;
  return text.length - end;
}

/** How many units of white space begin the text. */
export function spacesAtStart(text: string): number {
  return /^\p{White_Space}*/u.exec(text)![0].length;
}
