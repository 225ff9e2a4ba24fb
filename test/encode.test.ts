/** Encoding: order, parts, ranks and beginnings in the middle give the same bits; what is cut is cut before its norm. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { M3Model } from '../src/models/m3.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { encodeTexts } from '../src/retrieval/encode/encode-texts.js';
import type { EncodedTexts, Representation } from '../src/retrieval/encode/encoded.js';
import { type EncodeStreamOptions, encodeStream } from '../src/retrieval/encode/stream.js';
import { TokenizerThreads } from '../src/tokenizer/threads.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { golden } from './repository.js';

const gpu = await Gpu.open();
const model = M3Model.load(gpu, golden('model'));
const tokenizer = Tokenizer.load(golden('model'));
after(async () => {
  model.dispose();
  await gpu.close();
});

/** Texts of 0 to 40 words, the same each time. */
function* texts(count: number): Generator<string> {
  let state = 7;
  const draw = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  for (let i = 0; i < count; i++)
    yield Array.from({ length: draw(10) === 0 ? 40 : draw(6) }, () => `word${draw(50)}`).join(' ');
}

async function all(
  input: Iterable<string> | AsyncIterable<string>,
  options: EncodeStreamOptions = {},
  by: Tokenizer | TokenizerThreads = tokenizer,
): Promise<EncodedTexts[]> {
  const parts: EncodedTexts[] = [];
  for await (const part of encodeStream(model, by, input, { maxLength: 48, ...options })) parts.push(part);
  return parts;
}

const only = (...names: Representation[]): ReadonlySet<Representation> => new Set(names);

test('windows give back what single texts give, in their order', async () => {
  const count = 1100;
  const input = [...texts(count)];
  const parts = await all(input, { batchTokens: 600 });
  assert.deepEqual(
    parts.map(({ first, count, resumable }) => [first, count, resumable]),
    [
      [0, 1024, true],
      [1024, 76, true],
    ],
  );
  for (const place of [0, 1, 500, 1023, 1024, 1099]) {
    const [alone] = await encodeTexts(model, tokenizer, [input[place]!], { maxLength: 48 });
    const part = parts[place < 1024 ? 0 : 1]!;
    const text = place - part.first;
    assert.deepEqual(part.ids[text], alone!.ids);
    const dense = part.dense!.subarray(text * part.denseWidth, (text + 1) * part.denseWidth);
    const near = (found: Float32Array, expected: Float32Array) => {
      assert.equal(found.length, expected.length);
      for (const [i, value] of expected.entries()) assert.ok(Math.abs(found[i]! - value) < 1e-5, `${place}`);
    };
    near(dense, alone!.dense);
    near(part.colbert![text]!, alone!.colbert);
    assert.deepEqual([...part.sparse![text]!.keys()], [...alone!.lexical.keys()]);
    near(Float32Array.from(part.sparse![text]!.values()), Float32Array.from(alone!.lexical.values()));
  }
  // From the end of a window on, the same bits.
  assert.deepEqual(await all(input.slice(1024), { batchTokens: 600, start: 1024 }), parts.slice(1));
  // Threads, iterables that wait.
  await using threads = new TokenizerThreads(tokenizer, { threads: 1 });
  const waiting = async function* () {
    yield* input;
  };
  assert.deepEqual(await all(waiting(), { batchTokens: 600 }, threads), parts);
});

test('only what is asked for is computed, the same numbers', async () => {
  const input = [...texts(60)];
  const [whole] = await all(input);
  for (const names of [['dense'], ['sparse'], ['colbert'], ['dense', 'colbert']] as Representation[][]) {
    const reads = gpu.readbackCount;
    const [part] = await all(input, { representations: only(...names) });
    assert.equal(gpu.readbackCount - reads, names.length);
    for (const name of ['dense', 'sparse', 'colbert'] as const)
      if (names.length > 1 || name !== 'dense' || names[0] !== 'dense')
        assert.deepEqual(part![name], names.includes(name) ? whole![name] : undefined, `${names}: ${name}`);
      // Alone, its last layer has the pooled rows only, and products of fewer rows may be of another kernel.
      else
        for (const [i, value] of part!.dense!.entries())
          assert.ok(Math.abs(value - whole!.dense![i]!) < 1e-6, `${i}: ${value}`);
  }
});

