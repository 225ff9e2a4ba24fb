/**
 * Where training data is: a path of `--train_data` is a file of rows or a folder of such files
 * (docs/spec/flagembedding-m3.md §2.2, §2.3). What stands in the files is read in rows.ts.
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError } from '../errors.js';
import { kindOf } from '../files/kind.js';
import { PositionedFile } from '../files/positioned.js';
import { systemReason } from '../files/reason.js';
import { printable, show } from '../show.js';

/** One path of `--train_data`: a file, or a folder with the files in it. */
export interface DataSource {
  readonly path: string;
  readonly isDirectory: boolean;
  /** `.json` and `.jsonl` files; those of a folder (one level) sorted by name. */
  readonly files: readonly string[];
  /** The folder's name, or the file's up to its last dot, ends with `no_in_batch_neg`. */
  readonly noInBatchNeg: boolean;
  /** One line each: entries of a folder that are called like data and are none. */
  readonly notices: readonly string[];
}

const isDataFile = (name: string) => /\.jsonl?$/.test(name);

/** @throws InputError that begins with `flag` when the path is missing or holds no data. */
export function findSource(source: string, flag: string): DataSource {
  const fail = (message: string): never => {
    const name = source.length > 500 ? `${source.slice(0, 400)}…${source.slice(-80)}` : source;
    throw new InputError(`${flag}: ${name === '' ? '""' : printable(name)}: ${message}`);
  };
  const attempt = <T>(act: () => T): T => {
    try {
      return act();
    } catch (error) {
      return fail(`cannot read: ${systemReason(error)}`);
    }
  };
  const stats = attempt(() => fs.statSync(source, { throwIfNoEntry: false }));
  if (!stats) {
    const dangling = attempt(() => fs.lstatSync(source, { throwIfNoEntry: false }));
    return fail(
      `expected a file or directory, found ${dangling ? 'a link to something that does not exist' : 'nothing'}${severalNames(source)}`,
    );
  }
  if (!stats.isDirectory()) {
    if (!isDataFile(source)) fail(`expected a .json or .jsonl file${otherFormat(source)}`);
    const noInBatchNeg = source.replace(/\.[^.]*$/, '').endsWith('no_in_batch_neg');
    return { path: source, isDirectory: false, files: [source], noInBatchNeg, notices: [] };
  }
  const notices: string[] = [];
  const names = attempt(() => fs.readdirSync(source)).sort();
  for (const name of names) {
    const why = isDataFile(name) ? undefined : almostData(path.join(source, name));
    if (why) notices.push(`${printable(path.join(source, name))}: left out: ${why}`);
  }
  const files = names
    .filter(isDataFile)
    .map((name) => {
      const file = path.join(source, name);
      // The name as it is in the folder cannot be had as a text.
      if (name.includes('\ufffd') && !PositionedFile.exists(file))
        fail(`expected names of files in UTF-8, found ${show(name)}`);
      return file;
    })
    .filter((file) => {
      const other = noDataFile(file);
      if (other) notices.push(`${printable(file)}: left out: ${other}`);
      return !other;
    });
  if (files.length === 0) {
    const instead = notices.length > 0 ? ` (${notices[0]})` : '';
    fail(`expected a directory with .json or .jsonl files, found none${instead}`);
  }
  const noInBatchNeg = path.resolve(source).endsWith('no_in_batch_neg');
  return { path: source, isDirectory: true, files, noInBatchNeg, notices };
}

/** Behind a name that is not there: why it may be several that are. */
function severalNames(source: string): string {
  if (/[*?]/.test(source))
    return ': the shell puts names in place of * where it stands without quotes and some match';
  const parts = source.split(',');
  const several = parts.length > 1 && parts.every((part) => fs.existsSync(part.trim()));
  return several ? ': paths are parted by spaces, not by commas' : '';
}

/** Behind a file that is called otherwise: what it may be, and what to do. */
function otherFormat(source: string): string {
  const why = almostData(source);
  if (why) return `: ${why}`;
  const format = /\.(csv|tsv|parquet|arrow|feather|xlsx?|pkl|pickle|ndjson)$/i
    .exec(source)?.[1]
    ?.toLowerCase();
  if (format === undefined) return '';
  if (format === 'ndjson') return ': give it such a name';
  return `: ${format} is not read; docs/training-data.md has the lines of Python that write its rows`;
}

/**
 * Why an entry of a folder, whose name does not end like data, is not read although a person may have meant it to be:
 * rows under another spelling or packed, a folder with data in it.
 */
function almostData(entry: string): string | undefined {
  if (/\.jsonl?$/i.test(entry)) return 'expected a name that ends with .json or .jsonl, in small letters';
  if (/\.jsonl?\.(?:gz|bz2|xz|zst|zip)$/i.test(entry)) return 'it is packed; unpack it to train on it';
  try {
    if (fs.statSync(entry).isDirectory() && fs.readdirSync(entry).some(isDataFile))
      return 'folders within a folder are not looked into; name it as a path of its own';
  } catch {
    // Not data, whatever it is.
  }
  return undefined;
}

/**
 * What an entry of a folder is that nobody means to train on although its name ends like data: a folder, or what
 * macOS keeps beside a file on foreign disks. Anything else that cannot be read is an error, said when it is opened.
 */
function noDataFile(file: string): string | undefined {
  try {
    if (fs.statSync(file).isDirectory()) return 'a folder';
    if (!path.basename(file).startsWith('._')) return undefined;
    const opened = PositionedFile.open(file);
    try {
      const kind = kindOf(opened.readBytes(0, Math.min(opened.size, 512)));
      return kind?.includes('AppleDouble') ? kind : undefined;
    } finally {
      opened.close();
    }
  } catch {
    return undefined;
  }
}
