/**
 * What a model finds in a corpus: by dense vectors with exact search, by lexical weights through an inverted index; and the
 * candidates of both with their exact dense, sparse and ColBERT scores, from which ColBERT and hybrid rank. ColBERT
 * vectors of a corpus are kept while they are few; otherwise the candidates alone are encoded a second time.
 */

import type { Work } from '../../progress.js';
import type { Communicator } from '../../ranks/communicator.js';
import { type ColbertPair, colbertPairScores } from '../colbert-pairs.js';
import type { Embedder } from '../embedder/open.js';
import type { EncodedTexts, Representation } from '../encode/encoded.js';
import { encodeStream } from '../encode/stream.js';
import { tellEncoded } from '../encode/telling.js';
import { notFinite } from '../not-finite.js';
import { searchExact } from '../search/exact.js';
import { innerProduct } from '../search/float64.js';
import { type InvertedIndex, InvertedIndexBuilder } from '../search/inverted-index.js';
import { firstRows, memoryRows } from '../vectors/rows.js';
import { VectorSpool } from '../vectors/spool.js';
import type { RetrievalMode } from './arguments.js';

/** Documents of a query by index, best first, equal scores by the lower index. */
export interface Ranking {
  /** Places in the corpus. */
  readonly indices: Uint32Array;
  /** Of each of them. */
  readonly scores: Float32Array;
}

/** Documents that are worth a closer look, in ascending order, with the scores that were computed. */
export interface Candidates {
  /** Places in the corpus. */
  readonly indices: Uint32Array;
  /** Of each of them. */
  readonly dense: Float32Array;
  /** Of each of them; 0 without a token of the query. */
  readonly sparse: Float32Array;
  /** Of each of them. */
  readonly colbert: Float32Array;
}

/** What each mode found for each query. */
export interface Retrieved {
  /** Per query; undefined where dense was not asked for. */
  readonly dense: readonly Ranking[] | undefined;
  /** Per query; undefined where sparse was not asked for. */
  readonly sparse: readonly Ranking[] | undefined;
  /** Where ColBERT or hybrid was asked for. */
  readonly candidates: readonly Candidates[] | undefined;
}

/** Queries, the corpus they are searched in, and how. */
export interface RetrievalRequest {
  /** The documents: how many, and their texts, which may be read more than once. */
  readonly corpus: {
    /** One a document; only how many there are is asked. */
    readonly ids: {
      /** Documents of the corpus. */
      readonly length: number;
    };
    /** All texts in the order of the ids, from the first on with each call. */
    texts(): Iterable<string>;
  };
  /** One text each. */
  readonly queries: readonly string[];
  /** Per query the document that it must not find. */
  readonly excluded: readonly (number | undefined)[];
  /** What is to be found: at least one. */
  readonly modes: ReadonlySet<RetrievalMode>;
  /** Documents of a ranking. */
  readonly topK: number;
  /** Of the best by dense and of the best by sparse. */
  readonly candidates: number;
  /** Only the first so many documents are looked for; the others can be `scored`. Default: all. */
  readonly searched?: number;
  /** Per query documents that are candidates, whatever finds them. */
  readonly scored?: readonly (readonly number[])[];
  /** Instructions are in the queries already, or prompts that count in place of the folder's. */
  readonly joined?: boolean;
}

/** What of an opened embedder retrieval uses. */
export type RetrievalModel = Pick<Embedder, 'gpu' | 'model' | 'threads' | 'query' | 'passage'>;

/** As the flags of those names; a length that is not told is the model's. */
export interface RetrievalSettings {
  /** Most tokens of a query, special ones included. */
  readonly queryMaxLength?: number | undefined;
  /** Most tokens of a document, special ones included. */
  readonly passageMaxLength?: number | undefined;
  /** Dense and ColBERT vectors are cut to so many values before they are normalised; null: not. */
  readonly truncateDim?: number | null;
  /** Tokens in one packed batch. A longer text is a batch of its own. */
  readonly batchTokens?: number | undefined;
}

/** What `retrieve` needs besides the request. */
export interface RetrievalSurroundings {
  /** Lengths and batches. */
  readonly settings: RetrievalSettings;
  /** Ranks that share the texts; each gives the same request and has the same answer. */
  readonly communicator?: Communicator | undefined;
  /** For people, one line. */
  readonly note: (line: string) => void;
  /** Hears how far texts are encoded, and searched for. */
  readonly progress?: ((work: Work) => void) | undefined;
  /** Bytes of ColBERT vectors of the corpus that stay in memory; 512 MiB by default. */
  readonly keptColbert?: number;
}

