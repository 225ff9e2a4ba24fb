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
    let rest = new Uint8Array(0);
    for (let position = 0; position < file.size; ) {
      const length = Math.min(CHUNK, file.size - position);
      const read = file.readBytes(position, length);
      if (position === 0) {
        const kind = kindOf(read);
        if (kind) throw new InputError(`${printable(path)}: expected lines of text, found ${kind}`);
      }
      position += length;
      if (rest.length + length > LONGEST_LINE)
        throw new InputError(
          `${printable(path)}:${line + 1}: expected a line of at most ${LONGEST_LINE} bytes, found more`,
        );
      const bytes = new Uint8Array(rest.length + length);
      bytes.set(rest);
      bytes.set(read, rest.length);
      let start = 0;
      for (let end = bytes.indexOf(LINE_FEED, rest.length); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
        yield decoded(bytes.subarray(start, end));
        start = end + 1;
      }
      rest = bytes.slice(start);
    }
    if (rest.length > 0) yield decoded(rest);
  } finally {
    file.close();
  }
}
