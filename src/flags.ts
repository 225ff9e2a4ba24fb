/**
 * Command-line flags as a table: each flag declares its type, default and help once, and the table parses argv,
 * and yields a typed record; the help text is rendered from it too (src/flag-help.ts). Spelling follows Hugging Face's parser:
 * `--name_like_this` or `--name-like-this`, `--flag=value`, booleans as `--flag`, `--flag True` or, for those that
 * are on by default, `--no_flag`. Stands beside errors.ts, below all rooms, because every command has such a table.
 */
import { isDeepStrictEqual } from 'node:util';
import { InputError } from './errors.js';
import { nearestName } from './nearest-name.js';
import { printable, show } from './show.js';

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
  /** The words of a value, for the help text; without this the value is its own word. */
  words?(value: T): string;
}

/** A flag of a command: its type, default and help. */
export interface Flag<T> {
  readonly type: ValueType<T>;
  /** Undefined: the flag must be given. */
  readonly fallback: T | undefined;
  readonly help: string;
  readonly group: string;
  /** Why the flag changes nothing here; giving it earns a notice. */
  readonly inert?: string | undefined;
  /** Of an inert flag: the values that say what happens here anyway and earn no notice; its default if not told. */
  readonly holds?: ((value: T) => boolean) | undefined;
}

/** A flag of another program that has no meaning of its own here. */
export interface ForeignFlag {
  /** Why it changes nothing here or, refused, why it cannot be had. */
  readonly reason: string;
  /** Whether a value that does not hold is an error: for what would change the result. Else it earns a notice. */
  readonly refused: boolean;
  /** Values that say what happens here anyway. They pass without a word, as `None` does. */
  readonly holds: readonly string[];
  /** Those that hold instead where another flag is given. */
  readonly beside?: { readonly flag: string; readonly holds: readonly string[] };
}

/** Flags of a command by name. */
// biome-ignore lint/suspicious/noExplicitAny: a table mixes value types; FlagValues recovers each one
export type FlagTable = Record<string, Flag<any>>;

/** 'train_group_size' → 'trainGroupSize'. */
export type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;

/** Values of a table of flags, by names in camel case. */
export type FlagValues<Table extends FlagTable> = {
  -readonly [Name in keyof Table & string as CamelCase<Name>]: Table[Name] extends Flag<infer T> ? T : never;
};

export interface ParsedFlags<Table extends FlagTable> {
  readonly values: FlagValues<Table>;
  /** Names (with underscores) that argv named. */
  readonly given: ReadonlySet<string>;
  /** One line each: what was accepted but changes nothing. */
  readonly notices: string[];
  readonly positionals: string[];
}

// ---- value types ----

function single<T>(
  expects: string,
  placeholder: string,
  parse: (word: string) => T | undefined,
): ValueType<T> {
  return { expects, placeholder, many: false, parse: ([word]) => parse(word!) };
}

