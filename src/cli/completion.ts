/**
 * `dawntune completion bash|zsh|fish`: a script for the shell, made of the flag tables: commands, suites of `bench`, flags
 * with what they mean, the words that a flag can be, and files and folders where it is a path.
 */
import { suites } from '../../bench/suites.js';
import { parseToldFlags } from '../console/told-flags.js';
import { InputError } from '../errors.js';
import { configFlag, debugFlag, type Flag, type FlagTable } from '../flags.js';
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

/** `COMMAND --flag` by what the flag's value can be. */
function flagsByValue(entries: readonly Entry[]): Map<string, string[]> {
  const byValue = new Map<string, string[]>();
  for (const { name, flags } of entries)
    for (const [flag, described] of flags) {
      const value = valueWords(described);
      byValue.set(value, [...(byValue.get(value) ?? []), `${name} --${flag}`]);
    }
  return byValue;
}

/** The branches of a case over "COMMAND --flag", those of one value together. */
const valueCases = (entries: readonly Entry[]) =>
  [...flagsByValue(entries)]
    .map(([value, names]) => `    ${names.map(quoted).join('|')}) echo ${quoted(value)} ;;`)
    .join('\n');

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
    [[ -z $command ]] && lines+=('help:the flags of a command')
    if [[ $cur == -* ]]; then
      lines=('--help:all commands' '--version:of this package')
      _describe -o flag lines
    else
      _describe command lines
    fi
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
    # --flag-name is --flag_name.
    _describe -o flag lines -M 'm:-=_'
  else
    _dawntune_fill "$(_dawntune_words "$command")"
  fi
}
if [[ $funcstack[1] == _dawntune ]]; then _dawntune "$@"; else compdef _dawntune dawntune; fi
`;
}

/** As the others: one function that looks up what can stand at the cursor, since fish's own options know no list of values. */
function fish(entries: readonly Entry[]): string {
  const told = (name: string, text: string) => `${fishQuoted(name)} ${fishQuoted(firstSentence(text))}`;
  const cases = (branches: readonly (readonly [names: readonly string[], line: string])[]) =>
    branches
      .map(([names, line]) => `        case ${names.map(fishQuoted).join(' ')}\n            ${line}`)
      .join('\n');
  const flags = cases(
    entries.map(({ name, flags }) => [
      [name],
      `printf '%s\\t%s\\n' ${[
        ...flags.map(([flag, { help }]) => told(`--${flag}`, help)),
        told('--help', 'the common flags'),
        told('--help-all', 'all flags'),
      ].join(' ')}`,
    ]),
  );
  const values = cases(
    [...flagsByValue(entries)].map(([value, names]) => [names, `string split ' ' ${fishQuoted(value)}`]),
  );
  const words = cases(
    entries
      .filter(({ words }) => words.length > 0)
      .map(({ name, words }) => [
        [name],
        `string split ' ' ${fishQuoted(typeof words === 'string' ? words : words.join(' '))}`,
      ]),
  );
  const names = topLevel(entries).map(({ name, summary }) => told(name, summary));
  return `# Completion of dawntune for fish: dawntune completion fish > ~/.config/fish/completions/dawntune.fish
function __dawntune_commands
    printf '%s\\t%s\\n' ${names.join(' ')}
end
function __dawntune_flags
    switch "$argv"
${flags}
    end
end
function __dawntune_value
    switch "$argv"
${values}
    end
end
function __dawntune_words
    switch "$argv"
${words}
    end
end
function __dawntune_fill
    set -l cur $argv[1]
    if test "$argv[2]" = path
        __fish_complete_path "$cur"
    else
        printf '%s\\n' $argv[2..-1]
    end
end
# --flag-name=value is --flag_name.
function __dawntune_spelled
    set -l name (string split -m 1 -- = $argv[1])[1]
    echo -- --(string replace -a -- - _ (string sub -s 3 -- $name))
end
function __dawntune_offered
    set -l cur (commandline -ct)
    set -l words (commandline -opc)
    set -l name ''
    set -l flag ''
    set -l since 0
    set -e words[1]
    for word in $words
        if string match -q -- '--*' $word
            set flag (__dawntune_spelled $word)
            set since 0
        else if string match -q -- '-*' $word
            continue
        else if test -z "$name"
            set name $word
        else if test "$name" = bench -a -z "$flag"
            set name "bench $word"
        else
            set since (math $since + 1)
        end
    end
    if test -z "$name"
        __dawntune_commands
        printf '%s\\t%s\\n' help 'the flags of a command' --help 'all commands' --version 'of this package'
        return
    end
    if test "$name" = help
        __dawntune_commands
        return
    end
    set -l before ''
    if string match -q -- '--*=*' $cur
        set flag (__dawntune_spelled $cur)
        set since 0
        set before (string split -m 1 -- = $cur)[1]=
        set cur (string split -m 1 -- = $cur)[2]
    end
    if test -n "$flag" -a "$before" != '' -o -n "$flag" && not string match -q -- '-*' $cur
        set -l value (__dawntune_value "$name $flag")
        if test (count $value) -gt 1 && test $since = 0 -o "$value[1]" = many
            for each in (__dawntune_fill "$cur" $value[2..-1])
                echo -- $before$each
            end
            test "$value[1]" != maybe -o "$before" != ''; and return
        else if test (count $value) -gt 0 && test $since = 0 -o "$value[1]" = many
            test "$value[1]" != maybe; and return
        end
    end
    if string match -q -- '-*' $cur
        set -l dashed (string match -r -- '^--.*-' $cur)
        for each in (__dawntune_flags $name)
            echo -- $each
            # What was typed with a dash goes on so.
            set -q dashed[1]; and echo -- --(string replace -a -- _ - (string sub -s 3 -- $each))
        end
    else
        set -l value (__dawntune_words $name)
        set -q value[1]; and __dawntune_fill "$cur" $value
    end
end
complete -c dawntune -f -a '(__dawntune_offered)'
`;
}

const fishQuoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

/** @returns the exit status. @throws InputError for another shell. */
export async function completion(
  argv: readonly string[],
  commands: ReadonlyMap<string, Completed>,
): Promise<number> {
  const { positionals } = parseToldFlags(completionFlags, argv, { positionals: true });
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
