/** What `npm pack` makes, installed in an empty strict project without a network: it has all that it runs, and nothing that it cannot. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { isBuiltin } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { compileConsumer, makeConsumer, packageFile, runConsumer } from '../consumer.js';
import { repositoryRoot } from '../repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-packed-'));
const installed = path.join(folder, 'node_modules', 'dawntune');
const declared = [...Object.keys(packageFile.dependencies), ...Object.keys(packageFile.optionalDependencies)];
after(() => fs.rmSync(folder, { recursive: true, force: true }));

before(() => {
  // Without scripts: what is packed is what was built, by whoever runs this test.
  const pack = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  execFileSync('npm', pack, { cwd: repositoryRoot, stdio: 'pipe' });
  fs.mkdirSync(installed, { recursive: true });
  const tarball = path.join(folder, `${packageFile.name}-${packageFile.version}.tgz`);
  execFileSync('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1']);
  // The packages that it declares and no others.
  for (const name of declared) {
    const link = path.join(folder, 'node_modules', name);
    fs.mkdirSync(path.dirname(link), { recursive: true });
    const target = path.dirname(locate(name));
    fs.symlinkSync(target, link);
  }
  makeConsumer(folder, installed);
});

/** The package.json of a dependency of this repository. */
function locate(name: string): string {
  for (let at = repositoryRoot; ; at = path.dirname(at)) {
    const file = path.join(at, 'node_modules', name, 'package.json');
    if (fs.existsSync(file)) return fs.realpathSync(file);
    assert.notEqual(at, path.dirname(at), `${name} is not installed`);
  }
}

const packed = () =>
  fs
    .readdirSync(installed, { recursive: true, encoding: 'utf8' })
    .filter((file) => fs.statSync(path.join(installed, file)).isFile());

test('every module imports only what is in the package or what it declares', () => {
  // What was built from a source that is gone lies in `dist` until `npm pack` without --ignore-scripts makes it anew.
  const built = (file: string) =>
    fs.existsSync(path.join(repositoryRoot, file.replace(/^dist\//, '').replace(/(\.d)?\.[jt]s$/, '.ts')));
  const modules = packed().filter((file) => /\.(js|d\.ts)$/.test(file) && built(file));
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
  }
  assert.deepEqual(missing, []);
});

test('no sources of TypeScript, tests, maps or results that nothing reads', () => {
  const strange = packed().filter(
    (file) => /\.map$|(^|\/)test\/|\.tsbuildinfo$|node_modules/.test(file) || /(?<!\.d)\.ts$/.test(file),
  );
  assert.deepEqual(strange, []);
});

test('the strict project compiles and trains', () => {
  assert.equal(compileConsumer(folder), '');
  assert.match(runConsumer(folder), /"loss":3176/);
});

test('the command works: doctor, help of every command, and the scripts of the pipeline say what they miss', () => {
  const bin = path.join(installed, 'dist', 'src', 'cli', 'main.js');
  const run = (...words: string[]) =>
    execFileSync(process.execPath, [bin, ...words], { cwd: folder, encoding: 'utf8' });
  assert.match(run('doctor'), /^verdict +works/m);
  for (const command of [
    'finetune',
    'encode',
    'evaluate',
    'mine',
    'score',
    'split',
    'demo',
    'bench',
    'setup',
  ])
    assert.match(run(command, '--help'), /dawntune/);
  for (const script of fs
    .readdirSync(path.join(installed, 'scripts'))
    .filter((name) => name !== 'settings.sh'))
    assert.throws(
      () => execFileSync('sh', [path.join(installed, 'scripts', script)], { cwd: folder, stdio: 'pipe' }),
      (error: { status: number; stderr: Buffer }) =>
        error.status === 2 && /expected MODEL/.test(error.stderr.toString()),
    );
});
