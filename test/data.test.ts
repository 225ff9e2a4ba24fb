/**
 * Training data: what a row may look like, which rows share a batch, what is drawn for them. The counts on the
 * example data are those of FlagEmbedding itself (docs/spec/flagembedding-m3.md §2.3).
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { loadDatasets, type TrainBatch } from '../src/data/batches.js';
import type { DataOptions } from '../src/data/options.js';
import { compileFormat, type PromptOptions, Prompts } from '../src/data/prompts.js';
import { parseRow, RowFile } from '../src/data/rows.js';
import { groupSizeOf, sampleGroup, sampleNegatives, shuffleText } from '../src/data/sampling.js';
import { findSource } from '../src/data/sources.js';
import { InputError } from '../src/errors.js';
import { CounterRandom } from '../src/tensor/random.js';

let root = dirname(fileURLToPath(import.meta.url));
while (!existsSync(join(root, 'package.json'))) root = dirname(root);
const example = join(root, 'test/golden/example_data');
const folder = mkdtempSync(join(tmpdir(), 'dawntune-data-'));
after(() => rmSync(folder, { recursive: true }));

/** Writes a file under the temporary folder; rows become lines, text is written as it is. */
function write(name: string, rows: readonly object[] | string | Buffer): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  const content =
    typeof rows === 'string' || Buffer.isBuffer(rows)
      ? rows
      : rows.map((row) => JSON.stringify(row)).join('\n');
  writeFileSync(path, content);
  return path;
}

const row = (name: string, more: object = {}) => ({
  query: `q ${name}`,
  pos: [`p ${name}`],
  neg: [`n ${name}`],
  ...more,
});
const rows = (name: string, count: number, more: object = {}) =>
  Array.from({ length: count }, (_, i) => row(`${name}${i}`, more));

/** An InputError whose message is one line and matches. */
function refuses(run: () => unknown, message: RegExp): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof InputError, String(error));
    assert.match(error.message, message);
    assert.ok(!error.message.includes('\n'), error.message);
    return true;
  });
}

const missionOptions = {
  trainData: [
    'retrieval',
    'sts/sts.jsonl',
    'classification-no_in_batch_neg',
    'clustering-no_in_batch_neg/',
  ].map((path) => join(example, path)),
  sameDatasetWithinBatch: true,
  knowledgeDistillation: true,
  perDeviceTrainBatchSize: 2,
  dataloaderDropLast: true,
} satisfies Partial<DataOptions>;

// ---- the example data ----

test('the example data gives upstream’s number of batches', () => {
  const data = loadDatasets(missionOptions);
  assert.equal(data.rowCount, 80);
  assert.equal(data.batchesPerEpoch(2), 31);
  assert.equal(data.batchesPerEpoch(1), 65);
  assert.equal(loadDatasets({ ...missionOptions, perDeviceTrainBatchSize: 4 }).batchesPerEpoch(1), 31);
  assert.equal([...data.epoch(0)].length, 65);
  assert.equal([...data.epoch(0, { rank: 1, worldSize: 2 })].length, 31);
  assert.deepEqual(data.usage().notices, []);
  assert.equal(data.notices.length, 1);
  assert.match(
    data.notices[0]!,
    /^--train_data: 50 of 80 rows have no scores and train without a teacher in spite of --knowledge_distillation \(.* and 2 more\)$/,
  );
});

test('group sizes, batch sizes, flags and teachers of the example data', () => {
  const seen = new Map<string, Set<string>>();
  for (const batch of loadDatasets(missionOptions).epoch(3)) {
    assert.equal(batch.passages.length, batch.queries.length * batch.groupSize);
    assert.equal(batch.rows.length, batch.queries.length);
    if (batch.teacherScores) assert.equal(batch.teacherScores.length, batch.passages.length);
    const name = batch.dataset.slice(example.length + 1);
    const kind = `B${batch.queries.length} G${batch.groupSize} ${batch.noInBatchNeg ? 'own' : 'in-batch'} ${batch.teacherScores ? 'teacher' : 'plain'}`;
    seen.set(name, (seen.get(name) ?? new Set()).add(kind));
  }
  assert.deepEqual(Object.fromEntries([...seen].map(([name, kinds]) => [name, [...kinds].join()]).sort()), {
    'classification-no_in_batch_neg/AmazonClassification.jsonl': 'B1 G5 own plain',
    'classification-no_in_batch_neg/Banking77Classification.jsonl': 'B1 G8 own plain',
    'clustering-no_in_batch_neg/arXiv_title.jsonl': 'B1 G8 own plain',
    'clustering-no_in_batch_neg/bioRXiv_title.jsonl': 'B1 G8 own plain',
    'retrieval/msmarco.jsonl': 'B2 G8 in-batch teacher',
    'retrieval/nli.jsonl': 'B2 G2 in-batch teacher',
    'retrieval/nq.jsonl': 'B2 G8 in-batch teacher',
    'sts/sts.jsonl': 'B1 G8 in-batch plain',
  });
});

