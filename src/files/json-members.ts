/**
 * Members of a JSON object that are replaced while all others stay as they are written: a number keeps its digits (an
 * identifier of 64 bits, `1.0`), a name its place. For files whose rows are passed on with a column changed.
 */

/** A value that is JSON already: for numbers whose writing matters. */
export class JsonText {
  constructor(readonly text: string) {}
}

/**
 * The object `json` on one line, with the members of `changes` in place of those of their names, and behind all others
 * where there was none; a member whose change is undefined is left out. json: text that the reader of json-objects.ts
 * has accepted. Values are written by JSON.stringify, a `JsonText` as it is.
 */
export function withMembers(json: string, changes: Readonly<Record<string, unknown>>): string {
  const left = new Map(Object.entries(changes));
  const members: string[] = [];
  for (const { name, text } of membersOf(json)) {
    if (!Object.hasOwn(changes, name)) members.push(text);
    else if (left.get(name) !== undefined) members.push(memberText(name, left.get(name)));
    left.delete(name);
  }
  for (const [name, value] of left) if (value !== undefined) members.push(memberText(name, value));
  return `{${members.join(', ')}}`;
}

const memberText = (name: string, value: unknown) =>
  `${JSON.stringify(name)}: ${value instanceof JsonText ? value.text : JSON.stringify(value)}`;

/** The members at the top of an object, without the white space around them and the line ends within. */
function* membersOf(json: string): Generator<{ name: string; text: string }> {
  const end = json.lastIndexOf('}');
  let at = json.indexOf('{') + 1;
  while (at < end) {
    const next = endOfMember(json, at, end);
    const text = onOneLine(json.slice(at, next).trim());
    if (text !== '') yield { name: JSON.parse(text.slice(0, endOfText(text, 0))), text };
    at = next + 1;
  }
}

/** Where the comma or the brace behind the member that begins at `at` is. */
function endOfMember(json: string, at: number, end: number): number {
  let depth = 0;
  for (let i = at; i < end; i++) {
    const c = json[i];
    if (c === '"') i = endOfText(json, i) - 1;
    else if (c === '[' || c === '{') depth++;
    else if (c === ']' || c === '}') depth--;
    else if (c === ',' && depth === 0) return i;
  }
  return end;
}

/** Behind the quote that closes the text that begins at `at`. */
function endOfText(json: string, at: number): number {
  let i = at + 1;
  while (json[i] !== '"') i += json[i] === '\\' ? 2 : 1;
  return i + 1;
}

/** Line ends stand between values only: within texts JSON has them escaped. */
const onOneLine = (text: string) => text.replace(/\s*[\r\n]+\s*/g, ' ');
