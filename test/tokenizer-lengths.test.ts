/** Time by length of text: linear, whatever the text consists of; and a cut text is not read to its end for nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { golden } from './repository.js';
import { assertLinear, KINDS, seconds, TOKENIZERS, textOf } from './text-lengths.js';

for (const [name, folder] of Object.entries(TOKENIZERS))
  test(`time is linear in the text, to 50,000 characters: ${name}`, () => assertLinear(folder, 5e3));

test('of a long text without spaces that is cut, the beginning is segmented', () => {
  const tokenizer = Tokenizer.load(golden('model'), { cacheSize: 0 });
  const text = textOf(KINDS['CJK']!, 2e5);
  const whole = tokenizer.encode(text);
  let cut: Uint32Array | undefined;
  const least = seconds(2, () => {
    cut = tokenizer.encode(text, 512);
  });
  assert.deepEqual(cut!.subarray(0, -1), whole.subarray(0, 511));
  assert.ok(least < seconds(2, () => tokenizer.encode(text)), `${least} s`);
});
