/**
 * What the commands refuse, by command: the words, the files that lie beside them, and the line that is told, gathered from
 * the files of this folder, which have them by subject. The rows are run by error-messages.test.ts in its own process, each
 * in a new folder; `MODEL` is the golden model, `COPY` a copy of it in that folder, into which the files of the row are
 * written.
 */
import type { RefusedCall, RefusedCalls } from './call.js';
import { damagedWeights } from './damaged-weights.js';
import { encode } from './encode.js';
import { evaluate } from './evaluate.js';
import { flags } from './flags.js';
import { hub } from './hub.js';
import { mineScoreSplit } from './mine-score-split.js';
import { modelFolder } from './model-folder.js';
import { notFinite } from './not-finite.js';
import { otherCommands } from './other-commands.js';
import { outputFolder } from './output-folder.js';
import { setUp } from './set-up.js';
import { settingsFile } from './settings-file.js';
import { trainingData } from './training-data.js';

const subjects: readonly RefusedCalls[] = [
  flags,
  settingsFile,
  trainingData,
  modelFolder,
  damagedWeights,
  notFinite,
  setUp,
  hub,
  outputFolder,
  encode,
  evaluate,
  mineScoreSplit,
  otherCommands,
];

export const refusedCalls: RefusedCalls = subjects.reduce<Record<string, RefusedCall[]>>((all, subject) => {
  for (const [command, calls] of Object.entries(subject)) all[command] = [...(all[command] ?? []), ...calls];
  return all;
}, {});