test('texts, prompts and scores of a batch are those of its rows', () => {
  const files = new Map<string, RowFile>();
  for (const batch of loadDatasets(missionOptions).epoch(0, { startBatch: 20 })) {
    for (const [b, place] of batch.rows.entries()) {
      const file = files.get(place.file) ?? new RowFile(place.file);
      files.set(place.file, file);
      const source = file.row(place.line - 1);
      assert.equal(batch.queries[b], source.prompt + source.query);
      const prompt = ['symmetric_sts', 'symmetric_clustering'].includes(source.type!) ? source.prompt : '';
      const group = batch.passages.slice(b * batch.groupSize, (b + 1) * batch.groupSize);
      assert.equal(group[0], prompt + source.pos[0]!);
      for (const [j, passage] of group.slice(1).entries()) {
        const negative = source.neg.findIndex((text) => prompt + text === passage);
        assert.ok(negative >= 0);
        if (batch.teacherScores)
          assert.equal(
            batch.teacherScores[b * batch.groupSize + 1 + j],
            Math.fround(source.negScores![negative]!),
          );
      }
      if (batch.teacherScores)
        assert.equal(batch.teacherScores[b * batch.groupSize], Math.fround(source.posScores![0]!));
    }
  }
});

test('an epoch is a function of seed and epoch, and starts anywhere', () => {
  const data = loadDatasets(missionOptions);
  const whole = [...data.epoch(1)];
  assert.deepEqual([...loadDatasets(missionOptions).epoch(1)], whole);
  assert.deepEqual([...data.epoch(1, { startBatch: 40 })], whole.slice(40));
  assert.deepEqual([...data.epoch(1, { startBatch: 65 })], []);
  assert.notDeepEqual([...data.epoch(2)].map(places), whole.map(places));
  assert.notDeepEqual(
    [...loadDatasets({ ...missionOptions, seed: 43 }).epoch(1)].map(places),
    whole.map(places),
  );
});

test('what is drawn for a seed stays what it was, so that runs can be repeated by later versions', () => {
  // Digests of commit 052fc65.
  for (const [options, expected] of [
    [missionOptions, '970d133edceb2fc5'],
    [
      {
        trainData: missionOptions.trainData,
        shuffleRatio: 0.5,
        queryInstructionForRetrieval: 'X: ',
        perDeviceTrainBatchSize: 4,
        trainGroupSize: 5,
        maxExampleNumPerDataset: 7,
        seed: 7,
      },
      'd6f45d0055ed0ac1',
    ],
  ] as const) {
    const hash = createHash('sha256');
    const data = loadDatasets(options);
    for (const epoch of [0, 3])
      for (const { queries, passages, teacherScores } of data.epoch(epoch))
        hash.update(JSON.stringify([queries, passages, teacherScores && [...teacherScores]]));
    assert.equal(hash.digest('hex').slice(0, 16), expected);
  }
});

const places = (batch: TrainBatch) => batch.rows.map(({ file, line }) => `${file}:${line}`);

// ---- rows ----

