/**
 * Text to token ids as a Hugging Face fast tokenizer gives them: `<s> text </s>`, cut on the right.
 *
 * Unigram models (XLM-R, BGE-M3) run on our own steps, because @huggingface/tokenizers 0.2.0 ignores the charsmap
 * and does not split words at ▁; WordPiece and BPE models run in that package. The ids to equal are those of the
 * Rust `tokenizers`. Padding does not exist here (batches are packed), nor do pairs of texts.
 */
import path from 'node:path';
import { Tokenizer as PackageTokenizer } from '@huggingface/tokenizers';
import { InputError } from '../errors.js';
import { asJsonObject, parseJsonBytes } from '../files/json.js';
import { readTokenizerFiles } from './folder.js';
import { readSentencePiece, xlmRobertaTokenizerJson } from './sentencepiece.js';
import {
  type AddedToken,
  AddedTokens,
  type Component,
  normalizerFrom,
  specialsAround,
  UnsupportedComponent,
  usesCharsmap,
  wordSplitterFrom,
} from './steps.js';
import { Unigram } from './unigram.js';

export interface TokenizerOptions {
  /** What the cache of texts may hold, in characters plus ids; 0 keeps nothing. Default 2^24 (about 50 MB). */
  cacheSize?: number;
}

/** Others @huggingface/tokenizers would guess at. */
const MODEL_TYPES = ['Unigram', 'WordPiece', 'BPE'];

export class Tokenizer {
  readonly clsId: number;
  readonly sepId: number;
  readonly padId: number;
  readonly unkId: number;
  /** Undefined when the tokenizer has none. */
  readonly maskId: number | undefined;
  /** Greatest id plus one: the rows that an embedding table needs. */
  readonly vocabSize: number;
  /** Tokens, special ones included; Infinity when the folder does not say. */
  readonly modelMaxLength: number;

  private readonly cache: TextCache;
  private readonly prefix: readonly number[];
  private readonly suffix: readonly number[];

  private constructor(
    readonly folder: string,
    /** The folder's tokenizer files as they were when it was loaded: for whoever writes them beside a model. */
    readonly files: ReadonlyMap<string, Uint8Array>,
    private readonly pipeline: Pipeline,
    json: TokenizerJson,
    settings: Settings,
    options: TokenizerOptions,
  ) {
    const { prefix, suffix } = specialsAround(json.post_processor);
    this.prefix = prefix;
    this.suffix = suffix;
    const named = (role: string, names: string[], otherwise?: number): number | undefined => {
      const setting = [settings.config, settings.specialTokens].map((file) => file[role]).find(Boolean);
      const name = typeof setting === 'object' ? (setting as { content?: unknown }).content : setting;
      for (const candidate of typeof name === 'string' ? [name, ...names] : names) {
        const id = pipeline.idOf(candidate);
        if (id !== undefined) return id;
      }
      return otherwise;
    };
    const required = (role: string, id: number | undefined): number => {
      if (id === undefined) throw new InputError(`${folder}: the tokenizer has no ${role}`);
      return id;
    };
    this.clsId = required('cls_token', named('cls_token', ['<s>', '[CLS]'], prefix[0]));
    this.sepId = required('sep_token', named('sep_token', ['</s>', '[SEP]'], suffix.at(-1)));
    this.padId = required('pad_token', named('pad_token', ['<pad>', '[PAD]']));
    this.unkId = required('unk_token', pipeline.unknownId ?? named('unk_token', ['<unk>', '[UNK]']));
    this.maskId = named('mask_token', ['<mask>', '[MASK]']);
    this.vocabSize = pipeline.vocabSize;
    const longest = settings.config['model_max_length'];
    this.modelMaxLength = typeof longest === 'number' && longest < 1e9 ? longest : Number.POSITIVE_INFINITY;
    this.cache = new TextCache(options.cacheSize ?? 2 ** 24);
  }

