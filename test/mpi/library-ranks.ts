/**
 * A program for cards.test.ts that uses the library: two ranks in threads, of which each trains. `own`: each opens an
 * adapter itself, as in a process of one rank; else that is left to `finetune`. Also the module of its ranks.
 */
import { isMainThread } from 'node:worker_threads';
import {
  finetune,
  Gpu,
  parseFinetuneArguments,
  type RankContext,
  RankThreads,
  silentReporter,
} from '../../src/index.js';

interface LibraryRun {
  readonly words: readonly string[];
  readonly own: boolean;
}

export async function runRank({
  communicator,
  data,
  report,
  stop,
}: RankContext<LibraryRun>): Promise<number> {
  const { args } = parseFinetuneArguments(data.words, communicator.size);
  const open = data.own ? () => Gpu.open() : undefined;
  return (await finetune(args, report, open, stop, communicator)).steps;
}

if (isMainThread) {
  const [own, ...words] = process.argv.slice(2);
  const data: LibraryRun = { words, own: own === 'own' };
  const ranks = new RankThreads<number>({
    size: 2,
    module: new URL(import.meta.url),
    data,
    report: silentReporter,
  });
  const ended = await ranks.results().then(
    (steps) => `steps: ${steps.join(' ')}`,
    (error: unknown) => String(error),
  );
  process.stdout.write(`${ended}\n`);
}