test('every bad line is refused in one line that says where, what was expected and what was found', () => {
  const at = { file: 'x.jsonl', line: 7 };
  const refused = (line: string | object, message: RegExp) =>
    refuses(() => parseRow(typeof line === 'string' ? line : JSON.stringify(line), at), message);
  const good = row('a');
  refused('{"query": "a", ', /^x\.jsonl:7: expected a JSON object, found broken JSON \(.+\)$/);
  refused('[1]', /^x\.jsonl:7: expected a JSON object, found \[1\]$/);
  refused('null', /found null$/);
  refused({ ...good, query: undefined }, /^x\.jsonl:7: expected "query" to be a text, found nothing$/);
  refused({ ...good, query: 3 }, /found 3$/);
  refused({ ...good, pos: undefined }, /"pos" to be a list of at least one text, found nothing$/);
  refused({ ...good, pos: [] }, /"pos" to be a list of at least one text, found \[\]$/);
  refused({ ...good, pos: 'text' }, /"pos" to be a list of texts, found "text"$/);
  refused({ ...good, neg: ['a', null] }, /"neg" to be a list of texts, found null at index 1$/);
  refused(
    { ...good, neg: ['x'.repeat(10), { long: 'y'.repeat(200) }] },
    /found \{"long":"y+…"\} at index 1$/,
  );
  refused(
    { ...good, pos_scores: [1, 2], neg_scores: [1] },
    /"pos_scores" to have 1 numbers, as "pos" has texts, found 2$/,
  );
  refused(
    { ...good, pos_scores: [1], neg_scores: [] },
    /"neg_scores" to have 1 numbers, as "neg" has texts, found 0$/,
  );
  refused(
    { ...good, pos_scores: ['1'], neg_scores: [1] },
    /"pos_scores" to be a list of numbers, found "1" at index 0$/,
  );
  refused({ ...good, pos_scores: [1] }, /expected "neg_scores" beside "pos_scores", found nothing$/);
  refused({ ...good, neg_scores: [1] }, /expected "pos_scores" beside "neg_scores", found nothing$/);
  refused({ ...good, prompt: 1 }, /"prompt" to be a text, found 1$/);
  refused({ ...good, type: ['a'] }, /"type" to be a text, found \["a"\]$/);
  refused({ ...good, batch_size: 0 }, /"batch_size" to be a positive integer, found 0$/);
  refused({ ...good, train_group_size: 2.5 }, /"train_group_size" to be a positive integer, found 2.5$/);
});

test('optional fields may be absent or null, integer scores are numbers, other columns are tolerated', () => {
  const place = { file: 'x', line: 1 };
  assert.deepEqual(parseRow('{"query":"q","pos":["p"],"neg":null,"category":5,"prompt":null}', place), {
    query: 'q',
    pos: ['p'],
    neg: [],
    posScores: null,
    negScores: null,
    prompt: null,
    type: null,
    batchSize: null,
    trainGroupSize: null,
  });
  assert.deepEqual(parseRow('{"query":"q","pos":["p"],"pos_scores":[3]}', place).negScores, []);
  assert.deepEqual(
    parseRow(JSON.stringify(row('a', { pos_scores: [9], neg_scores: [1] })), place).posScores,
    [9],
  );
});

test('a file is indexed by bytes: blank lines, CRLF, a byte order mark, long lines and no final newline', () => {
  const long = 'ü€😀'.repeat(400_000); // 3.6 MB: beyond one read
  const texts = [
    `\ufeff${JSON.stringify(row('ä'))}`,
    '',
    `${JSON.stringify(row(long))}\r`,
    '   ',
    JSON.stringify(row('z')),
  ];
  const file = new RowFile(write('odd.jsonl', texts.join('\n')));
  assert.equal(file.rowCount, 3);
  assert.deepEqual(
    [0, 1, 2].map((i) => file.place(i).line),
    [1, 3, 5],
  );
  assert.deepEqual(
    [2, 0, 1].map((i) => file.row(i).query),
    ['q z', 'q ä', `q ${long}`],
  );
});

test('files that hold no rows, an array, other bytes or a bad line are refused', () => {
  const refused = (name: string, content: string | Buffer, message: RegExp) =>
    refuses(() => new RowFile(write(name, content)), message);
  refused('empty.jsonl', '\n\n', /empty\.jsonl: expected at least one row, found none$/);
  refused('latin.jsonl', Buffer.from('{"query":"\xe4"}', 'latin1'), /latin\.jsonl:1: expected UTF-8 text/);
  refused(
    'bad.jsonl',
    `${JSON.stringify(row('a'))}\n\n{"query":1}`,
    /bad\.jsonl:3: expected "query" to be a text, found 1$/,
  );
});

test('a row that changed on disk is refused when it is read', () => {
  const path = write('changing.jsonl', rows('a', 2));
  const file = new RowFile(path);
  write('changing.jsonl', 'x');
  refuses(() => file.row(1), /changing\.jsonl:2: the file has changed since it was first read$/);
});

