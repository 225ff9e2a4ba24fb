/** Values in messages: one line, bounded, nothing that a terminal would obey, whatever the value is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { InputError } from '../src/errors.js';
import { messageLine, messageLines, printable, show } from '../src/show.js';

/** What moves a cursor, recolours, reorders or hides what follows, and half characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: looking for them is the test
const HARMFUL = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Cs}/u;

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 400 }),
  fc
    .array(fc.constantFrom('\u001b[31m', '\r', '\n', '\u202e', '\ud800', '\udc00', 'a', '😀', '\u0085', '"'))
    .map((parts) => parts.join('')),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 300 })
    .map((units) => String.fromCharCode(...units)),
);

test('any value is shown on one short line', () => {
  fc.assert(
    fc.property(
      fc.oneof(text, fc.anything({ withBigInt: true, withNullPrototype: true, values: [text] })),
      (value) => {
        const shown = show(value);
        assert.ok(!HARMFUL.test(shown), JSON.stringify(shown));
        assert.ok(shown.length <= 201, `${shown.length} characters`);
      },
    ),
    { numRuns: 2000, seed: 8 },
  );
});

test('a message is one line of at most two thousand characters, with both its ends', () => {
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 60 }), (part, times) => {
      const line = messageLine(`begin ${part.repeat(times)} end`);
      assert.ok(!HARMFUL.test(line), JSON.stringify(line));
      assert.ok(line.length <= 2001, `${line.length} characters`);
      assert.ok(line.startsWith('begin ') && line.endsWith(' end'));
    }),
    { numRuns: 300, seed: 8 },
  );
  assert.equal(messageLine('short'), 'short');
  assert.equal(messageLines('a\u001b\nb'), 'a\\u001b\nb');
});

test('members are shown to a depth, and only the value’s own', () => {
  let nested: unknown = 1;
  for (let depth = 0; depth < 100_000; depth++) nested = [nested];
  const cases: [unknown, string][] = [
    [undefined, 'nothing'],
    [null, 'null'],
    [-0, '0'],
    [Number.NaN, 'NaN'],
    [10n ** 20n, '100000000000000000000'],
    [[1, 'a', [2, [3, [4]]]], '[1,"a",[2,[3,[…]]]]'],
    [[1, 2, 3, 4, 5, 6], '[1,2,3,4,5,…]'],
    [{ a: 1, b: { c: { d: { e: 1 } } } }, '{"a":1,"b":{"c":{"d":{…}}}}'],
    [Object.create({ inherited: 1 }), '{}'],
    [new Float32Array(3), '12 bytes'],
    [nested, '[[[[…]]]]'],
    [() => 1, 'a function'],
    ['x'.repeat(1000), `"${'x'.repeat(100)}…"`],
  ];
  for (const [value, expected] of cases) assert.equal(show(value), expected);
});

test('names of files stay as they are but for what a terminal obeys', () => {
  assert.equal(printable('/data/日本語/é 😀.jsonl'), '/data/日本語/é 😀.jsonl');
  assert.equal(printable('a\u001b[31m\u202e\ud800b'), 'a\\u001b[31m\\u202e\\ud800b');
});

test('what is an object of a class is shown as that', () => {
  assert.equal(show(Promise.resolve(1)), 'a Promise');
  assert.equal(show([new Map([[1, 2]])]), '[a Map]');
  assert.equal(show(new InputError('x')), 'an InputError');
});
