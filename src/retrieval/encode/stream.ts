/**
 * Texts of any number to dense vectors, lexical weights and ColBERT vectors (docs/spec/flagembedding-m3.md §6), in the
 * order of the input: windows of them are tokenized ahead, packed into batches by length, and given back whole.
 */
import { InputError, ShapeError } from '../../errors.js';
import type { M3Model } from '../../models/m3.js';
import type { Communicator } from '../../ranks/communicator.js';
import { show } from '../../show.js';
import { TokenizerThreads } from '../../tokenizer/threads.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { type TextOptions, type TextRole, textReading } from '../texts.js';
import { representations as all, type EncodedTexts, type Representation } from './encoded.js';
import { startBatch, type Wanted, WindowValues } from './values.js';
import { packed, type Window, Windows } from './windows.js';

/** Settings of `encodeStream`. */
export interface EncodeStreamOptions extends TextOptions {
  /** Whose prompt goes before the texts; default: `text`, the folder's default prompt. */
  role?: TextRole | undefined;
  /** What is computed; default: all. */
  representations?: ReadonlySet<Representation> | undefined;
  /** Tokens in one packed batch. A longer text is a batch of its own. */
  batchTokens?: number | undefined;
  /** Dense and ColBERT vectors are cut to so many values before they are normalised. */
  truncateDim?: number | undefined;
  /**
   * Ranks that compute batches in turn; all of them are given all results, the same bits as of one. Each gives the same
   * texts, which are pulled at the same places of all ranks' work.
   */
  communicator?: Communicator | undefined;
  /** Place of the first text that `texts` gives, where an earlier run got so far (`resumable`). Default 0. */
  start?: number | undefined;
  /** Hears of each batch that has been computed, by whichever rank, before its texts are given back. */
  onBatch?:
    | ((batch: {
        /** How many the batch had. */
        readonly texts: number;
        /** Of all of them, special ones included. */
        readonly tokens: number;
      }) => void)
    | undefined;
}

export const BATCH_TOKENS = 8192;
/** Batches that the GPU has been given and nobody has waited for. */
export const IN_FLIGHT = 2;
/** Bytes of a window's ColBERT vectors. */
const MOST_COLBERT = 128 << 20;
/** Tokens of any window. */
const MOST_TOKENS = 1 << 22;

/**
 * The embeddings of `texts`, a window after the other, in input order. What is not told is as the model's folder says.
 * `tokenizer`: itself, or threads of it, which tokenize ahead of the GPU; the embeddings are the same.
 * @throws InputError for what is no text, prompts and lengths that the model has no room for, an unknown
 * representation, and one whose head the model's folder lacks and nobody trained; ShapeError for sizes that are none; MachineError for values that are not finite.
 */
export async function* encodeStream(
  model: M3Model,
  tokenizer: Tokenizer | TokenizerThreads,
  texts: Iterable<string> | AsyncIterable<string>,
  options: EncodeStreamOptions = {},
): AsyncGenerator<EncodedTexts, void, undefined> {
  const { role = 'text', batchTokens = BATCH_TOKENS, communicator, start = 0 } = options;
  if (!(batchTokens >= 1)) throw new ShapeError('encode', `batches of ${batchTokens} tokens`);
  if (!Number.isSafeInteger(start) || start < 0)
    throw new ShapeError('encode', `texts from place ${start} on`);
  const threads =
    tokenizer instanceof TokenizerThreads ? tokenizer : new TokenizerThreads(tokenizer, { threads: 0 });
  const wanted = wantedOf(model, threads.tokenizer, options);
  const mostTokens =
    wanted.colbertWidth > 0 ? Math.min(MOST_TOKENS, MOST_COLBERT / 4 / wanted.colbertWidth) : MOST_TOKENS;
  const reading = textReading(model, threads.tokenizer, role, options);
  const windows = new Windows(texts, { threads, reading, communicator, start, mostTokens });
  const ranks = communicator ?? { rank: 0, size: 1 };

  /** What the GPUs work on, and what is to be done with it, in the same order on all ranks. */
  const begun: (() => Promise<EncodedTexts | undefined>)[] = [];
  const finished = async function* (most: number) {
    while (begun.length > most) {
      const encoded = await begun.shift()!();
      if (encoded) yield encoded;
    }
  };
  let turn = 0;
  const begin = function* (window: Window) {
    const batches = packed(window.ids, batchTokens);
    const owners = batches.map(() => turn++ % ranks.size);
    const values = new WindowValues(window, wanted);
    for (const [b, members] of batches.entries()) {
      const read =
        owners[b] === ranks.rank
          ? startBatch(
              model,
              members.map((text) => window.ids[text]!),
              wanted,
            )
          : undefined;
      windows.work();
      yield async () => {
        if (read) values.put(members, await read(), model.store.precision);
        options.onBatch?.({
          texts: members.length,
          tokens: members.reduce((sum, text) => sum + window.ids[text]!.length, 0),
        });
        return undefined;
      };
    }
    yield async () => {
      if (communicator && communicator.size > 1) await values.share(batches, owners, communicator);
      return values.done();
    };
  };

  try {
    for (;;) {
      let parts: Window[];
      try {
        parts = await windows.next();
      } catch (error) {
        // What came before is given back; of several ranks the others would not know why they are asked.
        if (ranks.size === 1) yield* finished(0);
        throw error;
      }
      if (parts.length === 0) break;
      for (const window of parts)
        for (const finish of begin(window)) {
          begun.push(finish);
          yield* finished(IN_FLIGHT * ranks.size);
        }
    }
    yield* finished(0);
  } finally {
    windows.close();
  }
}

const HEAD_OF = [
  ['sparse', 'sparse_linear'],
  ['colbert', 'colbert_linear'],
] as const;

/** What `options` ask of each batch. @throws InputError as `encodeStream`. */
export function wantedOf(
  model: M3Model,
  tokenizer: Tokenizer,
  options: Pick<EncodeStreamOptions, 'representations' | 'truncateDim'>,
): Wanted {
  const { representations = new Set(all), truncateDim } = options;
  for (const name of representations)
    if (!all.includes(name))
      throw new InputError(`representations: expected some of ${all.join(', ')}, found ${show(name)}`);
  if (representations.size === 0)
    throw new InputError(`representations: expected some of ${all.join(', ')}, found none`);
  for (const [name, head] of HEAD_OF)
    if (representations.has(name))
      model.requireHead(head, "representations: new Set(['dense']) of encodeStream does without, and ");
  const widths = {
    dense: representations.has('dense') ? model.config.hiddenSize : 0,
    colbert: representations.has('colbert') ? model.colbertWidth : 0,
  };
  const most = Math.max(widths.dense, widths.colbert);
  if (
    truncateDim !== undefined &&
    !(Number.isInteger(truncateDim) && truncateDim >= 1 && truncateDim <= most)
  )
    throw new InputError(
      most === 0
        ? `truncateDim: expected none without dense or ColBERT vectors, found ${show(truncateDim)}`
        : `truncateDim: expected an integer from 1 to ${most}, the width of the vectors, found ${show(truncateDim)}`,
    );
  const { clsId, sepId, padId, unkId } = tokenizer;
  return {
    representations,
    denseWidth: Math.min(widths.dense, truncateDim ?? widths.dense),
    colbertWidth: Math.min(widths.colbert, truncateDim ?? widths.colbert),
    specialIds: new Set([clsId, sepId, padId, unkId]),
  };
}
