/**
 * Command-line flags as a table: each flag declares its type, default and help once, and the table parses argv,
 * and yields a typed record; the help text is rendered from it too (src/flag-help.ts). Spelling follows Hugging Face's parser:
 * `--name_like_this` or `--name-like-this`, `--flag=value`, booleans as `--flag`, `--flag True` or, for those that
 * are on by default, `--no_flag`. `--config FILE` gives flags by a YAML file (config-file.ts). Stands beside errors.ts,
 * below all rooms, because every command has such a table.
 */
import { isDeepStrictEqual } from 'node:util';
import { type ConfigSetting, readConfig } from './config-file.js';
import { InputError } from './errors.js';
import { boolean, booleanOf, choice, text, type ValueType } from './flag-types.js';
import { nearestName } from './nearest-name.js';
import { printable, show } from './show.js';

export * from './flag-types.js';

/** A flag of a command: its type, default and help. */
export interface Flag<T> {
  /** How its words are read, and what is expected where they cannot be. */
  readonly type: ValueType<T>;
  /** Undefined: the flag must be given. */
  readonly fallback: T | undefined;
  /** What it means, in a line; the first sentence also stands in completions. */
  readonly help: string;
  /** The heading under which `--help` lists it. */
  readonly group: string;
  /** Why the flag changes nothing here; giving it earns a notice. */
  readonly inert?: string | undefined;
  /** Of an inert flag: the values that say what happens here anyway and earn no notice; its default if not told. */
  readonly holds?: ((value: T) => boolean) | undefined;
  /** It is of the words that are typed, and of no file. */
  readonly typedOnly?: boolean | undefined;
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

/** Where the value of a flag comes from: the command line, the file of `--config`, or the table. */
export type Origin = 'flag' | 'config' | 'default';

/** The words that a command was given, and what they and the file that they name decided. */
export interface CommandLine {
  /** Behind the command's name, as they were typed. */
  readonly argv: readonly string[];
  /** Of every flag of the table, by its name with underscores. */
  readonly origin: ReadonlyMap<string, Origin>;
}

/** What a command makes of its words. */
export interface ParsedCommand<Args> {
  /** Its settings, defaults filled in. */
  readonly args: Args;
  /** One line each, for people: what was accepted but has no effect, or less than it seems. */
  readonly notices: string[];
}

export interface ParsedFlags<Table extends FlagTable> {
  readonly values: FlagValues<Table>;
  /** Names (with underscores) that argv or the file of `--config` named. */
  readonly given: ReadonlySet<string>;
  /** Where each value comes from, by the names of the table. */
  readonly origin: ReadonlyMap<string, Origin>;
  /** One line each: what was accepted but changes nothing. */
  readonly notices: string[];
  readonly positionals: string[];
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
const tuneModes = ['off', 'cached', 'full'] as const;

export type TuneMode = (typeof tuneModes)[number];

export const tuneFlag = group('Machine', {
  tune: withDefault(
    choice(tuneModes),
    'cached',
    'kernels by rule, by what earlier tuning found, or tuned before the run',
  ),
});

/** How a command that works for long says how far it is (console/display.ts). */
export const progressModes = ['auto', 'bar', 'lines', 'json', 'none'] as const;

/** A word of `--progress`. */
export type ProgressMode = (typeof progressModes)[number];

export const progressFlag = group('Output', {
  progress: withDefault(
    choice(progressModes),
    'auto',
    'on standard error: a bar; a line every 30 s; JSON, an object a line; none. auto: a bar on a terminal, else lines',
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
  // What fails before a file is read is told with it too.
  debug: { ...withDefault(boolean, false, 'print stack traces'), typedOnly: true },
});

/** Of every command: the parser knows it, and no table has it. */
export const configFlag = group('Other', {
  config: optional(
    text('a path'),
    'a YAML file of flags, such as learning_rate: 1e-5; what the command line says goes before it',
  ),
});

// ---- parsing ----

export interface ParseOptions {
  /** Names that are no flags of the table, but known elsewhere. */
  readonly foreign?: Readonly<Record<string, ForeignFlag>>;
  /** Other names of flags of the table. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** What people call flags of the table who know other programs: an error names the flag. */
  readonly habits?: Readonly<Record<string, string>>;
  /** Whether words that belong to no flag are allowed. */
  readonly positionals?: boolean;
}

/** What text processors make of hyphens: dashes, and the minus sign. */
const OTHER_DASHES = /^[\u2010-\u2015\u2212]+-*/;

/** Whether it is a flag but for the dash before it. */
function hasOtherDash(word: string, known: FlagTable): boolean {
  const name = word.replace(OTHER_DASHES, '').replace(/=.*/s, '').replaceAll('-', '_');
  return OTHER_DASHES.test(word) && Object.hasOwn(known, name);
}

const isFlag = (word: string) => /^--?[A-Za-z]/.test(word);

/** The name of a flag as its value has it. */
export const camelCase = <S extends string>(name: S): CamelCase<S> =>
  name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()) as CamelCase<S>;

/** A flag with the words after it, as the command line has them. */
interface TypedFlag {
  /** Of the table or foreign, aliases resolved. */
  readonly name: string;
  readonly spelled: string;
  readonly words: readonly string[];
  /** `--no_name`, without a word. */
  readonly negates: boolean;
  /** Its alias is given `None`. */
  readonly unset: boolean;
}

/** A flag that is known but has no effect, or a foreign one: what is told of it at the end. */
interface IdleFlag {
  /** How a message names it. */
  readonly label: string;
  readonly words: readonly string[];
}

/**
 * Values of a table's flags: those of the command line, else those of the file that `--config` names, else defaults.
 * @throws InputError, one line that names the flag (or the file and the line), what was expected and what was found.
 */
export function parseFlags<const Table extends FlagTable>(
  table: Table,
  argv: readonly string[],
  options: ParseOptions = {},
): ParsedFlags<Table> {
  const foreign = options.foreign ?? {};
  const values: Record<string, unknown> = {};
  const origin = new Map<string, Origin>();
  for (const [name, flag] of Object.entries(table)) {
    values[camelCase(name)] = flag.fallback;
    origin.set(name, 'default');
  }
  const notices: string[] = [];
  /** In the order in which they are first given. */
  const idle = new Map<string, IdleFlag>();
  const given = new Set<string>();
  const { flags, positionals } = typedFlags(table, argv, options);

  for (const { name, setting } of configSettings(table, flags, options, notices)) {
    const flag = ownFlag(table, name);
    given.add(name);
    if (!flag || flag.inert !== undefined)
      idle.set(name, { label: `${setting.where}: ${name}`, words: foreignWords(setting) });
    if (!flag) continue;
    values[camelCase(name)] = configValue(flag, setting);
    origin.set(name, 'config');
  }

  const resetToDefault = (name: string, flag: Flag<unknown>) => {
    values[camelCase(name)] = flag.fallback;
    origin.set(name, 'default');
    given.delete(name);
    idle.delete(name);
  };
  const typed = new Set<string>();
  const replaced = new Set<string>();
  for (const { name, spelled, words, negates, unset } of flags) {
    const flag = ownFlag(table, name);
    if (unset) {
      if (!typed.has(name) && flag) resetToDefault(name, flag);
      continue;
    }
    const repeats = typed.has(name);
    typed.add(name);
    given.add(name);
    if (!flag || flag.inert !== undefined) idle.set(name, { label: `--${name}`, words });
    if (!flag) continue;
    let value: unknown;
    if (negates) value = words.length === 0 ? false : undefined;
    else if (words.length === 0 && flag.type.bare !== undefined) value = flag.type.bare;
    else if (words.length > 0) value = flag.type.parse(words);
    if (value === undefined) {
      const expects = negates ? 'no value' : flag.type.expects;
      const found =
        words.length === 0
          ? 'nothing'
          : ((negates ? undefined : flag.type.meant?.(words)) ?? shownWords(words, flag.type.secret));
      throw new InputError(`${negates ? spelled : `--${name}`}: expected ${expects}, found ${found}`);
    }
    const key = camelCase(name);
    if (repeats && !isDeepStrictEqual(values[key], value) && !replaced.has(name)) {
      replaced.add(name);
      notices.push(`--${name} is given more than once: the last counts`);
    }
    values[key] = value;
    origin.set(name, 'flag');
  }

  if (positionals.length > 0 && !options.positionals)
    throw new InputError(`unexpected argument ${show(positionals[0])}: expected a flag`);
  for (const [name, flag] of Object.entries(table))
    if (flag.fallback === undefined && !given.has(name))
      throw new InputError(`--${name}: expected ${flag.type.expects}, found nothing (the flag is required)`);
  for (const [name, { label, words }] of idle) {
    const flag = ownFlag(table, name);
    if (flag?.holds?.(values[camelCase(name)])) continue;
    const reason = flag ? flag.inert! : reasonOf(label, foreign[name]!, words, given);
    if (reason !== undefined) notices.push(`${label} has no effect here: ${reason}`);
  }
  return { values: values as FlagValues<Table>, given, origin, notices, positionals };
}

function ownFlag(table: FlagTable, name: string): Flag<unknown> | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/** Whether the parser knows `--config` beside the table's flags. */
const takesConfig = (table: FlagTable) => !Object.hasOwn(table, 'config');

/** The flags of the command line with their words. @throws InputError for unknown ones. */
function typedFlags(
  table: FlagTable,
  argv: readonly string[],
  options: ParseOptions,
): { readonly flags: TypedFlag[]; readonly positionals: string[] } {
  const foreign = options.foreign ?? {};
  const aliases = options.aliases ?? {};
  const known: FlagTable = takesConfig(table) ? { ...table, ...configFlag } : table;
  const flags: TypedFlag[] = [];
  const positionals: string[] = [];
  let next = 0;
  while (next < argv.length) {
    const word = argv[next++]!;
    if (word === '--') {
      positionals.push(...argv.slice(next));
      break;
    }
    if (!isFlag(word)) {
      if (hasOtherDash(word, known))
        throw new InputError(
          `${show(word)}: expected a flag after hyphens, found another dash before it: did you mean --${word.replace(OTHER_DASHES, '')}?`,
        );
      positionals.push(word);
      continue;
    }
    const equals = word.indexOf('=');
    const spelled = equals < 0 ? word : word.slice(0, equals);
    const attached = equals < 0 ? null : word.slice(equals + 1);
    let name = spelled.slice(spelled.startsWith('--') ? 2 : 1).replaceAll('-', '_');
    const negated = /^no_(.+)$/.exec(name)?.[1];
    const negates =
      negated !== undefined && !Object.hasOwn(known, name) && ownFlag(known, negated)?.fallback === true;
    if (negates) name = negated;

    const own = spelled.startsWith('--');
    const isAlias = own && Object.hasOwn(aliases, name);
    if (isAlias) name = aliases[name]!;
    const flag = own ? ownFlag(known, name) : undefined;
    if (!flag && !(own && Object.hasOwn(foreign, name)))
      throw new InputError(
        unknownFlag(
          spelled,
          [...Object.keys(known), ...Object.keys(foreign), ...Object.keys(aliases)],
          options.habits,
        ),
      );

    const takesWord = !flag || flag.type.many || !negates;
    const words: string[] = attached === null ? [] : [attached];
    // Where a word may stand alone, one that a bare flag cannot read is no value of it.
    const mayStandAlone = options.positionals && flag?.type.bare !== undefined && !flag.type.many;
    const isValue = (word: string) => !mayStandAlone || flag.type.parse([word]) !== undefined;
    if (attached === null && takesWord)
      while (
        next < argv.length &&
        !isFlag(argv[next]!) &&
        argv[next] !== '--' &&
        !hasOtherDash(argv[next]!, known) &&
        isValue(argv[next]!)
      ) {
        words.push(argv[next++]!);
        if (flag && !flag.type.many) break;
      }
    // Another name of a flag is unset by default, whatever the default of the flag.
    const unset = isAlias && words.length === 1 && words[0] === 'None';
    flags.push({ name, spelled, words, negates, unset });
  }
  return { flags, positionals };
}

/** A setting of a file, and the flag that it is of. */
interface NamedSetting {
  readonly name: string;
  readonly setting: ConfigSetting;
}

/** The settings of the file that `--config` names; takes that flag off the list. @throws InputError. */
function configSettings(
  table: FlagTable,
  flags: TypedFlag[],
  options: ParseOptions,
  notices: string[],
): NamedSetting[] {
  if (!takesConfig(table)) return [];
  const named = flags.filter(({ name }) => name === 'config');
  if (named.length === 0) return [];
  flags.splice(0, flags.length, ...flags.filter(({ name }) => name !== 'config'));
  const { words } = named.at(-1)!;
  const file = words.length === 0 ? undefined : configFlag.config.type.parse(words);
  if (file === undefined)
    throw new InputError(
      `--config: expected ${configFlag.config.type.expects}, found ${words.length === 0 ? 'nothing' : shownWords(words)}`,
    );
  if (new Set(named.map((each) => each.words[0])).size > 1)
    notices.push('--config is given more than once: the last counts');
  if (file === null) return [];
  const seen = new Map<string, ConfigSetting>();
  const all: NamedSetting[] = [];
  for (const setting of readConfig(file)) {
    const name = nameOfSetting(setting, table, options);
    const before = seen.get(name);
    if (before) {
      const other = before.key === setting.key ? '' : ` as ${show(before.key)}`;
      throw new InputError(
        `${setting.where}: ${name}: expected one value, found another in line ${before.where.split(':').at(-1)}${other}`,
      );
    }
    seen.set(name, setting);
    // As on the command line: another name of a flag may say that it is not set.
    if (!isAlias(setting, options) || setting.kind !== 'null') all.push({ name, setting });
  }
  return all;
}

const flagName = ({ key }: ConfigSetting) => key.replaceAll('-', '_');

const isAlias = (setting: ConfigSetting, { aliases = {} }: ParseOptions) =>
  Object.hasOwn(aliases, flagName(setting));

/** @throws InputError for a setting that is no flag of the command. */
function nameOfSetting(setting: ConfigSetting, table: FlagTable, options: ParseOptions): string {
  const { foreign = {}, aliases = {}, habits = {} } = options;
  const spelled = flagName(setting);
  const name = isAlias(setting, options) ? aliases[spelled]! : spelled;
  const flag = ownFlag(table, name);
  if (flag?.typedOnly || (name === 'config' && takesConfig(table)))
    throw new InputError(
      `${setting.where}: ${name}: expected it on the command line, found it in a file, which cannot have it`,
    );
  if (flag || Object.hasOwn(foreign, name)) return name;
  const known = [...Object.keys(table), ...Object.keys(foreign), ...Object.keys(aliases)];
  const nearest = Object.hasOwn(habits, spelled)
    ? habits[spelled]!
    : nearestName(spelled.replace(/^_+/, ''), known);
  const shown = show(setting.key);
  throw new InputError(
    `${setting.where}: unknown flag ${shown}; ${nearest === null ? '--help lists them' : `the nearest is ${nearest}`}`,
  );
}

/** The words of a foreign flag: what a file writes with braces or as nothing is spelled so on the command line. */
const foreignWords = ({ kind, words }: ConfigSetting): readonly string[] =>
  kind === 'null' ? ['None'] : kind === 'list' && words.length === 0 ? ['[]'] : words;

/** A scalar means what the same word means on the command line. @throws InputError. */
function configValue({ type, fallback }: Flag<unknown>, setting: ConfigSetting): unknown {
  const { kind, words, where, key, shown } = setting;
  let value: unknown;
  let quotable = false;
  if (kind === 'null') value = fallback === null ? null : undefined;
  else if (kind === 'list') {
    const { separator } = type;
    if (type.many && words.length > 0) value = type.parse(words);
    else if (separator !== undefined && words.length > 0 && !words.some((word) => word.includes(separator)))
      value = type.parse([words.join(separator)]);
  } else if (kind !== 'mapping') {
    value = type.parse(words);
    // A text that reads true was meant as something else, unless the flag has such values.
    quotable = kind === 'boolean' && !type.truths && (typeof value === 'string' || Array.isArray(value));
  }
  if (value !== undefined && !quotable) return value;
  const found = type.secret ? `a ${kind} that is none` : (type.meant?.(words) ?? shown);
  const quoted = quotable ? ', which quotes make a text' : '';
  throw new InputError(`${where}: ${printable(key)}: expected ${type.expects}, found ${found}${quoted}`);
}

/** Why a foreign flag with these words has no effect; undefined where they say what happens anyway. */
function reasonOf(
  label: string,
  { reason, refused, holds, beside }: ForeignFlag,
  words: readonly string[],
  given: ReadonlySet<string>,
): string | undefined {
  const value = words.length === 0 ? 'True' : words.join(' ');
  const holding = beside && given.has(beside.flag) ? beside.holds : holds;
  if (['None', ...holding].some((expected) => sameValue(value, expected))) return undefined;
  if (!refused) return reason;
  throw new InputError(
    `${label}: expected ${holding.length > 1 ? 'one of ' : ''}${holding.join(', ')}, found ${show(value)}: ${reason}`,
  );
}

/** Whether two words spell the same boolean, number or text. */
function sameValue(found: string, expected: string): boolean {
  if (found.trim().toLowerCase() === expected.toLowerCase()) return true;
  if (/^(?:true|false)$/i.test(expected)) return booleanOf(found) === booleanOf(expected);
  return /^-?\d+$/.test(expected) && found.trim() !== '' && Number(found) === Number(expected);
}

function unknownFlag(
  spelled: string,
  known: readonly string[],
  habits: Readonly<Record<string, string>> = {},
): string {
  // A line that called a module of Python, of which the module was left in.
  if (spelled === '-m')
    return 'unknown flag -m; which command stands for a module: docs/from-flagembedding.md';
  const name = spelled.replace(/^-+/, '').replaceAll('-', '_');
  const nearest = Object.hasOwn(habits, name) ? habits[name]! : nearestName(name, known);
  const shown = printable(spelled.length > 80 ? `${spelled.slice(0, 80)}…` : spelled);
  return `unknown flag ${shown}; ${nearest === null ? '--help lists them' : `the nearest is --${nearest}`}`;
}

/** A few of the words that were found. */
function shownWords(words: readonly string[], secret = false): string {
  if (secret) return words.length === 1 ? 'something else' : `${words.length} words`;
  const most = 5;
  const shown = words.slice(0, most).map(show).join(' ');
  return words.length > most ? `${shown} and ${words.length - most} more` : shown;
}
