/**
 * A server that answers as the hub does, with a second one, on another port, in the part of the store that holds large
 * files: the hub sends there by redirect. Faults can be put before any answer.
 */
import { createHash } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';

export interface FakeFile {
  readonly bytes: Buffer;
  /** Kept in large file storage: listed by sha256, sent by the store. */
  readonly large: boolean;
}

export interface FakeModel {
  readonly commit: string;
  /** Beside `main` and the commit itself. */
  readonly revisions?: readonly string[];
  readonly files: ReadonlyMap<string, FakeFile>;
  /** The token that is asked for. */
  readonly token?: string;
  readonly gated?: boolean;
}

/** What happens to a request in the place of its answer. */
export interface Fault {
  /** Of the request's path. */
  readonly on: RegExp;
  /** How many requests it befalls; 1 if not told. */
  times?: number;
  /** The whole answer. */
  readonly answer?: { status: number; headers?: Record<string, string>; body?: string };
  /** The connection is cut after so many bytes of the body. */
  readonly cut?: number;
  /** Nothing comes, ever. */
  readonly hang?: boolean;
  /** Ranges are not understood. */
  readonly whole?: boolean;
  /** Ranges begin elsewhere than was asked. */
  readonly shift?: number;
  readonly gzip?: boolean;
  /** Other bytes than the file's. */
  readonly bytes?: (bytes: Buffer) => Buffer;
  /** Between the pieces of the body. */
  readonly slow?: { piece: number; milliseconds: number };
}

export interface FakeRequest {
  readonly host: 'hub' | 'store';
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export const gitSha1 = (bytes: Uint8Array): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** A model of files by name; those that end in a suffix of weights are large. */
export function fakeModel(
  files: Readonly<Record<string, Uint8Array | string>>,
  more: Partial<FakeModel> = {},
): FakeModel {
  const entries = Object.entries(files).map(
    ([name, content]) =>
      [name, { bytes: Buffer.from(content), large: /\.(safetensors|bin|pt|model)$/.test(name) }] as const,
  );
  const commit = createHash('sha1')
    .update(JSON.stringify(entries.map(([name, { bytes }]) => [name, sha256(bytes)])))
    .digest('hex');
  return { commit, files: new Map(entries), ...more };
}

export class FakeHub {
  readonly models = new Map<string, FakeModel>();
  faults: Fault[] = [];
  requests: FakeRequest[] = [];
  private readonly hub = http.createServer((request, response) => this.atHub(request, response));
  private readonly store = http.createServer((request, response) => this.atStore(request, response));

  static async start(): Promise<FakeHub> {
    const fake = new FakeHub();
    for (const server of [fake.hub, fake.store])
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get endpoint(): string {
    return addressOf(this.hub);
  }

  get storeEndpoint(): string {
    return addressOf(this.store);
  }

  /** Paths of files that were asked for, with where each answer was to begin. */
  transfers(): string[] {
    return this.requests
      .filter(({ path }) => path.startsWith('/store/') || path.includes('/resolve/'))
      .map(({ path, range }) => `${path}${range ? ` ${range}` : ''}`);
  }

  stop(): void {
    for (const server of [this.hub, this.store]) {
      server.closeAllConnections();
      server.close();
    }
  }

  private fault(path: string): Fault | undefined {
    const fault = this.faults.find(({ on, times }) => on.test(path) && (times ?? 1) > 0);
    if (fault) fault.times = (fault.times ?? 1) - 1;
    return fault;
  }

  private atHub(request: http.IncomingMessage, response: http.ServerResponse): unknown {
    const url = new URL(request.url!, this.endpoint);
    const { authorization, range } = request.headers;
    this.requests.push({ host: 'hub', path: url.pathname, range, authorization });
    const fault = this.fault(url.pathname);
    if (fault?.hang) return;
    if (fault?.answer) return reply(response, fault.answer);
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)$/.exec(url.pathname);
    const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname);
    const name = (api ?? file)?.[1];
    const model = name === undefined ? undefined : this.models.get(name);
    const refuse = (status: number, code: string, message: string) =>
      reply(response, { status, headers: { 'x-error-code': code, 'x-error-message': message } });
    const token = authorization?.replace(/^Bearer /, '');
    if (!model || (model.token !== undefined && !model.gated && token !== model.token))
      // The hub does not tell those who are strangers to it what it has.
      return refuse(token === undefined ? 401 : 404, 'RepoNotFound', 'Repository not found');
    if (model.gated && token !== model.token)
      return refuse(token === undefined ? 401 : 403, 'GatedRepo', `Access to model ${name} is restricted`);
    const revision = decodeURIComponent((api?.[3] ?? file?.[2])!);
    if (!['main', model.commit, ...(model.revisions ?? [])].includes(revision))
      return refuse(404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
    if (api?.[2] === 'revision') return infoOf(response, name!, model);
    if (api) return this.tree(response, url, model);
    const path = decodeURIComponent(file![3]!);
    const found = model.files.get(path);
    if (!found) return refuse(404, 'EntryNotFound', 'Entry not found');
    response.setHeader('x-repo-commit', model.commit);
    response.setHeader('etag', `"${gitSha1(found.bytes)}"`);
    if (found.large) {
      response.setHeader('x-linked-etag', `"${sha256(found.bytes)}"`);
      const location = `${this.storeEndpoint}/store/${sha256(found.bytes)}?signature=1`;
      return reply(response, {
        status: 302,
        headers: { location, 'x-linked-size': `${found.bytes.length}` },
      });
    }
    return send(request, response, found.bytes, fault);
  }

