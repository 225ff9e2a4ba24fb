/** `dawntune serve` as a process, through a lost device, signals and a port that is taken, while clients ask. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { test } from 'node:test';
import { golden } from '../repository.js';
import { type ServeProcess, spawnServe, startServe } from '../serve-process.js';

const model = golden('model');
const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** What computes in different ways; `/rerank` goes on computing when the vectors are there. */
const paths = ['/embed', '/embed_sparse', '/embed_all', '/rerank'] as const;
type Path = (typeof paths)[number];

/** One request. @throws what the connection failed with, e.g. ECONNREFUSED. */
function ask(
  port: number,
  inputs: readonly string[],
  agent: http.Agent,
  path: Path = '/embed',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const request = http.request(
      { port, host: '127.0.0.1', path, agent, method: 'POST', headers },
      (from) => {
        let body = '';
        from.setEncoding('utf8');
        from.on('data', (chunk: string) => {
          body += chunk;
        });
        from.on('end', () => resolve({ status: from.statusCode!, headers: from.headers, body }));
        from.on('error', reject);
      },
    );
    request.on('error', reject);
    request.end(JSON.stringify(path === '/rerank' ? { query: 'a query', texts: inputs } : { inputs }));
  });
}

const texts = (seed: number) =>
  Array.from({ length: 1 + (seed % 3) }, (_, i) => `word${seed} text${i} `.repeat(1 + (seed % 12)));

/** Clients that ask on connections of their own until they are told to stop; each answer is given to `hear`. */
function load(port: number, clients: number, hear: (answer: Answer | Error, asked: string) => void) {
  let going = true;
  const all = Array.from({ length: clients }, async (_, client) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = 0; going; i++) {
      const inputs = texts(client + i);
      const path = paths[(client + 5 * i) % paths.length]!;
      const answer = await ask(port, inputs, agent, path).catch((error: Error) => error);
      hear(answer, `${path} ${JSON.stringify(inputs)}`);
      if (answer instanceof Error || answer.status !== 200) await wait(20);
    }
    agent.destroy();
  });
  return async () => {
    going = false;
    await Promise.all(all);
  };
}

/** What is no vector is a refusal as JSON, with a status of its own. */
const refused = ({ status, body }: Answer) => status === 503 && typeof JSON.parse(body).error === 'string';

async function end(server: ServeProcess): Promise<void> {
  if (server.process.exitCode === null && server.process.signalCode === null) server.process.kill('SIGKILL');
  await server.ended;
}

test('a device that is lost under load: vectors or 503, then the same vectors as before', {
  timeout: 300_000,
}, async (t) => {
  const server = await startServe([model, '--port', '0'], { loses: true });
  try {
    const { port } = server;
    const agent = new http.Agent();
    const vectors = new Map<string, string>();
    const counts = { whole: 0, refused: 0 };
    const hear = (answer: Answer | Error, key: string) => {
      assert.ok(!(answer instanceof Error), String(answer));
      if (answer.status === 200) {
        counts.whole++;
        assert.equal(vectors.get(key) ?? answer.body, answer.body);
        vectors.set(key, answer.body);
      } else {
        counts.refused++;
        assert.ok(refused(answer), `${answer.status} ${answer.body}`);
        assert.match(answer.body, /device was lost/);
      }
    };
    const stop = load(port, 32, hear);
    for (let loss = 1; loss <= 3; loss++) {
      const before = counts.whole;
      while (counts.whole < before + 200) await wait(20);
      server.process.kill('SIGUSR2');
      while (server.told.filter((line) => /the model is open again/.test(line)).length < loss) {
        assert.equal(server.process.exitCode, null, server.told.join('\n'));
        await wait(20);
      }
    }
    const before = counts.whole;
    while (counts.whole < before + 200) await wait(20);
    await stop();
    t.diagnostic(`${counts.whole} answers, ${counts.refused} refusals, ${vectors.size} different requests`);
    assert.ok(counts.refused > 0);
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    assert.match(metrics, /^dawntune_queue_tokens 0$/m);
    assert.match(metrics, /^dawntune_device_up 1$/m);
    assert.equal((await ask(port, ['a'], agent)).status, 200);
    server.process.kill('SIGTERM');
    assert.equal(await server.ended, 0);
  } finally {
    await end(server);
  }
});

