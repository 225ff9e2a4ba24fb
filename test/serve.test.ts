/** The server over HTTP: what clients are answered, what is refused and how, and how it ends. */
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { M3Model } from '../src/models/m3.js';
import { encodeTexts } from '../src/retrieval/encode/encode-texts.js';
import { hybridScores } from '../src/retrieval/pair-scores.js';
import { parseServeArguments } from '../src/serve/arguments.js';
import { createEmbeddingServer } from '../src/serve/server.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { blocks, page } from './documents/pages.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';
import { jsonOf, post, raw, servers } from './serve-clients.js';

const tokenizer = Tokenizer.load(golden('model'));
const gpu = await lendGpu();
const model = M3Model.load(gpu, golden('model'));
after(async () => {
  model.dispose();
  await gpu.close();
});

const { embedderOf, serving } = servers(model, tokenizer);

const of = async (texts: readonly string[], maxLength = 48) =>
  encodeTexts(model, tokenizer, texts, { role: 'document', maxLength });
const f32 = (values: readonly number[]) => Float32Array.from(values);

test('the request and the fields that docs/serving.md shows are taken', () =>
  serving({ matryoshka: [16] }, async (url) => {
    const { text } = page('docs/serving.md');
    const [, to, shown] = /curl (\S+) .*-d '(.*)'/.exec(
      blocks(text).find(({ code }) => code.startsWith('curl'))!.code,
    )!;
    const { status } = await post(url + new URL(to!).pathname, shown!);
    assert.equal(status, 200);
    const values: Record<string, unknown> = {
      ...{ input: ['a'], inputs: ['a'], query: 'a', texts: ['a', 'b'], model: 'm3', user: 'u' },
      ...{ encoding_format: 'base64', dimensions: 16, truncate: true, normalize: true, weights: [1, 0, 1] },
      ...{ raw_scores: true, return_text: true, return_scores: true, prompt_name: 'query' },
    };
    let paths = 0;
    for (const [, path, fields] of text.matchAll(/^\| `POST (\S+)` \| (.*?) \| /gm)) {
      const named = [...fields!.replaceAll(/\(.*?\)/g, '').matchAll(/`(\w+)`/g)].map(([, field]) => field!);
      // A pair has a query and a text, each with its own prompt.
      const prompts = path === '/rerank' ? [] : ['prompt_name'];
      const body = Object.fromEntries([...named, ...prompts].map((field) => [field, values[field]]));
      const answered = await post(url + path, body);
      assert.equal(answered.status, 200, `${path} ${JSON.stringify(body)}: ${JSON.stringify(answered.body)}`);
      assert.equal(
        (await post(url + path, { ...body, nonsense: 1 })).status,
        path!.startsWith('/v1') ? 400 : 422,
        path,
      );
      paths++;
    }
    assert.equal(paths, 5);
  }));

