/** Where training writes, and the checkpoints that it goes on from. */
import { sealed } from '../../src/train/checkpoints/training-state.js';
import type { RefusedCalls } from './call.js';
import { being, failing } from './faults.js';
import { data, TRAIN } from './inputs.js';

/** What a checkpoint says of a file. */
const one = { bytes: 1, crc32: 1 };

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
    {
      words: TRAIN,
      files: { ...data, 'out/.dawntune.lock': '{' },
      line: '--output_dir: out/.dawntune.lock: expected JSON, found a text that ends too early, after "{"; if no run writes there, remove this file',
      status: 1,
    },
    {
      words: TRAIN,
      files: data,
      before: () => failing('renameSync', /out\/\.dawntune-claim/, 'EIO'),
      line: '--output_dir: out: cannot be locked: the disk reports an error; look after the disk, or give a folder on another one',
      status: 1,
    },
    {
      words: TRAIN,
      files: { ...data, 'out/.dawntune-claim.1.2.0123456789ab.0123456789abcdef': '' },
      // It waits for the other run, a second or two.
      before: () => being(Atomics, 'wait', () => 'timed-out'),
      line: '--output_dir: out: another run is about to begin there; if none is, remove its files .dawntune-claim.*',
      status: 1,
    },
    {
      words: TRAIN,
      files: { ...data, 'out/config.json': null },
      line: '--output_dir: out/config.json: expected a file or nothing, as a model is written there, found a folder',
    },
    {
      words: TRAIN,
      files: { ...data, 'out/.dawntune-save.checkpoint-1.writing/a': '' },
      before: () => failing('rmSync', /checkpoint-1\.writing$/, 'EIO'),
      line: '--output_dir: out: cannot write: the disk reports an error; look after the disk, or give a folder on another one',
      status: 1,
    },
    {
      words: `${TRAIN} --resume_from_checkpoint c`,
      files: {
        ...data,
        'c/training_state.json': JSON.stringify(
          sealed({ format: 2, files: { 'optimizer.safetensors': one, 'trainer_state.json': one } }),
        ),
        'c/optimizer.safetensors': 'xx',
        'c/trainer_state.json': 'x',
      },
      line: '--resume_from_checkpoint: the checkpoint c is damaged: c/optimizer.safetensors: expected the 1 bytes that were saved, found 2',
    },
  ],
};
