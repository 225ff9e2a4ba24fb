/**
 * Files and folders of training rows as they come: what the `datasets` package reads is read alike, and what cannot
 * be trained on is refused in one line that names the file, before it takes time or memory. The verdicts of
 * `datasets` are in golden/rows/files.json, made by the script beside it.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { loadDatasets } from '../src/data/batches.js';
import type { DataOptions } from '../src/data/options.js';
import { RowFile } from '../src/data/rows.js';
import { findSource } from '../src/data/sources.js';
import { InputError } from '../src/errors.js';
import { JsonFault, parseLenient } from '../src/files/json-lenient.js';
import { readJsonObjectAt, readJsonObjects } from '../src/files/json-objects.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-rows-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

let written = 0;
function write(content: string | Uint8Array, name = `${written++}.jsonl`): string {
  const file = path.join(folder, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, content);
  return file;
}

const row = (more: object = {}) => JSON.stringify({ query: 'q', pos: ['p'], neg: ['n'], ...more });
const rows = (count: number, more: object = {}) => `${row(more)}\n`.repeat(count);

/** An InputError of one line, bounded and without a character that a terminal obeys. */
function refusal(run: () => unknown): string {
  let message = '';
  assert.throws(run, (error) => {
    assert.ok(error instanceof InputError, String((error as Error).stack));
    message = error.message;
    return true;
  });
  assert.ok(message.length < 1000, message);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
  assert.doesNotMatch(message, /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
  return message;
}

// ---- what datasets reads ----

interface Verdict {
  name: string;
  bytes: string;
  /** Null where `datasets` fails; fields that are null are left out. */
  rows: object[] | null;
}
const verdicts: Verdict[] = JSON.parse(fs.readFileSync(golden('rows/files.json'), 'utf8'));

/** Where ours is not theirs, and why. */
const others = new Map<string, string>([
  // Their reader of lists is chosen by the first byte; what is meant is plain.
  ['list after a blank', 'ours reads it'],
  ['list after a line feed', 'ours reads it'],
  // Files with marks that were joined.
  ['mark in the midst', 'ours reads it'],
  // Their column is then called "text", and FlagEmbedding finds no query.
  ['list of a list', 'ours refuses it'],
  ['list of numbers', 'ours refuses it'],
  ['list of texts', 'ours refuses it'],
  // On the way through their list reader NaN becomes null.
  ['list with NaN', 'NaN stays NaN'],
]);

/** As make.py writes values. */
function plain(value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== null)
      .map(([name, member]) => [name, plain(member)]),
  );
}

test('every layout that datasets reads gives the same rows, and what it refuses is refused in one line', () => {
  assert.ok(verdicts.length > 100);
  for (const { name, bytes, rows } of verdicts) {
    const file = write(Buffer.from(bytes, 'base64'));
    const read = () => {
      const found = [...readJsonObjects(file)];
      assert.equal(
        new RowFile(file, { scores: false, prompt: false, batching: false }).rowCount,
        found.length,
        name,
      );
      for (const { value, place } of found) assert.deepEqual(readJsonObjectAt(file, place), value, name);
      return found.map(({ value }) => plain(value));
    };
    const other = others.get(name);
    if (other === 'ours refuses it' || (rows === null && !other))
      assert.match(refusal(read), new RegExp(`^${file}(:\\d+)?: expected `), name);
    else if (other === 'NaN stays NaN') assert.match(JSON.stringify(read()), /"pos_scores":\["NaN"\]/);
    else if (other) assert.ok(read().length > 0, name);
    else assert.deepEqual(read().map(sorted), rows!.map(sorted), name);
  }
});

/** Names in order: theirs come by column, ours by row. */
function sorted(value: unknown): string {
  return JSON.stringify(value, (_, member) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1))
      : member,
  );
}

