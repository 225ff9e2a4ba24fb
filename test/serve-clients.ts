/** Servers of the tests' model, and clients that ask them: by `fetch`, and byte by byte. */
import { once } from 'node:events';
import net from 'node:net';
import type { M3Model } from '../src/models/m3.js';
import { createEmbeddingServer, type EmbeddingServerOptions } from '../src/serve/server.js';
import { TokenizerThreads } from '../src/tokenizer/threads.js';
import type { Tokenizer } from '../src/tokenizer/tokenizer.js';

const lengths = { queryMaxLength: 32, passageMaxLength: 48, query: undefined, passage: undefined };

/** Servers around a model that is open: queries of 32 tokens, passages of 48. */
export function servers(model: M3Model, tokenizer: Tokenizer) {
  const embedderOf = (model: M3Model) => ({
    ...{ model, ...lengths },
    threads: new TokenizerThreads(tokenizer, { threads: 0 }),
  });
  /** Serves on a free port while `use` runs. */
  async function serving(
    options: Partial<EmbeddingServerOptions>,
    use: (url: string, port: number) => Promise<void>,
  ) {
    const server = await createEmbeddingServer(embedderOf(model), { names: ['m3', 'other'], ...options });
    const url = await server.listen({ port: 0 });
    try {
      await use(url, Number(new URL(url).port));
    } finally {
      await server.close();
      await server.ended;
    }
  }

  return { embedderOf, serving };
}

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes, of which each test looks at its own
  readonly body: any;
}

// biome-ignore lint/suspicious/noExplicitAny: as above
export const jsonOf = async (response: Response): Promise<any> => response.json();

export async function post(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
  signal?: AbortSignal,
): Promise<Answered> {
  const response = await fetch(url, {
    ...{ method: 'POST', headers: { 'content-type': 'application/json', ...headers } },
    body: body instanceof Uint8Array || typeof body === 'string' ? body : JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });
  return { status: response.status, headers: response.headers, body: await jsonOf(response) };
}

/** What comes back on a connection of one's own until it is closed, or `enough` of it is there. */
export async function raw(port: number, write: (socket: net.Socket) => void, enough = /$^/): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  let text = '';
  const closed = once(socket, 'close');
  socket.on('data', (chunk) => {
    text += chunk;
    if (enough.test(text)) socket.destroy();
  });
  write(socket);
  await closed;
  return text;
}