test('each path answers what its clients expect, with the numbers of encode', () =>
  serving({ matryoshka: [16] }, async (url) => {
    const texts = ['a text', '', 'another text \u0000 of words'];
    const expected = await of(texts);
    const ids = expected.map(({ ids }) => [...ids]);

    const list = await post(`${url}/v1/embeddings`, { input: texts, model: 'other', user: 'somebody' });
    assert.equal(list.status, 200);
    const tokens = ids.flat().length;
    assert.deepEqual(
      {
        ...list.body,
        data: list.body.data.map(({ object, index }: Record<string, unknown>) => [object, index]),
      },
      {
        ...{ object: 'list', model: 'other', usage: { prompt_tokens: tokens, total_tokens: tokens } },
        data: [0, 1, 2].map((index) => ['embedding', index]),
      },
    );
    const dense = async (body: object) =>
      (await post(`${url}/v1/embeddings`, body)).body.data.map(
        ({ embedding }: { embedding: number[] | string }) =>
          typeof embedding === 'string'
            ? new Float32Array(new Uint8Array(Buffer.from(embedding, 'base64')).buffer)
            : f32(embedding),
      );
    const vectors = expected.map(({ dense }) => dense);
    const near = (found: Float32Array, expected: Float32Array) =>
      found.every((value, i) => Math.abs(value - expected[i]!) < 1e-6) && found.length === expected.length;
    for (const body of [
      { input: texts },
      { input: texts, encoding_format: 'base64' },
      { input: ids },
      { input: texts, dimensions: 64 },
    ])
      assert.ok(
        (await dense(body)).every((found: Float32Array, i: number) => near(found, vectors[i]!)),
        JSON.stringify(body),
      );
    assert.ok(near((await dense({ input: texts[0] }))[0], vectors[0]!));
    assert.ok(near((await dense({ input: ids[0] }))[0], vectors[0]!));
    const [short] = await dense({ input: 'a text', dimensions: 16 });
    const norm = Math.hypot(...vectors[0]!.subarray(0, 16));
    assert.ok(
      near(
        short,
        vectors[0]!.subarray(0, 16).map((value) => value / norm),
      ),
    );

    assert.deepEqual(
      (await jsonOf(await fetch(`${url}/v1/models`))).data.map(({ id }: { id: string }) => id),
      ['m3', 'other'],
    );
    assert.equal((await jsonOf(await fetch(`${url}/v1/models/m3`))).object, 'model');

    const embed = await post(`${url}/embed`, { inputs: texts, normalize: true, truncate: true });
    assert.ok(embed.body.every((found: number[], i: number) => near(f32(found), vectors[i]!)));
    const sparse = await post(`${url}/embed_sparse`, { inputs: texts[2] });
    assert.deepEqual(
      new Map(
        sparse.body[0].map(({ index, value }: { index: number; value: number }) => [
          index,
          Math.fround(value),
        ]),
      ),
      expected[2]!.lexical,
    );
    const all = await post(`${url}/embed_all`, { inputs: texts });
    assert.deepEqual(
      all.body.map((rows: number[][]) => f32(rows.flat())),
      expected.map(({ colbert }) => colbert),
    );

    const [query] = await encodeTexts(model, tokenizer, ['a text'], { role: 'query', maxLength: 32 });
    for (const weights of [undefined, [0.4, 0.2, 0.4], [0, 0, 1]] as const) {
      const { body } = await post(`${url}/rerank`, {
        query: 'a text',
        texts,
        return_text: true,
        ...(weights && { weights }),
      });
      const scores = expected.map(
        (passage) => hybridScores(query!, passage, weights ?? [1, 0.3, 1])['colbert+sparse+dense'],
      );
      const order = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]!);
      assert.deepEqual(
        body.map(({ index }: { index: number }) => index),
        order,
      );
      for (const { index, score, text } of body)
        assert.ok(Math.abs(score - scores[index]!) < 1e-5 && text === texts[index], `${index} ${score}`);
    }
    const squashed = await post(`${url}/rerank`, {
      query: 'a text',
      texts,
      raw_scores: false,
      return_scores: true,
    });
    assert.ok(
      squashed.body.every(
        ({ score, scores }: { score: number; scores: object }) =>
          score > 0.5 && score < 1 && Object.keys(scores).join() === 'dense,sparse,colbert',
      ),
    );

    const health = await fetch(`${url}/health`);
    assert.deepEqual([health.status, await jsonOf(health)], [200, { status: 'ok' }]);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    assert.match(metrics, /^dawntune_requests_total\{route="\/rerank",code="200"\} 4$/m);
    assert.match(metrics, /^dawntune_device_memory_bytes\{purpose="weights"\} [1-9]/m);
    assert.match(metrics, /^dawntune_queue_tokens 0$/m);
    for (const name of [
      'batch_tokens_count',
      'request_duration_seconds_count',
      'tokens_total',
      'queue_requests',
    ])
      assert.match(metrics, new RegExp(`^dawntune_${name}`, 'm'));
  }));

