/**
 * `dawntune serve` under load: 64 connections, a minute, texts of mixed lengths. Every answer has the bits of encode, none is
 * refused, memory stays flat, and requests that come together are answered faster than one after the other.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { test } from 'node:test';
import autocannon from 'autocannon';
import { Gpu } from '../../src/gpu/gpu.js';
import { M3Model } from '../../src/models/m3.js';
import { encodeStream } from '../../src/retrieval/encode/stream.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { golden, repositoryRoot } from '../repository.js';

/** Another model than the small one of the tests, and other times, for measurements by hand. */
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

async function expected(texts: readonly string[]): Promise<string[]> {
  const gpu = await Gpu.open();
  const model = M3Model.load(gpu, folder);
  const vectors: string[] = [];
  const options = {
    role: 'document',
    maxLength: MOST,
    representations: new Set(['dense'] as const),
  } as const;
  for await (const { count, dense, denseWidth } of encodeStream(
    model,
    Tokenizer.load(folder),
    texts,
    options,
  ))
    for (let i = 0; i < count; i++) {
      const vector = dense!.slice(i * denseWidth, (i + 1) * denseWidth);
      vectors.push(Buffer.from(vector.buffer).toString('base64'));
    }
  model.dispose();
  await gpu.close();
  return vectors;
}

test('64 connections: the bits of encode, no error, flat memory', { timeout: 600_000 }, async (t) => {
  const inputs = requests(200);
  const vectors = await expected(inputs.flat());
  let at = 0;
  const answers = inputs.map((input) => vectors.slice(at, (at += input.length)));

  const program = path.join(repositoryRoot, 'dist/src/cli/main.js');
  const words = ['serve', folder, '--port', '0', '--max_length', String(MOST), '--auto_truncate', 'True'];
  const server = spawn(process.execPath, [program, ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(server.stdout, 'data')) as [Buffer];
    const url = String(line).trim();
    const told = async (name: string) =>
      Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(await (await fetch(`${url}/metrics`)).text())?.[1]);

    /** Asks for so many seconds and checks every answer. */
    const load = async (connections: number, duration: number) => {
      let wrong = 0;
      let texts = 0;
      const check = (place: number) => (status: number, body: string) => {
        const data = status === 200 ? (JSON.parse(body).data as { embedding: string }[]) : [];
        texts += data.length;
        if (data.map(({ embedding }) => embedding).join() !== answers[place]!.join()) wrong++;
      };
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
        ...{ url: `${url}/v1/embeddings`, method: 'POST', connections, duration, timeout: 60 },
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
    // The pool and V8's heap have grown to what this load takes by then.
    await load(64, Math.ceil(seconds / 5));
    const before = [
      await told('process_resident_memory_bytes'),
      await told('dawntune_device_memory_peak_bytes'),
    ];
    const together = await load(64, seconds);
    const after = [
      await told('process_resident_memory_bytes'),
      await told('dawntune_device_memory_peak_bytes'),
    ];
    t.diagnostic(`resident and peak device bytes before ${before.join(', ')}, after ${after.join(', ')}`);
    t.diagnostic(
      `requests in a batch: ${((await told('dawntune_batch_requests_sum')) / (await told('dawntune_batch_requests_count'))).toFixed(1)}`,
    );
    assert.ok(after[0]! < 1.25 * before[0]!, 'resident memory grew');
    assert.ok(together > alone, `${together} tokens/s together, ${alone} alone`);
    assert.equal(await told('dawntune_queue_tokens'), 0);
  } finally {
    server.kill('SIGTERM');
    const [code] = (await once(server, 'exit')) as [number | null];
    assert.equal(code, 0);
  }
});
