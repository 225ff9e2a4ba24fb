/** Saves that are killed at every file operation, locks, and which checkpoints stay. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { InputError, MachineError } from '../src/errors.js';
import { FolderLock, LOCK_FILE } from '../src/files/lock.js';
import { watchFolder } from '../src/models/model-folder.js';
import { OutputFolder } from '../src/models/output-folder.js';
import { RunSaves } from '../src/train/checkpoints/checkpoints.js';
import type { TrainerState } from '../src/train/run/log.js';
import {
  filesOf,
  fresh,
  hidden,
  inOutput,
  killEverywhere,
  markOf,
  save,
  spawnedAndGone,
} from './marked-saves.js';
import { repositoryRoot } from './repository.js';

test('killed while it saves, a folder is one save or none, and the next run ends it', async () => {
  await killEverywhere(
    (operations, at) =>
      // All of what gives files their final names; of what writes into hidden names, some.
      /^(?:rename|rm|rmdir|mkdir)Sync (?!.*writing\/)/.test(operations[at]!) || at % 41 === 0,
  );
});

test('a process that ends in the midst of a save takes the half of it away', () => {
  const folder = fresh();
  fs.mkdirSync(folder);
  const module = new URL('../src/files/publish.js', import.meta.url).href;
  const script = `
    const fs = await import('node:fs');
    const { publishFolder } = await import(${JSON.stringify(module)});
    await publishFolder(${JSON.stringify(folder)}, 'checkpoint-1', async (into) => {
      fs.writeFileSync(into + '/config.json', '');
      process.exit(fs.readdirSync(${JSON.stringify(folder)}).length);
    });`;
  const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', script]);
  assert.equal(status, 1);
  assert.deepEqual(fs.readdirSync(folder), []);
});

test('what earlier versions and other saves left is removed or named', async () => {
  const folder = fresh();
  fs.mkdirSync(path.join(folder, '.checkpoint-3.partial'), { recursive: true });
  fs.writeFileSync(path.join(folder, '.checkpoint-3.partial', 'model.safetensors'), '');
  fs.writeFileSync(path.join(folder, '.model.safetensors.123-0a1b2c3d.dawntune-tmp'), '');
  fs.writeFileSync(path.join(folder, 'spiece.model'), 'of another tokenizer');
  fs.writeFileSync(path.join(folder, 'pytorch_model.bin'), 'of another model');
  fs.writeFileSync(path.join(folder, 'notes.txt'), 'mine');
  const output = OutputFolder.open(folder);
  assert.match(output.notices.join('\n'), /pytorch_model\.bin: not of this run/);
  await output.save(save(3));
  output.close();
  const top = filesOf(3).map((name) => name.split('/')[0]!);
  assert.deepEqual(fs.readdirSync(folder).sort(), [...top, 'notes.txt', 'pytorch_model.bin'].sort());
});

test('names that something else has are found before the first step', () => {
  const wrong: [string, (folder: string) => void, RegExp][] = [
    [
      'a folder for weights',
      (f) => fs.mkdirSync(path.join(f, 'model.safetensors')),
      /model\.safetensors: expected a file or nothing.*found a folder/,
    ],
    [
      'a folder for a head',
      (f) => fs.mkdirSync(path.join(f, 'sparse_linear.pt')),
      /sparse_linear\.pt: expected a file/,
    ],
    [
      'a folder for a tokenizer file',
      (f) => fs.mkdirSync(path.join(f, 'vocab.txt')),
      /vocab\.txt: expected a file/,
    ],
    [
      'a file for the folder of the pooling',
      (f) => fs.writeFileSync(path.join(f, '1_Pooling'), ''),
      /1_Pooling: expected a folder or nothing.*found something else/,
    ],
    [
      'a folder for the file of the pooling',
      (f) => fs.mkdirSync(path.join(f, '1_Pooling', 'config.json'), { recursive: true }),
      /1_Pooling\/config\.json: expected a file or nothing.*found a folder/,
    ],
    [
      'a file for a checkpoint',
      (f) => fs.writeFileSync(path.join(f, 'checkpoint-7'), ''),
      /checkpoint-7: expected a folder or nothing.*found a file/,
    ],
  ];
  for (const [name, make, line] of wrong) {
    const folder = fresh();
    fs.mkdirSync(folder);
    make(folder);
    assert.throws(
      () => OutputFolder.open(folder),
      (error: unknown) => error instanceof InputError && line.test(error.message),
      name,
    );
    assert.ok(!fs.existsSync(path.join(folder, LOCK_FILE)), name);
  }
  const file = fresh();
  fs.writeFileSync(file, '');
  assert.throws(() => OutputFolder.open(file), { name: 'InputError', message: /is no folder/ });
  const link = fresh();
  fs.symlinkSync(fresh(), link);
  assert.throws(() => OutputFolder.open(link), { name: 'InputError', message: /cannot be written/ });
  if (fs.existsSync('/proc/self'))
    assert.throws(() => OutputFolder.open('/proc/dawntune/below'), {
      name: 'InputError',
      message: /cannot be written/,
    });
  assert.throws(() => OutputFolder.open(path.join(file, 'below')), {
    name: 'InputError',
    message: /cannot be written/,
  });
});

test('a save without a tokenizer leaves the one that lies there; one with a tokenizer leaves nothing of another', async () => {
  const folder = fresh();
  fs.mkdirSync(folder);
  fs.writeFileSync(path.join(folder, 'tokenizer.json'), '{"mark": 5}');
  fs.writeFileSync(path.join(folder, 'trainer_state.json'), 'of another run');
  await inOutput(folder, (output) => output.save({ ...save(5), files: new Map() }));
  assert.ok(fs.existsSync(path.join(folder, 'tokenizer.json')));
  assert.ok(!fs.existsSync(path.join(folder, 'trainer_state.json')));
  await inOutput(folder, (output) => output.save(save(6)));
  assert.equal(markOf(folder), 6);
});

test('a reader sees that a save came in between', async () => {
  const folder = fresh();
  await inOutput(folder, (output) => output.save(save(2)));
  const requireUnchanged = watchFolder(folder);
  requireUnchanged();
  await inOutput(folder, (output) => output.saveAs('checkpoint-1', save(3)));
  requireUnchanged();
  await inOutput(folder, (output) => output.save(save(2)));
  assert.throws(requireUnchanged, { name: 'InputError', message: /files changed while they were read/ });
});

// ---- locks

test('a folder that another process has is refused by every path to it, until it is gone', async () => {
  const folder = fresh();
  fs.mkdirSync(path.join(folder, 'checkpoint-5'), { recursive: true });
  const link = fresh();
  fs.symlinkSync(folder, link);
  const lock = pathToModule('files', 'lock.js');
  const child = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { FolderLock } from ${JSON.stringify(lock)}; FolderLock.acquire(${JSON.stringify(folder)}); console.log('held'); setInterval(() => {}, 1000);`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await new Promise((resolve) => child.stdout.once('data', resolve));
  for (const other of [
    folder,
    link,
    path.join(folder, '..', path.basename(folder)),
    path.join(link, 'checkpoint-5'),
  ])
    assert.throws(
      () => OutputFolder.open(other),
      (error: unknown) => {
        assert.ok(error instanceof MachineError, String(error));
        assert.match(error.message, new RegExp(`process ${child.pid} on ${os.hostname()} `));
        return true;
      },
      other,
    );
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('exit', resolve));
  const output = OutputFolder.open(link);
  assert.throws(() => OutputFolder.open(folder), {
    name: 'MachineError',
    message: new RegExp(`process ${process.pid} on`),
  });
  output.close();
  assert.deepEqual(hidden(folder), []);
});

const pathToModule = (...names: string[]) => path.join(repositoryRoot, 'dist', 'src', ...names);

const locks: Record<string, [(lock: Record<string, unknown>) => unknown, RegExp | undefined]> = {
  'of a process that is gone': [(lock) => ({ ...lock, pid: spawnedAndGone() }), undefined],
  'of another process with the same id': [(lock) => ({ ...lock, started: '1' }), undefined],
  'of the machine before it was started again': [(lock) => ({ ...lock, boot: 'another', pid: 1 }), undefined],
  'of this process': [(lock) => lock, new RegExp(`process ${process.pid} on .*wait until it ends`)],
  'of another host': [
    (lock) => ({ ...lock, host: 'elsewhere' }),
    /process \d+ on elsewhere .*if that run has ended, remove .*\.dawntune\.lock$/,
  ],
  'of another container': [(lock) => ({ ...lock, namespace: 'pid:[1]' }), /if that run has ended, remove/],
  'that is no lock': [() => [], /expected a JSON object.*remove this file/],
  'of a process that no system has': [
    (lock) => ({ ...lock, pid: 2 ** 40 }),
    /expected a lock with a process id.*remove this file/,
  ],
  'without a process': [() => ({}), /expected a lock with a process id.*remove this file/],
  'with control characters': [(lock) => ({ ...lock, host: 'a\u001b[31m\nb' }), /on a\\u001b\[31m\\u000ab /],
};

test('who holds a lock that is found, and whether it counts', (t) => {
  // Where the system does not tell when a process began, its id is all there is.
  const linux = fs.existsSync('/proc/self/stat');
  for (const [name, [change, line]] of Object.entries(locks)) {
    if (!linux && /same id|another container/.test(name)) {
      t.diagnostic(`not here: ${name}`);
      continue;
    }
    const folder = fresh();
    fs.mkdirSync(folder);
    const held = FolderLock.acquire(folder);
    const file = path.join(folder, LOCK_FILE);
    const content = JSON.stringify(change(JSON.parse(fs.readFileSync(file, 'utf8'))));
    held.release();
    assert.ok(!fs.existsSync(file));
    fs.writeFileSync(file, content);
    if (line) {
      assert.throws(() => FolderLock.acquire(folder), { name: 'MachineError', message: line }, name);
      assert.equal(fs.readFileSync(file, 'utf8'), content, name);
    } else FolderLock.acquire(folder).release();
    assert.deepEqual(hidden(folder), line ? [LOCK_FILE] : [], name);
  }
});

test('a lock that was removed by hand stops the run that had it, and is not taken from the next', async () => {
  const folder = fresh();
  const first = OutputFolder.open(folder);
  fs.rmSync(path.join(folder, LOCK_FILE));
  const second = OutputFolder.open(folder);
  await assert.rejects(first.save(save(2)), {
    name: 'MachineError',
    message: /no longer this run's but that of process/,
  });
  first.close();
  await second.save(save(3));
  second.close();
  assert.equal(markOf(folder), 3);
});

test('of processes that start at once over a dead one, one gets the folder', async () => {
  const lock = pathToModule('files', 'lock.js');
  const program = `
    import fs from 'node:fs';
    import { FolderLock } from ${JSON.stringify(lock)};
    const wake = Number(process.argv[1]);
    for (const folder of process.argv.slice(2)) {
      while (Date.now() < wake + 30 * Number(folder.split('#')[1]));
      let held;
      try { held = FolderLock.acquire(folder); } catch (error) { if (error.exitCode !== 1) throw error; continue; }
      fs.appendFileSync(folder + '.holders', 'x');
      await new Promise((resolve) => setTimeout(resolve, 1));
      process.on('exit', () => held.release());
    }
    await new Promise((resolve) => setTimeout(resolve, 400));`;
  const folders = Array.from({ length: 12 }, (_, i) => {
    const folder = `${fresh()}#${i}`;
    fs.mkdirSync(folder);
    const held = FolderLock.acquire(folder);
    const file = path.join(folder, LOCK_FILE);
    const content = JSON.parse(fs.readFileSync(file, 'utf8'));
    held.release();
    fs.writeFileSync(file, JSON.stringify({ ...content, pid: spawnedAndGone() }));
    return folder;
  });
  const wake = Date.now() + 300;
  const runs = Array.from({ length: 3 }, () =>
    spawn(process.execPath, ['--input-type=module', '-e', program, String(wake), ...folders], {
      stdio: 'inherit',
    }),
  );
  const codes = await Promise.all(runs.map((run) => new Promise((resolve) => run.once('exit', resolve))));
  assert.deepEqual(codes, [0, 0, 0]);
  for (const folder of folders) {
    assert.equal(fs.readFileSync(`${folder}.holders`, 'utf8'), 'x', folder);
    assert.deepEqual(fs.readdirSync(folder), []);
  }
});

// ---- checkpoints

test('a limit keeps the newest by when they were saved, and never counts what is no checkpoint', async () => {
  const state = (step: number) => ({ global_step: step }) as TrainerState;
  const model = {
    contents: (files: ReadonlyMap<string, string | Uint8Array>) => ({ ...save(2), files }),
  } as never;
  const steps = (folder: string) =>
    fs
      .readdirSync(folder)
      .filter((name) => name.startsWith('checkpoint-'))
      .sort();
  const run = async (folder: string, limit: number | null, ...numbers: number[]) => {
    const output = OutputFolder.open(folder);
    const saves = new RunSaves(output, limit);
    const seen: string[][] = [];
    for (const step of numbers) {
      await saves.saveCheckpoint(model, { files: new Map() }, state(step));
      seen.push(steps(folder));
    }
    output.close();
    return { seen, notices: saves.notices };
  };
  const folder = fresh();
  await run(folder, null, 900, 1000);
  fs.mkdirSync(path.join(folder, 'checkpoint-77'));
  fs.writeFileSync(path.join(folder, 'checkpoint-77', 'mine.txt'), '');
  fs.symlinkSync(path.join(folder, 'checkpoint-1000'), path.join(folder, 'checkpoint-78'));
  const others = ['checkpoint-77', 'checkpoint-78'];
  const { seen, notices } = await run(folder, 2, 5, 10, 15);
  assert.deepEqual(seen, [
    ['checkpoint-1000', 'checkpoint-5', ...others],
    ['checkpoint-10', 'checkpoint-5', ...others],
    ['checkpoint-10', 'checkpoint-15', ...others],
  ]);
  assert.match(
    notices[0]!,
    /--save_total_limit 2: .* has checkpoints of an earlier run, which count and go first: checkpoint-900, checkpoint-1000$/,
  );
  assert.deepEqual((await run(folder, 1, 15)).seen, [['checkpoint-15', ...others]]);
  assert.deepEqual((await run(folder, 1, 3)).seen, [['checkpoint-3', ...others]]);
});

test('a checkpoint replaces one of an earlier run, and nothing that a person keeps under its name', () => {
  const folder = fresh();
  for (const name of [
    'checkpoint-2/trainer_state.json',
    'checkpoint-4/base.jsonl',
    'checkpoint-8/mine.txt',
  ]) {
    fs.mkdirSync(path.join(folder, path.dirname(name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), '');
  }
  fs.mkdirSync(path.join(folder, 'checkpoint-6'));
  const output = OutputFolder.open(folder);
  const saves = (...steps: number[]) =>
    new RunSaves(output, null, { writes: (step) => steps.includes(step) });
  saves(2, 6, 10);
  assert.throws(
    () => saves(2, 4),
    (error) =>
      error instanceof InputError && /checkpoint-4: expected a checkpoint or nothing/.test(error.message),
  );
  output.close();
});

test('a folder that only looks like the rest of a save is left alone', () => {
  const around = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-around-'));
  after(() => fs.rmSync(around, { recursive: true, force: true }));
  const output = path.join(around, 'output');
  // Completing the first would rename the folder above the output.
  const names = ['.dawntune-save....folder', '.dawntune-save.....old', '.dawntune-save.a.b.writing'];
  for (const name of names) fs.mkdirSync(path.join(output, name), { recursive: true });
  const opened = OutputFolder.open(output);
  assert.deepEqual(opened.notices, []);
  opened.close();
  assert.deepEqual(fs.readdirSync(output).sort(), [...names].sort());
});
