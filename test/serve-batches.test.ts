/** Which texts share a batch, and that sharing changes no bit: requests that come together have what `encode` gives. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { InputError, MachineError } from '../src/errors.js';
import { M3Model } from '../src/models/m3.js';
import type { Representation } from '../src/retrieval/encode/encoded.js';
import { encodeStream } from '../src/retrieval/encode/stream.js';
import { packed } from '../src/retrieval/encode/windows.js';
import {
  type BatchFacts,
  EmbeddingBatcher,
  QueueFullError,
  TextTooLongError,
  type TextValues,
} from '../src/serve/batcher.js';
import { nextBatch, type WaitingRequest } from '../src/serve/schedule.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';

const gpu = await lendGpu();
const model = M3Model.load(gpu, golden('model'));
const tokenizer = Tokenizer.load(golden('model'));
after(async () => {
  model.dispose();
  await gpu.close();
});

// ---- the schedule --------------------------------------------------------------------------------------------------

interface Line extends WaitingRequest {
  next: number;
  tokens: number;
  readonly name: number;
}

const line = (name: number, lengths: readonly number[], kind = 'dense', alone = false): Line => ({
  ...{ name, kind, alone, next: 0 },
  lengths: [...lengths].sort((a, b) => b - a),
  tokens: lengths.reduce((sum, length) => sum + length, 0),
});

/** Takes batches until nothing waits. @returns them, as [name, texts]. */
function run(waiting: Line[], batchTokens: number, begin: 'oldest' | 'shortest' = 'oldest') {
  const batches: [name: number, lengths: number[]][][] = [];
  for (let turn = begin === 'oldest' ? 0 : 1; waiting.length > 0; turn++) {
    const shares = nextBatch(waiting, batchTokens, turn % 2 === 0 ? 'oldest' : 'shortest');
    assert.ok(shares.length > 0 && shares.every(({ texts }) => texts > 0));
    batches.push(
      shares.map(({ request, texts }) => {
        const lengths = request.lengths.slice(request.next, request.next + texts);
        request.next += texts;
        request.tokens -= lengths.reduce((sum, length) => sum + length, 0);
        return [request.name, lengths];
      }),
    );
    waiting = waiting.filter(({ next, lengths }) => next < lengths.length);
  }
  return batches;
}

test('a request that is alone is cut into batches as encode cuts a window', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }), (lengths) => {
      const ids = lengths.map((length) => new Uint32Array(length));
      const expected = packed(ids, 40).map((texts) => texts.map((text) => lengths[text]!));
      assert.deepEqual(
        run([line(0, lengths)], 40).map(([share]) => share![1]),
        expected,
      );
    }),
    { numRuns: 100 },
  );
});

test('every text is computed once, in batches within their tokens, of one kind, none beside what is alone', () => {
  const request = fc.record({
    lengths: fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 }),
    kind: fc.constantFrom('dense', 'sparse'),
    alone: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(request, { minLength: 1, maxLength: 8 }), (requests) => {
      const batches = run(
        requests.map(({ lengths, kind, alone }, name) => line(name, lengths, kind, alone)),
        40,
      );
      for (const batch of batches) {
        const lengths = batch.flatMap(([, some]) => some);
        assert.ok(lengths.length === 1 || lengths.reduce((a, b) => a + b) <= 40);
        assert.equal(new Set(batch.map(([name]) => requests[name]!.kind)).size, 1);
        assert.ok(batch.length === 1 || batch.every(([name]) => !requests[name]!.alone));
      }
      for (const [name, { lengths }] of requests.entries()) {
        const computed = batches.flatMap((batch) =>
          batch.filter(([of]) => of === name).flatMap(([, some]) => some),
        );
        assert.deepEqual(
          computed,
          [...lengths].sort((a, b) => b - a),
        );
      }
    }),
    { numRuns: 100 },
  );
});

test('long texts do not starve short ones, nor short ones long ones', () => {
  const long = Array.from({ length: 20 }, (_, name) => line(name, [40]));
  const order = run([...long, line(20, [2])], 40).map((batch) => batch.map(([name]) => name));
  assert.ok(order.findIndex((names) => names.includes(20)) <= 1, 'the short one is in one of the next two');
  const waiting: Line[] = [line(0, [40])];
  for (let turn = 1, name = 1; waiting[0]?.name === 0; turn++) {
    assert.ok(turn < 4, 'a stream of short ones keeps the long one waiting');
    for (let i = 0; i < 40; i++) waiting.push(line(name++, [1]));
    for (const { request } of nextBatch(waiting, 40, turn % 2 === 0 ? 'oldest' : 'shortest'))
      waiting.splice(waiting.indexOf(request), 1);
  }
});

// ---- the batcher ---------------------------------------------------------------------------------------------------

/** Texts of 0 to 40 words, the same each time. */
function texts(count: number, seed = 7): string[] {
  let state = seed;
  const draw = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  return Array.from({ length: count }, () =>
    Array.from({ length: draw(10) === 0 ? 40 : draw(6) }, () => `word${draw(50)}`).join(' '),
  );
}