test('sources: one level, sorted, only JSON files; the no_in_batch_neg name with and without a slash', () => {
  for (const name of ['b.jsonl', 'a.json', 'c.txt', 'B.jsonl', 'sub/d.jsonl', 'x.jsonl.bak'])
    write(`dir-no_in_batch_neg/${name}`, rows(name, 1));
  const directory = join(folder, 'dir-no_in_batch_neg');
  for (const path of [directory, `${directory}/`, `${directory}//`]) {
    const source = findSource(path, '--train_data');
    assert.deepEqual(
      source.files.map((file) => file.slice(directory.length + 1)),
      ['B.jsonl', 'a.json', 'b.jsonl'],
    );
    assert.equal(source.noInBatchNeg, true);
  }
  assert.equal(findSource(join(directory, 'a.json'), '--train_data').noInBatchNeg, false);
  assert.equal(findSource(write('x-no_in_batch_neg.jsonl', rows('a', 1)), '--train_data').noInBatchNeg, true);
});

test('missing paths, other extensions and directories without data are refused', () => {
  refuses(
    () => loadDatasets({ trainData: ['/no/such'] }),
    /^--train_data: \/no\/such: expected a file or directory, found nothing$/,
  );
  refuses(
    () => findSource(write('a.csv', 'a'), '--eval_data'),
    /^--eval_data: .*a\.csv: expected a \.json or \.jsonl file: csv is not read/,
  );
  mkdirSync(join(folder, 'void'));
  refuses(
    () => findSource(join(folder, 'void'), '--train_data'),
    /void: expected a directory with \.json or \.jsonl files, found none$/,
  );
});

// ---- prompts ----

test('formats are Python’s: two slots, numbered or not, escaped braces, backslash-n', () => {
  const join_ = (format: string) => compileFormat(format, '--f')('I', 'T');
  assert.equal(join_('{}{}'), 'IT');
  assert.equal(join_('Instruct: {}\\nQuery: {}'), 'Instruct: I\nQuery: T');
  assert.equal(join_('{1} ({0}) {{x}}'), 'T (I) {x}');
  assert.equal(join_('{1}'), 'T');
  assert.equal(compileFormat('{}{}', '--f')('$&{}', '{0}\\n'), '$&{}{0}\\n');
  for (const format of ['', 'x', '{}', '{0}', '{}{}{}', '{2}{1}', '{}{1}', '{} {', '{a}{}', '{}{}}'])
    refuses(
      () => compileFormat(format, '--f'),
      /^--f: expected slots for instruction and text as in "\{\}\{\}", found "/,
    );
});

const promptOptions: PromptOptions = {
  sameDatasetWithinBatch: true,
  queryInstructionForRetrieval: null,
  queryInstructionFormat: '{}{}',
  passageInstructionForRetrieval: null,
  passageInstructionFormat: '{}{}',
  nonePrefix: false,
};

test('same-dataset mode: prompt, else instruction, else the text as it is', () => {
  const bare = new Prompts(promptOptions, false);
  assert.equal(bare.query({ prompt: null, type: null }, 'w6'), 'w6');
  assert.equal(bare.query({ prompt: 'P: ', type: null }, 'w6'), 'P: w6');
  const global = new Prompts({ ...promptOptions, queryInstructionForRetrieval: 'G: ' }, true);
  assert.equal(global.query({ prompt: null, type: null }, 'w6'), 'G: w6');
  assert.equal(global.query({ prompt: 'P: ', type: null }, 'w6'), 'P: w6');
  assert.equal(global.query({ prompt: '', type: null }, 'w6'), 'w6');
});

test('none-prefix restores upstream’s literal None, also beside files that have prompts', () => {
  const none = { ...promptOptions, nonePrefix: true };
  assert.equal(new Prompts(none, false).query({ prompt: null, type: null }, 'w6'), 'Nonew6');
  const global = { ...none, queryInstructionForRetrieval: 'G: ' };
  assert.equal(new Prompts(global, false).query({ prompt: null, type: null }, 'w6'), 'G: w6');
  assert.equal(new Prompts(global, true).query({ prompt: null, type: null }, 'w6'), 'Nonew6');
  assert.equal(new Prompts(none, true).passage({ prompt: null, type: 'symmetric_sts' }, 'p'), 'Nonep');
});

