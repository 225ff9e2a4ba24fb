/**
 * Texts of many requests, encoded together: what waits at the same time is packed into one batch, by tokens. A request
 * that is encoded alone is cut into batches as `encodeStream` cuts a window, and has its bits; of one that shares its
 * batches the numbers are those that `encode` gives the same texts among others, which kernels of one kind compute alike.
 */
import { InputError, MachineError } from '../errors.js';
import type { M3Model } from '../models/m3.js';
import type { M3Embedding } from '../retrieval/embedding.js';
import type { Representation } from '../retrieval/encode/encoded.js';
import { representations as all } from '../retrieval/encode/encoded.js';
import { BATCH_TOKENS, IN_FLIGHT, wantedOf } from '../retrieval/encode/stream.js';
import { startBatch, type Wanted, WindowValues } from '../retrieval/encode/values.js';
import { packed } from '../retrieval/encode/windows.js';
import { type TextOptions, type TextRole, textReading } from '../retrieval/texts.js';
import { TokenizerThreads } from '../tokenizer/threads.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { nextBatch, type WaitingRequest } from './schedule.js';

/** What a batch was, when it is done. */
export interface BatchFacts {
  /** Whose texts it had. */
  readonly requests: number;
  /** How many it had. */
  readonly texts: number;
  /** Of all its texts, special ones included. */
  readonly tokens: number;
  /** From its start to its last value on the host; the batch before may have been computed in this time too. */
  readonly seconds: number;
  /** Longest that one of its texts had waited before that. */
  readonly waited: number;
}

/** What of an `AbortSignal` is asked here, so that the types hold where no library declares one. */
export interface CancelSignal {
  /** What waits is rejected with. */
  readonly reason: unknown;
  /** As that of an AbortSignal. */
  throwIfAborted(): void;
  /** As that of an AbortSignal. */
  addEventListener(type: 'abort', listener: () => void): void;
  /** As that of an AbortSignal. */
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** Settings of an `EmbeddingBatcher`. */
export interface BatcherOptions {
  /** Tokens in one batch; a longer text is a batch of its own. Default 8192, on a software adapter 1024. */
  batchTokens?: number | undefined;
  /** Tokens of all requests that are at hand; one that does not fit is refused. Default 32 batches of `batchTokens`, or 262144. */
  queueTokens?: number | undefined;
  /** Milliseconds that a text waits for others when the device has nothing to do. Default 2. */
  wait?: number | undefined;
  /** Dense and ColBERT vectors are cut to so many values before they are normalised. */
  truncateDim?: number | undefined;
  /** Told of each batch when its values are on the host. */
  onBatch?: ((batch: BatchFacts) => void) | undefined;
}

/** How the texts of one request are read. */
export interface ReadOptions extends TextOptions {
  /** Whose prompt goes before the texts; default: `text`, the folder's default prompt. */
  role?: TextRole | undefined;
  /** Whether a text that is too long is cut, as `encode` does (the default), or refused. */
  truncate?: boolean | undefined;
  /** Ends the work on a request that nobody waits for any more. */
  signal?: CancelSignal | undefined;
}

/** What is made of the texts of one request. */
export interface ComputeOptions {
  /** What is computed; default: all. */
  representations?: ReadonlySet<Representation> | undefined;
  /** What is aborted is taken from the queue; what the device already computes is dropped when it comes. */
  signal?: CancelSignal | undefined;
  /** So many texts at the front are computed first; the others longest first. Default 0. */
  first?: number | undefined;
}

/** What was computed of one text; what nobody asked for is empty. */
export interface TextValues {
  /** Place in the request. */
  readonly text: number;
  /** [width]. */
  readonly dense: Float32Array;
  /** Largest weight of each token id, special ids and weights of 0 left out. */
  readonly lexical: ReadonlyMap<number, number>;
  /** [(tokens − 1) · colbertWidth]. */
  readonly colbert: Float32Array;
}

/** The queue has no room for a request now. */
export class QueueFullError extends MachineError {
  override name = 'QueueFullError';
  /** `retryAfter`: in seconds. */
  constructor(
    message: string,
    /** Seconds after which there may be some, by the speed until now. */
    readonly retryAfter: number,
  ) {
    super(message);
  }
}

/** Tokens of a refused text that are counted: a text of megabytes would keep others waiting. */
const COUNTED = 1 << 16;

export const countedTokens = (tokens: number): string =>
  tokens < COUNTED ? `${tokens} tokens` : `${tokens} tokens or more`;

/** A text has more tokens than it may. */
export class TextTooLongError extends InputError {
  override name = 'TextTooLongError';
  /** `text`: its place in the request, from 0. */
  constructor(
    /** Its place in the request, from 0. */
    readonly text: number,
    /** Tokens that it may have, special ones included. */
    readonly maxLength: number,
    /** Tokens that it has, or 65536 where it has more. */
    readonly tokens: number,
  ) {
    super(`text ${text}: ${countedTokens(tokens)}, at most ${maxLength}`);
  }
}

/**
 * A processor computes as many tokens a second in small batches as in large ones, and while it computes a batch of a model
 * of real size nothing else of this process has a turn.
 */
const SOFTWARE_BATCH_TOKENS = 1024;

/** Texts that are tokenized before anybody else has a turn, where no thread does it. */
const PIECE = 32;
const NO_FLOATS = new Float32Array();
const NO_WEIGHTS: ReadonlyMap<number, number> = new Map();
/** Of the time that batches take, how much the last one counts. */
const SMOOTHING = 0.2;

/** A request until it is answered. */
interface Job {
  readonly ids: readonly Uint32Array[];
  readonly wanted: Wanted;
  readonly arrived: number;
  /** Texts whose values have not been given back. */
  left: number;
  ended: boolean;
  give(values: readonly TextValues[]): Promise<void> | void;
  resolve(): void;
  reject(error: unknown): void;
}

/** What waits of a request. */
interface Waiting extends WaitingRequest {
  readonly job: Job;
  /** Places of the texts in the request, in the order in which they are computed. */
  readonly order: readonly number[];
  next: number;
  tokens: number;
}

/** A text of a batch. */
interface BatchText {
  readonly job: Job;
  readonly kind: string;
  readonly text: number;
}

/** Encodes the texts of many requests in shared batches. It owns neither the model nor the tokenizer. */
export class EmbeddingBatcher {
  /** Tokens in one batch. */
  readonly batchTokens: number;
  /** Tokens of all requests that may be at hand. */
  readonly queueTokens: number;
  /** They tokenize ahead of the device. */
  readonly threads: TokenizerThreads;
  private readonly wait: number;
  /** In the order of arrival. */
  private readonly waiting: Waiting[] = [];
  private reserved = 0;
  private readonly running = new Set<Promise<void>>();
  private turn = 0;
  private timer: NodeJS.Timeout | undefined;
  private closed: Error | undefined;
  private tokensPerSecond = 0;
  private lastDone = 0;

