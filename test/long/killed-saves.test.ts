/** Saves that are killed at every file operation, and next runs that are killed while they end what those began. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { killedAt } from '../killed-saves.js';
import { asOfADeadProcess, fresh, hidden, inOutput, killEverywhere, markOf, save } from '../marked-saves.js';

test('killed at any operation of a run, a folder is one save or none, and the next run ends it', async () => {
  await killEverywhere(() => true);
});

test('a run that is killed while it ends what another began leaves it to the next', async () => {
  const template = fresh();
  await inOutput(template, (output) => output.save(save(2)));
  for (let at = 0; ; at++) {
    const folder = fresh();
    fs.cpSync(template, folder, { recursive: true });
    const { died } = await killedAt(at, () => inOutput(folder, (output) => output.save(save(3))));
    if (!died) break;
    if (markOf(folder) !== undefined) continue;
    asOfADeadProcess(folder);
    for (let again = 0; ; again++) {
      const copy = fresh();
      fs.cpSync(folder, copy, { recursive: true });
      const next = await killedAt(again, () => inOutput(copy, async () => {}));
      markOf(copy);
      asOfADeadProcess(copy);
      await inOutput(copy, async () => {});
      assert.equal(markOf(copy), 3, `${at} ${again}`);
      assert.deepEqual(hidden(copy), []);
      if (!next.died) break;
    }
  }
});
