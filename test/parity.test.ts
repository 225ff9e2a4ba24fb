/** The goldens hold, and the command notices a mistake when there is one. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { deliberateErrors } from '../src/parity/arguments.js';
import { requireGoldenForm } from '../src/parity/forms.js';
import { allowOneJump } from '../src/parity/jumps.js';
import { runParity } from '../src/parity/parity.js';
import type { ParityCheck } from '../src/parity/report.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';

test('every golden holds', async () => {
  const checks = await runParity(golden(), { openGpu: lendGpu });
  assert.ok(checks.length > 400, `${checks.length} checks were made`);
  assert.deepEqual(
    checks.filter((check) => !check.ok),
    [],
  );
});

test('every golden holds in mixed precision', async () => {
  const checks = await runParity(golden(), { fp16: true, openGpu: lendGpu });
  assert.ok(checks.length > 400, `${checks.length} checks were made`);
  assert.deepEqual(
    checks.filter((check) => !check.ok),
    [],
  );
  // It was f16: no float32 run is that far off.
  assert.ok(checks.some(({ name, measured }) => name === 'hidden state 1' && measured > 1e-4));

  // Halves cost no more here than they cost PyTorch.
  const { losses } = JSON.parse(fs.readFileSync(golden('half', 'pytorch.json'), 'utf8')) as {
    losses: Record<string, { float32: number; autocast: number }>;
  };
  const rootMeanSquare = (errors: number[]) =>
    Math.sqrt(errors.reduce((sum, error) => sum + error * error, 0) / errors.length);
  const errorOf = (id: string) => {
    const sections = [`loss ${id} intended`, `loss ${id}`];
    return sections.flatMap((section) =>
      checks.filter((check) => check.section === section && check.name === 'loss'),
    )[0]!.measured;
  };
  const ours = rootMeanSquare(Object.keys(losses).map(errorOf));
  const theirs = rootMeanSquare(
    Object.values(losses).map(({ float32, autocast }) => (autocast - float32) / float32),
  );
  assert.ok(ours < theirs, `${ours} here, ${theirs} there`);
});

/** Goldens with some of the loss cases, in which each mistake of the model and the loss shows. */
const fewer = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-parity-'));
after(() => fs.rmSync(fewer, { recursive: true, force: true }));
for (const name of fs.readdirSync(golden())) fs.symlinkSync(golden(name), path.join(fewer, name));
const shown = ['B2G4-m3_kd_loss-teacher-selfdistill', 'B4G3-m3_kd_loss-teacher', 'dense-only'];
fs.rmSync(path.join(fewer, 'loss_cases.json'));
const lossCases = JSON.parse(fs.readFileSync(golden('loss_cases.json'), 'utf8')) as { id: string }[];
fs.writeFileSync(
  path.join(fewer, 'loss_cases.json'),
  JSON.stringify(lossCases.filter(({ id }) => shown.includes(id))),
);

for (const deliberateError of deliberateErrors)
  test(`a deliberate error is noticed: ${deliberateError}`, async () => {
    const failed = (await runParity(fewer, { deliberateError, openGpu: lendGpu })).filter(
      (check) => !check.ok,
    );
    assert.ok(failed.length > 0);
    // Mistakes of the optimiser show in the ten steps only, those of the model and the loss in the loss cases too.
    const inLosses = failed.some((check) => check.section.startsWith('loss'));
    assert.equal(inLosses, deliberateError === 'tanh-gelu' || deliberateError === 'missing-term');
    assert.ok(failed.some((check) => check.section === 'ten steps'));
  });

test('in halves the gradients of one case may have a jump of a maximum, and of no more', () => {
  const check = (section: string, name: string, measured: number, bound: number): ParityCheck => ({
    section,
    name,
    measured,
    bound,
    ok: measured <= bound,
  });
  const section = (name: string, head: number, others: number) => [
    check(name, 'gradient colbert_linear.weight', head, 5e-3),
    check(name, 'gradient embeddings', others, 5e-4),
    check(name, 'dense vectors', 1e-3, 1e-2),
  ];
  const failures = (...checks: ParityCheck[]) => allowOneJump(checks).filter(({ ok }) => !ok).length;
  const well = section('b', 1e-5, 1e-5);
  assert.equal(failures(...section('a', 3e-2, 7e-3), ...well), 0);
  assert.equal(failures(...section('a', 3e-2, 7e-3), ...section('b', 3e-2, 7e-3)), 4, 'two cases');
  assert.equal(failures(...section('a', 1e-4, 7e-3), ...well), 1, 'not the head');
  assert.equal(failures(...section('a', 3e-2, 2e-2), ...well), 2, 'too far');
  assert.equal(failures(...section('a', Number.NaN, 7e-3), ...well), 2, 'no number');
  assert.equal(
    failures(...section('a', 3e-2, 7e-3), check('a', 'loss', 1, 1e-2), ...well),
    1,
    'not only gradients',
  );
});

test('goldens of another form are told as a fault of their file', () => {
  const forms: [string, unknown, RegExp][] = [
    ['settings.json', null, /^settings\.json: expected an object, found null$/],
    ['settings.json', {}, /^settings\.json: pooling: expected a text, found nothing$/],
    ['tokenizer.json', { texts: 5 }, /^tokenizer\.json: expected a list, found /],
    ['loss_cases.json', ['x'], /^loss_cases\.json: \[0\]: expected an object, found "x"$/],
    [
      'encode.json',
      { max_length: 8, texts: [null] },
      /^encode\.json: texts\[0\]: expected a text, found null$/,
    ],
  ];
  for (const [name, value, message] of forms)
    assert.throws(() => requireGoldenForm(value, name, name), { name: 'InputError', message });
});
