/** What a server holds at most of bodies, and what /metrics tells of its queue. */
import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { BodyReader } from '../src/serve/body.js';
import type { Engine } from '../src/serve/engine.js';
import { makeMetrics } from '../src/serve/metrics.js';
import { Refusal } from '../src/serve/refusal.js';

const LARGEST = 10;
const BODIES = 32;
const body = (): IncomingMessage => Readable.from([Buffer.from('{"a": 123}')]) as unknown as IncomingMessage;

test('bodies at hand are bounded together: what was answered counts no more', async () => {
  const bodies = new BodyReader(LARGEST, new AbortController().signal);
  for (let n = 0; n < 2 * BODIES; n++) (await bodies.read(body())).release();
  const held: (() => void)[] = [];
  for (let n = 0; n < BODIES; n++) held.push((await bodies.read(body())).release);
  await assert.rejects(bodies.read(body()), (error: Refusal) => error.status === 429);
  // Twice is once.
  held[0]!();
  held[0]!();
  await bodies.read(body());
  await assert.rejects(bodies.read(body()), Refusal);
});

test('/metrics tells what waits and whether there is a device', async () => {
  const memory = { live: { weights: 5 }, pooled: 7, peak: 9 };
  const batcher = { tokensAtHand: 70, requestsWaiting: 3, model: { gpu: { memory: () => memory } } };
  let engine = { batcher } as unknown as Engine;
  const { registry } = await makeMetrics(() => engine, false);
  const told = async () => {
    const lines = (await registry.metrics()).split('\n').filter((line) => !/^(#|$)/.test(line));
    return new Map(lines.map((line) => [line.replace(/ \S+$/, ''), Number(line.split(' ').at(-1))]));
  };
  const there = await told();
  for (const [name, value] of [
    ['queue_tokens', 70],
    ['queue_requests', 3],
    ['device_up', 1],
    ['device_memory_bytes{purpose="weights"}', 5],
    ['device_memory_bytes{purpose="pooled"}', 7],
    ['device_memory_peak_bytes', 9],
  ] as const)
    assert.equal(there.get(`dawntune_${name}`), value, name);
  engine = { batcher: undefined } as unknown as Engine;
  const gone = await told();
  assert.equal(gone.get('dawntune_device_up'), 0);
  assert.equal(gone.get('dawntune_queue_requests'), 0);
  assert.ok(!gone.has('dawntune_device_memory_bytes{purpose="weights"}'));
});
