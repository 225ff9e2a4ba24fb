/** The flags of `dawntune encode`. */
import path from 'node:path';
import { InputError } from '../../errors.js';
import {
  boolean,
  choice,
  type FlagValues,
  group,
  integer,
  LARGEST_COUNT,
  optional,
  type ParsedCommand,
  parseFlags,
  required,
  text,
  type ValueType,
  withDefault,
} from '../../flags.js';
import { checkStartArguments } from '../../ranks/arguments.js';
import { printable } from '../../show.js';
import { embedderAliases, embedderFlags, foreignEmbedderFlags } from '../embedder/arguments.js';
import { vectorDTypes } from '../vectors/files.js';
import { type Representation, representations } from './encoded.js';

/** Words with commas between them, each one that `accepts` likes. */
function commas<T extends string>(
  expects: string,
  placeholder: string,
  accepts: (word: string) => word is T,
  choices?: readonly T[],
): ValueType<T[]> {
  return {
    ...(choices && { choices }),
    ...{ expects: `${expects}, with commas between them`, placeholder, many: false, separator: ',' },
    parse([list]) {
      const words = list!.split(',').map((word) => word.trim());
      return words.every(accepts) && new Set(words).size === words.length ? words : undefined;
    },
  };
}

const fieldNames = commas('names of fields', 'NAME,…', (word): word is string => word !== '');
const representationNames = commas(
  `some of ${representations.join(', ')}`,
  representations.join(','),
  (word): word is Representation => representations.some((name) => name === word),
  representations,
);

export const outputFormats = ['jsonl', 'npy', 'safetensors'] as const;
export type OutputFormat = (typeof outputFormats)[number];
export const inputFormats = ['auto', 'lines', 'jsonl'] as const;

export const encodeFlags = {
  ...group('Texts', {
    input_format: withDefault(
      choice(inputFormats),
      'auto',
      'a text a line, or JSON objects; auto: JSON in files named .json or .jsonl, and where standard input begins with {',
    ),
    field: withDefault(
      fieldNames,
      ['text'],
      'fields of JSON objects that hold the text: the last must be there, those before it (a title) go before it with a space',
    ),
    id_field: optional(
      text('a name'),
      'field of JSON objects that names a text in the output; by default id or _id where there is one',
    ),
    role: withDefault(
      choice(['query', 'passage', 'text']),
      'passage',
      'whose instruction or prompt goes before the texts, and whose length counts; text: the folder’s default prompt',
    ),
    max_length: optional(integer(2, LARGEST_COUNT), 'longest text, in tokens; by default that of the role'),
  }),
  ...group('Vectors', {
    representations: withDefault(
      representationNames,
      ['dense'],
      'what is computed; the output has nothing else',
    ),
    output: required(
      text('a path, or - for standard output'),
      'where the vectors go; with several arrays .npy files get a name each',
    ),
    format: optional(
      choice(outputFormats),
      'by default as the name of the output ends, jsonl on standard output',
    ),
    dtype: withDefault(choice(vectorDTypes), 'f32', 'numbers in .npy and safetensors files'),
    resume: withDefault(boolean, false, 'go on where an earlier run with the same words was interrupted'),
  }),
  ...embedderFlags,
};

export type EncodeArguments = Omit<FlagValues<typeof encodeFlags>, 'format' | 'maxLength'> & {
  /** `-`: standard input. */
  readonly inputs: readonly string[];
  readonly format: OutputFormat;
  /** Null: the usual length of the model. */
  readonly maxLength: number | null;
};

/** @throws InputError, one line that names the flag. */
export function parseEncodeArguments(
  argv: readonly string[],
  ranks?: number,
): ParsedCommand<EncodeArguments> {
  const { values, notices, positionals, given } = parseFlags(encodeFlags, argv, {
    positionals: true,
    aliases: embedderAliases,
    foreign: foreignEmbedderFlags,
  });
  const inputs = positionals.length > 0 ? positionals : ['-'];
  if (inputs.filter((name) => name === '-').length > 1)
    throw new InputError('expected standard input (-) once among the files, found it more than once');
  if (values.modelNameOrPath === null)
    throw new InputError('--model_name_or_path: expected a folder or a hub id, found nothing');
  const format = formatOf(values.output, values.format);
  if (values.output === '-' && values.resume)
    throw new InputError('--resume: expected an --output that is a file, found standard output');
  const { role } = values;
  const maxLength = values.maxLength ?? (role === 'query' ? values.queryMaxLength : values.passageMaxLength);
  const idle = (name: string, where: string) => {
    if (given.has(name)) notices.push(`--${name} has no effect ${where}`);
  };
  for (const side of ['query', 'passage'] as const) {
    if (side !== role)
      for (const name of ['instruction_for_retrieval', 'instruction_format'] as const)
        idle(`${side}_${name}`, `with --role ${role}`);
    if (side !== role && !(role === 'text' && side === 'passage'))
      idle(`${side}_max_length`, `with --role ${role}`);
    else if (values.maxLength !== null) idle(`${side}_max_length`, 'beside --max_length');
  }
  if (role !== 'text' && values[`${role}InstructionForRetrieval`] === null)
    idle(`${role}_instruction_format`, `without --${role}_instruction_for_retrieval`);
  const json =
    values.inputFormat === 'jsonl' || inputs.some((name) => name === '-' || /\.jsonl?$/i.test(name));
  if (values.inputFormat === 'lines' || !json)
    for (const name of ['field', 'id_field']) idle(name, 'on lines, which are the texts');
  for (const name of inputs)
    if (values.inputFormat === 'auto' && /\.[ct]sv$/i.test(name))
      notices.push(
        `${printable(name)}: each line is encoded as one text, its columns and its head too (--input_format lines says that this is meant)`,
      );
  if (format === 'jsonl') idle('dtype', 'on JSON, whose numbers are those of f32');
  notices.push(...checkStartArguments(values, ranks ?? values.nprocPerNode));
  return { args: { ...values, inputs, format, maxLength }, notices };
}

function formatOf(output: string, asked: OutputFormat | null): OutputFormat {
  const ending = path.extname(output).slice(1);
  const named =
    outputFormats.find((format) => format === ending) ?? (ending === 'json' ? 'jsonl' : undefined);
  if (output === '-') {
    if (asked !== null && asked !== 'jsonl')
      throw new InputError(`--format: expected jsonl on standard output, found ${asked}`);
    return 'jsonl';
  }
  const format = asked ?? named;
  if (!format)
    throw new InputError(
      `--output: expected a name that ends with ${outputFormats.map((name) => `.${name}`).join(', ')}, or --format with it, found ${JSON.stringify(output)}`,
    );
  return format;
}
