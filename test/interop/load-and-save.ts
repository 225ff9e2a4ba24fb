/**
 * A child of weights.ts: loads a model's folder, saves it in every format, and prints the memory that each took.
 * `node load-and-save.js FOLDER TARGET`
 */
import path from 'node:path';
import { Gpu } from '../../src/gpu/gpu.js';
import { M3Model } from '../../src/models/m3.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import type { SavedFormat } from '../../src/weights/saved-weights.js';

const [folder, target] = process.argv.slice(2) as [string, string];
const peak = () => process.resourceUsage().maxRSS * 1024;
const formats: Record<string, (bytes: number) => SavedFormat> = {
  float32: () => ({ maxShardBytes: 1e12 }),
  'float32-shards': (bytes) => ({ maxShardBytes: Math.ceil(bytes / 5) }),
  float16: () => ({ dtype: 'f16' }),
  'bfloat16-shards': (bytes) => ({ dtype: 'bf16', maxShardBytes: Math.ceil(bytes / 7) }),
};

const gpu = await Gpu.open();
const opened = peak();
const start = performance.now();
const model = M3Model.load(gpu, folder, { trainable: () => false });
// Until the device has everything.
await gpu.read(model.store.parameters[0]!.tensor.bindingRange(0, 4));
const seconds = (performance.now() - start) / 1e3;
const loaded = peak();
const { weights } = gpu.memory().live;
const bytes = model.store.count * 4;
// A tokenizer takes memory of its own, which has nothing to do with weights.
const tokenizer = Tokenizer.load(folder);
const beforeSaving = peak();
for (const [name, format] of Object.entries(formats))
  await model.save(path.join(target, name), tokenizer, format(bytes));
const saved = peak();
const { notices } = model;
model.dispose();
await gpu.close();
process.stdout.write(
  JSON.stringify({
    opened,
    loaded,
    beforeSaving,
    saved,
    weights,
    seconds,
    notices,
    formats: Object.keys(formats),
  }),
);
