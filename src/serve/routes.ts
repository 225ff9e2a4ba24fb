/**
 * What is answered on each path that computes: `/v1/embeddings` as OpenAI's clients know it, `/embed`, `/embed_sparse`,
 * `/embed_all` and `/rerank` as those of text-embeddings-inference do. HTTP itself is server.ts's.
 */
import type { JsonObject } from '../files/json.js';
import { colbertPairScores } from '../retrieval/colbert-pairs.js';
import type { Representation } from '../retrieval/encode/encoded.js';
import { jsonNumber, jsonNumbers } from '../retrieval/encode/output.js';
import { denseScore, lexicalScore } from '../retrieval/pair-scores.js';
import { show } from '../show.js';
import {
  countedTokens,
  type EmbeddingBatcher,
  QueueFullError,
  TextTooLongError,
  type TextValues,
} from './batcher.js';
import { Fields } from './fields.js';
import { busy, Refusal } from './refusal.js';
import { type Served, textsOf } from './served.js';

/** A request while it is answered. */
export interface Scope {
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Calls `release` when the answer has gone, or nobody waits for it. */
  hold(release: () => void): void;
}

/** JSON in pieces: none is larger than what is told of one text. */
export interface Answer {
  readonly pieces: Iterable<string>;
  readonly texts: number;
  readonly tokens: number;
}

export type Responder = (served: Served, body: JsonObject, scope: Scope) => Promise<Answer>;

/** Values of a request's ColBERT vectors that are held until they are sent: 128 MiB. */
const MOST_VALUES = 1 << 25;

const OPENAI = 400;
const TEI = 422;

/** What the texts of a request are, computed. */
interface Computed {
  readonly values: readonly TextValues[];
  readonly tokens: number;
}

/** Tokenizes and computes the texts in field `name`. */
async function computed(
  served: Served,
  fields: Fields,
  scope: Scope,
  name: string,
  representation: Representation,
  truncate: boolean,
): Promise<Computed> {
  const { batcher } = served;
  const input = fields.input(name, batcher.model.config.vocabSize);
  requireCount(served, name, (input.texts ?? input.ids).length);
  const reading = textsOf(served, fields.text('prompt_name'), (problem) =>
    fields.refused('prompt_name', problem),
  );
  const ids = input.ids ?? (await tokenized(batcher, input.texts, reading, truncate, scope, name));
  const most = Math.min(reading.maxLength, batcher.model.config.maxTokens);
  for (const [i, each] of ids.entries())
    if (each.length > most) throw tooLong(`${name}[${i}]`, { tokens: each.length, maxLength: most }, false);
  const tokens = tokensOf(ids);
  const width = batcher.model.settings.colbertDim;
  if (representation === 'colbert' && tokens * width > MOST_VALUES)
    throw new Refusal(
      413,
      `${name}: ${tokens} tokens in one request, of ${Math.floor(MOST_VALUES / width)} at most for their vectors`,
      { param: name },
    );
  hold(batcher, ids, scope, name);
  const values = new Array<TextValues>(ids.length);
  await batcher.compute(ids, { representations: new Set([representation]), signal: scope.signal }, (some) => {
    for (const each of some) values[each.text] = each;
  });
  return { values, tokens };
}

const tokensOf = (ids: readonly Uint32Array[]) => ids.reduce((sum, each) => sum + each.length, 0);

function requireCount({ maxTexts, batcher }: Served, name: string, count: number): void {
  if (count > maxTexts)
    throw new Refusal(413, `${name}: ${count} texts in one request, of the ${maxTexts} of --max_texts`, {
      param: name,
    });
  full(() => batcher.requireRoom(count));
}

async function tokenized(
  batcher: EmbeddingBatcher,
  texts: readonly string[],
  reading: ReturnType<typeof textsOf>,
  truncate: boolean,
  { signal }: Scope,
  name: string,
): Promise<Uint32Array[]> {
  try {
    return await batcher.tokenize(texts, { ...reading, truncate, signal });
  } catch (error) {
    if (error instanceof TextTooLongError)
      throw tooLong(texts.length > 1 ? `${name}[${error.text}]` : name, error, true);
    throw error;
  }
}

function tooLong(
  name: string,
  { tokens, maxLength }: Pick<TextTooLongError, 'tokens' | 'maxLength'>,
  mayBeCut: boolean,
): Refusal {
  const hint = mayBeCut ? '; "truncate": true in the body, or --auto_truncate of the server, cuts it' : '';
  return new Refusal(413, `${name}: ${countedTokens(tokens)}, at most ${maxLength}${hint}`, {
    ...{ param: name, code: 'context_length_exceeded' },
  });
}

/** OpenAI answers a text that is too long with 400. */
async function asOpenAi<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Refusal && error.code === 'context_length_exceeded')
      throw new Refusal(OPENAI, error.message, { param: error.param, code: error.code });
    throw error;
  }
}