  /** Pages of three, as the hub has pages of a thousand. */
  private tree(response: http.ServerResponse, url: URL, { files }: FakeModel): void {
    const all = [...files].map(([path, { bytes, large }]) => ({
      type: 'file',
      oid: large ? '0'.repeat(40) : gitSha1(bytes),
      size: bytes.length,
      path,
      ...(large ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 } } : {}),
    }));
    const folders = [...new Set([...files.keys()].filter((path) => path.includes('/')))].map((path) => ({
      type: 'directory',
      oid: '1'.repeat(40),
      size: 0,
      path: path.split('/')[0],
    }));
    const entries = [...folders, ...all];
    const start = Number(url.searchParams.get('cursor') ?? 0);
    const next = new URL(url);
    next.searchParams.set('cursor', `${start + 3}`);
    if (start + 3 < entries.length) response.setHeader('link', `<${next.href}>; rel="next"`);
    json(response, entries.slice(start, start + 3));
  }

  private atStore(request: http.IncomingMessage, response: http.ServerResponse): unknown {
    const url = new URL(request.url!, this.storeEndpoint);
    const { authorization, range } = request.headers;
    this.requests.push({ host: 'store', path: url.pathname, range, authorization });
    const fault = this.fault(url.pathname);
    if (fault?.hang) return;
    if (fault?.answer) return reply(response, fault.answer);
    // A signed address and a token contradict each other, says the real store.
    if (authorization !== undefined) return reply(response, { status: 400 });
    for (const { files } of this.models.values())
      for (const { bytes } of files.values())
        if (url.pathname === `/store/${sha256(bytes)}`) return send(request, response, bytes, fault);
    return reply(response, { status: 404 });
  }
}

const addressOf = (server: http.Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

function reply(
  response: http.ServerResponse,
  { status, headers = {}, body = '' }: NonNullable<Fault['answer']>,
): void {
  response.writeHead(status, headers).end(body);
}

function infoOf(response: http.ServerResponse, id: string, { commit, files }: FakeModel): void {
  const siblings = [...files.keys()].map((rfilename) => ({ rfilename }));
  json(response, { _id: '1', id, sha: commit, siblings });
}

function json(response: http.ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(value));
}

async function send(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  file: Buffer,
  fault: Fault | undefined,
): Promise<void> {
  const whole = fault?.bytes ? fault.bytes(file) : file;
  const asked = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  let body = whole;
  if (asked && !fault?.whole) {
    const from = Number(asked[1]) + (fault?.shift ?? 0);
    if (from >= whole.length) {
      response.writeHead(416, { 'content-range': `bytes */${whole.length}` }).end();
      return;
    }
    body = whole.subarray(from);
    response.statusCode = 206;
    response.setHeader('content-range', `bytes ${from}-${whole.length - 1}/${whole.length}`);
  }
  if (fault?.gzip) {
    body = gzipSync(body);
    response.setHeader('content-encoding', 'gzip');
  }
  response.setHeader('content-length', body.length);
  if (fault?.cut !== undefined) {
    response.write(body.subarray(0, fault.cut), () => setTimeout(() => response.destroy(), 5));
    return;
  }
  if (fault?.slow)
    for (let at = 0; at < body.length && !response.destroyed; at += fault.slow.piece) {
      response.write(body.subarray(at, at + fault.slow.piece));
      await new Promise((resolve) => setTimeout(resolve, fault.slow!.milliseconds));
    }
  else response.write(body);
  response.end();
}
