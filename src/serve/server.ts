/**
 * Embeddings over HTTP (Fastify): routes, keys, limits, errors and the end. What is computed is in routes.ts, how texts of
 * many requests share a batch in batcher.ts.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { InputError, MachineError } from '../errors.js';
import { BodyReader } from './body.js';
import { Engine, type EngineOptions, type ServedEmbedder } from './engine.js';
import { makeMetrics } from './metrics.js';
import { Refusal, unavailable } from './refusal.js';
import { type Answer, embed, embedAll, embeddings, embedSparse, type Responder, rerank } from './routes.js';

/** Settings of `createEmbeddingServer`. What is left open has the default of the flag of `dawntune serve`. */
export interface EmbeddingServerOptions extends EngineOptions {
  /** What clients must send as `Authorization: Bearer KEY`; without it nothing is asked for. */
  apiKey?: string | undefined;
  /** Largest body of a request; a larger one is answered with 413. Default 8 MB. */
  maxBodyBytes?: number | undefined;
  /** Seconds. */
  requestTimeout?: number | undefined;
  /** Seconds that the head of a request may take to come. Default 10. */
  headerTimeout?: number | undefined;
  /** Seconds that a whole request may take to come. Default 60. */
  bodyTimeout?: number | undefined;
  /** Most connections at once. Default 1024. */
  maxConnections?: number | undefined;
  /** Whether `/metrics` tells of this process too. Default false. */
  processMetrics?: boolean | undefined;
  /** When the model was made, in seconds since 1970, for `/v1/models`. Default: now. */
  created?: number | undefined;
}

/** A server, listening or not yet. */
export interface EmbeddingServer {
  /** Begins to listen. @returns the address, e.g. `http://127.0.0.1:8080`. @throws MachineError when it cannot. */
  listen(address?: {
    /** Default 127.0.0.1. */
    readonly host?: string;
    /** Default 8080; 0: one that is free. */
    readonly port?: number;
  }): Promise<string>;
  /** Answers what it has taken, refuses what comes, and then lets the model go. */
  close(): Promise<void>;
  /** Resolves when it has ended; rejects with the reason when the device is gone for good. */
  readonly ended: Promise<void>;
}

/** Milliseconds in which a server that is told to end still takes what comes, and turns of its loop after them. */
const TAKE_IN = 50;
const TAKE_IN_TURNS = 64;
const MEBIBYTE = 1 << 20;
/** Characters of an answer that is sent in one piece; a larger one goes in pieces, as fast as it is fetched. */
const WHOLE = MEBIBYTE;
/** Milliseconds that the rest of a refused body is read for, so that the client comes to see why. */
const LINGER = 2000;
/** A status of nobody's: the client went before it was answered. */
const GONE = 499;

const json = 'application/json; charset=utf-8';

/** A client that hung up. */
class Gone extends Error {}

interface Tracked {
  readonly started: number;
  readonly abort: AbortController;
  readonly releases: (() => void)[];
  readonly socket: Socket;
  timer?: NodeJS.Timeout;
  closed: boolean;
  /** Lets go what it holds, once. */
  end(): void;
}

