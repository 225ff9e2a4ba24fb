/**
 * The files by which sentence-transformers knows how texts become vectors: modules.json, the pooling's config.json,
 * sentence_bert_config.json and config_sentence_transformers.json, read and written. What they mean is what
 * sentence-transformers 5.7 makes of them (test/golden/sentence-transformers). Only files here: what follows from them
 * for a model is decided in m3-folder.ts, for texts in retrieval/.
 */
import path from 'node:path';
import { InputError } from '../errors.js';
import { requireInside } from '../files/inside.js';
import { asJsonObject, isJsonObject, type JsonObject, readJson } from '../files/json.js';
import { PositionedFile } from '../files/positioned.js';
import { printable, show } from '../show.js';
import { encoderFolder, MODULES_FILE } from '../tokenizer/folder.js';
import type { Pooling } from './token-batch.js';

const POOLING_FILE = '1_Pooling/config.json';
const LENGTH_FILE = 'sentence_bert_config.json';
const PROMPTS_FILE = 'config_sentence_transformers.json';

/** All that `sentenceFiles` writes. */
export const SENTENCE_FILES: readonly string[] = [MODULES_FILE, POOLING_FILE, LENGTH_FILE, PROMPTS_FILE];

/** How texts are put to a model. */
export interface TextSettings {
  /** Most tokens of a text, special ones included; undefined: what the tokenizer says, else the model's positions. */
  readonly maxLength: number | undefined;
  /** Texts are lower-cased before the tokenizer's own normaliser sees them. */
  readonly lowerCase: boolean;
  /** Texts to put before a text, by name: `query` before queries, `document` before passages. */
  readonly prompts: ReadonlyMap<string, string>;
  /** Which of them goes before a text of which nothing else is known. */
  readonly defaultPrompt: string | undefined;
  /** Whether the tokens of a prompt take part in the pooling. */
  readonly poolPrompt: boolean;
}

export const PLAIN_TEXTS: TextSettings = {
  maxLength: undefined,
  lowerCase: false,
  prompts: new Map(),
  defaultPrompt: undefined,
  poolPrompt: true,
};

export interface SentenceFolder {
  /** Undefined where `vectorProblems` says why. */
  readonly pooling: Pooling | undefined;
  readonly normalize: boolean | undefined;
  /** How vectors are to be compared (`cosine`, `dot`, `euclidean`, `manhattan`), where the folder says it. */
  readonly similarity: string | undefined;
  readonly texts: TextSettings;
  /** What this folder does to vectors that is not done here, a line each that names file and place. */
  readonly vectorProblems: readonly string[];
  /** The same for texts. */
  readonly textProblems: readonly string[];
}

/** Pooling's names in the order in which sentence-transformers joins the vectors, with the keys of older versions. */
const POOLING_MODES: readonly (readonly [key: string, mode: string, pooling?: Pooling])[] = [
  ['pooling_mode_cls_token', 'cls', 'cls'],
  ['pooling_mode_max_tokens', 'max'],
  ['pooling_mode_mean_tokens', 'mean', 'mean'],
  ['pooling_mode_mean_sqrt_len_tokens', 'mean_sqrt_len_tokens'],
  ['pooling_mode_weightedmean_tokens', 'weightedmean'],
  ['pooling_mode_lasttoken', 'lasttoken', 'last_token'],
];
const poolingOf = new Map(POOLING_MODES.flatMap(([, mode, pooling]) => (pooling ? [[mode, pooling]] : [])));

/** The file has had the name of the model's class. */
const LENGTH_FILES = [
  LENGTH_FILE,
  ...['roberta', 'distilbert', 'camembert', 'albert', 'xlm-roberta', 'xlnet'].map(
    (model) => `sentence_${model}_config.json`,
  ),
];

/** The class that a module's `type` names: with its package, and since version 5 with its file. */
const MODULE_CLASS = /^sentence_transformers\.(?:\w+\.)*(\w+)$/;

