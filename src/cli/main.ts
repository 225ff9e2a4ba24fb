#!/usr/bin/env node
/**
 * The `dawntune` command: one subcommand a file, each with a table of its flags, and the one place where help is
 * printed and where errors become lines and exit codes.
 */
import { fileURLToPath } from 'node:url';
import { InputError } from '../errors.js';
import { readJsonObject } from '../files/json.js';
import { renderHelp, usageLine, wantsHelp } from '../flag-help.js';
import { booleanOf, type FlagTable } from '../flags.js';
import { nearestName } from '../nearest-name.js';
import { printable, printableLines, show } from '../show.js';
import { surviveLostStreams } from './standard-streams.js';

interface CliCommand {
  readonly summary: string;
  /** What stands before the flags. */
  readonly positionals?: string;
  readonly flags: () => Promise<FlagTable>;
  readonly load: () => Promise<(argv: readonly string[]) => Promise<number>>;
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
    'demo',
    {
      summary: 'train a small multilingual retriever from random weights and show what it learnt',
      flags: async () => (await import('../demo/arguments.js')).demoFlags,
      load: async () => (await import('../demo/demo.js')).demo,
    },
  ],
  [
    'parity',
    {
      summary: 'compare the engine with a folder of FlagEmbedding and PyTorch figures',
      positionals: 'FOLDER',
      flags: async () => (await import('../parity/arguments.js')).parityFlags,
      load: async () => (await import('../parity/parity.js')).parity,
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
    'setup',
    {
      summary: 'provide a software adapter where there is no GPU driver',
      flags: async () => (await import('../setup/arguments.js')).setupFlags,
      load: async () => (await import('../setup/setup.js')).setup,
    },
  ],
]);

surviveLostStreams();

function overview(): string {
  const list = [...commands].map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`);
  return [
    'dawntune COMMAND [flags]',
    '',
    'Fine-tune BGE-M3 on WebGPU: dense, sparse and ColBERT, on any GPU or a CPU',
    '',
    'Commands:',
    ...list,
    '',
    '`dawntune COMMAND --help` lists the flags of a command, `dawntune --version` says which version this is.',
    '',
  ].join('\n');
}

async function helpOf(name: string, { summary, positionals, flags }: CliCommand): Promise<string> {
  const table = await flags();
  const usage = usageLine(['dawntune', name, ...(positionals ? [positionals] : [])].join(' '), table);
  return renderHelp(`${usage}\n\n${summary}`, table);
}

function packageVersion(): string {
  return String(readJsonObject(fileURLToPath(new URL('../../../package.json', import.meta.url)))['version']);
}

async function main([name, ...argv]: string[]): Promise<number> {
  if (name === undefined) {
    process.stderr.write(overview());
    return 2;
  }
  if (name === '--version' || name === '-V') {
    process.stdout.write(`${packageVersion()}\n`);
    return 0;
  }
  const asksFor = name === 'help' ? argv[0] : name;
  if (asksFor === undefined || wantsHelp([asksFor])) {
    process.stdout.write(overview());
    return 0;
  }
  const command = commands.get(asksFor);
  if (!command) {
    const nearest = nearestName(asksFor, [...commands.keys()]);
    throw new InputError(
      `unknown command ${show(asksFor)}${nearest === null ? '' : `; the nearest is ${nearest}`}; the commands are ${[...commands.keys()].join(', ')}`,
    );
  }
  if (name === 'help' || wantsHelp(argv)) {
    process.stdout.write(await helpOf(asksFor, command));
    return 0;
  }
  return (await command.load())(argv);
}

/** Whether `--debug` is among the words, in any of the spellings of a boolean flag. */
function asksForStack(argv: readonly string[]): boolean {
  const at = argv.findLastIndex((word) => /^--debug(=|$)/i.test(word));
  if (at < 0) return false;
  const value = argv[at]!.split('=')[1] ?? argv[at + 1] ?? '';
  return booleanOf(value) ?? true;
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    const known = error instanceof Error && 'exitCode' in error;
    // Whatever a message quotes, it is one line of what a terminal shows.
    const text =
      known && !asksForStack(process.argv)
        ? printable((error as Error).message)
        : printableLines(error instanceof Error ? (error.stack ?? error.message) : String(error));
    process.stderr.write(`dawntune: ${text}\n`);
    process.exit(known ? (error as InputError).exitCode : 1);
  },
);
