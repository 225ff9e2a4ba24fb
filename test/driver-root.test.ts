/** Node on the libraries of another root folder, and what `parity --kernels` makes of a variant that was not used. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { KernelChoices } from '../src/gpu/choices.js';
import { parseParityArguments } from '../src/parity/arguments.js';
import { forcedWereUsed } from '../src/parity/parity.js';
import { readDriverRoot, writeNodeWrapper } from '../src/setup/driver-root.js';

const parent = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-root-'));
after(() => fs.rmSync(parent, { recursive: true, force: true }));

/** A root folder whose linker says what it was asked, then runs the program on the machine's libraries. */
function rootFolder(name: string): string {
  const folder = path.join(parent, name);
  fs.mkdirSync(path.join(folder, 'lib'), { recursive: true });
  fs.writeFileSync(
    path.join(folder, 'ld-linux-x86-64.so.2'),
    '#!/bin/sh\necho "$1 $2 $VK_DRIVER_FILES $DAWNTUNE_SOFTWARE"\nshift 2\nexec "$@"\n',
    { mode: 0o700 },
  );
  return folder;
}

test('a wrapper starts this Node on the folder’s libraries and driver, and children come along', () => {
  const folder = rootFolder("it's a root");
  const wrapper = writeNodeWrapper({ folder, suite: 'sid', packages: [] });
  assert.equal(wrapper, path.join(folder, 'bin', 'node'));
  const child = `console.log(process.execPath === process.argv[0], process.execPath)`;
  const script = `${child}; require('node:child_process').execFileSync(process.execPath, ['-e', ${JSON.stringify(child)}], { stdio: 'inherit' })`;
  const { stdout, status } = spawnSync(wrapper, ['-e', script], { encoding: 'utf8' });
  const linker = `--library-path ${folder}/lib ${folder}/icd.json none`;
  assert.equal(stdout, `${linker}\ntrue ${wrapper}\n${linker}\ntrue ${wrapper}\n`);
  assert.equal(status, 0);
});

test('a root folder is one with its list of packages, its linker and its driver', () => {
  const folder = rootFolder('partial');
  assert.equal(readDriverRoot(folder), undefined);
  fs.writeFileSync(
    path.join(folder, 'versions.json'),
    JSON.stringify({ format: 1, suite: 'sid', packages: [{ name: 'libc6', version: '2' }] }),
  );
  assert.equal(readDriverRoot(folder), undefined);
  fs.writeFileSync(path.join(folder, 'lib', 'libvulkan_lvp.so'), '');
  assert.deepEqual(readDriverRoot(folder)?.packages, [{ name: 'libc6', version: '2' }]);
  fs.rmSync(path.join(folder, 'ld-linux-x86-64.so.2'));
  assert.equal(readDriverRoot(folder), undefined);
});

test('a variant that parity was told to use, and no form took, is a check that fails', () => {
  const { kernels } = parseParityArguments([
    'folder',
    '--kernels',
    'matmul=tile64,attention=subgroup-matrix',
  ]);
  assert.deepEqual(kernels, { matmul: 'tile64', attention: 'subgroup-matrix' });
  const choices = new KernelChoices(kernels ?? undefined);
  choices.decided.set('a', { key: 'a', family: 'matmul', form: {}, size: {}, variant: { name: 'tile64' } });
  choices.decided.set('b', {
    key: 'b',
    family: 'attention',
    form: {},
    size: {},
    variant: { name: 'tile64' },
  });
  assert.deepEqual(
    forcedWereUsed(choices).map(({ name, ok }) => [name, ok]),
    [
      ['matmul=tile64 unused', true],
      ['attention=subgroup-matrix unused', false],
    ],
  );
  assert.deepEqual(forcedWereUsed(new KernelChoices('fallback')), []);
  assert.throws(() => parseParityArguments(['folder', '--kernels', 'matmul']), /FAMILY=VARIANT/);
});
