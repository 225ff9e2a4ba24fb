/**
 * The lines of a text file of any size, read through a window of memory. What they mean is not known here; lines of JSON
 * are read in json-objects.ts.
 */
import { InputError } from '../errors.js';
import { printable } from '../show.js';
import { kindOf } from './kind.js';
import { PositionedFile } from './positioned.js';

export interface TextLine {
  readonly text: string;
  /** Counted from 1. */
  readonly line: number;
}

const CHUNK = 1 << 20;
const LONGEST_LINE = 64 << 20;
const LINE_FEED = 10;

/** The lines in order, without their ends (LF or CR LF) and without a byte order mark. @throws InputError `file:line: …`. */
export function* readLines(path: string): Generator<TextLine> {
  const file = PositionedFile.open(path);
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let line = 0;
  const decoded = (bytes: Uint8Array): TextLine => {
    line++;
    let text: string;
    try {
      text = utf8.decode(bytes);
    } catch {
      throw new InputError(`${printable(path)}:${line}: expected UTF-8 text, found other bytes`);
    }
    if (line === 1 && text.startsWith('\ufeff')) text = text.slice(1);
    return { text: text.endsWith('\r') ? text.slice(0, -1) : text, line };
  };
  try {
    /** Of the line that has not ended yet, in pieces: put together once, as a line may be many chunks long. */
    let begun: Uint8Array[] = [];
    let begunBytes = 0;
    for (let position = 0; position < file.size; ) {
      const length = Math.min(CHUNK, file.size - position);
      const read = file.readBytes(position, length);
      if (position === 0) {
        const kind = kindOf(read);
        if (kind) throw new InputError(`${printable(path)}: expected lines of text, found ${kind}`);
      }
      position += length;
      let start = 0;
      for (let end = read.indexOf(LINE_FEED); end >= 0; end = read.indexOf(LINE_FEED, start)) {
        const last = read.subarray(start, end);
        yield decoded(begunBytes > 0 ? Buffer.concat([...begun, last]) : last);
        if (begunBytes > 0) [begun, begunBytes] = [[], 0];
        start = end + 1;
      }
      if (start < length) begun.push(read.subarray(start));
      begunBytes += length - start;
      if (begunBytes > LONGEST_LINE)
        throw new InputError(
          `${printable(path)}:${line + 1}: expected a line of at most ${LONGEST_LINE} bytes, found more`,
        );
    }
    if (begunBytes > 0) yield decoded(Buffer.concat(begun));
  } finally {
    file.close();
  }
}