test('a device that is lost again before it computed anything: one line, and exit code 1', {
  timeout: 120_000,
}, async () => {
  const server = await startServe([model, '--port', '0'], { loses: true });
  try {
    const agent = new http.Agent();
    // Nothing has been computed yet: what is lost at once would be lost again.
    server.process.kill('SIGUSR2');
    await wait(300);
    const answer = await ask(server.port, ['a'], agent);
    assert.ok(refused(answer), answer.body);
    assert.equal(await server.ended, 1);
    assert.match(server.told.at(-1)!, /^dawntune: .*device was lost/);
    assert.ok(
      server.told.every((line) => !/^ +at /.test(line)),
      server.told.join('\n'),
    );
  } finally {
    await end(server);
  }
});

test('a device that is lost under load, and no other: 503 until the end, one line, and exit code 1', {
  timeout: 120_000,
}, async () => {
  const server = await startServe([model, '--port', '0'], { loses: 'for good' });
  try {
    const counts = { whole: 0, refused: 0, closed: 0 };
    const stop = load(server.port, 16, (answer) => {
      if (answer instanceof Error) counts.closed++;
      else if (answer.status === 200) counts.whole++;
      else {
        counts.refused++;
        assert.ok(refused(answer), `${answer.status} ${answer.body}`);
      }
    });
    while (counts.whole < 100) await wait(20);
    assert.deepEqual(counts, { whole: counts.whole, refused: 0, closed: 0 });
    server.process.kill('SIGUSR2');
    assert.equal(await server.ended, 1);
    await stop();
    assert.ok(counts.refused >= 16, `${counts.refused} refusals`);
    assert.equal(server.told.at(-1), 'dawntune: no adapter is there any more');
    assert.equal(server.told.filter((line) => /device was lost/.test(line)).length, 1);
  } finally {
    await end(server);
  }
});

/** Clients that mean no good: each connects, does its harm, and goes at some moment or stays until it is closed. */
function harm(port: number, draw: (below: number) => number): Promise<void> {
  const head = (path: string, framing: string) =>
    `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${framing}\r\n\r\n`;
  const body = JSON.stringify({ inputs: texts(draw(50)) });
  const path = paths[draw(3)]!;
  const large = JSON.stringify({ inputs: Array.from({ length: 40 }, () => 'word '.repeat(100)) });
  const deep = '['.repeat(100_000);
  const harms = [
    // A body that stops, an answer that nobody waits for, and one that is not read to its end.
    head(path, 'content-length: 500') + body.slice(0, draw(body.length)),
    head(path, `content-length: ${body.length}`) + body,
    head('/embed_all', `content-length: ${large.length}`) + large,
    // What is too large, by its own account and not; too deep; no text; no request.
    head(path, 'content-length: 900000000') + 'x'.repeat(draw(1 << 17)),
    `${head(path, 'transfer-encoding: chunked')}${`10000\r\n${'x'.repeat(0x10000)}\r\n`.repeat(20)}`,
    head(path, `content-length: ${deep.length}`) + deep,
    Buffer.concat([Buffer.from(head(path, 'content-length: 4')), Buffer.from([0xff, 0xfe, 0x00, 0xc3])]),
    Buffer.from(Array.from({ length: 200 }, () => draw(256))),
    `${head(path, 'content-length: 5\r\ntransfer-encoding: chunked')}hello`,
    (head(path, `content-length: ${body.length}`) + body).repeat(20),
    'GET /health HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(50),
  ];
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.write(harms[draw(harms.length)]!);
      if (draw(2) === 0) socket.resume();
      setTimeout(() => (draw(2) === 0 ? socket.destroy() : socket.resetAndDestroy()), draw(400));
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve());
  });
}

