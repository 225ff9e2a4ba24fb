/** Threads that tokenize give the ids of the tokenizer itself, errors of its classes, and do not keep a process. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { InputError, MachineError } from '../src/errors.js';
import { asError, asFailure } from '../src/tokenizer/thread-messages.js';
import { TokenizerThreads } from '../src/tokenizer/threads.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { golden } from './repository.js';

const tokenizer = Tokenizer.load(golden('model'));
const rows = JSON.parse(fs.readFileSync(golden('tokenizer.json'), 'utf8')) as { text: string }[];
const texts = [
  ...rows.map(({ text }) => text),
  '',
  ' ',
  '\ud800 alone',
  'long '.repeat(30_000),
  ...Array(200).fill('again'),
];

/** What a pool hides: its workers. */
const workers = (pool: TokenizerThreads) =>
  (pool as unknown as { threads: { worker: Worker }[] }).threads.map(({ worker }) => worker);

for (const threads of [0, 1, 2, 3])
  test(`${threads} threads: the ids of the tokenizer, in order`, async () => {
    await using pool = new TokenizerThreads(tokenizer, { threads });
    const limits = [undefined, 16, 3];
    const found = await Promise.all(limits.map((limit) => pool.encode(texts, limit)));
    for (const [i, limit] of limits.entries())
      assert.deepEqual(found[i], tokenizer.encodeBatch(texts, limit));
    assert.deepEqual(await pool.encode([]), []);
    assert.equal(workers(pool).length, threads);
  });

test('of a tokenizer that lower-cases first, so do the threads', async () => {
  await using pool = new TokenizerThreads(tokenizer.lowerCased(), { threads: 1 });
  const found = await pool.encode(['ABC Straße']);
  for (const threads of [0, 1]) {
    await using other = new TokenizerThreads(tokenizer, { threads });
    assert.deepEqual(await other.encode(['ABC Straße'], undefined, true), found);
  }
  assert.deepEqual(found, [tokenizer.encode('abc straße')]);
  assert.notDeepEqual(found, [tokenizer.encode('ABC Straße')]);
});

for (const threads of [0, 2])
  test(`${threads} threads: a limit that is none is an InputError, and the next texts are tokenized`, async () => {
    await using pool = new TokenizerThreads(tokenizer, { threads });
    let message = '';
    try {
      tokenizer.encode('a', 1);
    } catch (error) {
      message = (error as Error).message;
    }
    await assert.rejects(pool.encode(texts, 1), (error) => {
      assert.ok(error instanceof InputError);
      assert.equal(error.message, message);
      assert.equal(error.exitCode, 2);
      return true;
    });
    assert.deepEqual(await pool.encode(['a']), tokenizer.encodeBatch(['a']));
  });

test('errors keep their class, message and stack between threads', () => {
  for (const error of [new InputError('a'), new MachineError('b'), new RangeError('c')]) {
    const again = asError(structuredClone(asFailure(error)));
    assert.equal(again.name, error.name === 'RangeError' ? 'Error' : error.name);
    assert.equal(again.message, error.message);
    assert.equal(again.stack, error.stack);
  }
});

test('a thread that ends is a MachineError for what waits and for what comes', async () => {
  await using pool = new TokenizerThreads(tokenizer, { threads: 1 });
  await pool.encode(['a']);
  const waiting = pool.encode(texts);
  const told = assert.rejects(
    waiting,
    (error) => error instanceof MachineError && /0 threads/.test(error.message),
  );
  await workers(pool)[0]!.terminate();
  await told;
  await assert.rejects(pool.encode(['a']), MachineError);
});

test('what waits when the threads are closed is rejected, and closing twice is closing', async () => {
  const pool = new TokenizerThreads(tokenizer, { threads: 2 });
  const told = assert.rejects(pool.encode(texts), MachineError);
  await pool.close();
  await told;
  await pool.close();
  await assert.rejects(pool.encode(['a']), MachineError);
});

test('a process ends without closing them, and not before they have answered', () => {
  const script = `
    import { Tokenizer } from ${JSON.stringify(new URL('../src/tokenizer/tokenizer.js', import.meta.url).href)};
    import { TokenizerThreads } from ${JSON.stringify(new URL('../src/tokenizer/threads.js', import.meta.url).href)};
    const pool = new TokenizerThreads(Tokenizer.load(${JSON.stringify(golden('model'))}), { threads: 2 });
    pool.encode(['a', 'b']).then((rows) => console.log(rows.length));`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.deepEqual([status, stdout, stderr], [0, '2\n', '']);
});
