/** `dawntune serve`: embeddings over HTTP until a signal ends it. */

import { type Interruption, interruptible } from '../console/interruption.js';
import { parseServeArguments } from '../serve/arguments.js';
import { serveModel } from '../serve/serve-command.js';
import { commandReporter } from './reporter.js';

export async function serveCommand(argv: readonly string[]): Promise<number> {
  const { args, notices } = parseServeArguments(argv);
  const interruption: Interruption = {
    stopsBy: 'no more requests are taken, and the server ends when those at hand are answered',
    where: () => 'interrupted: what had been asked for and not answered is dropped',
  };
  const report = interruptible(commandReporter(args), interruption);
  try {
    for (const line of notices) report.note(line);
    await serveModel(args, report, (stop) => {
      interruption.stop = stop;
    });
    return 0;
  } finally {
    report.end();
    report.release();
  }
}
