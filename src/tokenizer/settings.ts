/**
 * What transformers 4.57's AutoTokenizer makes of a model folder: tokenizer.json (or, without one, the vocabulary file
 * that it converts), changed by tokenizer_config.json, special_tokens_map.json and added_tokens.json. Upstream's ids
 * are the ones it gives. A key that changes ids is obeyed here, or the folder is refused with a line that names it.
 * Where the ids of transformers 5 are others, a notice names the key (newer-transformers.ts).
 */
import { show } from '../show.js';
import { AddedVocabulary } from './added-tokens.js';
import { type Model, modelFrom } from './model.js';
import { newerTransformersNotice } from './newer-transformers.js';
import type { Part } from './part.js';
import { addedToken, contentOf, specialTokens, statedTokens, tokensToAdd } from './special-tokens.js';
import {
  addedParts,
  type FolderSettings,
  isConverted,
  PAIR_RULES,
  type PairRule,
  type Role,
  side,
} from './tokenizer-class.js';

export interface TokenizerSettings {
  readonly model: Model;
  readonly vocabulary: AddedVocabulary;
  readonly normalizer: Part | undefined;
  /** What normalised tokens themselves went through: tokenizer.json's own, also where the settings change it later. */
  readonly tokenNormalizer: Part | undefined;
  readonly preTokenizer: Part | undefined;
  readonly postProcessor: Part | undefined;
  /** Whose rule joins two texts; `template`: that of the post-processor. */
  readonly pairRule: PairRule;
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

function modelMaxLength(config: Part): number {
  const key = config.has('model_max_length') ? 'model_max_length' : 'max_len';
  if ((config.get(key) ?? null) === null) return Number.POSITIVE_INFINITY;
  const length = config.get(key);
  if (typeof length !== 'number' || !(length > 0)) config.fail(key, 'a length in tokens');
  return (length as number) < 1e9 ? (length as number) : Number.POSITIVE_INFINITY;
}

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

function paddingNotice({ config, tokenizer }: FolderSettings): string[] {
  if (side(config, 'padding_side', tokenizer.optionalPart('padding')) === 'right') return [];
  return [
    'tokenizer: padding_side "left": nothing is padded here; each text is encoded as with padding on its right',
  ];
}
