/**
 * Texts in windows, tokenized while the window before is computed. A window is sorted by length and packed into batches;
 * where it ends is a function of the texts and of its place alone, so that a run of several ranks, or one that begins in
 * the middle, computes the same batches.
 */

import { bytesOf, type Communicator } from '../../ranks/communicator.js';
import type { TokenizerThreads } from '../../tokenizer/threads.js';
import type { TextReading } from '../texts.js';

/** A window has as many texts as went before it, within these: so the GPU soon has something to do. */
const LEAST_TEXTS = 1024;
const MOST_TEXTS = 8192;
/** A window ends with the text that brings it to so many UTF-16 units. */
const MOST_UNITS = 1 << 23;
/** Texts that are tokenized between two batches where there are no threads for it. */
const PIECE = 64;

/** Ids of consecutive texts. */
export interface Window {
  /** Place of the first text in the input. */
  readonly first: number;
  readonly ids: readonly Uint32Array[];
  /** The window of texts ends with it: what is cut for its size has several parts. */
  readonly last: boolean;
}

export interface WindowOptions {
  readonly threads: TokenizerThreads;
  readonly reading: TextReading;
  readonly communicator: Communicator | undefined;
  /** Place of the first text that `texts` gives. */
  readonly start: number;
  /** A part of a window ends before the text that would bring it beyond so many tokens. */
  readonly mostTokens: number;
}

/** Texts of one window on their way to ids. */
interface Tokenizing {
  readonly first: number;
  /** Those that this rank tokenizes. */
  readonly own: readonly string[];
  readonly count: number;
  readonly pieces: Promise<Uint32Array[]>[];
}

export class Windows {
  private readonly source: Iterator<string> | AsyncIterator<string>;
  private at: number;
  private ahead: Promise<Tokenizing | undefined>;
  private current: Tokenizing | undefined;

  constructor(
    texts: Iterable<string> | AsyncIterable<string>,
    private readonly options: WindowOptions,
  ) {
    this.source =
      Symbol.asyncIterator in texts
        ? texts[Symbol.asyncIterator]()
        : (texts as Iterable<string>)[Symbol.iterator]();
    this.at = options.start;
    this.ahead = this.takeAhead();
  }

  /** The next window in its parts, and then no more. Ranks call it at the same places of their work. */
  async next(): Promise<Window[]> {
    const window = await this.ahead;
    if (!window) return [];
    while (this.tokenizePiece(window));
    const own = (await Promise.all(window.pieces)).flat();
    const ids = await sharedInTurns(own, window.count, this.options.communicator);
    this.ahead = this.takeAhead();
    // Texts may come by the ranks' exchange, which all of them use in the same order.
    if (this.options.communicator) await this.ahead;
    return this.parts(window.first, ids);
  }

  /** A little of the next window, where no threads do it: between two batches, for which the GPU needs longer. */
  work(): void {
    if (this.current) this.tokenizePiece(this.current);
  }

  /** Lets the texts go. Whoever gives them may be waiting for more, for which nobody waits here. */
  close(): void {
    const { source } = this;
    const ended = async () => source.return?.();
    ended().catch(() => undefined);
  }

  private takeAhead(): Promise<Tokenizing | undefined> {
    const taken = this.take();
    // Where the window is not reached, nobody is told what is wrong with it.
    taken.catch(() => undefined);
    return taken;
  }

  private async take(): Promise<Tokenizing | undefined> {
    const { communicator, reading, threads } = this.options;
    const { rank, size } = communicator ?? { rank: 0, size: 1 };
    const most = Math.min(MOST_TEXTS, Math.max(LEAST_TEXTS, this.at));
    const first = this.at;
    const own: string[] = [];
    let count = 0;
    for (let units = 0; count < most && units < MOST_UNITS; count++) {
      const step = this.source.next();
      const { done, value } = step instanceof Promise ? await step : step;
      if (done) break;
      const text = reading.put(value);
      units += text.length;
      if (count % size === rank) own.push(text);
    }
    this.at += count;
    if (count === 0) return undefined;
    const window: Tokenizing = { first, own, count, pieces: [] };
    this.current = window;
    if (threads.count > 0) while (this.tokenizePiece(window));
    return window;
  }

  private tokenizePiece({ own, pieces }: Tokenizing): boolean {
    const { threads, reading } = this.options;
    const start = pieces.length * PIECE;
    if (start >= own.length) return false;
    const ids = threads.encode(own.slice(start, start + PIECE), reading.maxLength, reading.lowerCase);
    // Of a window that is not reached, it is not told.
    ids.catch(() => undefined);
    pieces.push(ids);
    return true;
  }

  private parts(first: number, ids: readonly Uint32Array[]): Window[] {
    const windows: Window[] = [];
    for (let start = 0; start < ids.length; ) {
      let end = start;
      let tokens = 0;
      while (end < ids.length && (end === start || tokens + ids[end]!.length <= this.options.mostTokens))
        tokens += ids[end++]!.length;
      windows.push({ first: first + start, ids: ids.slice(start, end), last: end === ids.length });
      start = end;
    }
    return windows;
  }
}

/**
 * Lists of numbers of which rank r of R has those at places r, r + R, … (`own`), on all ranks: all `count` in their order.
 * All ranks call it.
 */
export async function sharedInTurns(
  own: Uint32Array[],
  count: number,
  communicator: Communicator | undefined,
): Promise<Uint32Array[]> {
  if (!communicator || communicator.size === 1) return own;
  const lengths = Uint32Array.from(own, (list) => list.length);
  const words = new Uint32Array(lengths.reduce((sum, length) => sum + length, lengths.length));
  words.set(lengths);
  let at = lengths.length;
  for (const list of own) {
    words.set(list, at);
    at += list.length;
  }
  const all = await communicator.allGather(bytesOf(words));
  const readers = all.map((bytes, rank) => {
    const words = new Uint32Array(bytes.slice().buffer);
    return { words, at: Math.floor((count - rank + communicator.size - 1) / communicator.size) };
  });
  return Array.from({ length: count }, (_, place) => {
    const reader = readers[place % communicator.size]!;
    const length = reader.words[Math.floor(place / communicator.size)]!;
    reader.at += length;
    return reader.words.slice(reader.at - length, reader.at);
  });
}

/** Places in the window, longest texts first, in batches of at most `batchTokens` tokens, or of one text. */
export function packed(ids: readonly Uint32Array[], batchTokens: number): number[][] {
  const order = ids.map((_, i) => i).sort((a, b) => ids[b]!.length - ids[a]!.length || a - b);
  const batches: number[][] = [];
  for (let start = 0; start < order.length; ) {
    let end = start;
    let tokens = 0;
    while (end < order.length && (end === start || tokens + ids[order[end]!]!.length <= batchTokens))
      tokens += ids[order[end++]!]!.length;
    batches.push(order.slice(start, end));
    start = end;
  }
  return batches;
}
