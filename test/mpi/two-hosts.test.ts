/** One rank on each of two hosts: what every carrier must do, and what happens when one of them fails. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { type Ended, FAULT_SECONDS, installations, mpirun, type RunOptions, rankProgram } from './launch.js';
import { twoHosts } from './two-hosts.js';

for (const installation of installations) {
  const hosts = twoHosts();
  const skip = typeof hosts === 'string' ? `no namespaces here: ${hosts}` : false;

  async function onTwoHosts(scenario: string, options: Pick<RunOptions, 'limit' | 'watch'>): Promise<Ended> {
    if (typeof hosts === 'string') throw new Error(hosts);
    const ended = await mpirun({ ...installation, mpirun: hosts.first }, [rankProgram, scenario], {
      ...options,
      ranks: 2,
      words: [installation.mpirun, ...hosts.words(installation)],
      // UCX, below MPICH, sees one machine behind the two names and would use its memory.
      env: { UCX_TLS: 'tcp,self', TMPDIR: hosts.folder },
    });
    assert.match(ended.stderr, /on first rank 0 is process \d+; on second rank 1 is process \d+/);
    return ended;
  }

  describe(`${installation.name}, two hosts`, { skip }, () => {
    test('ranks say what they should', async () => {
      const { code, stdout, stderr } = await onTwoHosts('conversation', { limit: 120 });
      assert.equal(code, 0, stderr);
      assert.equal(stdout.match(/^rank \d closed$/gm)?.length, 2);
    });

    for (const [scenario, says, code] of [
      ['exits3', /rank 1: left before the end of the run, with exit code 3/, 3],
      ['exits0', /rank 1: left before the end of the run, with exit code 0/, 1],
      ['stopped', /rank 1: gave no sign of life for 5 s/, 1],
    ] as const)
      test(`a rank fails: ${scenario}`, async () => {
        const ended = await onTwoHosts(scenario, { limit: FAULT_SECONDS });
        assert.match(ended.stderr, says);
        assert.equal(ended.code, code, ended.stderr);
      });

    test('a rank is killed', async () => {
      const ended = await onTwoHosts('killed', { limit: FAULT_SECONDS });
      assert.notEqual(ended.code, 0);
    });

    test('the network between them goes', async () => {
      let cut = false;
      const ended = await onTwoHosts('goes-on', {
        limit: FAULT_SECONDS,
        watch(said) {
          if (cut || typeof hosts === 'string' || !said.includes('rank 0 goes on')) return;
          cut = true;
          hosts.cut();
        },
      });
      assert.notEqual(ended.code, 0);
      assert.match(ended.stderr, /rank 1: gave no sign of life|MPI/);
    });

    after(() => {
      if (typeof hosts !== 'string') hosts.remove();
    });
  });
}
