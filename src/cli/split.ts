/** `dawntune split`: training rows by their length. */

import { interruptible } from '../console/interruption.js';
import { parseSplitArguments } from '../retrieval/split/arguments.js';
import { splitByLength } from '../retrieval/split/split.js';
import { commandReporter } from './reporter.js';

export async function splitCommand(argv: readonly string[]): Promise<number> {
  const { args, notices } = parseSplitArguments(argv);
  const report = interruptible(commandReporter(args), {
    where: ({ counted }) =>
      `interrupted ${counted === undefined ? 'before the first row' : `after ${counted}`}; parts of files that were looked through are whole`,
  });
  try {
    for (const line of notices) report.note(line);
    await splitByLength(args, report);
    return 0;
  } finally {
    report.end();
    report.release();
  }
}