test('what is wrong with a request is told by its field', () =>
  serving({ maxTexts: 4, maxBodyBytes: 20_000 }, async (url) => {
    const V1 = '/v1/embeddings';
    const long = 'word '.repeat(100);
    const cases: [path: string, body: unknown, status: number, message: RegExp, param?: string | null][] = [
      [V1, '{"input":', 400, /the body: expected JSON, found a text that ends too early/, null],
      [V1, '{"input": ["a"\n', 400, /the body: expected JSON, found a text that ends too early/, null],
      [V1, '', 400, /the body: expected JSON, found nothing/, null],
      [V1, '[1]', 400, /the body: expected a JSON object/, null],
      [V1, new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d]), 400, /no UTF-8/, null],
      [V1, `{"input":${'['.repeat(2000)}${']'.repeat(2000)}}`, 400, /at most 4 nested lists/, null],
      [V1, {}, 400, /^input: expected a text, a list of texts or lists of token ids/, 'input'],
      [V1, { input: [] }, 400, /not empty/, 'input'],
      [V1, { input: ['a', 3] }, 400, /^input\[1\]: expected a text, found 3/, 'input[1]'],
      [V1, '{"input":"\\ud800"}', 400, /half of a character/, 'input'],
      [V1, { input: [0, 4000] }, 400, /^input\[1\]: expected a token id from 0 to 3999/, 'input[1]'],
      [V1, { input: [[0, 5], [0.5]] }, 400, /^input\[1\]\[0\]: expected a token id/, 'input[1][0]'],
      [V1, { input: [[0, 5], []] }, 400, /^input\[1\]: /, 'input[1]'],
      [V1, { input: 'a', model: 'gpt' }, 404, /there is no "gpt" here, but "m3", "other"/, 'model'],
      [
        V1,
        { input: 'a', encoding_format: 'hex' },
        400,
        /expected one of float, base64, found "hex"/,
        'encoding_format',
      ],
      [V1, { input: 'a', dimensions: 8 }, 400, /expected 64, the width of this model, found 8/, 'dimensions'],
      [V1, { input: 'a', dimension: 8 }, 400, /no such field; the nearest is dimensions/, 'dimension'],
      [V1, { input: 'a', prompt_name: 'x' }, 400, /expected one of query, passage, text/, 'prompt_name'],
      [V1, { input: long }, 400, /^input: \d{2,} tokens, at most 48; "truncate": true in the body/, 'input'],
      [V1, { input: ['a', long] }, 400, /^input\[1\]: /, 'input[1]'],
      [V1, { input: 'abcde'.split('') }, 413, /5 texts in one request, of the 4 of --max_texts/, 'input'],
      [V1, { input: 'x'.repeat(20_001) }, 413, /more than the 20000 bytes of --max_body_bytes/, null],
      ['/embed', { inputs: 7 }, 422, /^inputs: expected a text/],
      ['/embed', { inputs: 'a', truncate: 'yes' }, 422, /^truncate: expected true or false/],
      ['/embed', { inputs: 'a', normalize: false }, 422, /--normalize_embeddings False/],
      ['/embed', { inputs: 'a', truncation_direction: 'Left' }, 422, /^truncation_direction/],
      ['/embed', { inputs: long }, 413, /^inputs: \d{2,} tokens, at most 48; /],
      [
        '/embed',
        { inputs: Array.from({ length: 60 }, () => 5), truncate: true },
        413,
        /^inputs\[0\]: 60 tokens, at most 48$/,
      ],
      ['/embed_sparse', { input: 'a' }, 422, /the nearest is inputs/],
      ['/embed_all', { inputs: null }, 422, /found null/],
      ['/rerank', { query: 'a' }, 422, /^texts: expected a list of texts/],
      ['/rerank', { query: 1, texts: ['a'] }, 422, /^query: expected a text/],
      ['/rerank', { query: 'a', texts: ['a'], weights: [0, 0, 0] }, 422, /^weights: expected three numbers/],
      ['/rerank', { query: 'a', texts: ['a', long] }, 413, /^texts\[1\]: /],
    ];
    for (const [path, body, status, message, param] of cases) {
      const answer = await post(url + path, body);
      const label = `${path} ${JSON.stringify(body).slice(0, 80)}: ${JSON.stringify(answer.body)}`;
      assert.equal(answer.status, status, label);
      const { error } = answer.body;
      assert.match(path === V1 ? error.message : error, message, label);
      if (path === V1) assert.deepEqual([error.param, typeof error.type], [param, 'string'], label);
      else assert.equal(typeof answer.body.error_type, 'string', label);
    }
    for (const [method, path, status] of [
      ['GET', '/embed', 405],
      ['DELETE', '/health', 405],
      ['GET', '/nothing', 404],
      ['GET', '/v1/models/none', 404],
      ['GET', '/%zz', 400],
    ] as const) {
      const answer = await fetch(url + path, { method });
      assert.equal(answer.status, status, `${method} ${path}`);
      assert.ok((await jsonOf(answer)).error);
      assert.equal(answer.headers.get('allow') !== null, status === 405);
    }
    const form = await fetch(`${url}/embed`, { method: 'POST', body: 'inputs=a' });
    assert.equal(form.status, 415);
    assert.equal((await post(`${url}/embed`, '{}', { 'content-encoding': 'gzip' })).status, 415);
    // The server goes on.
    assert.equal(
      (await post(`${url}/embed`, { inputs: ['word '.repeat(100), 'a'], truncate: true })).status,
      200,
    );
  }));

