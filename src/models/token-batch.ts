/** Token ids of several texts, packed, with the index lists that the encoder needs. Dispose when done. */
import { InputError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { PackedSequences } from '../tensor/packed.js';
import { RowIndex } from '../tensor/row-index.js';
import type { EncoderConfig } from './config.js';

export type Pooling = 'cls' | 'mean' | 'last_token';

export class TokenBatch {
  readonly packed: PackedSequences;
  /** [T], all texts. */
  readonly ids: Uint32Array;
  readonly words: RowIndex;
  readonly positions: RowIndex;
  /** First and last token of each text. */
  readonly first: RowIndex;
  readonly last: RowIndex;

  /**
   * `firstToken`: tokens of the whole batch before these, when these texts are a part of one; dropout then draws
   * what it would for the whole.
   * @throws InputError when a text has more tokens than the model has positions, or an id beyond its vocabulary.
   */
  constructor(
    private readonly gpu: Gpu,
    texts: readonly ArrayLike<number>[],
    private readonly config: EncoderConfig,
    readonly firstToken = 0,
  ) {
    for (const [i, text] of texts.entries()) {
      if (text.length > config.maxTokens)
        throw new InputError(
          `text ${i} has ${text.length} tokens, the model has positions for ${config.maxTokens}; lower --query_max_len or --passage_max_len`,
        );
    }
    this.packed = new PackedSequences(
      gpu,
      texts.map((text) => text.length),
    );
    const tokens = this.packed.tokens;
    this.ids = new Uint32Array(tokens);
    const positions = new Uint32Array(tokens);
    let at = 0;
    for (const text of texts) {
      let count = 0;
      for (let i = 0; i < text.length; i++, at++) {
        const id = text[i]!;
        if (!(Number.isInteger(id) && id >= 0 && id < config.vocabSize))
          throw new InputError(`token id ${id} is not in the model's vocabulary of ${config.vocabSize}`);
        this.ids[at] = id;
        if (config.family === 'bert') positions[at] = i;
        // RoBERTa counts what is not padding, from padId + 1; a literal <pad> keeps padId.
        else positions[at] = id === config.padId ? id : config.padId! + ++count;
      }
    }
    this.words = new RowIndex(gpu, this.ids);
    this.positions = new RowIndex(gpu, positions);
    this.first = new RowIndex(gpu, this.packed.bounds.slice(0, -1));
    this.last = new RowIndex(
      gpu,
      this.packed.bounds.slice(1).map((end) => end - 1),
    );
  }

  /** Texts [from, to) as a batch of their own that knows its place in this one. */
  part(from: number, to: number): TokenBatch {
    const { bounds } = this.packed;
    const texts = Array.from({ length: to - from }, (_, i) =>
      this.ids.subarray(bounds[from + i]!, bounds[from + i + 1]!),
    );
    return new TokenBatch(this.gpu, texts, this.config, this.firstToken + bounds[from]!);
  }

  dispose(): void {
    this.packed.dispose();
    for (const index of [this.words, this.positions, this.first, this.last]) index.dispose();
  }
}
