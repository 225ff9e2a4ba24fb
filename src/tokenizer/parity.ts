/**
 * `npm run tokenizer-parity -- FOLDER LINES`: a folder's tokenizer on texts, its ids beside those of another
 * implementation, and its speed. docs/tokenizer.md says how the files are made.
 */
import crypto from 'node:crypto';
import { parseToldFlags } from '../console/told-flags.js';
import { InputError } from '../errors.js';
import type { JsonObject } from '../files/json.js';
import { readJsonObjects } from '../files/json-objects.js';
import { PositionedFile } from '../files/positioned.js';
import { group, integer, withDefault } from '../flags.js';
import { printable, show } from '../show.js';
import { TokenizerThreads } from './threads.js';
import { Tokenizer } from './tokenizer.js';

export const tokenizerParityFlags = group('Tokenizer parity', {
  threads: withDefault(integer(0, 64), 1, 'threads of the second measurement; 0: none is made'),
  seconds: withDefault(integer(0, 600), 2, 'time of each measurement, at least one round of all lines'),
});

export interface TokenizerParityArguments {
  readonly folder: string;
  readonly lines: string;
  readonly threads: number;
  readonly seconds: number;
}

/** @throws InputError, one line that names the flag. */
export function parseTokenizerParityArguments(argv: readonly string[]): TokenizerParityArguments {
  const { values, positionals } = parseToldFlags(tokenizerParityFlags, argv, { positionals: true });
  const [folder, lines] = positionals;
  if (positionals.length !== 2 || !folder || !lines)
    throw new InputError(`expected a model folder and a file of lines, found ${positionals.length} words`);
  return { folder, lines, ...values };
}

/** A text and what its ids should be. */
interface Line {
  readonly text: string;
  readonly expected: readonly Expected[];
  /** For messages. */
  readonly where: string;
}

interface Expected {
  readonly ids: ArrayLike<number>;
  /** Undefined: of the whole text. */
  readonly maxLength: number | undefined;
}

// ---------------------------------------------------------------- the files

/** A text file is one text a line; its ids, if there are any, are in the file of the same name with `.ids` behind it. */
function textLines(file: string): Line[] {
  const texts = linesOf(file);
  const idsFile = `${file}.ids`;
  const rows = PositionedFile.exists(idsFile) ? linesOf(idsFile) : undefined;
  if (rows && rows.length !== texts.length)
    throw new InputError(
      `${printable(idsFile)}: expected a line for each of the ${texts.length} texts, found ${rows.length}`,
    );
  return texts.map((text, i) => ({
    text,
    where: `${printable(file)}:${i + 1}`,
    expected: rows
      ? [{ ids: spacedIds(rows[i]!, `${printable(idsFile)}:${i + 1}`), maxLength: undefined }]
      : [],
  }));
}

/** A carriage return belongs to its text: only a line feed ends one. */
function linesOf(file: string): string[] {
  const source = PositionedFile.open(file);
  try {
    if (source.size > LARGEST_TEXT)
      throw new InputError(
        `${printable(file)}: expected at most ${LARGEST_TEXT >> 20} MiB, found ${Math.ceil(source.size / 2 ** 20)}`,
      );
    const lines = Buffer.from(source.readBytes(0, source.size)).toString('utf8').split('\n');
    if (lines.at(-1) === '') lines.pop();
    return lines;
  } finally {
    source.close();
  }
}

/** Bytes: one string of it is within what Node makes. */
const LARGEST_TEXT = 256 << 20;

function spacedIds(line: string, where: string): Uint32Array {
  const words = line.split(' ');
  if (!words.every((word) => /^\d{1,9}$/.test(word)))
    throw new InputError(`${where}: expected ids with a space between them, found ${show(line)}`);
  return Uint32Array.from(words, Number);
}

const isIds = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((id) => Number.isInteger(id) && id >= 0);

/** Objects with `text`, and with `ids` or, of the text cut to N tokens, `ids_maxN`. */
function jsonLines(file: string): Line[] {
  const lines: Line[] = [];
  for (const { value, place } of readJsonObjects(file)) {
    const where = `${printable(file)}:${place.line}`;
    if (typeof value['text'] !== 'string')
      throw new InputError(`${where}: expected "text", a text, found ${show(value['text'])}`);
    lines.push({ text: value['text'], where, expected: expectedOf(value, where) });
  }
  return lines;
}

