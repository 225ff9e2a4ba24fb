/** The reporter of a command, as its flags say how it tells of its progress. */

import { consoleReporter, type Reporter } from '../console/reporter.js';
import type { ProgressMode } from '../flags.js';

export interface ReporterArguments {
  readonly progress: ProgressMode;
  /** Hugging Face's, of the commands that have it. */
  readonly disableTqdm?: boolean | null;
}

export function commandReporter({ progress, disableTqdm = null }: ReporterArguments): Reporter {
  const report = consoleReporter({ mode: disableTqdm && progress === 'auto' ? 'lines' : progress });
  if (disableTqdm !== null && progress !== 'auto')
    report.note(`--disable_tqdm has no effect here: --progress ${progress} is given`);
  return report;
}
