/**
 * The help of a command, rendered from its flag table (src/flags.ts): the usage line and the list of flags. Stands
 * beside flags.ts, below all rooms.
 */
import { configFlag, type Flag, type FlagTable } from './flags.js';

/** Whether argv asks for help instead of work. */
export function wantsHelp(argv: readonly string[]): boolean {
  return argv.some((word) => word === '--help' || word === '-h') || wantsAllHelp(argv);
}

/** Whether it asks for all flags, not the common ones alone. */
export function wantsAllHelp(argv: readonly string[]): boolean {
  return argv.some((word) => word === '--help-all' || word === '--help_all');
}

/** A call of a command, and what it is for. */
export interface Example {
  readonly purpose: string;
  /** As it is typed; where it goes on in a second line, by a backslash. */
  readonly command: string;
}

/** The words of a flag in help and usage: its name and what stands for its value. */
export function spelled(name: string, { type }: Pick<Flag<unknown>, 'type'>): string {
  return `--${name} ${type.bare === undefined ? type.placeholder : `[${type.placeholder}]`}`;
}

/** `dawntune parity FOLDER [flags]`: the words of the command, then the flags that must be given. */
export function usageLine(command: string, table: FlagTable): string {
  const needed = Object.entries(table).filter(([, flag]) => flag.fallback === undefined);
  return [command, ...needed.map(([name, flag]) => spelled(name, flag)), '[flags]'].join(' ');
}

/** The help text: usage line, then the flags under the headings of their groups. Inert ones are left out. */
export function renderHelp(usage: string, table: FlagTable, width = 100): string {
  const groups = new Map<string, [string, Flag<unknown>][]>();
  for (const [name, flag] of Object.entries(table)) {
    if (flag.inert !== undefined) continue;
    const members = groups.get(flag.group) ?? [];
    groups.set(flag.group, [...members, [name, flag]]);
  }
  const lines = [usage];
  for (const [title, members] of groups) {
    lines.push('', `${title}:`);
    for (const [name, flag] of members) {
      lines.push(`  ${spelled(name, flag)}`);
      lines.push(...wrap(`${flag.help}${defaultNote(flag)}`, width, '      '));
    }
  }
  return `${lines.join('\n')}\n`;
}

function defaultNote(flag: Flag<unknown>): string {
  if (flag.fallback === undefined) return ' (required)';
  const words = defaultWords(flag);
  return words === '' ? '' : ` (default ${words})`;
}

/** The words that mean the default of a flag; empty where it must be given or may stay unset. */
export function defaultWords({ fallback, type }: Flag<unknown>): string {
  if (fallback === undefined || fallback === null || fallback instanceof Set) return '';
  if (type.words) return type.words(fallback);
  if (Array.isArray(fallback)) return fallback.join(' ');
  if (typeof fallback === 'boolean') return fallback ? 'True' : 'False';
  return String(fallback);
}

function wrap(words: string, width: number, indent: string): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of words.split(' ')) {
    if (line !== indent && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent;
    }
    line += line === indent ? word : ` ${word}`;
  }
  return [...lines, line];
}

/** Of a command: what its short help has beside the table. */
export interface ShortHelp {
  readonly examples: readonly Example[];
  /** Flags that are shown beside those that must be given; all if not given. */
  readonly common?: readonly string[] | undefined;
}

/** Columns of the names of flags; longer ones have a line of their own. */
const NAMES = 38;

/** The help on about a screen: usage, examples, and the flags that most calls need, a line each. */
export function renderShortHelp(
  usage: string,
  table: FlagTable,
  { examples, common }: ShortHelp,
  width = 100,
): string {
  const lines = [usage];
  if (examples.length > 0) lines.push('', 'Examples:', ...exampleLines(examples));
  const all = Object.entries(table).filter(([, { inert }]) => inert === undefined);
  const shown = all.filter(
    ([name, { fallback }]) => !common || fallback === undefined || common.includes(name),
  );
  const rest = all.length - shown.length;
  for (const title of new Set(shown.map(([, { group }]) => group))) {
    lines.push('', `${title}:`);
    for (const [name, flag] of shown)
      if (flag.group === title) lines.push(...flagLines(spelled(name, flag), described(flag), width));
  }
  lines.push('', 'Every command:');
  lines.push(...flagLines(spelled('config', configFlag.config), configFlag.config.help, width));
  const more = rest === 0 ? 'this, with each flag in more lines' : `all flags: ${rest} more`;
  lines.push(...flagLines('--help-all', more, width));
  return `${lines.join('\n')}\n`;
}

/** Examples with their purposes as comments, so that both can be pasted. */
export const exampleLines = (examples: readonly Example[]): string[] =>
  examples.flatMap(({ purpose, command }) => [
    `  # ${purpose}`,
    ...command.split('\n').map((line) => `  ${line}`),
  ]);

const described = (flag: Flag<unknown>) => `${flag.help}${defaultNote(flag)}`;

function flagLines(name: string, help: string, width: number): string[] {
  const words = wrap(help, width, ' '.repeat(NAMES));
  if (name.length + 4 > NAMES) return [`  ${name}`, ...words];
  return [`  ${name.padEnd(NAMES - 2)}${words[0]!.trimStart()}`, ...words.slice(1)];
}
