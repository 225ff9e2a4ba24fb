/**
 * Text to token ids as transformers 4.57 gives them: `<s> text </s>`, cut on the side that the folder says. The folder
 * is read by settings.ts; the steps are here in their order: added tokens out of the raw text, normaliser, added tokens
 * out of the normalised text, words, the model, special ids around. Padding does not exist here (batches are packed).
 */
import path from 'node:path';
import { InputError } from '../errors.js';
import { asJsonObject, type JsonObject, parseJsonBytes, readJsonObjectIfPresent } from '../files/json.js';
import { kindOf } from '../files/kind.js';
import { progress } from '../progress.js';
import { printable, show } from '../show.js';
import { AddedTokenFinder } from './added-tokens.js';
import { type Decoder, decoderFrom } from './decoder.js';
import { encoderFolder, readTokenizerFiles } from './folder.js';
import { Ids } from './ids.js';
import { lowerCasedFirst, lowerCases, type Normalizer, normalizerFrom } from './normalizers.js';
import {
  bertPair,
  type EncodedPair,
  joinPair,
  type PairLayout,
  robertaPair,
  specialsOfPair,
  templatePair,
} from './pairs.js';
import { Part } from './part.js';
import { readSentencePiece, xlmRobertaTokenizerJson } from './sentencepiece.js';
import { type TokenizerSettings, tokenizerSettings } from './settings.js';
import { type Around, specialsAround } from './template.js';
import { TextCache } from './text-cache.js';
import { type Role, tokenizerClass } from './tokenizer-class.js';
import { bertTokenizerJson, readVocabulary } from './vocab-txt.js';
import { type WordSplitter, wordSplitterFrom } from './words.js';

/** How a Tokenizer is opened. */
export interface TokenizerOptions {
  /** What the cache of texts may hold, in characters plus ids, and 64 for each text; 0 keeps nothing. Default 2^24 (about 60 MB). */
  cacheSize?: number;
}

/** What a tokenizer is made from; nothing but data, so that it can go to another thread. */
export interface TokenizerSource {
  /** For messages. */
  readonly folder: string;
  /** By name, as they are in the folder. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Of config.json. */
  readonly modelConfig: JsonObject | undefined;
  /** See `Tokenizer.lowerCased`. */
  readonly lowerCase?: boolean;
}

/** A Hugging Face tokenizer: texts to token ids and back. `load` reads a model's folder. */
export class Tokenizer {
  /** Of the token before a text. */
  readonly clsId: number;
  /** Of the token behind a text. */
  readonly sepId: number;
  /** Of the token that fills batches; no text has it. */
  readonly padId: number;
  /** Of what the vocabulary does not have. */
  readonly unkId: number;
  /** Undefined when the tokenizer has none. */
  readonly maskId: number | undefined;
  /** The greatest id that any text may get, those of added tokens and of the template included. */
  readonly largestId: number;
  /** Tokens, special ones included; Infinity when the folder does not say. */
  readonly modelMaxLength: number;
  /** What differs from what people may expect of the folder, a line each. */
  readonly notices: readonly string[];

  private lower: Tokenizer | undefined;
  private pairs: PairLayout | undefined;
  private readonly cache: TextCache;
  private readonly around: Around;
  private readonly normalize: Normalizer;
  private readonly words: WordSplitter;
  private readonly rawTokens: AddedTokenFinder;
  private readonly normalizedTokens: AddedTokenFinder;
  private readonly decoder: Decoder;
  /** Whether a text may be cut at any SAFE_SPACE without changing its ids. */
  private readonly cutAtSpaces: boolean;

