/**
 * Saves whose every file says which save it is of, so that a mixture shows, and runs over them that are killed at file
 * operations: for the tests of output folders, short and long.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { LOCK_FILE } from '../src/files/lock.js';
import { requireModelFolder } from '../src/models/hub-cache.js';
import type { ModelFolderContents } from '../src/models/model-folder.js';
import { OutputFolder } from '../src/models/output-folder.js';
import { SafetensorsFile } from '../src/weights/safetensors.js';
import { TorchFile } from '../src/weights/torch-file.js';
import { killedAt } from './killed-saves.js';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-output-'));
after(() => fs.rmSync(root, { recursive: true, force: true }));
// What a disk does when the power fails is not tested here, and syncing is all the time these tests would take.
fs.fsyncSync = () => {};
let count = 0;
export const fresh = () => path.join(root, `output-${count++}`);

const HEADS = ['colbert_linear.pt', 'sparse_linear.pt'];

/**
 * A save in which every file says which save it is of; odd ones have another tokenizer file than even ones, and weights
 * in shards.
 */
export function save(mark: number): ModelFolderContents {
  const data = Float32Array.of(mark, mark);
  return {
    config: { mark },
    tensors: ['a', 'b'].map((name) => ({ name, shape: [2], pieces: () => [data] })),
    ...(mark % 2 === 0 ? {} : { format: { maxShardBytes: 8 } }),
    heads: new Map(HEADS.map((name) => [name, async () => [{ name: 'weight', shape: [2], data }]])),
    files: new Map([
      [mark % 2 === 0 ? 'vocab.txt' : 'tokenizer.json', `{"mark": ${mark}}`],
      ['trainer_state.json', `{"mark": ${mark}}`],
      ['1_Pooling/config.json', `{"mark": ${mark}}`],
    ]),
  };
}

export const filesOf = (mark: number) =>
  ['config.json', ...weightsOf(mark), ...HEADS, ...save(mark).files.keys()].sort();

const weightsOf = (mark: number) =>
  mark % 2 === 0
    ? ['model.safetensors']
    : [1, 2].map((i) => `model-0000${i}-of-00002.safetensors`).concat('model.safetensors.index.json');

/** The one save that the files of a folder are of, undefined when none; anything mixed or cut fails. */
export function markOf(folder: string): number | undefined {
  const marks = new Set<number>();
  const names = fs.existsSync(folder) ? fs.readdirSync(folder).filter((name) => !name.startsWith('.')) : [];
  const files = names
    .filter((name) => !name.startsWith('checkpoint-'))
    .flatMap((name) =>
      fs.statSync(path.join(folder, name)).isDirectory()
        ? fs.readdirSync(path.join(folder, name)).map((inner) => `${name}/${inner}`)
        : [name],
    );
  for (const name of files) {
    const file = path.join(folder, name);
    if (name.endsWith('.safetensors')) {
      const source = SafetensorsFile.open(file);
      for (const tensor of source.names()) for (const value of source.read(tensor)) marks.add(value);
      source.close();
    } else if (name.endsWith('.pt')) {
      const source = TorchFile.open(file);
      for (const value of source.read('weight')) marks.add(value);
      source.close();
    } else if (!name.endsWith('.index.json')) marks.add(JSON.parse(fs.readFileSync(file, 'utf8')).mark);
  }
  assert.ok(marks.size <= 1, `${files} are of saves ${[...marks]}`);
  const [mark] = marks;
  if (!names.includes('config.json')) return undefined;
  assert.deepEqual(files.sort(), filesOf(mark!));
  return mark;
}

export function hidden(folder: string): string[] {
  return fs
    .readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => path.basename(name).startsWith('.'));
}

export async function inOutput(folder: string, use: (output: OutputFolder) => Promise<void>): Promise<void> {
  const output = OutputFolder.open(folder);
  try {
    await use(output);
  } finally {
    output.close();
  }
}

/** What a killed run leaves: its lock is of a process that is no more. */
export function asOfADeadProcess(folder: string): void {
  const gone = spawnedAndGone();
  for (const name of fs.existsSync(folder) ? fs.readdirSync(folder) : []) {
    const file = path.join(folder, name);
    if (name === LOCK_FILE) {
      const lock = JSON.parse(fs.readFileSync(file, 'utf8'));
      fs.writeFileSync(file, JSON.stringify({ ...lock, pid: gone }));
    } else if (name.startsWith('.dawntune-claim.'))
      fs.renameSync(file, path.join(folder, name.replace(String(process.pid), String(gone))));
  }
}

let gone: number | undefined;
export function spawnedAndGone(): number {
  gone ??= spawnSync(process.execPath, ['-e', '']).pid;
  return gone;
}

/**
 * Kills a run that saves over an earlier one at each operation that `where` picks, before it and halfway through it, and
 * looks at the folder then and after the next run opened it.
 */
export async function killEverywhere(where: (operations: string[], at: number) => boolean): Promise<void> {
  const template = fresh();
  await inOutput(template, async (output) => {
    await output.save(save(2));
    await output.saveAs('checkpoint-1', save(2));
    await output.saveAs('checkpoint-2', save(2));
  });
  assert.deepEqual(hidden(template), []);
  const second = (folder: string) => () =>
    inOutput(folder, async (output) => {
      await output.saveAs('checkpoint-2', save(3));
      await output.saveAs('checkpoint-3', save(3));
      output.remove('checkpoint-1');
      await output.save(save(3));
    });
  const copyOfTemplate = () => {
    const folder = fresh();
    fs.cpSync(template, folder, { recursive: true });
    return folder;
  };
  const { operations } = await killedAt(Number.POSITIVE_INFINITY, second(copyOfTemplate()));
  assert.ok(operations.length > 100);
  let interrupted = 0;
  for (const at of operations.keys()) {
    if (!where(operations, at)) continue;
    for (const halfway of /^(?:writeSync|rmSync)/.test(operations[at]!) ? [false, true] : [false]) {
      const folder = copyOfTemplate();
      const when = `${halfway ? 'halfway in' : 'before'} ${at} ${operations[at]}`;
      assert.ok((await killedAt(at, second(folder), halfway)).died, when);
      const mark = markOf(folder);
      for (const step of [1, 2, 3]) {
        const checkpoint = path.join(folder, `checkpoint-${step}`);
        if (markOf(checkpoint) === undefined) assert.ok(!fs.existsSync(checkpoint), when);
      }
      if (mark === undefined) {
        interrupted++;
        assert.throws(() => requireModelFolder(folder), /a save into this folder was interrupted/);
      }
      asOfADeadProcess(folder);
      await inOutput(folder, async (output) => {
        assert.deepEqual(hidden(folder), [LOCK_FILE], when);
        if (mark === undefined) assert.match(output.notices.join('\n'), /completed a save .* interrupted/);
        // A whole save that waits for its names gets them; the earlier one stays otherwise.
        assert.ok((mark === 2 ? [2, 3] : [3]).includes(markOf(folder)!), when);
        await output.save(save(4));
      });
      assert.equal(markOf(folder), 4, when);
      assert.deepEqual(hidden(folder), [], when);
      fs.rmSync(folder, { recursive: true });
    }
  }
  assert.ok(interrupted >= 5, `${interrupted} kills between the files of a save`);
}
