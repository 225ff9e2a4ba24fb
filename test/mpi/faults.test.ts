/**
 * Ranks as processes of which one fails: all of them end, soon, not as if all were well, saying which rank it was and why,
 * and nothing of them is left.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FAULT_SECONDS, installations, mpirun, rankProgram } from './launch.js';

interface Fault {
  readonly scenario: string;
  readonly says: RegExp;
  /** Of the launcher; without it any but 0. */
  readonly code?: number;
}

const faults: Record<string, Fault> = {
  'throws where nobody catches': { scenario: 'throws', says: /rank 1: the rows ran out/, code: 1 },
  'is stopped': { scenario: 'stopped', says: /rank 1: gave no sign of life for 5 s/, code: 1 },
  'is stopped before it closes': {
    scenario: 'stopped-late',
    says: /rank 1: gave no sign of life for 5 s while rank 0 closed the run and waited for it/,
    code: 1,
  },
  'is stopped before it comes to MPI': {
    scenario: 'stopped-early',
    says: /rank 1: its process \d+ on .* is stopped, and rank 0 waits for it in MPI_Init for 20 s/,
    code: 1,
  },
  'loops for ever': { scenario: 'loops', says: /rank 1: gave no sign of life for 5 s/, code: 1 },
  'exits in the middle, as if all were well': {
    scenario: 'exits0',
    says: /rank 1: left before the end of the run, with exit code 0/,
    code: 1,
  },
  'exits in the middle': { scenario: 'exits3', says: /rank 1: left .* exit code 3/, code: 3 },
  'has nothing left to do and has not closed': {
    scenario: 'forgets',
    says: /rank 1: left before the end of the run/,
    code: 1,
  },
  'gives up for a reason': {
    scenario: 'aborts',
    says: /rank 1: file\.jsonl: line 3: expected a query/,
    code: 2,
  },
  'does something else than the others': {
    scenario: 'differs',
    says: /rank 0 does "barrier".*rank 1 does "gather of bytes"/,
    code: 1,
  },
};

// Nearly all of it is waiting, which both may do at once.
describe('all ranks end', { concurrency: 2 }, () => {
  for (const installation of installations)
    describe(installation.name, () => {
      for (const [name, { scenario, says, code }] of Object.entries(faults))
        test(`a rank ${name}`, async () => {
          const ended = await mpirun(installation, [rankProgram, scenario], {
            ranks: 2,
            limit: FAULT_SECONDS,
          });
          assert.match(ended.stderr, says);
          assert.equal(ended.code, code, ended.stderr);
        });

      test('a rank is killed', async () => {
        const ended = await mpirun(installation, [rankProgram, 'killed'], { ranks: 3, limit: FAULT_SECONDS });
        assert.notEqual(ended.code, 0);
        // Hydra ends the others at once and tells a number of one of them, on standard output.
        if (installation.name === 'MPICH')
          assert.match(ended.stdout, /BAD TERMINATION.*EXIT CODE: 9.*Killed \(signal 9\)/s);
        else assert.match(ended.stderr, /process rank 1 .*exited on signal 9/);
      });
    });
});
