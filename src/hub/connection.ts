/**
 * Requests to the hub: who is asked with which token, what is tried again and after how long, and what an answer that
 * refuses means. The token goes to the hub's own address and never along a redirect to another host, as the files'
 * bytes often lie elsewhere. `@huggingface/hub` asks through this too (`fetch`), for its own requests know no retry,
 * no time limit and no token but those that begin with `hf_`.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { InputError, MachineError } from '../errors.js';
import { parseJsonBytes } from '../files/json.js';
import { printable, show } from '../show.js';
import type { HubSettings } from './settings.js';
import type { Transport } from './transport.js';

/** The hub, or the way to it, does not answer. What the cache holds may do instead. */
export class HubUnreachable extends MachineError {}

/** An attempt that failed in a way that may pass. */
export class Cut extends Error {
  constructor(
    readonly reason: string,
    /** Seconds, as the hub asks. */
    readonly retryAfter?: number,
  ) {
    super(reason);
  }
}

export interface Answer {
  readonly response: Response;
  /** The body in pieces. @throws Cut. */
  bytes(): AsyncGenerator<Uint8Array>;
  /** To be called when the body is not read to its end. */
  drop(): void;
}

export interface Repository {
  /** `org/name`. */
  readonly name: string;
  readonly revision: string;
}

const ATTEMPTS = 5;
/** Bytes. */
const PROGRESS = 1 << 20;
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30_000;
/** Seconds; a hub that asks for more is told to the user, who has other things to do. */
const LONGEST_RETRY_AFTER = 120;
const MOST_REDIRECTS = 10;
/** Of one answer of the API. A listing has at most 1,000 files. */
const LARGEST_ANSWER = 16 << 20;
/** Answers of the API for one model: listings of more pages lead nowhere. */
const MOST_ANSWERS = 100;
/** Characters of a token. The hub's have 37. */
const SHORTEST_SECRET = 8;
const TRANSIENT = new Set([408, 425, 429, 500, 502, 503, 504]);
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** How often one thing is tried. */
export class Patience {
  private failures = 0;
  /** How far the file has to come before failures are forgiven. */
  private goal: number;

  /** `position`: bytes of the thing that are there already. */
  constructor(
    private readonly transport: Transport,
    private readonly note: (line: string) => void,
    position = 0,
  ) {
    this.goal = position + PROGRESS;
  }

  /**
   * How many bytes are there now. A MiB more than ever before shows that a connection is worth as many attempts again;
   * bytes that were there before and had to be fetched anew do not, or a server without ranges that cuts every answer
   * would be asked for ever.
   */
  reached(position: number): void {
    if (position < this.goal) return;
    this.goal = position + PROGRESS;
    this.failures = 0;
  }

  /** Waits before the next attempt. @throws HubUnreachable when there is none. */
  async after(cut: Cut, what: string, advice: string): Promise<void> {
    const attempts = this.transport.attempts ?? ATTEMPTS;
    this.failures++;
    const wait = cut.retryAfter ?? 0;
    if (wait > LONGEST_RETRY_AFTER)
      throw new HubUnreachable(`${what}: ${cut.reason}, and asks to wait ${Math.ceil(wait)} s; ${advice}`);
    if (this.failures >= attempts)
      throw new HubUnreachable(`${what}: ${cut.reason}, ${attempts} times; ${advice}`);
    const first = this.transport.firstPause ?? FIRST_PAUSE;
    const milliseconds = Math.max(wait * 1000, Math.min(LONGEST_PAUSE, first * 2 ** (this.failures - 1)));
    this.note(
      `${what}: ${cut.reason}; attempt ${this.failures + 1} of ${attempts} in ${(milliseconds / 1000).toFixed(1)} s`,
    );
    await pause(milliseconds);
  }
}

export class HubConnection {
  private readonly origin: string;
  private answers = 0;

  constructor(
    readonly settings: HubSettings,
    /** Without a slash at its end. */
    readonly endpoint: string,
    private readonly repository: Repository,
    readonly transport: Transport,
    readonly note: (line: string) => void,
  ) {
    this.origin = new URL(endpoint).origin;
  }

  /** What to do when nothing answers. */
  get advice(): string {
    const { settings } = this;
    const proxy = settings.proxy
      ? ` (the proxy of ${settings.proxy} is not used: requests go out directly)`
      : '';
    return (
      `check the network${settings.endpoint ? ' and HF_ENDPOINT' : ''}${proxy}, give a folder, ` +
      `or set HF_HUB_OFFLINE=1 to use what the cache ${printable(settings.cache)} holds`
    );
  }

