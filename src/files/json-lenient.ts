/**
 * One JSON value out of a text, where `JSON.parse` does not do: `NaN` and the infinities are numbers, as they are to
 * Python and to the readers of the `datasets` package; depth and number of values are bounded while it reads, not
 * after; an object that names a key twice is refused; and a fault says where it stands and what was expected there.
 * Slower than `JSON.parse`, which well-formed text should meet first.
 */
import { show } from '../show.js';

export interface LenientLimits {
  /** Nested lists and objects. */
  readonly maxDepth: number;
  /** Texts, numbers, literals, lists and objects, all together. */
  readonly maxValues: number;
}

/** Why a text is no JSON value. The message is a part of a line: `expected …, found …`. */
export class JsonFault extends Error {
  constructor(
    readonly expected: string,
    readonly found: string,
    /** In UTF-16 units from the start of the text. */
    readonly offset: number,
  ) {
    super(`expected ${expected}, found ${found}`);
  }
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const LITERAL = /true|false|null|NaN|-?Inf(?:inity)?|-NaN/y;
const ESCAPE = /^(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/;

const literals = new Map<string, unknown>([
  ['true', true],
  ['false', false],
  ['null', null],
  ['NaN', Number.NaN],
  ['-NaN', Number.NaN],
  ['Inf', Number.POSITIVE_INFINITY],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Inf', Number.NEGATIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
]);

/** Objects have no prototype. @throws JsonFault. */
export function parseLenient(text: string, limits: LenientLimits): unknown {
  return new Reader(text, limits).read();
}

class Reader {
  private at = 0;
  private values = 0;

  constructor(
    private readonly text: string,
    private readonly limits: LenientLimits,
  ) {}

  read(): unknown {
    const value = this.value(0);
    this.skipSpace();
    if (this.at < this.text.length) throw this.fault('nothing after the value');
    return value;
  }

  private value(depth: number): unknown {
    this.skipSpace();
    if (++this.values > this.limits.maxValues)
      throw new JsonFault(`at most ${this.limits.maxValues} values`, 'more', this.at);
    switch (this.text[this.at]) {
      case '"':
        return this.string();
      case '{':
        return this.object(this.deeper(depth));
      case '[':
        return this.list(this.deeper(depth));
      default: {
        const number = this.match(NUMBER);
        if (number !== '') return Number(number);
        const literal = this.match(LITERAL);
        if (literal === '') throw this.fault('a value');
        return literals.get(literal);
      }
    }
  }

  private deeper(depth: number): number {
    if (depth === this.limits.maxDepth)
      throw new JsonFault(`at most ${this.limits.maxDepth} nested lists and objects`, 'more', this.at);
    return depth + 1;
  }

  private object(depth: number): Record<string, unknown> {
    const object: Record<string, unknown> = Object.create(null);
    this.at++;
    if (this.next('}')) return object;
    do {
      this.skipSpace();
      const start = this.at;
      if (this.text[start] !== '"') throw this.fault('a name in double quotes');
      const name = this.string();
      if (Object.hasOwn(object, name)) throw new JsonFault('each name once', `${show(name)} again`, start);
      if (!this.next(':')) throw this.fault('":"');
      object[name] = this.value(depth);
    } while (this.next(','));
    if (!this.next('}')) throw this.fault('"," or "}"');
    return object;
  }

  private list(depth: number): unknown[] {
    const list: unknown[] = [];
    this.at++;
    if (this.next(']')) return list;
    do list.push(this.value(depth));
    while (this.next(','));
    if (!this.next(']')) throw this.fault('"," or "]"');
    return list;
  }

  /** The text of the string that begins here: a copy, so that it does not keep the whole text in memory. */
  private string(): string {
    const start = this.at;
    let end = start;
    let backslashes: number;
    do {
      end = this.text.indexOf('"', end + 1);
      if (end < 0) throw this.stringFault(start, this.text.length);
      backslashes = 0;
      while (this.text[end - 1 - backslashes] === '\\') backslashes++;
    } while (backslashes % 2 === 1);
    try {
      const value = JSON.parse(this.text.slice(start, end + 1)) as string;
      this.at = end + 1;
      return value;
    } catch {
      throw this.stringFault(start, end);
    }
  }

  /** What is wrong first in the string that begins at `start`, before `end`; nothing else than that it has no end. */
  private stringFault(start: number, end: number): JsonFault {
    const { text } = this;
    for (let at = start + 1; at < end; at++) {
      if (text[at] === '\\') {
        if (at + 1 < end && !ESCAPE.test(text.slice(at + 1, at + 6)))
          return new JsonFault('an escape that JSON knows', show(text.slice(at, at + 2)), at);
        at++;
      } else if (text.charCodeAt(at) < 0x20)
        return new JsonFault('an escape in place of a control character in a text', show(text[at]), at);
    }
    return new JsonFault('a double quote that ends the text', 'none', start);
  }

  /** Whether this character comes next; it is then behind us. */
  private next(character: string): boolean {
    this.skipSpace();
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private skipSpace(): void {
    while (isSpace(this.text.charCodeAt(this.at))) this.at++;
  }

  private match(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0] ?? '';
    this.at += found.length;
    return found;
  }

  private fault(expected: string): JsonFault {
    const rest = this.text.slice(this.at, this.at + 20);
    return new JsonFault(expected, rest === '' ? 'the end' : show(rest), this.at);
  }
}

const isSpace = (code: number) => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