  /** @throws InputError for settings that are none. */
  constructor(
    /** What texts are encoded with; whoever made it frees it. */
    readonly model: M3Model,
    tokenizer: Tokenizer | TokenizerThreads,
    private readonly options: BatcherOptions = {},
  ) {
    const { queueTokens = 32 * (options.batchTokens ?? BATCH_TOKENS), wait = 2 } = options;
    const usual = model.gpu.capabilities.software ? SOFTWARE_BATCH_TOKENS : BATCH_TOKENS;
    const { batchTokens = Math.min(usual, queueTokens) } = options;
    for (const [name, value, least] of [
      ['batchTokens', batchTokens, 1],
      ['queueTokens', queueTokens, 1],
      ['wait', wait, 0],
    ] as const)
      if (!(value >= least) || value === Number.POSITIVE_INFINITY)
        throw new InputError(`${name}: expected a number of at least ${least}, found ${String(value)}`);
    this.batchTokens = batchTokens;
    this.queueTokens = queueTokens;
    this.wait = wait;
    this.threads =
      tokenizer instanceof TokenizerThreads ? tokenizer : new TokenizerThreads(tokenizer, { threads: 0 });
  }

  /** Tokens of all requests at hand, those included whose answers are on their way. */
  get tokensAtHand(): number {
    return this.reserved;
  }

  /** Requests some of whose texts wait. */
  get requestsWaiting(): number {
    return this.waiting.length;
  }

  /**
   * The embeddings of `texts`, all representations, in their order: `encodeTexts` for one request among others.
   * @throws as `tokenize`, `reserve` and `compute`.
   */
  async encode(
    texts: readonly string[],
    options: ReadOptions & Pick<ComputeOptions, 'signal'> = {},
  ): Promise<M3Embedding[]> {
    const ids = await this.tokenize(texts, options);
    const release = this.reserve(ids);
    try {
      const embeddings = new Array<M3Embedding>(ids.length);
      await this.compute(ids, options, (values) => {
        for (const { text, dense, lexical, colbert } of values)
          embeddings[text] = { ids: ids[text]!, dense, lexical, colbert };
      });
      return embeddings;
    } finally {
      release();
    }
  }

