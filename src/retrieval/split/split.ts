/**
 * `dawntune split`: rows of training data by their length, a file for each range of lengths
 * (docs/spec/flagembedding-m3.md §7.4). A row is as long as the longest of its texts, in tokens, uncut; it is written
 * as it stands, whatever columns it has.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Reporter } from '../../console/reporter.js';
import { rowOf } from '../../data/rows.js';
import { findSource } from '../../data/sources.js';
import { InputError } from '../../errors.js';
import { AtomicFile } from '../../files/atomic.js';
import { Faults } from '../../files/faults.js';
import { withMembers } from '../../files/json-members.js';
import { type PlacedObject, readJsonObjects } from '../../files/json-objects.js';
import { makeWritableFolder } from '../../files/make-folder.js';
import { writingFault } from '../../files/reason.js';
import { downloadReport } from '../../hub/download-report.js';
import { resolveModelFolder } from '../../models/hub-cache.js';
import { printable } from '../../show.js';
import { TokenizerThreads } from '../../tokenizer/threads.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import type { SplitArguments } from './arguments.js';

/** What is told of a file, as upstream's log has it. */
export interface SplitRecord {
  /** Of the file that was read, without its folder. */
  readonly file_name: string;
  /** Rows that were read. */
  readonly size: number;
  /** Mean of the rows' lengths. */
  readonly avg_length: number;
  /** As it was found. */
  readonly file_path: string;
  /** When reading began. */
  readonly start_time: string;
  /** When the last part was written. */
  readonly end_time: string;
  /** Rows of each range that was written, by its name `len-LO-HI`. */
  readonly split_info: Readonly<Record<string, number>>;
}

/** Rows that are counted together. */
const BATCH = { rows: 256, units: 1 << 20 };
const FIELDS = { scores: false, prompt: false, batching: false };

/** @throws InputError, MachineError. */
export async function splitByLength(args: SplitArguments, report: Reporter): Promise<SplitRecord[]> {
  const source = findSource(args.inputPath, '--input_path');
  for (const line of source.notices) report.note(line);
  const folder = await resolveModelFolder(
    args.modelNameOrPath,
    {
      ...{ cacheDir: args.cacheDir, token: args.token, revision: args.revision },
      report: downloadReport(report),
    },
    '--model_name_or_path',
  );
  const tokenizer = Tokenizer.load(folder);
  for (const line of tokenizer.notices) report.note(line);
  requireRows(source.files);
  makeWritableFolder(args.outputDir);
  requireDistinct(source.files, args);
  const log = openLog(path.join(args.outputDir, args.logName));
  const threads = new TokenizerThreads(tokenizer, { threads: Math.min(16, os.availableParallelism()) });
  try {
    const records: SplitRecord[] = [];
    for (const file of source.files) records.push(await splitFile(file, args, threads, report));
    log.append(records.map((record) => `${JSON.stringify(record)}\n`).join(''));
    return records;
  } finally {
    log.close();
    await threads.close();
  }
}

/**
 * All rows of all files are looked at before the first is counted: reading takes a small part of the time that tokenizing
 * does, and of many faulty rows each is told. @throws InputError.
 */
function requireRows(files: readonly string[]): void {
  const faults = new Faults();
  for (const file of files)
    for (const { value, place } of readJsonObjects(file, faults))
      faults.attempt(() => rowOf(value, { file, line: place.line }, FIELDS));
  faults.throwIfAny();
}

/** `a.json` and `a.jsonl` have parts of the same names, and rows of one of them would be lost. @throws InputError. */
function requireDistinct(files: readonly string[], { lengthList, outputDir, logName }: SplitArguments): void {
  const taken = new Map<string, string>();
  for (const file of files)
    for (const part of partsOf(file, lengthList, outputDir)) {
      const other = taken.get(part.path);
      if (other !== undefined)
        throw new InputError(
          `--input_path: expected files whose parts have different names, found ${printable(other)} and ${printable(file)}: both have ${printable(part.path)}`,
        );
      taken.set(part.path, file);
      if (path.basename(part.path) === logName)
        throw new InputError(`--log_name: expected another name than those of the parts, found ${logName}`);
      if (files.some((input) => path.resolve(input) === path.resolve(part.path)))
        throw new InputError(
          `--output_dir: expected a folder where no part has the name of a file that is read, found ${printable(part.path)}`,
        );
    }
}

/** Opened before anything is written, so that what is wrong with it is told first. @throws InputError, MachineError. */
function openLog(file: string): { append(text: string): void; close(): void } {
  const attempt = <T>(act: () => T): T => {
    try {
      return act();
    } catch (error) {
      throw writingFault(file, 'cannot write', error);
    }
  };
  const made = !fs.existsSync(file);
  const descriptor = attempt(() => fs.openSync(file, 'a'));
  return {
    append: (text) => void attempt(() => fs.writeFileSync(descriptor, text)),
    close: () => {
      const empty = fs.fstatSync(descriptor).size === 0;
      fs.closeSync(descriptor);
      if (made && empty) fs.rmSync(file, { force: true });
    },
  };
}

