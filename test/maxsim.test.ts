/**
 * ColBERT scores in blocks of queries: the same bits as in one block, in bounded memory. Whether the values are
 * right is the op table's business.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { backward, maxSim } from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { type MaxSimOptions, maxSimLayout } from '../src/kernels/maxsim/layout.js';
import { maxSimGradient, maxSim as maxSimKernel } from '../src/kernels/maxsim/maxsim.js';
import { PackedSequences } from '../src/tensor/packed.js';
import { CounterRandom } from '../src/tensor/random.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { kernelSets, nameOf, runs } from './kernel-sets.js';

const random = new CounterRandom(11, 0);
const values = (count: number) => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);

/** Scores, gradient and number of blocks of one batch; `start`: what the gradient is added to. */
async function run(
  gpu: Gpu,
  lengths: readonly number[],
  data: Float32Array,
  seed: Float32Array,
  options: MaxSimOptions,
  start?: Float32Array,
) {
  const packed = new PackedSequences(gpu, lengths);
  try {
    return await scope(async () => {
      const shape = [packed.tokens, data.length / packed.tokens];
      const vectors = Tensor.from(gpu, data, shape);
      vectors.requiresGrad = true;
      if (start) vectors.grad = Tensor.from(gpu, start, shape).keep();
      const layout = maxSimLayout(packed, options);
      const scores = maxSim(vectors, layout);
      const read = await scores.toArray();
      backward(scores, Tensor.from(gpu, seed, scores.shape));
      return {
        blocks: layout.blocks.length,
        parts: layout.blocks[0]!.parts.length,
        scores: read,
        gradient: await vectors.grad!.toArray(),
      };
    });
  } finally {
    packed.dispose();
  }
}

// Texts of CLS only among queries and passages; a query of more than one tile; 60 rows of query tokens.
const QUERIES = [1, 4, 40, 3, 1, 17];
const PASSAGES = [3, 9, 1, 28, 4, 7, 2, 33, 6, 5, 1, 12];
const LENGTHS = [...QUERIES, ...PASSAGES];
const ROWS = sum(QUERIES) - QUERIES.length;

