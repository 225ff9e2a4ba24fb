/**
 * Scores of pairs by a cross-encoder: pairs are read in windows, tokenized while the window before is computed, put in
 * batches by length, and their scores given back in the order of the pairs. What a pair is made of is FlagEmbedding's
 * (docs/spec/flagembedding-m3.md §7.2): the query cut to its own length, then the passage to what is left.
 */
import { Column } from '../../data/column.js';
import { InputError, ShapeError } from '../../errors.js';
import type { CrossEncoder } from '../../models/cross-encoder.js';
import { TokenBatch } from '../../models/token-batch.js';
import type { Communicator } from '../../ranks/communicator.js';
import { noGrad, scope } from '../../tensor/scope.js';
import { TokenizerThreads } from '../../tokenizer/threads.js';
import { requireText, type Tokenizer } from '../../tokenizer/tokenizer.js';
import { BATCH_TOKENS } from '../encode/stream.js';
import { packed, sharedInTurns } from '../encode/windows.js';
import { notFinite } from '../not-finite.js';

/** Settings of `rerankPairs`. */
export interface RerankOptions {
  /** Most tokens of a pair, special ones included; never more than the model has positions. Default 512. */
  readonly maxLength?: number;
  /** Most tokens of a query, without special ones; default: three quarters of `maxLength`. */
  readonly queryMaxLength?: number | undefined;
  /** Scores between 0 and 1: 1/(1 + exp(−logit)). Default false: logits. */
  readonly normalize?: boolean;
  /** Tokens in one packed batch. A longer pair is a batch of its own. */
  readonly batchTokens?: number;
  /** Pairs in one packed batch; default: as many as have `batchTokens`. */
  readonly batchPairs?: number;
  /** Ranks that compute batches in turn; all of them are given all scores, the same bits as of one. */
  readonly communicator?: Communicator | undefined;
  /** Pairs that are scored so far, on all ranks, and the tokens of those that this one has scored. */
  readonly onScored?: (pairs: number, tokens: number) => void;
}

/** What a pair is cut to. */
export interface PairLengths {
  readonly maxLength: number;
  readonly queryMaxLength: number;
  /** That the query was to be longer, and would leave the passage no token. */
  readonly queryLowered: boolean;
}

/** Pairs that are put in order of their lengths together, at most, and UTF-16 units that end a window. */
const WINDOW_PAIRS = 4096;
const WINDOW_UNITS = 1 << 23;
/** Batches that the GPU has been given and nobody has waited for. */
const IN_FLIGHT = 2;

/** @throws InputError when a pair of such lengths has no room for a token of each text. */
export function pairLengths(
  model: CrossEncoder,
  tokenizer: Tokenizer,
  { maxLength = 512, queryMaxLength }: Pick<RerankOptions, 'maxLength' | 'queryMaxLength'>,
): PairLengths {
  const whole = Math.min(maxLength, model.config.maxTokens);
  const most = whole - tokenizer.pairSpecials - 1;
  if (!(most >= 1))
    throw new InputError(
      `pairs of at most ${whole} tokens: expected at least ${tokenizer.pairSpecials + 2}, for the special tokens and one of each text`,
    );
  const query = queryMaxLength ?? Math.floor((maxLength * 3) / 4);
  return { maxLength: whole, queryMaxLength: Math.min(query, most), queryLowered: query > most };
}

/**
 * The scores of the pairs (query, passage), [pairs]. `tokenizer`: itself, or threads of it, which tokenize ahead.
 * @throws InputError for what is no text and for lengths without room; MachineError for a score that is not finite.
 */
