/** Texts to M3 embeddings: dense vectors, lexical weights and ColBERT vectors (docs/spec/flagembedding-m3.md §6). */
import { ShapeError } from '../errors.js';
import type { M3Model } from '../models/m3.js';
import { TokenBatch } from '../models/token-batch.js';
import { noGrad, scope } from '../tensor/scope.js';
import { TokenizerThreads } from '../tokenizer/threads.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { M3Embedding } from './embedding.js';
import { type TextOptions, type TextRole, textReading, withPrompt } from './texts.js';

export interface EncodeTextsOptions extends TextOptions {
  /** Whose prompt goes before the texts; default: `text`, the folder's default prompt. */
  role?: TextRole;
  /** Tokens in one packed batch. */
  batchTokens?: number;
}

/** Texts that are put in order of their lengths together, while the next ones are tokenized. */
const WINDOW = 8192;

/**
 * Embeddings in the order of `texts`; batches are packed by length. What is not told is as the model's folder says.
 * `tokenizer`: itself, or threads of it, which tokenize ahead of the GPU; the embeddings are the same.
 */
export async function encodeTexts(
  model: M3Model,
  tokenizer: Tokenizer | TokenizerThreads,
  texts: readonly string[],
  { role = 'text', batchTokens = 8192, ...told }: EncodeTextsOptions = {},
): Promise<M3Embedding[]> {
  if (!(batchTokens >= 1)) throw new ShapeError('encodeTexts', `batches of ${batchTokens} tokens`);
  const threads =
    tokenizer instanceof TokenizerThreads ? tokenizer : new TokenizerThreads(tokenizer, { threads: 0 });
  const { prompt, maxLength, lowerCase } = textReading(model, threads.tokenizer, role, told);
  const tokenized = (start: number) => {
    const ids = threads.encode(
      texts.slice(start, start + WINDOW).map((text) => withPrompt(prompt, text)),
      maxLength,
      lowerCase,
    );
    // Of a window that is not reached, it is not told.
    ids.catch(() => undefined);
    return ids;
  };
  const embeddings: M3Embedding[] = [];
  let next = tokenized(0);
  for (let start = 0; start < texts.length; start += WINDOW) {
    const ids = await next;
    if (start + WINDOW < texts.length) next = tokenized(start + WINDOW);
    embeddings.push(...(await embed(model, threads.tokenizer, ids, batchTokens)));
  }
  return embeddings;
}

async function embed(
  model: M3Model,
  tokenizer: Tokenizer,
  ids: readonly Uint32Array[],
  batchTokens: number,
): Promise<M3Embedding[]> {
  const order = ids.map((_, i) => i).sort((a, b) => ids[b]!.length - ids[a]!.length || a - b);
  const special = new Set([tokenizer.clsId, tokenizer.sepId, tokenizer.padId, tokenizer.unkId]);
  const result = new Array<M3Embedding>(ids.length);
  for (let start = 0; start < order.length; ) {
    let end = start;
    let tokens = 0;
    while (end < order.length && (end === start || tokens + ids[order[end]!]!.length <= batchTokens))
      tokens += ids[order[end++]!]!.length;
    const members = order.slice(start, end);
    start = end;
    const batch = new TokenBatch(
      model.gpu,
      members.map((i) => ids[i]!),
      model.config,
    );
    await scope(() =>
      noGrad(async () => {
        const hidden = model.hidden(batch);
        const dense = (await model.dense(hidden, batch).toArray()) as Float32Array;
        const weights = (await model.sparse(hidden).toArray()) as Float32Array;
        const vectors = model.colbert(hidden);
        const colbert = (await vectors.toArray()) as Float32Array;
        const { hiddenSize } = model.config;
        const width = vectors.cols;
        members.forEach((text, s) => {
          const [begin, stop] = [batch.packed.bounds[s]!, batch.packed.bounds[s + 1]!];
          const lexical = new Map<number, number>();
          for (let t = begin; t < stop; t++) {
            const id = batch.ids[t]!;
            const weight = weights[t]!;
            if (!special.has(id) && weight > 0 && weight > (lexical.get(id) ?? 0)) lexical.set(id, weight);
          }
          result[text] = {
            ids: ids[text]!,
            dense: dense.slice(s * hiddenSize, (s + 1) * hiddenSize),
            lexical,
            colbert: colbert.slice((begin + 1) * width, stop * width),
          };
        });
      }),
    ).finally(() => batch.dispose());
  }
  return result;
}
