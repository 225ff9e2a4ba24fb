/** How texts are put to a model: prompt, case and length, as the model's folder says or as one is told. */
import { InputError } from '../errors.js';
import type { M3Model } from '../models/m3.js';
import { show } from '../show.js';
import { requireText, type Tokenizer } from '../tokenizer/tokenizer.js';

/** What a text is: queries and passages have prompts of their own, any other text the default one. */
export type TextRole = (typeof ROLES)[number];
const ROLES = ['query', 'document', 'text'] as const;

/** Instructions and lengths of texts. */
export interface TextOptions {
  /** Most tokens of a text, special ones included; default: what the model's folder says, else its tokenizer. */
  maxLength?: number | undefined;
  /** Put before each text; default: the prompt that the model's folder has for it, if any. */
  prompt?: string | undefined;
  /** How a text is put in place of a prompt before it, e.g. by a format with an instruction (data/prompts.ts). */
  join?: ((text: string) => string) | undefined;
}

/**
 * The ids of texts: never more than the model has positions.
 * @throws InputError when the folder leaves prompts out of the pooling and there is one, or the length has no room.
 */
export function textIds(
  model: M3Model,
  tokenizer: Tokenizer,
  role: TextRole,
  options: TextOptions,
): (text: string) => Uint32Array {
  const { put, maxLength, lowerCase } = textReading(model, tokenizer, role, options);
  const cased = lowerCase ? tokenizer.lowerCased() : tokenizer;
  return (text) => cased.encode(put(text), maxLength);
}

/** What is done to each text. */
export interface TextReading {
  /** The text as it is tokenized. @throws InputError for what is no text: together with a prompt anything would become one. */
  put(text: string): string;
  readonly maxLength: number;
  readonly lowerCase: boolean;
}

/** @throws InputError as `textIds`. */
export function textReading(
  { texts, config }: M3Model,
  tokenizer: Tokenizer,
  role: TextRole,
  options: TextOptions,
): TextReading {
  if (!ROLES.includes(role))
    throw new InputError(`role: expected one of ${ROLES.join(', ')}, found ${show(role)}`);
  if (options.prompt !== undefined) requireText(options.prompt);
  tokenizer.requireRows(config.vocabSize);
  const name = role === 'text' ? texts.defaultPrompt : role;
  const prompt = options.prompt ?? (name === undefined ? '' : (texts.prompts.get(name) ?? ''));
  if ((prompt !== '' || options.join) && !texts.poolPrompt)
    throw new InputError(
      'prompt: expected none, as this model leaves its tokens out of the pooling (include_prompt is false), which is not done here',
    );
  const length = options.maxLength ?? texts.maxLength ?? tokenizer.modelMaxLength;
  const put = (text: string): string => {
    requireText(text);
    return options.join ? options.join(text) : prompt + text;
  };
  return { put, maxLength: Math.min(length, config.maxTokens), lowerCase: texts.lowerCase };
}
