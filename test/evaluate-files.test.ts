/** Files of an evaluation: layouts, judgements, runs, rows of training data, and what is wrong with them. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { readLines } from '../src/files/lines.js';
import { filesOfFolder, passageText, readEvaluationData } from '../src/retrieval/evaluate/datasets.js';
import { readQrels } from '../src/retrieval/evaluate/qrels-file.js';
import type { Hit } from '../src/retrieval/evaluate/ranking.js';
import { float32Text, readRun, runLines, writeRun } from '../src/retrieval/evaluate/run-file.js';
import { readTrainingRows } from '../src/retrieval/evaluate/training-rows.js';
import { CounterRandom } from '../src/tensor/random.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'evaluate-'));
after(() => fs.rmSync(folder, { recursive: true }));

/** A file in the folder; objects become lines of JSON. */
function file(name: string, content: string | readonly unknown[]): string {
  const at = path.join(folder, name);
  fs.mkdirSync(path.dirname(at), { recursive: true });
  fs.writeFileSync(
    at,
    typeof content === 'string' ? content : content.map((each) => `${JSON.stringify(each)}\n`).join(''),
  );
  return at;
}

const plain = (qrels: ReadonlyMap<string, ReadonlyMap<string, number>>) =>
  Object.fromEntries([...qrels].map(([query, judged]) => [query, Object.fromEntries(judged)]));

test('judgements of three formats', () => {
  const wanted = { q1: { 'd 1': 1, d2: 0 }, q2: { d2: -1 } };
  const trec = { q1: { d1: 1, d2: 0 }, q2: { d2: -1 } };
  assert.deepEqual(plain(readQrels(file('trec.txt', 'q1 0 d1 1\nq1\t0\td2\t0\r\n\nq2 Q0 d2 -1'))), trec);
  const beir = 'query-id\tcorpus-id\tscore\nq1\td 1\t1\nq1\td2\t0\nq2\td2\t-1\n';
  assert.deepEqual(plain(readQrels(file('beir.tsv', beir))), wanted);
  assert.deepEqual(plain(readQrels(file('bare.tsv', `\ufeff${beir.slice(beir.indexOf('\n') + 1)}`))), wanted);
  const own = [
    { qid: 'q1', docid: 'd 1', relevance: 1 },
    { qid: 'q1', docid: 'd2', relevance: 0 },
    { qid: 'q2', docid: 'd2', relevance: -1 },
  ];
  assert.deepEqual(plain(readQrels(file('own.jsonl', own))), wanted);
  // Ids that are numbers are their digits; a judgement that is there twice is one.
  assert.deepEqual(
    plain(
      readQrels(
        file('numbers.jsonl', [
          { qid: 1, docid: 7, relevance: 2 },
          { qid: '1', docid: '7', relevance: 2 },
        ]),
      ),
    ),
    { 1: { 7: 2 } },
  );
});

test('judgements that are none', () => {
  const cases: [string, string, RegExp][] = [
    ['two.txt', 'q1 d1\n', /two\.txt:1: expected the columns query, iteration/],
    [
      'word.txt',
      'q1 0 d1 1\nq1 0 d2 high\n',
      /word\.txt:2: expected a whole number as relevance, found "high"/,
    ],
    ['graded.txt', 'q1 0 d1 0.5\n', /graded\.txt:1: expected a whole number as relevance, found "0.5"/],
    [
      'twice.txt',
      'q1 0 d1 1\nq1 0 d1 0\n',
      /twice\.txt:2: expected one relevance of document "d1" to query "q1", found 0 after 1/,
    ],
    ['nobody.tsv', 'q\td\ts\n\td1\t1\n', /nobody\.tsv:2: expected ids/],
    ['header.tsv', 'query-id\tcorpus-id\tscore\n', /header\.tsv: expected judgements, found none/],
    [
      'half.jsonl',
      '{"qid":"a","docid":"b","relevance":0.5}',
      /half\.jsonl:1: expected "relevance" to be a whole number, found 0.5/,
    ],
    [
      'no.jsonl',
      '{"docid":"b","relevance":1}',
      /no\.jsonl:1: expected "qid" or "query-id" to be an id .*, found nothing/,
    ],
    ['zip.txt', 'PK\x03\x04abc', /zip\.txt: expected lines of text, found a zip archive/],
  ];
  for (const [name, content, message] of cases)
    assert.throws(
      () => readQrels(file(name, content)),
      (error: Error) => error.name === 'InputError' && message.test(error.message),
      name,
    );
  fs.writeFileSync(path.join(folder, 'latin.txt'), Buffer.from([113, 32, 48, 32, 0xe9, 32, 49, 10]));
  assert.throws(() => readQrels(path.join(folder, 'latin.txt')), /latin\.txt:1: expected UTF-8 text/);
});

