/** Doctor where there is nothing to compute on: what to do is told, and what a software adapter would take. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import type { DoctorReport } from '../../src/doctor/doctor.js';
import { healthy } from '../doctor-machines.js';
import { repositoryRoot } from '../repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-doctor-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const program = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');
const doctor = (words: readonly string[], env: NodeJS.ProcessEnv) =>
  spawnSync(process.execPath, [program, 'doctor', ...words], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });

test('--json of this machine has all facts, with a model that fits by some flags', () => {
  const { stdout, status } = doctor(['--json'], {});
  const report = JSON.parse(stdout) as DoctorReport;
  assert.equal(status, 0, stdout);
  assert.ok(report.schema === 1 && report.trains);
  assert.deepEqual(Object.keys(report.facts).sort(), Object.keys(healthy).sort());
  for (const [name, fact] of Object.entries(report.facts)) assert.ok(!('failed' in (fact as object)), name);
  const { fit } = report.facts;
  assert.ok('found' in fit);
  const bytes = fit.found.ways.map((way) => way.bytes);
  assert.ok(bytes.length === 6 && bytes[0]! > bytes[1]! && bytes[1]! > bytes[2]!, String(bytes));
  const page = doctor([], {});
  assert.match(page.stdout, /^verdict +works/m);
  assert.equal(page.stderr, '');
});

test('without any adapter doctor says what to do, and what a software adapter would take', () => {
  const { stdout, status } = doctor(['--json'], {
    VK_DRIVER_FILES: path.join(folder, 'none.json'),
    VK_ICD_FILENAMES: path.join(folder, 'none.json'),
    DAWNTUNE_SOFTWARE: 'none',
    DAWNTUNE_CACHE: path.join(folder, 'empty'),
  });
  const report = JSON.parse(stdout) as DoctorReport;
  assert.equal(status, 1);
  assert.ok(!report.trains);
  assert.ok(
    report.problems.some(({ id }) => id === 'drivers-chosen-by-hand'),
    stdout,
  );
  assert.ok('found' in report.facts.fit && 'failed' in report.facts.chosen);
});

test('a driver that crashes when it is loaded is found and named, and the rest is told', (t) => {
  if (process.platform !== 'linux') return t.skip('drivers are found by files on Linux only');
  const [source, library] = [path.join(folder, 'crash.c'), path.join(folder, 'libcrash.so')];
  fs.writeFileSync(source, '__attribute__((constructor)) static void crash(void) { __builtin_trap(); }\n');
  if (spawnSync('gcc', ['-shared', '-fPIC', '-o', library, source]).status !== 0)
    return t.skip('no compiler');
  const file = path.join(folder, 'crash.json');
  const icd = { file_format_version: '1.0.0', ICD: { library_path: library, api_version: '1.3.0' } };
  fs.writeFileSync(file, JSON.stringify(icd));
  const { stdout, status } = doctor(['--json'], { VK_DRIVER_FILES: file, VK_ICD_FILENAMES: file });
  if (/no Vulkan loader/.test(stdout)) return t.skip('no Vulkan loader');
  assert.equal(status, 1);
  assert.deepEqual((JSON.parse(stdout) as DoctorReport).facts.crashing, [file]);
  const { facts, problems } = JSON.parse(stdout) as DoctorReport;
  assert.ok(
    'failed' in facts.adapters && /crashed with SIG(ILL|TRAP|SEGV)/.test(facts.adapters.failed),
    stdout,
  );
  assert.equal(problems[0]!.id, 'driver-crashes');
  for (const probe of ['system', 'memory', 'folders', 'mpi', 'fit'] as const)
    assert.ok('found' in facts[probe], probe);
});
