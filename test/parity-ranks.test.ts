/** The goldens of several ranks hold with real ones: threads, each with its own device. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ParityCheck } from '../src/parity/report.js';
import { RankThreads } from '../src/train/ranks/rank-threads.js';
import { silentReporter } from '../src/train/report.js';
import type { ParityRankData } from './parity-rank.js';
import { golden } from './repository.js';

for (const fp16 of [false, true])
  test(`two threads give the goldens of two ranks${fp16 ? ' in mixed precision' : ''}`, async () => {
    const data: ParityRankData = { folder: golden(), options: { fp16, ranksAlone: true } };
    const ranks = new RankThreads<ParityCheck[]>({
      size: 2,
      module: new URL('./parity-rank.js', import.meta.url),
      data,
      report: silentReporter,
    });
    const checks = await ranks.results();
    for (const each of checks) {
      assert.ok(
        each.length > 80 && each.every(({ section }) => section.startsWith('2 ranks')),
        `${each.length}`,
      );
      assert.deepEqual(
        each.filter(({ ok }) => !ok),
        [],
      );
    }
  });
