/** Where the lines of a suite go, and how far it is: rows on standard output, talk and `--progress` on standard error. */
import { Display } from '../../src/console/display.js';
import type { ProgressMode } from '../../src/flags.js';
import { onProgress, type Work } from '../../src/progress.js';

/** Where lines go; the command gives the standard streams. */
export interface Output {
  readonly out: (text: string) => void;
  readonly note: (text: string) => void;
  readonly progress?: (work: Work) => void;
  /** Nothing more is under way. */
  readonly end?: () => void;
}

/** Lines stand above the bar, in whichever stream. */
export function standardOutput(mode: ProgressMode): Output {
  const display = new Display({ mode });
  const forget = onProgress((work) => {
    if (work) display.at(work);
    else display.tick();
  });
  return {
    out: (text) => display.output(() => void process.stdout.write(text)),
    note: (text) => {
      for (const line of text.replace(/\n$/, '').split('\n')) display.line(line);
    },
    progress: (work) => display.at(work),
    end: () => {
      forget();
      display.end();
    },
  };
}