test('a fault is placed by the line of its row, and by line and character within', () => {
  const pretty = JSON.stringify(JSON.parse(row()), null, 2);
  for (const [content, message] of [
    [`${row()}\r\n\r\n{"query":1}`, /:3: expected "query" to be a text, found 1$/],
    [`${row()}\r\r{"query":1}`, /:3: expected "query"/],
    [`${pretty}\n${pretty.replace('"p"', '"p",')}`, /:10: .* \(expected a value, found "\]/],
    [`${pretty}\n${pretty.replace('"p"', '"p",')}`, / at line 14, character 3\)$/],
    [`[\n${pretty},\n${pretty.replace('"q"', '1')}\n]`, /:11: expected "query" to be a text, found 1$/],
    [
      `${row()} ${row()}${row({ pos: [] })}`,
      /:1: expected "pos" to be a list of at least one text, found \[\]$/,
    ],
    [
      `${row()}\n${row().slice(0, -1)}\n${row()}`,
      /:2: .*expected "," or "}", found "{\\"query.* at line 3, character 1\)$/,
    ],
    [`${row()}\n${row().replace('"n"', '"n')}\n${row()}`, /:2: .*found "\\n" at character \d+\)$/],
  ] as const)
    assert.match(
      refusal(() => new RowFile(write(content))),
      message,
    );
});

test('an object may lie anywhere across the window that the file is read through', () => {
  const long = 'ü'.repeat(700_000);
  for (const separator of ['\n', '', '\r', ' ,']) {
    const texts = [
      row(),
      row({ query: long }),
      row({ x: 1 }),
      row({ query: `${long}${long}` }),
      row({ x: 2 }),
    ];
    const content = texts.join(separator);
    const file = new RowFile(write(separator === ' ,' ? `[${content}]` : content));
    assert.deepEqual(
      Array.from({ length: file.rowCount }, (_, i) => file.row(i).query.length),
      [1, 700_000, 1, 1_400_000, 1],
    );
  }
  // Byte order marks and escapes at the very end of what has been read.
  for (let pad = (1 << 20) - 3; pad <= 1 << 20; pad++)
    for (const tail of [`\ufeff${row()}`, `${row({ query: '\\"' })}`]) {
      const content = `${' '.repeat(pad - Math.floor(tail.length / 2))}${tail}`;
      assert.equal(new RowFile(write(content, 'window.jsonl')).rowCount, 1);
    }
});

test('the careful reader agrees with JSON.parse, except on NaN, the infinities and names given twice', () => {
  const limits = { maxDepth: 100, maxValues: 10_000 };
  const attempt = (read: () => unknown): { value: unknown } | JsonFault => {
    try {
      return { value: read() };
    } catch (error) {
      if (error instanceof JsonFault) return error;
      assert.ok(error instanceof SyntaxError, String(error));
      return new JsonFault('', '', 0);
    }
  };
  const pieces = fc.constantFrom(
    ...'"\\{}[],:-+.eE0 \n\r\t\u0000\u00a0x/',
    '\\u00',
    'true',
    'null',
    '1e9',
    '""',
  );
  fc.assert(
    fc.property(
      fc.jsonValue({ maxDepth: 4 }),
      fc.constantFrom(undefined, 1, '\t'),
      fc.array(fc.record({ at: fc.nat(200), cut: fc.nat(2), put: pieces }), { maxLength: 2 }),
      (value, indent, edits) => {
        let text = JSON.stringify(value, null, indent);
        for (const { at, cut, put } of edits) text = text.slice(0, at) + put + text.slice(at + cut);
        const strict = attempt(() => JSON.parse(text));
        const careful = attempt(() => parseLenient(text, limits));
        if (careful instanceof JsonFault && careful.expected === 'each name once') return;
        assert.equal(careful instanceof JsonFault, strict instanceof JsonFault, text);
        if (!(careful instanceof JsonFault)) assert.equal(JSON.stringify(careful), JSON.stringify(strict));
      },
    ),
    { numRuns: 2000 },
  );
  assert.deepEqual(parseLenient('[NaN, -Infinity,Inf ,-Inf]', limits), [Number.NaN, -1 / 0, 1 / 0, -1 / 0]);
  for (const text of [
    'nan',
    '+Infinity',
    '- Infinity',
    'Infinit',
    'NaN1',
    '-nan',
    'undefined',
    '{"a":1,"a":2}',
  ])
    assert.ok(attempt(() => parseLenient(text, limits)) instanceof JsonFault, text);
});

