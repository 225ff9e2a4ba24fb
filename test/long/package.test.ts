/** What `npm pack` makes, installed in an empty strict project without a network: it has all that it runs, and nothing that it cannot. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { isBuiltin } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { compileConsumer, makeConsumer, packageFile, runConsumer } from '../consumer.js';
import { askEmbeddingServer, trainExamples } from '../examples.js';
import { declared, packAndInstall, packedManifest, placesOf } from '../packed.js';
import { repositoryRoot } from '../repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-packed-'));
const { clone, project, installed } = placesOf(folder);
after(() => fs.rmSync(folder, { recursive: true, force: true }));

before(() => {
  packAndInstall(folder);
  makeConsumer(project, installed);
});

const manifest = () => packedManifest(installed);

const packed = () =>
  fs
    .readdirSync(installed, { recursive: true, encoding: 'utf8' })
    .filter((file) => fs.statSync(path.join(installed, file)).isFile());

test('every module imports only what is in the package or what it declares', () => {
  const modules = packed().filter((file) => /\.(js|d\.ts)$/.test(file));
  assert.ok(modules.length > 500, `${modules.length} modules`);
  const missing: string[] = [];
  for (const file of modules) {
    // Comments may show imports; a template has no import of this module's own.
    const text = fs.readFileSync(path.join(installed, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
    for (const [, name] of text.matchAll(/(?:\bfrom|^import|\bimport\()\s*'([^'\n ]+)'/gm)) {
      if (name!.startsWith('.')) {
        const target = path.join(installed, path.dirname(file), name!);
        if (!fs.existsSync(target)) missing.push(`${file}: ${name}`);
      } else if (!isBuiltin(name!)) {
        const [scope, rest] = name!.split('/');
        const dependency = scope!.startsWith('@') ? `${scope}/${rest}` : scope!;
        // The text of a model card shows the package itself.
        if (dependency !== packageFile.name && !declared.includes(dependency))
          missing.push(`${file}: ${name}`);
      }
    }
    // Modules of threads and processes, and files that are read.
    for (const [, name] of text.matchAll(/new URL\('(\.[^']+)', import\.meta\.url\)/g))
      if (!fs.existsSync(path.join(installed, path.dirname(file), name!))) missing.push(`${file}: ${name}`);
  }
  assert.deepEqual(missing, []);
});

test('no sources of TypeScript, tests, maps or results that nothing reads', () => {
  const strange = packed().filter(
    (file) =>
      /\.(map|py)$|(^|\/)(test|results)\/|\.test\.js$|\.tsbuildinfo$|node_modules/.test(file) ||
      /(?<!\.d)\.ts$/.test(file),
  );
  assert.deepEqual(strange, []);
});

test('package.json names only what is there, and the clone has its own again', () => {
  const { bin, exports, ...rest } = manifest();
  const targets = [...Object.values(bin), ...Object.values(exports).flatMap((each) => Object.values(each))];
  for (const target of targets) assert.ok(fs.existsSync(path.join(installed, target)), target);
  if (process.platform !== 'win32')
    for (const root of [clone, installed])
      for (const command of Object.values(bin))
        assert.ok(fs.statSync(path.join(root, command)).mode & 0o100, `${root}: ${command} may be executed`);
  for (const key of ['scripts', 'devDependencies', 'allowScripts']) assert.ok(!(key in rest), key);
  const whole = (root: string) => fs.readFileSync(path.join(root, 'package.json'), 'utf8');
  assert.equal(whole(clone), whole(repositoryRoot));
});

test('the strict project compiles and trains', () => {
  assert.equal(compileConsumer(project), '');
  assert.match(runConsumer(project), /"loss":3176/);
});

test('the examples run where they are copied to', async () => {
  const copied = path.join(project, 'examples');
  fs.cpSync(path.join(installed, 'examples'), copied, { recursive: true });
  trainExamples(copied);
  await askEmbeddingServer(copied);
});

test('the command works: doctor, help of every command, a benchmark, and the scripts of the pipeline say what they miss', () => {
  const run = (...words: string[]) =>
    execFileSync('npx', ['--no', '--', 'dawntune', ...words], { cwd: project, encoding: 'utf8' });
  assert.match(run('doctor'), /^verdict +works/m);
  const help = run('--help');
  const commands = [...help.matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, command]) => command!);
  assert.ok(commands.length >= 10 && commands.includes('finetune') && commands.includes('serve'), help);
  for (const command of commands.filter((name) => name !== 'help'))
    assert.match(run(command, '--help'), /dawntune/);
  assert.match(run('bench', 'step', '--model', 'tiny', '--steps', '1', '--json'), /"suite": ?"step"/);
  for (const script of fs
    .readdirSync(path.join(installed, 'scripts'))
    .filter((name) => name !== 'settings.sh'))
    assert.throws(
      () => execFileSync('sh', [path.join(installed, 'scripts', script)], { cwd: project, stdio: 'pipe' }),
      (error: { status: number; stderr: Buffer }) =>
        error.status === 2 && /expected MODEL/.test(error.stderr.toString()),
    );
});