/** ColBERT vectors of a corpus that stay in memory. */
const KEPT_COLBERT = 512 << 20;
/** Rows of dense vectors that are read together. */
const BLOCK = 1024;

/** What representations a mode needs. */
export function representationsOf(modes: ReadonlySet<RetrievalMode>): Set<Representation> {
  const hybrid = modes.has('hybrid');
  const wanted = new Set<Representation>();
  // ColBERT re-ranks what dense finds.
  if (modes.has('dense') || modes.has('colbert') || hybrid) wanted.add('dense');
  if (modes.has('sparse') || hybrid) wanted.add('sparse');
  if (modes.has('colbert') || hybrid) wanted.add('colbert');
  return wanted;
}

/** All ranks call it with the same. @throws as `encodeStream` and `searchExact`. */
export async function retrieve(
  embedder: RetrievalModel,
  request: RetrievalRequest,
  surroundings: RetrievalSurroundings,
): Promise<Retrieved> {
  return new Retrieval(embedder, request, surroundings).run();
}

class Retrieval {
  private readonly wanted: ReadonlySet<Representation>;
  private readonly documents: number;

  constructor(
    private readonly embedder: RetrievalModel,
    private readonly request: RetrievalRequest,
    private readonly surroundings: RetrievalSurroundings,
  ) {
    this.wanted = representationsOf(request.modes);
    this.documents = request.corpus.ids.length;
  }

  async run(): Promise<Retrieved> {
    const { note } = this.surroundings;
    const { modes, topK, candidates, queries } = this.request;
    note(`encoding ${queries.length} queries and ${this.documents} documents`);
    const asked = await this.encodeQueries();
    const pool = await this.encodeCorpus();
    try {
      note('searching');
      const closer = modes.has('colbert') || modes.has('hybrid') || this.request.scored !== undefined;
      const depth = (own: boolean) => Math.max(own ? topK : 0, closer ? candidates : 0);
      const dense = this.wanted.has('dense')
        ? await this.denseRankings(asked, pool, depth(modes.has('dense')))
        : undefined;
      const sparse =
        pool.index &&
        asked.sparse.map((query, q) => this.sparseRanking(pool.index!, query, q, depth(modes.has('sparse'))));
      return {
        dense: modes.has('dense') ? dense?.map((ranking) => first(ranking, topK)) : undefined,
        sparse: modes.has('sparse') ? sparse?.map((ranking) => first(ranking, topK)) : undefined,
        candidates: closer ? await this.closerLook(asked, pool, dense, sparse) : undefined,
      };
    } finally {
      pool.dense?.dispose();
    }
  }

  private encoded(
    side: 'query' | 'document',
    texts: Iterable<string>,
    representations: ReadonlySet<Representation>,
    total: number,
  ): AsyncGenerator<EncodedTexts> {
    const { gpu, model, threads, query, passage } = this.embedder;
    const { settings, communicator, progress } = this.surroundings;
    const unit = side === 'query' ? 'queries' : 'documents';
    const joined = side === 'query' && this.request.joined === true;
    const join = joined ? undefined : side === 'query' ? query : passage;
    return encodeStream(model, threads, join ? mapped(texts, join) : texts, {
      role: side,
      // The instruction is in the text.
      ...(join || joined ? { prompt: '' } : {}),
      maxLength: side === 'query' ? settings.queryMaxLength : settings.passageMaxLength,
      batchTokens: settings.batchTokens,
      truncateDim: settings.truncateDim ?? undefined,
      ...{ representations, communicator },
      onBatch: tellEncoded(progress, gpu, { unit, total }),
    });
  }

  private async encodeQueries(): Promise<Queries> {
    const dense: Float32Array[] = [];
    const sparse: ReadonlyMap<number, number>[] = [];
    const colbert: Float32Array[] = [];
    let [width, colbertWidth] = [0, 0];
    const { queries } = this.request;
    for await (const part of this.encoded('query', queries, this.wanted, queries.length)) {
      if (part.dense) dense.push(part.dense);
      if (part.sparse) sparse.push(...part.sparse);
      if (part.colbert) colbert.push(...part.colbert);
      ({ denseWidth: width, colbertWidth } = part);
    }
    const values = new Float32Array(queries.length * width);
    let at = 0;
    for (const part of dense) {
      values.set(part, at);
      at += part.length;
    }
    return { dense: values, width, sparse, colbert, colbertWidth };
  }

