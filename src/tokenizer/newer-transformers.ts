/**
 * Where transformers 5 gives other ids: it builds the pipelines of XLMRobertaTokenizer and BertTokenizer anew and ignores most of
 * tokenizer.json. Nothing is said of its handling of leading, trailing and repeated white space, which differs for every published
 * XLM-R folder without WhitespaceSplit.
 */
import type { Model } from './model.js';
import type { Part } from './part.js';
import type { StatedTokens } from './special-tokens.js';
import { specialsAround } from './template.js';
import { addedParts, type FolderSettings, isConverted, type Role } from './tokenizer-class.js';

/** What the notice needs to know of the finished tokenizer. */
export interface KnownIds {
  readonly modelType: Model['type'];
  readonly unknownId: number | undefined;
  named(role: Role): string | undefined;
  ids(role: Role): number | undefined;
}

/** The steps that transformers 5's own pipelines have, or that differ from them in white space only. */
const XLMR_STEPS: Record<'normalizer' | 'pre_tokenizer', readonly string[]> = {
  normalizer: ['Sequence', 'Precompiled', 'Strip', 'Replace'],
  pre_tokenizer: ['Sequence', 'WhitespaceSplit', 'Metaspace'],
};

/** At most one line: the keys that transformers 5 does not obey. */
export function newerTransformersNotice(
  folder: FolderSettings,
  stated: StatedTokens,
  known: KnownIds,
): string[] {
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
