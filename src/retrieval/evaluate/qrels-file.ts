/**
 * Judgements from files: TREC's `query iteration document relevance` with spaces between, BEIR's `query document relevance`
 * with tabs and a header, FlagEmbedding's JSONL of `qid`, `docid`, `relevance`. Relevance is a whole number in all of
 * them, as trec_eval has it.
 */
import { InputError } from '../../errors.js';
import { Faults } from '../../files/faults.js';
import { readJsonObjects } from '../../files/json-objects.js';
import { readLines } from '../../files/lines.js';
import { printable, show } from '../../show.js';
import { idOf } from './records.js';

interface Judgement {
  readonly query: string;
  readonly doc: string;
  readonly relevance: number;
  readonly line: number;
}

/** @throws InputError `file:line: expected …, found …`, also for a pair that is judged in two ways, or no judgement at all. */
export function readQrels(path: string): Map<string, Map<string, number>> {
  const qrels = new Map<string, Map<string, number>>();
  const faults = new Faults('judgements');
  const read = /\.jsonl?$/.test(path) ? ofJson(path, faults) : ofText(path, faults);
  for (const { query, doc, relevance, line } of read) {
    let judged = qrels.get(query);
    if (!judged) qrels.set(query, (judged = new Map()));
    const earlier = judged.get(doc);
    if (earlier !== undefined && earlier !== relevance)
      faults.add(
        new InputError(
          `${printable(path)}:${line}: expected one relevance of document ${show(doc)} to query ${show(query)}, found ${relevance} after ${earlier}`,
        ),
      );
    judged.set(doc, relevance);
  }
  faults.throwIfAny();
  if (qrels.size === 0) throw new InputError(`${printable(path)}: expected judgements, found none`);
  return qrels;
}

function* ofJson(path: string, faults: Faults): Generator<Judgement> {
  for (const { value, place } of readJsonObjects(path, faults)) {
    const where = `${printable(path)}:${place.line}`;
    const judgement = faults.attempt((): Judgement => {
      const relevance = Object.hasOwn(value, 'relevance') ? value['relevance'] : undefined;
      if (typeof relevance !== 'number' || !Number.isSafeInteger(relevance))
        throw new InputError(`${where}: expected "relevance" to be a whole number, found ${show(relevance)}`);
      return {
        query: idOf(value, ['qid', 'query-id'], where),
        doc: idOf(value, ['docid', 'corpus-id'], where),
        relevance,
        line: place.line,
      };
    });
    if (judgement) yield judgement;
  }
}

function* ofText(path: string, faults: Faults): Generator<Judgement> {
  let first = true;
  for (const { text, line } of readLines(path)) {
    if (text.trim() === '') continue;
    const tabs = text.split('\t');
    // Ids between tabs may have spaces; TREC's columns are divided by either.
    const columns = tabs.length === 3 ? tabs.map((column) => column.trim()) : text.trim().split(/[ \t]+/);
    const header = first && columns.length === 3 && !/^[+-]?\d+$/.test(columns[2]!);
    first = false;
    if (header) continue;
    const judgement = faults.attempt(() => judgementOf(text, columns, path, line));
    if (judgement) yield judgement;
  }
}

/** @throws InputError `file:line: expected …, found …`. */
function judgementOf(text: string, columns: readonly string[], path: string, line: number): Judgement {
  const [query, doc, word] = columns.length === 4 ? [columns[0], columns[2], columns[3]] : columns;
  if (columns.length !== 3 && columns.length !== 4)
    throw new InputError(
      `${printable(path)}:${line}: expected the columns query, iteration, document and relevance (TREC), or query, document and relevance (BEIR), found ${columns.length}`,
    );
  if (!/^[+-]?\d{1,15}$/.test(word!))
    throw new InputError(
      `${printable(path)}:${line}: expected a whole number as relevance, found ${show(word)}`,
    );
  if (query === '' || doc === '')
    throw new InputError(
      `${printable(path)}:${line}: expected ids of query and document, found ${show(text)}`,
    );
  return { query: query!, doc: doc!, relevance: Number(word), line };
}
