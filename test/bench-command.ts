/** The bench command on sizes that take seconds. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { repositoryRoot } from './repository.js';

export function bench(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const main = path.join(repositoryRoot, 'dist', 'bench', 'main.js');
  return spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
}

export const lengths = ['--query_max_len', '16', '--passage_max_len', '32'];

/** That a step on texts of the longest length is timed, with figures that agree with each other. */
export function checkBenchStep(...more: string[]): void {
  const { status, stdout, stderr } = bench(
    'step',
    '--model',
    'tiny',
    '--full_length',
    ...lengths,
    '--steps',
    '1',
    '--json',
    ...more,
  );
  assert.equal(status, 0, stderr);
  const { suite, rows, ...machine } = JSON.parse(stdout);
  assert.equal(suite, 'step');
  for (const name of ['adapter', 'driver', 'cpu', 'date']) assert.ok(machine[name].length > 0, name);
  const [row] = rows;
  // 2 queries of 16 tokens, 16 passages of 32.
  assert.equal(row.tokens, 2 * 16 + 16 * 32);
  assert.ok(
    row.seconds > 0 &&
      row.cpuSeconds > 0 &&
      row.tokensPerSecond > 0 &&
      row.peakRssBytes > row.gpuBytes.optimizer,
  );
  assert.ok(Number.isFinite(row.firstLoss) && row.firstLoss > 0);
  assert.deepEqual(row.gpuBytes, row.predictedGpuBytes);
  // Nothing but key biases, whose true gradient is 0, may stay as it was.
  assert.ok(row.unchangedTensors <= 4 && row.tensors > 60, `${row.unchangedTensors} of ${row.tensors}`);
}
