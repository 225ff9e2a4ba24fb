#!/usr/bin/env node
/**
 * The `dawntune` command: one subcommand a file, each with a table of its flags, and the one place where help is
 * printed and where errors become lines and exit codes.
 */
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import { InputError } from '../errors.js';
import { readJsonObject } from '../files/json.js';
import { renderHelp, usageLine, wantsHelp } from '../flag-help.js';
import type { FlagTable } from '../flags.js';
import { nearestName } from '../nearest-name.js';
import { show } from '../show.js';
import { exitCodeOf, tellFailure } from './failure.js';
import { surviveLostStreams } from './standard-streams.js';

interface CliCommand {
  readonly summary: string;
  /** What stands before the flags. */
  readonly positionals?: string;
  readonly flags: () => Promise<FlagTable>;
  readonly load: () => Promise<(argv: readonly string[]) => Promise<number>>;
  /** Of a command that has others below it, and prints their help itself. */
  readonly ownHelp?: boolean;
}

/** Code and flags are loaded when they are used: help does not load a GPU driver. */
const commands = new Map<string, CliCommand>([
  [
    'finetune',
    {
      summary: 'fine-tune a BGE-M3 model (FlagEmbedding’s flags)',
      flags: async () => (await import('../train/arguments.js')).finetuneFlags,
      load: async () => (await import('./finetune.js')).finetuneCommand,
    },
  ],
  [
    'encode',
    {
      summary: 'encode texts: dense vectors, lexical weights, ColBERT vectors',
      positionals: '[FILE…]',
      flags: async () => (await import('../retrieval/encode/arguments.js')).encodeFlags,
      load: async () => (await import('./encode.js')).encodeCommand,
    },
  ],
  [
    'evaluate',
    {
      summary: 'measure what models find: nDCG, MAP, MRR, recall, precision, compared query by query',
      flags: async () => (await import('../retrieval/evaluate/arguments.js')).evaluateFlags,
      load: async () => (await import('./evaluate.js')).evaluateCommand,
    },
  ],
  [
    'split',
    {
      summary: 'part training rows by their length (flags of FlagEmbedding’s split_data_by_length)',
      flags: async () => (await import('../retrieval/split/arguments.js')).splitFlags,
      load: async () => (await import('./split.js')).splitCommand,
    },
  ],
  [
    'score',
    {
      summary: 'score the candidates of training rows with a model or a reranker, as a teacher',
      positionals: '[INPUT OUTPUT]',
      flags: async () => (await import('../retrieval/score/arguments.js')).scoreFlags,
      load: async () => (await import('./score.js')).scoreCommand,
    },
  ],
  [
    'mine',
    {
      summary: 'find hard negatives for training rows (flags of FlagEmbedding’s hn_mine)',
      flags: async () => (await import('../retrieval/mine/arguments.js')).mineFlags,
      load: async () => (await import('./mine.js')).mineCommand,
    },
  ],
  [
    'demo',
    {
      summary: 'train a small multilingual retriever from random weights and show what it learnt',
      flags: async () => (await import('../demo/arguments.js')).demoFlags,
      load: async () => (await import('../demo/demo.js')).demo,
    },
  ],
  [
    'pipeline',
    {
      summary: 'mine, score, fine-tune and evaluate on the demo’s texts, with a table of before and after',
      flags: async () => (await import('../demo/pipeline-arguments.js')).pipelineFlags,
      load: async () => (await import('../demo/pipeline.js')).pipeline,
    },
  ],
  [
    'parity',
    {
      summary: 'compare the engine with a folder of FlagEmbedding and PyTorch figures',
      positionals: 'FOLDER',
      flags: async () => (await import('../parity/arguments.js')).parityFlags,
      load: async () => (await import('./parity.js')).parityCommand,
    },
  ],
  [
    'doctor',
    {
      summary: 'show the GPU adapters and prove that one works',
      flags: async () => (await import('./doctor-arguments.js')).doctorFlags,
      load: async () => (await import('./doctor.js')).doctor,
    },
  ],
  [
    'bench',
    {
      summary: 'measure kernels and training steps, each checked before it is timed',
      positionals: '[SUITE]',
      flags: async () => (await import('../../bench/kernels/flags.js')).kernelsFlags,
      load: async () => (await import('../../bench/bench.js')).bench,
      ownHelp: true,
    },
  ],
  [
    'setup',
    {
      summary: 'provide a software adapter where there is no GPU driver',
      flags: async () => (await import('../setup/arguments.js')).setupFlags,
      load: async () => (await import('../setup/setup.js')).setup,
    },
  ],
]);

surviveLostStreams();

async function helpOf(name: string, { summary, positionals, flags }: CliCommand): Promise<string> {
  const table = await flags();
  const usage = usageLine(['dawntune', name, ...(positionals ? [positionals] : [])].join(' '), table);
  return renderHelp(`${usage}\n\n${summary}`, table);
}

function packageVersion(): string {
  return String(readJsonObject(fileURLToPath(new URL('../../../package.json', import.meta.url)))['version']);
}

/** Commander finds the command; the words after its name belong to the command's own flag table. */
function program(): Command {
  const program = new Command('dawntune')
    .description('Fine-tune BGE-M3 on WebGPU: dense, sparse and ColBERT, on any GPU or a CPU')
    .version(packageVersion(), '-V, --version', 'say which version this is')
    .usage('COMMAND [flags]')
    .addHelpText('after', '\n`dawntune COMMAND --help` lists the flags of a command.')
    .helpCommand('help [COMMAND]', 'the flags of a command')
    .enablePositionalOptions()
    .configureHelp({ subcommandTerm: (command) => command.name() })
    .showSuggestionAfterError(false)
    // What is wrong with the words is told like any other bad input, at the end of this file.
    .configureOutput({ outputError: () => {} })
    .exitOverride();
  for (const [name, command] of commands)
    program
      .command(name)
      .summary(command.summary)
      .helpOption(false)
      .helpCommand(false)
      .allowUnknownOption()
      .passThroughOptions()
      .argument('[words...]')
      .action(async (argv: string[]) => {
        if (wantsHelp(argv) && !command.ownHelp) process.stdout.write(await helpOf(name, command));
        else process.exitCode = await (await command.load())(argv);
      });
  return program;
}

async function main(words: readonly string[]): Promise<void> {
  // `help COMMAND` is `COMMAND --help`: the flags of a command are in its table, which commander does not know.
  const [first, name] = words;
  const asked = first === 'help' && name !== undefined;
  if (asked && !commands.has(name)) throw unknownCommand(name);
  const argv = asked ? [name, '--help'] : words;
  try {
    await program().parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === 'commander.unknownCommand') throw unknownCommand(argv[0]!);
    if (error.code === 'commander.unknownOption')
      throw new InputError(`expected a command before any flag, found ${show(argv[0])}`);
    // Help and version have been printed; help that nobody asked for, for want of a command, is no success.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  }
}

function unknownCommand(name: string): InputError {
  const names = [...commands.keys()];
  const nearest = nearestName(name, names);
  return new InputError(
    `unknown command ${show(name)}${nearest === null ? '' : `; the nearest is ${nearest}`}; the commands are ${names.join(', ')}`,
  );
}

main(process.argv.slice(2)).catch((error: unknown) => {
  tellFailure(error);
  process.exit(exitCodeOf(error));
});