  private async encodeCorpus(): Promise<Pool> {
    const { corpus } = this.request;
    const index = this.wanted.has('sparse') ? new InvertedIndexBuilder() : undefined;
    let dense: VectorSpool | undefined;
    let colbert: Float32Array[] | undefined = this.wanted.has('colbert') ? [] : undefined;
    let kept = 0;
    try {
      for await (const part of this.encoded('document', corpus.texts(), this.wanted, this.documents)) {
        if (part.dense) {
          dense ??= new VectorSpool({ width: part.denseWidth });
          dense.append(part.dense);
        }
        for (const weights of part.sparse ?? []) index!.add(weights);
        if (colbert && part.colbert) {
          colbert.push(...part.colbert);
          kept += part.colbert.reduce((sum, { byteLength }) => sum + byteLength, 0);
          if (kept > (this.surroundings.keptColbert ?? KEPT_COLBERT)) colbert = undefined;
        }
      }
    } catch (error) {
      dense?.dispose();
      throw error;
    }
    return { dense, index: index?.build(), colbert };
  }

  private async denseRankings({ dense, width }: Queries, pool: Pool, depth: number): Promise<Ranking[]> {
    const { excluded } = this.request;
    const more = excluded.some((document) => document !== undefined) ? 1 : 0;
    const onProgress = (done: number, total: number) =>
      this.surroundings.progress?.({ phase: 'search', done, total, unit: 'documents' });
    const { k, indices, scores } = await searchExact(
      this.embedder.gpu,
      memoryRows(dense, width),
      firstRows(pool.dense!, this.request.searched ?? this.documents),
      { metric: 'ip', k: depth + more, communicator: this.surroundings.communicator, onProgress },
    );
    return excluded.map((document, q) =>
      first(
        without(
          { indices: indices.subarray(q * k, (q + 1) * k), scores: scores.subarray(q * k, (q + 1) * k) },
          document,
        ),
        depth,
      ),
    );
  }

  private sparseRanking(
    index: InvertedIndex,
    query: ReadonlyMap<number, number>,
    q: number,
    depth: number,
  ): Ranking {
    return first(
      without(index.search(query, depth + 1, this.request.searched), this.request.excluded[q]),
      depth,
    );
  }

  private async closerLook(
    asked: Queries,
    pool: Pool,
    dense: readonly Ranking[] | undefined,
    sparse: readonly Ranking[] | undefined,
  ): Promise<Candidates[]> {
    const { candidates: most, queries } = this.request;
    const candidates = queries.map((_, q): Candidates => {
      const found = [dense?.[q], sparse?.[q]].flatMap((ranking) =>
        ranking ? [...ranking.indices.subarray(0, most)] : [],
      );
      const indices = Uint32Array.from(new Set([...found, ...(this.request.scored?.[q] ?? [])])).sort();
      const none = () => new Float32Array(indices.length);
      const [query, index] = [asked.sparse[q], pool.index];
      return {
        ...{ indices, dense: none(), colbert: none() },
        sparse: query && index ? index.scoresOf(query, indices) : none(),
      };
    });
    const places = placesOf(candidates);
    if (pool.dense) await denseScores(asked, pool.dense, candidates, places);
    if (!this.wanted.has('colbert')) return candidates;
    this.surroundings.note(
      `ColBERT of ${candidates.reduce((sum, { indices }) => sum + indices.length, 0)} pairs`,
    );
    await this.colbertScores(asked, pool.colbert, candidates, places);
    this.requireFinite(candidates);
    return candidates;
  }

  /** The vectors were looked at when they were encoded; long ones can have products beyond f32. */
  private requireFinite(candidates: readonly Candidates[]): void {
    for (const [q, { indices, colbert }] of candidates.entries()) {
      const at = colbert.findIndex((score) => !Number.isFinite(score));
      if (at < 0) continue;
      throw notFinite(
        `the ColBERT score of query ${q + 1} and document ${indices[at]! + 1} is`,
        colbert[at]!,
        this.embedder.model.store.precision,
      );
    }
  }

