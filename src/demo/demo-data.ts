/**
 * The one-minute demo's data: the TypeScript compiler's messages in English and 13 translations, from the
 * `typescript` package (Apache-2.0). A query is a message in some language, its positive the English message.
 *
 * 200 messages are held out, the same for every seed, because the demo tokenizer was trained on the others.
 * The messages are alike (`demoNearDuplicates`), so a score on the held-out ones shows learning and is no benchmark.
 */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { InputError } from '../errors.js';
import { writeFileAtomic } from '../files/atomic.js';
import { makeWritableFolder } from '../files/make-folder.js';
import { systemReason } from '../files/reason.js';
import { printable } from '../show.js';
import { CounterRandom } from '../tensor/random.js';

/** The translations that the compiler has. */
export const DEMO_LANGUAGES = [
  'cs',
  'de',
  'es',
  'fr',
  'it',
  'ja',
  'ko',
  'pl',
  'pt-br',
  'ru',
  'tr',
  'zh-cn',
  'zh-tw',
] as const;

export type DemoLanguage = (typeof DEMO_LANGUAGES)[number];

/** The languages of the held-out queries. */
export const DEMO_EVALUATION_LANGUAGES = [
  'de',
  'fr',
  'ja',
  'ru',
  'zh-cn',
  'ko',
] as const satisfies DemoLanguage[];

/** FlagEmbedding's row. */
export interface DemoTrainRow {
  query: string;
  pos: string[];
  neg: string[];
}

export interface DemoQuery {
  lang: DemoLanguage;
  query: string;
  /** Index of the right candidate. */
  target: number;
}

export interface DemoRows {
  /** In the seed's order. */
  train: DemoTrainRow[];
  heldOut: DemoQuery[];
  /** The held-out messages in English, no two alike. */
  candidates: string[];
}

const HELD_OUT = 200;
const NEGATIVES = 4;
/** Names the split and the order of rows among the streams of random numbers. */
const SPLIT_SEED = 20240607;
const ORDER_STREAM = 1;
/** A message shorter than this, placeholders removed, says too little to be looked for. */
const SHORTEST = 12;

interface Message {
  english: string;
  translations: Map<DemoLanguage, string>;
}

/**
 * Training rows in all 13 languages, and the held-out 200 messages as queries in the six evaluation languages.
 * No English text is in both (case, quotes and punctuation aside), and no query of one is a query of the other.
 * `languages`: those to train on. @throws InputError when `typescript` with its translations is not installed.
 */
export function demoRows(seed = 42, languages: readonly DemoLanguage[] = DEMO_LANGUAGES): DemoRows {
  const { train, heldOut } = splitMessages();
  const negatives = hardNegatives(train.map(({ english }) => english));
  const without = new Set(heldOut.flatMap(({ translations }) => [...translations.values()].map(folded)));
  const rows: DemoTrainRow[] = [];
  train.forEach(({ english, translations }, i) => {
    for (const language of languages) {
      const query = translations.get(language);
      if (query !== undefined && !without.has(folded(query)) && folded(query) !== folded(english))
        rows.push({ query, pos: [english], neg: negatives[i]! });
    }
  });
  return {
    train: new CounterRandom(seed, ORDER_STREAM).shuffle(rows),
    heldOut: DEMO_EVALUATION_LANGUAGES.flatMap((lang) =>
      heldOut.map(({ translations }, target) => ({ lang, query: translations.get(lang)!, target })),
    ),
    candidates: heldOut.map(({ english }) => english),
  };
}

/**
 * Writes `train.jsonl` (`query`, `pos`, `neg`), whole or not at all, and returns its path. The folder is made.
 * @throws InputError when the folder cannot be written.
 */
export function writeDemoJsonl(folder: string, seed = 42): string {
  const file = path.join(folder, 'train.jsonl');
  const lines = demoRows(seed).train.map((row) => `${JSON.stringify(row)}\n`);
  makeWritableFolder(folder);
  writeFileAtomic(file, lines.join(''));
  return file;
}

/** Every text that training may see, English included: what the demo tokenizer is trained on. */
export function demoTrainingTexts(): string[] {
  const texts = new Set<string>();
  for (const { query, pos } of demoRows().train) for (const text of [query, ...pos]) texts.add(text);
  return [...texts].sort();
}

/** How many candidates have a training message that shares at least half of their joint words (Jaccard). */
export function demoNearDuplicates(): number {
  const { train, heldOut } = splitMessages();
  const index = new WordIndex(train.map(({ english }) => english));
  return heldOut.filter(({ english }) => (index.similar(english, 1)[0]?.similarity ?? 0) >= 0.5).length;
}

/** The folder of the demo's tokenizer in this package, wherever it is installed. */
export function demoTokenizerFolder(): string {
  return path.join(packageRoot(), 'assets', 'demo-tokenizer');
}

// ---------------------------------------------------------------- split

/** Messages by the fixed split; those alike in English are one message. */
function splitMessages(): { train: Message[]; heldOut: Message[] } {
  const messages = readMessages();
  const eligible = messages.filter(
    ({ english, translations }) =>
      english.length >= SHORTEST &&
      DEMO_EVALUATION_LANGUAGES.every((language) => {
        const translation = translations.get(language);
        return translation !== undefined && folded(translation) !== folded(english);
      }),
  );
  const heldOut = new CounterRandom(SPLIT_SEED).sample(eligible, HELD_OUT);
  const out = new Set(heldOut);
  return { train: messages.filter((message) => !out.has(message)), heldOut };
}

