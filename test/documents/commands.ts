/**
 * Every command that pages may show, with the table that its words are checked against: the commands of `dawntune`, the
 * suites of `bench`, and the scripts of the clone that take flags.
 */
import fs from 'node:fs';
import path from 'node:path';
import { suites } from '../../bench/suites.js';
import { testNames } from '../../scripts/run-tests.js';
import { commands } from '../../src/cli/commands.js';
import { completionShells } from '../../src/cli/completion.js';
import { configFlag, type FlagTable, type ForeignFlag, parseFlags } from '../../src/flags.js';
import { embedderAliases, foreignEmbedderFlags } from '../../src/retrieval/embedder/arguments.js';
import { parseEncodeArguments } from '../../src/retrieval/encode/arguments.js';
import { parseEvaluateArguments } from '../../src/retrieval/evaluate/arguments.js';
import { parseMineArguments } from '../../src/retrieval/mine/arguments.js';
import { foreignRerankerFlags, parseScoreArguments } from '../../src/retrieval/score/arguments.js';
import { parseSplitArguments } from '../../src/retrieval/split/arguments.js';
import { parseServeArguments } from '../../src/serve/arguments.js';
import { longTestFlags, matrixFlags, mpiTestFlags, smokeFlags } from '../../src/setup/arguments.js';
import { tokenizerParityFlags } from '../../src/tokenizer/parity.js';
import { parseFinetuneArguments } from '../../src/train/arguments.js';
import {
  embedderNames,
  foreignTrainingArguments,
  olderTrainingArgumentAliases,
  olderTrainingArguments,
  trainingArgumentAliases,
} from '../../src/train/training-arguments-names.js';
import { fuzzFlags } from '../fuzz/flags.js';
import {
  evaluationInteropFlags,
  folderFlags,
  graphInteropFlags,
  interopFlags,
  lossInteropFlags,
  miningInteropFlags,
  scoreInteropFlags,
  weightsFlags,
} from '../interop/flags.js';
import { repositoryRoot } from '../repository.js';

export interface Known {
  readonly table: FlagTable;
  /** What stands before the flags, in brackets where nothing need; undefined: nothing may. */
  readonly positionals: string | undefined;
}

const script = (table: FlagTable, positionals?: string): Known => ({ table, positionals });

/** By name; a suite of `bench` as `bench NAME`. */
export const known: ReadonlyMap<string, Known> = new Map<string, Known>([
  ...(await Promise.all(
    [...commands]
      .filter(([, { ownHelp }]) => !ownHelp)
      .map(
        async ([name, { flags, positionals }]): Promise<[string, Known]> => [
          name,
          { table: await flags(), positionals },
        ],
      ),
  )),
  ...suites.map(({ name, flags }): [string, Known] => [`bench ${name}`, script(flags)]),
  ['test:matrix', script(matrixFlags)],
  ['test:mpi', script(mpiTestFlags)],
  ['test:long', script(longTestFlags)],
  ['smoke', script(smokeFlags)],
  ['tokenizer-parity', script(tokenizerParityFlags, '[FILE…]')],
  ['fuzz', script(fuzzFlags)],
  ['interop', script(interopFlags)],
  ['interop:folders', script(folderFlags)],
  ['interop:weights', script(weightsFlags)],
  ['interop:scores', script(scoreInteropFlags)],
  ['interop:losses', script(lossInteropFlags)],
  ['interop:graphs', script(graphInteropFlags)],
  ['interop:evaluation', script(evaluationInteropFlags)],
  ['interop:mining', script(miningInteropFlags)],
]);

/** The scripts of package.json. */
export const scripts: ReadonlySet<string> = new Set(
  Object.keys(JSON.parse(fs.readFileSync(path.join(repositoryRoot, 'package.json'), 'utf8')).scripts),
);

const foreign: Readonly<Record<string, ForeignFlag>> = {
  ...foreignEmbedderFlags,
  ...foreignRerankerFlags,
  ...foreignTrainingArguments,
  ...olderTrainingArguments,
};

/** Names of flags of any command, and those of other programs that some command knows. */
export const flagNames: ReadonlySet<string> = new Set([
  ...[...known.values()].flatMap(({ table }) =>
    Object.entries(table).flatMap(([name, { fallback }]) =>
      fallback === true ? [name, `no_${name}`] : [name],
    ),
  ),
  ...Object.keys(foreign),
  ...Object.keys(embedderAliases),
  ...Object.keys({ ...trainingArgumentAliases, ...olderTrainingArgumentAliases, ...embedderNames }),
  // They belong to all commands.
  ...['help', 'help_all', 'version', ...Object.keys(configFlag)],
]);

export interface Call {
  readonly name: string;
  readonly words: string[];
}

/** The words of a line as a shell parts them; quotes are taken off. */
const wordsOf = (line: string) =>
  [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, bare]) => double ?? single ?? bare!,
  );

