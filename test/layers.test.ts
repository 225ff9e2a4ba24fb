/** The house: imports point down only, and inside a room they do not run in circles. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { repositoryRoot } from './repository.js';

/** From the ground up. The files of GROUND stand below all of them, those of TOP above. */
const ROOMS = [
  'files',
  'html',
  'gpu',
  'console',
  'setup',
  'tensor',
  'ranks',
  'kernels',
  'autograd',
  'own-kernels',
  'tokenizer',
  'weights',
  'nn',
  'optim',
  'hub',
  'models',
  'data',
  'run-record',
  'report',
  'train',
  'retrieval',
  'serve',
  'parity',
  'demo',
  'bench',
  'doctor',
  'cli',
];
const TOP = ['index.ts', 'bench/index.ts', 'bench/main.ts'];
const GROUND = [
  'errors.ts',
  'show.ts',
  'config-file.ts',
  'flag-types.ts',
  'flags.ts',
  'flag-help.ts',
  'settings-file.ts',
  'version.ts',
  'native-library.ts',
  'nearest-name.ts',
  'options.ts',
  'progress.ts',
];

const below = (folder: string) =>
  fs
    .readdirSync(path.join(repositoryRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `${folder}/${file.split(path.sep).join('/')}`);

/** A file by its room: those of `src/` without that, the bench, which stands beside it, as a room like the others. */
const inRoom = (file: string) => file.replace(/^src\//, '');
const paths = new Map([...below('src'), ...below('bench')].map((file) => [inRoom(file), file]));
const files = [...paths.keys()];

/** The files that a file imports, types included, by their rooms. */
function imports(file: string): string[] {
  const from = paths.get(file)!;
  const text = fs.readFileSync(path.join(repositoryRoot, from), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']*)\.js'/g)].map(([, target]) =>
    inRoom(path.posix.join(path.posix.dirname(from), `${target}.ts`)),
  );
}

const roomOf = (file: string): string => (file.includes('/') ? file.split('/')[0]! : '');

test('every file stands in a room, and every room is known', () => {
  const strangers = files.filter((file) =>
    file.includes('/') ? !ROOMS.includes(roomOf(file)) : ![...GROUND, 'index.ts'].includes(file),
  );
  assert.deepEqual(strangers, []);
});

test('no room imports from a room above it', () => {
  const wrong: string[] = [];
  let seen = 0;
  for (const file of files) {
    if (TOP.includes(file)) continue;
    const floor = ROOMS.indexOf(roomOf(file));
    for (const target of imports(file)) {
      seen++;
      assert.ok(files.includes(target), `${file} imports ${target}, which is not there`);
      if (TOP.includes(target) || ROOMS.indexOf(roomOf(target)) > floor) wrong.push(`${file} → ${target}`);
    }
  }
  assert.ok(seen > 300, `looked at ${seen} imports`);
  assert.deepEqual(wrong, []);
});

/** Rooms that lie side by side, though one of them stands higher: whoever serves or searches needs nothing of training. */
const APART: readonly (readonly [room: string, other: string])[] = [
  ['retrieval', 'train'],
  ['serve', 'train'],
  ['doctor', 'retrieval'],
];

test('rooms side by side know nothing of each other', () => {
  const wrong = APART.flatMap(([room, other]) => {
    const own = files.filter((file) => roomOf(file) === room);
    assert.ok(own.length > 0, `no room ${room}`);
    return own.flatMap((file) =>
      imports(file).flatMap((target) => (roomOf(target) === other ? [`${file} → ${target}`] : [])),
    );
  });
  assert.deepEqual(wrong, []);
});

/** A circle of imports that begins and ends at the same file, or undefined. */
function circle(arrows: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const walk = (file: string, trail: string[]): string[] | undefined => {
    if (trail.includes(file)) return [...trail.slice(trail.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const target of arrows.get(file) ?? []) {
      const found = walk(target, [...trail, file]);
      if (found) return found;
    }
    done.add(file);
    return undefined;
  };
  for (const file of arrows.keys()) {
    const found = walk(file, []);
    if (found) return found;
  }
  return undefined;
}

test('no files import each other in a circle, types included', () => {
  assert.deepEqual(circle(new Map(files.map((file) => [file, imports(file)]))), undefined);
});

test('the search finds a circle', () => {
  const arrows = new Map([
    ['a', ['b', 'd']],
    ['b', ['c']],
    ['c', ['a']],
    ['d', []],
  ]);
  assert.deepEqual(circle(arrows), ['a', 'b', 'c', 'a']);
  arrows.set('c', ['d']);
  assert.equal(circle(arrows), undefined);
});
