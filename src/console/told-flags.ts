/**
 * Flags of commands that know how to speak only once their flags are read, as most of them do not: what there is to say of
 * the flags, such as that one was given twice, is told at once and in the form that they ask for.
 */
import {
  type FlagTable,
  type ParsedFlags,
  type ParseOptions,
  type ProgressMode,
  parseFlags,
} from '../flags.js';
import { consoleReporter } from './reporter.js';

/** `parseFlags`, whose notices go to standard error. @throws InputError, one line that names the flag. */
export function parseToldFlags<const Table extends FlagTable>(
  table: Table,
  argv: readonly string[],
  options: ParseOptions = {},
): Omit<ParsedFlags<Table>, 'notices'> {
  const { notices, ...parsed } = parseFlags(table, argv, options);
  if (notices.length > 0) {
    const { progress: mode } = parsed.values as { readonly progress?: ProgressMode };
    const report = consoleReporter(mode === undefined ? {} : { mode });
    for (const line of notices) report.note(line);
    report.end();
  }
  return parsed;
}
