/**
 * What is evaluated on: documents, queries and judgements, from a folder in FlagEmbedding's layout (`corpus.jsonl`,
 * `test_queries.jsonl`, `test_qrels.jsonl`) or BEIR's (`corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`), or from three
 * files of any of their formats or TREC's (topics and documents as id, tab, text). The documents' texts stay on disk.
 */
import path from 'node:path';
import { InputError } from '../../errors.js';
import { Faults } from '../../files/faults.js';
import { readJsonObjects } from '../../files/json-objects.js';
import { readLines } from '../../files/lines.js';
import { PositionedFile } from '../../files/positioned.js';
import { printable, show } from '../../show.js';
import { readQrels } from './qrels-file.js';
import type { Qrels } from './ranking.js';
import { idOf, labelOf, textOf } from './records.js';

export interface EvaluationQuery {
  readonly id: string;
  readonly text: string;
  /** What it is grouped by; undefined where it has none. */
  readonly group: string | undefined;
}

export interface Corpus {
  /** In the order of the file; no two alike. */
  readonly ids: readonly string[];
  /** Reads the texts, in the order of the ids. */
  texts(): Iterable<string>;
}

export interface EvaluationData {
  readonly corpus: Corpus;
  /** Those that are judged. */
  readonly queries: readonly EvaluationQuery[];
  readonly qrels: Qrels;
  /** One line each, for people: what files name and others do not have. */
  readonly notices: readonly string[];
}

export interface DataFiles {
  readonly corpus: string;
  readonly queries: string;
  readonly qrels: string;
}

/** The three files of a split in a folder. @throws InputError where there is no such layout or split. */
export function filesOfFolder(folder: string, split: string): DataFiles {
  const at = (...names: string[]) => path.join(folder, ...names);
  const there = (file: string) => PositionedFile.exists(file);
  const corpus = at('corpus.jsonl');
  if (!there(corpus))
    throw new InputError(
      `${printable(folder)}: expected corpus.jsonl with queries and judgements beside it (FlagEmbedding’s or BEIR’s layout), found no corpus.jsonl`,
    );
  const own = { corpus, queries: at(`${split}_queries.jsonl`), qrels: at(`${split}_qrels.jsonl`) };
  if (there(own.queries) && there(own.qrels)) return own;
  const beir = { corpus, queries: at('queries.jsonl'), qrels: at('qrels', `${split}.tsv`) };
  if (there(beir.queries) && there(beir.qrels)) return beir;
  throw new InputError(
    `${printable(folder)}: expected ${split}_queries.jsonl and ${split}_qrels.jsonl, or queries.jsonl and qrels/${split}.tsv, found neither pair`,
  );
}

export interface ReadOptions {
  /** The field of queries that they are grouped by; by default `language` or `lang`, where a query has it. */
  readonly groupBy?: string | undefined;
}

/** `given`: the corpus where it was read already, for another split. @throws InputError `file:line: expected …, found …`, or when nothing is left to evaluate. */
export function readEvaluationData(
  files: DataFiles,
  options: ReadOptions = {},
  given?: Corpus,
): EvaluationData {
  const faults = new Faults('lines');
  const read = {
    corpus: given ?? faults.joined(() => readCorpus(files.corpus)),
    qrels: faults.joined(() => readQrels(files.qrels)),
    queries: faults.joined(() => readQueries(files.queries, options)),
  };
  faults.throwIfAny();
  const [corpus, qrels, all] = [read.corpus!, read.qrels!, read.queries!];
  const known = new Set(all.map(({ id }) => id));
  const queries = all.filter(({ id }) => qrels.has(id));
  const notices: string[] = [];
  if (queries.length === 0)
    throw new InputError(
      `${printable(files.qrels)}: expected judgements of queries in ${printable(files.queries)}, found none: it judges ${qrels.size} others, such as ${show([...qrels.keys()][0])}`,
    );
  if (queries.length < all.length)
    notices.push(
      `${printable(files.queries)}: ${all.length - queries.length} of ${all.length} queries are not judged: left out`,
    );
  const unknown = [...qrels.keys()].filter((id) => !known.has(id));
  if (unknown.length > 0)
    notices.push(
      `${printable(files.qrels)}: ${unknown.length} of ${qrels.size} judged queries are not among the queries, such as ${show(unknown[0])}: they count as 0 in mrr and recall_cap, as in FlagEmbedding, and in no other mean`,
    );
  const ids = new Set(corpus.ids);
  let absent = 0;
  let example: string | undefined;
  for (const judged of qrels.values())
    for (const [doc, relevance] of judged)
      if (relevance > 0 && !ids.has(doc)) {
        absent++;
        example ??= doc;
      }
  if (absent > 0)
    notices.push(
      `${printable(files.qrels)}: ${absent} relevant documents are not in the corpus, such as ${show(example)}: no run can find them`,
    );
  const without = queries.filter(
    ({ id }) => ![...qrels.get(id)!.values()].some((relevance) => relevance > 0),
  );
  if (without.length > 0)
    notices.push(
      `${printable(files.qrels)}: ${without.length} queries have no relevant document, such as ${show(without[0]!.id)}: all their metrics are 0`,
    );
  return { corpus, queries, qrels, notices };
}

