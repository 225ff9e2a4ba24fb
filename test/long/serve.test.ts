/**
 * `dawntune serve` under load: 64 connections, a minute, texts of mixed lengths. Every answer has the bits of encode, none is
 * refused, memory stays flat, and requests that come together are answered faster than one after the other.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import autocannon from 'autocannon';
import { Gpu } from '../../src/gpu/gpu.js';
import { M3Model } from '../../src/models/m3.js';
import { encodeStream } from '../../src/retrieval/encode/stream.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { golden } from '../repository.js';
import { startServe } from '../serve-process.js';

/**
 * Another model than the small one of the tests, and other times, for measurements by hand:
 * `DAWNTUNE_TEST_MODEL=FOLDER DAWNTUNE_TEST_SECONDS=300 npm run test:long -- --only serve`.
 */
const folder = process.env['DAWNTUNE_TEST_MODEL'] ?? golden('model');
const seconds = Number(process.env['DAWNTUNE_TEST_SECONDS'] ?? 60);
const MOST = 256;

/** Requests of 1 to 8 texts of 1 to 300 words, most of them short. */
function requests(count: number): string[][] {
  let state = 7;
  const draw = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  return Array.from({ length: count }, () =>
    Array.from({ length: draw(4) === 0 ? 1 + draw(8) : 1 }, () =>
      Array.from({ length: draw(12) === 0 ? 300 : 1 + draw(30) }, () => `word${draw(500)}`).join(' '),
    ),
  );
}

/** The vectors of texts by `encode`, and how many tokens of them it computes a second once it has its kernels. */
async function encoded(texts: readonly string[]): Promise<{ vectors: string[]; tokensPerSecond: number }> {
  const gpu = await Gpu.open();
  const model = M3Model.load(gpu, folder);
  const tokenizer = Tokenizer.load(folder);
  const options = {
    role: 'document',
    maxLength: MOST,
    representations: new Set(['dense'] as const),
  } as const;
  const run = async (texts: readonly string[]) => {
    const vectors: string[] = [];
    let tokens = 0;
    for await (const { count, dense, denseWidth, ids } of encodeStream(model, tokenizer, texts, options)) {
      tokens += ids.reduce((sum, each) => sum + each.length, 0);
      for (let i = 0; i < count; i++) {
        const vector = dense!.slice(i * denseWidth, (i + 1) * denseWidth);
        vectors.push(Buffer.from(vector.buffer).toString('base64'));
      }
    }
    return { vectors, tokens };
  };
  // The kernels of batches of these sizes are compiled and chosen.
  await run(texts);
  const started = performance.now();
  const { vectors, tokens } = await run(texts);
  const tokensPerSecond = (1000 * tokens) / (performance.now() - started);
  model.dispose();
  await gpu.close();
  return { vectors, tokensPerSecond };
}

/** Below so many tokens a second by `encode` it is the model, not HTTP and JSON, that takes the time. */
const SLOW = 10_000;
/** Seconds that a slow model may take for what 64 connections ask at once, on a machine that has more to do. */
const PATIENCE = 240;