  private async colbertScores(
    asked: Queries,
    kept: readonly Float32Array[] | undefined,
    candidates: readonly Candidates[],
    places: Places,
  ): Promise<void> {
    const documents = [...places.keys()];
    const score = async (some: readonly number[], vectorsOf: (i: number) => Float32Array) => {
      const pairs: ColbertPair[] = [];
      const targets: Place[] = [];
      for (const [i, document] of some.entries())
        for (const place of places.get(document)!) {
          pairs.push({ query: asked.colbert[place.query]!, passage: vectorsOf(i) });
          targets.push(place);
        }
      const { gpu } = this.embedder;
      const { communicator } = this.surroundings;
      const scores = await colbertPairScores(gpu, pairs, asked.colbertWidth, { communicator });
      targets.forEach(({ query, at }, i) => {
        candidates[query]!.colbert[at] = scores[i]!;
      });
    };
    if (kept) return score(documents, (i) => kept[documents[i]!]!);
    const texts = chosen(this.request.corpus.texts(), places);
    for await (const part of this.encoded('document', texts, new Set(['colbert']), documents.length))
      await score(documents.slice(part.first, part.first + part.count), (i) => part.colbert![i]!);
  }
}

interface Queries {
  /** [queries · width]. */
  readonly dense: Float32Array;
  readonly width: number;
  readonly sparse: readonly ReadonlyMap<number, number>[];
  readonly colbert: readonly Float32Array[];
  readonly colbertWidth: number;
}

interface Pool {
  readonly dense: VectorSpool | undefined;
  readonly index: InvertedIndex | undefined;
  /** Of all documents; undefined where they are too many. */
  readonly colbert: readonly Float32Array[] | undefined;
}

interface Place {
  readonly query: number;
  /** Among the query's candidates. */
  readonly at: number;
}

/** Where each document is a candidate, by document in ascending order. */
type Places = ReadonlyMap<number, readonly Place[]>;

function placesOf(candidates: readonly Candidates[]): Places {
  const places = new Map<number, Place[]>();
  candidates.forEach(({ indices }, query) => {
    indices.forEach((document, at) => {
      const list = places.get(document);
      if (list) list.push({ query, at });
      else places.set(document, [{ query, at }]);
    });
  });
  return new Map([...places].sort(([a], [b]) => a - b));
}

async function denseScores(
  { dense, width }: Queries,
  pool: VectorSpool,
  candidates: readonly Candidates[],
  places: Places,
): Promise<void> {
  let [start, end] = [0, 0];
  let rows = new Float32Array();
  for (const [document, list] of places) {
    if (document >= end) {
      start = document;
      end = Math.min(pool.count, document + BLOCK);
      rows = (await pool.read(start, end)) as Float32Array<ArrayBuffer>;
    }
    for (const { query, at } of list)
      candidates[query]!.dense[at] = innerProduct(
        dense,
        query * width,
        rows,
        (document - start) * width,
        width,
      );
  }
}

function* mapped(texts: Iterable<string>, join: (text: string) => string): Generator<string> {
  for (const text of texts) yield join(text);
}

function* chosen(texts: Iterable<string>, places: Places): Generator<string> {
  let document = 0;
  for (const text of texts) if (places.has(document++)) yield text;
}

function without({ indices, scores }: Ranking, document: number | undefined): Ranking {
  const at = document === undefined ? -1 : indices.indexOf(document);
  if (at < 0) return { indices, scores };
  return { indices: indices.filter((_, i) => i !== at), scores: scores.filter((_, i) => i !== at) };
}

function first({ indices, scores }: Ranking, count: number): Ranking {
  return { indices: indices.subarray(0, count), scores: scores.subarray(0, count) };
}

/** Weights of dense, sparse and ColBERT. */
export type HybridWeights = readonly [dense: number, sparse: number, colbert: number];

/** The candidates by the weighted sum of their three scores, rounded to f32. */
export function hybridRanking(candidates: Candidates, [wd, ws, wc]: HybridWeights): Ranking {
  const { indices, dense, sparse, colbert } = candidates;
  const scores = Float32Array.from(indices, (_, i) => wd * dense[i]! + ws * sparse[i]! + wc * colbert[i]!);
  const order = Uint32Array.from(indices, (_, i) => i);
  order.sort((a, b) => scores[b]! - scores[a]! || a - b);
  return { indices: order.map((i) => indices[i]!), scores: Float32Array.from(order, (i) => scores[i]!) };
}