/** Undefined where there is no modules.json: nothing says then how vectors are made. Files that are no JSON are problems too. */
export function readSentenceFolder(folder: string): SentenceFolder | undefined {
  if (!PositionedFile.exists(path.join(folder, MODULES_FILE))) return undefined;
  const reader = new Reader(folder);
  const modules = reader.modules();
  const texts = reader.texts();
  const { similarity, vectorProblems, textProblems } = reader;
  return { ...modules, similarity, texts, vectorProblems, textProblems };
}

class Reader {
  readonly vectorProblems: string[] = [];
  readonly textProblems: string[] = [];
  similarity: string | undefined;
  private poolPrompt = true;

  constructor(private readonly folder: string) {}

  modules(): { pooling: Pooling | undefined; normalize: boolean | undefined } {
    const none = { pooling: undefined, normalize: undefined };
    const problem = (place: string, expected: string, found: unknown) =>
      this.vectorProblems.push(this.line(MODULES_FILE, place, expected, found));
    const list = this.read(MODULES_FILE, this.vectorProblems);
    if (list === undefined) return none;
    if (!Array.isArray(list)) {
      problem('', 'a list of modules', list);
      return none;
    }
    const classes = list.map((entry: unknown) => {
      const type = isJsonObject(entry) ? entry['type'] : undefined;
      return typeof type === 'string' ? MODULE_CLASS.exec(type)?.[1] : undefined;
    });
    const expected = ['Transformer', 'Pooling'];
    const wrong = Math.max(list.length, expected.length);
    for (let i = 0; i < wrong; i++) {
      if (classes[i] === (expected[i] ?? 'Normalize')) continue;
      const entry: unknown = list[i];
      problem(
        `${i}.type`,
        `${expected[i] ?? 'Normalize'} (Transformer, Pooling and Normalize in this order are what is computed here)`,
        isJsonObject(entry) ? entry['type'] : entry,
      );
      return none;
    }
    return { pooling: this.pooling(list[1] as JsonObject), normalize: list.length > 2 };
  }

  texts(): TextSettings {
    const settings = { ...this.length(), ...this.prompts() };
    return { ...settings, poolPrompt: this.poolPrompt };
  }

  private pooling(module: JsonObject): Pooling | undefined {
    const inner = module['path'];
    const problem = (file: string, place: string, expected: string, found: unknown) => {
      this.vectorProblems.push(this.line(file, place, expected, found));
      return undefined;
    };
    if (typeof inner !== 'string' || !isInnerPath(inner))
      return problem(MODULES_FILE, '1.path', 'the name of a folder', inner);
    const file = path.posix.join(inner, 'config.json');
    const config = this.object(file, this.vectorProblems);
    if (config === undefined) return undefined;
    const legacy = new Set(POOLING_MODES.map(([key]) => key));
    for (const key of Object.keys(config))
      if (
        !legacy.has(key) &&
        !['embedding_dimension', 'word_embedding_dimension', 'pooling_mode', 'include_prompt'].includes(key)
      )
        return problem(file, key, 'no such key, as nothing is known of it', config[key]);
    const given = config['pooling_mode'];
    const active = POOLING_MODES.filter(([key]) => Boolean(config[key])).map(([, mode]) => mode);
    const old = active.length > 0 ? active : ['mean'];
    const modes: unknown[] = given === undefined ? old : Array.isArray(given) ? given : [given];
    const pooling = modes.length === 1 ? poolingOf.get(modes[0] as string) : undefined;
    if (pooling === undefined)
      return problem(
        file,
        'pooling_mode',
        `one of ${[...poolingOf.keys()].join(', ')}`,
        modes.every((mode) => typeof mode === 'string') ? modes.join(' + ') : given,
      );
    const { include_prompt: include = true } = config;
    if (typeof include !== 'boolean') return problem(file, 'include_prompt', 'true or false', include);
    this.poolPrompt = include;
    return pooling;
  }

