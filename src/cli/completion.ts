/**
 * `dawntune completion bash|zsh|fish`: a script for the shell, made of the flag tables: commands, suites of `bench`, flags
 * with what they mean, the words that a flag can be, and files and folders where it is a path.
 */
import { suites } from '../../bench/suites.js';
import { InputError } from '../errors.js';
import { configFlag, debugFlag, type Flag, type FlagTable, parseFlags } from '../flags.js';
import { show } from '../show.js';

export const completionFlags = { ...debugFlag };

export const completionShells = ['bash', 'zsh', 'fish'] as const;

/** What is known of a command, as the table of commands has it. */
interface Completed {
  readonly summary: string;
  readonly positionals?: string;
  readonly flags: () => Promise<FlagTable>;
  readonly ownHelp?: boolean;
}

/** A command or a suite with its flags; `words`: what may stand without a flag. */
interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly (readonly [name: string, flag: Flag<unknown>])[];
  readonly words: 'path' | readonly string[];
}

const HELP = ['--help', '--help-all'] as const;

async function entriesOf(commands: ReadonlyMap<string, Completed>): Promise<Entry[]> {
  const flagsOf = (table: FlagTable) =>
    Object.entries<Flag<unknown>>({ ...table, ...(configFlag as FlagTable) }).filter(
      ([, { inert }]) => inert === undefined,
    );
  const all = [...commands].map(async ([name, command]): Promise<Entry[]> => {
    const { summary, positionals, ownHelp } = command;
    const flags = flagsOf(await command.flags());
    if (!ownHelp) {
      const words = name === 'completion' ? completionShells : positionals === undefined ? [] : 'path';
      return [{ name, summary, flags, words }];
    }
    const below = suites.map((suite): Entry => {
      const { name: suiteName, summary } = suite;
      return { name: `${name} ${suiteName}`, summary, flags: flagsOf(suite.flags), words: [] };
    });
    return [{ name, summary, flags, words: suites.map((suite) => suite.name) }, ...below];
  });
  return (await Promise.all(all)).flat();
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
const firstSentence = (help: string) => help.split(/[;:] /)[0]!;

/** `one`, `many` or, where no word need follow, `maybe`; then `path`, or the words that it can be. */
function valueWords({ type }: Flag<unknown>): string {
  const count = type.many ? 'many' : type.bare === undefined ? 'one' : 'maybe';
  return `${count} ${type.isPath ? 'path' : (type.choices ?? []).join(' ')}`;
}

/** The branches of a case over "COMMAND --flag", those of one value together. */
function valueCases(entries: readonly Entry[]): string {
  const byValue = new Map<string, string[]>();
  for (const { name, flags } of entries)
    for (const [flag, described] of flags) {
      const value = valueWords(described);
      byValue.set(value, [...(byValue.get(value) ?? []), quoted(`${name} --${flag}`)]);
    }
  return [...byValue].map(([value, names]) => `    ${names.join('|')}) echo ${quoted(value)} ;;`).join('\n');
}

const wordCases = (entries: readonly Entry[]) =>
  entries
    .filter(({ words }) => words.length > 0)
    .map(
      ({ name, words }) =>
        `    ${quoted(name)}) echo ${quoted(typeof words === 'string' ? words : words.join(' '))} ;;`,
    )
    .join('\n');

const topLevel = (entries: readonly Entry[]) => entries.filter(({ name }) => !name.includes(' '));

/** What stands before the word at the cursor: the command, the last flag, and how many words came since. */
const READ_WORDS = `    if [[ $word == = ]]; then continue
    elif [[ $word == --* ]]; then flag=\${word%%=*}; flag=\${flag#--}; flag=--\${flag//-/_}; since=0
    elif [[ $word == -* ]]; then continue
    elif [[ -z $command ]]; then command=$word
    elif [[ $command == bench && -z $flag ]]; then command="bench $word"
    else since=$((since + 1)); fi`;

/** What bash and zsh look up alike: the flags of a command, as `flags` has them, what a flag's value can be, and words behind a command. */
function lookups(entries: readonly Entry[], flags: string): string {
  return `_dawntune_flags() {
  case "$1" in
${flags}
  esac
}
_dawntune_value() {
  case "$1 $2" in
${valueCases(entries)}
  esac
}
_dawntune_words() {
  case "$1" in
${wordCases(entries)}
  esac
}`;
}

function bash(entries: readonly Entry[]): string {
  const flags = entries
    .map(
      ({ name, flags }) =>
        `    ${quoted(name)}) echo ${quoted([...flags.map(([flag]) => `--${flag}`), ...HELP].join(' '))} ;;`,
    )
    .join('\n');
  return `# Completion of dawntune for bash: eval "$(dawntune completion bash)"
${lookups(entries, flags)}
# Bash 3.2, which macOS has, knows no mapfile.
_dawntune_take() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do COMPREPLY+=("$line"); done
}
_dawntune_fill() {
  if [[ $1 == path ]]; then
    compopt -o filenames 2>/dev/null
    _dawntune_take < <(compgen -f -- "$2")
  else
    _dawntune_take < <(compgen -W "$1" -- "$2")
  fi
}
_dawntune() {
  local cur=\${COMP_WORDS[COMP_CWORD]} command='' flag='' since=0 i word value
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
${READ_WORDS}
  done
  [[ $cur == = ]] && cur=''
  if [[ -z $command ]]; then
    _dawntune_fill ${quoted([...topLevel(entries).map(({ name }) => name), 'help', '--help', '--version'].join(' '))} "$cur"
    return
  fi
  if [[ $command == help ]]; then
    _dawntune_fill ${quoted(
      topLevel(entries)
        .map(({ name }) => name)
        .join(' '),
    )} "$cur"
    return
  fi
  if [[ -n $flag && $cur != -* ]]; then
    value=$(_dawntune_value "$command" "$flag")
    if [[ -n $value && ( $since == 0 || $value == many* ) ]]; then
      _dawntune_fill "\${value#* }" "$cur"
      [[ $value != maybe* || \${#COMPREPLY[@]} -gt 0 && -n $cur ]] && return
    fi
  fi
  if [[ $cur == -* ]]; then
    value=$(_dawntune_flags "$command")
    _dawntune_fill "$value" "$cur"
    # --flag-name is --flag_name.
    [[ \${#COMPREPLY[@]} == 0 && $cur == --* ]] && cur=\${cur#--} && _dawntune_fill "$value" "--\${cur//-/_}"
  elif [[ \${#COMPREPLY[@]} == 0 ]]; then
    _dawntune_fill "$(_dawntune_words "$command")" "$cur"
  fi
}
complete -F _dawntune dawntune
`;
}

function zsh(entries: readonly Entry[]): string {
  const described = (name: string, help: string) =>
    quoted(`${name}:${firstSentence(help).replaceAll(':', ' ')}`);
  const flags = entries
    .map(({ name, flags }) => {
      const lines = flags.map(([flag, { help }]) => described(`--${flag}`, help));
      return `    ${quoted(name)}) print -rl -- ${lines.join(' ')} ${described('--help', 'the common flags')} ${described('--help-all', 'all flags')} ;;`;
    })
    .join('\n');
  const names = topLevel(entries).map(({ name, summary }) => described(name, summary));
  return `#compdef dawntune
# Completion of dawntune for zsh: dawntune completion zsh > a folder of $fpath, as _dawntune
${lookups(entries, flags)}
_dawntune_fill() {
  if [[ $1 == path ]]; then _files
  elif [[ -n $1 ]]; then compadd -- \${=1}
  else return 1; fi
}
_dawntune() {
  local cur=\${words[CURRENT]} command='' flag='' word value
  local -i since=0 i
  local -a lines
  for ((i = 2; i < CURRENT; i++)); do
    word=\${words[i]}
${READ_WORDS}
  done
  if [[ -z $command || $command == help ]]; then
    lines=(${names.join(' ')})
    _describe command lines
    return
  fi
  if [[ $cur == --*=* ]]; then
    flag=\${\${cur%%=*}#--}; flag=--\${flag//-/_}; since=0
    compset -P '*='
    cur=\${cur#*=}
  fi
  if [[ -n $flag && $cur != -* ]]; then
    value=$(_dawntune_value "$command" "$flag")
    if [[ -n $value && ( $since == 0 || $value == many* ) ]]; then
      _dawntune_fill "\${value#* }"
      [[ $value != maybe* ]] && return
    fi
  fi
  if [[ $cur == -* ]]; then
    lines=("\${(@f)$(_dawntune_flags "$command")}")
    _describe -o flag lines
  else
    _dawntune_fill "$(_dawntune_words "$command")"
  fi
}
if [[ $funcstack[1] == _dawntune ]]; then _dawntune "$@"; else compdef _dawntune dawntune; fi
`;
}

function fish(entries: readonly Entry[]): string {
  const line = (condition: string, rest: string) => `complete -c dawntune -n ${quoted(condition)} ${rest}`;
  const help = (text: string) =>
    `-d ${quoted(firstSentence(text)).replaceAll('\\', '\\\\').replaceAll("'\\\\''", "\\'")}`;
  const lines = topLevel(entries).map(({ name, summary }) =>
    line('__dawntune_first', `-f -a ${name} ${help(summary)}`),
  );
  const truths = new Set<string>();
  for (const { name, flags, words } of entries) {
    const within = `__dawntune_in ${name}`;
    if (words !== 'path')
      lines.push(line(within, `-f${words.length === 0 ? '' : ` -a '${words.join(' ')}'`}`));
    for (const [flag, { type, help: text }] of flags) {
      const { bare, isPath, choices = [] } = type;
      if (bare !== undefined) truths.add(flag);
      const value = isPath
        ? '-r -F'
        : bare !== undefined
          ? '-f'
          : choices.length > 0
            ? `-x -a '${choices.join(' ')}'`
            : '-x';
      lines.push(line(within, `-l ${flag} ${value} ${help(text)}`));
    }
    lines.push(
      line(within, `-f -l help ${help('the common flags')}`),
      line(within, `-f -l help-all ${help('all flags')}`),
    );
  }
  return `# Completion of dawntune for fish: dawntune completion fish > ~/.config/fish/completions/dawntune.fish
function __dawntune_first
    test (count (commandline -opc)) -eq 1
end
function __dawntune_in
    set -l words (commandline -opc)
    test (count $words) -gt (count $argv); or return 1
    set -l last (math (count $argv) + 1)
    test "$words[2..$last]" = "$argv"
end
function __dawntune_truth
    set -l words (commandline -opc)
    contains -- (string replace -a - _ (string sub -s 3 -- $words[-1])) ${[...truths].join(' ')}
end
${lines.join('\n')}
complete -c dawntune -n __dawntune_truth -f -a 'True False'
`;
}

/** @returns the exit status. @throws InputError for another shell. */
export async function completion(
  argv: readonly string[],
  commands: ReadonlyMap<string, Completed>,
): Promise<number> {
  const { positionals } = parseFlags(completionFlags, argv, { positionals: true });
  const [shell] = positionals;
  if (positionals.length !== 1 || !completionShells.some((name) => name === shell))
    throw new InputError(
      `completion: expected one of ${completionShells.join(', ')}, found ${positionals.length === 0 ? 'nothing' : positionals.map(show).join(' ')}`,
    );
  process.stdout.write(await completionScript(shell as (typeof completionShells)[number], commands));
  return 0;
}

/** The script of a shell. */
export async function completionScript(
  shell: (typeof completionShells)[number],
  commands: ReadonlyMap<string, Completed>,
): Promise<string> {
  return { bash, zsh, fish }[shell](await entriesOf(commands));
}