  private constructor(
    /** What it was made from: for another one in another thread. */
    readonly source: TokenizerSource,
    private readonly settings: TokenizerSettings,
    private readonly options: TokenizerOptions,
  ) {
    const { folder, lowerCase = false } = source;
    const { model, vocabulary, splitSpecialTokens } = settings;
    this.modelMaxLength = settings.modelMaxLength;
    this.around = specialsAround(settings.postProcessor);
    const normalize = normalizerFrom(settings.normalizer);
    this.normalize = lowerCase && !lowerCases(settings.normalizer) ? lowerCasedFirst(normalize) : normalize;
    this.words = wordSplitterFrom(settings.preTokenizer);
    this.decoder = decoderFrom(settings.decoder);
    const tokenNormalizer =
      settings.tokenNormalizer === settings.normalizer ? normalize : normalizerFrom(settings.tokenNormalizer);
    const patterns = vocabulary.patterns();
    try {
      this.rawTokens = new AddedTokenFinder(
        vocabulary,
        patterns.filter(({ token }) => !token.normalized),
        (text) => text,
        splitSpecialTokens,
      );
      this.normalizedTokens = new AddedTokenFinder(
        vocabulary,
        patterns.filter(({ token }) => token.normalized),
        tokenNormalizer,
        splitSpecialTokens,
      );
    } catch (error) {
      if (error instanceof RangeError)
        throw new InputError(`${printable(folder)}: tokenizer: ${error.message}`);
      throw error;
    }
    this.notices = [...settings.notices, ...this.rawTokens.clashes, ...this.normalizedTokens.clashes];
    this.cutAtSpaces =
      this.normalize.local === true &&
      this.words.atSpaces === true &&
      patterns.every(
        ({ token }) =>
          !token.rstrip &&
          !/\s/.test(token.content) &&
          !(token.normalized && /\s/.test(tokenNormalizer(token.content))),
      );

    const { prefix, suffix } = this.around;
    const id = (role: Role, ...others: string[]): number | undefined =>
      [settings.specialTokens.get(role), ...others]
        .map((token) => (token === undefined ? undefined : vocabulary.idOf(token)))
        .find((found) => found !== undefined);
    const required = (role: string, found: number | undefined): number => {
      if (found === undefined)
        throw new InputError(`${printable(folder)}: tokenizer: expected a ${role}, found none that it knows`);
      return found;
    };
    this.clsId = required('cls_token', id('cls_token', '<s>', '[CLS]') ?? prefix[0]);
    this.sepId = required('sep_token', id('sep_token', '</s>', '[SEP]') ?? suffix.at(-1));
    this.padId = required('pad_token', id('pad_token', '<pad>', '[PAD]'));
    this.unkId = required('unk_token', model.unknownId ?? id('unk_token', '<unk>', '[UNK]'));
    this.maskId = id('mask_token', '<mask>', '[MASK]');
    this.largestId = [...prefix, ...suffix, ...patterns.map((pattern) => pattern.id)].reduce(
      (largest, found) => Math.max(largest, found),
      model.largestId,
    );
    this.cache = new TextCache(options.cacheSize ?? 2 ** 24);
  }

  /** @throws InputError when a file is missing, broken, or says what is not done here. */
  static load(modelFolder: string, options: TokenizerOptions = {}): Tokenizer {
    const folder = encoderFolder(modelFolder);
    return Tokenizer.from(
      {
        folder,
        files: readTokenizerFiles(folder),
        modelConfig: readJsonObjectIfPresent(path.join(folder, 'config.json')),
      },
      options,
    );
  }

  /** The tokenizer of files that were read before. @throws InputError as `load` does. */
  static from(source: TokenizerSource, options: TokenizerOptions = {}): Tokenizer {
    return new Tokenizer(source, tokenizerSettings(folderSettings(source)), options);
  }

  /** Where it was read from. */
  get folder(): string {
    return this.source.folder;
  }

  /** The folder's tokenizer files as they were when it was loaded: for whoever writes them beside a model. */
  get files(): ReadonlyMap<string, Uint8Array> {
    return this.source.files;
  }

  /**
   * The same tokenizer for texts that are lower-cased before its own normaliser sees them: `do_lower_case` of
   * sentence-transformers, which leaves added tokens as they are and does nothing where the normaliser has a `Lowercase`.
   */
  lowerCased(): Tokenizer {
    this.lower ??= new Tokenizer({ ...this.source, lowerCase: true }, this.settings, this.options);
    return this.lower;
  }

  /** Greatest id plus one: the rows that an embedding table needs. */
  get vocabSize(): number {
    return this.largestId + 1;
  }

  /**
   * Compares the tokenizer with the model that is to embed its ids: a table with fewer rows would be found out in the
   * middle of a run, by the first text that holds the token. `rows`: of the table, config.json's `vocab_size`.
   * @throws InputError when some id has no row.
   */
  requireRows(rows: number): void {
    if (this.largestId < rows) return;
    const token =
      this.settings.vocabulary.get(this.largestId)?.content ?? this.settings.model.tokenOf(this.largestId);
    throw new InputError(
      `${printable(this.folder)}: expected the tokenizer's ids to be below the ${rows} rows of the model's word ` +
        `embeddings, found ${this.largestId}${token === undefined ? ' in its template' : ` for ${show(token)}`}`,
    );
  }