test('lines of a file that is larger than a window', () => {
  const lines = Array.from({ length: 35_000 }, (_, i) => `${'é'.repeat(i % 40)} ${i}`);
  const at = file('long.txt', lines.join('\n'));
  const read = [...readLines(at)];
  assert.ok(fs.statSync(at).size > 1.2 * 2 ** 20);
  assert.deepEqual(
    read.map(({ text }) => text),
    lines,
  );
  assert.equal(read.at(-1)!.line, lines.length);
  assert.deepEqual([...readLines(file('none.txt', '\n\n'))].length, 2);
});

test('a run is read as it was written', () => {
  const random = new CounterRandom(5);
  const run = new Map<string, Hit[]>();
  for (let q = 0; q < 20; q++)
    run.set(
      `q${q}`,
      Array.from({ length: 30 }, (_, d) => ({
        doc: `d${d}é`,
        score: Math.fround((random.uniform() - 0.5) * 10 ** (random.int(60) - 30)),
      })),
    );
  const at = path.join(folder, 'round.trec');
  writeRun(at, run, 'tag');
  const again = readRun(at);
  for (const [query, hits] of run) {
    const scores = new Map(again.get(query)!.map(({ doc, score }) => [doc, score]));
    for (const { doc, score } of hits) assert.equal(scores.get(doc), score);
    assert.equal(scores.size, hits.length);
  }
  // Read and written again it is the same file.
  const copy = path.join(folder, 'copy.trec');
  writeRun(copy, again, 'tag');
  assert.equal(fs.readFileSync(copy, 'utf8'), fs.readFileSync(at, 'utf8'));
});

test('a run file has six columns, ranks from 1, in trec_eval’s order', () => {
  const run = new Map([
    [
      'q',
      [
        { doc: 'a', score: 0.1 },
        { doc: 'b', score: 0.1 },
        { doc: 'c', score: 2 },
      ],
    ],
  ]);
  assert.deepEqual([...runLines(run, 'me')], ['q Q0 c 1 2 me\n', 'q Q0 b 2 0.1 me\n', 'q Q0 a 3 0.1 me\n']);
  assert.equal(float32Text(1 / 3), '0.33333334');
  assert.equal(float32Text(16777216), '16777216');
  assert.equal(float32Text(-0), '-0');
  assert.throws(
    () => [...runLines(new Map([['a b', [{ doc: 'a', score: 1 }]]]), 'me')],
    /expected ids of queries in a TREC run to be one word, found "a b"/,
  );
  assert.throws(() => [...runLines(run, 'a tag')], /expected the tag of a TREC run to be one word/);
});

test('runs that are none', () => {
  const cases: [string, string, RegExp][] = [
    ['five', 'q Q0 d 1 0.5\n', /:1: expected query Q0 document rank score tag, found 5 columns/],
    ['nan', 'q Q0 d 1 0.5 t\nq Q0 e 2 nan t\n', /:2: expected a number as score, found "nan"/],
    [
      'twice',
      'q Q0 d 1 0.5 t\nq Q0 d 2 0.4 t\n',
      /:2: expected each document of query "q" once, found "d" again/,
    ],
    ['empty', '\n', /expected lines of a TREC run, found none/],
  ];
  for (const [name, content, message] of cases)
    assert.throws(() => readRun(file(`${name}.run`, content)), message);
  assert.deepEqual(readRun(file('inf.run', 'q Q0 d 1 -inf t\n')).get('q'), [
    { doc: 'd', score: Number.NEGATIVE_INFINITY },
  ]);
});

