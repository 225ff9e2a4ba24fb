/** What all carriers must do, carried by each MPI that is here, between two and four processes. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { installations, mpirun, rankProgram } from './launch.js';

for (const installation of installations)
  describe(`${installation.name} (${installation.version})`, () => {
    for (const ranks of [2, 4])
      test(`${ranks} ranks say what they should`, async () => {
        const { code, stdout, stderr } = await mpirun(installation, [rankProgram, 'conversation'], {
          ranks,
          limit: 120,
        });
        assert.equal(code, 0, stderr);
        for (let rank = 0; rank < ranks; rank++) {
          assert.match(stdout, new RegExp(`^rank ${rank} of ${ranks} pid `, 'm'));
          assert.match(stdout, new RegExp(`^rank ${rank} closed$`, 'm'));
        }
        assert.match(
          stderr,
          new RegExp(`dawntune: on \\S+ rank 0 is process \\d+, .*rank ${ranks - 1} is process`),
        );
      });

    test('what is longer than a message may be travels in pieces', async () => {
      const { code, stdout, stderr } = await mpirun(installation, [rankProgram, 'pieces'], {
        ranks: 2,
        limit: 120,
      });
      assert.equal(code, 0, stderr);
      assert.equal(stdout.match(/^rank \d closed$/gm)?.length, 2);
    });

    test('a library that is not the launcher’s is told so', async () => {
      const other = installations.find(({ name }) => name !== installation.name);
      // Without another one, no library at all.
      const env: Record<string, string> = other
        ? { DAWNTUNE_MPI_LIBRARY: libraryOf(other.env['LD_LIBRARY_PATH'], other.name) }
        : { DAWNTUNE_MPI_LIBRARY: '/nowhere/libmpi.so' };
      const { code, stderr } = await mpirun(installation, [rankProgram, 'conversation'], {
        ranks: 2,
        limit: 60,
        env,
      });
      assert.notEqual(code, 0);
      assert.match(stderr, other ? /says rank \d of 2, and .*says rank \d of \d|MPI/ : /cannot be loaded/);
    });
  });

function libraryOf(folders: string | undefined, name: string): string {
  const library = name === 'MPICH' ? 'libmpich.so.12' : 'libmpi.so.40';
  const first = folders?.split(':')[0];
  return first ? `${first}/${library}` : library;
}

test('there is an MPI to test with', () => assert.ok(installations.length > 0));
