/** Runs of two ranks take no more memory than each planned for itself. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { Gpu } from '../../src/gpu/gpu.js';
import { EmulatedRanks } from '../../src/ranks/emulated.js';
import { plannedAndTakenBy } from '../memory-shapes.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-ranks-memory-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

for (const line of [
  '--max_steps 4',
  '--max_steps 3 --gradient_accumulation_steps 2 --fp16 --gradient_checkpointing',
  '--max_steps 3 --gradient_accumulation_steps 5 --sub_batch_size 2 --reduce_dtype bf16',
  '--max_steps 3 --unified_finetuning False --negatives_cross_device --sub_batch_size 2',
  '--max_steps 3 --unified_finetuning False --negatives_cross_device --shard_optimizer',
  '--max_steps 3 --shard_optimizer --fp16',
])
  test(line, async () => {
    const ranks = new EmulatedRanks(2);
    const both = await Promise.all(
      [0, 1].map(async (rank) =>
        plannedAndTakenBy(ranks.rank(rank), await Gpu.open(), folder, line.split(' ')),
      ),
    );
    for (const { planned, taken } of both)
      assert.ok(taken > 0.9 * planned && taken <= planned, `${taken} of ${planned} bytes`);
  });
