/**
 * Rankings in TREC's format, one found document a line: `query Q0 document rank score tag`, with spaces between. Written in
 * the order in which trec_eval reads it; read again in any order.
 */
import { InputError } from '../../errors.js';
import { AtomicFile } from '../../files/atomic.js';
import { Faults } from '../../files/faults.js';
import { readLines } from '../../files/lines.js';
import { printable, show } from '../../show.js';
import { type Hit, type Run, trecOrder } from './ranking.js';

/** The fewest digits that give this float32 back. */
export function float32Text(value: number): string {
  const wanted = Math.fround(value);
  if (Object.is(wanted, -0)) return '-0';
  for (let digits = 1; digits < 9; digits++) {
    const text = String(Number(wanted.toPrecision(digits)));
    if (Math.fround(Number(text)) === wanted) return text;
  }
  return String(Number(wanted.toPrecision(9)));
}

/** Lines of a run file. @throws InputError for an id or a tag that has a space in it or is empty: it would be two columns, or none. */
export function* runLines(run: Run, tag: string): Generator<string> {
  requireWord(tag, 'the tag of a TREC run');
  for (const [query, hits] of run) {
    requireWord(query, 'ids of queries in a TREC run');
    let rank = 1;
    for (const { doc, score } of trecOrder(hits)) {
      requireWord(doc, 'ids of documents in a TREC run');
      yield `${query} Q0 ${doc} ${rank++} ${float32Text(score)} ${tag}\n`;
    }
  }
}

const isWord = (word: string) => word !== '' && !/\s/.test(word);

/** Whether all ids are words, so that the run can be written. */
export function isTrecRun(run: Run): boolean {
  for (const [query, hits] of run) if (!isWord(query) || !hits.every(({ doc }) => isWord(doc))) return false;
  return true;
}

function requireWord(word: string, what: string): void {
  if (!isWord(word)) throw new InputError(`expected ${what} to be one word, found ${show(word)}`);
}

/** The file appears whole or not at all. @throws as `runLines`, and where it cannot be written. */
export function writeRun(path: string, run: Run, tag: string): void {
  const file = AtomicFile.create(path);
  try {
    let lines: string[] = [];
    for (const line of runLines(run, tag))
      if (lines.push(line) === 4096) {
        file.write(Buffer.from(lines.join('')));
        lines = [];
      }
    file.write(Buffer.from(lines.join('')));
    file.commit();
  } finally {
    file.abort();
  }
}

/** @throws InputError `file:line: expected …, found …`, also for a document that a query has twice, or no line at all. */
export function readRun(path: string): Map<string, Hit[]> {
  const run = new Map<string, Hit[]>();
  const seen = new Map<string, Set<string>>();
  const faults = new Faults('lines');
  for (const { text, line } of readLines(path)) {
    if (text.trim() === '') continue;
    const fail = (expected: string, found: string): never => {
      throw new InputError(`${printable(path)}:${line}: expected ${expected}, found ${found}`);
    };
    faults.attempt(() => {
      const columns = text.trim().split(/[ \t]+/);
      if (columns.length !== 6) fail('query Q0 document rank score tag', `${columns.length} columns`);
      const [query, , doc, , word] = columns as [string, string, string, string, string, string];
      const score = scoreOf(word);
      if (score === undefined) fail('a number as score', show(word));
      const docs = seen.get(query) ?? new Set();
      if (docs.has(doc)) fail(`each document of query ${show(query)} once`, `${show(doc)} again`);
      seen.set(query, docs.add(doc));
      const hits = run.get(query);
      if (hits) hits.push({ doc, score: score! });
      else run.set(query, [{ doc, score: score! }]);
    });
  }
  faults.throwIfAny();
  if (run.size === 0) throw new InputError(`${printable(path)}: expected lines of a TREC run, found none`);
  return run;
}

/** As float32, whose infinities are scores, NaN not. */
function scoreOf(word: string): number | undefined {
  const infinity = /^([+-]?)inf(?:inity)?$/i.exec(word);
  if (infinity) return infinity[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(word)) return undefined;
  return Math.fround(Number(word));
}