  /**
   * Reads tokenizer.json (or, without one, sentencepiece.bpe.model in XLM-R's order of ids), tokenizer_config.json
   * and special_tokens_map.json. @throws InputError when missing, broken or of an unknown kind.
   */
  static load(folder: string, options: TokenizerOptions = {}): Tokenizer {
    const files = readTokenizerFiles(folder);
    const file = path.join(folder, 'tokenizer.json');
    const object = (name: string) => {
      const bytes = files.get(name);
      const where = path.join(folder, name);
      return bytes === undefined ? undefined : asJsonObject(parseJsonBytes(bytes, where), where);
    };
    let source = file;
    try {
      let json = object('tokenizer.json') as TokenizerJson | undefined;
      if (!json) {
        const sentencePiece = files.get('sentencepiece.bpe.model');
        if (!sentencePiece)
          throw new InputError(`${file}: no such file; a model folder needs its tokenizer.json`);
        source = path.join(folder, 'sentencepiece.bpe.model');
        json = xlmRobertaTokenizerJson(readSentencePiece(sentencePiece)) as TokenizerJson;
      }
      if (typeof json.model !== 'object' || json.model === null || json.model.vocab === undefined)
        throw new InputError(`${file}: expected a tokenizer with a "model", found none`);
      if (json.model.type !== undefined && !MODEL_TYPES.includes(json.model.type))
        throw new UnsupportedComponent(`model ${json.model.type}`);
      const pipeline =
        modelType(json.model) === 'Unigram' ? new UnigramPipeline(json) : new PackagePipeline(json);
      const settings = {
        config: object('tokenizer_config.json') ?? {},
        specialTokens: object('special_tokens_map.json') ?? {},
      };
      return new Tokenizer(folder, files, pipeline, json, settings, options);
    } catch (error) {
      if (error instanceof InputError) throw error;
      const { message } = error as Error;
      const problem =
        error instanceof UnsupportedComponent ? `${message} is not supported` : `broken: ${message}`;
      throw new InputError(`${source}: ${problem}`);
    }
  }

  /** The text's ids with the special tokens, at most `maxLength` of them. @throws InputError when those alone are more. */
  encode(text: string, maxLength?: number): Uint32Array {
    const { prefix, suffix } = this;
    const limit =
      maxLength === undefined ? Number.POSITIVE_INFINITY : maxLength - prefix.length - suffix.length;
    if (!(limit >= 0))
      throw new InputError(
        `maximum length ${maxLength}: expected at least ${prefix.length + suffix.length}, for the special tokens`,
      );
    const content = this.content(text, limit);
    const length = Math.min(limit, content.length);
    const ids = new Uint32Array(prefix.length + length + suffix.length);
    ids.set(prefix);
    ids.set(length === content.length ? content : content.subarray(0, length), prefix.length);
    ids.set(suffix, prefix.length + length);
    return ids;
  }

  encodeBatch(texts: readonly string[], maxLength?: number): Uint32Array[] {
    return texts.map((text) => this.encode(text, maxLength));
  }

  /** How many ids `encode(text)` has, special tokens included. */
  countTokens(text: string): number {
    return this.prefix.length + this.content(text, Number.POSITIVE_INFINITY).length + this.suffix.length;
  }

  decode(ids: ArrayLike<number>, skipSpecialTokens = true): string {
    return this.pipeline.decode(Array.from(ids), skipSpecialTokens);
  }

  /** At least the first `limit` ids of the text without special tokens, or all. */
  private content(text: string, limit: number): Uint32Array {
    const known = this.cache.get(text);
    if (known !== undefined && (known.complete || known.ids.length >= limit)) return known.ids;
    const wellFormed = text.replace(/\p{Cs}/gu, '\ufffd');
    const ids: number[] = [];
    let start = 0;
    while (start < text.length && ids.length < limit) {
      const end = this.pipeline.cutAtSpaces ? blockEnd(wellFormed, start, limit) : text.length;
      this.pipeline.encode(
        start === 0 && end === text.length ? wellFormed : wellFormed.slice(start, end),
        start === 0,
        ids,
      );
      start = end;
    }
    const entry = { ids: Uint32Array.from(ids), complete: start >= text.length };
    this.cache.set(text, entry);
    return entry.ids;
  }
}

// ---------------------------------------------------------------- long texts

/**
 * A space between two of these belongs to no added token, joins no cluster, survives every normalizer that
 * `cutAtSpaces` admits and begins a word, so the text may be tokenised in two halves: "…X" and " X…".
 */
const SAFE_SPACE = (() => {
  const letters =
    '0-9A-Za-z\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u02af\\u0391-\\u03a1\\u03a3-\\u03ce\\u0400-\\u0481' +
    '\\u048a-\\u04ff\\u05d0-\\u05ea\\u0620-\\u064a\\u3041-\\u3096\\u30a1-\\u30fa\\u4e00-\\u9fff\\uac00-\\ud7a3';
  return new RegExp(`[${letters}] [${letters}]`, 'g');
})();

