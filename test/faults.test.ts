/**
 * Faulty rows are told all at once: what is broken in a file does not hide what is broken behind it, in whatever layout
 * rows are written, and every reader of rows gathers. And fields that are called otherwise are told with the name that is
 * read here.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { loadDatasets } from '../src/data/batches.js';
import { RowFile } from '../src/data/rows.js';
import { InputError } from '../src/errors.js';
import { Faults } from '../src/files/faults.js';
import { readJsonObjects } from '../src/files/json-objects.js';
import { kindOf } from '../src/files/kind.js';
import { checkTexts } from '../src/retrieval/encode/input.js';
import { readEvaluationData } from '../src/retrieval/evaluate/datasets.js';
import { readRun } from '../src/retrieval/evaluate/run-file.js';
import { readTrainingRows } from '../src/retrieval/evaluate/training-rows.js';
import { MiningInput } from '../src/retrieval/mine/input.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { openInputs } from '../src/train/run/inputs.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-faults-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

function write(name: string, content: string): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, content);
  return file;
}

const row = (more: object = {}) => JSON.stringify({ query: 'q', pos: ['p'], neg: ['n'], ...more });

/** The message of what is thrown and the lines below it, without the folder. */
function told(read: () => unknown): string[] {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof InputError, String(error));
    const lines = [error.message, ...error.more];
    for (const line of lines) assert.ok(line.length < 600 && !line.includes('\n'), line);
    return lines.map((line) => line.replaceAll(`${folder}${path.sep}`, ''));
  }
  return assert.fail('nothing was thrown');
}

/** Lines of the faults of a file, and the queries that were read all the same. */
function faultsIn(content: string): { at: string[]; read: unknown[] } {
  const faults = new Faults();
  const read: unknown[] = [];
  for (const { value } of readJsonObjects(write('layout.jsonl', content), faults)) read.push(value['query']);
  const lines = faults.found ? told(() => faults.throwIfAny()) : [];
  return { at: lines.map((line) => /^layout\.jsonl:(\d+)/.exec(line)?.[1] ?? line), read };
}

test('behind an object that is broken the next one is read, in every layout', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((query) => row({ query }));
  const pretty = (query: string) => JSON.stringify({ query, pos: ['p'], more: { in: [{}] } }, null, 2);
  const cases: [string, string[], string[], string[]][] = [
    ['comma missing', [a!, '{"query" "x"}', b!], ['2'], ['a', 'b']],
    ['no end', [a!, '{"query": "x", "pos": ["y"]', b!, c!], ['2'], ['a', 'b', 'c']],
    ['no end of a list', [a!, '{"query": "x", "pos": ["y"', b!, c!], ['2'], ['a', 'b', 'c']],
    ['no end behind a comma', [a!, '{"query": "x",', b!, c!], ['2'], ['a', 'b', 'c']],
    ['no end of a text', [a!, '{"query": "x', b!], ['2'], ['a', 'b']],
    ['no beginning', ['"query": "x"}', a!, 'words', '', b!], ['1', '3'], ['a', 'b']],
    ['a list among objects', [a!, '["x"]', '7', b!], ['2', '3'], ['a', 'b']],
    ['the last has no end', [a!, b!, '{"query": "x"'], ['3'], ['a', 'b']],
    ['two on one line', [a!, `${b} {"query" "x"}`, c!], ['2'], ['a', 'b', 'c']],
    ['a brace too many', [a!, `${b}}`, c!], ['2'], ['a', 'b', 'c']],
    ['several, one after the other', ['{]}', '{"a":}', a!, '{"b"}'], ['1', '2', '4'], ['a']],
    ['over several lines', [pretty('a'), pretty('x').replace(':', ''), pretty('b')], ['12'], ['a', 'b']],
    ['in a list', ['[', `${a},`, '{"query" "x"},', b!, ']'], ['3'], ['a', 'b']],
    [
      'in a list, set in',
      [
        `[${JSON.stringify([{ query: 'a' }, { query: 'b' }], null, 2)
          .slice(1)
          .replace(':', '')}`,
      ],
      ['2'],
      ['b'],
    ],
    ['in a list on one line', [`[${a},{"query" "x"},${b}]`], ['1'], ['a']],
    ['the last of a list', ['[', `${a},`, '{"query" "x"}', ']'], ['3'], ['a']],
  ];
  for (const [name, lines, at, read] of cases)
    for (const end of ['\n', '\r\n']) {
      const found = faultsIn(lines.join(end).replaceAll(/\r?\n/g, end) + end);
      assert.deepEqual(found, { at, read }, `${name} ${JSON.stringify(end)}`);
    }
});

