/** The body of a request, read within limits and as strict JSON: its bytes, values and nesting are bounded before it is looked at. */
import { setMaxListeners } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { InputError } from '../errors.js';
import { asJsonObject, type JsonObject, parseJsonBytes } from '../files/json.js';
import { busy, Refusal } from './refusal.js';

/** Bodies of the largest size that may be at hand at once. */
const BODIES = 32;
/** Lists of lists of an object. */
const MOST_DEPTH = 4;
/** Values of a body: a value takes some 100 bytes, a text or an id is one. */
const MOST_VALUES = 1 << 20;

/** Bounds the bytes of all bodies at hand together. */
export class BodyReader {
  private held = 0;

  constructor(
    private readonly maxBytes: number,
    private readonly stopped: AbortSignal,
  ) {
    // Each body that is being read listens.
    setMaxListeners(0, stopped);
  }

  /** What is too long by its own account. */
  requireLength(headers: IncomingMessage['headers']): void {
    if (Number(headers['content-length'] ?? 0) > this.maxBytes) throw this.tooLarge();
    if ((headers['content-encoding'] ?? 'identity') !== 'identity')
      throw new Refusal(415, 'content-encoding: expected none, as bodies are not unpacked');
  }

  private tooLarge(): Refusal {
    return new Refusal(413, `the body has more than the ${this.maxBytes} bytes of --max_body_bytes`, {
      code: 'request_too_large',
    });
  }

  /** The object of a body; `release` when the request is answered. */
  async read(stream: IncomingMessage): Promise<{ body: JsonObject; release: () => void }> {
    let bytes = 0;
    let done = false;
    const release = () => {
      if (!done) this.held -= bytes;
      done = true;
    };
    const chunks: Buffer[] = [];
    try {
      await new Promise<void>((resolve, reject) => {
        const stop = () => reject(this.stopped.reason);
        if (this.stopped.aborted) stop();
        this.stopped.addEventListener('abort', stop);
        const end = (then: () => void) => {
          this.stopped.removeEventListener('abort', stop);
          then();
        };
        stream.on('data', (chunk: Buffer) => {
          if (done) return;
          bytes += chunk.length;
          this.held += chunk.length;
          if (bytes > this.maxBytes) end(() => reject(this.tooLarge()));
          else if (this.held > BODIES * this.maxBytes)
            end(() => reject(busy('the bodies of too many requests are at hand', 1)));
          else chunks.push(chunk);
        });
        stream.on('end', () => end(resolve));
        // A client that hangs up; nobody is there to be told.
        const gone = () => end(() => reject(new Refusal(400, 'the body ended too early')));
        stream.on('close', gone);
        stream.on('error', gone);
      });
      return { body: parsed(Buffer.concat(chunks)), release };
    } catch (error) {
      release();
      chunks.length = 0;
      throw error;
    }
  }
}

function parsed(bytes: Buffer): JsonObject {
  if (bytes.length === 0)
    throw new Refusal(400, 'the body: expected JSON, found nothing', { code: 'invalid_json' });
  try {
    const limits = { maxDepth: MOST_DEPTH, maxValues: MOST_VALUES };
    return asJsonObject(parseJsonBytes(bytes, 'the body', limits), 'the body');
  } catch (error) {
    throw error instanceof InputError ? new Refusal(400, error.message, { code: 'invalid_json' }) : error;
  }
}