test('passages: symmetric types take the query’s prompt and format, others the passage instruction', () => {
  const prompts = new Prompts(
    {
      ...promptOptions,
      queryInstructionFormat: '{}|{}',
      passageInstructionForRetrieval: 'D: ',
      passageInstructionFormat: '{}/{}',
    },
    true,
  );
  assert.equal(prompts.passage({ prompt: 'P', type: 'symmetric_sts' }, 'p'), 'P|p');
  assert.equal(prompts.passage({ prompt: 'P', type: 'symmetric_clustering' }, 'p'), 'P|p');
  assert.equal(prompts.passage({ prompt: 'P', type: 'symmetric_class' }, 'p'), 'D: /p');
  assert.equal(new Prompts(promptOptions, true).passage({ prompt: 'P', type: 'normal' }, 'p'), 'p');
});

test('default mode: a prompt counts only beside the instruction', () => {
  const byDefault = { ...promptOptions, sameDatasetWithinBatch: false };
  assert.equal(new Prompts(byDefault, true).query({ prompt: 'P: ', type: null }, 'q'), 'q');
  const instructed = new Prompts({ ...byDefault, queryInstructionForRetrieval: 'G: ' }, true);
  assert.equal(instructed.query({ prompt: 'P: ', type: null }, 'q'), 'P: q');
  assert.equal(instructed.query({ prompt: null, type: null }, 'q'), 'G: q');
  assert.equal(instructed.passage({ prompt: 'P: ', type: 'symmetric_sts' }, 'p'), 'p');
});

// ---- sampling ----

test('negatives: without replacement when there are enough, else at most ⌈k/n⌉ copies of each', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(40), fc.integer(), (n, k, seed) => {
      const drawn = sampleNegatives(n, k, new CounterRandom(seed));
      assert.equal(drawn.length, k);
      const copies = new Array<number>(n).fill(0);
      for (const index of drawn) copies[index]!++;
      assert.ok(Math.max(...copies) <= Math.max(1, Math.ceil(k / n)));
    }),
  );
  assert.throws(() => sampleNegatives(0, 1, new CounterRandom(0)), RangeError);
});

test('negatives of a short list follow the multiset rule: three of two are 001 or 011, half of the time each', () => {
  const random = new CounterRandom(3);
  let zeros = 0;
  for (let i = 0; i < 4000; i++) {
    const count = sampleNegatives(2, 3, random).filter((index) => index === 0).length;
    assert.ok(count === 1 || count === 2);
    zeros += count;
  }
  assert.ok(Math.abs(zeros / 4000 - 1.5) < 0.04, `${zeros / 4000}`);
});

test('a group is the positive, then the negatives, with the scores of the same texts', () => {
  const place = { file: 'x.jsonl', line: 4 };
  const source = parseRow(
    JSON.stringify({
      query: 'q',
      pos: ['p0', 'p1'],
      neg: ['n0', 'n1', 'n2'],
      pos_scores: [10, 11],
      neg_scores: [0, 1, 2],
    }),
    place,
  );
  const positives = new Set<string>();
  for (let seed = 0; seed < 40; seed++) {
    const group = sampleGroup(source, place, 3, 0, new CounterRandom(seed));
    positives.add(group.passages[0]!);
    assert.deepEqual(
      group.scores,
      group.passages.map((text) => Number(text[1]) + (text[0] === 'p' ? 10 : 0)),
    );
  }
  assert.deepEqual([...positives].sort(), ['p0', 'p1']);
  const alone = { ...source, neg: [], negScores: [] };
  refuses(
    () => sampleGroup(alone, place, 3, 0, new CounterRandom(0)),
    /^x\.jsonl:4: expected "neg" to have at least one text for groups of 3, found none: dawntune mine finds some, groups of 1 \(--train_group_size\) need none$/,
  );
  assert.equal(sampleGroup(alone, place, 1, 0, new CounterRandom(0)).passages.length, 1);
});

test('group sizes by type, and by column only without one', () => {
  const size = (type: string | null, negatives = 3, own: number | null = null) =>
    groupSizeOf({ type, negatives, trainGroupSize: own }, 8);
  assert.equal(size('only_1neg'), 2);
  assert.equal(size('symmetric_class'), 4);
  assert.equal(size('symmetric_class', 30), 8);
  assert.equal(size('symmetric_class', 0), 1);
  assert.equal(size('symmetric_sts', 3, 5), 8);
  assert.equal(size('normal'), 8);
  assert.equal(size(null, 3, 5), 5);
  assert.equal(size(null), 8);
});

