/** Help, versions and what goes where: the habits of a shell that every command keeps. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { suites } from '../bench/suites.js';
import { commandHelp, firstCalls, groupOf } from '../src/cli/command-help.js';
import { commands } from '../src/cli/commands.js';
import { parseDemoArguments } from '../src/demo/arguments.js';
import { parsePipelineArguments } from '../src/demo/pipeline-arguments.js';
import { type Example, renderHelp, renderShortHelp } from '../src/flag-help.js';
import { parseFlags } from '../src/flags.js';
import { parseParityArguments } from '../src/parity/arguments.js';
import { parseReportArguments } from '../src/report/arguments.js';
import { parseEncodeArguments } from '../src/retrieval/encode/arguments.js';
import { parseEvaluateArguments } from '../src/retrieval/evaluate/arguments.js';
import { parseMineArguments } from '../src/retrieval/mine/arguments.js';
import { parseScoreArguments } from '../src/retrieval/score/arguments.js';
import { parseSplitArguments } from '../src/retrieval/split/arguments.js';
import { parseServeArguments } from '../src/serve/arguments.js';
import { parseSetupArguments } from '../src/setup/arguments.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { packageVersion } from '../src/version.js';
import { repositoryRoot } from './repository.js';

const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');
const dawntune = (...words: string[]) =>
  spawnSync(process.execPath, [main, ...words], { encoding: 'utf8', timeout: 60_000 });

/** Commands whose words have rules beyond their table: those are kept too, without a notice. */
const parsers: Readonly<Record<string, (argv: readonly string[]) => unknown>> = {
  finetune: parseFinetuneArguments,
  encode: parseEncodeArguments,
  evaluate: parseEvaluateArguments,
  mine: parseMineArguments,
  score: parseScoreArguments,
  split: parseSplitArguments,
  parity: parseParityArguments,
  demo: parseDemoArguments,
  pipeline: parsePipelineArguments,
  setup: parseSetupArguments,
  serve: parseServeArguments,
  report: parseReportArguments,
};

/** The words of the commands of an example: one a line, those behind a backslash joined. */
const calls = ({ command }: Example): string[][] =>
  command
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => !line.startsWith('mkdir '))
    .map((line) =>
      line
        .replace(/^(?:cat \S+ \| |sudo |eval "\$\(|source <\()/, '')
        .replace(/\)"?$| > .*$/, '')
        .split(' '),
    );

async function parse([program, name, ...words]: string[]): Promise<void> {
  assert.equal(program, 'dawntune');
  // What stands in a file that is not there.
  if (words.includes('--config')) {
    const table = await commands.get(name!)!.flags();
    for (const word of words)
      if (word.startsWith('--') && word !== '--config') assert.ok(table[word.slice(2)], word);
    return;
  }
  if (name === 'bench') {
    const suite = words[0]!.startsWith('--') ? 'kernels' : words.shift();
    parseFlags(suites.find((each) => each.name === suite)!.flags, words);
    return;
  }
  const parser = parsers[name!];
  const parsed = parser
    ? parser(words)
    : parseFlags(await commands.get(name!)!.flags(), words, { positionals: true });
  assert.deepEqual((parsed as { notices?: string[] }).notices ?? [], [], words.join(' '));
}

test('every command has two or three examples, which its own parser takes, and a heading', async () => {
  for (const name of commands.keys()) {
    const help = commandHelp[name];
    assert.ok(help && help.examples.length >= 2 && help.examples.length <= 3, `examples of ${name}`);
    assert.notEqual(groupOf(name), 'More', name);
    for (const example of help.examples)
      for (const call of calls(example)) {
        assert.equal(call[1], name);
        await parse(call);
      }
    const table = await commands.get(name)!.flags();
    for (const flag of help.common ?? [])
      assert.ok(
        Object.hasOwn(table, flag) && table[flag]!.inert === undefined,
        `${name}: common flag ${flag}`,
      );
  }
  for (const name of Object.keys(commandHelp)) assert.ok(commands.has(name), name);
  for (const example of firstCalls) for (const call of calls(example)) await parse(call);
});

test('short help is about a screen, and says how many flags it leaves to --help-all', async () => {
  for (const [name, { flags }] of commands) {
    const table = await flags();
    const help = renderShortHelp(name, table, commandHelp[name]!);
    const shown = new Set([...help.matchAll(/^ {2}--(\w+) /gm)].map(([, flag]) => flag!));
    const hidden = Object.entries(table).filter(
      ([flag, { inert }]) => inert === undefined && !shown.has(flag),
    );
    assert.ok(help.split('\n').length <= 90, `${name}: ${help.split('\n').length} lines`);
    assert.ok(
      help.split('\n').every((line) => line.length <= 120),
      name,
    );
    assert.match(
      help,
      hidden.length === 0 ? /--help-all +this/ : new RegExp(`--help-all +all flags: ${hidden.length} more`),
    );
    assert.ok(renderHelp(name, table).split('\n').length >= hidden.length);
    assert.match(help, /^ {2}--config PATH/m);
  }
});

test('help and version are data: they go to standard output, and nothing else is said', () => {
  for (const words of [['--version'], ['-V'], ['-v'], ['encode', '--version'], ['demo', '-v']]) {
    const { stdout, stderr, status } = dawntune(...words);
    assert.deepEqual([stdout, stderr, status], [`${packageVersion()}\n`, '', 0], words.join(' '));
  }
  for (const words of [
    ['--help'],
    ['help', 'mine'],
    ['mine', '--help'],
    ['mine', '--help-all'],
    ['bench', '-h'],
  ]) {
    const { stdout, stderr, status } = dawntune(...words);
    assert.deepEqual([stderr, status], ['', 0], words.join(' '));
    assert.match(stdout, words.at(-1) === '--help-all' ? /--batch_tokens N/ : /Examples:|Suites/);
    // Nothing colours or moves the cursor, whatever NO_COLOR and TERM say.
    assert.ok(!stdout.includes('\u001b'));
  }
  const { stdout, stderr, status } = dawntune('mine');
  assert.deepEqual([stdout, status], ['', 2]);
  assert.match(stderr, /^dawntune: --input_file: /);
});