// ---- rows ----

test('scores are numbers that f32 holds where they teach, and are not looked at elsewhere', () => {
  const scored = (pos: string, neg = '[1]') =>
    `{"query":"q","pos":["p"],"neg":["n"],"pos_scores":${pos},"neg_scores":${neg}}`;
  for (const [content, found] of [
    [scored('[1e39]'), '1e+39'],
    [scored('[-1e39]'), '-1e+39'],
    [scored('[3.4028236e38]'), '3.4028236e+38'],
    [scored('[NaN]'), 'NaN'],
    [scored('[-NaN]'), 'NaN'],
    [scored('[Infinity]'), 'Infinity'],
    [scored('[1e999]'), 'Infinity'],
    [scored('[1]', '[-Inf]'), '-Infinity'],
    [scored('[true]'), 'true'],
    [scored('["1"]'), '"1"'],
    [scored('[null]'), 'null'],
    [scored('[[1]]'), '[1]'],
  ] as const) {
    const file = write(`${row()}\n${content}`);
    assert.match(
      refusal(() =>
        loadDatasets({ trainData: [file], sameDatasetWithinBatch: true, knowledgeDistillation: true }),
      ),
      /:2: expected "(pos|neg)_scores" to be (a list of numbers|finite numbers of 32 bits), found /,
    );
    assert.ok(refusal(() => new RowFile(file)).endsWith(`found ${found} at index 0`), content);
    assert.equal(loadDatasets({ trainData: [file] }).rowCount, 2);
  }
  assert.deepEqual(new RowFile(write(scored('[3.4028235e38]', '[1e-50]'))).row(0).posScores, [3.4028235e38]);
});

test('an empty query is a text like any other, and is counted', () => {
  const file = write(`${row()}\n${row({ query: '' })}\n${row({ query: '' })}`);
  const data = loadDatasets({ trainData: [file], trainGroupSize: 2 });
  assert.equal(data.batchesPerEpoch(), 1);
  assert.match(data.notices.join(), /2 rows with an empty "query" \(the first: .*:2\)$/);
});

test('fields are a row’s own, half characters are no text', () => {
  for (const [content, found] of [
    ['{"__proto__":{"query":"q"},"pos":["p"]}', /"query" to be a text, found nothing$/],
    ['{"query":"q","__proto__":{"pos":["p"]}}', /"pos" to be .*found nothing$/],
    [
      `{"query":"q","pos":["p","a\\ud83d"]}`,
      /found "\\ud83d", half of a character, at index 1 at character 2$/,
    ],
    [`{"query":"\\ude00","pos":["p"]}`, /"query" to be text, found "\\ude00", half/],
    ['{"query":"q","pos":["p"],"prompt":"\\udfff"}', /"prompt" to be text/],
  ] as const)
    assert.match(
      refusal(() => new RowFile(write(content))),
      found,
    );
});

