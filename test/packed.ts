/** What `npm pack` makes, installed in an empty project without a network: for tests of the package. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { packageFile } from './consumer.js';
import { repositoryRoot } from './repository.js';

/** The packages that it declares. */
export const declared = [
  ...Object.keys(packageFile.dependencies),
  ...Object.keys(packageFile.optionalDependencies),
];

interface Places {
  /** The repository's copy that was packed. */
  readonly clone: string;
  readonly project: string;
  /** The package in the project. */
  readonly installed: string;
}

export function placesOf(folder: string): Places {
  const project = path.join(folder, 'project');
  return {
    clone: path.join(folder, 'clone'),
    project,
    installed: path.join(project, 'node_modules', 'dawntune'),
  };
}

/** Into an empty folder. `others`: packages of this repository that the project has beside those that are declared. */
export function packAndInstall(folder: string, others: readonly string[] = []): Places {
  const places = placesOf(folder);
  const { clone, project, installed } = places;
  // In a copy, as `npm pack` empties `dist`, which this test runs from.
  const left = ['.git', 'dist', 'node_modules', 'output', path.join('test', 'golden')];
  fs.cpSync(repositoryRoot, clone, {
    recursive: true,
    filter: (file) => !left.includes(path.relative(repositoryRoot, file)),
  });
  fs.symlinkSync(path.resolve(locate('typescript'), '../..'), path.join(clone, 'node_modules'));
  execFileSync('npm', ['pack', '--pack-destination', folder], { cwd: clone, stdio: 'pipe' });
  fs.mkdirSync(installed, { recursive: true });
  const tarball = path.join(folder, `${packageFile.name}-${packageFile.version}.tgz`);
  execFileSync('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1']);
  // The packages that it declares and no others, and its command where npm puts it.
  for (const name of [...declared, ...others]) {
    const link = path.join(project, 'node_modules', name);
    fs.mkdirSync(path.dirname(link), { recursive: true });
    const target = path.dirname(locate(name));
    fs.symlinkSync(target, link);
  }
  fs.mkdirSync(path.join(project, 'node_modules', '.bin'));
  for (const [name, file] of Object.entries(packedManifest(installed).bin)) {
    const target = path.join(installed, file);
    fs.symlinkSync(target, path.join(project, 'node_modules', '.bin', name));
  }
  return places;
}

interface PackedManifest {
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: typeof packageFile.exports;
}

export function packedManifest(installed: string): PackedManifest {
  return JSON.parse(fs.readFileSync(path.join(installed, 'package.json'), 'utf8')) as PackedManifest;
}

/** The package.json of a dependency of this repository. */
function locate(name: string): string {
  for (let at = repositoryRoot; ; at = path.dirname(at)) {
    const file = path.join(at, 'node_modules', name, 'package.json');
    if (fs.existsSync(file)) return fs.realpathSync(file);
    assert.notEqual(at, path.dirname(at), `${name} is not installed`);
  }
}
