/**
 * What transformers 4.57's AutoTokenizer makes of a model folder: tokenizer.json (or, without one, the vocabulary file
 * that it converts), changed by tokenizer_config.json, special_tokens_map.json and added_tokens.json. Upstream's ids
 * are the ones it gives. A key that changes ids is obeyed here, or the folder is refused with a line that names it.
 *
 * transformers 5 builds the pipelines of XLMRobertaTokenizer and BertTokenizer anew and ignores most of tokenizer.json;
 * where its ids are others than these, a notice names the key. No notice for its handling of leading, trailing and
 * repeated white space, which differs for every published XLM-R folder without WhitespaceSplit.
 */
import { isJsonObject, type JsonObject } from '../files/json.js';
import { show } from '../show.js';
import { type AddedToken, AddedVocabulary, sameToken } from './added-tokens.js';
import { type Model, modelFrom } from './model.js';
import type { Part } from './part.js';
import { specialsAround } from './template.js';

const ROLES = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
] as const;
export type Role = (typeof ROLES)[number];

/** What a folder says, each file already JSON; `tokenizer` is converted when only a vocabulary file exists. */
export interface FolderSettings {
  readonly tokenizer: Part;
  /** tokenizer.json, where there is one; `tokenizer` may still be converted from a vocabulary file. */
  readonly tokenizerJson: Part | undefined;
  readonly config: Part;
  readonly specialTokensMap: Part | undefined;
  readonly addedTokens: Part | undefined;
  readonly className: TokenizerClass;
}

export interface TokenizerSettings {
  readonly model: Model;
  readonly vocabulary: AddedVocabulary;
  readonly normalizer: Part | undefined;
  /** What normalised tokens themselves went through: tokenizer.json's own, also where the settings change it later. */
  readonly tokenNormalizer: Part | undefined;
  readonly preTokenizer: Part | undefined;
  readonly postProcessor: Part | undefined;
  /** Whose rule joins two texts; `template`: that of the post-processor. */
  readonly pairRule: 'roberta' | 'bert' | 'template';
  /** Whether models get token types from it (`model_input_names`). */
  readonly tokenTypes: boolean;
  readonly decoder: Part | undefined;
  readonly specialTokens: ReadonlyMap<Role, string>;
  readonly truncationSide: 'left' | 'right';
  readonly splitSpecialTokens: boolean;
  /** Tokens; Infinity when the folder does not say. */
  readonly modelMaxLength: number;
  /** Lines for whoever runs a training. */
  readonly notices: readonly string[];
}

// ---------------------------------------------------------------- classes

const CLASSES = ['XLMRobertaTokenizer', 'RobertaTokenizer', 'BertTokenizer', 'PreTrainedTokenizer'] as const;
export type TokenizerClass = (typeof CLASSES)[number];

/** Names of tokenizer_config.json that mean one of these classes. */
const CLASS_NAMES = new Map<string, TokenizerClass>([
  ...CLASSES.map((name) => [name, name] as const),
  ['DistilBertTokenizer', 'BertTokenizer'],
  ['ElectraTokenizer', 'BertTokenizer'],
  // What transformers 5 writes for a PreTrainedTokenizerFast; 4.57 does not load it.
  ['TokenizersBackend', 'PreTrainedTokenizer'],
]);

const MODEL_TYPES = new Map<unknown, TokenizerClass>([
  ['xlm-roberta', 'XLMRobertaTokenizer'],
  ['roberta', 'RobertaTokenizer'],
  ['bert', 'BertTokenizer'],
]);

/** The class that loads the folder. @throws InputError for a class whose rules are not known here. */
export function tokenizerClass(config: Part, modelConfig: Part | undefined): TokenizerClass | undefined {
  for (const part of [config, modelConfig]) {
    if (part === undefined || (part.get('tokenizer_class') ?? null) === null) continue;
    const name = CLASS_NAMES.get(part.string('tokenizer_class').replace(/Fast$/, ''));
    return name ?? part.fail('tokenizer_class', `one of ${[...CLASS_NAMES.keys()].join(', ')}`);
  }
  return MODEL_TYPES.get(modelConfig?.get('model_type'));
}

const plain = (content: string, flags: Partial<AddedToken> = {}): AddedToken => ({
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: false,
  ...flags,
});

const ROBERTA_TOKENS = {
  bos_token: '<s>',
  eos_token: '</s>',
  sep_token: '</s>',
  cls_token: '<s>',
  unk_token: '<unk>',
  pad_token: '<pad>',
  mask_token: '<mask>',
};