/** In the order of their keys, so that the split does not hang on the order in which the compiler lists them. */
function readMessages(): Message[] {
  const { diagnostics, folder } = typescriptPackage();
  const translations = DEMO_LANGUAGES.map((language) => {
    const file = path.join(folder, language, 'diagnosticMessages.generated.json');
    try {
      return [language, JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, string>] as const;
    } catch (error) {
      throw new InputError(
        `${printable(file)}: the demo needs this file of typescript: ${systemReason(error)}`,
      );
    }
  });
  const byText = new Map<string, Message>();
  for (const { key, message } of diagnostics.sort((a, b) => (a.key < b.key ? -1 : 1))) {
    const english = withoutPlaceholders(message);
    if (english === '' || byText.has(folded(english))) continue;
    const entry: Message = { english, translations: new Map() };
    for (const [language, texts] of translations) {
      const text = withoutPlaceholders(texts[key] ?? '');
      if (text !== '') entry.translations.set(language, text);
    }
    byText.set(folded(english), entry);
  }
  return [...byText.values()];
}

/** `{0}` goes, with the quotes around it, and what spaces that leaves. */
function withoutPlaceholders(text: string): string {
  return text
    .replace(/['"„“”‘«「『`]\s?\{\d+\}\s?['"“”’»」』`]|\{\d+\}/g, '')
    .replace(/\s+/g, ' ')
    .replace(/ ([.,;:!?)])/g, '$1')
    .trim();
}

/** What two texts have in common when they are the same but for case, spaces, quotes and punctuation. */
function folded(text: string): string {
  return wordsOf(text).join('');
}

function wordsOf(text: string): string[] {
  return (
    text
      .normalize('NFKC')
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu) ?? []
  );
}

// ---------------------------------------------------------------- hard negatives

/** For each text the others that share most words with it, without those that are all but equal. */
function hardNegatives(texts: readonly string[]): string[][] {
  const index = new WordIndex(texts);
  return texts.map((text) => {
    const similar = index.similar(text, NEGATIVES + 4).filter(({ similarity }) => similarity < 0.9);
    return similar.slice(0, NEGATIVES).map(({ position }) => texts[position]!);
  });
}

/** Finds texts by the words they share (Jaccard). */
class WordIndex {
  private readonly sizes: number[] = [];
  private readonly places = new Map<string, number[]>();

  constructor(texts: readonly string[]) {
    texts.forEach((text, position) => {
      const words = new Set(wordsOf(text));
      this.sizes.push(words.size);
      for (const word of words) {
        const places = this.places.get(word);
        if (places === undefined) this.places.set(word, [position]);
        else places.push(position);
      }
    });
  }

  /** The `count` most similar, most similar first, earlier first among equals. */
  similar(text: string, count: number): { position: number; similarity: number }[] {
    const words = new Set(wordsOf(text));
    const shared = new Uint32Array(this.sizes.length);
    for (const word of words) for (const position of this.places.get(word) ?? []) shared[position]!++;
    const best: { position: number; similarity: number }[] = [];
    for (let position = 0; position < shared.length; position++) {
      const both = shared[position]!;
      const similarity = both / (words.size + this.sizes[position]! - both);
      if (best.length === count && similarity <= best[count - 1]!.similarity) continue;
      if (best.length === count) best.pop();
      let rank = best.length;
      while (rank > 0 && best[rank - 1]!.similarity < similarity) rank--;
      best.splice(rank, 0, { position, similarity });
    }
    return best;
  }
}

// ---------------------------------------------------------------- packages

interface Diagnostic {
  key: string;
  message: string;
}

/** From our own dependencies or from the folder the user stands in. */
function typescriptPackage(): { diagnostics: Diagnostic[]; folder: string } {
  for (const from of [import.meta.url, pathToFileURL(path.join(process.cwd(), 'package.json')).href]) {
    const require = createRequire(from);
    let main: string;
    try {
      main = require.resolve('typescript');
    } catch {
      continue;
    }
    const folder = path.dirname(main);
    // Version 7 is native code without messages to read.
    if (!fs.existsSync(path.join(folder, 'de', 'diagnosticMessages.generated.json'))) continue;
    const { Diagnostics } = require(main) as { Diagnostics?: Record<string, Diagnostic> };
    if (Diagnostics !== undefined) return { diagnostics: Object.values(Diagnostics), folder };
  }
  throw new InputError(
    'the demo reads its texts from the package typescript 6 and did not find it: npm install typescript@6.0.3',
  );
}

/** The nearest folder above this file with a package.json. */
function packageRoot(): string {
  let folder = import.meta.dirname;
  while (!fs.existsSync(path.join(folder, 'package.json'))) {
    const parent = path.dirname(folder);
    if (parent === folder)
      throw new InputError(
        `${printable(import.meta.dirname)}: not inside a package: the demo's tokenizer lies beside its package.json; install dawntune again`,
      );
    folder = parent;
  }
  return folder;
}
