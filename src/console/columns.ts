/**
 * How many columns of a terminal a text takes (Unicode Standard Annex 11, East Asian Width), and texts that are cut to so
 * many. For lines that must not wrap; what a terminal would obey is taken out elsewhere (src/show.ts).
 */

/** First and last of the characters that take two columns, as terminals show them: wide and full-width ones, emoji. */
const WIDE: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x231a, 0x231b],
  [0x23e9, 0x23ec],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x16fe0, 0x18aff],
  [0x1b000, 0x1b2ff],
  [0x1f200, 0x1f2ff],
  [0x1f300, 0x1f64f],
  [0x1f680, 0x1f6ff],
  [0x1f900, 0x1f9ff],
  [0x1fa70, 0x1faff],
  [0x20000, 0x3fffd],
];

/** Stands on the character before it, or shows nothing. */
const MARK = /^[\p{Mn}\p{Me}\p{Cf}]/u;
/** What a terminal may show as a picture of two columns, whatever its range. */
const PICTURE = /\p{Emoji_Presentation}|\u{fe0f}/u;

const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** Columns of one character as people see it: a letter with its accents, a family of emoji joined. */
function columnsOf(grapheme: string): number {
  const code = grapheme.codePointAt(0)!;
  if (code < 0x300) return 1;
  if (MARK.test(grapheme)) return 0;
  if (PICTURE.test(grapheme)) return 2;
  return WIDE.some(([first, last]) => code >= first && code <= last) ? 2 : 1;
}

/** Columns that a text without line breaks takes. */
export function widthOf(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what is no plain ASCII is looked at closely
  if (/^[\x00-\x7f]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of segmenter.segment(text)) width += columnsOf(segment);
  return width;
}

/** The text, or its beginning and `more` in so many columns at most. */
export function cutTo(text: string, columns: number, more = '…'): string {
  if (widthOf(text) <= columns) return text;
  const room = columns - widthOf(more);
  let cut = '';
  let width = 0;
  for (const { segment } of segmenter.segment(text)) {
    width += columnsOf(segment);
    if (width > room) break;
    cut += segment;
  }
  return room >= 0 ? cut + more : cut;
}