const DEFAULT_TOKENS: Record<TokenizerClass, Partial<Record<Role, string>>> = {
  XLMRobertaTokenizer: ROBERTA_TOKENS,
  RobertaTokenizer: ROBERTA_TOKENS,
  BertTokenizer: {
    unk_token: '[UNK]',
    sep_token: '[SEP]',
    pad_token: '[PAD]',
    cls_token: '[CLS]',
    mask_token: '[MASK]',
  },
  PreTrainedTokenizer: {},
};

const PAIR_RULES: Record<TokenizerClass, TokenizerSettings['pairRule']> = {
  XLMRobertaTokenizer: 'roberta',
  RobertaTokenizer: 'roberta',
  BertTokenizer: 'bert',
  PreTrainedTokenizer: 'template',
};

// ---------------------------------------------------------------- the whole

/** @throws InputError. */
export function tokenizerSettings(folder: FolderSettings): TokenizerSettings {
  const { tokenizer, config } = folder;
  refuseOtherSources(folder);
  if (tokenizer.has('version')) tokenizer.oneOf('version', ['1.0']);
  for (const key of tokenizer.keys())
    if (!MEMBERS.includes(key)) tokenizer.fail(key, 'no member of this name');
  const model = modelFrom(tokenizer.part('model'));
  const vocabulary = new AddedVocabulary(model);
  vocabulary.add(addedParts(tokenizer).map((part) => addedToken(part, 'tokenizer.json')));

  const stated = statedTokens(folder);
  const specials = specialTokens(folder, stated);
  vocabulary.add(tokensToAdd(vocabulary, stated, specials));
  for (const { id, token, part, key } of stated.tokens)
    if (token.content !== '' && vocabulary.idOf(token.content) !== id)
      part.fail(
        key,
        `${show(token.content)} to have the id ${vocabulary.idOf(token.content)}, which transformers gives it`,
        id,
      );
  for (const part of addedParts(tokenizer))
    if (part.string('content') !== '' && vocabulary.idOf(part.string('content')) !== part.id('id'))
      part.fail(
        'id',
        `${vocabulary.idOf(part.string('content'))}, which transformers gives ${show(part.get('content'))}`,
      );

  const ownNormalizer = tokenizer.optionalPart('normalizer');
  const byRole = new Map<Role, string>();
  for (const [role, token] of specials.byRole) byRole.set(role, contentOf(token));
  return {
    model,
    vocabulary,
    normalizer: normalizerOf(folder, ownNormalizer),
    tokenNormalizer: ownNormalizer,
    preTokenizer: preTokenizerOf(folder),
    postProcessor: tokenizer.optionalPart('post_processor'),
    pairRule: PAIR_RULES[folder.className],
    tokenTypes: config.has('model_input_names')
      ? config.list('model_input_names').includes('token_type_ids')
      : PAIR_RULES[folder.className] !== 'roberta',
    decoder: tokenizer.optionalPart('decoder'),
    specialTokens: byRole,
    truncationSide: side(config, 'truncation_side', tokenizer.optionalPart('truncation')),
    splitSpecialTokens: config.boolean('split_special_tokens', false),
    modelMaxLength: modelMaxLength(config),
    notices: [
      ...paddingNotice(folder),
      ...newerTransformersNotice(folder, stated, {
        modelType: model.type,
        unknownId: model.unknownId,
        named: (role) => byRole.get(role),
        ids: (role) => (byRole.has(role) ? vocabulary.idOf(byRole.get(role)!) : undefined),
      }),
    ],
  };
}

/** Of tokenizer.json. Rust refuses any other. */
const MEMBERS = [
  'version',
  'truncation',
  'padding',
  'added_tokens',
  'normalizer',
  'pre_tokenizer',
  'post_processor',
  'decoder',
  'model',
];

/** Keys that make transformers read the vocabulary from somewhere else. */
function refuseOtherSources(folder: FolderSettings): void {
  const { config } = folder;
  if (config.has('tokenizer_file') && !isConverted(folder))
    config.fail('tokenizer_file', 'no such key (transformers would read that in place of tokenizer.json)');
  if (config.has('from_slow') && config.boolean('from_slow'))
    config.fail('from_slow', 'false (tokenizer.json is what is read)');
  if (config.has('fast_tokenizer_files'))
    for (const name of config.list('fast_tokenizer_files'))
      if (name !== 'tokenizer.json') config.fail('fast_tokenizer_files', 'only "tokenizer.json"', name);
  if (config.has('init_inputs') && config.list('init_inputs').length > 0)
    config.fail('init_inputs', 'an empty list');
}

