/** The goldens of several ranks hold with real ones: threads, each with its own device. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentReporter } from '../src/console/reporter.js';
import { RankThreads } from '../src/ranks/rank-threads.js';
import type { RankChecks } from './parity-rank.js';
import { golden } from './repository.js';

test('two threads give the goldens of two ranks, in mixed precision too', async () => {
  const ranks = new RankThreads<RankChecks>({
    ...{ size: 2, module: new URL('./parity-rank.js', import.meta.url), data: golden() },
    report: silentReporter,
  });
  for (const { float32, mixed } of await ranks.results()) {
    for (const each of [float32, mixed]) {
      assert.ok(
        each.length > 80 && each.every(({ section }) => section.startsWith('2 ranks')),
        `${each.length}`,
      );
      assert.deepEqual(
        each.filter(({ ok }) => !ok),
        [],
      );
    }
    // It was f16: no float32 run gives the same errors.
    assert.notDeepEqual(mixed, float32);
  }
});