for (const kernels of kernelSets)
  describe(`MaxSim in blocks with ${nameOf(kernels)} kernels`, () => {
    let gpu: Gpu;
    let skip = false;
    before(async () => {
      gpu = await Gpu.open({ kernels });
      skip = !runs(gpu, kernels);
    });
    after(() => gpu.close());

    for (const cols of [8, 6])
      for (const ownGroup of [false, true])
        for (const floored of [false, true])
          test(`the same bits: width ${cols}${ownGroup ? ' own group' : ''}${floored ? ' floored' : ''}`, async (t) => {
            if (skip) return t.skip('the adapter has no subgroups of 8');
            const columns = PASSAGES.length / (ownGroup ? QUERIES.length : 1);
            const data = values(sum(LENGTHS) * cols);
            const seed = values(QUERIES.length * columns);
            const options = {
              queries: QUERIES.length,
              ownGroup,
              floor: floored ? PASSAGES.map((_, j) => j % 3 !== 1) : undefined,
            };
            const live = gpu.memory().liveBuffers;
            const whole = await run(gpu, LENGTHS, data, seed, options);
            assert.equal(whole.blocks, 1);
            // Every query by itself; the last alone; the long query fills a block exactly.
            for (const [blockBytes, blocks] of [
              [1, 6],
              [45 * 8 * columns, 2],
              [39 * 8 * columns, 3],
            ] as const) {
              const parts = await run(gpu, LENGTHS, data, seed, { ...options, blockBytes });
              assert.deepEqual(parts, { ...whole, blocks });
            }
            assert.equal(gpu.memory().liveBuffers, live, 'no buffer is left behind');
          });

    test('the gradient is added to what a leaf has', async (t) => {
      if (skip) return t.skip('the adapter has no subgroups of 8');
      const data = values(sum(LENGTHS) * 8);
      const seed = values(QUERIES.length * PASSAGES.length);
      const start = values(data.length);
      for (const blockBytes of [undefined, 500]) {
        const options = { queries: QUERIES.length, ...(blockBytes ? { blockBytes } : {}) };
        const fresh = await run(gpu, LENGTHS, data, seed, options);
        const added = await run(gpu, LENGTHS, data, seed, options, start);
        start.forEach((value, i) => {
          // Rounded at the size of the sum, not of the gradient.
          assert.ok(Math.abs(added.gradient[i]! - value - fresh.gradient[i]!) < 1e-6, `element ${i}`);
        });
      }
    });

    test('positions beyond the binding limit', async (t) => {
      if (skip) return t.skip('the adapter has no subgroups of 8');
      // 100 queries of 8 tokens × 100 passages: 320 kB of positions.
      const lengths = new Array<number>(200).fill(9);
      const data = values(1800 * 8);
      const seed = values(100 * 100);
      const whole = await run(gpu, lengths, data, seed, { queries: 100 });
      assert.equal(whole.blocks, 1);
      const limited = await Gpu.open({ kernels, maxBindingSize: 65536 });
      try {
        const parts = await run(limited, lengths, data, seed, { queries: 100 });
        assert.deepEqual(parts, { ...whole, blocks: 5 });
      } finally {
        await limited.close();
      }
    });

    for (const cols of [64, 6])
      for (const ownGroup of [false, true])
        test(`vectors beyond the binding limit: width ${cols}${ownGroup ? ' own group' : ''}`, async (t) => {
          if (skip) return t.skip('the adapter has no subgroups of 8');
          // 20 queries and 60 passages of 3 to 40 tokens: some 1,700 tokens, 440 kB at width 64, 41 kB at 6.
          const lengths = Array.from({ length: 80 }, () => 3 + random.int(38));
          const data = values(sum(lengths) * cols);
          const seed = values(20 * (ownGroup ? 3 : 60));
          const options = { queries: 20, ownGroup, width: cols };
          const whole = await run(gpu, lengths, data, seed, options);
          assert.equal(whole.blocks, 1);
          assert.equal(whole.parts, 1);
          const limited = await Gpu.open({ kernels, maxBindingSize: cols === 64 ? 65536 : 16384 });
          try {
            const parts = await run(limited, lengths, data, seed, options);
            assert.ok(parts.blocks > 1, `${parts.blocks} blocks`);
            assert.ok(ownGroup ? parts.parts === 1 : parts.parts > 1, `${parts.parts} parts`);
            assert.deepEqual(parts.scores, whole.scores);
            // A query row adds up its passages part by part.
            const top = Math.max(...Array.from(whole.gradient, Math.abs));
            whole.gradient.forEach((want, i) => {
              const bound = ownGroup ? 0 : 1e-6 * top;
              assert.ok(Math.abs(parts.gradient[i]! - want) <= bound, `${parts.gradient[i]}, ${want}`);
            });
          } finally {
            await limited.close();
          }
        });

    test('memory is that of one block, and no second gradient', async (t) => {
      if (skip) return t.skip('the adapter has no subgroups of 8');
      // 64 queries of 8 tokens × 64 passages: 256 kB of maxima and positions; vectors of 288 kB.
      const lengths = new Array<number>(128).fill(9);
      const fresh = await Gpu.open({ kernels });
      try {
        const packed = new PackedSequences(fresh, lengths);
        const layout = maxSimLayout(packed, { queries: 64, blockBytes: 16384 });
        assert.equal(layout.blocks.length, 16);
        const vectors = Tensor.from(fresh, values(1152 * 64), [1152, 64]);
        vectors.requiresGrad = true;
        vectors.grad = Tensor.zeros(fresh, vectors.shape).keep();
        const before = fresh.memory();
        scope(() => {
          const scores = maxSim(vectors, layout);
          backward(scores, Tensor.from(fresh, values(scores.size), scores.shape));
        });
        const used = fresh.memory().peak - sum(Object.values(before.live));
        // 16 kB each: scores, their seed, and a block's maxima and positions.
        assert.ok(used <= 3 * 16384, `${used} bytes`);
        assert.equal(fresh.memory().liveBuffers, before.liveBuffers);
        vectors.dispose();
        packed.dispose();
        assert.equal(fresh.memory().liveBuffers, 0);
      } finally {
        await fresh.close();
      }
    });
  });

test('one block keeps its positions, several do not', async () => {
  const gpu = await Gpu.open();
  const packed = new PackedSequences(gpu, LENGTHS);
  scope(() => {
    const vectors = Tensor.from(gpu, values(packed.tokens * 8), [packed.tokens, 8]);
    const queries = QUERIES.length;
    const one = maxSimKernel(vectors, maxSimLayout(packed, { queries }));
    assert.deepEqual(one.positions?.shape, [ROWS, PASSAGES.length]);
    const layout = maxSimLayout(packed, { queries, blockBytes: 500 });
    assert.equal(maxSimKernel(vectors, layout).positions, undefined);
    const other = Tensor.zeros(gpu, [packed.tokens, 4]);
    assert.throws(
      () => maxSimGradient(vectors, undefined, layout, one.scores, other),
      /maxSim: .*vectors \[177,8\] f32 .*into \[177,4\] f32/,
    );
  });
  packed.dispose();
  assert.equal(gpu.memory().liveBuffers, 0);
  await gpu.close();
});
