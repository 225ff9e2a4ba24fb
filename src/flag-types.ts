/**
 * Types of the values of flags: what words mean, and what is expected where they mean nothing. Tables of flags are made of
 * them in flags.ts, which passes them on; nothing else imports this file.
 */

import { show } from './show.js';

/** How the words of a flag become a value. */
export interface ValueType<T> {
  /** Completes "expected …" in an error. */
  readonly expects: string;
  /** Stands for the value in the help text. */
  readonly placeholder: string;
  /** Takes every word up to the next flag. */
  readonly many: boolean;
  /** What the flag means with no word after it; without this a word is required. */
  readonly bare?: T;
  /** The value of these words, or undefined if they are not one. */
  parse(words: readonly string[]): T | undefined;
  /** The words of a value, for the help text and for files; without this the value is its own word. */
  words?(value: T): string;
  /** `true` and `false` of a file are values of it, as `True` and `False` are on the command line. */
  readonly truths?: boolean | undefined;
  /** What stands between the members of a list in its one word: a file may give a list. */
  readonly separator?: string | undefined;
  /** It is not shown in messages and not written to files. */
  readonly secret?: boolean | undefined;
  /** Of words that are no value of it, what was probably meant; completes an error behind what was found. */
  meant?(words: readonly string[]): string | undefined;
  /** The words that it can be, where they are few: shells complete them. */
  readonly choices?: readonly string[] | undefined;
  /** Files and folders are such values: shells complete those. */
  readonly isPath?: boolean | undefined;
}

function single<T>(
  expects: string,
  placeholder: string,
  parse: (word: string) => T | undefined,
): ValueType<T> {
  return { expects, placeholder, many: false, parse: ([word]) => parse(word!) };
}

/** A text that is not empty. What `expects` a path, a folder or a checkpoint is one of those to shells too. */
export function text(expects = 'a value'): ValueType<string> {
  const isPath = /^a (?:path|folder|checkpoint)\b/.test(expects);
  return {
    ...single(expects, expects.startsWith('a path') ? 'PATH' : 'TEXT', (word) =>
      word === '' ? undefined : word,
    ),
    isPath,
  };
}

/** Like `text`, but may be empty. */
export const anyText: ValueType<string> = single('a text', 'TEXT', (word) => word);

/** The most that a count can mean where nothing narrower is known: as many things as no machine holds. */
export const LARGEST_COUNT = 1e9;

/** A whole number from `minimum` to `maximum`; `expects` describes it. */
export function integer(
  minimum = Number.MIN_SAFE_INTEGER,
  maximum = Number.MAX_SAFE_INTEGER,
  expects = integerText(minimum, maximum),
): ValueType<number> {
  return number(expects, 'N', (word) => {
    const value = /^[+-]?\d+$/.test(word) ? Number(word) : Number.NaN;
    return Number.isSafeInteger(value) && value >= minimum && value <= maximum ? value : undefined;
  });
}

/** With numbers as other places write them told apart: `1,5`, `10_000`, and a minus sign that is no hyphen. */
function number(
  expects: string,
  placeholder: string,
  parse: (word: string) => number | undefined,
): ValueType<number> {
  return {
    ...single(expects, placeholder, parse),
    meant([word = '']) {
      const plain = word
        .replace(/[\u2010-\u2015\u2212]/g, '-')
        .replaceAll('_', '')
        .trim();
      const found = [plain, plain.replaceAll(',', '.'), plain.replaceAll(',', '')].find(
        (each) => each !== word && parse(each) !== undefined,
      );
      return found === undefined ? undefined : `${show(word)}: did you mean ${found}?`;
    },
  };
}

function integerText(minimum: number, maximum: number): string {
  const open = maximum === Number.MAX_SAFE_INTEGER;
  if (open && minimum === Number.MIN_SAFE_INTEGER) return 'an integer';
  if (minimum === 1) return open ? 'a positive integer' : `a positive integer of at most ${maximum}`;
  if (minimum === 0) return open ? 'a non-negative integer' : `an integer from 0 to ${maximum}`;
  return open ? `an integer of at least ${minimum}` : `an integer from ${minimum} to ${maximum}`;
}

/** A finite decimal number that `accepts` likes; `expects` describes it. */
export function decimal(
  expects = 'a number',
  accepts: (value: number) => boolean = () => true,
): ValueType<number> {
  return number(expects, 'X', (word) => {
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(word) ? Number(word) : Number.NaN;
    return Number.isFinite(value) && accepts(value) ? value : undefined;
  });
}

/** A number from `least` to `most`. */
export function between(least: number, most: number): ValueType<number> {
  return decimal(`a number from ${least} to ${most}`, (value) => value >= least && value <= most);
}

const TRUE = new Set(['true', 'yes', 'y', 't', '1']);
const FALSE = new Set(['false', 'no', 'n', 'f', '0']);

/** The boolean a word spells, as Hugging Face reads it; undefined if none. */
export function booleanOf(word: string): boolean | undefined {
  const lower = word.toLowerCase();
  return TRUE.has(lower) ? true : FALSE.has(lower) ? false : undefined;
}

export const boolean: ValueType<boolean> = {
  ...single('True or False', 'True|False', booleanOf),
  bare: true,
  truths: true,
  choices: ['True', 'False'],
};

export function choice<const Choices extends readonly string[]>(
  choices: Choices,
): ValueType<Choices[number]> {
  return {
    ...single(`one of ${choices.join(', ')}`, choices.join('|'), (word) =>
      choices.includes(word) ? word : undefined,
    ),
    choices,
  };
}

const BYTES: Record<string, number> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
};

/**
 * A size such as `12GB` or `800MiB`, in bytes. A number without a unit below `least` was meant in `unit`, the one that
 * such sizes usually have: it is refused, since nothing could be done in so few bytes.
 */
export function byteSize(unit: 'MB' | 'GB' | 'GiB', least: number): ValueType<number> {
  const bare = (word: string) => (/^\d+(?:\.\d+)?$/.test(word) && Number(word) < least ? word : undefined);
  const parse = (word: string) => {
    const match = /^(\d+(?:\.\d+)?) ?([kmgt]?i?)b?$/i.exec(word);
    const factor = match && BYTES[match[2]!.toLowerCase()];
    const bytes = factor ? Math.floor(Number(match[1]) * factor) : 0;
    return bytes > 0 && Number.isSafeInteger(bytes) && bare(word) === undefined ? bytes : undefined;
  };
  return {
    ...single('a size such as 12GB', 'SIZE', parse),
    meant([word]) {
      const number = word === undefined ? undefined : bare(word);
      if (number === undefined || Number(number) === 0) return undefined;
      const thousands = Number(number) >= 1000 ? unit.replace('G', 'M') : unit;
      return `${number} bytes: did you mean ${number}${thousands}?`;
    },
  };
}

/** One or more of `type`. */
export function listOf<T>(type: ValueType<T>, expects: string): ValueType<T[]> {
  return {
    expects,
    placeholder: `${type.placeholder}…`,
    many: true,
    ...(type.choices && { choices: type.choices }),
    ...(type.isPath && { isPath: true }),
    ...(type.words && { words: (values: T[]) => values.map((value) => type.words!(value)).join(' ') }),
    parse(words) {
      const values = words.map((word) => type.parse([word]));
      return words.length > 0 && values.every((value) => value !== undefined) ? (values as T[]) : undefined;
    },
  };
}