/** Where the next block ends: far enough for `limit` ids in most texts, at a safe space, or at the text's end. */
function blockEnd(text: string, start: number, limit: number): number {
  const least = start + Math.max(4096, 8 * limit);
  if (least >= text.length) return text.length;
  SAFE_SPACE.lastIndex = least;
  const match = SAFE_SPACE.exec(text);
  return match === null ? text.length : match.index + 1;
}

// ---------------------------------------------------------------- pipelines

interface Pipeline {
  readonly vocabSize: number;
  readonly unknownId: number | undefined;
  /** Whether a text may be cut at any SAFE_SPACE without changing its ids. */
  readonly cutAtSpaces: boolean;
  /** Appends the ids of well-formed text; `atStart` is false for the second and later blocks of a text. */
  encode(text: string, atStart: boolean, ids: number[]): void;
  decode(ids: number[], skipSpecialTokens: boolean): string;
  idOf(token: string): number | undefined;
}

class UnigramPipeline implements Pipeline {
  readonly vocabSize: number;
  readonly unknownId: number;
  readonly cutAtSpaces: boolean;
  private readonly normalize: (text: string) => string;
  private readonly words: (section: string, atStart: boolean) => string[];
  private readonly rawTokens: AddedTokens;
  private readonly normalizedTokens: AddedTokens;
  private readonly unigram: Unigram;
  private readonly tokens: string[];
  private readonly ids: Map<string, number>;
  private readonly specialIds: Set<number>;
  private readonly decoderMark: string | null;

  constructor(json: TokenizerJson) {
    const { vocab, unk_id, byte_fallback } = json.model as unknown as {
      vocab: [string, number][];
      unk_id: number | null;
      byte_fallback?: boolean;
    };
    if (typeof unk_id !== 'number' || vocab[unk_id] === undefined)
      throw new RangeError('a unigram model needs an "unk_id" within its vocabulary');
    const added = (json.added_tokens ?? []).map((token) => ({
      ...token,
      normalized: token.normalized ?? !token.special,
    }));
    this.normalize = normalizerFrom(json.normalizer);
    this.words = wordSplitterFrom(json.pre_tokenizer);
    this.rawTokens = new AddedTokens(added.filter((token) => !token.normalized));
    this.normalizedTokens = new AddedTokens(
      added.filter((token) => token.normalized).map((t) => ({ ...t, content: this.normalize(t.content) })),
    );
    this.unigram = new Unigram(vocab, unk_id, byte_fallback ?? false);
    this.unknownId = unk_id;
    this.tokens = vocab.map(([token]) => token);
    for (const { id, content } of added) this.tokens[id] = content;
    this.ids = new Map(this.tokens.map((token, id) => [token, id]));
    this.specialIds = new Set(added.filter((token) => token.special).map((token) => token.id));
    this.vocabSize = this.tokens.length;
    this.decoderMark =
      json.decoder?.type === 'Metaspace'
        ? ((json.decoder['replacement'] as string | undefined) ?? '▁')
        : null;
    this.cutAtSpaces =
      spacesSurvive(json.normalizer) &&
      this.normalize('a b') === 'a b' &&
      wordsBeginAtSpaces(json.pre_tokenizer) &&
      added.every((token) => !token.normalized && !token.rstrip && !/\s/.test(token.content));
  }

  encode(text: string, atStart: boolean, ids: number[]): void {
    for (const { section, start } of this.rawTokens.split(text)) {
      if (typeof section === 'number') {
        ids.push(section);
        continue;
      }
      for (const part of this.normalizedTokens.split(this.normalize(section)))
        if (typeof part.section === 'number') ids.push(part.section);
        else
          for (const word of this.words(part.section, atStart && start === 0 && part.start === 0))
            this.unigram.encode(word, ids);
    }
  }

  decode(ids: number[], skipSpecialTokens: boolean): string {
    const tokens = ids
      .filter((id) => this.tokens[id] !== undefined && !(skipSpecialTokens && this.specialIds.has(id)))
      .map((id) => this.tokens[id]!);
    const mark = this.decoderMark;
    if (mark === null) return tokens.join(' ');
    return tokens.map((token, i) => token.replaceAll(mark, i === 0 ? '' : ' ')).join('');
  }

  idOf(token: string): number | undefined {
    return this.ids.get(token);
  }
}

