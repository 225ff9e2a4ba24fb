/** What a run tells: log lines for programs on standard output, a progress bar or plain lines for people on standard error. */
import cliProgress from 'cli-progress';
import { messageLine, printable } from '../show.js';

export interface LogEntry {
  readonly [key: string]: number | string;
}

export interface Reporter {
  /** For people, one line. */
  note(line: string): void;
  /** One record of the run's log. */
  log(entry: LogEntry): void;
  start(totalSteps: number): void;
  step(step: number, loss: number): void;
  /** A save is whole: the name of a checkpoint's folder, or `model` for the output folder itself. */
  saved?(name: string): void;
  end(): void;
}

/** `progress` undefined: a bar when standard error is a terminal. */
export function consoleReporter({ progress }: { progress?: boolean } = {}): Reporter {
  const wanted = progress ?? process.stderr.isTTY === true;
  let bar: cliProgress.SingleBar | undefined;
  const aboveBar = (write: () => void) => {
    if (bar && process.stdout.isTTY) process.stderr.write('\r\x1b[K');
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
    start(totalSteps) {
      if (!wanted) return;
      bar = new cliProgress.SingleBar({
        format: 'step {value}/{total} {bar} loss {loss} · {duration_formatted} · {eta_formatted} left',
        barsize: 30,
        stream: process.stderr,
        etaBuffer: 20,
        // Else the terminal is left without line wrap when the run is interrupted.
        linewrap: true,
      });
      bar.start(totalSteps, 0, { loss: '–' });
    },
    step(step, loss) {
      bar?.update(step, { loss: loss.toFixed(4) });
    },
    end() {
      bar?.stop();
      bar = undefined;
    },
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