function isConverted({ tokenizer, tokenizerJson }: FolderSettings): boolean {
  return tokenizer !== tokenizerJson;
}

function addedParts(tokenizer: Part | undefined): Part[] {
  return tokenizer?.has('added_tokens') ? tokenizer.parts('added_tokens') : [];
}

function side(config: Part, key: string, block: Part | undefined): 'left' | 'right' {
  const inBlock = block?.has('direction') ? block.oneOf('direction', ['Left', 'Right']) : 'Right';
  return config.has(key) ? config.oneOf(key, ['left', 'right']) : inBlock === 'Left' ? 'left' : 'right';
}

function modelMaxLength(config: Part): number {
  const key = config.has('model_max_length') ? 'model_max_length' : 'max_len';
  if ((config.get(key) ?? null) === null) return Number.POSITIVE_INFINITY;
  const length = config.get(key);
  if (typeof length !== 'number' || !(length > 0)) config.fail(key, 'a length in tokens');
  return (length as number) < 1e9 ? (length as number) : Number.POSITIVE_INFINITY;
}

// ---------------------------------------------------------------- added and special tokens

/** A token as the settings name it: a bare text, or with its flags. */
type Named = string | StatedToken;

interface StatedToken extends AddedToken {
  /** Nobody said whether it is normalised: it is, unless it turns out to be special. */
  readonly undecided?: boolean;
}

function asSpecial(token: StatedToken): AddedToken {
  return { ...token, special: true, normalized: token.normalized && token.undecided !== true };
}

function contentOf(token: Named): string {
  return typeof token === 'string' ? token : token.content;
}

interface StatedTokens {
  /** By id, with the place that states it. */
  readonly tokens: readonly { id: number; token: StatedToken; part: Part; key: string }[];
  /** special_tokens_map.json, which is read only where tokenizer_config.json has no `added_tokens_decoder`. */
  readonly map: Part | undefined;
  /** What a special token that is named by its text alone is, where some file says so. */
  readonly byContent: ReadonlyMap<string, StatedToken>;
}

/** Python's `AddedToken(**members)`; tokenizer.json must have every flag, elsewhere special tokens are not normalised. */
function addedToken(part: Part, file: 'tokenizer.json' | 'settings', special?: boolean): StatedToken {
  const strict = file === 'tokenizer.json' ? undefined : false;
  const isSpecial = special ?? part.boolean('special', strict);
  const token = {
    content: part.string('content'),
    single_word: part.boolean('single_word', strict),
    lstrip: part.boolean('lstrip', strict),
    rstrip: part.boolean('rstrip', strict),
    normalized: part.boolean('normalized', strict === undefined ? undefined : !isSpecial),
    special: isSpecial,
    undecided: !part.has('normalized'),
  };
  if (token.content.length > LONGEST_TOKEN) part.fail('content', `at most ${LONGEST_TOKEN} characters`);
  return token;
}

/** UTF-16 units. Tokens are looked for at every place of a text. */
const LONGEST_TOKEN = 1000;

function statedTokens(folder: FolderSettings): StatedTokens {
  const { config, specialTokensMap: map, addedTokens } = folder;
  const tokens: { id: number; token: StatedToken; part: Part; key: string }[] = [];
  if (config.has('added_tokens_decoder')) {
    const decoder = config.part('added_tokens_decoder');
    for (const key of decoder.keys()) {
      const id = /^\d{1,10}$/.test(key) ? Number(key) : decoder.fail(key, 'ids as names of its members', key);
      tokens.push({ id, token: addedToken(decoder.part(key), 'settings'), part: decoder, key });
    }
    tokens.sort((a, b) => a.id - b.id);
    return { tokens, map: undefined, byContent: new Map(tokens.map(({ token }) => [token.content, token])) };
  }
  const byId = new Map<number, { id: number; token: StatedToken; part: Part; key: string }>();
  if (addedTokens !== undefined) {
    const special = specialTexts(folder, map);
    for (const content of addedTokens.keys()) {
      if (content.length > LONGEST_TOKEN || /\p{Cs}/u.test(content))
        addedTokens.fail(content, `a text of at most ${LONGEST_TOKEN} characters`, content);
      const id = addedTokens.id(content);
      const isSpecial = special.has(content);
      const token = plain(content, { normalized: !isSpecial, special: isSpecial });
      byId.set(id, { id, token, part: addedTokens, key: content });
    }
  }
  const byContent = new Map<string, StatedToken>();
  // transformers files the tokens of added_tokens.json under the name of another, the last of the map's additional ones.
  const misfiled =
    map === undefined ? undefined : namedList(map, 'additional_special_tokens', 'special').at(-1);
  const lastAdded = [...byId.values()].at(-1);
  if (misfiled !== undefined && lastAdded !== undefined) byContent.set(contentOf(misfiled), lastAdded.token);
  for (const part of addedParts(folder.tokenizerJson)) {
    const token = addedToken(part, 'tokenizer.json');
    byId.set(part.id('id'), { id: part.id('id'), token, part, key: 'id' });
    byContent.set(token.content, token);
  }
  tokens.push(...[...byId.values()].sort((a, b) => a.id - b.id));
  return { tokens, map, byContent };
}