  /** The text's ids with the special tokens, at most `maxLength` of them. @throws InputError when those alone are more. */
  encode(text: string, maxLength?: number): Uint32Array {
    const { prefix, suffix } = this.around;
    const limit =
      maxLength === undefined ? Number.POSITIVE_INFINITY : maxLength - prefix.length - suffix.length;
    if (!(limit >= 0 && (limit === Number.POSITIVE_INFINITY || Number.isInteger(limit))))
      throw new InputError(
        `maximum length ${maxLength}: expected a whole number of at least ${prefix.length + suffix.length}, for the special tokens`,
      );
    const fromEnd = this.settings.truncationSide === 'left';
    const content = this.content(text, fromEnd ? Number.POSITIVE_INFINITY : limit);
    const length = Math.min(limit, content.length);
    const ids = new Uint32Array(prefix.length + length + suffix.length);
    ids.set(prefix);
    const first = fromEnd ? content.length - length : 0;
    ids.set(length === content.length ? content : content.subarray(first, first + length), prefix.length);
    ids.set(suffix, prefix.length + length);
    progress();
    return ids;
  }

  /** Special ids around a single text, which `encode` counts with it. */
  get specials(): number {
    return this.around.prefix.length + this.around.suffix.length;
  }

  /** Special ids of a pair. @throws InputError when the folder does not say how two texts are joined. */
  get pairSpecials(): number {
    return specialsOfPair(this.pairLayout());
  }

  /** Whether pairs have token types. */
  get givesTypes(): boolean {
    return this.settings.tokenTypes;
  }

  /**
   * Two texts as one, from what `encode` gave for each: the second is cut so that there are at most `maxLength` ids.
   * @throws InputError when the folder does not say how two texts are joined.
   */
  encodePair(first: Uint32Array, second: Uint32Array, maxLength: number): EncodedPair {
    return joinPair(this.pairLayout(), this.withoutSpecials(first), this.withoutSpecials(second), maxLength, {
      fromEnd: this.settings.truncationSide === 'left',
      typed: this.settings.tokenTypes,
    });
  }

  private pairLayout(): PairLayout {
    const { pairRule, postProcessor } = this.settings;
    this.pairs ??=
      pairRule === 'roberta'
        ? robertaPair(this.clsId, this.sepId)
        : pairRule === 'bert'
          ? bertPair(this.clsId, this.sepId)
          : templatePair(postProcessor, printable(this.folder));
    return this.pairs;
  }

  private withoutSpecials(ids: Uint32Array): Uint32Array {
    const { prefix, suffix } = this.around;
    return ids.subarray(prefix.length, ids.length - suffix.length);
  }

  /** `encode` of each text. @throws InputError as it does. */
  encodeBatch(texts: readonly string[], maxLength?: number): Uint32Array[] {
    return texts.map((text) => this.encode(text, maxLength));
  }

  /** How many ids `encode(text)` has, special tokens included. */
  countTokens(text: string): number {
    const { prefix, suffix } = this.around;
    return prefix.length + this.content(text, Number.POSITIVE_INFINITY).length + suffix.length;
  }

  /** The text of ids, without special tokens unless they are asked for; not always the text that they came from. */
  decode(ids: ArrayLike<number>, skipSpecialTokens = true): string {
    const { vocabulary, model } = this.settings;
    const tokens: string[] = [];
    for (const id of Array.from(ids)) {
      const token = vocabulary.get(id)?.content ?? model.tokenOf(id);
      if (token !== undefined && !(skipSpecialTokens && vocabulary.isSpecial(id))) tokens.push(token);
    }
    return this.decoder(tokens);
  }

  /** At least the first `limit` ids of the text without special tokens, or all. */
  private content(text: string, limit: number): Uint32Array {
    requireText(text);
    const known = this.cache.get(text);
    if (known !== undefined && (known.complete || known.ids.length >= limit)) return known.ids;
    const wellFormed = text.replace(/\p{Cs}/gu, '\ufffd');
    const ids = new Ids();
    let start = 0;
    while (start < text.length && ids.length < limit) {
      const end = this.cutAtSpaces ? blockEnd(wellFormed, start, limit) : text.length;
      this.encodeBlock(
        start === 0 && end === text.length ? wellFormed : wellFormed.slice(start, end),
        ids,
        limit,
      );
      start = end;
    }
    const entry = { ids: ids.toArray(), complete: start >= text.length && ids.length < limit };
    this.cache.set(text, entry);
    return entry.ids;
  }

