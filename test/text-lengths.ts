/** Texts of many kinds and any length, and the time that tokenizing them takes by their length. */
import assert from 'node:assert/strict';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { golden } from './repository.js';

/** Knuth's, so that a failure can be made again. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const WORDS =
  'the night train leaves at twenty to eleven, die Bäckerei öffnet um sechs и поезд прибывает'.split(' ');

/** Pieces of which a text is made; the number is a draw below 65,536. */
export const KINDS: Record<string, (draw: number) => string> = {
  words: (draw) => `${WORDS[draw % WORDS.length]} `,
  'no spaces': (draw) => WORDS[draw % WORDS.length]!,
  'spaces only': () => ' ',
  'combining marks only': () => '\u0301',
  'letters with combining marks': (draw) => `${'aeiou'[draw % 5]}\u0301\u0323`,
  'words with CR LF': (draw) => `${WORDS[draw % WORDS.length]}\r\n`,
  'CR LF only': () => '\r\n',
  'emoji joined by ZWJ': () => '\u{1f468}\u200d\u{1f469}\u200d\u{1f467}',
  'ZWJ only': () => '\u200d',
  flags: () => '\u{1f1e9}',
  Devanagari: () => 'क्षि',
  CJK: (draw) => String.fromCharCode(0x4e00 + (draw % 5000)),
  digits: (draw) => `${draw % 10}`,
  'one character': () => 'a',
  'random units': (draw) => String.fromCharCode(draw),
};

export function textOf(kind: (draw: number) => string, length: number): string {
  const draw = generator(length);
  const pieces: string[] = [];
  for (let units = 0; units < length; units += pieces.at(-1)!.length) pieces.push(kind(draw(65_536)));
  return pieces.join('').slice(0, length);
}

/** CPU time, since others may use the machine; the least of some rounds. */
function seconds(rounds: number, work: () => unknown): number {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1e6);
  }
  return least;
}

/** Ten times the text in ten times the time would be 1; quadratic time 10. */
const MOST = 4;

/** Tokenizers of each model, in the goldens. */
export const TOKENIZERS = {
  'unigram with a character map': 'model',
  WordPiece: 'tokenizers/wordpiece',
  'byte-level BPE': 'tokenizers/bytelevel',
};

/** Tokenizes texts of each kind, of `length` UTF-16 units and of ten times as many. */
export function assertLinear(folder: string, length: number): void {
  const tokenizer = Tokenizer.load(golden(folder), { cacheSize: 0 });
  for (const make of Object.values(KINDS)) tokenizer.encode(textOf(make, 3000));
  for (const [kind, make] of Object.entries(KINDS)) {
    const [short, long] = [textOf(make, length), textOf(make, 10 * length)];
    const ratio = () =>
      seconds(1, () => tokenizer.encode(long)) /
      10 /
      Math.max(
        seconds(3, () => tokenizer.encode(short)),
        1e-3,
      );
    // A second look, for the moments that something else takes.
    const found = ratio();
    if (found > MOST)
      assert.ok(Math.min(found, ratio()) <= MOST, `${kind}: ${found.toFixed(1)} times the time a unit`);
  }
}