test('shuffled text: over 100 characters, three chunks of ⌊len/3⌋+1 characters joined with spaces', () => {
  const text = `${'a'.repeat(34)}${'é'.repeat(34)}${'😀'.repeat(33)}`;
  const seen = new Set<string>();
  for (let seed = 0; seed < 60; seed++) seen.add(shuffleText(text, 1, new CounterRandom(seed)));
  assert.equal(seen.size, 6);
  for (const shuffled of seen)
    assert.deepEqual(shuffled.split(' ').sort(), ['a'.repeat(34), 'é'.repeat(34), '😀'.repeat(33)].sort());
  assert.equal(shuffleText('😀'.repeat(100), 1, new CounterRandom(0)), '😀'.repeat(100));
  assert.equal(shuffleText(text, 0, new CounterRandom(0)), text);
  let changed = 0;
  for (let seed = 0; seed < 1000; seed++)
    if (shuffleText(text, 0.3, new CounterRandom(seed)) !== text) changed++;
  assert.ok(Math.abs(changed / 1000 - 0.3 * (5 / 6)) < 0.05, `${changed}`);
});

// ---- datasets ----

test('batch sizes: the first row’s column, else halved for symmetric types but at least 1', () => {
  const sizes = (batch: number) =>
    loadDatasets({
      trainData: [
        write('size/own.jsonl', rows('a', 9, { batch_size: 3, type: 'symmetric_sts' })),
        write('size/half.jsonl', rows('b', 9, { type: 'symmetric_class' })),
        write('size/full.jsonl', rows('c', 9)),
      ],
      sameDatasetWithinBatch: true,
      perDeviceTrainBatchSize: batch,
    }).datasets.map((dataset) => dataset.batchSize);
  assert.deepEqual(sizes(5), [3, 2, 5]);
  assert.deepEqual(sizes(1), [3, 1, 1]);
});

test('small files are merged within their directory, dropped below the second threshold, skipped when alone', () => {
  write('merge/a.jsonl', rows('a', 2, { batch_size: 4 }));
  write('merge/b.jsonl', rows('b', 3, { batch_size: 2 }));
  write('merge/c.jsonl', rows('c', 9));
  const alone = write('alone.jsonl', rows('d', 2));
  const load = (dropThreshold: number, flag = '--train_data') =>
    loadDatasets({
      flag,
      trainData: [join(folder, 'merge'), alone],
      sameDatasetWithinBatch: true,
      smallThreshold: 4,
      dropThreshold,
      perDeviceTrainBatchSize: 3,
    });
  const kept = load(5);
  assert.deepEqual(
    kept
      .summary()
      .map(({ name, rows, batchSize, batches }) => [name.slice(folder.length + 1), rows, batchSize, batches]),
    [
      ['merge/c.jsonl', 9, 3, 3],
      ['merge (small files)', 5, 2, 2],
    ],
  );
  assert.deepEqual(kept.usage(), {
    rows: 16,
    used: 13,
    unused: [
      { file: alone, rows: 2, why: 'fewer than --small_threshold 4' },
      {
        file: `${join(folder, 'merge')} (small files)`,
        rows: 1,
        why: 'no whole batch of 2 at the end of an epoch',
      },
    ],
    notices: [
      `${alone}: left out: 2 rows are fewer than --small_threshold 4`,
      '--train_data: an epoch uses 13 of 16 rows; 1 would fill no batch at its end, other rows each time',
    ],
  });
  // Evaluation takes the first epoch whenever it is.
  assert.equal(
    load(5, '--eval_data').usage().notices.at(-1),
    '--eval_data: the loss uses 13 of 16 rows; 1 would fill no batch at its end, the same rows each time',
  );
  const merged = new Set(
    [...kept.epoch(0)].filter((batch) => batch.dataset.includes('small')).flatMap(places),
  );
  assert.equal(merged.size, 4);
  assert.ok([...merged].every((place) => /merge.[ab]\.jsonl:/.test(place)));
  assert.equal(load(6).datasets.length, 1);
  assert.match(
    load(6).usage().notices[0]!,
    /merge \(small files\): left out: 5 rows are fewer than --drop_threshold 6$/,
  );
  refuses(
    () => loadDatasets({ trainData: [alone], sameDatasetWithinBatch: true, smallThreshold: 4 }),
    /^--train_data: expected a dataset of at least --small_threshold 4 rows, found none$/,
  );
});