/** Whether these normalizers work on one side of a SAFE_SPACE without looking at the other. */
function spacesSurvive(normalizer: Component | null): boolean {
  if (normalizer === null) return true;
  if (normalizer.type === 'Sequence') return (normalizer['normalizers'] as Component[]).every(spacesSurvive);
  if (normalizer.type === 'Replace') return (normalizer['pattern'] as { Regex?: string }).Regex === ' {2,}';
  return ['Precompiled', 'Strip', 'NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase'].includes(normalizer.type);
}

/** Whether a space always ends one word and begins the next, with or without the text before it. */
function wordsBeginAtSpaces(splitter: Component | null): boolean {
  if (splitter?.type === 'Metaspace')
    return (
      splitter['split'] !== false &&
      (splitter['prepend_scheme'] ?? 'always') === 'always' &&
      splitter['add_prefix_space'] !== false
    );
  if (splitter?.type !== 'Sequence') return false;
  const steps = splitter['pretokenizers'] as Component[];
  return (
    steps.every((step) => step.type === 'WhitespaceSplit' || wordsBeginAtSpaces(step)) &&
    steps.some(wordsBeginAtSpaces)
  );
}

class PackagePipeline implements Pipeline {
  readonly unknownId = undefined;
  readonly cutAtSpaces = false;
  readonly vocabSize: number;
  private readonly tokenizer: PackageTokenizer;

  constructor(json: TokenizerJson) {
    // The package also obeys tokenizer_config.json, which Rust does not know; it gets an empty one.
    this.tokenizer = new PackageTokenizer(json, {});
    if (usesCharsmap(json.normalizer) || json.normalizer?.type === 'BertNormalizer') {
      type PackageNormalizer = PackageTokenizer['normalizer'];
      this.tokenizer.normalizer = normalizerFrom(json.normalizer) as unknown as PackageNormalizer;
    }
    let greatest = -1;
    for (const id of this.tokenizer.get_vocab().values()) greatest = Math.max(greatest, id);
    this.vocabSize = greatest + 1;
  }

  encode(text: string, _atStart: boolean, ids: number[]): void {
    for (const id of this.tokenizer.encode(text, { add_special_tokens: false }).ids) ids.push(id);
  }

  decode(ids: number[], skipSpecialTokens: boolean): string {
    if (ids.length === 0) return '';
    return this.tokenizer.decode(ids, {
      skip_special_tokens: skipSpecialTokens,
      clean_up_tokenization_spaces: false,
    });
  }

  idOf(token: string): number | undefined {
    return this.tokenizer.token_to_id(token);
  }
}

// ---------------------------------------------------------------- cache

interface CachedText {
  /** Without special tokens. */
  ids: Uint32Array;
  /** False when only the beginning of the text was tokenised. */
  complete: boolean;
}

/** Texts to ids; what was not asked for longest goes first. */
class TextCache {
  private readonly entries = new Map<string, CachedText>();
  private used = 0;

  constructor(private readonly size: number) {}

  get(text: string): CachedText | undefined {
    const entry = this.entries.get(text);
    if (entry !== undefined) {
      this.entries.delete(text);
      this.entries.set(text, entry);
    }
    return entry;
  }

  set(text: string, entry: CachedText): void {
    this.delete(text);
    const size = text.length + entry.ids.length;
    if (size > this.size / 16) return;
    this.entries.set(text, entry);
    this.used += size;
    while (this.used > this.size) this.delete(this.entries.keys().next().value!);
  }

  private delete(text: string): void {
    const entry = this.entries.get(text);
    if (entry === undefined) return;
    this.entries.delete(text);
    this.used -= text.length + entry.ids.length;
  }
}

// ---------------------------------------------------------------- files

interface TokenizerJson {
  model: { type?: string; vocab?: unknown };
  added_tokens?: AddedToken[];
  normalizer: Component | null;
  pre_tokenizer: Component | null;
  post_processor: Component | null;
  decoder: Component | null;
}

interface Settings {
  config: Record<string, unknown>;
  specialTokens: Record<string, unknown>;
}

/** Old files do not name it; a unigram vocabulary is a list. */
function modelType(model: TokenizerJson['model']): string {
  const type = model.type ?? (Array.isArray(model.vocab) ? 'Unigram' : 'WordPiece');
  if (!['Unigram', 'WordPiece', 'BPE'].includes(type)) throw new UnsupportedComponent(`model ${type}`);
  return type;
}