test('dense vectors alone are those of all, however they are pooled and computed', async () => {
  const input = [...texts(40)];
  for (const [pooling, precision] of [
    ['cls', 'f32'],
    ['last_token', 'f32'],
    ['mean', 'f32'],
    ['cls', 'f16'],
  ] as const) {
    const other = M3Model.load(gpu, golden('model'), { pooling, precision });
    const of = async (names: ReadonlySet<Representation>) => {
      for await (const { dense } of encodeStream(other, tokenizer, input, { representations: names }))
        return dense!;
      throw new Error('nothing');
    };
    const [alone, beside] = [await of(only('dense')), await of(only('dense', 'sparse'))];
    for (const [i, value] of alone.entries())
      assert.ok(Math.abs(value - beside[i]!) < 1e-6, `${pooling} ${precision} ${i}`);
    other.dispose();
  }
});

test('vectors are cut before they are normalised', async () => {
  const input = [...texts(20)];
  const [whole] = await all(input);
  for (const truncateDim of [1, 5, model.config.hiddenSize / 2, model.config.hiddenSize]) {
    const [cut] = await all(input, { truncateDim });
    assert.equal(cut!.denseWidth, truncateDim);
    const check = (from: Float32Array, width: number, to: Float32Array) => {
      assert.equal(to.length / truncateDim, from.length / width);
      for (let row = 0; row < from.length / width; row++) {
        const kept = from.subarray(row * width, row * width + truncateDim);
        const norm = Math.hypot(...kept);
        kept.forEach((value, i) => {
          assert.ok(Math.abs(value / norm - to[row * truncateDim + i]!) < 2e-5, `${truncateDim}`);
        });
      }
    };
    check(whole!.dense!, whole!.denseWidth, cut!.dense!);
    for (const [i, vectors] of whole!.colbert!.entries())
      check(vectors, whole!.colbertWidth, cut!.colbert![i]!);
  }
});

test('ranks compute batches in turn and have all of them, the bits of one', async () => {
  const input = [...texts(1060)];
  const options = { batchTokens: 500 };
  const alone = await all(input, options);
  for (const size of [2, 3]) {
    const ranks = new EmulatedRanks(size);
    const found = await Promise.all(
      Array.from({ length: size }, (_, rank) => all(input, { ...options, communicator: ranks.rank(rank) })),
    );
    for (const parts of found) assert.deepEqual(parts, alone);
  }
});

test('nothing, empty texts and very long ones', async () => {
  assert.deepEqual(await all([]), []);
  const [empty] = await all(['', ' ', 'a']);
  assert.deepEqual(
    empty!.ids.map(({ length }) => length),
    [2, 2, 3],
  );
  assert.equal(empty!.sparse![0]!.size, 0);
  const long = 'many words '.repeat(9100);
  const [cut] = await all([long, 'short'], { batchTokens: 16 });
  assert.equal(cut!.ids[0]!.length, 48);
  assert.ok(cut!.dense!.every(Number.isFinite));
});

test('what cannot be encoded is refused', async () => {
  for (const [options, wrong] of [
    [{ representations: only() }, /representations: expected some of dense, sparse, colbert, found none/],
    [{ representations: new Set(['late']) as never }, /representations: expected some of .*found "late"/],
    [{ truncateDim: 0 }, /truncateDim: expected an integer from 1 to \d+, the width of the vectors, found 0/],
    [{ truncateDim: 1e4 }, /truncateDim: expected an integer/],
    [{ truncateDim: 1, representations: only('sparse') }, /truncateDim: expected none without/],
    [{ batchTokens: 0 }, /batches of 0 tokens/],
    [{ start: -1 }, /texts from place -1 on/],
    [{ role: 'passage' as never }, /role: expected one of/],
  ] as [EncodeStreamOptions, RegExp][])
    await assert.rejects(all(['a'], options), wrong);
  // What came before is given back, and nothing hangs.
  const failing = function* () {
    yield* texts(1024);
    throw new Error('the disk is gone');
  };
  let seen = 0;
  await assert.rejects(async () => {
    for await (const { count } of encodeStream(model, tokenizer, failing())) seen += count;
  }, /the disk is gone/);
  assert.equal(seen, 1024);
  // Whoever has enough may leave.
  for await (const part of encodeStream(model, tokenizer, texts(1500), { maxLength: 48 })) {
    assert.equal(part.first, 0);
    break;
  }
});