test('what a text or a name holds never reaches the terminal as it is', () => {
  const file = write(`{"query":{"\\u001b[31m":"\\u009b\\u202e"}}`, 'a\u001b[31m\n.jsonl');
  assert.match(
    refusal(() => new RowFile(file)),
    /a\\u001b\[31m\\u000a\.jsonl:1: .*\{"\\u001b\[31m":"\\u009b\\u202e"\}$/,
  );
  write('x', 'b\u001b.jsonl/c.txt');
  assert.match(
    refusal(() => findSource(path.join(folder, 'b\u001b.jsonl'), '--train_data')),
    /b\\u001b\.jsonl: expected a directory/,
  );
});

test('a row that changed, a file that shrank or is gone: one line', () => {
  const file = write(`${row()}\n${row({ query: 'other' })}\n`);
  const indexed = new RowFile(file);
  fs.utimesSync(file, 0, 0);
  assert.equal(indexed.row(1).query, 'other');
  write(`${row()}\n${row({ query: 'OTHER' })}\n`, path.basename(file));
  assert.equal(indexed.row(0).query, 'q');
  assert.match(
    refusal(() => indexed.row(1)),
    /:2: the file has changed since it was first read$/,
  );
  write(row(), path.basename(file));
  assert.match(
    refusal(() => indexed.row(1)),
    /:2: the file has changed/,
  );
  fs.rmSync(file);
  assert.match(
    refusal(() => indexed.row(0)),
    /cannot read: no such file or folder$/,
  );
  fs.mkdirSync(file);
  assert.match(
    refusal(() => indexed.row(0)),
    /expected a file, found a folder$/,
  );
});

// ---- what would take the machine ----

test('sizes out of rows are bounded by what a batch can be', () => {
  const load = (content: string, more: Partial<DataOptions> = {}) =>
    loadDatasets({
      trainData: [write(content)],
      sameDatasetWithinBatch: true,
      perDeviceTrainBatchSize: 2,
      ...more,
    });
  assert.match(
    refusal(() => load(rows(3, { train_group_size: 1_000_000_000 })).batchesPerEpoch()),
    /:1: "train_group_size" 1000000000: expected at most 262144 passages in a batch, found 2 queries with 1000000000 each$/,
  );
  assert.match(
    refusal(() => load(rows(3), { trainGroupSize: 1_000_000_000 }).batchesPerEpoch()),
    /^--train_group_size 1000000000: expected at most 262144 passages/,
  );
  const wide = load(rows(1, { train_group_size: 20_000 }), { perDeviceTrainBatchSize: 1 });
  assert.equal([...wide.epoch(0)][0]!.passages.length, 20_000);
  const nine = () => 9;
  const measure = { query: nine, passage: nine, queryLimit: 9, passageLimit: 9, everyText: false };
  assert.equal(wide.longest(measure)[0]!.passages.length, 20_000);
  assert.match(
    refusal(() => load(rows(3, { batch_size: 1e15 })).batchesPerEpoch()),
    /expected a dataset with at least 1000000000000000 rows/,
  );
  for (const worldSize of [1, 3]) {
    const all = loadDatasets({ trainData: [write(rows(4))], perDeviceTrainBatchSize: 1e9 });
    const batches = [...all.epoch(0, { worldSize })];
    assert.deepEqual(
      batches.map(({ queries }) => queries.length),
      [worldSize === 1 ? 4 : 2],
    );
  }
  for (const content of [
    `{"query":"q","x":${'['.repeat(20_000)}`,
    `{"query":"q","x":${'{"a":'.repeat(20_000)}`,
    `${'['.repeat(20_000)}`,
    `{"query":${'['.repeat(20_000)}${']'.repeat(20_000)},"pos":["p"]}`,
    `{"query":"q","pos":${'['.repeat(300)}${']'.repeat(300)}}`,
    `{"query":"q","pos":["p"],"x":[${'{},'.repeat(1_000_000)}{}]}`,
  ])
    assert.match(
      refusal(() => load(content)),
      /:1: expected /,
    );
});

test('a large row is read, a larger one is refused before it is in memory', () => {
  const word = 'w'.repeat(8 << 20);
  const file = write(`${row()}\n{"query":"${word}","pos":["p"]}\n`);
  assert.equal(new RowFile(file).row(1).query.length, word.length);
  // Blanks, of which the disk needs to hold none: a text without an end, in a file of 700 MB.
  fs.writeFileSync(file, `${row()}\n{"query":"${word}`);
  const handle = fs.openSync(file, 'r+');
  fs.writeSync(handle, `${word}"`, row().length + word.length);
  fs.closeSync(handle);
  fs.truncateSync(file, 700_000_000);
  assert.match(
    refusal(() => new RowFile(file)),
    /:2: expected an object of at most 64 MiB, found a larger one$/,
  );
});

// ---- files and folders ----

test('paths that are no data end in one line', () => {
  const at = (name: string) => path.join(folder, 'odd', name);
  write(row(), 'odd/good.jsonl');
  fs.symlinkSync(at('nowhere'), at('dangling.jsonl'));
  fs.symlinkSync(at('circle.jsonl'), at('circle.jsonl'));
  fs.symlinkSync('/dev/zero', at('endless.jsonl'));
  execFileSync('mkfifo', [at('pipe.jsonl')]);
  for (const [source, message] of [
    ['', /^--train_data: "": expected a file or directory, found nothing$/],
    [at('dangling.jsonl'), /found a link to something that does not exist$/],
    [at('circle.jsonl'), /cannot read: links that lead in a circle$/],
    [at(`${'x'.repeat(300)}.jsonl`), /cannot read: the name is too long$/],
    [`/${'x/'.repeat(3000)}a.jsonl`, /cannot read: the name is too long$/],
    [at('good.jsonl/more.jsonl'), /cannot read: a part of the path is not a folder$|found nothing$/],
    [at('nul\0.jsonl'), /^--train_data: .*nul\\u0000\.jsonl: cannot read: /],
    [at('endless.jsonl'), /endless\.jsonl: expected a file, found a device$/],
    [at('pipe.jsonl'), /pipe\.jsonl: expected a file, found a pipe$/],
    [write('text', 'odd/notes.txt'), /expected a \.json or \.jsonl file$/],
    [write(Buffer.alloc(4096), 'odd/zeros.jsonl'), /zeros\.jsonl: expected JSON objects, found zeros/],
    [write(Buffer.from('504b0304', 'hex'), 'odd/zip.json'), /found a zip archive$/],
    [write(Buffer.from('\ufeff{"query":"q"}', 'utf16le'), 'odd/wide.json'), /found UTF-16/],
  ] as const)
    assert.match(
      refusal(() => loadDatasets({ trainData: [source] })),
      message,
    );
});

test('a folder’s entries that are called like data and are none are left out with a line', () => {
  const at = (name: string) => path.join(folder, 'mixed', name);
  write(row(), 'mixed/a.jsonl');
  write(row(), 'mixed/._c.jsonl'); // a name alone means nothing
  write(Buffer.from('00051607000200004d6163204f532058', 'hex'), 'mixed/._a.jsonl');
  fs.mkdirSync(at('b.jsonl'));
  fs.symlinkSync(at('b.jsonl'), at('linked.jsonl'));
  fs.symlinkSync(at('a.jsonl'), at('d.jsonl'));
  // And those that are data and are not called so.
  write(row(), 'mixed/a.JSONL');
  write('', 'mixed/b.json.gz');
  write(row(), 'mixed/deeper/a.json');
  write('', 'mixed/notes/readme.md');
  write('', 'mixed/corpus.json.txt');
  const data = loadDatasets({ trainData: [path.join(folder, 'mixed')], trainGroupSize: 2 });
  assert.equal(data.rowCount, 3);
  assert.deepEqual(
    data.notices.map((line) => line.slice(folder.length)),
    [
      '/mixed/a.JSONL: left out: expected a name that ends with .json or .jsonl, in small letters',
      '/mixed/b.json.gz: left out: it is packed; unpack it to train on it',
      '/mixed/deeper: left out: folders within a folder are not looked into; name it as a path of its own',
      '/mixed/._a.jsonl: left out: an AppleDouble file (what macOS keeps beside a file)',
      '/mixed/b.jsonl: left out: a folder',
      '/mixed/linked.jsonl: left out: a folder',
    ],
  );
  fs.symlinkSync(at('nowhere'), at('z.jsonl'));
  assert.match(
    refusal(() => loadDatasets({ trainData: [path.join(folder, 'mixed')] })),
    /z\.jsonl: cannot read: a link to something that does not exist$/,
  );
});

// ---- rows that are given and not used ----

test('rows that no epoch uses are counted, with the reason', () => {
  const same = { sameDatasetWithinBatch: true, perDeviceTrainBatchSize: 4 };
  const cases: [name: string, files: string[], options: Partial<DataOptions>, used: string, why: RegExp][] = [
    [
      'a file smaller than the batch',
      [rows(3), rows(8)],
      same,
      '8 of 11',
      /3 rows are fewer than one batch of 4 \(--per_device_train_batch_size\)/,
    ],
    [
      'a row’s own batch size',
      [rows(5, { batch_size: 1000 }), rows(4)],
      same,
      '4 of 9',
      /5 rows are fewer than one batch of 1000 \("batch_size" of its first row\)/,
    ],
    [
      'the half of a symmetric type',
      [rows(1, { type: 'symmetric_sts' }), rows(4)],
      same,
      '4 of 5',
      /fewer than one batch of 2 \(half of --per_device_train_batch_size, for the type "symmetric_sts"\)/,
    ],
    ['the end of an epoch', [rows(7), rows(6)], same, '8 of 13', /; 5 would fill no batch at its end/],
    [
      'drop_last',
      [rows(7)],
      { perDeviceTrainBatchSize: 4, dataloaderDropLast: true },
      '4 of 7',
      /; 3 would fill no batch/,
    ],
    [
      'a sample',
      [rows(7)],
      { maxExampleNumPerDataset: 4 },
      '4 of 7',
      /3 rows are more than --max_example_num_per_dataset 4/,
    ],
    [
      'a threshold',
      [rows(3), rows(4)],
      { ...same, smallThreshold: 4 },
      '4 of 7',
      /3 rows are fewer than --small_threshold 4/,
    ],
  ];
  for (const [name, contents, options, used, why] of cases) {
    const data = loadDatasets({ trainData: contents.map((content) => write(content)), ...options });
    const usage = data.usage();
    assert.equal(`${usage.used} of ${usage.rows}`, used, name);
    assert.match(usage.notices.join('\n'), why, name);
    assert.match(usage.notices.at(-1)!, new RegExp(`^--train_data: an epoch uses ${used} rows`), name);
    const seen = [...data.epoch(0)].flatMap((batch) => batch.rows);
    assert.equal(new Set(seen.map(({ file, line }) => `${file}:${line}`)).size, usage.used, name);
    assert.equal(
      usage.unused.reduce((sum, each) => sum + each.rows, usage.used),
      usage.rows,
      name,
    );
  }
  for (const options of [same, { perDeviceTrainBatchSize: 4, dataloaderDropLast: true }])
    assert.match(
      refusal(() => loadDatasets({ trainData: [write(rows(3))], ...options }).batchesPerEpoch()),
      /^--train_data: expected a dataset with at least 4 rows/,
    );
  const many = Array.from({ length: 20 }, () => write(rows(1)));
  const { notices } = loadDatasets({ trainData: [...many, write(rows(4))], ...same }).usage();
  assert.equal(notices.length, 10);
  assert.equal(notices[8], '--train_data: left out: 12 rows in 12 more datasets');
});

test('fields that a mode does not look at may hold anything', () => {
  const file = write(
    `${rows(2)}${row({ type: ['a'], batch_size: 0, train_group_size: 'x', prompt: 3, pos_scores: 'y' })}`,
  );
  const data = loadDatasets({ trainData: [file], trainGroupSize: 2 });
  assert.equal([...data.epoch(0)][0]!.queries.length, 3);
  assert.equal(data.notices.length, 2);
  for (const options of [{ sameDatasetWithinBatch: true }, { queryInstructionForRetrieval: 'I' }])
    assert.match(
      refusal(() => loadDatasets({ trainData: [file], ...options })),
      /:3: expected "prompt" to be a text, found 3$/,
    );
  assert.match(
    refusal(() => loadDatasets({ trainData: [file], knowledgeDistillation: true })),
    /:3: expected "pos_scores" to be a list of numbers, found "y"$/,
  );
});

test('queries that meet no other passage, and formats that join nothing, are said', () => {
  const notices = (content: string, options: Partial<DataOptions> = {}, name?: string) =>
    loadDatasets({ trainData: [write(content, name)], trainGroupSize: 2, ...options }).notices.join('\n');
  const same = { sameDatasetWithinBatch: true };
  const zero = /^--train_data: groups of one passage and no others in the batch: the loss is always 0 \(/;
  const cases: [string, Partial<DataOptions>, string | undefined, boolean][] = [
    [rows(2), { trainGroupSize: 1, perDeviceTrainBatchSize: 1 }, undefined, true],
    [rows(2), { trainGroupSize: 1, perDeviceTrainBatchSize: 2 }, undefined, false],
    [rows(1), { trainGroupSize: 1 }, undefined, true],
    [rows(2), { trainGroupSize: 2, perDeviceTrainBatchSize: 1 }, undefined, false],
    [rows(2), { ...same, trainGroupSize: 1 }, 'alone-no_in_batch_neg.jsonl', true],
    [rows(2), { ...same, trainGroupSize: 2 }, 'groups-no_in_batch_neg.jsonl', false],
    [rows(2, { train_group_size: 1 }), same, 'rows-no_in_batch_neg.jsonl', true],
    [rows(2, { train_group_size: 1, batch_size: 1 }), same, undefined, true],
    [row({ type: 'symmetric_class', neg: [], batch_size: 1 }), same, undefined, true],
    [rows(2, { type: 'only_1neg', batch_size: 1 }), { ...same, trainGroupSize: 1 }, undefined, false],
  ];
  for (const [content, options, name, expected] of cases)
    assert.equal(zero.test(notices(content, options, name)), expected, JSON.stringify([content, options]));

  const format = { queryInstructionFormat: 'Q: {}{}' };
  assert.match(
    notices(rows(1), format),
    /^--query_instruction_format has no effect without --query_inst\S+$/,
  );
  assert.match(
    notices(rows(1), { ...same, ...format }),
    /^--query_instruction_format .* or a "prompt" in rows$/,
  );
  assert.equal(notices(rows(1, { prompt: 'P' }), { ...same, ...format }), '');
  assert.equal(notices(rows(1), { ...format, queryInstructionForRetrieval: 'I' }), '');
  assert.equal(notices(rows(1), { ...same, ...format, nonePrefix: true }), '');
  assert.match(
    notices(rows(1), { passageInstructionFormat: '{}: {}' }),
    /^--passage_instruction_format has no effect without --passage_instruction_for_retrieval$/,
  );
});

test('what a mode does not look at is said once', () => {
  const notices = (content: string, options: Partial<DataOptions> = {}) =>
    loadDatasets({ trainData: [write(content)], trainGroupSize: 2, ...options }).notices.map((line) =>
      line.replace(/^\S*\//, ''),
    );
  const same = { sameDatasetWithinBatch: true };
  assert.deepEqual(notices(rows(2)), []);
  assert.deepEqual(notices(rows(2), same), []);
  assert.deepEqual(notices(rows(2, { type: 'normal', batch_size: 3 })), [
    '--train_data: "type", "batch_size" of rows: no effect without --same_dataset_within_batch',
  ]);
  assert.deepEqual(notices(rows(2), { smallThreshold: 1, dropThreshold: 2 }), [
    '--small_threshold: no effect without --same_dataset_within_batch',
    '--drop_threshold: no effect without --same_dataset_within_batch',
  ]);
  const named = write(rows(2), 'x-no_in_batch_neg.jsonl');
  const own = loadDatasets({ trainData: [named], trainGroupSize: 2 });
  assert.match(
    own.notices.join(),
    /names that end with no_in_batch_neg: no effect without .*x-no_in_batch_neg\.jsonl\)$/,
  );
  assert.match(notices(rows(2, { prompt: 'P' })).join(), /"prompt" of rows: no effect without/);
  assert.deepEqual(notices(rows(2, { prompt: 'P' }), { queryInstructionForRetrieval: 'I' }), []);
  assert.match(
    notices(`${row({ batch_size: 2 })}\n${row()}`, same).join(),
    /:2: "batch_size" differs: that of the file's first row counts for all$/,
  );
  assert.match(
    notices(`${row({ train_group_size: 2 })}\n${row({ train_group_size: 1 })}`, same).join(),
    /:2: "train_group_size" differs: that of its first row counts for a whole batch$/,
  );
  assert.match(
    notices(rows(2, { train_group_size: 2, type: 'a' }), same).join(),
    /no effect in rows with "type"$/,
  );
  assert.deepEqual(
    notices(`${row({ pos_scores: [1], neg_scores: [0] })}\n${rows(2)}`, {
      ...same,
      perDeviceTrainBatchSize: 1,
      knowledgeDistillation: true,
    }).map((line) => line.split(' (')[0]),
    [
      '--train_data: 2 of 3 rows have no scores and train without a teacher in spite of --knowledge_distillation',
    ],
  );
});
