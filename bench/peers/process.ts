/** A peer's process, seen from the suite: sends requests and waits for the answer, or says why there is none. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { REPLY } from './protocol.js';

/** Of what a peer wrote to standard error, kept to tell why it ended. */
const TAIL = 4000;

export class PeerProcess {
  private readonly child: ChildProcess;
  private readonly answers: ((reply: Record<string, unknown>) => void)[] = [];
  private tail = '';
  private ended: string | undefined;

  /** @param timeout seconds without an answer after which the process is given up. */
  constructor(
    file: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
    private readonly timeout: number,
  ) {
    this.child = spawn(file, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.on('error', (error) => this.end(error.message));
    this.child.on('close', (code, signal) =>
      this.end(`its process ended with ${signal ?? code}${this.lastLine()}`),
    );
    this.child.stdin!.on('error', () => {});
    this.child.stderr!.on('data', (data: Buffer) => {
      this.tail = (this.tail + data.toString()).slice(-TAIL);
    });
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      const at = line.indexOf(REPLY);
      if (at >= 0) this.answers.shift()?.(JSON.parse(line.slice(at + REPLY.length)));
    });
  }

  private lastLine(): string {
    const lines = this.tail.split('\n').filter((line) => line.trim() && !/^\s+at |^Warning:/.test(line));
    const named = lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1);
    return named ? `: ${named.trim()}` : '';
  }

  private end(reason: string): void {
    this.ended ??= reason;
    for (const answer of this.answers.splice(0)) answer({ error: this.ended });
  }

  /** @throws an error with the peer's reason. */
  async ask<Reply>(request: Readonly<Record<string, unknown>>): Promise<Reply> {
    const reply = await new Promise<Record<string, unknown>>((resolve) => {
      if (this.ended !== undefined) {
        resolve({ error: this.ended });
        return;
      }
      const timer = setTimeout(() => this.stop(`no answer in ${this.timeout} s`), this.timeout * 1000);
      this.answers.push((answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      this.child.stdin!.write(`${JSON.stringify(request)}\n`);
    });
    if (reply['error'] !== undefined) throw new Error(String(reply['error']));
    return reply as Reply;
  }

  stop(reason = 'was stopped'): void {
    this.end(reason);
    this.child.kill('SIGKILL');
  }
}
