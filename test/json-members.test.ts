/** Rows that are passed on with a column changed: everything else stays as it was written. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { withMembers } from '../src/files/json-members.js';
import { readJsonObjects } from '../src/files/json-objects.js';

test('what is not changed keeps its writing', () => {
  for (const [json, changes, expected] of [
    [
      '{"id": 12345678901234567890, "x": 1.0, "neg": ["a"]}',
      { neg: ['b', 'ü'] },
      '{"id": 12345678901234567890, "x": 1.0, "neg": ["b","ü"]}',
    ],
    ['{"a":1}', { neg: [], b: undefined }, '{"a":1, "neg": []}'],
    [
      '{"neg_scores": [1], "a": {"neg_scores": "," }}',
      { neg_scores: undefined },
      '{"a": {"neg_scores": "," }}',
    ],
    ['{}', { a: 0.5 }, '{"a": 0.5}'],
    ['{\n  "q": "x,\\"}{",\n  "v": [\n 1,\n 2]\n}', { r: 1 }, '{"q": "x,\\"}{", "v": [ 1, 2], "r": 1}'],
    ['{"\\u0061": 1, "b": NaN}', { a: 2 }, '{"a": 2, "b": NaN}'],
  ] as const)
    assert.equal(withMembers(json, changes), expected);
});

test('any object with any changes is the object with those members', () => {
  const anyJson = fc.jsonValue({ maxDepth: 3 });
  const name = fc.oneof(fc.constantFrom('a', 'neg', '__proto__', '"', '\\', ','), fc.string());
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(name, anyJson), { selector: ([key]) => key, maxLength: 6 }),
      fc.uniqueArray(fc.tuple(name, fc.option(anyJson, { nil: undefined })), {
        selector: ([key]) => key,
        maxLength: 3,
      }),
      fc.constantFrom(undefined, 2, '\t'),
      (members, changes, indent) => {
        const given = Object.fromEntries(members);
        const text = withMembers(JSON.stringify(given, null, indent), Object.fromEntries(changes));
        assert.ok(!text.includes('\n'));
        const expected = new Map<string, unknown>(Object.entries(given));
        for (const [key, value] of changes)
          if (value === undefined) expected.delete(key);
          else expected.set(key, value);
        const found = new Map<string, unknown>(Object.entries(JSON.parse(text)));
        assert.deepEqual(
          [...found].sort(byName),
          [...expected].map(([k, v]) => [k, plain(v)] as const).sort(byName),
        );
      },
    ),
  );
});

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => (a < b ? -1 : 1);
/** As it is read back: −0 is 0. */
const plain = (value: unknown) => JSON.parse(JSON.stringify(value));

test('the reader gives each object as it is written', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-members-'));
  try {
    const file = path.join(folder, 'rows.json');
    const texts = ['{"a": 1.0}', '{\n"b": "ü"}', `{"long": "${'x'.repeat(300_000)}"}`, '{"n": NaN}'];
    for (const whole of [texts.join('\n'), `[${texts.join(', ')}]`]) {
      fs.writeFileSync(file, whole);
      const read: string[] = [];
      for (const object of readJsonObjects(file)) read.push(object.text());
      assert.deepEqual(read, texts);
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});
