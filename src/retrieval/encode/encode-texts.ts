/** Texts of a list to M3 embeddings: the simple way to `encodeStream`. */
import type { M3Model } from '../../models/m3.js';
import type { TokenizerThreads } from '../../tokenizer/threads.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import type { M3Embedding } from '../embedding.js';
import { type EncodeStreamOptions, encodeStream } from './stream.js';

/** Settings of `encodeTexts`. */
export type EncodeTextsOptions = Omit<EncodeStreamOptions, 'representations' | 'start'>;

/**
 * All representations, in the order of `texts`; batches are packed by length. What is not told is as the model's folder
 * says. `tokenizer`: itself, or threads of it, which tokenize ahead of the GPU; the embeddings are the same.
 * @throws as `encodeStream`.
 */
export async function encodeTexts(
  model: M3Model,
  tokenizer: Tokenizer | TokenizerThreads,
  texts: readonly string[],
  options: EncodeTextsOptions = {},
): Promise<M3Embedding[]> {
  const embeddings: M3Embedding[] = [];
  for await (const { ids, dense, denseWidth, sparse, colbert } of encodeStream(
    model,
    tokenizer,
    texts,
    options,
  ))
    for (const [i, textIds] of ids.entries())
      embeddings.push({
        ids: textIds,
        dense: dense!.slice(i * denseWidth, (i + 1) * denseWidth),
        lexical: sparse![i]!,
        colbert: colbert![i]!.slice(),
      });
  return embeddings;
}