/** A member that is a token's text or, as `form` says, its flags. */
function named(part: Part, key: string, form: 'typed' | 'special'): Named {
  const value = part.get(key);
  if (typeof value === 'string') return part.string(key);
  if (!isJsonObject(value)) part.fail(key, 'a token');
  if (form === 'typed' && (value as JsonObject)['__type'] !== 'AddedToken')
    part.fail(key, 'a token, which has "__type": "AddedToken" when it is an object');
  return addedToken(part.part(key), 'settings', form === 'special' ? true : undefined);
}

function namedList(part: Part, key: string, form: 'typed' | 'special'): Named[] {
  if ((part.get(key) ?? null) === null) return [];
  return part.list(key).map((value, i) => {
    const entry = part.with({ [`${key}.${i}`]: value });
    return named(entry, `${key}.${i}`, form);
  });
}

/** The value of a role, special_tokens_map.json's before tokenizer_config.json's; undefined when neither has it. */
function roleValue(folder: FolderSettings, map: Part | undefined, role: string): Named | null | undefined {
  for (const [part, form] of [
    [map, 'special'],
    [folder.config, 'typed'],
  ] as const)
    if (part?.has(role)) return part.get(role) === null ? null : named(part, role, form);
  return undefined;
}

function additionalTokens(folder: FolderSettings, map: Part | undefined): Named[] {
  const key = 'additional_special_tokens';
  const tokens = namedList(folder.config, key, 'typed');
  for (const token of map === undefined ? [] : namedList(map, key, 'special'))
    if (!tokens.some((other) => same(other, token))) tokens.push(token);
  return tokens;
}

/** Named beside the seven roles: a list in transformers 5's files, names of their own in 4's. */
function extraTokens(config: Part): Named[] {
  const key = 'extra_special_tokens';
  if (Array.isArray(config.get(key)) || (config.get(key) ?? null) === null)
    return namedList(config, key, 'typed');
  const extra = config.part(key);
  return extra.keys().map((name) => named(extra, name, 'typed'));
}

/**
 * The texts that make a token of added_tokens.json special. Tokens that tokenizer_config.json gives as objects do not:
 * transformers compares before it has read them.
 */
function specialTexts(folder: FolderSettings, map: Part | undefined): Set<string> {
  const values: Named[] = ROLES.flatMap((role) => {
    const inMap = map?.has(role) === true;
    const value = roleValue(folder, map, role) ?? null;
    return value !== null && (inMap || typeof value === 'string') ? [value] : [];
  });
  const key = 'additional_special_tokens';
  values.push(...namedList(folder.config, key, 'typed').filter((token) => typeof token === 'string'));
  if (map !== undefined) values.push(...namedList(map, key, 'special'));
  return new Set(values.map(contentOf));
}

function same(a: Named, b: Named): boolean {
  return typeof a === 'string' || typeof b === 'string' ? a === b : sameToken(a, b);
}

interface SpecialTokens {
  readonly byRole: ReadonlyMap<Role, Named>;
  /** In transformers' order, each text once. */
  readonly all: readonly Named[];
}

