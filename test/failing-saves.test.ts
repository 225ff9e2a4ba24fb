/** Saves that the system refuses at operations of theirs; the long tests take all of them. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { OutputFolder } from '../src/models/output-folder.js';
import { FAILURES, failingAt } from './failing-files.js';
import { failEverywhere, requireOneLine } from './failing-saves.js';
import { fresh, hidden, inOutput, save } from './marked-saves.js';

test('a disk that is full, fails or may not be written any more, at operations of a save', async () => {
  for (const failure of FAILURES) await failEverywhere(failure, 37);
});

test('where the folder cannot be written no run begins, and nothing is left', async () => {
  for (const failure of FAILURES) {
    const { operations } = await failingAt(Number.POSITIVE_INFINITY, failure, () =>
      inOutput(fresh(), async () => {}),
    );
    for (const at of operations.keys()) {
      const folder = fresh();
      const when = `${failure.code} (${failure.how}) at ${at} ${operations[at]}`;
      const { error } = await failingAt(at, failure, async () => OutputFolder.open(folder).close());
      if (error) requireOneLine(error, when);
      else assert.match(operations[at]!, /^rmSync /, when);
      // Taking away is what the others cannot do.
      if (failure.how === 'writes' && fs.existsSync(folder)) assert.deepEqual(hidden(folder), [], when);
    }
  }
});

test('a folder that is removed while a run writes there is named', async () => {
  const folder = fresh();
  const output = OutputFolder.open(folder);
  fs.rmSync(folder, { recursive: true });
  await assert.rejects(output.saveAs('checkpoint-1', save(2)), {
    name: 'MachineError',
    message: /: the folder was removed while a run wrote there; rerun with a folder that stays$/,
  });
  output.close();
  assert.ok(!fs.existsSync(folder));
});
