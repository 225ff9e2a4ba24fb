/**
 * Makes src/tokenizer/unicode-tables.ts anew: the classes of characters as the Rust `tokenizers` has them, whose
 * tables are of an older Unicode than Node's, found by asking it about every code point.
 *
 *   npx tsc -b && node dist/scripts/make-unicode-tables.js
 */
import fs from 'node:fs';
import path from 'node:path';
import * as rust from 'tokenizers';
import { repositoryRoot } from '../test/repository.js';

const points = Array.from({ length: 0x110000 }, (_, c) => c).filter((c) => c < 0xd800 || c > 0xdfff);
const text = String.fromCodePoint;

const bert = (options: object) =>
  rust.bertNormalizer({
    cleanText: false,
    handleChineseChars: false,
    stripAccents: false,
    lowercase: false,
    ...options,
  });
const dropped = (normalizer: rust.Normalizer) =>
  points.filter((c) => normalizer.normalizeString(`a${text(c)}b`) === 'ab');
const words = (splitter: rust.PreTokenizer, c: number) =>
  splitter.preTokenizeString(`a${text(c)}b`).map(([word]) => word);

/**
 * The code points that Rust's normalisation forms leave alone though Node's, now or in a later Unicode, change, move or
 * combine them: Node's forms are applied between them.
 */
function inert(): number[] {
  const rustForms = {
    NFD: rust.nfdNormalizer(),
    NFKD: rust.nfkdNormalizer(),
  };
  const moves = (normalize: (text: string) => string, c: number) =>
    normalize(`a${text(c)}\u0334`) !== `a${normalize(text(c))}\u0334` ||
    normalize(`a\u0301${text(c)}`) !== `a\u0301${normalize(text(c))}`;
  const found = new Set<number>();
  const parts = new Set<number>();
  const old = new Set<string>();
  for (const c of points) {
    if (/\p{Cn}/u.test(text(c))) found.add(c);
    for (const form of ['NFD', 'NFKD'] as const) {
      const ours = (part: string) => part.normalize(form);
      const theirs = (part: string) => rustForms[form].normalizeString(part);
      const alone = ours(text(c)) === theirs(text(c)) && moves(ours, c) === moves(theirs, c);
      if (form === 'NFD' && theirs(text(c)) !== text(c)) for (const part of theirs(text(c))) old.add(part);
      if (alone) continue;
      if (theirs(text(c)) !== text(c) || moves(theirs, c)) throw new Error(`U+${c.toString(16)} differs`);
      found.add(c);
      if (form === 'NFD') for (const part of ours(text(c))) parts.add(part.codePointAt(0)!);
    }
  }
  for (const part of parts) if (!old.has(text(part))) found.add(part);
  return [...found].sort((a, b) => a - b);
}

const lower = rust.lowercase();
const byteLevel = rust.byteLevelPreTokenizer(false, true);
const classes: Record<string, [comment: string, members: number[]]> = {
  INERT: ['what the normalisation forms do not know', inert()],
  HAS_LOWERCASE: [
    'what lower case changes',
    points.filter((c) => lower.normalizeString(text(c)) !== text(c)),
  ],
  CONTROL: ["what BERT's cleaning drops", dropped(bert({ cleanText: true }))],
  NONSPACING: ["what BERT's stripping of accents drops, after NFD", dropped(bert({ stripAccents: true }))],
  COMBINING: ['what StripAccents drops', dropped(rust.stripAccentsNormalizer())],
  PUNCTUATION: [
    'what BertPreTokenizer and Punctuation isolate',
    points.filter((c) => words(rust.bertPreTokenizer(), c)[1] === text(c)),
  ],
  WORD: [
    "word characters, `\\w` of Rust's regular expressions",
    points.filter((c) => words(rust.whitespacePreTokenizer(), c)[0] === `a${text(c)}b`),
  ],
  BYTE_LEVEL_LETTER: [
    'what ByteLevel takes for letters, `\\p{L}` of Oniguruma',
    points.filter((c) => words(byteLevel, c).length === 1),
  ],
  BYTE_LEVEL_NUMBER: [
    'what ByteLevel takes for numbers, `\\p{N}` of Oniguruma',
    points.filter((c) => byteLevel.preTokenizeString(`1${text(c)}1`).length === 1),
  ],
  NUMERIC: [
    'what Digits isolates',
    points.filter((c) => words(rust.digitsPreTokenizer(true), c)[1] === text(c)),
  ],
};

for (const c of classes['HAS_LOWERCASE']![1])
  if (lower.normalizeString(text(c)) !== text(c).toLowerCase())
    throw new Error(`U+${c.toString(16)} has another lower case`);

/** Ranges as pairs of base-36 numbers: how far from the end of the last, how many more than one. */
function encode(members: readonly number[]): string {
  const numbers: string[] = [];
  let last = 0;
  for (let i = 0; i < members.length; ) {
    const start = members[i]!;
    let end = start;
    // The surrogates belong to no class and may lie in any range.
    while (members[++i] === end + 1 || (end === 0xd7ff && members[i] === 0xe000)) end = members[i]!;
    numbers.push((start - last).toString(36), (end - start).toString(36));
    last = end;
  }
  return numbers.join(' ');
}

const lines = [
  '/**',
  ' * Classes of characters as the Rust `tokenizers` 0.22 and 0.23 have them. Made by scripts/make-unicode-tables.ts:',
  ' * pairs of base-36 numbers, the distance of a range from the end of the last one and its length less one.',
  ' */',
  ...Object.entries(classes).flatMap(([name, [comment, members]]) => [
    '',
    `/** ${comment[0]!.toUpperCase()}${comment.slice(1)}. */`,
    `export const ${name} =\n  '${encode(members)}';`,
  ]),
  '',
];
const target = path.join(repositoryRoot, 'src', 'tokenizer', 'unicode-tables.ts');
fs.writeFileSync(target, lines.join('\n'));
for (const [name, [, members]] of Object.entries(classes)) console.log(name, members.length);
console.log(`${target}: ${fs.statSync(target).size} bytes`);
