/**
 * The help of a command, rendered from its flag table (src/flags.ts): the usage line and the list of flags. Stands
 * beside flags.ts, below all rooms.
 */
import type { Flag, FlagTable } from './flags.js';

/** Whether argv asks for help instead of work. */
export function wantsHelp(argv: readonly string[]): boolean {
  return argv.some((word) => word === '--help' || word === '-h');
}

/** The words of a flag in help and usage: its name and what stands for its value. */
export function spelled(name: string, { type }: Flag<unknown>): string {
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