function specialTokens(folder: FolderSettings, stated: StatedTokens): SpecialTokens {
  const { className, config, tokenizer } = folder;
  const byRole = new Map<Role, Named>();
  for (const role of ROLES) {
    const value = roleValue(folder, stated.map, role);
    if (value === null) continue;
    let token =
      value === undefined
        ? DEFAULT_TOKENS[className][role]
        : (stated.byContent.get(contentOf(value)) ?? value);
    if (token === undefined && role === 'pad_token') {
      const padding = tokenizer.optionalPart('padding');
      if (padding) token = padding.string('pad_token');
    }
    if (token === undefined) continue;
    if (
      role === 'mask_token' &&
      typeof token === 'string' &&
      className !== 'BertTokenizer' &&
      className !== 'PreTrainedTokenizer'
    )
      token = plain(token, { lstrip: true, special: true });
    if (contentOf(token) !== '') byRole.set(role, token);
  }
  const all: Named[] = [];
  const seen = new Set<string>();
  // A list is compared with what came before it, not with itself: of two tokens of one text the second changes the first.
  const groups = [...byRole.values()].map((token) => [token]);
  groups.push(additionalTokens(folder, stated.map), ...extraTokens(config).map((token) => [token]));
  // A conversion copies them, and what was undecided is decided by the copy.
  const copied = (token: Named): Named =>
    typeof token === 'string' || !isConverted(folder) ? token : { ...token, undecided: false };
  for (const group of groups) {
    const fresh = group.map(copied).filter((token) => !seen.has(contentOf(token)));
    for (const token of fresh) {
      if (contentOf(token).length > LONGEST_TOKEN)
        config.fail('special tokens', `texts of at most ${LONGEST_TOKEN} characters`, token);
      seen.add(contentOf(token));
    }
    all.push(...fresh);
  }
  return { byRole, all };
}

/** PreTrainedTokenizerFast.__init__: the stated tokens, again where the vocabulary has them, then the special ones. */
function tokensToAdd(
  vocabulary: AddedVocabulary,
  stated: StatedTokens,
  specials: SpecialTokens,
): AddedToken[] {
  const special = new Set(specials.all.map(contentOf));
  const result: AddedToken[] = stated.tokens.map(({ token }) =>
    special.has(token.content) ? asSpecial(token) : token,
  );
  const contents = new Set(
    [...vocabulary.tokens().map(({ token }) => token), ...result].map(({ content }) => content),
  );
  for (const token of specials.all) {
    if (typeof token !== 'string') result.push(asSpecial(token));
    else if (!contents.has(token)) result.push(plain(token, { special: true }));
  }
  return result;
}

// ---------------------------------------------------------------- the pipeline

/** BertTokenizerFast writes its settings over those of a BertNormalizer, in whole where one of them differs. */
function normalizerOf(folder: FolderSettings, normalizer: Part | undefined): Part | undefined {
  const { tokenizer, config, className } = folder;
  if (className !== 'BertTokenizer') return normalizer;
  if (normalizer === undefined)
    return tokenizer.fail('normalizer', 'a normalizer, which BertTokenizer cannot do without');
  if (normalizer.get('type') !== 'BertNormalizer') return normalizer;
  return normalizer.with({
    lowercase: config.boolean('do_lower_case', true),
    handle_chinese_chars: config.boolean('tokenize_chinese_chars', true),
    strip_accents: (config.get('strip_accents') ?? null) === null ? null : config.boolean('strip_accents'),
  });
}

/** A ByteLevel splitter takes `add_prefix_space` from the settings, whatever tokenizer.json says. */
function preTokenizerOf(folder: FolderSettings): Part | undefined {
  const preTokenizer = folder.tokenizer.optionalPart('pre_tokenizer');
  return preTokenizer?.get('type') === 'ByteLevel'
    ? preTokenizer.with({ add_prefix_space: folder.config.boolean('add_prefix_space', false) })
    : preTokenizer;
}

// ---------------------------------------------------------------- notices

function paddingNotice({ config, tokenizer }: FolderSettings): string[] {
  if (side(config, 'padding_side', tokenizer.optionalPart('padding')) === 'right') return [];
  return [
    'tokenizer: padding_side "left": nothing is padded here; each text is encoded as with padding on its right',
  ];
}

/** The steps that transformers 5's own pipelines have, or that differ from them in white space only. */
const XLMR_STEPS: Record<'normalizer' | 'pre_tokenizer', readonly string[]> = {
  normalizer: ['Sequence', 'Precompiled', 'Strip', 'Replace'],
  pre_tokenizer: ['Sequence', 'WhitespaceSplit', 'Metaspace'],
};

