/**
 * Scores between texts: ColBERT late interaction and lexical matching. `lateInteraction` and `lexicalScores` take queries and
 * passages as they are; `maxSim` and `sparseScores` a batch that lies as the kernels want it, with lists made of it before.
 */
import { ShapeError } from '../../errors.js';
import { type MaxSimLayout, maxSimLayout, type PairOptions } from '../../kernels/maxsim/layout.js';
import { maxSimGradient, maxSim as maxSimKernel } from '../../kernels/maxsim/maxsim.js';
import {
  type SparseMatches,
  sparseScoresGradient,
  sparseScores as sparseScoresKernel,
} from '../../kernels/sparse.js';
import { sparseMatches } from '../../kernels/sparse-matches.js';
import { OptionNames } from '../../options.js';
import { show } from '../../show.js';
import { f32, requireBeside, signature, wholeNumber } from '../../tensor/operands.js';
import { PackedSequences } from '../../tensor/packed.js';
import { scope } from '../../tensor/scope.js';
import { Tensor } from '../../tensor/tensor.js';
import { record } from '../tape.js';
import { concat } from './joins.js';
import { mul } from './pointwise.js';
import { segmentMax } from './rows.js';

/** 1/n_q Σ_i max_j q_i·p_j for the pairs of `layout`. vectors: [T,C]; returns [queries, columns]. */
export function maxSim(vectors: Tensor, layout: MaxSimLayout): Tensor {
  return scope(() => {
    const { scores, positions } = maxSimKernel(vectors, layout);
    const { queries, passages, tokens, tiles } = layout;
    const saved = [vectors, queries, passages, tokens, tiles, ...(positions ? [positions] : [])];
    return record('maxSim', scores, saved, [
      [
        vectors,
        (dScores, sink) => {
          const into = sink?.into;
          const dVectors = maxSimGradient(vectors, positions, layout, dScores, into);
          return into ? undefined : dVectors;
        },
      ],
    ]);
  });
}

/** Σ over shared ids of the two weights, for the pairs of `matches`. weights: [groups]. */
export function sparseScores(weights: Tensor, matches: SparseMatches): Tensor {
  return record(
    'sparseScores',
    sparseScoresKernel(weights, matches),
    [weights, matches.weightStarts, matches.weightMatches],
    [[weights, (dScores) => sparseScoresGradient(weights, matches, dScores)]],
  );
}

// ---- of queries and passages as they are --------------------------------------------------------------------------------

/** Which passages a query is scored against. */
export interface ScoredPairs {
  /** The passages are equal groups, one a query in order, and each query is scored against its own; by default against all. */
  ownGroup?: boolean;
}

/** Runs `body` on queries and passages as one batch. What it recorded keeps the lists that it needs. */
function asBatch(
  op: string,
  queries: PackedSequences,
  passages: PackedSequences,
  { ownGroup = false }: ScoredPairs,
  operands: Readonly<Record<string, Tensor>>,
  body: (batch: PackedSequences, pairs: PairOptions) => Tensor,
): Tensor {
  if (typeof ownGroup !== 'boolean')
    throw new ShapeError(op, `ownGroup must be true or false, found ${show(ownGroup)}`, operands);
  if (queries.gpu !== passages.gpu)
    throw new ShapeError(op, 'queries and passages are on different devices', operands);
  if (ownGroup && passages.count % Math.max(1, queries.count) !== 0)
    throw new ShapeError(
      op,
      `${passages.count} passages are no equal groups for ${queries.count} queries`,
      operands,
    );
  const batch = new PackedSequences(queries.gpu, [...queries.lengths, ...passages.lengths]);
  try {
    return scope(() => body(batch, { queries: queries.count, ownGroup }));
  } finally {
    batch.dispose();
  }
}

/** Checks what stands beside the tensors, and how many tokens the tensors must have. */
function tokenCounts(op: string, queries: PackedSequences, passages: PackedSequences) {
  requireBeside(op, 'queries', 'a PackedSequences', queries, 'tokens', 'gpu');
  requireBeside(op, 'passages', 'a PackedSequences', passages, 'tokens', 'gpu');
  const extents = {
    Q: [queries.tokens, 'the queries'],
    P: [passages.tokens, 'the passages'],
  } as const;
  return { extents, gpu: queries.gpu };
}

/** Which pairs `lateInteraction` scores, and what becomes of a query's tokens. */
export interface LateInteractionOptions extends ScoredPairs {
  /** Over a query's tokens: 'mean', so that long queries score like short ones (BGE-M3), or 'sum' (ColBERT). */
  reduction?: 'mean' | 'sum';
}

const LATE_INTERACTION = signature('lateInteraction', {
  queryVectors: f32('Q', 'C'),
  passageVectors: f32('P', 'C'),
});

const LATE_INTERACTION_OPTIONS = new OptionNames<LateInteractionOptions>({
  ownGroup: 'boolean',
  reduction: 'string',
});