test('max_example_num_per_dataset takes a random sample of each file, the same in every epoch', () => {
  const paths = [write('max/a.jsonl', rows('a', 50)), write('max/b.jsonl', rows('b', 5))];
  const seen = (seed: number, epoch: number) =>
    [...loadDatasets({ trainData: paths, maxExampleNumPerDataset: 7, trainGroupSize: 2, seed }).epoch(epoch)]
      .flatMap(places)
      .sort();
  assert.equal(seen(1, 0).length, 12);
  assert.deepEqual(seen(1, 0), seen(1, 1));
  assert.notDeepEqual(seen(1, 0), seen(2, 0));
});

test('the default mode mixes files, ignores types and names, and keeps or drops the short last batch', () => {
  const paths = [
    write('mix/a-no_in_batch_neg.jsonl', rows('a', 5, { type: 'only_1neg', batch_size: 1, prompt: 'P' })),
    write('mix/b.jsonl', rows('b', 6, { type: 'symmetric_class' })),
  ];
  const load = (dataloaderDropLast: boolean) =>
    loadDatasets({ trainData: paths, trainGroupSize: 3, perDeviceTrainBatchSize: 4, dataloaderDropLast });
  const batches = [...load(false).epoch(0)];
  assert.deepEqual(
    batches.map((batch) => batch.queries.length),
    [4, 4, 3],
  );
  assert.ok(
    batches.every((batch) => batch.groupSize === 3 && !batch.noInBatchNeg && batch.teacherScores === null),
  );
  assert.ok(batches.every((batch) => batch.queries.every((query) => query.startsWith('q '))));
  assert.ok(batches.some((batch) => new Set(batch.rows.map(({ file }) => file)).size === 2));
  assert.equal(load(true).batchesPerEpoch(), 2);
  assert.deepEqual([load(false).batchesPerEpoch(2), load(true).batchesPerEpoch(2)], [2, 1]);
  const ranks = [0, 1].map((rank) => [...load(false).epoch(0, { rank, worldSize: 2 })][1]!);
  assert.deepEqual(
    ranks.map((batch) => batch.queries.length),
    [4, 4],
  ); // filled up from the epoch's start
});

test('what some batch would stumble over is refused before the first', () => {
  const load = (name: string, content: object[], options: Partial<DataOptions> = {}) =>
    loadDatasets({
      trainData: [write(name, content)],
      perDeviceTrainBatchSize: 2,
      trainGroupSize: 3,
      ...options,
    });
  const same = { sameDatasetWithinBatch: true };
  const scored = { pos_scores: [1], neg_scores: [0] };
  const teacher = { knowledgeDistillation: true };

  const types = [row('a', { type: 'normal' }), row('b', { type: 'only_1neg' })];
  refuses(
    () => load('types.jsonl', types, same).batchesPerEpoch(),
    /types\.jsonl:2: expected the "type" of .*types\.jsonl:1, with which it may share a batch \("normal"\), found "only_1neg"$/,
  );
  const apart = load('types.jsonl', types, { ...same, perDeviceTrainBatchSize: 1 });
  assert.deepEqual([...apart.epoch(0)].map((batch) => batch.groupSize).sort(), [2, 3]);
  refuses(() => apart.epoch(0, { worldSize: 2 }).next(), /"type"/);

  refuses(
    () => load('half.jsonl', [row('a', scored), row('b')], { ...same, ...teacher }).batchesPerEpoch(),
    /half\.jsonl:2: expected the teacher of .*half\.jsonl:1, .* \(scores\), found no scores$/,
  );
  assert.equal(load('half.jsonl', [row('a', scored), row('b')], same).batchesPerEpoch(), 1);
  refuses(
    () => load('none.jsonl', [row('a', scored), row('b')], teacher),
    /none\.jsonl:2: expected "pos_scores" and "neg_scores" for --knowledge_distillation, found none$/,
  );

  const bare = [row('a'), row('b', { neg: [] })];
  for (const mode of [same, {}])
    refuses(
      () => load('bare.jsonl', bare, mode).batchesPerEpoch(),
      /bare\.jsonl:2: expected "neg" to have at least one text for groups of 3, found none: dawntune mine finds some, groups of 1 \(--train_group_size\) need none$/,
    );
  assert.equal([...load('bare.jsonl', bare, { trainGroupSize: 1 }).epoch(0)][0]!.passages.length, 2);
  for (const order of [bare, [...bare].reverse()]) {
    const classes = order.map((each) => ({ ...each, type: 'symmetric_class', batch_size: 2 }));
    refuses(
      () => load('class.jsonl', classes, same).batchesPerEpoch(),
      /class\.jsonl:[12]: expected "neg" .* groups of 2/,
    );
  }
  const sizes = [row('a', { train_group_size: 2 }), row('b', { neg: [], train_group_size: 1 })];
  refuses(() => load('sizes.jsonl', sizes, same).batchesPerEpoch(), /sizes\.jsonl:2: .* groups of 2/);

  refuses(
    () => load('few.jsonl', rows('a', 3), { ...same, perDeviceTrainBatchSize: 2 }).batchesPerEpoch(2),
    /^--train_data: expected a dataset with at least 4 rows, one batch of 2 on 2 ranks \(--per_device_train_batch_size\); found at most 3 /,
  );
});

