/** Clients that ask in unusual ways: slowly, without reading, on connections that stay, for what is told to Prometheus. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { after, test } from 'node:test';
import { M3Model } from '../src/models/m3.js';
import { createEmbeddingServer } from '../src/serve/server.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';
import { post, raw, servers } from './serve-clients.js';

const gpu = await lendGpu();
const model = M3Model.load(gpu, golden('model'));
const { embedderOf, serving } = servers(model, Tokenizer.load(golden('model')));
after(async () => {
  model.dispose();
  await gpu.close();
});

const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const head = (path: string, length: number) =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n`;
const metricsOf = async (url: string) => (await fetch(`${url}/metrics`)).text();

test('a body that comes byte by byte, in time, is answered; in chunks without a length too', () =>
  serving({}, async (url, port) => {
    const body = '{"inputs":"ä text"}';
    const { body: expected } = await post(`${url}/embed`, body);
    const bytes = Buffer.from(body);
    const slow = await raw(
      port,
      async (socket) => {
        socket.write(`${head('/embed', bytes.length)}\r\n`);
        for (const byte of bytes) {
          socket.write(Uint8Array.of(byte));
          await wait(2);
        }
      },
      /\]\]$/,
    );
    assert.match(slow, /^HTTP\/1.1 200 /);
    assert.deepEqual(JSON.parse(slow.slice(slow.indexOf('[['))), expected);
    const chunks = [...bytes].map((byte) => Buffer.from([0x31, 13, 10, byte, 13, 10]));
    const chunked = await raw(
      port,
      (socket) => {
        socket.write(head('/embed', 0).replace('content-length: 0', 'transfer-encoding: chunked\r\n'));
        socket.write(Buffer.concat([...chunks, Buffer.from('0\r\n\r\n')]));
      },
      /\]\]$/,
    );
    assert.deepEqual(JSON.parse(chunked.slice(chunked.indexOf('[['))), expected);
    // What asks for another protocol, as Java's client does on its first request, is answered in this one.
    const upgrading = await raw(
      port,
      (socket) =>
        socket.write(
          `${head('/embed', bytes.length)}connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n${body}`,
        ),
      /\]\]$/,
    );
    assert.match(upgrading, /^HTTP\/1.1 200 /);
    const waiting = await raw(
      port,
      (socket) => {
        socket.write(`${head('/embed', bytes.length)}expect: 100-continue\r\n\r\n`);
        socket.once('data', () => socket.write(body));
      },
      /\]\]$/,
    );
    assert.match(waiting, /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 /);
    // One that closes its side counts as one that hung up: its work is dropped, not answered.
    const single = await raw(port, (socket) => socket.end(`${head('/embed', bytes.length)}\r\n${body}`));
    assert.equal(single, '');
  }));

test('an answer that is not fetched is given up, and what it held is let go', () =>
  serving({ requestTimeout: 2 }, async (url, port) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('error', () => {});
    const inputs = Array.from({ length: 250 }, () => 'word '.repeat(45));
    const body = JSON.stringify({ inputs, truncate: true });
    socket.write(`${head('/embed_all', body.length)}\r\n${body}`);
    // It begins to come, and nobody reads it.
    await once(socket, 'readable');
    const queued = async () => Number(/^dawntune_queue_tokens (\S+)$/m.exec(await metricsOf(url))![1]);
    assert.equal(await queued(), 250 * 48);
    assert.equal((await post(`${url}/embed`, { inputs: 'a' })).status, 200);
    for (let i = 0; i < 100 && (await queued()) > 0; i++) await wait(100);
    assert.equal(await queued(), 0);
    assert.match(await metricsOf(url), /route="\/embed_all",code="499"\} 1$/m);
    socket.destroy();
  }));

test('requests that came ahead of an answer are dropped with their connection', async () => {
  const batches: number[] = [];
  const server = await createEmbeddingServer(embedderOf(model), {
    ...{ names: ['m3'], wait: 200, onBatch: ({ requests }) => batches.push(requests) },
  });
  const url = await server.listen({ port: 0 });
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1');
  const body = '{"inputs":["a","b"]}';
  socket.write(`${head('/embed', body.length)}\r\n${body}`.repeat(20));
  const queued = async () => Number(/^dawntune_queue_tokens (\S+)$/m.exec(await metricsOf(url))![1]);
  for (let i = 0; i < 50 && (await queued()) < 20 * 7; i++) await wait(5);
  assert.equal(await queued(), 20 * 7);
  socket.destroy();
  for (let i = 0; i < 50 && (await queued()) > 0; i++) await wait(5);
  assert.equal(await queued(), 0);
  assert.match(await metricsOf(url), /route="\/embed",code="499"\} 20$/m);
  await server.close();
  assert.deepEqual(batches, []);
});

test('connections that stay open are closed with their last answer when the server ends', async () => {
  const server = await createEmbeddingServer(embedderOf(model), { names: ['m3'], wait: 100 });
  const port = Number(new URL(await server.listen({ port: 0 })).port);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = () =>
    new Promise<http.IncomingMessage>((resolve, reject) => {
      const request = http.request({ port, path: '/embed', method: 'POST', agent }, resolve);
      request.setHeader('content-type', 'application/json').on('error', reject).end('{"inputs":"a"}');
    });
  const first = await ask();
  first.resume();
  assert.equal(first.headers.connection, 'keep-alive');
  await once(first, 'end');
  // One whose answer is computed, and one of which nothing but the head is there.
  const taken = ask();
  const half = raw(port, (socket) => socket.write(`${head('/embed', 50)}\r\n{"inputs"`));
  await wait(50);
  const closed = server.close();
  const last = await taken;
  last.resume();
  assert.deepEqual([last.statusCode, last.headers.connection], [200, 'close']);
  assert.match(await half, /^HTTP\/1.1 503 [\s\S]*"error":"the server is ending","error_type":"Unhealthy"/);
  await closed;
  await assert.rejects(ask(), /ECONNREFUSED/);
  agent.destroy();
});

/** A line of a metric: its name, its labels, its value. */
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$/;