  /**
   * The ids of texts, a few at a time, so that other requests go on meanwhile.
   * @throws InputError as `encodeStream`, TextTooLongError for a text that may not be cut.
   */
  async tokenize(texts: readonly string[], options: ReadOptions = {}): Promise<Uint32Array[]> {
    const { role = 'text', truncate = true, signal } = options;
    const { put, maxLength, lowerCase } = textReading(this.model, this.threads.tokenizer, role, options);
    const ids: Uint32Array[] = [];
    for (let start = 0; start < texts.length; start += PIECE) {
      signal?.throwIfAborted();
      const piece = texts.slice(start, start + PIECE).map(put);
      const found = await this.threads.encode(piece, truncate ? maxLength : maxLength + 1, lowerCase);
      for (const each of found) {
        if (each.length > maxLength) {
          const most = Math.max(COUNTED, maxLength + 1);
          const [whole] = await this.threads.encode([piece[ids.length - start]!], most, lowerCase);
          throw new TextTooLongError(ids.length, maxLength, whole!.length);
        }
        ids.push(each);
      }
      if (start + PIECE < texts.length) await new Promise((resolve) => setImmediate(resolve));
    }
    return ids;
  }

  /**
   * Makes room for a request until what is returned is called, once its answer has gone: so what waits, what is computed
   * and what is being sent are bounded together.
   * @throws QueueFullError when there is none now; InputError for a request that no queue has room for.
   */
  reserve(ids: readonly Uint32Array[]): () => void {
    const tokens = ids.reduce((sum, each) => sum + each.length, 0);
    if (tokens > this.queueTokens)
      throw new InputError(`${tokens} tokens in one request, of ${this.queueTokens} at most`);
    if (this.reserved + tokens > this.queueTokens) throw this.full();
    this.reserved += tokens;
    let held = true;
    return () => {
      if (held) this.reserved -= tokens;
      held = false;
    };
  }

  /** What `reserve` throws for so many texts, before they are tokenized: each has a token at least. */
  requireRoom(texts: number): void {
    if (this.reserved + texts > this.queueTokens) throw this.full();
  }

  private full(): QueueFullError {
    const seconds = this.tokensPerSecond > 0 ? this.reserved / this.tokensPerSecond : 1;
    return new QueueFullError(
      `the queue is full: ${this.reserved} of ${this.queueTokens} tokens are at hand`,
      Math.min(600, Math.max(1, Math.ceil(seconds / 2))),
    );
  }

  /**
   * Computes texts that are tokenized already; `give` is told of them a batch at a time, in any order, and waited for.
   * @throws InputError for an id that the model has no row for; MachineError for values that are not finite, or of the
   * device; what `signal` was aborted with.
   */
  compute(
    ids: readonly Uint32Array[],
    options: ComputeOptions,
    give: (values: readonly TextValues[]) => Promise<void> | void,
  ): Promise<void> {
    const { signal, first = 0, representations = new Set(all) } = options;
    return new Promise<void>((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.closed) throw this.closed;
      const wanted = wantedOf(this.model, this.threads.tokenizer, {
        representations,
        truncateDim: this.options.truncateDim,
      });
      if (ids.length === 0) return resolve();
      const rank = (text: number) => (text < first ? 0 : 1);
      const order = ids
        .map((_, text) => text)
        .sort((a, b) => rank(a) - rank(b) || ids[b]!.length - ids[a]!.length || a - b);
      const settled = () => {
        job.ended = true;
        signal?.removeEventListener('abort', abort);
        this.drop((waiting) => waiting.job === job);
      };
      const job: Job = {
        ...{ ids, wanted, give, left: ids.length, ended: false, arrived: performance.now() },
        resolve: () => {
          settled();
          resolve();
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      };
      const abort = () => job.reject(signal!.reason);
      signal?.addEventListener('abort', abort);
      const kind = all.filter((name) => representations.has(name)).join();
      this.waiting.push(waitingOf(job, order, kind, false));
      this.pump();
    });
  }

  /** Refuses what waits and what comes; resolves when the device is idle. */
  async close(reason: Error = new MachineError('the batcher was closed')): Promise<void> {
    this.closed ??= reason;
    clearTimeout(this.timer);
    for (const { job } of [...this.waiting]) job.reject(reason);
    await Promise.allSettled(this.running);
  }

  private drop(which: (waiting: Waiting) => boolean): void {
    for (let i = this.waiting.length - 1; i >= 0; i--) if (which(this.waiting[i]!)) this.waiting.splice(i, 1);
  }