test('lines that begin as files of other formats do are text', () => {
  for (const line of ['PAR1 is a receptor', 'PAR1', 'ARROW1 is a name', '%PDF-files are documents'])
    assert.equal(kindOf(Buffer.from(`${line}\n`)), undefined, line);
  const pages = write('pages.txt', '<html><p>one</html>\n<html><p>two</html>\n');
  assert.equal(checkTexts([pages], { format: 'auto', fields: ['text'], idField: undefined }), 2);
  for (const [bytes, kind] of [
    ['PAR1\x15\x04', 'a Parquet file'],
    ['ARROW1\0\0', 'an Arrow file'],
    ['%PDF-1.7\n', 'a PDF document'],
  ] as const)
    assert.equal(kindOf(Buffer.from(bytes)), kind);
});

test('a file that holds no object at all is told as what it looks like, and so are other habits', () => {
  for (const [content, message] of [
    [
      'query,pos,neg\na,b,c\nd,e,f\n',
      /^layout\.jsonl:1: expected a JSON object, found "query,pos,neg": these look like comma-separated values, and each row is to be an object such as /,
    ],
    ['query\tpos\na\tb\n', /these look like tab-separated values/],
    [
      `${row()},\n${row()},\n`,
      /^layout\.jsonl:1: expected a JSON object, found ",": objects on lines of their own have no comma between them \(/,
    ],
    [
      "{'query': 'q', 'pos': ['p']}\n",
      /at character 2; Python prints such quotes, and json\.dumps writes JSON\)$/,
    ],
    // A search that began anew at each of the lines would take hours.
    [`x\n${'\n'.repeat(2 ** 20)}`, /^layout\.jsonl:1: expected a JSON object, found "x"$/],
    ['just words\nand more\n', /^layout\.jsonl:1: expected a JSON object, found "just words"$/],
  ] as const) {
    assert.match(told(() => new RowFile(write('layout.jsonl', content)))[0]!, message);
  }
});

test('ten faults are told with their lines, the others by kind, and not more than a thousand are looked for', () => {
  const bad = ['{"query":1,"pos":["p"]}', '{"query":"q"}', '{"query":'];
  const content = Array.from({ length: 40 }, (_, i) => bad[i % 3])
    .flatMap((line) => [row(), line!])
    .join('\n');
  const lines = told(() => new RowFile(write('rows.jsonl', content)));
  assert.equal(lines.length, 11);
  assert.equal(
    lines[0],
    'rows.jsonl:2: expected "query" to be a text, found 1 (the first of 40 faulty rows)',
  );
  assert.equal(lines[1], 'rows.jsonl:4: expected "pos" to be a list of at least one text, found nothing');
  assert.match(lines[9]!, /^rows\.jsonl:20: /);
  assert.equal(
    lines[10],
    'and 30 more: 10 × expected "pos" to be a list of at least one text; 10 × expected a JSON object; 10 × expected "query" to be a text',
  );
  const many = told(() => new RowFile(write('many.jsonl', '{"query":1}\n'.repeat(5000))));
  assert.match(many[0]!, / \(the first of 1000 faulty rows or more: reading ended there\)$/);
  assert.equal(many.length, 11);
});

