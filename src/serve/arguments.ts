/** The flags of `dawntune serve`. */
import { InputError } from '../errors.js';
import {
  boolean,
  byteSize,
  choice,
  decimal,
  type FlagValues,
  group,
  integer,
  LARGEST_COUNT,
  listOf,
  optional,
  type ParsedCommand,
  parseFlags,
  text,
  type ValueType,
  withDefault,
} from '../flags.js';
import { AccessToken } from '../hub/settings.js';
import { startFlags } from '../ranks/arguments.js';
import { embedderAliases, embedderFlags, foreignEmbedderFlags } from '../retrieval/embedder/arguments.js';
import { hybridWeights } from '../retrieval/hybrid-weights.js';
import { ENSEMBLE_WEIGHTS } from '../retrieval/score/teacher.js';

/** Where the key is taken from when no flag gives it: the words of a command are shown to every user of a machine. */
export const API_KEY_VARIABLE = 'DAWNTUNE_API_KEY';

const apiKey: ValueType<AccessToken> = {
  ...{ expects: 'a key of visible ASCII characters', placeholder: 'KEY', many: false, secret: true },
  parse: ([word]) => (/^[\x21-\x7e]+$/.test(word!) ? new AccessToken(word!, '--api_key') : undefined),
};

const seconds = (least: number) =>
  decimal(`a number of seconds from ${least} to 86400`, (value: number) => value >= least && value <= 86_400);
const count = integer(1, LARGEST_COUNT);

/** One process computes on one device, so those of ranks are left out. */
const modelFlags = Object.fromEntries(
  Object.entries(embedderFlags).filter(([name]) => !Object.hasOwn(startFlags, name)),
) as Omit<typeof embedderFlags, keyof typeof startFlags>;

export const serveFlags = {
  ...group('Server', {
    host: withDefault(text('an address or a name of this machine'), '127.0.0.1', 'where it listens'),
    port: withDefault(integer(0, 65_535), 8080, 'the TCP port; 0 picks a free one, which is printed'),
    api_key: optional(
      apiKey,
      `what clients must send as "Authorization: Bearer KEY"; by default what ${API_KEY_VARIABLE} holds, and if that is not set nothing is asked for`,
    ),
    served_model_name: optional(
      listOf(text('a name'), 'names'),
      'what the model is called in /v1, the first name and others for it; by default the name of its folder',
    ),
  }),
  ...group('Texts', {
    role: withDefault(
      choice(['query', 'passage', 'text']),
      'passage',
      'whose instruction or prompt goes before texts of requests without a prompt_name, and whose length counts; text: the folder’s default prompt',
    ),
    max_length: optional(integer(2, LARGEST_COUNT), 'longest text, in tokens; by default that of the role'),
    auto_truncate: withDefault(
      boolean,
      false,
      'cut texts that are too long, as encode does; else they are refused unless a request has truncate',
    ),
    matryoshka_dimensions: optional(
      listOf(count, 'widths with spaces between them'),
      'widths that the model was trained to be cut to; dimensions of requests are refused if they are none of these',
    ),
    weights: withDefault(
      hybridWeights,
      ENSEMBLE_WEIGHTS,
      'weights of dense, sparse and ColBERT scores in /rerank; scores are divided by their sum',
    ),
  }),
  ...group('Limits', {
    batch_wait: withDefault(
      decimal('a number of milliseconds from 0 to 10000', (value) => value >= 0 && value <= 10_000),
      2,
      'milliseconds that a text waits for others to share its batch with',
    ),
    max_body_bytes: withDefault(byteSize('MB', 100), 8_000_000, 'largest body of a request'),
    max_texts: withDefault(count, 2048, 'most texts of a request'),
    queue_tokens: withDefault(
      count,
      262_144,
      'tokens of all requests that are at hand; beyond them 429 is answered',
    ),
    request_timeout: withDefault(
      seconds(0.1),
      60,
      'seconds after which a request is answered with 503, and an answer that is not fetched is given up',
    ),
    header_timeout: withDefault(seconds(0.1), 10, 'seconds that the head of a request may take to come'),
    body_timeout: withDefault(seconds(0.1), 60, 'seconds that a whole request may take to come'),
    max_connections: withDefault(integer(1, 65_535), 1024, 'most connections at once'),
  }),
  ...modelFlags,
  ...group('Model', {
    batch_tokens: optional(
      count,
      'tokens in a batch; there is no padding; by default 8192, on a software adapter 1024, where nothing else is answered meanwhile',
    ),
  }),
};

export type ServeArguments = Omit<FlagValues<typeof serveFlags>, 'maxLength' | 'modelNameOrPath'> & {
  readonly modelNameOrPath: string;
  readonly maxLength: number | null;
};

/** @throws InputError, one line that names the flag. */
export function parseServeArguments(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): ParsedCommand<ServeArguments> {
  const { values, notices, positionals, given } = parseFlags(serveFlags, argv, {
    positionals: true,
    aliases: embedderAliases,
    foreign: foreignEmbedderFlags,
  });
  const [folder, ...more] = positionals;
  if (more.length > 0) throw new InputError(`expected one model, found ${JSON.stringify(more[0])} too`);
  if (folder !== undefined && values.modelNameOrPath !== null)
    throw new InputError(
      '--model_name_or_path: expected the model once, found it as a word without a flag too',
    );
  const modelNameOrPath = folder ?? values.modelNameOrPath;
  if (modelNameOrPath === null)
    throw new InputError('--model_name_or_path: expected a folder or a hub id, found nothing');
  const key = env[API_KEY_VARIABLE];
  if (values.apiKey === null && key !== undefined) {
    if (key === '')
      throw new InputError(
        `${API_KEY_VARIABLE}: expected a key, found an empty one; unset it to ask for none`,
      );
    if (apiKey.parse([key]) === undefined)
      throw new InputError(`${API_KEY_VARIABLE}: expected ${apiKey.expects}, found something else`);
    values.apiKey = new AccessToken(key, API_KEY_VARIABLE);
  }
  if (values.batchTokens !== null && values.queueTokens < values.batchTokens)
    throw new InputError(
      `--queue_tokens: expected at least the ${values.batchTokens} of --batch_tokens, found ${values.queueTokens}`,
    );
  if (values.maxLength !== null)
    for (const side of ['query', 'passage'])
      if (given.has(`${side}_max_length`))
        notices.push(
          `--${side}_max_length is for texts with the prompt_name ${side} and for /rerank beside --max_length`,
        );
  return { args: { ...values, modelNameOrPath }, notices };
}
