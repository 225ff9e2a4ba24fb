/**
 * What a model folder says of its tokenizer, and which class of transformers would load it: the class decides the special
 * tokens that no file names, and how two texts are joined.
 */
import type { Part } from './part.js';

export const ROLES = [
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

const ROBERTA_TOKENS = {
  bos_token: '<s>',
  eos_token: '</s>',
  sep_token: '</s>',
  cls_token: '<s>',
  unk_token: '<unk>',
  pad_token: '<pad>',
  mask_token: '<mask>',
};

export const DEFAULT_TOKENS: Record<TokenizerClass, Partial<Record<Role, string>>> = {
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

/** Whose rule joins two texts; `template`: that of the post-processor. */
export type PairRule = 'roberta' | 'bert' | 'template';

export const PAIR_RULES: Record<TokenizerClass, PairRule> = {
  XLMRobertaTokenizer: 'roberta',
  RobertaTokenizer: 'roberta',
  BertTokenizer: 'bert',
  PreTrainedTokenizer: 'template',
};

/** `tokenizer` was made from a vocabulary file. */
export function isConverted({ tokenizer, tokenizerJson }: FolderSettings): boolean {
  return tokenizer !== tokenizerJson;
}

export function addedParts(tokenizer: Part | undefined): Part[] {
  return tokenizer?.has('added_tokens') ? tokenizer.parts('added_tokens') : [];
}

/** Of truncation or padding: tokenizer_config.json's key before what the block of tokenizer.json says. */
export function side(config: Part, key: string, block: Part | undefined): 'left' | 'right' {
  const inBlock = block?.has('direction') ? block.oneOf('direction', ['Left', 'Right']) : 'Right';
  return config.has(key) ? config.oneOf(key, ['left', 'right']) : inBlock === 'Left' ? 'left' : 'right';
}
