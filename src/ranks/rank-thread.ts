/** The thread of one rank: opens its communicator, runs its module, and tells the thread that started it how it ended. */
import { parentPort, workerData } from 'node:worker_threads';
import { InputError } from '../errors.js';
import { onProgress, type Work } from '../progress.js';
import { CarriedCommunicator } from './carrier.js';
import { RankError } from './communicator.js';
import { type FromRank, type RankModule, type RankSeat, reporterTo, type ToRank } from './rank-messages.js';
import { failureOf } from './together.js';

const { rank, module, data, transport, timeoutSeconds, busySeconds, stop } = workerData as RankSeat;
const port = parentPort!;
const tell = (message: FromRank) => port.postMessage(message);
const stopCell = new Int32Array(stop);

/** Errors that nobody awaits end a rank like those of its module. */
const uncaught = new Promise<never>((_, reject) => {
  process.on('uncaughtException', reject);
});
uncaught.catch(() => undefined);

port.on('message', ({ leaving }: ToRank) => {
  // Half-written saves are removed and locks released as at the end of a process; the thread itself cannot end while
  // its device owes an answer, and does nothing more.
  process.emit('exit', leaving);
  tell({ cleaned: true });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});
port.unref();

async function main(): Promise<void> {
  let communicator: CarriedCommunicator | undefined;
  try {
    communicator = await CarriedCommunicator.open({ transport, timeoutSeconds, busySeconds });
    // Rank 0 tells what it reads and compiles, which others see by its steps alone.
    if (rank === 0) tellSigns((work) => tell({ told: ['progress', work] }));
    const context = {
      communicator,
      data,
      report: reporterTo((told) => tell({ told })),
      stop: {
        get requested() {
          return Atomics.load(stopCell, 0) !== 0;
        },
        get exitCode() {
          return Atomics.load(stopCell, 0) || undefined;
        },
      },
    };
    const { runRank } = (await import(module)) as RankModule;
    const result = await Promise.race([runRank(context), uncaught]);
    await communicator.close();
    tell({ result });
  } catch (error) {
    const failure = error instanceof RankError ? error.failure : failureOf(rank, error);
    await communicator?.abort(failure).catch(() => undefined);
    const stack = error instanceof Error && !(error instanceof RankError) ? error.stack : undefined;
    const more = error instanceof InputError || error instanceof RankError ? error.more : undefined;
    tell({ failure, stack, more });
    await communicator?.close().catch(() => undefined);
  }
}

/** Not more of them than somebody can look at. */
const SIGN_MILLISECONDS = 100;

function tellSigns(tell: (work: Work) => void): void {
  let next = 0;
  onProgress((work) => {
    const now = performance.now();
    if (!work || (now < next && work.done !== work.total)) return;
    next = now + SIGN_MILLISECONDS;
    tell(work);
  });
}

await main();
