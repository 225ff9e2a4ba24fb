/** `dawntune report`: the page of a run made again from its record, or several runs compared. */

import { consoleReporter } from '../console/reporter.js';
import { parseReportArguments } from '../report/arguments.js';
import { writeReport } from '../report/report.js';
import { printable } from '../show.js';

export async function reportCommand(argv: readonly string[]): Promise<number> {
  const { args, notices } = parseReportArguments(argv);
  const report = consoleReporter();
  for (const line of notices) report.note(line);
  const file = writeReport(args);
  report.note(`report written to ${printable(file)}: open it in a browser`);
  return 0;
}