export const text = (expects = 'a value'): ValueType<string> =>
  single(expects, 'TEXT', (word) => (word === '' ? undefined : word));

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
  return single(expects, 'N', (word) => {
    const value = /^[+-]?\d+$/.test(word) ? Number(word) : Number.NaN;
    return Number.isSafeInteger(value) && value >= minimum && value <= maximum ? value : undefined;
  });
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
  return single(expects, 'X', (word) => {
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
};

export function choice<const Choices extends readonly string[]>(
  choices: Choices,
): ValueType<Choices[number]> {
  return single(`one of ${choices.join(', ')}`, choices.join('|'), (word) =>
    choices.includes(word) ? word : undefined,
  );
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

/** A size such as `12GB` or `800MiB`, in bytes. */
export const byteSize: ValueType<number> = single('a size such as 12GB', 'SIZE', (word) => {
  const match = /^(\d+(?:\.\d+)?) ?([kmgt]?i?)b?$/i.exec(word);
  const unit = match && BYTES[match[2]!.toLowerCase()];
  const bytes = unit ? Math.floor(Number(match[1]) * unit) : 0;
  return bytes > 0 && Number.isSafeInteger(bytes) ? bytes : undefined;
});

/** One or more of `type`. */
export function listOf<T>(type: ValueType<T>, expects: string): ValueType<T[]> {
  return {
    expects,
    placeholder: `${type.placeholder}…`,
    many: true,
    ...(type.words && { words: (values: T[]) => values.map((value) => type.words!(value)).join(' ') }),
    parse(words) {
      const values = words.map((word) => type.parse([word]));
      return words.length > 0 && values.every((value) => value !== undefined) ? (values as T[]) : undefined;
    },
  };
}

// ---- declarations ----

type Declaration<T> = Omit<Flag<T>, 'group'>;

export function required<T>(type: ValueType<T>, help: string): Declaration<T> {
  return { type, help, fallback: undefined };
}

export function withDefault<T>(type: ValueType<T>, fallback: NoInfer<T>, help: string): Declaration<T> {
  return { type, help, fallback };
}

/** May stay unset (null); the word `None` says so too. */
export function optional<T>(type: ValueType<T>, help: string): Declaration<T | null> {
  const parse = (words: readonly string[]): T | null | undefined =>
    words.length === 1 && words[0] === 'None' ? null : type.parse(words);
  return { type: { ...type, parse }, help, fallback: null };
}

/** Marks a flag that is understood but changes nothing here, and says why; `holds` as in `Flag`. */
export function inert<T>(
  declaration: Declaration<T>,
  reason: string,
  holds: (value: T) => boolean = (value) => isDeepStrictEqual(value, declaration.fallback),
): Declaration<T> {
  return { ...declaration, inert: reason, holds };
}

/** The flags of one heading of the help text. */
// biome-ignore lint/suspicious/noExplicitAny: as in FlagTable
export function group<Members extends Record<string, Declaration<any>>>(
  title: string,
  members: Members,
): { [Name in keyof Members]: Members[Name] & { readonly group: string } } {
  const entries = Object.entries(members).map(([name, flag]) => [name, { ...flag, group: title }]);
  return Object.fromEntries(entries);
}

// ---- flags that several commands have ----

export const adapterFlag = group('Machine', {
  adapter: optional(text('part of an adapter name'), 'the GPU to use, by a part of its name'),
});

/** Where the choice among the variants of a kernel comes from. */
export const tuneModes = ['off', 'cached', 'full'] as const;

export type TuneMode = (typeof tuneModes)[number];

export const tuneFlag = group('Machine', {
  tune: withDefault(
    choice(tuneModes),
    'cached',
    'kernels by rule, by what earlier tuning found, or tuned before the run',
  ),
});

/** Of commands that train: where the time of their steps goes. */
export const profileFlag = group('Output', {
  profile: optional(
    text('a path'),
    'write a trace of the steps here, for Perfetto or chrome://tracing, and print the time of each kernel',
  ),
});

export const debugFlag = group('Other', {
  debug: withDefault(boolean, false, 'print stack traces'),
});

// ---- parsing ----

export interface ParseOptions {
  /** Names that are no flags of the table, but known elsewhere. */
  readonly foreign?: Readonly<Record<string, ForeignFlag>>;
  /** Other names of flags of the table. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Whether words that belong to no flag are allowed. */
  readonly positionals?: boolean;
}

const isFlag = (word: string) => /^--?[A-Za-z]/.test(word);

function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** @throws InputError, one line that names the flag, what was expected and what was found. */
export function parseFlags<const Table extends FlagTable>(
  table: Table,
  argv: readonly string[],
  options: ParseOptions = {},
): ParsedFlags<Table> {
  const foreign = options.foreign ?? {};
  const aliases = options.aliases ?? {};
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries(table)) values[camelCase(name)] = flag.fallback;
  const given = new Set<string>();
  const replaced = new Set<string>();
  const notices: string[] = [];
  const positionals: string[] = [];
  /** Flags without effect, with their last words, in the order in which they are first given. */
  const idle = new Map<string, readonly string[]>();

  let next = 0;
  while (next < argv.length) {
    const word = argv[next++]!;
    if (word === '--') {
      positionals.push(...argv.slice(next));
      break;
    }
    if (!isFlag(word)) {
      positionals.push(word);
      continue;
    }
    const equals = word.indexOf('=');
    const spelled = equals < 0 ? word : word.slice(0, equals);
    const attached = equals < 0 ? null : word.slice(equals + 1);
    let name = spelled.slice(spelled.startsWith('--') ? 2 : 1).replaceAll('-', '_');
    const negated = /^no_(.+)$/.exec(name)?.[1];
    const isNegation =
      negated !== undefined &&
      !Object.hasOwn(table, name) &&
      Object.hasOwn(table, negated) &&
      table[negated]!.fallback === true;
    if (isNegation) name = negated;

    const own = spelled.startsWith('--');
    const isAlias = own && Object.hasOwn(aliases, name);
    if (isAlias) name = aliases[name]!;
    const flag = own && Object.hasOwn(table, name) ? table[name]! : null;
    if (!flag && !(own && Object.hasOwn(foreign, name)))
      throw new InputError(
        unknownFlag(spelled, [...Object.keys(table), ...Object.keys(foreign), ...Object.keys(aliases)]),
      );
    const repeats = given.has(name);
    given.add(name);

    const takesWord = !flag || flag.type.many || !isNegation;
    const words: string[] = attached === null ? [] : [attached];
    // Where a word may stand alone, one that a bare flag cannot read is no value of it.
    const mayStandAlone = options.positionals && flag?.type.bare !== undefined && !flag.type.many;
    const isValue = (word: string) => !mayStandAlone || flag.type.parse([word]) !== undefined;
    if (attached === null && takesWord)
      while (next < argv.length && !isFlag(argv[next]!) && argv[next] !== '--' && isValue(argv[next]!)) {
        words.push(argv[next++]!);
        if (flag && !flag.type.many) break;
      }
    // Another name of a flag is unset by default, whatever the default of the flag.
    if (isAlias && words.length === 1 && words[0] === 'None') continue;
    if (!flag || flag.inert !== undefined) idle.set(name, words);
    if (!flag) continue;
    let value: unknown;
    if (isNegation) value = words.length === 0 ? false : undefined;
    else if (words.length === 0 && flag.type.bare !== undefined) value = flag.type.bare;
    else if (words.length > 0) value = flag.type.parse(words);
    if (value === undefined) {
      const expects = isNegation ? 'no value' : flag.type.expects;
      const found = words.length === 0 ? 'nothing' : shownWords(words);
      throw new InputError(`${isNegation ? spelled : `--${name}`}: expected ${expects}, found ${found}`);
    }
    const key = camelCase(name);
    if (repeats && !isDeepStrictEqual(values[key], value) && !replaced.has(name)) {
      replaced.add(name);
      notices.push(`--${name} is given more than once: the last counts`);
    }
    values[key] = value;
  }

  if (positionals.length > 0 && !options.positionals)
    throw new InputError(`unexpected argument ${show(positionals[0])}: expected a flag`);
  for (const [name, flag] of Object.entries(table))
    if (flag.fallback === undefined && !given.has(name))
      throw new InputError(`--${name}: expected ${flag.type.expects}, found nothing (the flag is required)`);
  for (const [name, words] of idle) {
    const flag = Object.hasOwn(table, name) ? table[name]! : null;
    if (flag?.holds?.(values[camelCase(name)])) continue;
    const reason = flag ? flag.inert! : reasonOf(name, foreign[name]!, words, given);
    if (reason !== undefined) notices.push(`--${name} has no effect here: ${reason}`);
  }
  return { values: values as FlagValues<Table>, given, notices, positionals };
}

/** Why a foreign flag with these words has no effect; undefined where they say what happens anyway. */
function reasonOf(
  name: string,
  { reason, refused, holds, beside }: ForeignFlag,
  words: readonly string[],
  given: ReadonlySet<string>,
): string | undefined {
  const value = words.length === 0 ? 'True' : words.join(' ');
  const holding = beside && given.has(beside.flag) ? beside.holds : holds;
  if (['None', ...holding].some((expected) => sameValue(value, expected))) return undefined;
  if (!refused) return reason;
  throw new InputError(
    `--${name}: expected ${holding.length > 1 ? 'one of ' : ''}${holding.join(', ')}, found ${show(value)}: ${reason}`,
  );
}

/** Whether two words spell the same boolean, number or text. */
function sameValue(found: string, expected: string): boolean {
  if (found.trim().toLowerCase() === expected.toLowerCase()) return true;
  if (/^(?:true|false)$/i.test(expected)) return booleanOf(found) === booleanOf(expected);
  return /^-?\d+$/.test(expected) && found.trim() !== '' && Number(found) === Number(expected);
}

function unknownFlag(spelled: string, known: readonly string[]): string {
  const name = spelled.replace(/^-+/, '').replaceAll('-', '_');
  const nearest = nearestName(name, known);
  const shown = printable(spelled.length > 80 ? `${spelled.slice(0, 80)}…` : spelled);
  return `unknown flag ${shown}; ${nearest === null ? '--help lists them' : `the nearest is --${nearest}`}`;
}

/** A few of the words that were found. */
function shownWords(words: readonly string[]): string {
  const most = 5;
  const shown = words.slice(0, most).map(show).join(' ');
  return words.length > most ? `${shown} and ${words.length - most} more` : shown;
}