  /**
   * One attempt; redirects are followed. Any answer is given back that will not be another one in a while.
   * @throws Cut, MachineError.
   */
  async once(url: string, headers: Readonly<Record<string, string>>): Promise<Answer> {
    let target = new URL(url);
    for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
      const answer = await this.send(target, headers);
      const { status, headers: told } = answer.response;
      if (REDIRECTS.has(status)) {
        answer.drop();
        target = this.redirected(target, this.withoutToken(told.get('location')));
        continue;
      }
      if (TRANSIENT.has(status)) {
        answer.drop();
        throw new Cut(`${target.host} answers ${status}`, retryAfter(told.get('retry-after')));
      }
      // A signed address of a store that holds the bytes, which is valid for some minutes only.
      if (status === 403 && target.origin !== this.origin) {
        answer.drop();
        throw new Cut(`${target.host}, where the hub sent us, answers 403`);
      }
      return answer;
    }
    throw new MachineError(`${show(url)}: more than ${MOST_REDIRECTS} redirects`);
  }

  private redirected(from: URL, location: string | null): URL {
    const to = location !== null && URL.canParse(location, from.href) ? new URL(location, from) : undefined;
    const safe = from.protocol === 'https:' ? /^https:$/ : /^https?:$/;
    if (!to || !safe.test(to.protocol) || to.username || to.password)
      throw new MachineError(
        `${show(from.origin + from.pathname)}: expected a redirect to an address of ${from.protocol === 'https:' ? 'https' : 'http'}, found ${location === null ? 'none' : show(location.replace(/[?#].*$/s, ''))}`,
      );
    return to;
  }

  private async send(target: URL, headers: Readonly<Record<string, string>>): Promise<Answer> {
    const abort = new AbortController();
    const { timeout, token } = this.settings;
    let timer: NodeJS.Timeout | undefined;
    let silent = false;
    const rest = () => clearTimeout(timer);
    const listen = () => {
      rest();
      timer = setTimeout(() => {
        silent = true;
        abort.abort();
      }, timeout * 1000);
    };
    const cut = (error: unknown) =>
      new Cut(
        silent ? `${target.host} sends nothing for ${timeout} s` : `${target.host}: ${reasonOf(error)}`,
      );
    let response: Response;
    listen();
    try {
      const ask = (this.transport.fetch ?? fetch) as typeof fetch;
      response = await ask(target.href, {
        headers: {
          'user-agent': 'dawntune',
          ...headers,
          ...(token && target.origin === this.origin ? { authorization: `Bearer ${token.reveal()}` } : {}),
        },
        redirect: 'manual',
        signal: abort.signal,
      });
    } catch (error) {
      throw cut(error);
    } finally {
      rest();
    }
    return {
      response,
      async *bytes() {
        const reader = response.body?.getReader();
        if (!reader) return;
        try {
          for (;;) {
            listen();
            let piece: Awaited<ReturnType<typeof reader.read>>;
            try {
              piece = await reader.read();
            } catch (error) {
              throw cut(error);
            } finally {
              rest();
            }
            if (piece.done) return;
            yield piece.value;
          }
        } finally {
          abort.abort();
        }
      },
      drop: () => abort.abort(),
    };
  }

  /**
   * `fetch` for `@huggingface/hub`: of one answer of the API, all of it, bounded, and known to be JSON.
   * @throws InputError when the hub refuses, HubUnreachable, MachineError.
   */
  readonly fetch: typeof fetch = async (input) => {
    const url = String(input);
    if (++this.answers > MOST_ANSWERS)
      throw new MachineError(`${this.endpoint}: a list of files of more than ${MOST_ANSWERS} pages`);
    const patience = new Patience({ ...this.transport, attempts: this.transport.attempts ?? 3 }, this.note);
    for (;;) {
      try {
        const answer = await this.once(url, { accept: 'application/json' });
        const { response } = answer;
        if (!response.ok) {
          answer.drop();
          throw this.refusal(response);
        }
        const parts: Uint8Array[] = [];
        let size = 0;
        for await (const part of answer.bytes()) {
          size += part.length;
          if (size > LARGEST_ANSWER)
            throw new MachineError(
              `${printable(url)}: expected an answer of at most ${LARGEST_ANSWER >> 20} MiB`,
            );
          parts.push(part);
        }
        const body = this.bytesWithoutToken(Buffer.concat(parts));
        try {
          parseJsonBytes(body, `the answer of ${this.endpoint}`);
        } catch (error) {
          throw new MachineError(
            `${(error as Error).message}; is ${this.settings.endpoint ? 'HF_ENDPOINT' : 'it'} a hub?`,
          );
        }
        const link = this.withoutToken(response.headers.get('link'));
        return new Response(body, { headers: link === null ? {} : { link } });
      } catch (error) {
        if (!(error instanceof Cut)) throw error;
        await patience.after(error, `${this.endpoint} (${this.repository.name})`, this.advice);
      }
    }
  };

  /** The error for an answer with a status of refusal; `file` is what was asked for, if not the list of files. */
  refusal(response: Response, file?: string): InputError | MachineError {
    const { status, headers } = response;
    const { name, revision } = this.repository;
    const { token } = this.settings;
    const code = headers.get('x-error-code');
    const told = this.withoutToken(headers.get('x-error-message'));
    const where = file === undefined ? name : `${name}: ${printable(file)}`;
    const said = told ? `; it says ${show(told)}` : '';
    const asked = token
      ? `it was asked with the token of ${printable(token.source)}`
      : 'it was asked without a token: give --token or set HF_TOKEN';
    const page = `${this.endpoint}/${name}`;
    if (code === 'GatedRepo' || (status === 403 && code !== 'RepoNotFound'))
      return new InputError(
        `${where}: the hub wants that its owner grants access (${status}); ask for it at ${page}; ${asked}${said}`,
      );
    if (code === 'RevisionNotFound')
      return new InputError(
        `${name}: the hub has no revision ${show(revision)} of it: see ${page}; give a branch, a tag or a commit by --revision`,
      );
    if (code === 'EntryNotFound')
      return new InputError(`${where}: the hub does not have this file at revision ${show(revision)}`);
    if (status === 401 || status === 404 || code === 'RepoNotFound')
      return new InputError(
        `${where}: no such folder here, and ${this.endpoint} has no such model or does not show it (${status}); ${asked}${said}`,
      );
    return new MachineError(
      `${where}: ${this.endpoint} answers ${status}, expected the ${file === undefined ? 'list of files' : 'file'}${said}`,
    );
  }

  /**
   * What a hub says comes into messages, and some echo what they were asked with. It is taken out where the text comes
   * in: a message may quote a part of it, which would be a part of the token.
   */
  private withoutToken<Text extends string | null>(text: Text): Text | string {
    const secret = this.secret;
    return secret !== undefined && text !== null ? text.replaceAll(secret, '(token)') : text;
  }

  /** What is shorter is no secret, and a part of many words. */
  private get secret(): string | undefined {
    const text = this.settings.token?.reveal();
    return text !== undefined && text.length >= SHORTEST_SECRET ? text : undefined;
  }

  private bytesWithoutToken(body: Buffer): Buffer {
    const secret = this.secret;
    if (secret === undefined || !body.includes(secret)) return body;
    return Buffer.from(this.withoutToken(body.toString('latin1')), 'latin1');
  }
}