test('clients that mean no good: the others have their answers, and nothing is left of them', {
  timeout: 300_000,
}, async (t) => {
  const limits = ['--max_body_bytes', '1MB', '--header_timeout', '5', '--body_timeout', '10'];
  const server = await startServe([model, '--port', '0', '--auto_truncate', 'True', ...limits]);
  try {
    const { port, url } = server;
    const told = async (name: string) =>
      Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(await (await fetch(`${url}/metrics`)).text())?.[1]);
    const vectors = new Map<string, string>();
    let answers = 0;
    const hear = (answer: Answer | Error, key: string) => {
      assert.ok(!(answer instanceof Error), String(answer));
      assert.equal(answer.status, 200, answer.body);
      assert.equal(vectors.get(key) ?? answer.body, answer.body);
      vectors.set(key, answer.body);
      answers++;
    };
    const before = await told('process_open_fds');
    const stop = load(port, 8, hear);
    let harms = 0;
    let state = 7;
    const draw = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % below;
    };
    const until = performance.now() + 15_000;
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        for (; performance.now() < until; harms++) await harm(port, draw);
      }),
    );
    await stop();
    t.diagnostic(`${answers} answers beside ${harms} that mean no good`);
    assert.ok(answers > 100 && harms > 200);
    for (let i = 0; i < 100 && (await told('dawntune_queue_tokens')) > 0; i++) await wait(100);
    for (let i = 0; i < 50 && (await told('process_open_fds')) > before + 4; i++) await wait(100);
    assert.equal(await told('dawntune_queue_tokens'), 0);
    assert.ok((await told('process_open_fds')) <= before + 4, 'connections are left');
    const talk = server.told.filter((line) => !line.startsWith('compiling '));
    assert.deepEqual(talk, []);
    // It ends among them too.
    let ended = false;
    void server.ended.then(() => {
      ended = true;
    });
    setTimeout(() => server.process.kill('SIGTERM'), 500);
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        while (!ended) await harm(port, draw);
      }),
    );
    assert.equal(await server.ended, 0, server.told.join('\n'));
  } finally {
    await end(server);
  }
});

test('SIGTERM under load: what was taken is answered, what comes is refused, and connections are closed', {
  timeout: 120_000,
}, async () => {
  const server = await startServe([model, '--port', '0', '--batch_wait', '300']);
  try {
    const { port } = server;
    const idle = Array.from({ length: 10 }, () => net.connect(port, '127.0.0.1'));
    const closed = idle.map((socket) => once(socket, 'close'));
    await Promise.all(idle.map((socket) => once(socket, 'connect')));
    // A body that has begun to come and one whose rest never comes.
    const half = net.connect(port, '127.0.0.1');
    let halfAnswer = '';
    half.on('data', (chunk) => {
      halfAnswer += chunk;
    });
    const halfClosed = once(half, 'close');
    half.write(
      'POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"in',
    );
    const agent = new http.Agent({ keepAlive: true });
    const taken = Array.from({ length: 20 }, (_, i) => ask(port, texts(i), agent));
    await wait(150);
    server.process.kill('SIGTERM');
    for (const answer of await Promise.all(taken)) {
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.connection, 'close');
    }
    await Promise.all([...closed, halfClosed]);
    assert.match(halfAnswer, /^HTTP\/1.1 503 [\s\S]*the server is ending/);
    await assert.rejects(ask(port, ['a'], new http.Agent()), /ECONNREFUSED|ECONNRESET/);
    assert.equal(await server.ended, 0);
    assert.equal(server.told.length, 1, server.told.join('\n'));
  } finally {
    await end(server);
  }
});

test('SIGTERM while the first batch holds the process: what had been sent before is answered', {
  timeout: 120_000,
}, async () => {
  const server = await startServe([model, '--port', '0']);
  try {
    const sent = Array.from({ length: 20 }, (_, i) => ask(server.port, texts(i), new http.Agent()));
    await wait(40);
    server.process.kill('SIGTERM');
    for (const answer of await Promise.all(sent)) assert.equal(answer.status, 200);
    assert.equal(await server.ended, 0);
  } finally {
    await end(server);
  }
});

test('a client that fetches no answer holds the end up until a second signal', {
  timeout: 120_000,
}, async () => {
  const server = await startServe([model, '--port', '0']);
  try {
    const socket = net.connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    const body = JSON.stringify({ inputs: Array.from({ length: 600 }, () => 'word '.repeat(60)) });
    socket.write(
      `POST /embed_all HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    // Its answer begins, and is not read.
    await once(socket, 'readable');
    await wait(500);
    server.process.kill('SIGTERM');
    await server.says(/a second SIGTERM ends it at once/);
    await wait(1500);
    assert.equal(server.process.exitCode, null);
    server.process.kill('SIGTERM');
    assert.equal(await server.ended, 143);
    assert.match(server.told.at(-1)!, /interrupted: what had been asked for and not answered is dropped/);
    socket.destroy();
  } finally {
    await end(server);
  }
});

test('a port that is taken: one line, and exit code 1', { timeout: 120_000 }, async () => {
  const holder = net.createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as net.AddressInfo;
  const { ended, told } = spawnServe([model, '--port', String(port)]);
  assert.equal(await ended, 1);
  assert.deepEqual(told, [
    `dawntune: cannot listen on 127.0.0.1 port ${port}: the port is taken; --port 0 picks a free one`,
  ]);
  holder.close();
});