test('integer teacher scores are numbers like any others', () => {
  const data = loadDatasets({
    trainData: [write('integers.jsonl', rows('a', 2, { pos_scores: [3], neg_scores: [1] }))],
    knowledgeDistillation: true,
    trainGroupSize: 3,
    perDeviceTrainBatchSize: 2,
  });
  assert.deepEqual([...[...data.epoch(0)][0]!.teacherScores!], [3, 1, 1, 3, 1, 1]);
});

// ---- batching, as properties ----

test('ranks get disjoint slices that cover each global batch, and no row comes twice in an epoch', () => {
  let run = 0;
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 13 }), { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 3 }),
      fc.boolean(),
      fc.nat(),
      (counts, batchSize, worldSize, sameDatasetWithinBatch, seed) => {
        run++;
        const data = loadDatasets({
          trainData: counts.map((count, i) => write(`property/${run}-${i}.jsonl`, rows(`${i}.`, count))),
          trainGroupSize: 2,
          perDeviceTrainBatchSize: batchSize,
          dataloaderDropLast: true,
          sameDatasetWithinBatch,
          seed,
        });
        const total = counts.reduce((a, b) => a + b);
        const global = batchSize * worldSize;
        const expected = sameDatasetWithinBatch
          ? counts.reduce((sum, count) => sum + Math.floor(count / global), 0)
          : Math.floor(total / global);
        if (expected === 0)
          return refuses(() => data.batchesPerEpoch(worldSize), /^--train_data: expected a dataset/);
        assert.equal(data.batchesPerEpoch(worldSize), expected);
        const ranks = Array.from({ length: worldSize }, (_, rank) => [...data.epoch(5, { rank, worldSize })]);
        const seen = new Set<string>();
        for (let index = 0; index < expected; index++) {
          const slices = ranks.map((batches) => batches[index]!);
          assert.equal(new Set(slices.map((slice) => slice.dataset)).size, 1);
          if (sameDatasetWithinBatch)
            assert.equal(new Set(slices.flatMap((s) => s.rows.map(({ file }) => file))).size, 1);
          for (const slice of slices) {
            assert.equal(slice.queries.length, batchSize);
            assert.equal(slice.index, index);
            for (const place of places(slice)) {
              assert.ok(!seen.has(place), `${place} twice`);
              seen.add(place);
            }
          }
        }
        assert.equal(seen.size, expected * global);
        // one rank with the whole global batch draws the same texts as the ranks together
        if (sameDatasetWithinBatch) return;
        const whole = loadDatasets({
          trainData: counts.map((_, i) => join(folder, `property/${run}-${i}.jsonl`)),
          trainGroupSize: 2,
          perDeviceTrainBatchSize: global,
          dataloaderDropLast: true,
          seed,
        });
        assert.deepEqual(
          [...whole.epoch(5)].map((batch) => batch.passages),
          Array.from({ length: expected }, (_, index) =>
            ranks.flatMap((batches) => batches[index]!.passages),
          ),
        );
      },
    ),
    { numRuns: 60 },
  );
});