/** Seconds from now, of a number of them or of a date; undefined for what is neither. */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  if (/^\d+$/.test(header.trim())) return Number(header);
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, (at - Date.now()) / 1000);
}

const reasons = new Map(
  Object.entries({
    ECONNREFUSED: 'connection refused',
    ECONNRESET: 'connection cut',
    UND_ERR_SOCKET: 'connection cut',
    ENOTFOUND: 'no such host, or no network',
    EAI_AGAIN: 'the name of the host cannot be looked up now',
    ENETUNREACH: 'no network',
    EHOSTUNREACH: 'no way to this host',
    ETIMEDOUT: 'no answer',
    UND_ERR_CONNECT_TIMEOUT: 'no answer',
  }),
);

/** Node says `fetch failed` or `terminated`, and why in a cause. */
function reasonOf(error: unknown): string {
  const causes: NodeJS.ErrnoException[] = [];
  for (let at = error; at instanceof Error && causes.length < 4; at = at.cause) causes.push(at);
  // Of several addresses of a host, each has its own error.
  const inner = (causes.at(-1) as unknown as AggregateError | undefined)?.errors?.[0];
  const last: NodeJS.ErrnoException | undefined = inner ?? causes.at(-1);
  const known = [last, ...causes].map((each) => reasons.get(each?.code ?? '')).find((words) => words);
  return known ?? printable(`${last?.code ? `${last.code}: ` : ''}${last?.message ?? String(error)}`);
}
