/** A training run of the command whose standard streams go away, and what became of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import koffi from 'koffi';
import { golden, repositoryRoot } from './repository.js';

export interface Outcome {
  status: number | null;
  signal: string | null;
  saved: boolean;
}

const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');
const ROW = '{"query":"a word","pos":["another word"],"neg":["no word"]}\n';

/**
 * Trains the small model for a few steps. `begin` starts the process, given its arguments and environment, and takes
 * away what the test is about.
 */
export async function trainWithout(
  begin: (program: string, args: string[]) => ChildProcess | Promise<ChildProcess>,
): Promise<Outcome> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-streams-'));
  try {
    const data = path.join(folder, 'data.jsonl');
    const output = path.join(folder, 'output');
    fs.writeFileSync(data, ROW.repeat(4));
    const flags = {
      model_name_or_path: golden('model'),
      train_data: data,
      output_dir: output,
      train_group_size: '2',
      per_device_train_batch_size: '2',
      max_steps: '3',
      logging_steps: '1',
    };
    const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
    const child = await begin(process.execPath, [main, 'finetune', ...words]);
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    const saved = fs.existsSync(path.join(output, 'model.safetensors'));
    return { status: child.exitCode, signal: child.signalCode, saved };
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

/** A pseudo terminal: descriptors of its two ends. */
function openTerminal(): { master: number; slave: number } {
  const libc = koffi.load(null);
  const master = libc.func('int posix_openpt(int flags)')(
    fs.constants.O_RDWR | fs.constants.O_NOCTTY,
  ) as number;
  libc.func('int grantpt(int fd)')(master);
  libc.func('int unlockpt(int fd)')(master);
  const name = libc.func('const char *ptsname(int fd)')(master) as string;
  return { master, slave: fs.openSync(name, fs.constants.O_RDWR | fs.constants.O_NOCTTY) };
}

/**
 * Starts a process on a terminal, which is closed when the process has written `text` there, or, where it writes nothing
 * there, when it is one that a hang-up does not end: before its program is loaded nobody can see to that.
 */
export async function onClosedTerminal(
  program: string,
  args: string[],
  streams: readonly number[],
  text: string,
  signal?: NodeJS.Signals,
): Promise<ChildProcess> {
  const { master, slave } = openTerminal();
  const child = spawn(program, args, {
    detached: true,
    stdio: [0, 1, 2].map((stream) => (streams.includes(stream) ? slave : 'ignore')),
  });
  fs.closeSync(slave);
  let written = '';
  const buffer = Buffer.alloc(4096);
  while (streams.includes(2) && !written.includes(text)) {
    const count = await new Promise<number>((resolve) =>
      fs.read(master, buffer, 0, buffer.length, null, (error, bytes) => resolve(error ? 0 : bytes)),
    );
    if (count === 0) break;
    written += buffer.toString('latin1', 0, count);
  }
  if (!streams.includes(2)) {
    const until = performance.now() + 30_000;
    while (!catchesHangUp(child.pid!) && performance.now() < until)
      await new Promise((resolve) => setTimeout(resolve, 10));
  }
  fs.closeSync(master);
  if (signal) child.kill(signal);
  return child;
}

/** Of a process, as Linux tells; where the system does not, at the first look. */
function catchesHangUp(pid: number): boolean {
  try {
    const [, caught] = /^SigCgt:\s*([0-9a-f]+)$/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))!;
    return (BigInt(`0x${caught}`) & 1n) === 1n;
  } catch {
    return true;
  }
}
