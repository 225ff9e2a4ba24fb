/** A run that is asked to stop at each moment at which it looks, in f32 and in f16. */
import { test } from 'node:test';
import { interrupted, LINES, reference } from '../interrupted-runs.js';

for (const [name, line] of Object.entries(LINES))
  test(`asked to stop at any of its moments, a run goes on to the bit: ${name}`, async () => {
    const looks = await reference(name, line);
    for (let look = 0; look < looks; look++) await interrupted(name, line, look);
  });
