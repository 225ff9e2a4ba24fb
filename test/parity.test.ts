/** The goldens hold, and the command notices a mistake when there is one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deliberateErrors, runParity } from '../src/cli/parity.js';
import { golden } from './repository.js';

test('every golden holds', async () => {
  const checks = await runParity(golden());
  assert.ok(checks.length > 400, `${checks.length} checks were made`);
  assert.deepEqual(
    checks.filter((check) => !check.ok),
    [],
  );
});

for (const deliberateError of deliberateErrors)
  test(`a deliberate error is noticed: ${deliberateError}`, async () => {
    const failed = (await runParity(golden(), { deliberateError })).filter((check) => !check.ok);
    assert.ok(failed.length > 0);
    // Mistakes of the optimiser show in the ten steps only, those of the model and the loss in the loss cases too.
    const inLosses = failed.some((check) => check.section.startsWith('loss'));
    assert.equal(inLosses, deliberateError === 'tanh-gelu' || deliberateError === 'missing-term');
    assert.ok(failed.some((check) => check.section === 'ten steps'));
  });
