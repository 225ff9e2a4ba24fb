/** Saves that the system refuses at every operation of theirs. */
import { test } from 'node:test';
import { FAILURES } from '../failing-files.js';
import { failEverywhere } from '../failing-saves.js';

for (const failure of FAILURES)
  test(`${failure.code} (${failure.how}) at every operation of a save`, () => failEverywhere(failure, 1));
