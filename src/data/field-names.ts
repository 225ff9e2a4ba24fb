/**
 * Names by which people have fields of rows where this program has others: misspelt, in the plural, or as another library
 * calls them. What they belong to is never guessed; a message or a notice names the one that was probably meant.
 */
import type { JsonObject } from '../files/json.js';
import { editDistance } from '../nearest-name.js';

/** Other names by the one that is read here, in small letters. */
const OTHER_NAMES: Readonly<Record<string, readonly string[]>> = {
  query: ['queries', 'question', 'questions', 'anchor', 'sentence', 'sentence1', 'sentence_0', 'q', 'input'],
  pos: [
    ...['positive', 'positives', 'pos_doc', 'pos_docs', 'pos_passage', 'pos_passages', 'positive_passage'],
    ...[
      'positive_passages',
      'positive_ctxs',
      'answer',
      'answers',
      'passage',
      'document',
      'context',
      'response',
    ],
    ...['sentence2', 'sentence_1', 'output'],
  ],
  neg: [
    ...['negative', 'negatives', 'neg_doc', 'neg_docs', 'neg_passage', 'neg_passages', 'negative_passage'],
    ...['negative_passages', 'negative_ctxs', 'hard_neg', 'hard_negs', 'hard_negative', 'hard_negatives'],
    ...['hard_negative_ctxs', 'sentence_2'],
  ],
  pos_scores: ['positive_scores', 'pos_score', 'positive_score'],
  neg_scores: ['negative_scores', 'neg_score', 'negative_score'],
  prompt: ['instruction', 'instructions'],
  text: ['contents', 'content', 'body', 'passage', 'document', 'doc', 'sentence', 'query', 'question'],
};

/** By the name that is read: the other names that were asked for before, and whether they stand for it. */
const known = new Map<string, Map<string, boolean>>();
/** Names of fields come from files: so many are remembered. */
const MOST_KNOWN = 1000;

/** Whether a field of this name was probably meant to be called `name`: `negs`, `Neg` and `negative` are `neg`. */
function standsFor(given: string, name: string): boolean {
  let names = known.get(name);
  if (!names) known.set(name, (names = new Map()));
  let answer = names.get(given);
  if (answer === undefined) {
    answer = looksLike(given, name);
    if (names.size < MOST_KNOWN) names.set(given, answer);
  }
  return answer;
}

function looksLike(given: string, name: string): boolean {
  if (given === name || given.length > 40) return false;
  // `negative_1`, `negative 2`, `negative3` are columns of one kind.
  const plain = given.trim().toLowerCase().replaceAll('-', '_');
  const others = OTHER_NAMES[name] ?? [];
  const counted = plain.replace(/[_ ]?\d+$/, '');
  if (plain === name || others.includes(plain) || counted === name || others.includes(counted)) return true;
  return name.length >= 3 && plain.length >= 3 && editDistance(plain, name) === 1;
}

/** The field of an object that was probably meant to be `name`, where it has none of that name. */
export function meantAs(fields: JsonObject, name: string): string | undefined {
  if (Object.hasOwn(fields, name)) return undefined;
  for (const given in fields) if (Object.hasOwn(fields, given) && standsFor(given, name)) return given;
  return undefined;
}