/**
 * ColBERT's score (Khattab & Zaharia 2020) of each query with each passage: for every token of the query the largest product
 * with a token of the passage, averaged or summed. All tokens take part; leave out what should not.
 * queryVectors: [tokens of queries, C] f32, passageVectors: [tokens of passages, C] f32, normalised where cosines are meant.
 * Returns [queries, passages], or with `ownGroup` [queries, passages a query]. Similarities of tokens are never stored.
 * @throws ShapeError.
 */
export function lateInteraction(
  queryVectors: Tensor,
  passageVectors: Tensor,
  queries: PackedSequences,
  passages: PackedSequences,
  options: LateInteractionOptions = {},
): Tensor {
  const { reduction = 'mean', ...pairs } = LATE_INTERACTION_OPTIONS.read('lateInteraction', options);
  const facts = tokenCounts('lateInteraction', queries, passages);
  LATE_INTERACTION.check({ queryVectors, passageVectors }, {}, facts);
  if (reduction !== 'mean' && reduction !== 'sum')
    throw new ShapeError('lateInteraction', `reduction must be mean or sum, found ${show(reduction)}`, {
      queryVectors,
      passageVectors,
    });
  return asBatch(
    'lateInteraction',
    queries,
    passages,
    pairs,
    { queryVectors, passageVectors },
    (batch, own) => {
      const layout = maxSimLayout(batch, { ...own, width: queryVectors.cols, firstToken: true });
      const scores = maxSim(concat([queryVectors, passageVectors]), layout);
      if (reduction === 'mean') return scores;
      return mul(scores, Tensor.from(scores.gpu, Float32Array.from(queries.lengths), [queries.count, 1]));
    },
  );
}

/** The token ids of texts, side by side, and where each text ends. */
export interface LexicalTokens {
  /** One a token, on the host. */
  readonly ids: ArrayLike<number>;
  /** Where each text begins and ends among the ids. */
  readonly sequences: PackedSequences;
}

/** Which pairs `lexicalScores` scores, and which ids it leaves out. */
export interface LexicalOptions extends ScoredPairs {
  /** Ids that never match, as CLS, EOS, PAD and UNK of a tokenizer. */
  special?: readonly number[];
}

/** Token ids on the host: no hole among them, and no list of anything else. */
function checkIds(name: string, ids: ArrayLike<number>, operands: Readonly<Record<string, Tensor>>): void {
  const isList = typeof ids === 'object' && ids !== null && Number.isSafeInteger(ids.length);
  const at = isList ? Array.from(ids).findIndex((id) => !wholeNumber().allows(id)) : 0;
  if (at >= 0)
    throw new ShapeError(
      'lexicalScores',
      isList
        ? `${name} must be ${wholeNumber().what}, found ${show(ids[at])}`
        : `${name} must be a list of token ids, found ${show(ids)}`,
      operands,
    );
}

const LEXICAL_SCORES = signature('lexicalScores', { queryWeights: f32('Q'), passageWeights: f32('P') });

const LEXICAL_OPTIONS = new OptionNames<LexicalOptions>({ ownGroup: 'boolean', special: 'any' });

/**
 * Σ over the ids that a query and a passage share of the product of their weights; an id that a text has several times
 * weighs what the largest of them does (BGE-M3's sparse score). queryWeights: [tokens of queries] f32, passageWeights: [tokens
 * of passages] f32. Returns [queries, passages], or with `ownGroup` [queries, passages a query].
 * @throws ShapeError.
 */
export function lexicalScores(
  queryWeights: Tensor,
  passageWeights: Tensor,
  queries: LexicalTokens,
  passages: LexicalTokens,
  options: LexicalOptions = {},
): Tensor {
  const { special = [], ...pairs } = LEXICAL_OPTIONS.read('lexicalScores', options);
  requireBeside('lexicalScores', 'queries', 'ids and sequences', queries, 'ids', 'sequences');
  requireBeside('lexicalScores', 'passages', 'ids and sequences', passages, 'ids', 'sequences');
  const operands = { queryWeights, passageWeights };
  const facts = tokenCounts('lexicalScores', queries.sequences, passages.sequences);
  LEXICAL_SCORES.check(operands, {}, facts);
  checkIds('special', special, operands);
  for (const [name, { ids, sequences }] of Object.entries({ queries, passages })) {
    checkIds('ids', ids, operands);
    if (ids.length !== sequences.tokens)
      throw new ShapeError(
        'lexicalScores',
        `${ids.length} ids for ${sequences.tokens} tokens of the ${name}`,
        operands,
      );
  }
  return asBatch('lexicalScores', queries.sequences, passages.sequences, pairs, operands, (batch, own) => {
    const ids = Uint32Array.from([...Array.from(queries.ids), ...Array.from(passages.ids)]);
    const { groups, matches } = sparseMatches(batch, ids, { ...own, special });
    const weights = segmentMax(concat([queryWeights, passageWeights]), groups.order, groups.starts);
    return sparseScores(weights, matches);
  });
}
