/** What a request is refused with: a status, one line, and the field that is at fault, in the two forms that clients know. */

/** Kinds of refusals, as OpenAI's clients and those of text-embeddings-inference are told of them. */
const KINDS = {
  invalid: { type: 'invalid_request_error', tei: 'Validation' },
  key: { type: 'invalid_request_error', tei: 'Unauthorized' },
  overloaded: { type: 'rate_limit_error', tei: 'Overloaded' },
  unavailable: { type: 'server_error', tei: 'Unhealthy' },
  failed: { type: 'server_error', tei: 'Backend' },
} as const;

export interface RefusalFacts {
  readonly kind?: keyof typeof KINDS;
  /** The field of the body that is at fault. */
  readonly param?: string | undefined;
  /** OpenAI's word for it. */
  readonly code?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

export class Refusal extends Error {
  override name = 'Refusal';
  readonly kind: keyof typeof KINDS;
  readonly param: string | undefined;
  readonly code: string | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    readonly status: number,
    message: string,
    { kind = 'invalid', param, code, headers = {} }: RefusalFacts = {},
  ) {
    super(message);
    this.kind = kind;
    this.param = param;
    this.code = code;
    this.headers = headers;
  }

  /** The body: OpenAI's error object below `/v1`, that of text-embeddings-inference elsewhere. */
  body(path: string): string {
    const { message, param = null, code = null } = this;
    const { type, tei } = KINDS[this.kind];
    return path.startsWith('/v1')
      ? JSON.stringify({ error: { message, type, param, code } })
      : JSON.stringify({ error: message, error_type: tei });
  }
}

export const busy = (message: string, seconds: number): Refusal =>
  new Refusal(429, message, {
    ...{ kind: 'overloaded', code: 'rate_limit_exceeded' },
    headers: { 'retry-after': String(seconds) },
  });

export const unavailable = (message: string, seconds?: number): Refusal =>
  new Refusal(503, message, {
    kind: 'unavailable',
    headers: seconds === undefined ? {} : { 'retry-after': String(seconds) },
  });