function hold(batcher: EmbeddingBatcher, ids: readonly Uint32Array[], scope: Scope, name: string): void {
  const tokens = tokensOf(ids);
  if (tokens > batcher.queueTokens)
    throw new Refusal(
      413,
      `${name}: ${tokens} tokens in one request, of the ${batcher.queueTokens} of --queue_tokens`,
      { param: name },
    );
  scope.hold(full(() => batcher.reserve(ids)));
}

function full<T>(reserve: () => T): T {
  try {
    return reserve();
  } catch (error) {
    throw error instanceof QueueFullError
      ? busy(`${error.message} (--queue_tokens)`, error.retryAfter)
      : error;
  }
}

function requireHead({ heads }: Served, head: 'sparse' | 'colbert', path: string): void {
  if (!heads.has(head))
    throw new Refusal(404, `${path}: the model has no ${head}_linear head`, { code: 'model_has_no_head' });
}

// ---- OpenAI --------------------------------------------------------------------------------------------------------

export const embeddings: Responder = async (served, body, scope) => {
  const fields = new Fields(body, OPENAI, [
    ...['input', 'model', 'encoding_format', 'dimensions', 'user', 'prompt_name', 'truncate'],
  ]);
  const model = fields.text('model') ?? served.names[0]!;
  if (!served.names.includes(model))
    throw new Refusal(
      404,
      `model: there is no ${show(model)} here, but ${served.names.map(show).join(', ')}`,
      {
        ...{ param: 'model', code: 'model_not_found' },
      },
    );
  const format = fields.choice('encoding_format', ['float', 'base64']) ?? 'float';
  fields.text('user');
  const cut = cutting(served, fields);
  const truncate = fields.boolean('truncate') ?? served.autoTruncate;
  const { values, tokens } = await asOpenAi(computed(served, fields, scope, 'input', 'dense', truncate));
  const embedding = (dense: Float32Array) =>
    format === 'float'
      ? jsonNumbers(dense)
      : `"${Buffer.from(dense.buffer, dense.byteOffset, dense.byteLength).toString('base64')}"`;
  const pieces = function* () {
    yield '{"object":"list","data":[';
    for (const [index, { dense }] of values.entries())
      yield `${index > 0 ? ',' : ''}{"object":"embedding","index":${index},"embedding":${embedding(cut(dense))}}`;
    yield `],"model":${JSON.stringify(model)},"usage":{"prompt_tokens":${tokens},"total_tokens":${tokens}}}`;
  };
  return { pieces: pieces(), texts: values.length, tokens };
};

/** `dimensions`: the whole width, or one that the model was trained to be cut to; cut vectors are normalised again. */
function cutting(
  { width, matryoshka, batcher }: Served,
  fields: Fields,
): (dense: Float32Array) => Float32Array {
  const dimensions = fields.integer('dimensions', 1) ?? width;
  if (dimensions === width) return (dense) => dense;
  if (!matryoshka.includes(dimensions) || dimensions > width)
    throw fields.refused(
      'dimensions',
      `expected ${[width, ...matryoshka.filter((each) => each < width)].join(', ')}, the ${matryoshka.some((each) => each < width) ? 'widths' : 'width'} of this model, found ${dimensions}`,
    );
  const { normalize } = batcher.model.settings;
  return (dense) => {
    const cut = dense.subarray(0, dimensions);
    return normalize ? normalized(cut) : cut;
  };
}

/** As torch.nn.functional.normalize: of length 1, or 0. */
function normalized(vector: Float32Array): Float32Array {
  let sum = 0;
  for (const value of vector) sum += value * value;
  const length = Math.max(Math.sqrt(sum), 1e-12);
  return vector.map((value) => value / length);
}

// ---- text-embeddings-inference -------------------------------------------------------------------------------------

const TEI_FIELDS = ['inputs', 'truncate', 'truncation_direction', 'prompt_name'];

/** Whether texts are cut; only at the side where the tokenizer does it. */
function truncation(served: Served, fields: Fields): boolean {
  const side = fields.choice('truncation_direction', ['left', 'right', 'Left', 'Right']);
  if (side !== undefined && side.toLowerCase() !== 'right')
    throw fields.refused('truncation_direction', `expected right, found ${side}: texts are cut at their end`);
  return fields.boolean('truncate') ?? served.autoTruncate;
}

/** A JSON list of what `item` says of each text. */
function* list<T>(values: readonly T[], item: (value: T) => string): Generator<string> {
  yield '[';
  for (const [i, value] of values.entries()) yield `${i > 0 ? ',' : ''}${item(value)}`;
  yield ']';
}

export const embed: Responder = async (served, body, scope) => {
  const fields = new Fields(body, TEI, [...TEI_FIELDS, 'normalize', 'dimensions']);
  const truncate = truncation(served, fields);
  const { normalize } = served.batcher.model.settings;
  const wanted = fields.boolean('normalize') ?? normalize;
  if (normalize && !wanted)
    throw fields.refused(
      'normalize',
      'expected true, found false: with --normalize_embeddings False the server gives vectors as they are',
    );
  const cut = cutting(served, fields);
  const { values, tokens } = await computed(served, fields, scope, 'inputs', 'dense', truncate);
  const finished = (dense: Float32Array) => (wanted && !normalize ? normalized(cut(dense)) : cut(dense));
  const pieces = list(values, ({ dense }) => jsonNumbers(finished(dense)));
  return { pieces, texts: values.length, tokens };
};

