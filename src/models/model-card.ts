/**
 * The model card, README.md: what a model is, what it was made of, and how it is loaded in sentence-transformers,
 * FlagEmbedding and here, by code that runs in its folder (test/interop/folders.ts runs it). The front matter is the hub's:
 * YAML, of which a text in JSON's quotes is a part.
 */
import path from 'node:path';
import { requireInside } from '../files/inside.js';
import { PositionedFile } from '../files/positioned.js';
import { printable } from '../show.js';
import type { WrittenSettings } from './sentence-files.js';

export const CARD_FILE = 'README.md';

/** Whoever writes a card of their own takes this line out. */
const OURS = '<!-- Written by dawntune with the model, and replaced with it. Without this line it stays. -->';
const LARGEST_CARD = 1 << 20;

/** The model that one was trained from. */
export interface BaseModel {
  /** Its name on the hub, where it is known. */
  readonly id: string | undefined;
  /** What the card calls it. */
  readonly name: string;
  /** Their codes, as the base's own card has them. */
  readonly languages: readonly string[];
}

/** What a model's card tells. */
export interface CardDetails {
  /** Undefined: trained from random weights. */
  readonly base?: BaseModel | undefined;
  /** Markdown sections on how it came to be: data, settings, losses, scores. */
  readonly training?: string | undefined;
}

export interface CardFacts extends WrittenSettings, CardDetails {
  readonly colbertDim: number;
  readonly layers: number;
  readonly vocabSize: number;
}

/** Whether the card in a folder is one that the next save may replace: ours, or none. */
export function mayReplaceCard(folder: string): boolean {
  const text = readCard(path.join(folder, CARD_FILE));
  return text === undefined || text.includes(OURS);
}

/**
 * `given`: as the user named the model; `folder`: where that is. The hub's name is what was given, or what the hub's cache
 * calls the folder; a path is nobody's business but its owner's, so only its last part is kept.
 */
export function baseModel(given: string, folder: string): BaseModel {
  const cached = /(?:^|[\\/])models--([\w.-]+?)--([\w.-]+)[\\/]snapshots[\\/][^\\/]+$/.exec(
    path.resolve(folder),
  );
  const isName = /^[\w.-]+\/[\w.-]+$/.test(given) && !PositionedFile.exists(given);
  const id = isName ? given : cached ? `${cached[1]}/${cached[2]}` : undefined;
  const card = path.join(folder, CARD_FILE);
  let languages: string[] = [];
  try {
    requireInside(folder, card);
    languages = languagesOf(readCard(card) ?? '');
  } catch {
    // A card tells nothing that training needs.
  }
  return { id, name: id ?? path.basename(path.resolve(folder)), languages };
}

function readCard(file: string): string | undefined {
  if (!PositionedFile.exists(file)) return undefined;
  const source = PositionedFile.open(file);
  try {
    return new TextDecoder().decode(source.readBytes(0, Math.min(source.size, LARGEST_CARD)));
  } finally {
    source.close();
  }
}