export async function rerankPairs(
  model: CrossEncoder,
  tokenizer: Tokenizer | TokenizerThreads,
  pairs: Iterable<readonly [query: string, passage: string]>,
  options: RerankOptions = {},
): Promise<Float32Array> {
  const { batchTokens = BATCH_TOKENS, batchPairs, normalize = false, communicator, onScored } = options;
  if (!(batchTokens >= 1) || (batchPairs !== undefined && !(batchPairs >= 1)))
    throw new ShapeError('rerankPairs', `batches of ${batchTokens} tokens and ${batchPairs} pairs`);
  const threads =
    tokenizer instanceof TokenizerThreads ? tokenizer : new TokenizerThreads(tokenizer, { threads: 0 });
  threads.tokenizer.requireRows(model.config.vocabSize);
  const lengths = pairLengths(model, threads.tokenizer, options);
  const { rank, size } = communicator ?? { rank: 0, size: 1 };
  const source = pairs[Symbol.iterator]();
  const scores = new Column(Float32Array);

  /** Ids of the next window's pairs, and types behind them where there are any: this rank's share of them. */
  const take = async (): Promise<{ count: number; own: Uint32Array[] }> => {
    const [queries, passages]: [string[], string[]] = [[], []];
    let count = 0;
    for (let units = 0; count < WINDOW_PAIRS && units < WINDOW_UNITS; count++) {
      const { done, value } = source.next();
      if (done) break;
      const [query, passage] = value;
      for (const text of [query, passage]) {
        requireText(text);
        units += text.length;
      }
      if (count % size !== rank) continue;
      queries.push(query);
      passages.push(passage);
    }
    const { specials } = threads.tokenizer;
    const [first, second] = await Promise.all([
      threads.encode(queries, lengths.queryMaxLength + specials),
      threads.encode(passages, lengths.maxLength + specials),
    ]);
    const own = first.map((query, i) => {
      const { ids, types } = threads.tokenizer.encodePair(query, second[i]!, lengths.maxLength);
      if (!types) return ids;
      const both = new Uint32Array(2 * ids.length);
      both.set(ids);
      both.set(types, ids.length);
      return both;
    });
    return { count, own };
  };
  const typed = threads.tokenizer.givesTypes;
  const ahead = () => {
    const taken = take();
    // Where the window is not reached, nobody is told what is wrong with it.
    taken.catch(() => undefined);
    return taken;
  };

  const begun: (() => Promise<void>)[] = [];
  const finish = async (most: number) => {
    while (begun.length > most) await begun.shift()!();
  };
  let turn = 0;
  let scoredTokens = 0;
  let begin = 0;
  let next = ahead();
  for (let window = await next; window.count > 0; window = await next) {
    const rows = await sharedInTurns(window.own, window.count, communicator);
    next = ahead();
    const ids = typed ? rows.map((row) => row.subarray(0, row.length / 2)) : rows;
    scores.set(begin + window.count - 1, 0);
    const batches = packed(ids, batchTokens).flatMap((members) => split(members, batchPairs));
    let pairsBegun = begin;
    for (const members of batches) {
      pairsBegun += members.length;
      if (turn++ % size !== rank) continue;
      const batch = new TokenBatch(
        model.gpu,
        members.map((pair) => ids[pair]!),
        model.config,
        0,
        typed ? members.map((pair) => rows[pair]!.subarray(ids[pair]!.length)) : undefined,
      );
      const done = pairsBegun;
      const { tokens } = batch.packed;
      const first = begin;
      const read = scope(() => noGrad(() => model.scores(batch).beginRead()));
      batch.dispose();
      begun.push(async () => {
        const logits = (await read.wait()) as Float32Array;
        for (const [i, pair] of members.entries()) {
          const logit = logits[i]!;
          if (!Number.isFinite(logit))
            throw notFinite(`the score of pair ${first + pair + 1} is`, logit, model.precision);
          scores.set(first + pair, normalize ? 1 / (1 + Math.exp(-logit)) : logit);
        }
        scoredTokens += tokens;
        onScored?.(done, scoredTokens);
      });
      await finish(IN_FLIGHT);
    }
    begin += window.count;
  }
  await finish(0);
  const all = scores.toArray().slice();
  // A pair is one rank's: of the others it has 0 there.
  if (communicator && size > 1) await communicator.startSum(all).wait();
  return all;
}

function split(members: readonly number[], most = members.length): (readonly number[])[] {
  const parts: (readonly number[])[] = [];
  for (let start = 0; start < members.length; start += most) parts.push(members.slice(start, start + most));
  return parts;
}