/** The command of ours that one part of a line calls, with its words; undefined for others. */
export function called(part: string): Call | undefined {
  // What a launcher starts stands behind its own words.
  const started = /^(?:mpirun|srun) .*?(?= dawntune )/.exec(part)?.[0] ?? '';
  const words = wordsOf(part.slice(started.length).trim()).filter(
    (word) => word !== '--silent' && word !== 'sudo',
  );
  while (/^[A-Z_]+=/.test(words[0] ?? '')) words.shift();
  const begins = (...start: string[]) => start.every((word, i) => words[i] === word);
  if (begins('npx', 'dawntune')) words.splice(0, 2);
  else if (begins('dawntune')) words.splice(0, 1);
  else if (begins('node', 'dist/src/cli/main.js')) words.splice(0, 2);
  else if (begins('npm', 'run')) {
    words.splice(0, 2);
    words.splice(1, words[1] === '--' ? 1 : 0);
    if (begins('dawntune')) words.splice(0, 1);
  } else return undefined;
  if (begins('bench')) {
    const suite = words[1]?.startsWith('-') ? undefined : words[1];
    words.splice(0, suite ? 2 : 1, `bench ${suite ?? 'kernels'}`);
  }
  const [name, ...rest] = words;
  return name ? { name, words: rest } : undefined;
}

/** The parts of a line that a shell runs one after the other, into one another, or for what they print. */
export function parts(line: string): string[] {
  const inner = [...line.matchAll(/[$<]\(([^()]*)\)/g)].map(([, part]) => part!);
  return [...line.split(/ (?:&&|\|\||\||;|&) /), ...inner].map((part) => part.trim());
}

/** Redirections belong to the shell. */
const withoutRedirections = (words: readonly string[]) =>
  words.filter((word, i) => !/^\d?[<>]/.test(word) && !/^\d?[<>]+$/.test(words[i - 1] ?? ''));

/** What a command of several flags that belong together refuses besides the words of its table. */
const parsers: ReadonlyMap<string, (words: readonly string[]) => unknown> = new Map<
  string,
  (words: readonly string[]) => unknown
>([
  ['finetune', parseFinetuneArguments],
  ['encode', parseEncodeArguments],
  ['evaluate', parseEvaluateArguments],
  ['score', parseScoreArguments],
  ['mine', parseMineArguments],
  ['split', parseSplitArguments],
  ['serve', parseServeArguments],
  ['completion', (words) => void (words[0] ?? '').split('|').forEach(requireShell)],
  ['test:long', (words) => onlyNamed('long', longTestFlags, words)],
  ['test:mpi', (words) => onlyNamed('mpi', mpiTestFlags, words)],
]);

function requireShell(shell: string): void {
  if (!completionShells.some((name) => name === shell)) throw new Error(`no shell ${shell}`);
}

/** @throws InputError for a test of `--only` that there is not. */
function onlyNamed(folder: string, table: FlagTable, words: readonly string[]): void {
  const only = words[words.indexOf('--only') + 1];
  parseFlags(table, words);
  if (words.includes('--only')) testNames(path.join(repositoryRoot, 'dist', 'test', folder), only!);
}

/**
 * Parses a call as its command does. What is written in capitals stands for a value. `whole`: it can be run as it is;
 * otherwise flags that must be given are supplied, since a line shows what it is about.
 * @throws what the command says of wrong words, or Error for an unknown name.
 */
export function check({ name, words: given }: Call, whole = false): void {
  const words = withoutRedirections(given).map((word) => (/^[A-Z_]+$/.test(word) ? '1' : word));
  // The file is one of the reader's.
  const config = words.indexOf('--config');
  if (config >= 0) words.splice(config, 2);
  // A word in capitals is any of them.
  if (/^[A-Z]+$/.test(name)) return;
  const command = known.get(name);
  if (
    !command &&
    name !== 'bench' &&
    !scripts.has(name) &&
    !['--help', '--help-all', '--version', '-v', 'help'].includes(name)
  )
    throw new Error(`no command ${name}`);
  if (name === 'help' && given.some((word) => !/^[A-Z]+$/.test(word) && !commands.has(word)))
    throw new Error(`help has no ${given.join(' ')}`);
  if (['--help', '-h', '--help-all'].some((word) => words.includes(word))) return;
  if (!command) {
    if (words.some((word) => word.startsWith('-'))) throw new Error(`${name} takes no flags`);
    return;
  }
  const { table, positionals } = command;
  const missing = Object.entries(table)
    .filter(([flag, { fallback }]) => fallback === undefined && !words.some((word) => spells(word, flag)))
    .flatMap(([flag]) => [`--${flag}`, '1']);
  const parse = parsers.get(name);
  if (whole && config < 0) {
    if (missing.length > 0)
      throw new Error(`${name} needs ${missing.filter((_, i) => i % 2 === 0).join(' ')}`);
    if (positionals !== undefined && !positionals.startsWith('[') && (words[0] ?? '-').startsWith('-'))
      throw new Error(`${name} needs ${positionals}`);
  }
  if (!parse) parseFlags(table, [...words, ...missing], { positionals: positionals !== undefined });
  else
    try {
      parse([...words, ...missing]);
    } catch (error) {
      // Of flags only one of which need be given a line shows none where it is about others; words are read before.
      if (whole || !(error instanceof Error && /, found (?:nothing|none)\b/.test(error.message))) throw error;
    }
}

const spells = (word: string, flag: string) =>
  word.startsWith('--') && word.slice(2).split('=')[0]!.replaceAll('-', '_') === flag;
