/** A program that starts itself under each mpirun that is here: its ranks have adapters, stop as one, and leave nothing. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { test } from 'node:test';
import { visibleAdapters } from '../../src/gpu/adapter-list.js';
import { repositoryRoot } from '../repository.js';
import { installations, pidsIn, requireNoneLeft } from './launch.js';

const program = path.join(repositoryRoot, 'dist', 'test', 'mpi', 'self-start-ranks.js');
const software = (await visibleAdapters()).find((adapter) => adapter.software);

for (const { name } of installations)
  for (const [signal, code, says] of [
    ['SIGINT', 130, 'SIGINT'],
    ['SIGTERM', 143, 'SIGTERM'],
    // Nobody is left to pass anything on: the input of rank 0 ends, which stops them all.
    ['SIGKILL', null, 'SIGTERM'],
  ] as const)
    test(`${name}: two ranks that a command started stop when it gets ${signal}`, async (t) => {
      if (!software) return t.skip('no software adapter here');
      const adapters = `adapters=${software.name.split(' ')[0]},${software.index}`;
      const child = spawn(process.execPath, [program, name, adapters], { stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => {
          const before = (said.match(/ holds /g) ?? []).length;
          said += text;
          if (before < 2 && (said.match(/ holds /g) ?? []).length === 2) child.kill(signal);
        });
      const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
      const [found] = (await once(child, 'close')) as [number | null];
      clearTimeout(timer);
      assert.equal(found, code, said);
      assert.equal((said.match(new RegExp(`stopped by ${says}`, 'g')) ?? []).length, 2, said);
      assert.ok(!said.includes('-----'), said);
      assert.equal(pidsIn(said).length, 2, said);
      await requireNoneLeft(said);
    });
