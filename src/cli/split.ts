/** `dawntune split`: training rows by their length. */
import { parseSplitArguments } from '../retrieval/split/arguments.js';
import { splitByLength } from '../retrieval/split/split.js';
import { consoleReporter } from '../train/report.js';

export async function splitCommand(argv: readonly string[]): Promise<number> {
  const { args, notices } = parseSplitArguments(argv);
  const report = consoleReporter();
  for (const line of notices) report.note(line);
  await splitByLength(args, report);
  return 0;
}
