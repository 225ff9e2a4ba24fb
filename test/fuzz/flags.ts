/** The flags of `npm run fuzz`. */
import os from 'node:os';
import path from 'node:path';
import { choice, integer, listOf, optional, text, withDefault } from '../../src/flags.js';
import { readers } from './readers.js';

export const fuzzFlags = {
  seconds: { ...withDefault(integer(1), 60, 'how long'), group: 'Fuzz' },
  seed: { ...optional(integer(0), 'seed of the first case of each reader'), group: 'Fuzz' },
  only: {
    ...optional(
      listOf(choice([...readers.keys()]), `readers of ${[...readers.keys()].join(', ')}`),
      'some of the readers',
    ),
    group: 'Fuzz',
  },
  cases: { ...optional(integer(1), 'stop after so many cases of each reader'), group: 'Fuzz' },
  findings: {
    ...withDefault(text('a folder'), path.join(os.tmpdir(), 'dawntune-findings'), 'where inputs are kept'),
    group: 'Fuzz',
  },
};