  private length(): Pick<TextSettings, 'maxLength' | 'lowerCase'> {
    const inner = path.relative(this.folder, encoderFolder(this.folder));
    const files = LENGTH_FILES.map((name) => path.join(inner, name));
    const file = files.find((name) => PositionedFile.exists(path.join(this.folder, name)));
    const config = file === undefined ? undefined : this.object(file, this.textProblems);
    const settings: { maxLength: number | undefined; lowerCase: boolean } = {
      maxLength: undefined,
      lowerCase: false,
    };
    const problem = (key: string, expected: string, found: unknown = config?.[key]) =>
      this.textProblems.push(this.line(file!, key, expected, found));
    const length = (key: string, value: unknown) => {
      if (value === null || value === undefined) return;
      if (Number.isSafeInteger(value) && (value as number) > 0) settings.maxLength = value as number;
      else problem(key, 'a number of tokens or null', value);
    };
    const empty = (value: unknown) =>
      value === null || (isJsonObject(value) && Object.keys(value).length === 0);
    for (const [key, value] of Object.entries(config ?? {})) {
      if (key === 'max_seq_length') length(key, value);
      else if (key === 'do_lower_case') {
        if (typeof value === 'boolean') settings.lowerCase = value;
        else problem(key, 'true or false');
      } else if (key === 'transformer_task') {
        if (value !== 'feature-extraction') problem(key, '"feature-extraction"');
      } else if (key === 'modality_config') {
        if (!isPlainModality(value)) problem(key, 'texts and their last hidden states alone');
      } else if (key === 'module_output_name') {
        if (value !== 'token_embeddings') problem(key, '"token_embeddings"');
      } else if (key === 'unpad_inputs') {
        // How texts are laid out in memory.
      } else if (/^(?:model|config)_(?:args|kwargs)$/.test(key)) {
        const other = isJsonObject(value)
          ? Object.keys(value).find((name) => !HARMLESS.has(name))
          : value === null
            ? undefined
            : '';
        if (other !== undefined)
          problem(`${key}${other && `.${other}`}`, 'none, as nothing is known of it', value);
      } else if (/^(?:tokenizer_args|processor_kwargs)$/.test(key) && isJsonObject(value)) {
        for (const [name, inner] of Object.entries(value))
          if (name !== 'model_max_length' && !HARMLESS.has(name))
            problem(`${key}.${name}`, 'none, as nothing is known of it', inner);
      } else if (!empty(value)) problem(key, 'none, as nothing is known of it');
    }
    // Goes before max_seq_length.
    for (const key of ['tokenizer_args', 'processor_kwargs'])
      if (isJsonObject(config?.[key]) && Object.hasOwn(config[key], 'model_max_length'))
        length(`${key}.model_max_length`, config[key]['model_max_length']);
    return settings;
  }

  private prompts(): Pick<TextSettings, 'prompts' | 'defaultPrompt'> {
    const prompts = new Map<string, string>();
    const none = { prompts, defaultPrompt: undefined };
    if (!PositionedFile.exists(path.join(this.folder, PROMPTS_FILE))) return none;
    const config = this.object(PROMPTS_FILE, this.textProblems);
    if (config === undefined) return none;
    const problem = (key: string, expected: string, found: unknown = config[key]) =>
      this.textProblems.push(this.line(PROMPTS_FILE, key, expected, found));
    const { model_type: type = 'SentenceTransformer' } = config;
    if (type !== 'SentenceTransformer')
      this.vectorProblems.push(
        this.line(PROMPTS_FILE, 'model_type', '"SentenceTransformer", a model of dense vectors', type),
      );
    const truncated = config['truncate_dim'] ?? null;
    if (truncated !== null)
      this.vectorProblems.push(
        this.line(PROMPTS_FILE, 'truncate_dim', 'null, as vectors are not cut', truncated),
      );
    const { similarity_fn_name: similarity = null } = config;
    if (typeof similarity === 'string') this.similarity = similarity;
    else if (similarity !== null) problem('similarity_fn_name', 'a name or null');
    const { prompts: given = {}, default_prompt_name: name = null } = config;
    if (!isJsonObject(given)) problem('prompts', 'texts by name');
    else
      for (const [key, text] of Object.entries(given)) {
        if (typeof text === 'string') prompts.set(key, text);
        else if (text !== null) problem(`prompts.${key}`, 'a text or null', text);
      }
    if (name === null) return none;
    if (typeof name === 'string' && isJsonObject(given) && Object.hasOwn(given, name))
      return { prompts, defaultPrompt: prompts.has(name) ? name : undefined };
    problem('default_prompt_name', 'null or the name of one of the prompts');
    return none;
  }

