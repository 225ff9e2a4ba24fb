/** What a run tells: log lines for programs on standard output, a progress bar or plain lines for people on standard error. */
import cliProgress from 'cli-progress';
import { formatBytes } from '../gpu/memory.js';
import type { DownloadProgress } from '../hub/download.js';
import { messageLine, printable } from '../show.js';

/** A line of the training log. */
export interface LogEntry {
  readonly [key: string]: number | string;
}

/** Who is told of a training run. */
export interface Reporter {
  /** For people, one line. */
  note(line: string): void;
  /** One record of the run's log. */
  log(entry: LogEntry): void;
  /** Bytes of a model of the hub have come. */
  download?(progress: DownloadProgress): void;
  /** `taken`: steps that an earlier process took. */
  start(totalSteps: number, taken?: number): void;
  step(step: number, loss: number): void;
  /** How far work came that has no steps: so many of `unit` (texts, pairs), of `total` where that is known. */
  count?(done: number, unit: string, total?: number): void;
  /** A save is whole: the name of a checkpoint's folder, or `model` for the output folder itself. */
  saved?(name: string): void;
  end(): void;
}

/** `progress` undefined: a bar when standard error is a terminal. */
export function consoleReporter({ progress }: { progress?: boolean } = {}): Reporter {
  const wanted = progress ?? process.stderr.isTTY === true;
  let bar: cliProgress.SingleBar | undefined;
  let transfer: cliProgress.SingleBar | undefined;
  let told = Number.NEGATIVE_INFINITY;
  /** Since when what is counted, and what had been done then; `shown`: a line of it stands on the terminal. */
  let counting:
    | { readonly unit: string; readonly since: number; readonly from: number; told: number }
    | undefined;
  let countShown = false;
  const endCount = () => {
    if (countShown) process.stderr.write('\n');
    countShown = false;
  };
  const endTransfer = () => {
    transfer?.stop();
    transfer = undefined;
  };
  const aboveBar = (write: () => void) => {
    // Begins again with the bytes that come next.
    endTransfer();
    if ((bar && process.stdout.isTTY) || countShown) process.stderr.write('\r\x1b[K');
    countShown = false;
    write();
  };
  return {
    note(line) {
      aboveBar(() =>
        process.stderr.write(`${messageLine(line)}
`),
      );
    },
    log(entry) {
      aboveBar(() => process.stdout.write(`${printable(JSON.stringify(entry))}\n`));
    },
    download({ bytes, totalBytes }) {
      const seconds = performance.now() / 1000;
      if (wanted) {
        // All is told more than once, for each file that is whole then.
        if (bytes < totalBytes) transfer ??= startTransfer(totalBytes);
        transfer?.update(bytes, { read: formatBytes(bytes), all: formatBytes(totalBytes) });
        if (bytes === totalBytes) endTransfer();
      } else if (bytes < totalBytes && seconds - told > PLAIN_SECONDS) {
        // The first piece only starts the clock.
        if (told > Number.NEGATIVE_INFINITY)
          this.note(`${formatBytes(bytes)} of ${formatBytes(totalBytes)} downloaded`);
        told = seconds;
      }
    },
    start(totalSteps, taken = 0) {
      if (!wanted) return;
      bar = new cliProgress.SingleBar({
        format: 'step {value}/{total} {bar} loss {loss} · {duration_formatted} · {eta_formatted} left',
        barsize: 30,
        stream: process.stderr,
        etaBuffer: 20,
        // Else the terminal is left without line wrap when the run is interrupted.
        linewrap: true,
      });
      bar.start(totalSteps, taken, { loss: '–' });
    },
    step(step, loss) {
      bar?.update(step, { loss: loss.toFixed(4) });
    },
    count(done, unit, total) {
      const seconds = performance.now() / 1000;
      if (counting?.unit !== unit) {
        endCount();
        counting = { unit, since: seconds, from: done, told: seconds };
      }
      const rate = (done - counting.from) / Math.max(1e-3, seconds - counting.since);
      const line =
        `${done.toLocaleString('en')}${total === undefined ? '' : ` of ${total.toLocaleString('en')}`} ${unit}` +
        (done > counting.from ? ` · ${Number(rate.toPrecision(3)).toLocaleString('en')}/s` : '');
      if (wanted) {
        process.stderr.write(`\r\x1b[K${line}`);
        countShown = true;
      } else if (seconds - counting.told > PLAIN_SECONDS) {
        this.note(line);
        counting.told = seconds;
      }
    },
    end() {
      endTransfer();
      endCount();
      bar?.stop();
      bar = undefined;
    },
  };
}

/** Without a bar, a line of a download or of what is counted every so often. */
const PLAIN_SECONDS = 30;

function startTransfer(totalBytes: number): cliProgress.SingleBar {
  const bar = new cliProgress.SingleBar({
    format: '{read} of {all} {bar} {duration_formatted} · {eta_formatted} left',
    barsize: 30,
    stream: process.stderr,
    etaBuffer: 100,
    linewrap: true,
  });
  bar.start(totalBytes, 0, { read: '0 B', all: formatBytes(totalBytes) });
  return bar;
}

/** For ranks beside rank 0, which tells what concerns all: of theirs only what a signal asks about is passed on. */
export function quiet(report: Reporter): Reporter {
  return {
    ...silentReporter,
    start: (totalSteps, taken) => report.start(totalSteps, taken),
    step: (step, loss) => report.step(step, loss),
    count: (done, unit, total) => report.count?.(done, unit, total),
    saved: (name) => report.saved?.(name),
    end: () => report.end(),
  };
}

/** Says nothing; for tests and library use. */
export const silentReporter: Reporter = {
  note() {},
  log() {},
  start() {},
  step() {},
  end() {},
};