/** `language: en`, `language: [en, de]` (which may go over lines) or a list below it, in the front matter. */
function languagesOf(card: string): string[] {
  const front = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card)?.[1];
  const stated =
    front && /^languages?:[ \t]*(\[[^\]]*\]|.*(?:\r?\n[ \t]*(?:-[ \t].*|#.*)?)*)/m.exec(front)?.[1];
  if (!stated) return [];
  const words = stated.replace(/#.*$/gm, '').split(/[\s,[\]"']+|(?:^|\s)-\s/);
  return [
    ...new Set(words.filter((word) => word !== 'null' && /^[a-z]{2,}(?:-[A-Za-z]+)*$/.test(word))),
  ].slice(0, 200);
}

/**
 * A text from outside (a name, a value, a prompt) as it is: in Markdown's code, where nothing means anything, since a name
 * may hold `<!--`, `[x](y)` or `*`. Without line breaks, backticks, or what a terminal would obey.
 */
export function code(text: string): string {
  const plain = printable(text.replace(/[\r\n\t]+/g, ' ').replaceAll('`', "'"));
  return plain.trim() === '' ? `\u201c${plain}\u201d` : `\`${plain}\``;
}

/** The same in a table, where a bar ends a cell even in code, unless an odd number of backslashes stands before it. */
export function codeCell(text: string): string {
  return code(text).replace(/(\\*)\|/g, (_, before: string) =>
    before.length % 2 === 0 ? `${before}\\|` : `${before}\\\\|`,
  );
}

const POOLED = { cls: 'of the first token', mean: 'the mean of all tokens', last_token: 'of the last token' };

export function modelCard(facts: CardFacts): string {
  const { base, training, pooling, normalize, hiddenSize, maxLength, texts } = facts;
  const quoted = (text: string) => JSON.stringify(text);
  const front = [
    '---',
    'library_name: sentence-transformers',
    'pipeline_tag: sentence-similarity',
    ...(base?.id ? [`base_model: ${quoted(base.id)}`] : []),
    ...(base && base.languages.length > 0
      ? ['language:', ...base.languages.map((each) => `- ${quoted(each)}`)]
      : []),
    'tags:',
    ...['sentence-transformers', 'feature-extraction', 'sentence-similarity', 'bge-m3', 'dawntune'].map(
      (tag) => `- ${tag}`,
    ),
    '---',
  ];
  const prompt = (name: string) => texts.prompts.get(name) ?? '';
  const [query, document] = [prompt('query'), prompt('document')];
  const prompted = query !== '' || document !== '';
  const table = [
    [
      'dense vectors',
      `${hiddenSize} dimensions, ${POOLED[pooling]}${normalize ? ', normalised' : ', not normalised'}`,
    ],
    ['sparse weights', `one a token, ${facts.vocabSize} token ids`],
    ['ColBERT vectors', `${facts.colbertDim} dimensions${normalize ? ', normalised' : ', not normalised'}`],
    ['texts', `at most ${maxLength} tokens${texts.lowerCase ? ', lower-cased' : ''}`],
    ...(query === '' ? [] : [['before queries', codeCell(query)]]),
    ...(document === '' ? [] : [['before passages', codeCell(document)]]),
    ['encoder', `${facts.layers} layers`],
  ].map((row) => `| ${row.join(' | ')} |`);
  const similarity = normalize ? 'cosine' : 'inner product';
  return [
    ...front,
    '',
    OURS,
    '',
    base ? `# Fine-tuned from ${code(base.name)}` : '# An embedding model',
    '',
    `Dense, sparse and ColBERT vectors of one encoder, as [BGE-M3](https://arxiv.org/abs/2402.03216) has them; dense vectors are compared by ${similarity}.`,
    '',
    '| | |',
    '| --- | --- |',
    ...table,
    '',
    '## Use',
    '',
    'The code is run in the folder that this file is in; elsewhere `"."` is its path.',
    '',
    'sentence-transformers, dense vectors:',
    '',
    '```python',
    'from sentence_transformers import SentenceTransformer',
    '',
    'model = SentenceTransformer(".")',
    ...(prompted
      ? [
          'queries = model.encode_query(["What is BGE M3?"])',
          'passages = model.encode_document(["BGE M3 is an embedding model."])',
        ]
      : [
          'queries = model.encode(["What is BGE M3?"])',
          'passages = model.encode(["BGE M3 is an embedding model."])',
        ]),
    'print(model.similarity(queries, passages))',
    '```',
    '',
    'FlagEmbedding, all three; its pooling has to be told:',
    '',
    '```python',
    'from FlagEmbedding import BGEM3FlagModel',
    '',
    'model = BGEM3FlagModel(',
    '    ".",',
    `    pooling_method="${pooling}",`,
    `    normalize_embeddings=${normalize ? 'True' : 'False'},`,
    ...(facts.colbertDim === hiddenSize ? [] : [`    colbert_dim=${facts.colbertDim},`]),
    ')',
    `passages = [${document === '' ? '' : `${quoted(document)} + `}"BGE M3 is an embedding model."]`,
    `queries = [${query === '' ? '' : `${quoted(query)} + `}"What is BGE M3?"]`,
    `kinds = {"max_length": ${maxLength}, "return_dense": True, "return_sparse": True, "return_colbert_vecs": True}`,
    'query, passage = model.encode(queries, **kinds), model.encode(passages, **kinds)',
    'print(query["dense_vecs"] @ passage["dense_vecs"].T)',
    'print(model.compute_lexical_matching_score(query["lexical_weights"][0], passage["lexical_weights"][0]))',
    'print(model.colbert_score(query["colbert_vecs"][0], passage["colbert_vecs"][0]))',
    '```',
    '',
    'dawntune, all three:',
    '',
    '```js',
    "import { encodeTexts, Gpu, hybridScores, M3Model, Tokenizer } from 'dawntune';",
    '',
    'const gpu = await Gpu.open();',
    "const model = M3Model.load(gpu, '.');",
    "const tokenizer = Tokenizer.load('.');",
    "const [query] = await encodeTexts(model, tokenizer, ['What is BGE M3?'], { role: 'query' });",
    "const [passage] = await encodeTexts(model, tokenizer, ['BGE M3 is an embedding model.'], { role: 'document' });",
    'console.log(hybridScores(query, passage));',
    'model.dispose();',
    'await gpu.close();',
    '```',
    ...(training ? ['', training.trim()] : []),
    '',
  ].join('\n');
}