test('without the key nothing is answered but health; a model without heads says so', async () => {
  await serving({ apiKey: 'secret' }, async (url) => {
    for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: 'secret' }] as Record<
      string,
      string
    >[]) {
      const answer = await post(`${url}/v1/embeddings`, { input: 'a' }, headers);
      assert.deepEqual([answer.status, answer.body.error.code], [401, 'invalid_api_key']);
      assert.equal((await fetch(`${url}/metrics`, { headers })).status, 401);
    }
    assert.equal((await fetch(`${url}/health`)).status, 200);
    assert.equal(
      (await post(`${url}/v1/embeddings`, { input: 'a' }, { authorization: 'Bearer secret' })).status,
      200,
    );
  });
  await serving({ heads: new Set() }, async (url) => {
    assert.match((await post(`${url}/embed_sparse`, { inputs: 'a' })).body.error, /no sparse_linear head/);
    assert.equal((await post(`${url}/embed_all`, { inputs: 'a' })).status, 404);
    assert.equal((await post(`${url}/rerank`, { query: 'a', texts: ['b'], weights: [1, 1, 0] })).status, 422);
    assert.equal((await post(`${url}/rerank`, { query: 'a', texts: ['b'] })).status, 200);
  });
});

test('a full queue, slow work and clients that are gone', async () => {
  await serving({ queueTokens: 60, batchTokens: 60 }, async (url) => {
    const many = await Promise.all(
      Array.from({ length: 40 }, () => post(`${url}/embed`, { inputs: 'word1 word2 word3 word4' })),
    );
    const refused = many.filter(({ status }) => status === 429);
    assert.ok(refused.length > 0 && many.some(({ status }) => status === 200));
    assert.ok(refused.every(({ headers }) => Number(headers.get('retry-after')) >= 1));
    assert.ok(refused.every(({ body }) => /of 60 tokens are at hand \(--queue_tokens\)/.test(body.error)));
    assert.equal(
      (await post(`${url}/embed`, { inputs: Array.from({ length: 30 }, () => 'word1') })).status,
      413,
    );
  });
  await serving({ requestTimeout: 0.1, wait: 1000 }, async (url) => {
    const late = await post(`${url}/embed`, { inputs: 'a' });
    assert.deepEqual(
      [late.status, /not there within the 0.1 s of --request_timeout/.test(late.body.error)],
      [503, true],
    );
  });
  await serving({ wait: 200 }, async (url) => {
    const gone = new AbortController();
    const asked = post(`${url}/embed`, { inputs: ['a', 'b'] }, {}, gone.signal);
    setTimeout(() => gone.abort(), 50);
    await assert.rejects(asked);
    await new Promise((resolve) => setTimeout(resolve, 250));
    const metrics = await (await fetch(`${url}/metrics`)).text();
    assert.match(metrics, /^dawntune_texts_total 0$/m);
    assert.match(metrics, /^dawntune_queue_tokens 0$/m);
    assert.match(metrics, /route="\/embed",code="499"\} 1$/m);
  });
});

test('slow and broken clients are closed, and the others do not notice', () =>
  serving({ headerTimeout: 0.3, bodyTimeout: 0.6, maxBodyBytes: 1000 }, async (url, port) => {
    const head = 'POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
    const slow = [
      raw(port, (socket) => socket.write('GET /health HTTP/1.1\r\nhost: ')),
      raw(port, (socket) => socket.write(`${head}content-length: 50\r\n\r\n{"inputs":`)),
    ];
    assert.match(
      await raw(port, (socket) => socket.write('no HTTP at all\r\n\r\n')),
      /^HTTP\/1.1 400 [\s\S]*expected an HTTP request/,
    );
    assert.match(
      await raw(port, (socket) => socket.write(`GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`)),
      /^HTTP\/1.1 431 /,
    );
    // Bodies that say how long they are, and those that do not.
    for (const framing of ['content-length: 200000000', 'transfer-encoding: chunked']) {
      const answer = await raw(
        port,
        (socket) => {
          socket.write(`${head}${framing}\r\n\r\n`);
          for (let i = 0; i < 40; i++) socket.write(`400\r\n${'x'.repeat(0x400)}\r\n`);
        },
        /more than the 1000 bytes of --max_body_bytes/,
      );
      assert.match(answer, /^HTTP\/1.1 413 /, framing);
    }
    // One connection after the other answer, requests before the answers.
    const body = '{"inputs":"a"}';
    const one = `${head}content-length: ${body.length}\r\n\r\n${body}`;
    const answers = await raw(
      port,
      (socket) => socket.write(one.repeat(5)),
      /(HTTP\/1.1 200[\s\S]*){5}\]\]$/,
    );
    assert.equal(answers.match(/HTTP\/1.1 200/g)?.length, 5);
    assert.equal((await post(`${url}/embed`, { inputs: 'a' })).status, 200);
    for (const closed of await Promise.all(slow)) assert.match(closed, /^(HTTP\/1.1 408 |$)/);
  }));

