/**
 * Texts to ids in other threads, so that the main one, and the GPU that it feeds, does not wait for them. Each thread
 * has a tokenizer of its own, made from the same files; results come in the order of the texts and are those of
 * `Tokenizer.encodeBatch`, whatever the number of threads.
 */
import { Worker } from 'node:worker_threads';
import { InputError, MachineError } from '../errors.js';
import { show } from '../show.js';
import { asError, type ThreadAnswer, type ThreadData, type ThreadRequest } from './thread-messages.js';
import { requireText, type Tokenizer } from './tokenizer.js';

/** How many threads, and what they tokenize. */
export interface TokenizerThreadsOptions {
  /** 0 to 64; 0: the tokenizer itself works, in the thread that asks. */
  threads: number;
  /** What the caches of all threads together may hold, in characters plus ids, and 64 for each text. Default 2^24 (about 60 MB). */
  cacheSize?: number;
}

/** A request of several parts goes to several threads: a part ends where it has so many texts or UTF-16 units. */
const LARGEST_PART = { texts: 64, units: 1 << 16 };

/** Each has a tokenizer of its own. */
const MOST_THREADS = 64;

interface Waiting {
  readonly resolve: (rows: Uint32Array[]) => void;
  readonly reject: (error: Error) => void;
}

class Thread {
  /** Requests without an answer, by their ids. */
  readonly waiting = new Map<number, Waiting>();
  /** UTF-16 units of them. */
  load = 0;
  /** Why it answers no more. */
  private ended: MachineError | undefined;
  private readonly worker: Worker;
  private nextId = 0;

  constructor(data: ThreadData) {
    // No flags of this process: some are for its main file only.
    this.worker = new Worker(new URL('./thread.js', import.meta.url), { workerData: data, execArgv: [] });
    this.worker.on('message', (message: ThreadAnswer) => this.answered(message));
    this.worker.on('error', (error: Error) => this.end(error.message));
    this.worker.on('exit', (code) => this.end(`exit code ${code}`));
    // A thread that has nothing to do keeps no process alive; listening for messages would.
    this.worker.unref();
  }

  encode(work: Omit<ThreadRequest, 'id'>, units: number): Promise<Uint32Array[]> {
    if (this.ended) return Promise.reject(this.ended);
    const request: ThreadRequest = { id: this.nextId++, ...work };
    this.load += units;
    return new Promise<Uint32Array[]>((resolve, reject) => {
      if (this.waiting.size === 0) this.worker.ref();
      this.waiting.set(request.id, { resolve, reject });
      this.worker.postMessage(request);
    }).finally(() => {
      this.load -= units;
    });
  }

  /** What waits is given up. */
  async close(): Promise<void> {
    this.end('it was closed');
    await this.worker.terminate();
  }

  private answered(message: ThreadAnswer): void {
    const request = this.waiting.get(message.id);
    if (!request) return;
    this.waiting.delete(message.id);
    if (this.waiting.size === 0) this.worker.unref();
    if ('failure' in message) {
      request.reject(asError(message.failure));
      return;
    }
    let at = 0;
    request.resolve(
      Array.from(message.lengths, (length) => {
        at += length;
        return message.ids.slice(at - length, at);
      }),
    );
  }

  private end(reason: string): void {
    this.ended ??= new MachineError(
      `a tokenizer thread has ended (${reason}); with 0 threads texts are tokenized in the main one`,
    );
    for (const { reject } of this.waiting.values()) reject(this.ended);
    this.waiting.clear();
  }
}

/** A tokenizer on several threads, for bulk work. */
export class TokenizerThreads {
  private readonly threads: readonly Thread[];

  /** @throws InputError for a number of threads that is none. */
  constructor(
    /** What the threads have copies of. */
    readonly tokenizer: Tokenizer,
    { threads, cacheSize = 2 ** 24 }: TokenizerThreadsOptions,
  ) {
    if (!(Number.isInteger(threads) && threads >= 0 && threads <= MOST_THREADS))
      throw new InputError(`threads: expected an integer from 0 to ${MOST_THREADS}, found ${show(threads)}`);
    if (!(cacheSize >= 0)) throw new InputError(`cacheSize: expected a number, found ${show(cacheSize)}`);
    const data: ThreadData = {
      source: tokenizer.source,
      cacheSize: Math.floor(cacheSize / Math.max(1, threads)),
    };
    this.threads = Array.from({ length: threads }, () => new Thread(data));
  }

  /** 0: the thread that asks does the work. */
  get count(): number {
    return this.threads.length;
  }

  /**
   * The ids of each text, as `Tokenizer.encode` gives them; with `lowerCase`, as `Tokenizer.lowerCased().encode` does.
   * @throws InputError of the first text that has one; MachineError when a thread ended.
   */
  async encode(texts: readonly string[], maxLength?: number, lowerCase = false): Promise<Uint32Array[]> {
    if (this.threads.length === 0)
      return (lowerCase ? this.tokenizer.lowerCased() : this.tokenizer).encodeBatch(texts, maxLength);
    for (const text of texts) requireText(text);
    const parts: Promise<Uint32Array[]>[] = [];
    for (let start = 0; start < texts.length; ) {
      let end = start;
      let units = 0;
      while (end < texts.length && end - start < LARGEST_PART.texts && units < LARGEST_PART.units)
        units += texts[end++]!.length;
      const idlest = this.threads.reduce((least, thread) => (thread.load < least.load ? thread : least));
      parts.push(idlest.encode({ texts: texts.slice(start, end), maxLength, lowerCase }, units));
      start = end;
    }
    const results = await Promise.allSettled(parts);
    return results.flatMap((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    });
  }

  /** Ends the threads; what was not answered is rejected. */
  async close(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
