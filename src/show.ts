/**
 * How a value that came from outside (a file, a flag, an environment) stands in a message: on one line, bounded in
 * depth and length whatever the value is, with nothing in it that a terminal would obey. Stands beside errors.ts,
 * below all rooms.
 */

/**
 * Key of the method by which `console.log` writes an object. Node's `inspect.custom`, under a name of its own, since
 * declarations that mention Node's need its types, which a program that uses this package may not have.
 */
export const customInspect: unique symbol = Symbol.for('nodejs.util.inspect.custom');

/** Longest text of a value in a message, in characters. */
const LONGEST = 100;
/** Members of a list or an object that are shown before an ellipsis. */
const MOST_MEMBERS = 5;
const DEEPEST = 3;

/**
 * Characters that move the cursor, recolour or reorder what a terminal shows: C0 and C1 controls, DEL, the line and
 * paragraph separators, bidirectional marks and overrides, zero-width characters, a stray half of a surrogate pair.
 */
const UNSHOWABLE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** The text with what a terminal would obey written as `\u001b`; not quoted and not shortened. For names of files. */
export function printable(text: string): string {
  return text.replace(UNSHOWABLE, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Longest line of a message, in characters: names of files stand in messages whole, whatever their length. */
const LONGEST_LINE = 2000;

/** A message as it goes to a terminal: one line, printable, its middle left out when it is very long. */
export function messageLine(text: string): string {
  const line = printable(text);
  if (line.length <= LONGEST_LINE) return line;
  // Both ends say what is wrong: a message begins with what it blames and ends with what was expected and found.
  const half = LONGEST_LINE / 2;
  const end = line.slice(-half);
  return `${shortened(line, half)}${/^[\udc00-\udfff]/.test(end) ? end.slice(1) : end}`;
}

/** The same for a text of several lines, which keep their ends: a stack, a table. */
export function messageLines(text: string): string {
  return text.split('\n').map(messageLine).join('\n');
}

/** Cut after `length` characters, never within a surrogate pair. */
function shortened(text: string, length = LONGEST): string {
  if (text.length <= length) return text;
  const end = /[\ud800-\udbff]/.test(text[length - 1]!) ? length - 1 : length;
  return `${text.slice(0, end)}…`;
}

/** A value for a message, as JSON where it can be: quoted text, at most some hundred characters, no control characters. */
export function show(value: unknown): string {
  return shortened(render(value, DEEPEST), LONGEST * 2);
}

function render(value: unknown, depth: number): string {
  switch (typeof value) {
    case 'string':
      return printable(JSON.stringify(shortened(value)));
    case 'undefined':
      return 'nothing';
    case 'bigint':
    case 'number':
    case 'boolean':
      return String(value);
    case 'symbol':
    case 'function':
      return `a ${typeof value}`;
    default:
      return value === null ? 'null' : renderObject(value as object, depth);
  }
}

function renderObject(value: object, depth: number): string {
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
  if (Array.isArray(value)) {
    if (depth === 0) return value.length === 0 ? '[]' : '[…]';
    const members = value.slice(0, MOST_MEMBERS).map((member) => render(member, depth - 1));
    return `[${members.join(',')}${value.length > MOST_MEMBERS ? ',…' : ''}]`;
  }
  const kind = Object.getPrototypeOf(value) as { constructor?: { name?: unknown } } | null;
  const name = kind?.constructor?.name;
  // What an object of a class holds says less than what it is: a tensor, a promise that nobody waited for.
  if (typeof name === 'string' && name !== '' && name !== 'Object')
    return `${/^[AEIOU]/.test(name) ? 'an' : 'a'} ${printable(shortened(name))}`;
  if (depth === 0) return '{…}';
  const members: string[] = [];
  // Not Object.entries: an object of a million members should not be listed for the sake of five.
  for (const name in value) {
    if (!Object.hasOwn(value, name)) continue;
    if (members.length === MOST_MEMBERS) {
      members.push('…');
      break;
    }
    members.push(`${render(name, 0)}:${render((value as Record<string, unknown>)[name], depth - 1)}`);
  }
  return `{${members.join(',')}}`;
}

/** Names of a list that may be long or empty: the first few. */
export function listed(names: readonly string[], most = 3): string {
  if (names.length === 0) return 'none';
  const shown = names.slice(0, most).map(show).join(', ');
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

/** Of bytes, in decimal units: `885.3 MB`. */
export function formatBytes(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(2)} GB`;
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  if (bytes >= 1e3) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${bytes} B`;
}
