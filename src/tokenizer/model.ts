/** The `model` of a tokenizer.json: its vocabulary, and how it cuts a word into ids of it. */
import { Bpe } from './bpe.js';
import type { Ids } from './ids.js';
import { isId, type Part } from './part.js';
import { Unigram } from './unigram.js';
import { WordPiece } from './wordpiece.js';

export interface Model {
  readonly type: 'Unigram' | 'WordPiece' | 'BPE';
  /** How many tokens Rust counts; the next added one gets this id. */
  readonly size: number;
  /** Greatest id of its tokens. */
  readonly largestId: number;
  readonly unknownId: number | undefined;
  idOf(token: string): number | undefined;
  tokenOf(id: number): string | undefined;
  /** Appends the ids of one word; those beyond `limit` in all may be missing. */
  encode(word: string, ids: Ids, limit: number): void;
}

const MAKERS = { Unigram: unigram, WordPiece: wordPiece, BPE: bpe };
const TYPES = ['Unigram', 'WordPiece', 'BPE'] as const;

/** @throws InputError for another type of model and for members of another type than Rust expects. */
export function modelFrom(part: Part): Model {
  // Old files do not name it: a unigram vocabulary is a list, and only BPE has merges.
  const type = part.has('type')
    ? part.oneOf('type', TYPES)
    : Array.isArray(part.get('vocab'))
      ? 'Unigram'
      : part.has('merges')
        ? 'BPE'
        : 'WordPiece';
  return MAKERS[type](part);
}

/** In characters; no published one is longer than 100, and each is looked for at every place of a text. */
const LONGEST_PIECE = 10_000;

function unigram(part: Part): Model {
  const vocabulary = part.list('vocab') as [string, number][];
  for (let id = 0; id < vocabulary.length; id++) {
    const entry = vocabulary[id] as unknown;
    const [piece, score, ...more] = Array.isArray(entry) ? entry : [];
    if (
      typeof piece !== 'string' ||
      !Number.isFinite(score) ||
      more.length > 0 ||
      piece.length > LONGEST_PIECE
    )
      part.fail(`vocab.${id}`, 'a piece and its score', entry);
  }
  const unknownId = part.id('unk_id');
  if (unknownId >= vocabulary.length)
    part.fail('unk_id', `an id of the vocabulary, which has ${vocabulary.length} pieces`);
  const model = new Unigram(vocabulary, unknownId, part.boolean('byte_fallback', false));
  const ids = new Map(vocabulary.map(([piece], id) => [piece, id]));
  return {
    type: 'Unigram',
    size: vocabulary.length,
    largestId: vocabulary.length - 1,
    unknownId,
    idOf: (token) => ids.get(token),
    tokenOf: (id) => vocabulary[id]?.[0],
    encode: (word, into, limit) => model.encode(word, into, limit),
  };
}

/** Token to id, and back, of a vocabulary that is an object. */
function vocabularyOf(part: Part, key: string) {
  const members = part.part(key);
  const ids = new Map<string, number>();
  const tokens = new Map<number, string>();
  let largestId = -1;
  for (const token of members.keys()) {
    const id = members.get(token);
    if (!isId(id)) members.fail(token, 'an id');
    if (token.length > LONGEST_PIECE)
      members.fail(token, `a token of at most ${LONGEST_PIECE} characters`, token);
    ids.set(token, id as number);
    tokens.set(id as number, token);
    largestId = Math.max(largestId, id as number);
  }
  return { ids, tokens, largestId };
}

/** A model whose tokens are the entries of a vocabulary. */
function modelOver(
  { ids, tokens, largestId }: ReturnType<typeof vocabularyOf>,
  type: Model['type'],
  unknownId: number | undefined,
  model: WordPiece | Bpe,
): Model {
  return {
    type,
    size: ids.size,
    largestId,
    unknownId,
    idOf: (token) => ids.get(token),
    tokenOf: (id) => tokens.get(id),
    encode: (word, into) => model.encode(word, into),
  };
}

function wordPiece(part: Part): Model {
  const vocabulary = vocabularyOf(part, 'vocab');
  const { ids } = vocabulary;
  const unknownId = ids.get(part.string('unk_token'));
  if (unknownId === undefined) part.fail('unk_token', 'a token of the vocabulary');
  const model = new WordPiece(
    ids,
    unknownId as number,
    part.string('continuing_subword_prefix'),
    part.id('max_input_chars_per_word'),
  );
  return modelOver(vocabulary, 'WordPiece', unknownId, model);
}

function bpe(part: Part): Model {
  const vocabulary = vocabularyOf(part, 'vocab');
  const { ids, largestId } = vocabulary;
  if (largestId >= 2 ** 22) part.fail('vocab', `ids below ${2 ** 22}`, largestId);
  for (const [key, inert] of [
    ['dropout', 0],
    ['continuing_subword_prefix', ''],
    ['end_of_word_suffix', ''],
    ['byte_fallback', false],
    ['ignore_merges', false],
  ] as const)
    if (part.has(key) && part.get(key) !== null && part.get(key) !== inert)
      part.fail(key, `null or ${JSON.stringify(inert)}`);
  const merges = part.list('merges').map((merge, rank): [string, string] => {
    const pair = typeof merge === 'string' ? merge.split(' ') : merge;
    if (!Array.isArray(pair) || pair.length !== 2 || pair.some((token) => typeof token !== 'string'))
      part.fail(`merges.${rank}`, 'two tokens', merge);
    return pair as [string, string];
  });
  const named = (part.get('unk_token') ?? null) === null ? undefined : part.string('unk_token');
  const unknownId = named === undefined ? undefined : ids.get(named);
  if (named !== undefined && unknownId === undefined) part.fail('unk_token', 'a token of the vocabulary');
  const fuse = (part.get('fuse_unk') ?? null) === null ? false : part.boolean('fuse_unk');
  let model: Bpe;
  try {
    model = new Bpe(ids, merges, unknownId, fuse);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return part.fail('merges', `merges of the vocabulary's tokens (${error.message})`);
  }
  return modelOver(vocabulary, 'BPE', unknownId, model);
}