async function encoded(input: readonly string[], representation: Representation): Promise<TextValues[]> {
  const values: TextValues[] = [];
  const options = { maxLength: 48, representations: new Set([representation]) };
  for await (const part of encodeStream(model, tokenizer, input, options))
    for (let i = 0; i < part.count; i++)
      values.push({
        text: part.first + i,
        dense: part.dense?.slice(i * part.denseWidth, (i + 1) * part.denseWidth) ?? new Float32Array(),
        lexical: part.sparse?.[i] ?? new Map(),
        colbert: part.colbert?.[i]?.slice() ?? new Float32Array(),
      });
  return values;
}

async function computed(
  batcher: EmbeddingBatcher,
  input: readonly string[],
  representation: Representation,
  signal?: AbortSignal,
) {
  const ids = await batcher.tokenize(input, { maxLength: 48, signal });
  const values: TextValues[] = [];
  await batcher.compute(ids, { representations: new Set([representation]), signal }, (some) => {
    values.push(...some);
  });
  return values.sort((a, b) => a.text - b.text);
}

test('requests that share their batches have the bits of encode', async () => {
  const batches: BatchFacts[] = [];
  const batcher = new EmbeddingBatcher(model, tokenizer, {
    batchTokens: 300,
    onBatch: (batch) => batches.push(batch),
  });
  const requests = Array.from({ length: 12 }, (_, i) => texts(1 + (i % 5) * 3, i + 1));
  const kinds = ['dense', 'sparse', 'colbert'] as const;
  const found = await Promise.all(requests.map((input, i) => computed(batcher, input, kinds[i % 3]!)));
  for (const [i, input] of requests.entries())
    assert.deepEqual(found[i], await encoded(input, kinds[i % 3]!));
  assert.equal(
    batches.reduce((sum, { texts }) => sum + texts, 0),
    requests.flat().length,
  );
  assert.ok(batches.some(({ requests }) => requests > 1));
  assert.ok(batches.every(({ tokens }) => tokens <= 300));
  const [embedding] = await batcher.encode(['one text']);
  assert.deepEqual(
    [embedding!.dense.length, embedding!.ids.length > 2, embedding!.lexical.size > 0],
    [64, true, true],
  );
  assert.equal(batcher.tokensAtHand, 0);
  await batcher.close();
  await assert.rejects(batcher.encode(['one text']), MachineError);
});

test('what is aborted is not computed; a full queue and long texts are refused', async () => {
  const batches: BatchFacts[] = [];
  const batcher = new EmbeddingBatcher(model, tokenizer, {
    batchTokens: 50,
    queueTokens: 400,
    onBatch: (batch) => batches.push(batch),
  });
  const gone = new AbortController();
  const dropped = computed(
    batcher,
    Array.from({ length: 60 }, () => 'word1 word2 word3'),
    'dense',
    gone.signal,
  );
  const kept = computed(batcher, ['word4'], 'dense');
  setTimeout(() => gone.abort(new Error('gone')), 5);
  await assert.rejects(dropped, /^Error: gone$/);
  assert.deepEqual(await kept, await encoded(['word4'], 'dense'));
  await batcher.close();
  assert.ok(batches.length < 10, `${batches.length} batches`);

  const release = batcher.reserve([new Uint32Array(300)]);
  assert.throws(
    () => batcher.reserve([new Uint32Array(101)]),
    (error: Error) => error instanceof QueueFullError && error.retryAfter >= 1,
  );
  release();
  release();
  batcher.reserve([new Uint32Array(400)])();
  assert.throws(() => batcher.reserve([new Uint32Array(401)]), InputError);
  const usual = new EmbeddingBatcher(model, tokenizer);
  assert.deepEqual(
    [usual.batchTokens, usual.queueTokens],
    [model.gpu.capabilities.software ? 1024 : 8192, 262_144],
  );
  const long = 'word '.repeat(60);
  await assert.rejects(
    batcher.tokenize(['a', long], { maxLength: 20, truncate: false }),
    (error: Error) =>
      error instanceof TextTooLongError &&
      error.text === 1 &&
      error.tokens > 60 &&
      /at most 20$/.test(error.message),
  );
  assert.equal((await batcher.tokenize([long], { maxLength: 20 }))[0]!.length, 20);
});

test('what waits tells by the speed until now when to ask again; of several texts each has memory of its own', async () => {
  const batcher = new EmbeddingBatcher(model, tokenizer, { queueTokens: 2 ** 40 });
  const [one, other] = await batcher.encode(['word1 word2', 'word3']);
  assert.ok(one!.colbert.length > 0 && other!.colbert.length > 0);
  for (const { colbert } of [one!, other!]) assert.equal(colbert.buffer.byteLength, colbert.byteLength);
  // More than any device computes in ten minutes, after which nobody is told to wait longer.
  batcher.reserve([{ length: 2 ** 40 } as Uint32Array]);
  assert.throws(
    () => batcher.requireRoom(1),
    (error: Error) => error instanceof QueueFullError && error.retryAfter === 600,
  );
  await batcher.close();
});

test('a request that fails takes no other with it', async () => {
  const batcher = new EmbeddingBatcher(model, tokenizer, {});
  const compute = (ids: readonly number[]) =>
    batcher.compute([Uint32Array.from(ids)], { representations: new Set(['dense']) }, () => {});
  const [good, bad] = await Promise.allSettled([compute([0, 5, 2]), compute([0, 1e6, 2])]);
  assert.equal(good.status, 'fulfilled');
  assert.match(String((bad as PromiseRejectedResult).reason), /token id 1000000 is not in the model/);
  await batcher.close();
});
