/** The demo's rows: honest split, the promised format, the same at every run. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { loadDatasets } from '../src/data/batches.js';
import {
  DEMO_EVALUATION_LANGUAGES,
  DEMO_LANGUAGES,
  demoNearDuplicates,
  demoRows,
  demoTrainingTexts,
  writeDemoJsonl,
} from '../src/demo/demo-data.js';

const rows = demoRows(1);

/** Case, quotes, spaces and punctuation aside. */
const bare = (text: string) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '');

test('200 held-out messages in six languages, each naming its English text', () => {
  assert.equal(rows.candidates.length, 200);
  assert.equal(new Set(rows.candidates.map(bare)).size, 200);
  assert.equal(rows.heldOut.length, 200 * DEMO_EVALUATION_LANGUAGES.length);
  for (const lang of DEMO_EVALUATION_LANGUAGES)
    assert.deepEqual(
      rows.heldOut.filter((row) => row.lang === lang).map((row) => row.target),
      rows.candidates.map((_, i) => i),
    );
  const german = rows.heldOut.find(
    ({ lang, target }) => lang === 'de' && rows.candidates[target] === 'Type has no call signatures.',
  );
  assert.equal(german!.query, 'Der Typ weist keine Aufrufsignaturen auf.');
});

test('nothing held out is trained on', () => {
  const trained = new Set(rows.train.flatMap(({ query, pos, neg }) => [query, ...pos, ...neg]).map(bare));
  for (const text of rows.candidates) assert.ok(!trained.has(bare(text)), text);
  for (const { query } of rows.heldOut) assert.ok(!trained.has(bare(query)), query);
});

test('rows have one positive, four hard negatives, and no placeholder', () => {
  assert.ok(rows.train.length > 24_000, String(rows.train.length));
  for (const { query, pos, neg } of rows.train) {
    assert.equal(pos.length, 1);
    assert.equal(neg.length, 4);
    assert.ok(!neg.some((text) => bare(text) === bare(pos[0]!)), `${pos} | ${neg}`);
    for (const text of [query, ...pos, ...neg]) {
      assert.doesNotMatch(text, /\{\d\}/);
      assert.ok(text.length > 0);
    }
    assert.notEqual(bare(query), bare(pos[0]!));
  }
});

test('the seed orders the rows and nothing else; languages can be chosen', () => {
  const again = demoRows(1);
  assert.deepEqual(again, rows);
  const other = demoRows(2);
  assert.notDeepEqual(other.train.slice(0, 20), rows.train.slice(0, 20));
  const sorted = (list: typeof rows.train) => list.map((row) => JSON.stringify(row)).sort();
  assert.deepEqual(sorted(other.train), sorted(rows.train));
  assert.deepEqual(other.candidates, rows.candidates);
  const share = demoRows(1, ['ja']).train.length / rows.train.length;
  assert.ok(Math.abs(share - 1 / DEMO_LANGUAGES.length) < 0.005, String(share));
});

test('the near-duplicates that the demo admits to', () => {
  const count = demoNearDuplicates();
  assert.ok(count > 0 && count < 150, String(count));
  assert.ok(demoTrainingTexts().length > 20_000);
});

test('train.jsonl holds the rows', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-demo-test-'));
  try {
    const file = writeDemoJsonl(path.join(folder, 'new', 'data'), 1);
    assert.deepEqual(fs.readdirSync(path.dirname(file)), ['train.jsonl']);
    const lines = fs.readFileSync(file, 'utf8').trimEnd().split('\n');
    assert.deepEqual(
      lines.map((line) => JSON.parse(line)),
      rows.train,
    );
    const { datasets } = loadDatasets({ trainData: [file], trainGroupSize: 2, perDeviceTrainBatchSize: 64 });
    assert.equal(datasets.length, 1);
    assert.equal(datasets[0]!.rowCount, rows.train.length);
    const { query, pos, neg } = datasets[0]!.row(7);
    assert.deepEqual({ query, pos, neg }, rows.train[7]);
    for (const taken of [path.join(file, 'below'), file, '/proc/below'])
      if (fs.existsSync(path.dirname(taken)))
        assert.throws(() => writeDemoJsonl(taken), { name: 'InputError' }, taken);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});
