/**
 * Evaluation on rows of training data: each row is a query, its `pos` are the relevant documents, and the pool is every
 * text that is a `pos` or a `neg` of some row. Equal texts are one document; ids are numbers, in the order of first
 * appearance.
 */

import { rowOf } from '../../data/rows.js';
import { findSource } from '../../data/sources.js';
import { InputError } from '../../errors.js';
import { Faults } from '../../files/faults.js';
import { readJsonObjects } from '../../files/json-objects.js';
import { printable } from '../../show.js';
import { type EvaluationData, type EvaluationQuery, groupOf, type ReadOptions } from './datasets.js';

export interface RowReadOptions extends ReadOptions {
  /** Leave documents that are the query itself, letter for letter, out of what it may find. */
  readonly withoutQuery?: boolean;
}

export interface RowData extends EvaluationData {
  /** Per query the document that is the query itself and not relevant to it. */
  readonly excluded: ReadonlyMap<string, string>;
}

const ROW_FIELDS = { scores: false, prompt: false, batching: false };

/** `paths`: files, and folders of them. @throws InputError that begins with `flag` or `file:line`. */
export function readTrainingRows(
  paths: readonly string[],
  flag: string,
  { groupBy, withoutQuery = true }: RowReadOptions = {},
): RowData {
  const sources = paths.map((each) => findSource(each, flag));
  const notices = sources.flatMap((source) => source.notices);
  const documents = new Map<string, string>();
  const docOf = (text: string) => {
    let id = documents.get(text);
    if (id === undefined) documents.set(text, (id = `d${documents.size + 1}`));
    return id;
  };
  const queries: EvaluationQuery[] = [];
  const qrels = new Map<string, Map<string, number>>();
  const byText = new Map<string, string>();
  let repeated = 0;
  const faults = new Faults();
  for (const file of sources.flatMap(({ files }) => files))
    for (const { value, place } of readJsonObjects(file, faults)) {
      const read = faults.attempt(() => ({
        row: rowOf(value, { file, line: place.line }, ROW_FIELDS),
        group: groupOf(value, `${printable(file)}:${place.line}`, groupBy),
      }));
      if (!read) continue;
      const { row, group } = read;
      // Rows of one query are one query with all their positives.
      const key = `${group ?? ''}\n${row.query}`;
      let id = byText.get(key);
      if (id === undefined) {
        id = `q${queries.length + 1}`;
        byText.set(key, id);
        queries.push({ id, text: row.query, group });
        qrels.set(id, new Map());
      } else repeated++;
      for (const text of row.pos) qrels.get(id)!.set(docOf(text), 1);
      for (const text of row.neg) docOf(text);
    }
  faults.throwIfAny();
  if (queries.length === 0) throw new InputError(`${flag}: expected rows, found none`);
  if (repeated > 0)
    notices.push(`${repeated} rows repeat the query of an earlier one: their positives are that query’s too`);
  const excluded = new Map<string, string>();
  if (withoutQuery)
    for (const { id, text } of queries) {
      const own = documents.get(text);
      if (own !== undefined && !qrels.get(id)!.has(own)) excluded.set(id, own);
    }
  if (excluded.size > 0)
    notices.push(
      `${excluded.size} queries stand in the pool themselves without being a positive: left out of what they find`,
    );
  const texts = [...documents.keys()];
  return {
    corpus: { ids: [...documents.values()], texts: () => texts },
    ...{ queries, qrels, notices, excluded },
  };
}
