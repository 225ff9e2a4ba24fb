#!/usr/bin/env node
/**
 * The `dawntune` command: one subcommand a file, each with a table of its flags, and the one place where help is
 * printed and where errors become lines and exit codes.
 */
import { Command, CommanderError } from 'commander';
import { InputError } from '../errors.js';
import {
  exampleLines,
  renderHelp,
  renderShortHelp,
  usageLine,
  wantsAllHelp,
  wantsHelp,
} from '../flag-help.js';
import { configFlag } from '../flags.js';
import { nearestName } from '../nearest-name.js';
import { show } from '../show.js';
import { packageVersion, requireNode } from '../version.js';
import { commandHelp, firstCalls, groupOf } from './command-help.js';
import { type CliCommand, commands } from './commands.js';
import { exitCodeOf, tellFailure } from './failure.js';
import { surviveLostStreams } from './standard-streams.js';

surviveLostStreams();

async function helpOf(name: string, command: CliCommand, argv: readonly string[]): Promise<string> {
  const { summary, positionals } = command;
  const table = await command.flags();
  const usage = usageLine(['dawntune', name, ...(positionals ? [positionals] : [])].join(' '), table);
  const head = `${usage}\n\n${summary}`;
  const width = Math.min(100, Math.max(60, process.stdout.columns ?? 100));
  return wantsAllHelp(argv)
    ? renderHelp(head, { ...table, ...configFlag }, width)
    : renderShortHelp(head, table, commandHelp[name] ?? { examples: [] }, width);
}

/** `-v` too, which no command has for anything else. */
const wantsVersion = (argv: readonly string[]) =>
  argv.length === 1 && ['--version', '-V', '-v'].includes(argv[0]!);

/** Commander finds the command; the words after its name belong to the command's own flag table. */
function program(): Command {
  const program = new Command('dawntune')
    .description('Fine-tune BGE-M3 on WebGPU: dense, sparse and ColBERT, on any GPU or a CPU')
    .version(packageVersion(), '-V, --version', 'say which version this is')
    .usage('COMMAND [flags]')
    .addHelpText('after', `\nExamples:\n${exampleLines(firstCalls).join('\n')}`)
    .addHelpText(
      'after',
      '\n`dawntune COMMAND --help` shows the flags of a command that most calls need, --help-all all.',
    )
    .commandsGroup('More:')
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
      .helpGroup(`${groupOf(name)}:`)
      .helpOption(false)
      .helpCommand(false)
      .allowUnknownOption()
      .passThroughOptions()
      .argument('[words...]')
      .action(async (argv: string[]) => {
        if (wantsVersion(argv)) process.stdout.write(`${packageVersion()}\n`);
        else if (wantsHelp(argv) && !command.ownHelp) process.stdout.write(await helpOf(name, command, argv));
        else {
          // Doctor says what to do.
          if (name !== 'doctor') requireNode();
          process.exitCode = await (await command.load())(argv);
        }
      });
  return program;
}

async function main(words: readonly string[]): Promise<void> {
  // `help COMMAND` is `COMMAND --help`: the flags of a command are in its table, which commander does not know.
  const [first, name] = words;
  const asked = first === 'help' && name !== undefined;
  if (asked && !commands.has(name)) throw unknownCommand(name);
  const argv = asked ? [name, '--help'] : wantsVersion(words) ? ['--version'] : words;
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
