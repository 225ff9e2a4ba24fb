/** Reports as files: of the record in one folder, or of several beside one another. */
import fs from 'node:fs';
import path from 'node:path';
import { InputError } from '../errors.js';
import { requireReplaceable, writeFileAtomic } from '../files/atomic.js';
import { isSystemError, systemReason } from '../files/reason.js';
import { sameFolder } from '../files/same-folder.js';
import { readRunRecord } from '../run-record/read.js';
import type { RunRecord } from '../run-record/record.js';
import { printable } from '../show.js';
import { comparisonPage } from './comparison-page.js';
import { REPORT_MARK, runPage } from './run-page.js';

/** In the output folder of a run. */
export const REPORT_FILE = 'report.html';
const COMPARISON_FILE = 'comparison.html';

export interface ReportRequest {
  /** Output folders of runs, one at least. */
  readonly folders: readonly string[];
  /**
   * A file, or a folder that is there, for `report.html` or `comparison.html` in it. Null: `report.html` in the one folder,
   * `comparison.html` in the working folder.
   */
  readonly output: string | null;
}

/**
 * Writes the report of a run, or the comparison of several. @returns the file. @throws InputError where a folder has no
 * record, a record is no record, or the file is there and no report.
 */
export function writeReport({ folders, output }: ReportRequest): string {
  const name = folders.length === 1 ? REPORT_FILE : COMPARISON_FILE;
  const beside = folders.length === 1 ? path.join(folders[0]!, name) : name;
  const file = output === null ? beside : isFolder(output) ? path.join(output, name) : output;
  for (const [i, folder] of folders.entries()) {
    const same = folders.slice(0, i).find((other) => other === folder || sameFolder(other, folder));
    if (same !== undefined)
      throw new InputError(
        `report: expected different folders, found ${printable(same)} and ${printable(folder)}, which are the same`,
      );
  }
  const runs = folders.map((folder) => ({ name: nameOf(folder), record: readRunRecord(folder) }));
  requireOwn(file, output !== null);
  const page = runs.length === 1 ? runPage(runs[0]!.record) : comparisonPage(runs);
  writeFileAtomic(file, page);
  return file;
}

/**
 * The page of a run into its output folder, beside the record. @throws InputError where another file has its name,
 * MachineError (disk full …).
 */
export function writeRunPage(folder: string, record: RunRecord): void {
  const file = path.join(folder, REPORT_FILE);
  requireOwn(file, false);
  writeFileAtomic(file, runPage(record));
}

/** A place that cannot be looked at is none, and writing there says why. */
function isFolder(place: string): boolean {
  try {
    return fs.statSync(place).isDirectory();
  } catch {
    return false;
  }
}

/** As it was given, without slashes at the end; what stands for a place by its name. */
function nameOf(folder: string): string {
  const name = folder.replace(/[/\\]+$/, '');
  return /^\.{0,2}$/.test(name) ? path.basename(path.resolve(folder)) : name;
}

/** A page of another program is not ours to replace. @throws InputError. */
function requireOwn(file: string, given: boolean): void {
  const where = `${given ? '--output: ' : ''}${printable(file)}`;
  try {
    requireReplaceable(file);
    const descriptor = fs.openSync(file, 'r');
    try {
      const start = Buffer.alloc(200);
      fs.readSync(descriptor, start, 0, start.length, 0);
      if (start.includes(REPORT_MARK)) return;
    } finally {
      fs.closeSync(descriptor);
    }
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${given ? '--output: ' : ''}${error.message}`);
    if (isSystemError(error) && error.code === 'ENOENT') return;
    throw new InputError(
      `${where}: cannot write: ${isSystemError(error) ? systemReason(error) : String(error)}`,
    );
  }
  throw new InputError(
    `${where}: is there already and is no report: move it away${given ? ', or give --output another name' : ''}`,
  );
}