export const embedSparse: Responder = async (served, body, scope) => {
  requireHead(served, 'sparse', '/embed_sparse');
  const fields = new Fields(body, TEI, TEI_FIELDS);
  const truncate = truncation(served, fields);
  const { values, tokens } = await computed(served, fields, scope, 'inputs', 'sparse', truncate);
  const weight = ([id, value]: [number, number]) => `{"index":${id},"value":${jsonNumber(value)}}`;
  const pieces = list(values, ({ lexical }) => `[${Array.from(lexical, weight).join(',')}]`);
  return { pieces, texts: values.length, tokens };
};

export const embedAll: Responder = async (served, body, scope) => {
  requireHead(served, 'colbert', '/embed_all');
  const fields = new Fields(body, TEI, TEI_FIELDS);
  const truncate = truncation(served, fields);
  const { values, tokens } = await computed(served, fields, scope, 'inputs', 'colbert', truncate);
  const { colbertWidth } = served;
  const rows = function* (vectors: Float32Array) {
    for (let at = 0; at < vectors.length; at += colbertWidth)
      yield jsonNumbers(vectors.subarray(at, at + colbertWidth));
  };
  const pieces = list(values, ({ colbert }) => `[${[...rows(colbert)].join(',')}]`);
  return { pieces, texts: values.length, tokens };
};

const modes = ['dense', 'sparse', 'colbert'] as const;

export const rerank: Responder = async (served, body, scope) => {
  const fields = new Fields(body, TEI, [
    ...['query', 'texts', 'truncate', 'truncation_direction', 'raw_scores', 'return_text'],
    ...['weights', 'return_scores'],
  ]);
  const truncate = truncation(served, fields);
  const query = fields.requiredText('query');
  const texts = fields.texts('texts');
  const raw = fields.boolean('raw_scores') ?? true;
  const returnText = fields.boolean('return_text') ?? false;
  const returnScores = fields.boolean('return_scores') ?? false;
  const given = fields.weights('weights');
  const weights = given ?? served.weights;
  const there = modes.map((mode) => mode === 'dense' || served.heads.has(mode));
  for (const [i, mode] of modes.entries())
    if (given && given[i]! > 0 && !there[i])
      throw fields.refused('weights', `expected 0 for ${mode}, as the model has no ${mode}_linear head`);
  const weighing = weights.map((weight, i) => (there[i] ? weight : 0));
  const total = weighing.reduce((sum, weight) => sum + weight, 0);
  if (total === 0)
    throw fields.refused('weights', `expected one above 0 for what the model has, found ${show(weights)}`);
  requireCount(served, 'texts', texts.length);
  const { batcher } = served;
  const ids = [
    ...(await tokenized(batcher, [query], textsOf(served, 'query'), truncate, scope, 'query')),
    ...(await tokenized(batcher, texts, textsOf(served, 'passage'), truncate, scope, 'texts')),
  ];
  hold(batcher, ids, scope, 'texts');
  const scores = new Array<[number, number, number]>(texts.length);
  // It is in the first batch, whose values may come after those of the second.
  let found: (query: TextValues) => void = () => {};
  const asked = new Promise<TextValues>((resolve) => {
    found = resolve;
  });
  const wanted = modes.filter((_, i) => weighing[i]! > 0 || (returnScores && there[i]));
  await batcher.compute(
    ids,
    { representations: new Set(wanted), signal: scope.signal, first: 1 },
    async (values) => {
      const first = values.find(({ text }) => text === 0);
      if (first) found(first);
      const of = await asked;
      const passages = values.filter(({ text }) => text > 0);
      const pairs = passages.map(({ colbert }) => ({ query: of.colbert, passage: colbert }));
      const colbert = wanted.includes('colbert')
        ? await colbertPairScores(batcher.model.gpu, pairs, served.colbertWidth)
        : undefined;
      const embedding = ({ text, ...each }: TextValues) => ({ ids: ids[text]!, ...each });
      for (const [i, passage] of passages.entries())
        scores[passage.text - 1] = [
          denseScore(embedding(of), embedding(passage)),
          lexicalScore(embedding(of), embedding(passage)),
          colbert?.[i] ?? 0,
        ];
    },
  );
  const ranked = scores
    .map((each, index) => {
      const sum = each.reduce((sum, score, i) => sum + weighing[i]! * score, 0) / total;
      return { index, each, score: raw ? sum : 1 / (1 + Math.exp(-sum)) };
    })
    .sort((a, b) => b.score - a.score || a.index - b.index);
  const pieces = list(ranked, ({ index, score, each }) =>
    JSON.stringify({
      index,
      score,
      ...(returnText ? { text: texts[index] } : {}),
      ...(returnScores
        ? { scores: Object.fromEntries(wanted.map((mode) => [mode, each[modes.indexOf(mode)]])) }
        : {}),
    }),
  );
  return { pieces, texts: ids.length, tokens: tokensOf(ids) };
};