test('every reader of rows tells all that is faulty', () => {
  const one = write('one.jsonl', `${row()}\n{"query":1}\n${row()}\n{"query":"q"}\n`);
  const two = write('two.jsonl', `{\n`);
  const first = /^one\.jsonl:2: .* \(the first of (\d) faulty (\w+)\)$/;
  const cases: [string, () => unknown, number, string][] = [
    ['training', () => loadDatasets({ trainData: [one, two] }), 3, 'rows'],
    ['evaluation on rows', () => readTrainingRows([one, two], '--eval_data'), 3, 'rows'],
    [
      'mining',
      () =>
        new MiningInput({
          ...{ inputFile: one, candidatePool: two, scoresPositives: false, rowPrompt: undefined },
          ...{ instruction: undefined, positivesElsewhere: false },
        }),
      3,
      'rows',
    ],
    [
      'encoding',
      () => checkTexts([one, two], { format: 'auto', fields: ['query'], idField: undefined }),
      2,
      'texts',
    ],
  ];
  for (const [name, read, count, what] of cases) {
    const lines = told(read);
    assert.equal(lines.length, count, name);
    const match = first.exec(lines.find((line) => line.startsWith('one.jsonl:2')) ?? '');
    if (name !== 'mining') assert.deepEqual([match?.[1], match?.[2]], [String(count), what], lines[0]);
  }
  const corpus = write('c.jsonl', '{"id":"d1","text":"x"}\n{"id":"d1","text":"x"}\n{"id":"d2"}\n');
  const queries = write('q.tsv', 'q1\ttext\nnothing\n\tnothing\n');
  const qrels = write('r.tsv', 'q1\td1\t1\nq1\td2\tx\nq1\n');
  const lines = told(() => readEvaluationData({ corpus, queries, qrels }));
  assert.match(lines[0]!, /^c\.jsonl:2: expected each id once.* \(the first of 6 faulty lines\)$/);
  assert.deepEqual(
    lines.slice(1).map((line) => line.split(': ')[0]),
    ['c.jsonl:3', 'r.tsv:2', 'r.tsv:3', 'q.tsv:2', 'q.tsv:3'],
  );
  const run = told(() => readRun(write('a.run', 'q Q0 d 1 1 t\nq\nq Q0 d 1 2 t\n')));
  assert.deepEqual(
    run.map((line) => line.split(': ')[0]),
    ['a.run:2', 'a.run:3'],
  );
  // Of rows that are sound, but not for this run.
  const bare = write('bare.jsonl', `${row({ neg: [] })}\n${row()}\n${row({ neg: null })}\n`);
  const missing = told(() => loadDatasets({ trainData: [bare] }).batchesPerEpoch());
  assert.match(missing[0]!, /^bare\.jsonl:1: expected "neg" .* \(the first of 2 faulty rows\)$/);
  assert.match(missing[1]!, /^bare\.jsonl:3: /);
  const teacher = told(() =>
    loadDatasets({ trainData: [bare], knowledgeDistillation: true, trainGroupSize: 1 }),
  );
  assert.equal(teacher.length, 3);
});