/** The ranges and the files of their rows. */
function partsOf(file: string, lengthList: readonly number[], outputDir: string) {
  const stem = path.basename(file).replace(/\.[^.]*$/, '');
  return lengthList.map((least, i) => {
    const end = lengthList[i + 1] ?? Number.POSITIVE_INFINITY;
    const name = `len-${least}-${end === Number.POSITIVE_INFINITY ? 'inf' : end}`;
    return { name, least, end, path: path.join(outputDir, `${stem}_${name}.jsonl`) };
  });
}

/** One range of lengths: from `least` up to `end`, which is not in it. */
interface Part {
  readonly name: string;
  readonly path: string;
  readonly least: number;
  readonly end: number;
  /** Left as it is, as an earlier split wrote it. */
  readonly kept: boolean;
  rows: number;
  file?: AtomicFile;
}

async function splitFile(
  file: string,
  { lengthList, outputDir, overwrite }: SplitArguments,
  threads: TokenizerThreads,
  report: Reporter,
): Promise<SplitRecord> {
  const started = now();
  const parts = partsOf(file, lengthList, outputDir).map(
    (part): Part => ({ ...part, rows: 0, kept: !overwrite && fs.existsSync(part.path) }),
  );
  for (const { path, kept } of parts)
    if (kept) report.note(`${printable(path)} is there and is left as it is; --overwrite replaces it`);
  let size = 0;
  let tokens = 0;
  let shorter = 0;
  try {
    for await (const { length, text } of measured(file, threads)) {
      size++;
      tokens += length;
      const part = parts.find(({ least, end }) => length >= least && length < end);
      if (!part) shorter++;
      if (!part || part.kept) continue;
      part.rows++;
      part.file ??= AtomicFile.create(part.path);
      part.file.write(Buffer.from(`${text}\n`));
      report.progress?.({ phase: 'split', done: size, unit: 'rows', tokens, subject: file });
    }
    if (size === 0) throw new InputError(`${printable(file)}: expected at least one row, found none`);
    for (const part of parts) {
      part.file?.commit();
      // What an earlier split found there is not what this one finds.
      if (!part.kept && !part.file && fs.existsSync(part.path)) {
        fs.rmSync(part.path);
        report.note(`${printable(part.path)}: removed: no row has this length now`);
      }
    }
  } catch (error) {
    for (const part of parts) part.file?.abort();
    throw error;
  }
  report.end();
  if (shorter > 0)
    report.note(
      `${printable(file)}: ${shorter} rows are shorter than ${lengthList[0]} tokens, where the first range begins: they are in no part`,
    );
  const written = parts.filter(({ kept }) => !kept);
  const told = written.filter(({ rows }) => rows > 0).map(({ name, rows }) => `${rows} ${name}`);
  report.note(`${printable(file)}: ${size} rows: ${told.join(', ') || 'nothing written'}`);
  return {
    ...{ file_name: path.basename(file), size, avg_length: tokens / size, file_path: file },
    ...{ start_time: started, end_time: now() },
    split_info: Object.fromEntries(written.map(({ name, rows }) => [name, rows])),
  };
}

/** The rows in their order with their lengths. @throws InputError `file:line`. */
async function* measured(
  file: string,
  threads: TokenizerThreads,
): AsyncGenerator<{ length: number; text: string }, void, undefined> {
  let rows: { texts: readonly string[]; text: string }[] = [];
  let units = 0;
  const lengths = async () => {
    const ids = await threads.encode(rows.flatMap(({ texts }) => texts));
    let at = 0;
    return rows.map(({ texts, text }) => {
      const length = texts.reduce((most) => Math.max(most, ids[at++]!.length), 0);
      return { length, text };
    });
  };
  for (const object of readJsonObjects(file)) {
    const { query, pos, neg } = rowOf(object.value, { file, line: object.place.line }, FIELDS);
    const texts = [query, ...pos, ...neg];
    rows.push({ texts, text: lineOf(object) });
    units += texts.reduce((sum, { length }) => sum + length, 0);
    if (rows.length < BATCH.rows && units < BATCH.units) continue;
    yield* await lengths();
    rows = [];
    units = 0;
  }
  if (rows.length > 0) yield* await lengths();
}

/** A row as it stands, or on one line where it stands on several. */
function lineOf(object: PlacedObject): string {
  const text = object.text();
  return /[\r\n]/.test(text) ? withMembers(text, {}) : text;
}

const now = () => new Date().toISOString().slice(0, 19).replace('T', ' ');