/** `title text`, without spaces at the ends. */
export function passageText(title: string, text: string): string {
  return `${title} ${text}`.trim();
}

interface Document {
  readonly id: string;
  readonly text: string;
  readonly line: number;
}

const isJson = (file: string) => /\.jsonl?$/.test(file);

function* documents(file: string, faults: Faults): Generator<Document> {
  if (isJson(file))
    for (const { value, place } of readJsonObjects(file, faults)) {
      const where = `${printable(file)}:${place.line}`;
      const document = faults.attempt(() => ({
        text: passageText(textOf(value, 'title', where, ''), textOf(value, 'text', where)),
        id: idOf(value, ['id', '_id'], where),
        line: place.line,
      }));
      if (document) yield document;
    }
  else
    for (const { text, line } of readLines(file)) {
      if (text.trim() === '') continue;
      const columns = text.split('\t');
      if (columns.length < 2 || columns.length > 3 || columns[0]!.trim() === '') {
        faults.add(
          new InputError(
            `${printable(file)}:${line}: expected id, tab, text (or id, title and text), found ${columns.length === 1 ? 'no tab' : `${columns.length} columns`}`,
          ),
        );
        continue;
      }
      const [id, ...parts] = columns as [string, ...string[]];
      yield { id: id.trim(), text: passageText(parts.length === 2 ? parts[0]! : '', parts.at(-1)!), line };
    }
}

/** Ids of a corpus file, `.jsonl` or tab-separated. @throws InputError `file:line: expected …, found …`. */
export function readCorpus(file: string): Corpus {
  const ids: string[] = [];
  const seen = new Map<string, number>();
  const faults = new Faults('documents');
  for (const { id, line } of documents(file, faults)) {
    faults.attempt(() => requireOnce(seen, id, file, line));
    ids.push(id);
  }
  faults.throwIfAny();
  if (ids.length === 0) throw new InputError(`${printable(file)}: expected documents, found none`);
  return {
    ids,
    *texts() {
      let next = 0;
      const faults = new Faults('documents');
      for (const { id, text, line } of documents(file, faults)) {
        if (id !== ids[next++])
          throw new InputError(`${printable(file)}:${line}: the file has changed since it was first read`);
        yield text;
      }
      faults.throwIfAny();
      if (next < ids.length)
        throw new InputError(`${printable(file)}: the file has changed since it was first read`);
    },
  };
}

function requireOnce(seen: Map<string, number>, id: string, file: string, line: number): void {
  const earlier = seen.get(id);
  if (earlier !== undefined)
    throw new InputError(
      `${printable(file)}:${line}: expected each id once, found ${show(id)} again after line ${earlier}`,
    );
  seen.set(id, line);
}

/** @throws InputError `file:line: expected …, found …`. */
export function readQueries(file: string, { groupBy }: ReadOptions = {}): EvaluationQuery[] {
  const queries: EvaluationQuery[] = [];
  const seen = new Map<string, number>();
  const faults = new Faults('queries');
  const add = (line: number, read: () => EvaluationQuery) =>
    faults.attempt(() => {
      const query = read();
      requireOnce(seen, query.id, file, line);
      queries.push(query);
    });
  if (isJson(file))
    for (const { value, place } of readJsonObjects(file, faults)) {
      const where = `${printable(file)}:${place.line}`;
      add(place.line, () => {
        const group = groupOf(value, where, groupBy);
        const id = idOf(value, ['id', '_id', 'qid'], where);
        return { id, text: textOf(value, 'text', where), group };
      });
    }
  else
    for (const { text, line } of readLines(file)) {
      if (text.trim() === '') continue;
      const tab = text.indexOf('\t');
      add(line, () => {
        if (tab < 0 || text.slice(0, tab).trim() === '')
          throw new InputError(`${printable(file)}:${line}: expected id, tab, query, found ${show(text)}`);
        return { id: text.slice(0, tab).trim(), text: text.slice(tab + 1), group: undefined };
      });
    }
  faults.throwIfAny();
  if (queries.length === 0) throw new InputError(`${printable(file)}: expected queries, found none`);
  if (groupBy !== undefined && queries.every(({ group }) => group === undefined))
    throw new InputError(
      `--group_by: expected a field of queries in ${printable(file)}, found no query with ${show(groupBy)}`,
    );
  return queries;
}

/** The label of a record by the field that is named, else by `language` or `lang`. @throws InputError. */
export function groupOf(
  record: Record<string, unknown>,
  where: string,
  groupBy: string | undefined,
): string | undefined {
  return groupBy === undefined
    ? (labelOf(record, 'language', where) ?? labelOf(record, 'lang', where))
    : labelOf(record, groupBy, where);
}
