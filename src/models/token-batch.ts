/** Token ids of several texts, packed, with the index lists that the encoder needs. Dispose when done. */
import { InputError, ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { PackedSequences } from '../tensor/packed.js';
import { RowIndex } from '../tensor/row-index.js';
import type { EncoderConfig } from './config.js';

/** How a sequence's vector is made of its tokens'. */
export type Pooling = 'cls' | 'mean' | 'last_token';

/** Texts as token ids on the device, packed, with the positions that pooling takes. */
export class TokenBatch {
  /** Where each text begins and ends. */
  readonly packed: PackedSequences;
  /** [T], all texts. */
  readonly ids: Uint32Array;
  /** Rows of the word embeddings, [T]. */
  readonly words: RowIndex;
  /** Rows of the position embeddings, [T]. */
  readonly positions: RowIndex;
  /** Of the rows of the token type table; undefined: every token is of type 0. */
  readonly types: RowIndex | undefined;
  /** First and last token of each text. */
  readonly first: RowIndex;
  /** The last token of each text, [S]. */
  readonly last: RowIndex;
  /** [T], of `types`. */
  private readonly tokenTypes: Uint32Array | undefined;

  /**
   * `firstToken`: tokens of the whole batch before these, when these texts are a part of one; dropout then draws
   * what it would for the whole. `types`: of each text its tokens' types, where they are not all 0.
   * @throws InputError when a text has more tokens than the model has positions, or an id or a type beyond its tables.
   */
  constructor(
    private readonly gpu: Gpu,
    texts: readonly ArrayLike<number>[],
    private readonly config: EncoderConfig,
    /** Tokens of the whole batch before these. */
    readonly firstToken = 0,
    types?: readonly ArrayLike<number>[],
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
    this.tokenTypes = types && typesOf(types, texts, config);
    this.words = new RowIndex(gpu, this.ids);
    this.types = this.tokenTypes && new RowIndex(gpu, this.tokenTypes);
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
    const ofTexts = (values: Uint32Array) =>
      Array.from({ length: to - from }, (_, i) => values.subarray(bounds[from + i]!, bounds[from + i + 1]!));
    return new TokenBatch(
      this.gpu,
      ofTexts(this.ids),
      this.config,
      this.firstToken + bounds[from]!,
      this.tokenTypes && ofTexts(this.tokenTypes),
    );
  }

  /** Frees what is on the device. */
  dispose(): void {
    this.packed.dispose();
    for (const index of [this.words, this.positions, this.first, this.last]) index.dispose();
    this.types?.dispose();
  }
}

/** The types of all texts, packed as their ids are. */
function typesOf(
  types: readonly ArrayLike<number>[],
  texts: readonly ArrayLike<number>[],
  { typeVocabSize }: EncoderConfig,
): Uint32Array {
  if (types.length !== texts.length || types.some((each, i) => each.length !== texts[i]!.length))
    throw new ShapeError('TokenBatch', 'as many types as tokens are needed, text by text');
  const packed = Uint32Array.from(types.flatMap((each) => Array.from(each)));
  const stray = packed.find((type) => type >= typeVocabSize);
  if (stray !== undefined)
    throw new InputError(`token type ${stray} is none of the model's ${typeVocabSize} (type_vocab_size)`);
  return packed;
}