test('metrics are as Prometheus reads them', () =>
  serving({ processMetrics: true }, async (url) => {
    await post(`${url}/embed`, { inputs: ['a', 'b c'] });
    await post(`${url}/v1/embeddings`, { input: 3 });
    await fetch(`${url}/a"b\\c\n`);
    const response = await fetch(`${url}/metrics`);
    assert.match(response.headers.get('content-type')!, /^text\/plain; version=0\.0\.4; charset=utf-8$/);
    const text = await response.text();
    assert.ok(text.endsWith('\n'));
    const types = new Map<string, string>();
    const buckets = new Map<string, { last: number; count: number }>();
    const seen = new Set<string>();
    for (const line of text.split('\n')) {
      if (line === '' || line.startsWith('# HELP ')) continue;
      const type = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line);
      if (type) {
        assert.ok(!types.has(type[1]!), line);
        types.set(type[1]!, type[2]!);
        continue;
      }
      const [, name, labels = '', value] = SAMPLE.exec(line) ?? assert.fail(line);
      const family = types.has(name!) ? name! : name!.replace(/_(bucket|sum|count)$/, '');
      assert.ok(types.has(family), line);
      assert.ok(!Number.isNaN(Number(value)), line);
      assert.ok(!seen.has(`${name}{${labels}}`), line);
      seen.add(`${name}{${labels}}`);
      if (types.get(family) === 'counter' && family.startsWith('dawntune')) assert.match(name!, /_total$/);
      if (types.get(family) !== 'histogram') continue;
      const series = `${family}{${labels.replace(/,?le="[^"]*",?/, '')}}`;
      const known = buckets.get(series) ?? { last: 0, count: Number.NaN };
      if (name!.endsWith('_bucket')) {
        assert.ok(Number(value) >= known.last, line);
        known.last = Number(value);
      }
      if (name!.endsWith('_count')) known.count = Number(value);
      buckets.set(series, known);
    }
    for (const [series, { last, count }] of buckets) assert.equal(last, count, series);
    assert.ok(types.size > 30 && buckets.size >= 7, `${types.size} families, ${buckets.size} histograms`);
  }));
