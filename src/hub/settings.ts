/**
 * Where the hub is, where its cache lies on this machine, and who asks: read from flags and from the environment
 * variables of Python's huggingface_hub, with its order of precedence. Nothing is asked of the network here.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { InputError } from '../errors.js';
import { homeFolder, requireHome } from '../files/home.js';
import { systemReason } from '../files/reason.js';
import { customInspect, printable, show } from '../show.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * A token of the hub. The text is had by `reveal` alone: written as JSON, as text or by `console.log` (a log of a
 * run's settings, a checkpoint), a token is no more than a word that it was given.
 */
export class AccessToken {
  readonly #text: string;

  /** `source`: where it comes from, for messages. */
  constructor(
    text: string,
    /** Where it comes from: a flag, a variable of the environment or a file, for messages. */
    readonly source: string,
  ) {
    this.#text = text;
  }

  /** For the one place that puts it into a request. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return `(given by ${this.source})`;
  }

  toJSON(): string {
    return this.toString();
  }

  [customInspect](): string {
    return this.toString();
  }
}

/** What a program may give; the environment has the rest. */
export interface HubOptions {
  /** The folder of the cache; goes before HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE and HF_HOME. */
  readonly cacheDir?: string | null;
  /** Goes before HF_TOKEN, HUGGING_FACE_HUB_TOKEN and the token file. */
  readonly token?: AccessToken | string | null;
  readonly env?: Environment;
}

export interface HubSettings {
  /** The folder that holds `models--org--name`. */
  readonly cache: string;
  /** HF_ENDPOINT without a slash at its end; undefined: the hub itself. */
  readonly endpoint: string | undefined;
  /** HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE: the name of the one that says so. */
  readonly offline: string | undefined;
  readonly token: AccessToken | undefined;
  /** Seconds without a byte after which a connection counts as cut. */
  readonly timeout: number;
  /** Whether the environment names a proxy, which Node's fetch does not use. */
  readonly proxy: string | undefined;
}

/** huggingface_hub's, for HF_HUB_DOWNLOAD_TIMEOUT. */
const DEFAULT_TIMEOUT = 10;

/** @throws InputError for a cache that has no place, an endpoint that is no URL, a token that no request can carry, a token file that cannot be read. */
export function hubSettings({ cacheDir, token, env = process.env }: HubOptions = {}): HubSettings {
  const given = (name: string) => (env[name] === '' ? undefined : env[name]);
  const user = homeFolder();
  const caches = given('XDG_CACHE_HOME') ?? (user === undefined ? undefined : path.join(user, '.cache'));
  const place = given('HF_HOME') ?? (caches && path.join(expanded(caches, env), 'huggingface'));
  /** Undefined where the user has no home folder and the environment names no other place. */
  const home = place === undefined ? undefined : expanded(place, env);
  const cache =
    cacheDir ||
    expanded(
      given('HF_HUB_CACHE') ??
        given('HUGGINGFACE_HUB_CACHE') ??
        path.join(home ?? requireHome('--cache_dir or HF_HOME'), 'hub'),
      env,
    );
  return {
    cache: path.resolve(cache),
    endpoint: endpointOf(given('HF_ENDPOINT')),
    // huggingface_hub looks at the second where the first is not set.
    offline: ['HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE']
      .filter((name) => given(name) !== undefined)
      .slice(0, 1)
      .find((name) => isTrue(env[name])),
    token: tokenOf(token, home, env),
    timeout: timeoutOf(given('HF_HUB_DOWNLOAD_TIMEOUT')),
    proxy: ['HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'all_proxy', 'HTTP_PROXY', 'http_proxy'].find(given),
  };
}

/** As Python reads such variables. */
const isTrue = (value: string | undefined) =>
  ['1', 'ON', 'YES', 'TRUE'].includes((value ?? '').toUpperCase());

/** `~` at the start and `$NAME` anywhere, as huggingface_hub expands them; unknown names stay as they are. */
function expanded(value: string, env: Environment): string {
  return value
    .replace(/^~(?=$|[/\\])/, (tilde) => homeFolder() ?? tilde)
    .replace(/\$(?:(\w+)|\{([^}]*)\})/g, (whole, plain, braced) => env[plain ?? braced] ?? whole);
}

function endpointOf(given: string | undefined): string | undefined {
  if (given === undefined) return undefined;
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash)
    throw new InputError(
      `HF_ENDPOINT: expected the address of a hub, http or https, with no password or query in it, found ${show(given)}`,
    );
  return url.href.replace(/\/+$/, '');
}

function timeoutOf(given: string | undefined): number {
  if (given === undefined) return DEFAULT_TIMEOUT;
  const seconds = Number(given);
  if (!(seconds > 0 && seconds <= 86400))
    throw new InputError(
      `HF_HUB_DOWNLOAD_TIMEOUT: expected seconds, above 0 and at most 86400, found ${show(given)}`,
    );
  return seconds;
}

function tokenOf(
  given: HubOptions['token'],
  home: string | undefined,
  env: Environment,
): AccessToken | undefined {
  if (given) return checked(given instanceof AccessToken ? given : new AccessToken(given, '--token'));
  if (isTrue(env['HF_HUB_DISABLE_IMPLICIT_TOKEN'])) return undefined;
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN']) {
    const text = env[name]?.trim();
    if (text) return checked(new AccessToken(text, name));
  }
  const named = env['HF_TOKEN_PATH'] || (home && path.join(home, 'token'));
  const file = named && expanded(named, env);
  if (!file || !existsSync(file)) return undefined;
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new InputError(`${printable(file)}: the token of the hub cannot be read: ${systemReason(error)}`);
  }
  return text ? checked(new AccessToken(text, `the file ${file}`)) : undefined;
}

function checked(token: AccessToken): AccessToken {
  if (!/^[\x21-\x7e]+$/.test(token.reveal()))
    throw new InputError(
      `${printable(token.source)}: expected an access token, found characters that no token has (a space, a line end, …)`,
    );
  return token;
}
