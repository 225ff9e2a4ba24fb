/** `vocab.txt` to the BERT form of tokenizer.json: a token a line, its id the number of the line. */
import { isJsonObject } from '../files/json.js';
import type { Part } from './part.js';

/** @throws RangeError when the bytes are no UTF-8. */
export function readVocabulary(bytes: Uint8Array): Map<string, number> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new RangeError('no UTF-8');
  }
  const lines = text.split(/\r\n|\r|\n/);
  if (lines.at(-1) === '') lines.pop();
  return new Map(lines.map((line, id) => [line, id]));
}

/** What transformers' conversion writes. @throws RangeError when a special token is not in the vocabulary. */
export function bertTokenizerJson(
  vocabulary: ReadonlyMap<string, number>,
  config: Part,
  map: Part | undefined,
) {
  const special = (role: string, otherwise: string) => {
    const own = map !== undefined && !config.has('added_tokens_decoder') && map.has(role) ? map : config;
    const value = own.has(role) ? own.get(role) : otherwise;
    const token = isJsonObject(value) ? value['content'] : value;
    const id = vocabulary.get(token as string);
    if (id === undefined)
      throw new RangeError(`expected the ${role} of ${JSON.stringify(token)} in it, found none`);
    return { token: token as string, id };
  };
  const [cls, sep, unk] = [
    special('cls_token', '[CLS]'),
    special('sep_token', '[SEP]'),
    special('unk_token', '[UNK]'),
  ];
  const item = ({ token }: { token: string }) => ({ SpecialToken: { id: token, type_id: 0 } });
  const content = ({ token, id }: { token: string; id: number }) => ({
    id: token,
    ids: [id],
    tokens: [token],
  });
  const specialTokens = Object.create(null) as Record<string, unknown>;
  for (const entry of [cls, sep]) specialTokens[entry.token] = content(entry);
  // Without basic tokenisation transformers converts a normaliser that does nothing; the settings change it afterwards.
  const basic = config.boolean('do_basic_tokenize', true);
  const vocab = Object.create(null) as Record<string, number>;
  for (const [token, id] of vocabulary) vocab[token] = id;
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: basic && config.boolean('tokenize_chinese_chars', true),
      strip_accents: basic ? (config.get('strip_accents') ?? null) : false,
      lowercase: basic && config.boolean('do_lower_case', true),
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [item(cls), { Sequence: { id: 'A', type_id: 0 } }, item(sep)],
      special_tokens: specialTokens,
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: unk.token,
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab,
    },
  };
}
