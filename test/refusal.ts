/**
 * What commands refuse, told as their processes tell it but in this one: a process takes half a second of a processor to
 * start. That a process ends with the code and the line is tested of each kind once (test/errors.test.ts).
 */
import { exitCodeOf, tellFailure } from '../src/cli/failure.js';

export interface Refusal {
  readonly status: number;
  readonly stderr: string;
}

/** Runs a command, or module of commands, on its words. */
export async function refusalOf(
  command: (argv: readonly string[]) => Promise<number>,
  argv: readonly string[],
): Promise<Refusal> {
  const { write } = process.stderr;
  let stderr = '';
  process.stderr.write = (text: string | Uint8Array) => {
    stderr += text.toString();
    return true;
  };
  try {
    return { status: await command(argv), stderr };
  } catch (error) {
    tellFailure(error, argv);
    return { status: exitCodeOf(error), stderr };
  } finally {
    process.stderr.write = write;
  }
}