test('what was taken is answered when the server ends, and what comes is refused', async () => {
  const server = await createEmbeddingServer(embedderOf(model), { names: ['m3'], wait: 150 });
  const url = await server.listen({ port: 0 });
  const second = await createEmbeddingServer(embedderOf(model), { names: ['m3'] });
  await assert.rejects(
    second.listen({ port: Number(new URL(url).port) }).finally(() => second.close()),
    /^MachineError: cannot listen on 127\.0\.0\.1 port \d+: the port is taken; --port 0 picks a free one$/,
  );
  const taken = post(`${url}/embed`, { inputs: 'a' });
  const idle = net.connect(Number(new URL(url).port), '127.0.0.1');
  idle.on('error', () => {});
  await new Promise((resolve) => setTimeout(resolve, 60));
  const closed = server.close();
  assert.equal((await taken).status, 200);
  await closed;
  await server.ended;
  await assert.rejects(post(`${url}/embed`, { inputs: 'a' }));
});

test('a lost device: 503, and the model is opened again or the server ends', async () => {
  const open = async () => {
    const own = await Gpu.open();
    const model = M3Model.load(own, golden('model'));
    return { ...embedderOf(model), close: () => own.close() };
  };
  const first = await open();
  const notes: string[] = [];
  let devices = 0;
  const reopen = async () => {
    devices++;
    if (devices > 1) throw new Error('no device');
    return { ...embedderOf(model) };
  };
  const server = await createEmbeddingServer(first, {
    names: ['m3'],
    reopen,
    note: (line) => notes.push(line),
  });
  const url = await server.listen({ port: 0 });
  const ask = () => post(`${url}/embed`, { inputs: 'a text' });
  const before = await ask();
  first.model.gpu.device.destroy();
  const lost = await ask();
  assert.deepEqual([lost.status, /device was lost/.test(lost.body.error)], [503, true]);
  for (let i = 0; i < 50 && (await fetch(`${url}/health`)).status !== 200; i++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual((await ask()).body, before.body);
  assert.equal(notes.at(-1), 'the model is open again');
  await server.close();

  const second = await open();
  const ending = await createEmbeddingServer(second, { names: ['m3'] });
  const address = await ending.listen({ port: 0 });
  second.model.gpu.device.destroy();
  assert.equal((await post(`${address}/embed`, { inputs: 'a' })).status, 503);
  await assert.rejects(ending.ended, /device was lost/);
});

test('flags: one model, a key that is shown nowhere, room for a batch', () => {
  const parse = (words: string, env = {}) => parseServeArguments(words.split(' '), env).args;
  const { apiKey, modelNameOrPath, port } = parse('out --port 0', { DAWNTUNE_API_KEY: 'k' });
  assert.deepEqual(
    [apiKey?.reveal(), String(apiKey), modelNameOrPath, port],
    ['k', '(given by DAWNTUNE_API_KEY)', 'out', 0],
  );
  assert.equal(parse('out --api_key x', { DAWNTUNE_API_KEY: 'k' }).apiKey?.reveal(), 'x');
  assert.throws(
    () => parse('out', { DAWNTUNE_API_KEY: '' }),
    /DAWNTUNE_API_KEY: expected a key, found an empty one/,
  );
  assert.deepEqual([parse('out').batchTokens, parse('out --batch_tokens 7').batchTokens], [null, 7]);
  for (const [words, message] of [
    ['--port 1', /--model_name_or_path: expected a folder or a hub id, found nothing/],
    ['a b', /expected one model, found "b" too/],
    ['a --model_name_or_path b', /expected the model once/],
    ['a --batch_tokens 8192 --queue_tokens 5', /--queue_tokens: expected at least the 8192/],
    ['a --port 65536', /--port: expected an integer from 0 to 65535/],
    ['a --nproc_per_node 2', /unknown flag --nproc_per_node/],
  ] as const)
    assert.throws(() => parse(words), message);
});