  private encodeBlock(text: string, ids: Ids, limit: number): void {
    for (const section of this.rawTokens.split(text)) {
      if (typeof section === 'number') {
        ids.push(section);
        continue;
      }
      for (const part of this.normalizedTokens.split(this.normalize(section))) {
        if (typeof part === 'number') {
          ids.push(part);
          continue;
        }
        for (const word of this.words(part)) {
          this.settings.model.encode(word, ids, limit);
          if (ids.length >= limit) return;
        }
      }
    }
  }
}

/** For programs without types. @throws InputError: what is no text would be one by its name, `undefined`. */
export function requireText(text: unknown): asserts text is string {
  if (typeof text !== 'string') throw new InputError(`expected a text, found ${show(text)}`);
}

// ---------------------------------------------------------------- the folder

function folderSettings({ folder, files, modelConfig }: TokenizerSource) {
  const optional = (name: string): Part | undefined => {
    const bytes = files.get(name);
    const where = path.join(folder, name);
    return bytes && new Part(asJsonObject(parseJsonBytes(bytes, where), where), where);
  };
  const config =
    optional('tokenizer_config.json') ?? new Part({}, path.join(folder, 'tokenizer_config.json'));
  const modelFile = path.join(folder, 'config.json');
  const tokenizerJson = optional('tokenizer.json');
  const named = tokenizerClass(config, modelConfig && new Part(modelConfig, modelFile));
  const common = {
    tokenizerJson,
    config,
    specialTokensMap: optional('special_tokens_map.json'),
    addedTokens: optional('added_tokens.json'),
  };
  const convert =
    tokenizerJson === undefined || (config.has('tokenizer_file') && config.get('tokenizer_file') === null);
  if (tokenizerJson !== undefined && !convert)
    return { ...common, tokenizer: tokenizerJson, className: named ?? ('PreTrainedTokenizer' as const) };

  const converted = (name: string, make: (bytes: Uint8Array) => unknown) => {
    const where = path.join(folder, name);
    const kind = kindOf(files.get(name)!);
    if (kind) throw new InputError(`${printable(where)}: expected a vocabulary, found ${kind}`);
    try {
      return new Part(make(files.get(name)!) as JsonObject, where);
    } catch (error) {
      if (error instanceof RangeError) throw new InputError(`${printable(where)}: broken: ${error.message}`);
      throw error;
    }
  };
  if (files.has('sentencepiece.bpe.model') && (named ?? 'XLMRobertaTokenizer') === 'XLMRobertaTokenizer')
    return {
      ...common,
      tokenizer: converted('sentencepiece.bpe.model', (bytes) =>
        xlmRobertaTokenizerJson(readSentencePiece(bytes)),
      ),
      className: 'XLMRobertaTokenizer' as const,
    };
  if (files.has('vocab.txt') && (named ?? 'BertTokenizer') === 'BertTokenizer')
    return {
      ...common,
      tokenizer: converted('vocab.txt', (bytes) =>
        bertTokenizerJson(readVocabulary(bytes), config, common.specialTokensMap),
      ),
      className: 'BertTokenizer' as const,
    };
  throw new InputError(
    `${printable(path.join(folder, 'tokenizer.json'))}: no such file; a model folder needs its tokenizer.json, ` +
      'or sentencepiece.bpe.model for XLMRobertaTokenizer, or vocab.txt for BertTokenizer',
  );
}

// ---------------------------------------------------------------- long texts

/**
 * A space between two of these belongs to no added token, joins no cluster, survives every normalizer that is `local`
 * and begins a word, so the text may be tokenised in two halves: "…X" and " X…".
 */
const SAFE_SPACE = (() => {
  const letters =
    '0-9A-Za-z\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u02af\\u0391-\\u03a1\\u03a3-\\u03ce\\u0400-\\u0481' +
    '\\u048a-\\u04ff\\u05d0-\\u05ea\\u0620-\\u064a\\u3041-\\u3096\\u30a1-\\u30fa\\u4e00-\\u9fff\\uac00-\\ud7a3';
  return new RegExp(`[${letters}] [${letters}]`, 'g');
})();

/** Where the next block ends: far enough for `limit` ids in most texts, at a safe space, or at the text's end. */
function blockEnd(text: string, start: number, limit: number): number {
  const least = start + Math.min(Math.max(4096, 8 * limit), LARGEST_BLOCK);
  if (least >= text.length) return text.length;
  SAFE_SPACE.lastIndex = least;
  const match = SAFE_SPACE.exec(text);
  return match === null ? text.length : match.index + 1;
}

/** UTF-16 units, where the whole of a text is asked for: what one block needs in memory stays small. */
const LARGEST_BLOCK = 1 << 20;
