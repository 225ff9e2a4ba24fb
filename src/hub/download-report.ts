/** How a download is told to whoever listens to a command. */
import type { Reporter } from '../console/reporter.js';
import type { DownloadReport } from './download.js';

/** What a download tells, told by `report`. */
export function downloadReport(report: Pick<Reporter, 'note' | 'progress'>): DownloadReport {
  return {
    note: (line) => report.note(line),
    progress: ({ model, bytes, totalBytes }) =>
      report.progress?.({
        ...{ phase: 'download', done: bytes, total: totalBytes, unit: 'bytes', subject: model },
      }),
  };
}
