/** What gradient caching is for: the memory of a large batch is that of its chunks. */
import assert from 'node:assert/strict';
import { fullBatch, lossBatch, presetConfig, runSettings, stepSettings } from '../bench/presets.js';
import type { Gpu } from '../src/gpu/gpu.js';
import { M3Model } from '../src/models/m3.js';
import { planMemory } from '../src/train/memory/memory-plan.js';

/** That so many queries in chunks of 16 texts take at most 1.5 times the activations of 16 queries at once. */
export async function checkCachedPeak(gpu: Gpu, queries: number): Promise<void> {
  const config = presetConfig('tiny');
  const activations = async (batch: number, subBatchSize: number | null) => {
    const shape = { batch, group: 8, queryMaxLen: 32, passageMaxLen: 128, vocab: config.vocabSize };
    const report = await planMemory(gpu, {
      model: (like) => M3Model.empty(like, config),
      run: runSettings(false, stepSettings(false, subBatchSize)),
      batches: (model) => [lossBatch(model.gpu, config, fullBatch(shape))],
    });
    return report.highest.activations;
  };
  const [small, cached] = [await activations(16, null), await activations(queries, 16)];
  assert.ok(cached <= 1.5 * small, `${cached} bytes against ${small}`);
}