function newerTransformersNotice(folder: FolderSettings, stated: StatedTokens, known: KnownIds): string[] {
  const { className, tokenizer, config, specialTokensMap } = folder;
  const keys = new Set<string>();
  const expect = (key: string, right: boolean) => {
    if (!right) keys.add(key);
  };
  const model = tokenizer.part('model');
  const types = (key: 'normalizer' | 'pre_tokenizer') => {
    const part = tokenizer.optionalPart(key);
    return part === undefined
      ? []
      : componentTypes(part, key === 'normalizer' ? 'normalizers' : 'pretokenizers');
  };
  const prefix = tokenizer.optionalPart('pre_tokenizer')?.get('add_prefix_space');
  switch (className) {
    case 'XLMRobertaTokenizer':
      for (const key of ['normalizer', 'pre_tokenizer'] as const)
        expect(
          key,
          types(key).every((type) => XLMR_STEPS[key].includes(type as string)),
        );
      expect('pre_tokenizer', isPlainMetaspace(tokenizer.optionalPart('pre_tokenizer')));
      expect('model', known.modelType === 'Unigram' && model.get('unk_id') === 3);
      expect('add_prefix_space', config.get('add_prefix_space') !== false);
      expect('post_processor, bos_token, eos_token', isAround(tokenizer, known, 'bos_token', 'eos_token'));
      expect(
        'a normalized added token',
        !isConverted(folder) || stated.tokens.every(({ token }) => !token.normalized),
      );
      break;
    case 'BertTokenizer':
      expect('normalizer', types('normalizer').join() === 'BertNormalizer');
      expect('normalizer.clean_text', tokenizer.optionalPart('normalizer')?.get('clean_text') !== false);
      expect('pre_tokenizer', types('pre_tokenizer').join() === 'BertPreTokenizer');
      expect('model', known.modelType === 'WordPiece');
      for (const [key, value] of BERT_MODEL) expect(`model.${key}`, model.get(key) === value);
      expect('unk_token', known.ids('unk_token') === known.unknownId);
      expect('unk_token', known.named('unk_token') === '[UNK]');
      expect('post_processor', isAround(tokenizer, known, 'cls_token', 'sep_token'));
      break;
    case 'RobertaTokenizer':
      expect('model', known.modelType === 'BPE');
      expect('the mask_token of added_tokens', maskTakesSpaces(folder, known));
      break;
    case 'PreTrainedTokenizer':
      expect(
        'pre_tokenizer.add_prefix_space',
        prefix === undefined || prefix === (config.get('add_prefix_space') ?? false),
      );
      break;
  }
  const additional = specialTokensMap?.get('additional_special_tokens');
  if (stated.map !== undefined && Array.isArray(additional) && additional.length > 0)
    expect(
      'additional_special_tokens',
      !config.has('additional_special_tokens') && additional.every((token) => typeof token === 'string'),
    );
  if (keys.size === 0) return [];
  return [
    `tokenizer: transformers 5 does not obey ${[...keys].join(', ')} as 4.57 does; the ids are those of transformers 4.57`,
  ];
}

/** What the notices need to know of the finished tokenizer. */
interface KnownIds {
  readonly modelType: Model['type'];
  readonly unknownId: number | undefined;
  named(role: Role): string | undefined;
  ids(role: Role): number | undefined;
}

const BERT_MODEL = [
  ['max_input_chars_per_word', 100],
  ['continuing_subword_prefix', '##'],
] as const;

/** Whether the template is one id before the text and one behind it, those of the two roles. */
function isAround(tokenizer: Part, known: KnownIds, first: Role, last: Role): boolean {
  const { prefix, suffix } = specialsAround(tokenizer.optionalPart('post_processor'));
  return (
    prefix.length === 1 &&
    suffix.length === 1 &&
    prefix[0] === known.ids(first) &&
    suffix[0] === known.ids(last)
  );
}

function maskTakesSpaces({ tokenizer }: FolderSettings, known: KnownIds): boolean {
  const mask = addedParts(tokenizer).find((part) => part.get('content') === known.named('mask_token'));
  return mask === undefined || mask.get('lstrip') === true;
}

function componentTypes(part: Part, list: string): unknown[] {
  return part.get('type') === 'Sequence'
    ? part.parts(list).flatMap((step) => componentTypes(step, list))
    : [part.get('type')];
}

function isPlainMetaspace(part: Part | undefined): boolean {
  if (part === undefined) return false;
  if (part.get('type') === 'Sequence') return part.parts('pretokenizers').some(isPlainMetaspace);
  return (
    part.get('type') === 'Metaspace' &&
    (part.get('prepend_scheme') ?? 'always') === 'always' &&
    part.get('add_prefix_space') !== false &&
    part.get('split') !== false
  );
}
