/** `dawntune doctor`: the page or the JSON of what src/doctor finds, on standard output. */
import { parseDoctorArguments } from '../doctor/arguments.js';
import { examine } from '../doctor/doctor.js';
import { renderPage } from '../doctor/page.js';
import { commandReporter } from './reporter.js';

/** @returns 0 when a run can begin here, else 1. @throws InputError for unknown arguments and for an adapter that is not there. */
export async function doctor(argv: readonly string[] = []): Promise<number> {
  const args = parseDoctorArguments(argv);
  const progress = commandReporter(args);
  const report = await examine(args, (done, total, subject) =>
    progress.progress?.({ phase: 'check', done, total, unit: 'probes', subject }),
  ).finally(() => progress.end());
  const text = args.json
    ? JSON.stringify(report, null, 2)
    : renderPage(report.dawntune, report.facts, report.problems);
  process.stdout.write(`${text}\n`);
  return report.trains ? 0 : 1;
}