test('64 connections: the bits of encode, no error, flat memory', {
  timeout: 1000 * (900 + 3 * seconds),
}, async (t) => {
  const inputs = requests(200);
  const { vectors, tokensPerSecond } = await encoded(inputs.flat());
  t.diagnostic(`encode: ${tokensPerSecond.toFixed(0)} tokens/s`);
  let at = 0;
  const answers = inputs.map((input) => vectors.slice(at, (at += input.length)));

  const words = [folder, '--port', '0', '--max_length', String(MOST), '--auto_truncate', 'True'];
  const server = await startServe([...words, '--request_timeout', String(PATIENCE)]);
  try {
    const { url } = server;
    const told = async (name: string) =>
      Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(await (await fetch(`${url}/metrics`)).text())?.[1]);

    /** Waits for the end of what clients asked for that hung up when a load ended. */
    const idle = async () => {
      for (let i = 0; i < 600 && (await told('dawntune_queue_tokens')) > 0; i++)
        await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(await told('dawntune_queue_tokens'), 0);
    };

    /** Asks for so many seconds and checks every answer. */
    const load = async (connections: number, duration: number) => {
      let wrong = 0;
      let texts = 0;
      const check = (place: number) => (status: number, body: string) => {
        const data = status === 200 ? (JSON.parse(body).data as { embedding: string }[]) : [];
        texts += data.length;
        if (data.map(({ embedding }) => embedding).join() !== answers[place]!.join()) wrong++;
      };
      await idle();
      const tokens = await told('dawntune_tokens_total');
      let clients = 0;
      const all = inputs.map((input, place) => ({
        body: JSON.stringify({ input, encoding_format: 'base64' }),
        onResponse: check(place),
      }));
      const result = await autocannon({
        // Each begins at another place, so that what comes together is of mixed lengths.
        setupClient(client) {
          const begin = (37 * clients++) % all.length;
          client.setRequests([...all.slice(begin), ...all.slice(0, begin)]);
        },
        ...{ url: `${url}/v1/embeddings`, method: 'POST', connections, duration, timeout: PATIENCE },
        headers: { 'content-type': 'application/json' },
        requests: all,
      });
      assert.deepEqual([wrong, result.non2xx, result.errors], [0, 0, 0]);
      const { latency } = result;
      t.diagnostic(
        `${connections} connections, ${result.duration} s: ${result['2xx']} requests, ${texts} texts, ` +
          `${(texts / result.duration).toFixed(1)} texts/s; latency ${latency.p50} ms, p97.5 ${latency.p97_5} ms, p99 ${latency.p99} ms`,
      );
      const computed = ((await told('dawntune_tokens_total')) - tokens) / result.duration;
      t.diagnostic(`${computed.toFixed(0)} tokens/s`);
      return computed;
    };

    const alone = await load(1, Math.ceil(seconds / 10));
    // What 64 connections ask at once is there, the pool and V8's heap have grown to what that takes.
    await load(64, Math.ceil(seconds / 5));
    const memory = async () => ({
      resident: await told('process_resident_memory_bytes'),
      device: await told('dawntune_device_memory_peak_bytes'),
      pooled: await told('dawntune_device_memory_bytes\\{purpose="pooled"\\}'),
    });
    const samples = [await memory()];
    const timer = setInterval(async () => samples.push(await memory()), (1000 * seconds) / 12);
    const together = await load(64, seconds).finally(() => clearInterval(timer));
    samples.push(await memory());
    for (const name of ['resident', 'device', 'pooled'] as const) {
      const megabytes = samples.map((sample) => Math.round(sample[name] / 1e6));
      t.diagnostic(`${name} memory, MB: ${megabytes.join(' ')}`);
      const half = Math.floor(megabytes.length / 2);
      const [first, second] = [megabytes.slice(0, half), megabytes.slice(half)].map((some) =>
        Math.max(...some),
      );
      assert.ok(second! <= 1.15 * first! + 8, `${name} memory grows: ${megabytes.join(' ')} MB`);
    }
    await idle();
    t.diagnostic(
      `requests in a batch: ${((await told('dawntune_batch_requests_sum')) / (await told('dawntune_batch_requests_count'))).toFixed(1)}`,
    );
    t.diagnostic(`of encode's tokens/s: ${(together / tokensPerSecond).toFixed(2)}`);
    if (tokensPerSecond < SLOW)
      assert.ok(together >= 0.8 * tokensPerSecond, `${together} tokens/s, ${tokensPerSecond} by encode`);
    else assert.ok(together > alone, `${together} tokens/s together, ${alone} alone`);
  } finally {
    server.process.kill('SIGTERM');
    assert.equal(await server.ended, 0, server.told.join('\n'));
  }
});
