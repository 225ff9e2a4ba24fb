/**
 * Writes the flags of a run as the file that `--config` reads (config-file.ts): every value that had an effect, defaults
 * too, so that it says the same where a later version has others. No secret is written. Stands beside flags.ts.
 */
import { type CommandLine, camelCase, type Flag, type FlagTable } from './flags.js';
import { printable } from './show.js';
import { packageVersion } from './version.js';

/** What a value is in YAML and in JSON. */
export type PlainValue = null | boolean | number | string | readonly (number | string)[];

/** A value of a flag as one that a file can hold and `--config` reads back. */
export function plainValue({ type }: Flag<unknown>, value: unknown): PlainValue {
  if (value === null || typeof value === 'boolean' || typeof value === 'number') return value;
  if (type.words) {
    const words = type.words(value);
    const members = type.many ? words.split(' ') : [words];
    return members.length > 1 ? members : booleanWord(words);
  }
  return Array.isArray(value) ? (value as readonly (number | string)[]) : String(value);
}

const booleanWord = (word: string): boolean | string =>
  word === 'True' ? true : word === 'False' ? false : word;

/** Flags that say something of a run: those without effect, of the terminal, and secrets do not. */
export const tellsOfRun = ({ inert, typedOnly, type }: Flag<unknown>): boolean =>
  inert === undefined && !typedOnly && !type.secret;

/** The words as they may be shown: those of secret flags left out. */
export function withoutSecrets(table: FlagTable, argv: readonly string[]): string[] {
  const secret = (name: string) => Object.hasOwn(table, name) && table[name]!.type.secret === true;
  const shown: string[] = [];
  let hidden = false;
  for (const word of argv) {
    const [, dashed, equals] = /^--([\w-]+)(=?)/.exec(word) ?? [];
    if (dashed === undefined) {
      if (!hidden || /^-[A-Za-z]/.test(word)) shown.push(word);
      hidden = false;
      continue;
    }
    hidden = secret(dashed.replaceAll('-', '_'));
    if (!hidden) shown.push(word);
    if (equals === '=') hidden = false;
  }
  return shown;
}

/** A word as a shell takes it, on one line. */
const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${printable(word).replaceAll("'", "'\\''")}'`;

/** Words that YAML, or its older versions, take for something else than a text. */
const NO_TEXT = /^(?:true|false|null|yes|no|on|off|y|n|none)$/i;

function yamlScalar(value: PlainValue): string {
  if (typeof value !== 'string') return String(value);
  // What JSON quotes, YAML reads; the rest of what a terminal or an editor may hide is written as an escape.
  return /^[A-Za-z/][\w./@-]*$/.test(value) && !NO_TEXT.test(value)
    ? value
    : printable(JSON.stringify(value));
}

const yamlValue = (value: PlainValue): string =>
  Array.isArray(value) ? `[${value.map(yamlScalar).join(', ')}]` : yamlScalar(value);

/**
 * The file of a command's values, under the headings of its help. `commandLine`: what was typed; without it the file
 * tells of no command.
 */
export function settingsFile(
  command: string,
  table: FlagTable,
  values: Readonly<Record<string, unknown>>,
  {
    name,
    changes,
    commandLine,
  }: { readonly name: string; readonly changes: string; readonly commandLine?: CommandLine | undefined },
): string {
  const lines = [
    `# Settings of ${command}, written by dawntune ${packageVersion()} with what it made. The same again, to the bit on the`,
    '# same machine with as many ranks, from the folder where it was typed:',
    `#   dawntune ${command} --config ${shellWord(name)} ${changes}`,
  ];
  if (commandLine) {
    const words = withoutSecrets(table, commandLine.argv).map(shellWord);
    lines.push('# It was:', `#   dawntune ${[command, ...words].join(' ')}`);
  }
  let group = '';
  for (const [flagName, flag] of Object.entries(table)) {
    if (!tellsOfRun(flag)) continue;
    if (flag.group !== group) lines.push('', `# ${flag.group}`);
    ({ group } = flag);
    const origin = commandLine?.origin.get(flagName);
    const told = origin === undefined || origin === 'default' ? '' : `  # ${origin}`;
    const value = plainValue(flag, values[camelCase(flagName)]);
    lines.push(`${flagName}: ${yamlValue(value)}${told}`);
  }
  return `${lines.join('\n')}\n`;
}
