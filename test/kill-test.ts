/**
 * `npm run kill-test -- [--kills N] [--within SHARE] [--seed N] [FLAGS]`: the mission's command, killed with SIGKILL at
 * random moments, goes on from its last whole checkpoint each time and ends with the files of the run that was left alone,
 * to the bit. A process is killed within that share of the time which the whole run takes. FLAGS are added to the command,
 * such as `--model_name_or_path FOLDER`. Exit code 0 only if all of that holds.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { CounterRandom } from '../src/tensor/random.js';
import { checkpoints } from '../src/train/checkpoints/checkpoints.js';
import { openCheckpoint } from '../src/train/checkpoints/training-state.js';
import { golden, repositoryRoot } from './repository.js';
import { differingFiles, missionFlags } from './stopped-runs.js';

interface Ended {
  readonly code: number | null;
  readonly killed: boolean;
  readonly text: string;
  readonly milliseconds: number;
}

/** Runs the command; `killAfter` milliseconds kill it. */
function run(flags: readonly string[], killAfter?: number): Promise<Ended> {
  const started = performance.now();
  const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');
  const child = spawn(process.execPath, [main, 'finetune', ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let text = '';
  child.stderr.on('data', (bytes) => {
    text += bytes;
  });
  const timer = killAfter === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfter);
  return new Promise((resolve) =>
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, killed: signal === 'SIGKILL', text, milliseconds: performance.now() - started });
    }),
  );
}

async function main(argv: readonly string[]): Promise<number> {
  const words = [...argv];
  const take = (flag: string, fallback: number) => {
    const at = words.indexOf(flag);
    return at < 0 ? fallback : Number(words.splice(at, 2)[1]);
  };
  const kills = take('--kills', 30);
  const within = take('--within', 1 / 3);
  const random = new CounterRandom(take('--seed', Date.now() % 1_000_000), [0]);
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-kill-test-'));
  const output = path.join(root, 'output');
  const whole = path.join(root, 'whole');
  const flags = [
    ...missionFlags(output, golden('model')),
    ...['--save_steps', '2', '--resume_from_checkpoint', 'True', ...words],
  ];
  const say = (line: string) => process.stdout.write(`${line}\n`);
  try {
    const reference = await run(flags);
    if (reference.code !== 0)
      throw new Error(`the run that was left alone ended with ${reference.code}:\n${reference.text}`);
    fs.renameSync(output, whole);
    say(
      `left alone: ${(reference.milliseconds / 1e3).toFixed(1)} s, ${checkpoints(whole).length} checkpoints`,
    );
    let done = 0;
    for (let round = 1; done < kills; round++) {
      fs.rmSync(output, { recursive: true, force: true });
      for (let again = true; again; ) {
        const after = done < kills ? random.uniform() * within * reference.milliseconds : undefined;
        const ended = await run(flags, after);
        const from = /after step (\d+) of/.exec(ended.text)?.[1] ?? '0';
        const saved = fs.existsSync(output) ? checkpoints(output) : [];
        for (const { folder } of saved) openCheckpoint(folder).tensors.close();
        if (ended.killed) {
          done++;
          say(
            `kill ${done}: after ${(ended.milliseconds / 1e3).toFixed(2)} s, begun after step ${from}, newest whole checkpoint: ${saved.at(-1)?.name ?? 'none'}`,
          );
        } else if (ended.code === 0) again = false;
        else
          throw new Error(`a run that went on after step ${from} ended with ${ended.code}:\n${ended.text}`);
      }
      const differing = differingFiles(whole, output);
      if (differing.length > 0)
        throw new Error(`round ${round}: these files differ: ${differing.join(', ')}`);
      say(
        `round ${round}: all ${fs.readdirSync(output, { recursive: true }).length} names and files as if left alone`,
      );
    }
    say(`${done} kills: weights, moments and log equal those of the run that was left alone`);
    return 0;
  } catch (error) {
    process.stderr.write(`kill-test: ${(error as Error).message}\n`);
    return 1;
  } finally {
    fs.rmSync(root, { recursive: true, force: true });
  }
}

process.exitCode = await main(process.argv.slice(2));