  private line(file: string, place: string, expected: string, found: unknown): string {
    const where = printable(path.join(this.folder, file));
    // Keys of a file may be anything.
    const key = place === '' || /^[\w.]{1,80}$/.test(place) ? place : show(place);
    return `${where}: ${key === '' ? '' : `${key}: `}expected ${expected}, found ${show(found)}`;
  }

  private object(file: string, problems: string[]): JsonObject | undefined {
    const value = this.read(file, problems);
    if (value === undefined) return undefined;
    try {
      return asJsonObject(value, path.join(this.folder, file));
    } catch (error) {
      return note(error, problems);
    }
  }

  private read(file: string, problems: string[]): unknown {
    const full = path.join(this.folder, file);
    try {
      requireInside(this.folder, full);
      return readJson(full);
    } catch (error) {
      return note(error, problems);
    }
  }
}

function note(error: unknown, problems: string[]): undefined {
  if (!(error instanceof InputError)) throw error;
  problems.push(error.message);
  return undefined;
}

/** Arguments that say how to compute, not what. */
const HARMLESS = new Set([
  'add_pooling_layer',
  'attn_implementation',
  'dtype',
  'low_cpu_mem_usage',
  'torch_dtype',
  'trust_remote_code',
  'use_safetensors',
]);

function isPlainModality(value: unknown): boolean {
  if (!isJsonObject(value) || Object.keys(value).join() !== 'text' || !isJsonObject(value['text']))
    return false;
  const { method, method_output_name: output } = value['text'];
  return method === 'forward' && output === 'last_hidden_state';
}

function isInnerPath(inner: string): boolean {
  return /^[\w.\- /]{1,100}$/.test(inner) && !inner.startsWith('/') && !inner.split('/').includes('..');
}

// ---- writing -------------------------------------------------------------------------------------------------

export interface WrittenSettings {
  readonly pooling: Pooling;
  readonly normalize: boolean;
  readonly hiddenSize: number;
  /** Tokens. */
  readonly maxLength: number;
  readonly texts: TextSettings;
}

/**
 * The files by name. They use the names of sentence-transformers 2, which all later versions read; of the pooling's
 * keys only those that version 2.0 knew, where they suffice, as it refuses others.
 */
export function sentenceFiles(settings: WrittenSettings): Map<string, string> {
  const { pooling, normalize, hiddenSize, maxLength, texts } = settings;
  const module = (idx: number, name: string, folder: string) => ({
    idx,
    name: String(idx),
    path: folder,
    type: `sentence_transformers.models.${name}`,
  });
  const poolingKeys = POOLING_MODES.filter(
    ([key, , ours]) => ours === pooling || !/weightedmean|lasttoken/.test(key),
  ).map(([key, , ours]) => [key, ours === pooling]);
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  return new Map([
    [
      MODULES_FILE,
      json([
        module(0, 'Transformer', ''),
        module(1, 'Pooling', path.posix.dirname(POOLING_FILE)),
        ...(normalize ? [module(2, 'Normalize', '2_Normalize')] : []),
      ]),
    ],
    [
      POOLING_FILE,
      json({
        word_embedding_dimension: hiddenSize,
        ...Object.fromEntries(poolingKeys),
        ...(texts.poolPrompt ? {} : { include_prompt: false }),
      }),
    ],
    [LENGTH_FILE, json({ max_seq_length: maxLength, do_lower_case: texts.lowerCase })],
    [
      PROMPTS_FILE,
      json({
        model_type: 'SentenceTransformer',
        prompts: Object.fromEntries(texts.prompts),
        default_prompt_name: texts.defaultPrompt ?? null,
        similarity_fn_name: normalize ? 'cosine' : 'dot',
      }),
    ],
  ]);
}
