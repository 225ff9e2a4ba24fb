/** What is wrong with a kernel of the user's: its definition, or a line of its WGSL, which is quoted. */
import { MachineError } from '../errors.js';

/** WGSL that the user wrote, within the source that is made around it. */
export interface Region {
  /** What the definition calls it, e.g. `body`. */
  readonly part: string;
  readonly text: string;
  /** Line of the source that its first one is, from 1. */
  readonly firstLine: number;
}

/**
 * A kernel's definition or its source is wrong. Of a source the message quotes the line: `softShrink: body, line 2:
 * unresolved value 'thr'`, and below it the line with a mark at the column.
 */
export class KernelError extends Error {
  /** Of a command that ends with it. */
  readonly exitCode = 1;
  override name = 'KernelError';

  /** `quoted`: the line at fault, for the message. */
  constructor(
    /** The name that its definition gives. */
    readonly kernel: string,
    /** What is wrong, without name and line. */
    readonly problem: string,
    /** Of the user's own text, from 1; undefined where the fault is in no line of it. */
    readonly line?: number,
    /** From 1; undefined where `line` is. */
    readonly column?: number,
    quoted = '',
  ) {
    super(`${kernel}: ${problem}${quoted}`);
  }
}

/** As Dawn reports it: `:8:9 error: unresolved value 'thr' · …`, the line quoted again after the dot. */
const REPORT = /Error while parsing WGSL: :(\d+):(\d+) error: (.*?) · /;

/** The compiler's error about a source of the user's by the user's own lines; any other error as it is. */
export function explain(error: unknown, kernel: string, source: string, regions: readonly Region[]): unknown {
  const report = error instanceof MachineError ? REPORT.exec(error.message) : null;
  if (!report) return error;
  const [, row, at, problem] = report;
  const [line, column] = [Number(row), Number(at)];
  const region = regions.find(
    ({ firstLine, text }) => line >= firstLine && line < firstLine + text.split('\n').length,
  );
  const quoted = source.split('\n')[line - 1] ?? '';
  // Tabs stay tabs, so that the mark stands below what it means.
  const mark = quoted.slice(0, column - 1).replace(/[^\t]/g, ' ');
  const below = `\n  ${quoted}\n  ${mark}^`;
  // What is not closed or ended is noticed behind the text.
  const ended = regions.find(({ firstLine, text }) => {
    const behind = firstLine + text.split('\n').length;
    return line >= behind && line <= behind + 1;
  });
  if (!region && ended) {
    const lines = ended.text.split('\n');
    const last = lines.findLastIndex((each) => each.trim() !== '');
    return new KernelError(
      kernel,
      `${ended.part}, behind line ${last + 1}, its last: ${problem}`,
      last + 1,
      undefined,
      `\n  ${lines[last]}`,
    );
  }
  if (!region)
    return new KernelError(kernel, `in what is declared for it: ${problem}`, undefined, undefined, below);
  const own = line - region.firstLine + 1;
  return new KernelError(kernel, `${region.part}, line ${own}: ${problem}`, own, column, below);
}
