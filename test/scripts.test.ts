/** The three steps as shell scripts: one after the other from their folder, by what `sh` is here, and what they say. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { golden, repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-scripts-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const scripts = path.join(repositoryRoot, 'scripts');

const SETTINGS = [
  ...[
    'MODEL',
    'TRAIN_DATA',
    'CANDIDATE_POOL',
    'OUTPUT',
    'METRIC',
    'RANGE',
    'NEGATIVES',
    'NPROC',
    'MINED',
    'MODE',
  ],
  ...['WEIGHTS', 'SCALE', 'SCORED', 'MORE_DATA', 'BATCH', 'GROUP', 'EPOCHS', 'LEARNING_RATE'],
  ...['QUERY_MAX_LEN', 'PASSAGE_MAX_LEN'],
];

function run(command: string, cwd: string, settings: Record<string, string> = {}) {
  const env: NodeJS.ProcessEnv = { ...process.env, ...settings };
  for (const name of SETTINGS) if (!Object.hasOwn(settings, name)) delete env[name];
  return spawnSync('sh', ['-c', command], { cwd, env, encoding: 'utf8' });
}

const read = (...names: string[]) =>
  fs
    .readFileSync(path.join(folder, ...names), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

test('the steps follow one another on a folder of rows with a space in its name, and flags go through', () => {
  const rows = path.join(folder, 'my rows');
  fs.mkdirSync(rows);
  const lines = fs.readFileSync(golden('example_data/retrieval/nli.jsonl'), 'utf8').split('\n');
  fs.writeFileSync(path.join(rows, 'nli.jsonl'), `${lines.slice(0, 6).join('\n')}\n`);
  const output = path.join(folder, 'out put');
  const { status, stdout, stderr } = run(
    'sh run_neg_mine.sh --seed 7 && sh run_distillation.sh && sh finetune_m3.sh --max_steps 2 --fp16 False',
    scripts,
    {
      ...{ TRAIN_DATA: rows, OUTPUT: output, RANGE: '0-9', NEGATIVES: '4', METRIC: 'cosine', GROUP: '3' },
      ...{ QUERY_MAX_LEN: '16', PASSAGE_MAX_LEN: '24' },
    },
  );
  assert.equal(status, 0, stderr);
  const mined = read('out put', 'mined', 'nli.jsonl');
  const scored = read('out put', 'scored', 'nli.jsonl');
  assert.equal(mined.length, 6);
  mined.forEach((row, i) => {
    assert.equal(row.neg.length, 4);
    assert.deepEqual(
      [scored[i].query, scored[i].neg, scored[i].pos_scores.length, scored[i].neg_scores.length],
      [row.query, row.neg, row.pos.length, 4],
    );
  });
  assert.match(stdout, /"step":2/);
  assert.ok(fs.existsSync(path.join(output, 'model', 'model.safetensors')));
});

test('without rows, without a model, with nothing to read: a line, and exit code 2', () => {
  const nothing = path.join(folder, 'nothing');
  fs.mkdirSync(nothing);
  const missing = run(`sh "${scripts}/run_distillation.sh"`, nothing);
  assert.equal(missing.status, 2);
  assert.match(
    missing.stderr,
    /^[^\n]*expected a file of rows or a folder of such files, found none at output\/mined\n$/,
  );
  assert.deepEqual(fs.readdirSync(nothing), []);
  // As installed: built, and without the clone's model and rows.
  const root = path.join(folder, 'installed');
  fs.cpSync(scripts, path.join(root, 'scripts'), {
    recursive: true,
    filter: (file) => !file.endsWith('.ts'),
  });
  fs.mkdirSync(path.join(root, 'dist', 'src', 'cli'), { recursive: true });
  const unbuilt = run('sh scripts/run_neg_mine.sh', root);
  assert.deepEqual([unbuilt.status, unbuilt.stderr.split('\n').length], [2, 2]);
  assert.match(unbuilt.stderr, /not built yet/);
  fs.writeFileSync(path.join(root, 'dist', 'src', 'cli', 'main.js'), '');
  const noModel = run('sh scripts/run_neg_mine.sh', root);
  assert.equal(noModel.status, 2);
  assert.match(noModel.stderr, /expected MODEL, a folder or a hub id such as BAAI\/bge-m3, found nothing\n$/);
  const noRows = run('sh scripts/run_neg_mine.sh', root, { MODEL: 'x' });
  assert.equal(noRows.status, 2);
  assert.match(noRows.stderr, /expected TRAIN_DATA, .*found nothing\n$/);
});

test('a command that fails ends its script, with its exit code', () => {
  const { status, stderr } = run('sh run_neg_mine.sh', scripts, {
    OUTPUT: path.join(folder, 'failed'),
    METRIC: 'l1',
  });
  assert.equal(status, 2);
  assert.equal(stderr.split('\n').length, 2, stderr);
  assert.match(stderr, /--metric/);
});

test('the scripts are in the package, and each setting that they read is told at the top of one', () => {
  const { files } = JSON.parse(fs.readFileSync(path.join(repositoryRoot, 'package.json'), 'utf8'));
  assert.ok(files.includes('scripts/*.sh'));
  const texts = fs
    .readdirSync(scripts)
    .filter((name) => name.endsWith('.sh'))
    .map((name) => fs.readFileSync(path.join(scripts, name), 'utf8'));
  const told = texts.flatMap((text) =>
    [...text.matchAll(/^#.*/gm)].flatMap(([line]) => line.match(/[A-Z_]{4,}/g) ?? []),
  );
  const used = texts.flatMap((text) => [...text.matchAll(/\$\{?([A-Z_]+)/g)].map(([, name]) => name!));
  assert.deepEqual(
    [...new Set(used)].filter((name) => !told.includes(name)),
    [],
  );
  assert.deepEqual(
    [...new Set(used)].filter((name) => !SETTINGS.includes(name)),
    [],
  );
});
