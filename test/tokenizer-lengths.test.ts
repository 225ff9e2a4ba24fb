/** Time by length of text is linear, whatever the text consists of; a cut text has the ids of its beginning. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { golden } from './repository.js';
import { assertLinear, KINDS, TOKENIZERS, textOf } from './text-lengths.js';

for (const [name, folder] of Object.entries(TOKENIZERS))
  test(`time is linear in the text, to 50,000 characters: ${name}`, () => assertLinear(folder, 5e3));

test('a long text without spaces that is cut has the ids of its beginning', () => {
  const tokenizer = Tokenizer.load(golden('model'), { cacheSize: 0 });
  for (const kind of ['no spaces', 'CJK', 'one character', 'digits', 'letters with combining marks']) {
    const text = textOf(KINDS[kind]!, 1e5);
    const whole = tokenizer.encode(text);
    for (const limit of [3, 64, 512, 8192])
      if (whole.length > limit)
        assert.deepEqual(tokenizer.encode(text, limit).subarray(0, -1), whole.subarray(0, limit - 1));
  }
});
