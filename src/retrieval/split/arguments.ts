/** The flags of `dawntune split`: those of FlagEmbedding's split_data_by_length (docs/spec/flagembedding-m3.md §7.4). */
import { InputError } from '../../errors.js';
import {
  boolean,
  debugFlag,
  type FlagValues,
  group,
  inert,
  integer,
  LARGEST_COUNT,
  listOf,
  optional,
  type ParsedCommand,
  parseFlags,
  progressFlag,
  required,
  text,
  withDefault,
} from '../../flags.js';
import { accessToken } from '../../hub/flags.js';
import { show } from '../../show.js';

const path = text('a path');

export const splitFlags = {
  ...group('Split', {
    input_path: required(path, 'a file of training rows, or a folder of such files'),
    output_dir: required(
      path,
      'where the parts go: NAME_len-LO-HI.jsonl for each file and range that has rows',
    ),
    length_list: withDefault(
      listOf(integer(0, LARGEST_COUNT), 'lengths in tokens, ascending'),
      [0, 500, 1000, 2000, 3000, 4000, 5000, 6000, 7000],
      'where ranges begin, in tokens; each ends where the next begins, the last nowhere',
    ),
    log_name: withDefault(
      text('a file name'),
      '.split_log',
      'the file in --output_dir that tells what was split how',
    ),
    overwrite: withDefault(
      boolean,
      false,
      'replace parts that are there; by default they are left as they are',
    ),
  }),
  ...group('Model', {
    model_name_or_path: withDefault(
      text('a folder or a hub id'),
      'BAAI/bge-m3',
      'the model whose tokenizer counts: a folder or a hub id',
    ),
    revision: optional(
      text('a branch, tag or commit'),
      'which revision of a model of the hub; main if not given',
    ),
    cache_dir: optional(
      path,
      'where models of the hub are kept; by default where HF_HUB_CACHE or HF_HOME say',
    ),
    token: optional(accessToken, 'access token of the hub; by default that of HF_TOKEN or of the token file'),
    num_proc: inert(
      withDefault(integer(1, LARGEST_COUNT), 16, 'processes that count'),
      'threads count, as many as there are cores',
    ),
  }),
  ...progressFlag,
  ...debugFlag,
};

/** Flags of `dawntune split` as values; `parseSplitArguments` makes them of words. */
export type SplitArguments = FlagValues<typeof splitFlags>;

/** @throws InputError, one line that names the flag. */
export function parseSplitArguments(argv: readonly string[]): ParsedCommand<SplitArguments> {
  const { values: args, notices } = parseFlags(splitFlags, argv);
  const sorted = [...args.lengthList].sort((a, b) => a - b);
  const twice = sorted.find((length, i) => length === sorted[i + 1]);
  if (twice !== undefined)
    throw new InputError(`--length_list: expected different lengths, found ${twice} more than once`);
  if (/[/\\]/.test(args.logName) || args.logName === '.' || args.logName === '..')
    throw new InputError(`--log_name: expected a file name without a folder, found ${show(args.logName)}`);
  return { args: { ...args, lengthList: sorted }, notices };
}