test('a field of another name is told with the name that is read here', () => {
  const message = (fields: object) =>
    told(() => new RowFile(write('names.jsonl', JSON.stringify(fields))))[0]!.replace(/^.*found /, '');
  for (const [fields, found] of [
    [{ question: 'q', pos: ['p'] }, 'nothing but "question": if that is meant, rename it'],
    [{ Query: 'q', pos: ['p'] }, 'nothing but "Query": if that is meant, rename it'],
    [{ qurey: 'q', pos: ['p'] }, 'nothing but "qurey": if that is meant, rename it'],
    [{ query: 'q', positives: ['p'] }, 'nothing but "positives": if that is meant, rename it'],
    [{ query: 'q', pos_1: ['p'] }, 'nothing but "pos_1": if that is meant, rename it'],
    [{ query: 'q', title: ['p'] }, 'nothing'],
    [{ data: [{ query: 'q', pos: ['p'] }] }, 'nothing but a list "data" of such rows: write the list alone'],
    [{ query: 'q', pos: null, positive: 'p' }, 'null'],
  ] as const)
    assert.equal(message(fields), found);
  const columns = message({ anchor: 'a', positive: 'b', negative: 'c' });
  assert.match(columns, /^the columns of sentence-transformers: "anchor" is called "query" here/);

  const renamed = write('negs.jsonl', `${row()}\n${`{"query":"q","pos":["p"],"negs":["n"]}\n`.repeat(3)}`);
  const { notices } = loadDatasets({ trainData: [renamed], trainGroupSize: 1 });
  assert.equal(
    notices[0]!.replaceAll(`${folder}${path.sep}`, ''),
    '--train_data: "negs" of 3 rows is not read: if "neg" is meant, rename it (the first: negs.jsonl:2)',
  );
  const needed = told(() => loadDatasets({ trainData: [renamed], trainGroupSize: 2 }).batchesPerEpoch());
  assert.match(needed[0]!, /found none: 3 rows have "negs": if that is meant, rename it \(the first of 3/);
  // Fields of one's own are nobody's business, nor what a mode does not look at.
  const own = write(
    'own.jsonl',
    row({ id: 1, source: 'x', negs: [], neg_id: 3, prompts: 'x', pos_score: [1] }),
  );
  assert.deepEqual(loadDatasets({ trainData: [own], trainGroupSize: 2 }).notices, []);
});

test('what is sound and hardly meant so is counted in a line for each kind', () => {
  const file = write(
    'odd.jsonl',
    [{}, { query: '' }, { pos: ['p', ''] }, { neg: ['n', 'p'] }, { neg: [''] }]
      .map((more) => row(more))
      .join('\n'),
  );
  assert.deepEqual(
    loadDatasets({ trainData: [file], trainGroupSize: 2 }).notices.map((line) =>
      line.replaceAll(`${folder}${path.sep}`, ''),
    ),
    [
      '--train_data: 1 row with an empty "query" (the first: odd.jsonl:2)',
      '--train_data: 2 rows with an empty text in "pos" or "neg" (the first: odd.jsonl:3)',
      '--train_data: 1 row with one text in "pos" and in "neg", which teaches nothing (the first: odd.jsonl:4)',
    ],
  );
});

test('paths that are no data say what to do', () => {
  const csv = write('rows.csv', 'query,pos\n');
  for (const [given, message] of [
    [csv, /rows\.csv: expected a \.json or \.jsonl file: csv is not read; docs\/training-data\.md has/],
    [write('rows.JSONL', row()), /in small letters$/],
    [write('rows.jsonl.gz', row()), /it is packed; unpack it to train on it$/],
    [write('rows.ndjson', row()), /expected a \.json or \.jsonl file: give it such a name$/],
    [write('rows.md', row()), /expected a \.json or \.jsonl file$/],
    [path.join(folder, '*.jsonl'), /found nothing: the shell puts names in place of \*/],
    [`${csv},${csv}`, /found nothing: paths are parted by spaces, not by commas$/],
    [`${csv},nothing`, /found nothing$/],
  ] as const)
    assert.match(told(() => loadDatasets({ trainData: [given] }))[0]!, message);
});

test('a pool of rows, and files that are read twice or measured too, are told', async () => {
  const rows = write('rows.jsonl', `${row()}\n${row()}\n`);
  const mining = (candidatePool: string) => ({
    ...{ inputFile: rows, candidatePool, scoresPositives: false, rowPrompt: undefined },
    ...{ instruction: undefined, positivesElsewhere: false },
  });
  assert.match(
    told(() => new MiningInput(mining(rows)))[0]!,
    /^rows\.jsonl:1: expected "text" to be a text, found nothing \(a row: without --candidate_pool the texts/,
  );
  assert.match(
    told(() => new MiningInput(mining(write('pool.jsonl', '{"contents":"x"}'))))[0]!,
    /found nothing \(if "contents" is meant, rename it\)$/,
  );
  const { args } = parseFinetuneArguments([
    ...['--model_name_or_path', golden('model'), '--output_dir', path.join(folder, 'out')],
    ...[
      '--train_data',
      rows,
      path.join(folder, '.', 'rows.jsonl'),
      '--eval_data',
      rows,
      '--train_group_size',
      '2',
    ],
  ]);
  const notes: string[] = [];
  openInputs(golden('model'), args, (line) => notes.push(line.replaceAll(`${folder}${path.sep}`, '')));
  assert.deepEqual(notes, [
    '--train_data: rows.jsonl is given 2 times: its rows are trained on as often',
    '--eval_data: rows.jsonl is trained on too: what is measured there says nothing of other rows',
  ]);
});

test('negatives that come several times in a group are counted in one notice', () => {
  const rows = [[], ['n'], ['n', 'm'], ['n', 'm', 'o']].map((neg) => row({ neg }));
  const notices = (trainGroupSize: number, lines: string[]) =>
    loadDatasets({ trainData: [write('few.jsonl', lines.join('\n'))], trainGroupSize }).notices.map((line) =>
      line.replaceAll(`${folder}${path.sep}`, ''),
    );
  assert.deepEqual(notices(4, rows.slice(1)), [
    '--train_data: 2 of 3 rows have fewer texts in "neg" than a group takes: some come several times in it, up to 3 times (the first: few.jsonl:1); a smaller --train_group_size takes less time',
  ]);
  assert.deepEqual(notices(2, rows.slice(1)), []);
  assert.deepEqual(notices(1, rows), []);
});
