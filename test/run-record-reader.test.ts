/** Records that are read again: each field of the golden record is asked for, and what is wrong with it is one line. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { checkRunRecord, readRunRecord } from '../src/run-record/read.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-record-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const text = fs.readFileSync(golden('run-record.json'), 'utf8');
type Member = Record<string, unknown> | unknown[];

/** Every value of the record by its path, of lists the first and the last. */
function* places(value: unknown, at: readonly (string | number)[] = []): Generator<(string | number)[]> {
  if (at.length > 0) yield [...at];
  if (Array.isArray(value)) {
    for (const i of new Set([0, value.length - 1])) if (i in value) yield* places(value[i], [...at, i]);
  } else if (typeof value === 'object' && value !== null)
    for (const [name, item] of Object.entries(value)) yield* places(item, [...at, name]);
}

const shown = (at: readonly (string | number)[]) =>
  at
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`))
    .join('')
    .slice(1);

/** The record with another value at a place. */
function changed(at: readonly (string | number)[], value: unknown): Record<string, unknown> {
  const record = JSON.parse(text);
  let inner: Member = record;
  for (const key of at.slice(0, -1)) inner = (inner as Record<string | number, Member>)[key]!;
  (inner as Record<string | number, unknown>)[at.at(-1)!] = value;
  return record;
}

test('the golden record is one, and each value that is of another kind is named', () => {
  assert.equal(checkRunRecord(JSON.parse(text), 'file').format, 1);
  let seen = 0;
  for (const at of places(JSON.parse(text))) {
    seen++;
    // Nowhere does a record have a list of objects in a list, or such an object.
    const path = shown(at);
    for (const wrong of [[[{}]], { odd: [[]], dense: [[]] }])
      assert.throws(
        () => checkRunRecord(changed(at, wrong), 'file'),
        ({ name, message }: Error) =>
          name === 'InputError' && message.startsWith(`file: expected "${path}`) && !message.includes('\n'),
        path,
      );
  }
  assert.ok(seen > 250, `looked at ${seen} places`);
});

test('what is missing, of another length or out of order is named', () => {
  for (const [at, value, message] of [
    [['format'], 2, 'expected "format" to be 1, found 2; a newer dawntune wrote this record'],
    [['format'], undefined, 'expected "format" to be 1, found none'],
    [
      ['status'],
      'dead',
      'expected "status" to be one of "running", "stopped", "finished", "failed", found "dead"',
    ],
    [
      ['steps', 'loss', 'mean'],
      [1],
      'expected "steps.loss.mean" to be as long as "steps.step" (60), found 1',
    ],
    [['steps', 'step', 4], 3, 'expected "steps.step[4]" to be above 4, found 3'],
    [
      ['steps', 'components', 'dense', 'max'],
      [],
      'expected "steps.components.dense.max" to be as long as "steps.step" (60), found 0',
    ],
    [
      ['data', 'queries', 'histogram', 'count'],
      [],
      `expected "data.queries.histogram.count" to be as long as "data.queries.histogram.up_to" (${JSON.parse(text).data.queries.histogram.up_to.length}), found 0`,
    ],
    [['step'], -1, 'expected "step" to be a whole number from 0, found -1'],
    [['updated'], 'today', 'expected "updated" to be a time such as 2026-01-31T12:00:00.000Z, found "today"'],
    [['model'], undefined, 'expected "model" to be an object, found none'],
  ] as const)
    assert.throws(() => checkRunRecord(changed(at, value), 'a/b'), {
      name: 'InputError',
      message: `a/b: ${message}`,
    });
});

test('a folder without a record, half a record and a record of another kind of file are told', () => {
  const made = (name: string, content: string) => {
    const made = path.join(folder, name);
    fs.mkdirSync(made);
    fs.writeFileSync(path.join(made, 'run_record.json'), content);
    return made;
  };
  fs.mkdirSync(path.join(folder, 'none'));
  for (const [where, problem] of [
    [
      path.join(folder, 'none'),
      /none: expected the output folder of a run, found no run_record\.json in it$/,
    ],
    [
      path.join(folder, 'nowhere'),
      /nowhere: expected the output folder of a run, found no run_record\.json in it$/,
    ],
    [made('half', text.slice(0, 5000)), /run_record\.json: expected JSON, found an error|ends too early/],
    [made('list', '[1]'), /run_record\.json: expected a JSON object, found \[1\]$/],
    [made('empty', ''), /run_record\.json: expected JSON, found an empty file$/],
    [made('deep', `{"format":1,"notices":${'['.repeat(200)}${']'.repeat(200)}}`), /at most 100 nested lists/],
    [made('huge', `{"format":1,"x":"${'x'.repeat(17 << 20)}"}`), /at most 16777216 bytes of JSON, found/],
  ] as const)
    assert.throws(() => readRunRecord(where), { name: 'InputError', message: problem });
  assert.equal(readRunRecord(made('whole', text)).step, 60);
});