  /** Starts what can be started. */
  private pump(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    while (this.running.size < IN_FLIGHT && this.waiting.length > 0) {
      const tokens = this.waiting.reduce((sum, request) => sum + request.tokens, 0);
      const waited = performance.now() - this.waiting[0]!.job.arrived;
      if (tokens < this.batchTokens && waited < this.wait) {
        this.timer = setTimeout(() => this.pump(), this.wait - waited);
        return;
      }
      const order = this.turn++ % 2 === 0 ? 'oldest' : 'shortest';
      const shares = nextBatch(this.waiting, this.batchTokens, order);
      for (const { request, texts } of shares) {
        for (let i = 0; i < texts; i++) request.tokens -= request.lengths[request.next + i]!;
        request.next += texts;
      }
      const batch = shares.flatMap(({ request, texts }) =>
        request.order
          .slice(request.next - texts, request.next)
          .map((text): BatchText => ({ job: request.job, kind: request.kind, text })),
      );
      this.drop(({ next, order }) => next === order.length);
      const run: Promise<void> = this.run(batch).finally(() => {
        this.running.delete(run);
        this.pump();
      });
      this.running.add(run);
    }
  }

  /** Computes a batch and gives its values back. Never rejects: a failure is told to the requests. */
  private async run(batch: readonly BatchText[]): Promise<void> {
    const started = performance.now();
    const ids = batch.map(({ job, text }) => job.ids[text]!);
    const { wanted } = batch[0]!.job;
    const values = new WindowValues({ first: 0, ids, last: true }, wanted);
    try {
      for (const members of packed(ids, this.batchTokens)) {
        const texts = members.map((i) => ids[i]!);
        const read = await startBatch(this.model, texts, wanted)();
        values.put(
          members,
          read,
          this.model.store.precision,
          (i) => `text ${batch[i]!.text} of the request (counted from 0)`,
        );
      }
    } catch (error) {
      this.failed(batch, error);
      return;
    }
    const { dense, denseWidth, sparse, colbert } = values.done();
    const tokens = ids.reduce((sum, each) => sum + each.length, 0);
    const jobs = new Set(batch.map(({ job }) => job));
    this.measure(tokens, started);
    this.options.onBatch?.({
      ...{ requests: jobs.size, texts: batch.length, tokens },
      seconds: (performance.now() - started) / 1000,
      waited: (started - Math.min(...Array.from(jobs, ({ arrived }) => arrived))) / 1000,
    });
    for (const job of jobs) {
      if (job.ended) continue;
      const given = batch.flatMap((of, i): TextValues[] =>
        of.job === job
          ? [
              {
                text: of.text,
                dense: dense?.slice(i * denseWidth, (i + 1) * denseWidth) ?? NO_FLOATS,
                lexical: sparse?.[i] ?? NO_WEIGHTS,
                // A copy: else one text would hold the memory of all.
                colbert: colbert?.[i]?.slice() ?? NO_FLOATS,
              },
            ]
          : [],
      );
      // The device goes on with the next batch meanwhile.
      void giveBack(job, given);
    }
  }

  /** Of requests that shared a batch each is tried by itself, so that none fails for what another asked. */
  private failed(batch: readonly BatchText[], error: unknown): void {
    const jobs = new Set(batch.map(({ job }) => job));
    const final = jobs.size === 1 || this.model.gpu.lost !== undefined || this.closed !== undefined;
    for (const job of jobs) {
      if (job.ended) continue;
      if (final) job.reject(error);
      else {
        const own = batch.filter((of) => of.job === job);
        const order = own.map(({ text }) => text);
        const at = this.waiting.findIndex((waiting) => waiting.job.arrived > job.arrived);
        const again = waitingOf(job, order, own[0]!.kind, true);
        this.waiting.splice(at < 0 ? this.waiting.length : at, 0, again);
      }
    }
  }

  private measure(tokens: number, started: number): void {
    const now = performance.now();
    const speed = (1000 * tokens) / Math.max(1, now - Math.max(this.lastDone, started));
    this.tokensPerSecond =
      this.tokensPerSecond === 0 ? speed : (1 - SMOOTHING) * this.tokensPerSecond + SMOOTHING * speed;
    this.lastDone = now;
  }
}

function waitingOf(job: Job, order: readonly number[], kind: string, alone: boolean): Waiting {
  const lengths = order.map((text) => job.ids[text]!.length);
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  return { job, order, kind, alone, lengths, tokens, next: 0 };
}

async function giveBack(job: Job, values: readonly TextValues[]): Promise<void> {
  try {
    await job.give(values);
    if (job.ended) return;
    job.left -= values.length;
    if (job.left === 0) job.resolve();
  } catch (error) {
    if (!job.ended) job.reject(error);
  }
}