function expectedOf(value: JsonObject, where: string): Expected[] {
  return Object.entries(value).flatMap(([name, ids]) => {
    const match = /^ids(?:_max(\d{1,9}))?$/.exec(name);
    if (!match) return [];
    if (!isIds(ids))
      throw new InputError(`${where}: expected ${show(name)} to be a list of ids, found ${show(ids)}`);
    return [{ ids, maxLength: match[1] === undefined ? undefined : Number(match[1]) }];
  });
}

// ---------------------------------------------------------------- comparing

export interface TokenizerParityReport {
  readonly lines: number;
  /** Lines that come with ids. */
  readonly compared: number;
  readonly different: number;
  /** Of the first ten that differ. */
  readonly differences: readonly string[];
  /** SHA-256 of the ids of the whole lines: for each, how many and which, as little-endian u32. */
  readonly digest: string;
  readonly tokens: number;
  /** In the main thread, nothing cached. */
  readonly tokensPerSecond: number;
  readonly threads: { readonly threads: number; readonly tokensPerSecond: number } | undefined;
}

/** @throws InputError for a folder or a file that cannot be used. */
export async function compareTokenizer(options: TokenizerParityArguments): Promise<TokenizerParityReport> {
  const tokenizer = Tokenizer.load(options.folder, { cacheSize: 0 });
  const lines = (/\.jsonl?$/i.test(options.lines) ? jsonLines : textLines)(options.lines);
  if (lines.length === 0) throw new InputError(`${printable(options.lines)}: expected lines, found none`);
  const hash = crypto.createHash('sha256');
  const differences: string[] = [];
  let [compared, different, tokens] = [0, 0, 0];
  for (const { text, expected, where } of lines) {
    const ids = tokenizer.encode(text);
    tokens += ids.length;
    const counted = Buffer.alloc(4 + 4 * ids.length);
    counted.writeUInt32LE(ids.length);
    ids.forEach((id, i) => void counted.writeUInt32LE(id, 4 + 4 * i));
    hash.update(counted);
    if (expected.length === 0) continue;
    compared++;
    const found = expected
      .map((each) =>
        difference(each, each.maxLength === undefined ? ids : tokenizer.encode(text, each.maxLength)),
      )
      .find((each) => each !== undefined);
    if (found === undefined) continue;
    different++;
    if (differences.length < 10) differences.push(`${where}: ${found}`);
  }
  const texts = lines.map(({ text }) => text);
  const rate = async (encode: () => unknown): Promise<number> => {
    const start = performance.now();
    let rounds = 0;
    do {
      await encode();
      rounds++;
    } while (performance.now() - start < 1e3 * options.seconds);
    return (rounds * tokens) / ((performance.now() - start) / 1e3);
  };
  const tokensPerSecond = await rate(() => tokenizer.encodeBatch(texts));
  let threads: TokenizerParityReport['threads'];
  if (options.threads > 0) {
    await using pool = new TokenizerThreads(tokenizer, { threads: options.threads, cacheSize: 0 });
    // Until each has its tokenizer.
    await pool.encode(texts);
    threads = { threads: options.threads, tokensPerSecond: await rate(() => pool.encode(texts)) };
  }
  const digest = hash.digest('hex');
  return { lines: lines.length, compared, different, differences, digest, tokens, tokensPerSecond, threads };
}

/** In words; undefined when there is none. */
function difference({ ids, maxLength }: Expected, found: Uint32Array): string | undefined {
  const length = Math.max(ids.length, found.length);
  for (let i = 0; i < length; i++)
    if (ids[i] !== found[i])
      return (
        `expected ${ids[i] ?? 'the end'} as token ${i + 1}${maxLength === undefined ? '' : ` of the text cut to ${maxLength}`}, ` +
        `found ${found[i] ?? 'the end'}`
      );
  return undefined;
}

/** One line a fact. */
export function describeTokenizerParity(report: TokenizerParityReport): string {
  const rate = (value: number) => `${(value / 1e3).toFixed(0)} k tokens/s`;
  const { lines, compared, different, differences, digest, tokens, tokensPerSecond, threads } = report;
  return [
    ...differences,
    `lines ${lines}, compared ${compared}, different ${different}`,
    `tokens ${tokens}, digest ${digest}`,
    `${rate(tokensPerSecond)} in one thread`,
    ...(threads ? [`${rate(threads.tokensPerSecond)} with ${threads.threads} beside it`] : []),
    '',
  ].join('\n');
}
