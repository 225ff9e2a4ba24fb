/** Replicas are compared by the bits of their weights; which rank and which parameter differ is said on all ranks. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { MachineError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { CounterRandom } from '../src/tensor/random.js';
import { ownershipOf } from '../src/train/ranks/ownership.js';
import { requireEqualReplicas } from '../src/train/ranks/replicas.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(async () => {
  assert.equal(gpu.memory().liveBuffers, 0);
  await gpu.close();
});

/** What each rank is told, where one value of each of these was changed: its rank, parameter and element. */
async function told(
  size: number,
  changes: [rank: number, name: string, element: number, value?: number][],
  divided = false,
): Promise<(string | undefined)[]> {
  const ranks = new EmulatedRanks(size);
  const part = (name: string, start: number, shape: number[]) => ({ name, start, shape });
  const models = Array.from({ length: size }, (_, rank) => {
    const specs = [
      { name: 'words', shape: [40, 9], table: true, trainable: true, decay: true },
      { name: 'fixed', shape: [7], trainable: false, decay: true },
      {
        ...{ name: 'qk', shape: [10, 33], trainable: true, decay: true, product: true },
        parts: [part('query', 0, [4, 33]), part('key', 4 * 33, [6, 33])],
      },
      { name: 'bias', shape: [1], trainable: true, decay: false },
    ];
    const store = new ParameterStore(gpu, specs, divided ? 'f16' : 'f32');
    const random = new CounterRandom(11, 0);
    for (const { tensor } of store.parameters)
      tensor.write(Float32Array.from({ length: tensor.size }, () => random.uniform() - 0.5));
    store.get('bias').write([0]);
    if (divided) store.divide(ownershipOf(store.buckets(1), size, rank).ranges);
    return { model: { store } };
  });
  for (const [rank, name, element, value = 3] of changes)
    models[rank]!.model.store.get(name).write([value], element);
  const results = await Promise.all(
    models.map((model, rank) =>
      requireEqualReplicas(model, ranks.rank(rank)).then(
        () => undefined,
        (error: unknown) => {
          assert.ok(error instanceof MachineError);
          return error.message;
        },
      ),
    ),
  );
  for (const { model } of models) model.store.dispose();
  return results;
}

test('equal replicas are equal, of one rank and of three', async () => {
  for (const size of [1, 3])
    for (const divided of [false, true])
      assert.deepEqual(await told(size, [], divided), new Array(size).fill(undefined));
});

describe('a difference is found and named on all ranks', () => {
  for (const [name, size, changes, message, divided] of [
    [
      'a row of a table',
      2,
      [[1, 'words', 359]],
      /^the weights of rank 1 .* rank 0: the bits of "words" differ;/,
    ],
    ['a part of a parameter', 2, [[1, 'qk', 4 * 33]], /the bits of "key" differ;/],
    [
      'what does not train',
      3,
      [[2, 'fixed', 0]],
      /^the weights of rank 2 .* rank 0: the bits of "fixed" differ;/,
    ],
    ['a sign of zero', 2, [[1, 'bias', 0, -0]], /the bits of "bias" differ;/],
    ['a copy of what is divided', 2, [[1, 'qk', 4 * 33]], /the bits of "key" differ;/, true],
    ['of rank 0', 3, [[0, 'words', 1]], /^the weights of rank 0 are no longer those of rank 1: /],
    [
      'several, of several ranks',
      4,
      [
        [1, 'words', 1],
        [1, 'qk', 0],
        [3, 'bias', 0],
      ],
      /^the weights of rank 1 .* rank 0: the bits of "words" and of 1 more differ; other weights too: rank 3;/,
    ],
  ] as [string, number, [number, string, number, number?][], RegExp, boolean?][])
    test(name, async () => {
      const messages = await told(size, changes, divided);
      assert.equal(new Set(messages).size, 1);
      assert.match(messages[0]!, message);
    });
});
