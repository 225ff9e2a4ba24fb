/** What `/metrics` tells Prometheus: requests, the queue, batches and device memory. Names and units are Prometheus' own. */
import type { Registry } from 'prom-client';
import type { BatchFacts } from './batcher.js';
import type { Engine } from './engine.js';

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const COUNTS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
const TOKENS = [16, 64, 256, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];

export interface Metrics {
  readonly registry: Registry;
  /** `code` 499: the client went before it was answered. */
  request(route: string, code: number, seconds: number): void;
  batch(batch: BatchFacts): void;
}

/** `ofProcess`: also the memory, processor time and event loop of this process. */
export async function makeMetrics(engine: () => Engine | undefined, ofProcess: boolean): Promise<Metrics> {
  const { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } = await import('prom-client');
  const registry = new Registry();
  const registers = [registry];
  if (ofProcess) collectDefaultMetrics({ register: registry });
  const requests = new Counter({
    name: 'dawntune_requests_total',
    help: 'Requests by route and status code; 499: the client went before it was answered',
    labelNames: ['route', 'code'] as const,
    registers,
  });
  const latency = new Histogram({
    name: 'dawntune_request_duration_seconds',
    help: 'Seconds from the head of a request to the end of its answer',
    labelNames: ['route'] as const,
    buckets: SECONDS,
    registers,
  });
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name: `dawntune_${name}`, help, buckets, registers });
  const waited = histogram('queue_duration_seconds', 'Longest wait of a text in each batch', SECONDS);
  const batchSeconds = histogram('batch_duration_seconds', 'Seconds that a batch took', SECONDS);
  const batchTexts = histogram('batch_texts', 'Texts in a batch', COUNTS);
  const batchTokens = histogram('batch_tokens', 'Tokens in a batch', TOKENS);
  const batchRequests = histogram('batch_requests', 'Requests that shared a batch', COUNTS);
  const counter = (name: string, help: string) => new Counter({ name: `dawntune_${name}`, help, registers });
  const texts = counter('texts_total', 'Texts that were computed');
  const tokens = counter('tokens_total', 'Tokens that were computed');
  const gauge = (name: string, help: string, value: (engine: Engine) => number) =>
    new Gauge({
      ...{ name: `dawntune_${name}`, help, registers },
      collect() {
        const there = engine();
        this.set(there ? value(there) : 0);
      },
    });
  gauge('queue_tokens', 'Tokens of all requests at hand', ({ batcher }) => batcher?.tokensAtHand ?? 0);
  gauge('queue_requests', 'Requests with texts that wait', ({ batcher }) => batcher?.requestsWaiting ?? 0);
  gauge('device_up', '1: the device computes, 0: it was lost', ({ batcher }) => (batcher ? 1 : 0));
  new Gauge({
    name: 'dawntune_device_memory_bytes',
    help: 'Device memory by what it is for; pooled: kept for reuse',
    labelNames: ['purpose'] as const,
    registers,
    collect() {
      const memory = engine()?.batcher?.model.gpu.memory();
      this.reset();
      if (!memory) return;
      for (const [purpose, bytes] of Object.entries(memory.live)) this.set({ purpose }, bytes);
      this.set({ purpose: 'pooled' }, memory.pooled);
    },
  });
  gauge(
    'device_memory_peak_bytes',
    'Most device memory that was in use at once',
    ({ batcher }) => batcher?.model.gpu.memory().peak ?? 0,
  );
  return {
    registry,
    request(route, code, seconds) {
      requests.inc({ route, code: String(code) });
      latency.observe({ route }, seconds);
    },
    batch(batch) {
      waited.observe(batch.waited);
      batchSeconds.observe(batch.seconds);
      batchTexts.observe(batch.texts);
      batchTokens.observe(batch.tokens);
      batchRequests.observe(batch.requests);
      texts.inc(batch.texts);
      tokens.inc(batch.tokens);
    },
  };
}
