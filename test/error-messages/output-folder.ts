/** Where training writes, and the checkpoints that it goes on from. */
import type { RefusedCalls } from './call.js';
import { data, TRAIN } from './inputs.js';

export const outputFolder: RefusedCalls = {
  finetune: [
    {
      words: `${TRAIN} --resume_from_checkpoint a.jsonl`,
      files: data,
      line: '--resume_from_checkpoint: a.jsonl: expected the folder of a checkpoint, found a file',
    },
    {
      words: TRAIN.replace('_dir out', '_dir a.jsonl/b'),
      files: data,
      line: '--output_dir: a.jsonl/b: cannot be written: a part of the path is not a folder',
    },
    {
      words: TRAIN.replace('_dir out', '_dir a.jsonl'),
      files: data,
      line: '--output_dir: a.jsonl: cannot be written: is no folder',
    },
    {
      words: `${TRAIN} --resume_from_checkpoint none`,
      files: data,
      line: '--resume_from_checkpoint: none: expected a checkpoint, found nothing',
    },
  ],
};