test('a folder in FlagEmbedding’s layout and one in BEIR’s', () => {
  file('own/corpus.jsonl', [
    { id: 'd1', title: ' A title', text: 'and text ' },
    { id: 2, text: 'no title' },
    { id: 'd3', title: null, text: '' },
  ]);
  file('own/test_queries.jsonl', [
    { id: 'q1', text: 'one', lang: 'de' },
    { id: 'q2', text: 'two' },
    { id: 'q3', text: 'not judged' },
  ]);
  file('own/test_qrels.jsonl', [
    { qid: 'q1', docid: 'd1', relevance: 1 },
    { qid: 'q2', docid: '2', relevance: 0 },
    { qid: 'q9', docid: 'd9', relevance: 1 },
  ]);
  const own = readEvaluationData(filesOfFolder(path.join(folder, 'own'), 'test'));
  assert.deepEqual(own.corpus.ids, ['d1', '2', 'd3']);
  assert.deepEqual([...own.corpus.texts()], ['A title and text', 'no title', '']);
  assert.deepEqual(own.queries, [
    { id: 'q1', text: 'one', group: 'de' },
    { id: 'q2', text: 'two', group: undefined },
  ]);
  assert.deepEqual(
    own.notices.map((line) => line.replace(`${folder}/`, '').replaceAll(folder, '')),
    [
      '/own/test_queries.jsonl: 1 of 3 queries are not judged: left out',
      '/own/test_qrels.jsonl: 1 of 3 judged queries are not among the queries, such as "q9": they count as 0 in mrr and recall_cap, as in FlagEmbedding, and in no other mean',
      '/own/test_qrels.jsonl: 1 relevant documents are not in the corpus, such as "d9": no run can find them',
      '/own/test_qrels.jsonl: 1 queries have no relevant document, such as "q2": all their metrics are 0',
    ].map((line) => line.replace(/^\//, '')),
  );
  file('beir/corpus.jsonl', [{ _id: 'd1', title: 'T', text: 'text', metadata: {} }]);
  file('beir/queries.jsonl', [{ _id: 'q1', text: 'one', metadata: {}, topic: 3 }]);
  file('beir/qrels/dev.tsv', 'query-id\tcorpus-id\tscore\nq1\td1\t1\n');
  const beir = readEvaluationData(filesOfFolder(path.join(folder, 'beir'), 'dev'), { groupBy: 'topic' });
  assert.deepEqual(beir.queries, [{ id: 'q1', text: 'one', group: '3' }]);
  assert.deepEqual(beir.notices, []);
  assert.throws(
    () => filesOfFolder(path.join(folder, 'beir'), 'test'),
    /expected test_queries\.jsonl and test_qrels\.jsonl, or queries\.jsonl and qrels\/test\.tsv, found neither pair/,
  );
  assert.throws(() => filesOfFolder(path.join(folder, 'nowhere'), 'test'), /found no corpus\.jsonl/);
  assert.throws(
    () => readEvaluationData(filesOfFolder(path.join(folder, 'beir'), 'dev'), { groupBy: 'tpic' }),
    /^InputError: --group_by: expected a field of queries/,
  );
});

test('topics and documents as tab-separated text', () => {
  const files = {
    corpus: file('c.tsv', 'd1\tone text\nd2\ttitle\ttext\n'),
    queries: file('t.tsv', '1\ta query\twith a tab\n'),
    qrels: file('j.txt', '1 0 d2 1\n'),
  };
  const { corpus, queries } = readEvaluationData(files);
  assert.deepEqual([...corpus.texts()], ['one text', 'title text']);
  assert.deepEqual(queries, [{ id: '1', text: 'a query\twith a tab', group: undefined }]);
  assert.equal(passageText('', ' a '), 'a');
});

test('documents and queries that are none', () => {
  const good = {
    corpus: file('g/c.jsonl', [{ id: 'd', text: 't' }]),
    queries: file('g/q.jsonl', [{ id: 'q', text: 't' }]),
    qrels: file('g/j.txt', 'q 0 d 1\n'),
  };
  const cases: [Partial<typeof good>, RegExp][] = [
    [
      {
        corpus: file('b/1.jsonl', [
          { id: 'd', text: 't' },
          { id: 'd', text: 'u' },
        ]),
      },
      /1\.jsonl:2: expected each id once, found "d" again after line 1/,
    ],
    [{ corpus: file('b/2.jsonl', [{ id: 'd' }]) }, /2\.jsonl:1: expected "text" to be a text, found nothing/],
    [{ corpus: file('b/3.jsonl', [{ text: 't' }]) }, /3\.jsonl:1: expected "id" or "_id" to be an id/],
    [{ corpus: file('b/4.jsonl', '') }, /4\.jsonl/],
    [{ corpus: file('b/5.tsv', 'no tab\n') }, /5\.tsv:1: expected id, tab, text .*, found no tab/],
    [
      { queries: file('b/6.jsonl', [{ id: 'q', text: 3 }]) },
      /6\.jsonl:1: expected "text" to be a text, found 3/,
    ],
    [{ queries: file('b/7.tsv', 'q\n') }, /7\.tsv:1: expected id, tab, query, found "q"/],
    [
      { qrels: file('b/8.txt', 'other 0 d 1\n') },
      /8\.txt: expected judgements of queries in .*q\.jsonl, found none: it judges 1 others, such as "other"/,
    ],
    [
      { queries: file('b/9.jsonl', [{ id: 'q', text: 't', lang: ['de'] }]) },
      /9\.jsonl:1: expected "lang" to be a text or a number/,
    ],
  ];
  for (const [part, message] of cases)
    assert.throws(
      () => readEvaluationData({ ...good, ...part }),
      (error: Error) => error.name === 'InputError' && message.test(error.message),
      String(message),
    );
});

test('a corpus that changes between two readings is noticed', () => {
  const files = {
    corpus: file('s/c.jsonl', [
      { id: 'd', text: 't' },
      { id: 'e', text: 't' },
    ]),
    queries: file('s/q.jsonl', [{ id: 'q', text: 't' }]),
    qrels: file('s/j.txt', 'q 0 d 1\n'),
  };
  const { corpus } = readEvaluationData(files);
  file('s/c.jsonl', [{ id: 'd', text: 't' }]);
  assert.throws(() => [...corpus.texts()], /the file has changed since it was first read/);
});

test('rows of training data: the pool is every positive and negative, equal texts are one document', () => {
  const rows = file('rows.jsonl', [
    { query: 'one', pos: ['a', 'b'], neg: ['c', 'one'], language: 'de' },
    { query: 'two', pos: ['c'], neg: ['a'] },
    { query: 'one', pos: ['d'], neg: [], language: 'de' },
    { query: 'e', pos: ['e'], neg: ['b'] },
  ]);
  const { corpus, queries, qrels, notices, excluded } = readTrainingRows([rows], '--eval_data');
  assert.deepEqual([...corpus.texts()], ['a', 'b', 'c', 'one', 'd', 'e']);
  assert.deepEqual(corpus.ids, ['d1', 'd2', 'd3', 'd4', 'd5', 'd6']);
  assert.deepEqual(
    queries.map(({ id, text, group }) => [id, text, group]),
    [
      ['q1', 'one', 'de'],
      ['q2', 'two', undefined],
      ['q3', 'e', undefined],
    ],
  );
  assert.deepEqual(plain(qrels), { q1: { d1: 1, d2: 1, d5: 1 }, q2: { d3: 1 }, q3: { d6: 1 } });
  assert.deepEqual(notices, [
    '1 rows repeat the query of an earlier one: their positives are that query’s too',
    '1 queries stand in the pool themselves without being a positive: left out of what they find',
  ]);
  // A positive that is the query itself can be found.
  assert.deepEqual([...excluded], [['q1', 'd4']]);
  assert.equal(readTrainingRows([rows], '--eval_data', { withoutQuery: false }).excluded.size, 0);
  assert.throws(
    () => readTrainingRows([file('bad.jsonl', [{ query: 'q', pos: [] }])], '--eval_data'),
    /bad\.jsonl:1: expected "pos"/,
  );
});
