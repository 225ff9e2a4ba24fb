/** Ranks in threads that have devices: whatever happens to one, the process ends with a line and an exit code. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import type { RankFault } from './rank-faults-program.js';
import { repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-rank-faults-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

async function ended(size: number, fault: RankFault, left: string): Promise<{ code: unknown; said: string }> {
  const program = path.join(repositoryRoot, 'dist/test/rank-faults-program.js');
  const child = spawn(process.execPath, [program, String(size), fault, left], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += text));
  const [code] = await once(child, 'close');
  return { code, said };
}

describe('ranks in threads with devices', { concurrency: 2 }, () => {
  for (const [fault, size, code, said] of [
    ['none', 4, 0, /^$/],
    ['throws', 2, 1, /^dawntune: rank 1: no space is left\n$/],
    ['losesDevice', 2, 1, /^dawntune: rank 1: the GPU device was lost \(destroyed\).*\n$/],
    ['loops', 2, 1, /^dawntune: rank 1: gave no sign of life for 3 s while rank 0 waited for it.*\n$/],
    ['loopsBusy', 2, 1, /^dawntune: rank 1: gave no sign of life for 3 s while rank 0 waited for it.*\n$/],
    ['throwsBesideEndless', 2, 1, /^dawntune: rank 1: no space is left\n$/],
  ] as const)
    test(fault, async () => {
      const left = path.join(folder, fault);
      const end = await ended(size, fault, left);
      assert.match(end.said, said);
      assert.equal(end.code, code);
      // Nothing half-written stays, even of a thread that could not be ended.
      assert.ok(!fs.existsSync(left));
    });
});
