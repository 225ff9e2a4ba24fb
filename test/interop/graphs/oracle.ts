/** PyTorch beside this: graphs go to test/interop/graphs.py as lines of JSON, values and gradients in float64 come back. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { MachineError } from '../../../src/errors.js';
import { repositoryRoot } from '../../repository.js';

export type Answer =
  /** Why the graph says nothing: a tie, or numbers on which PyTorch's own f32 is far off. */
  | { readonly rejected: string }
  | { readonly error: string }
  | {
      readonly values: readonly number[][];
      readonly shapes: readonly number[][];
      readonly gradients: readonly number[][];
    };

export class Oracle {
  private readonly process: ChildProcessByStdio<Writable, Readable, null>;
  private readonly answers: AsyncIterator<string>;
  private readonly failed: Promise<never>;

  constructor(private readonly python: string) {
    const script = path.join(repositoryRoot, 'test', 'interop', 'graphs.py');
    this.process = spawn(python, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.answers = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
    this.failed = new Promise<never>((_, reject) => {
      this.process.on('error', (error) => reject(new MachineError(`${python}: ${error.message}`)));
    });
  }

  async ask(graph: object): Promise<Answer> {
    this.process.stdin.write(`${JSON.stringify(graph)}\n`);
    const { value: line } = await Promise.race([this.answers.next(), this.failed]);
    if (line === undefined) throw new MachineError(`${this.python}: ended early`);
    return JSON.parse(line) as Answer;
  }

  close(): void {
    this.process.stdin.end();
  }
}

/** The largest difference relative to the largest value. */
export function differenceOf(got: ArrayLike<number>, want: readonly number[]): number {
  if (got.length !== want.length) return Infinity;
  // A gradient that is 0 but for rounding is not measured by itself.
  let [difference, top] = [0, 1e-3];
  for (const [i, value] of want.entries()) {
    const own = Math.abs(got[i]! - value);
    if (Number.isNaN(own)) return Infinity;
    difference = Math.max(difference, own);
    top = Math.max(top, Math.abs(value));
  }
  return difference / top;
}
