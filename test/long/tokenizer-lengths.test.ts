/** Texts of a million characters take the time of ten of a hundred thousand. */
import { test } from 'node:test';
import { assertLinear, TOKENIZERS } from '../text-lengths.js';

for (const [name, folder] of Object.entries(TOKENIZERS))
  test(`time is linear in the text, to a million characters: ${name}`, () => assertLinear(folder, 1e5));