/** @throws InputError for settings that are none. */
export async function createEmbeddingServer(
  embedder: ServedEmbedder,
  options: EmbeddingServerOptions,
): Promise<EmbeddingServer> {
  const {
    requestTimeout = 60,
    headerTimeout = 10,
    bodyTimeout = 60,
    maxBodyBytes = 8_000_000,
    maxConnections = 1024,
    note = () => {},
  } = options;
  if (options.names.length === 0) throw new InputError('names: expected a name of the model, found none');
  const { default: fastify } = await import('fastify');

  const stopping = new AbortController();
  let end: (error?: Error) => void = () => {};
  const ended = new Promise<void>((resolve, reject) => {
    end = (error) => (error ? reject(error) : resolve());
  });
  // Whoever waits for it is told; nobody needs to.
  ended.catch(() => undefined);

  const engine = new Engine(
    embedder,
    {
      ...options,
      onBatch: (batch) => {
        metrics.batch(batch);
        options.onBatch?.(batch);
      },
    },
    (error) => {
      void stop(error);
    },
  );
  const metrics = await makeMetrics(() => engine, options.processMetrics ?? false);
  const bodies = new BodyReader(maxBodyBytes, stopping.signal);
  const authorized = options.apiKey === undefined ? () => true : keyCheck(options.apiKey);
  const active = new Map<ServerResponse, Tracked>();

  const app = fastify({
    ...{ logger: false, exposeHeadRoutes: true, return503OnClosing: false },
    // Fastify reads no body here: body.ts does.
    bodyLimit: maxBodyBytes + 1,
    requestTimeout: 1000 * bodyTimeout,
    connectionTimeout: 1000 * (2 * requestTimeout + bodyTimeout),
    keepAliveTimeout: 75_000,
    http: {
      headersTimeout: 1000 * Math.min(headerTimeout, bodyTimeout),
      connectionsCheckingInterval: Math.min(1000, 250 * headerTimeout),
    },
    clientErrorHandler: refuseClient,
    frameworkErrors: (error, request, reply) => {
      refuse(request, reply as unknown as FastifyReply, new Refusal(error.statusCode ?? 400, error.message));
    },
  });
  app.server.maxConnections = maxConnections;

  // ---- from the head of a request to its end -----------------------------------------------------------------------

  // Of requests that came ahead of the answer before them, the responses are not told when the connection is closed.
  app.server.on('connection', (socket: Socket) => {
    socket.once('close', () => {
      for (const tracked of active.values()) if (tracked.socket === socket) tracked.end();
    });
  });
  app.addHook('onRequest', async (request, reply) => {
    const tracked: Tracked = {
      started: performance.now(),
      abort: new AbortController(),
      releases: [],
      socket: request.raw.socket,
      closed: false,
      end,
    };
    active.set(reply.raw, tracked);
    reply.raw.once('close', end);
    function end() {
      if (tracked.closed) return;
      tracked.closed = true;
      clearTimeout(tracked.timer);
      active.delete(reply.raw);
      for (const release of tracked.releases) release();
      const whole = reply.raw.writableFinished;
      tracked.abort.abort(new Gone());
      const route = request.is404 ? 'none' : (request.routeOptions.url ?? 'none');
      metrics.request(
        route,
        whole ? reply.raw.statusCode : GONE,
        (performance.now() - tracked.started) / 1000,
      );
    }
    if (request.routeOptions.url !== '/health' && !authorized(request.headers.authorization))
      throw new Refusal(401, 'expected the key of this server as "Authorization: Bearer KEY"', {
        ...{ kind: 'key', code: 'invalid_api_key' },
        headers: { 'www-authenticate': 'Bearer' },
      });
    if (stopping.signal.aborted) throw stopping.signal.reason;
    if (request.method === 'POST') bodies.requireLength(request.headers);
  });

  // A client that asks again and again on one connection is told that this was the last answer on it.
  app.addHook('onSend', async (_, reply) => {
    if (closing) reply.header('connection', 'close');
  });

  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    async (request: FastifyRequest, payload: FastifyRequest['raw']) => {
      const { body, release } = await bodies.read(payload);
      hold(active.get(replies.get(request)!)!, release);
      return body;
    },
  );
  /** The response of each request, for the parser of its body. */
  const replies = new WeakMap<FastifyRequest, ServerResponse>();
  app.addHook('preParsing', async (request, reply) => {
    replies.set(request, reply.raw);
  });

  function hold(tracked: Tracked, release: () => void): void {
    if (tracked.closed) release();
    else tracked.releases.push(release);
  }

  // ---- routes ------------------------------------------------------------------------------------------------------

  const computing = (responder: Responder) => async (request: FastifyRequest, reply: FastifyReply) => {
    const tracked = active.get(reply.raw);
    if (!tracked) throw new Gone();
    const { abort } = tracked;
    if (request.body === undefined || request.body === null)
      throw new Refusal(415, 'content-type: expected application/json and a body');
    tracked.timer = setTimeout(() => {
      abort.abort(
        unavailable(
          `the answer was not there within the ${requestTimeout} s of --request_timeout`,
          Math.ceil(requestTimeout),
        ),
      );
      tracked.timer = setTimeout(() => reply.raw.destroy(), 1000 * requestTimeout);
    }, 1000 * requestTimeout);
    const scope = { signal: abort.signal, hold: (release: () => void) => hold(tracked, release) };
    const answer = await responder(engine.served, request.body as Record<string, unknown>, scope);
    return send(reply, answer);
  };
  const posts: Record<string, Responder> = {
    '/v1/embeddings': embeddings,
    '/embed': embed,
    '/embed_sparse': embedSparse,
    '/embed_all': embedAll,
    '/rerank': rerank,
  };
  for (const [path, responder] of Object.entries(posts)) app.post(path, computing(responder));

  const created = options.created ?? Math.floor(Date.now() / 1000);
  const models = options.names.map((id) => ({ id, object: 'model', created, owned_by: 'dawntune' }));
  app.get('/v1/models', (_, reply) =>
    reply.type(json).send(JSON.stringify({ object: 'list', data: models })),
  );
  app.get('/v1/models/*', (request, reply) => {
    const name = (request.params as { '*': string })['*'];
    const model = models.find(({ id }) => id === name);
    if (!model)
      throw new Refusal(404, `there is no model ${JSON.stringify(name)} here`, { code: 'model_not_found' });
    reply.type(json).send(JSON.stringify(model));
  });
  app.get('/health', (_, reply) => {
    if (!engine.look()) throw engine.refusal();
    reply.type(json).send('{"status":"ok"}');
  });
  app.get('/metrics', async (_, reply) => {
    engine.look();
    return reply.type(metrics.registry.contentType).send(await metrics.registry.metrics());
  });

  const methods = new Map<string, string>([
    ...Object.keys(posts).map((path) => [path, 'POST'] as const),
    ...['/v1/models', '/health', '/metrics'].map((path) => [path, 'GET, HEAD'] as const),
  ]);
  app.setNotFoundHandler((request) => {
    const path = pathOf(request);
    const allow = methods.get(path) ?? (path.startsWith('/v1/models/') ? 'GET, HEAD' : undefined);
    throw allow === undefined
      ? new Refusal(404, `there is nothing at this path; there are ${[...methods.keys()].join(', ')}`, {
          code: 'not_found',
        })
      : new Refusal(405, `expected ${allow}, found ${request.method}`, {
          headers: { allow },
          code: 'method_not_allowed',
        });
  });

  // ---- refusals ----------------------------------------------------------------------------------------------------

  app.setErrorHandler((error: Error & { statusCode?: number; code?: string }, request, reply) => {
    refuse(request, reply, refusalOf(error));
  });

  function refusalOf(error: Error & { statusCode?: number; code?: string }): Refusal {
    if (error instanceof Refusal) return error;
    if (error instanceof Gone) return new Refusal(GONE, 'the client is gone');
    if (error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
      return new Refusal(415, 'content-type: expected application/json');
    if (error.code?.startsWith('FST_')) return new Refusal(error.statusCode ?? 400, error.message);
    if (!engine.look()) return engine.refusal();
    if (error instanceof InputError) return new Refusal(400, error.message);
    note(error instanceof MachineError ? error.message : (error.stack ?? error.message));
    return new Refusal(500, error instanceof MachineError ? error.message : 'a fault of the server', {
      kind: 'failed',
    });
  }

  /** Of a body that has not come whole a little more is read, for as long as the client may need to see the answer. */
  function refuse(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): void {
    const text = refusal.body(pathOf(request));
    const headers = { ...refusal.headers, 'content-type': json };
    if (request.raw.complete || !hasBody(request)) {
      reply.code(refusal.status).headers(headers).send(text);
      return;
    }
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(refusal.status, {
      ...headers,
      ...{ 'content-length': Buffer.byteLength(text), connection: 'close' },
    });
    raw.write(text);
    request.raw.resume();
    const timer = setTimeout(() => raw.end(), LINGER);
    request.raw.once('close', () => {
      clearTimeout(timer);
      raw.end();
    });
  }

  /** What is no request, or none in time. */
  function refuseClient(error: Error & { code?: string }, socket: Socket): void {
    if (error.code === 'ECONNRESET' || socket.destroyed) return;
    const [status, problem] =
      error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'the request did not come whole within --header_timeout and --body_timeout']
        : error.code === 'HPE_HEADER_OVERFLOW'
          ? ['431 Request Header Fields Too Large', 'the head of the request is too large']
          : ['400 Bad Request', 'expected an HTTP request'];
    metrics.request('none', Number(status!.slice(0, 3)), 0);
    const text = new Refusal(400, problem!).body('/v1');
    if (socket.writable)
      socket.write(
        `HTTP/1.1 ${status}\r\ncontent-type: ${json}\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
      );
    socket.destroySoon();
  }

  // ---- listening and ending ----------------------------------------------------------------------------------------

  let closing: Promise<void> | undefined;
  function stop(error?: Error): Promise<void> {
    closing ??= (async () => {
      await takeIn();
      stopping.abort(unavailable('the server is ending'));
      const closed = app.close();
      while (active.size > 0) await new Promise((resolve) => setTimeout(resolve, 10));
      app.server.closeAllConnections();
      await closed;
      await engine.close();
      end(error);
    })();
    return closing;
  }

  return {
    ended,
    async listen({ host = '127.0.0.1', port = 8080 } = {}) {
      await listening(app, host, port);
      const { address, family, port: taken } = app.server.address() as AddressInfo;
      return `http://${family === 'IPv6' ? `[${address}]` : address}:${taken}`;
    },
    close: () => stop(),
  };
}

/**
 * What reached this system before it was told to end is taken: a batch of the device may have held the process since, and
 * connections that were not accepted or not read yet would be cut without an answer. Turns of the loop after the timer
 * take them, as timers come before what has arrived, and a turn accepts few connections.
 */
async function takeIn(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, TAKE_IN));
  for (let turn = 0; turn < TAKE_IN_TURNS; turn++) await new Promise((resolve) => setImmediate(resolve));
}

async function listening(app: FastifyInstance, host: string, port: number): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reasons: Record<string, string> = {
      EADDRINUSE: 'the port is taken; --port 0 picks a free one',
      EACCES: 'the port needs rights that this user does not have',
      EADDRNOTAVAIL: 'this machine does not have that address',
      ENOTFOUND: 'no such host',
    };
    throw new MachineError(`cannot listen on ${host} port ${port}: ${reasons[code ?? ''] ?? message}`);
  }
}

const pathOf = (request: FastifyRequest): string => request.url.split('?', 1)[0]!;

const hasBody = ({ headers }: FastifyRequest): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

/** Compares digests in constant time: what is wrong with a key is not told by how long its refusal takes. */
function keyCheck(key: string): (header: string | undefined) => boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  const expected = digest(key);
  return (header) => {
    const [, given = ''] = /^Bearer +(.*)$/i.exec(header ?? '') ?? [];
    return timingSafeEqual(digest(given), expected);
  };
}

/** As one text where it is small; else in pieces, no faster than they are fetched. */
function send(reply: FastifyReply, { pieces, tokens }: Answer): FastifyReply {
  reply.type(json).header('x-total-tokens', String(tokens));
  const iterator = pieces[Symbol.iterator]();
  let head = '';
  while (head.length < WHOLE) {
    const { done, value } = iterator.next();
    if (done) return reply.send(head);
    head += value;
  }
  const rest = function* () {
    yield head;
    for (let step = iterator.next(); !step.done; step = iterator.next()) yield step.value;
  };
  return reply.send(Readable.from(rest(), { objectMode: false, highWaterMark: WHOLE }));
}
