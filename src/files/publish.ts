/**
 * Sets of files that belong together and appear together: a folder under its final name, or files of one save in a
 * folder that lives on. Whatever kills the process, every folder with a final name holds one save, whole, or is seen
 * not to hold one (its gate is missing), and the next `recover` ends what was begun.
 *
 * All files are first written and synced in a hidden folder. Its name says how far things are:
 *   .dawntune-save.NAME.writing   not whole: thrown away
 *   .dawntune-save.NAME.folder    whole: becomes the folder NAME
 *   .dawntune-save.NAME.files     whole: files of an earlier save, the gate first, make room for it
 *   .dawntune-save.NAME.moving    no file of an earlier save is left: its files move up, the gate last
 *   .dawntune-save.NAME.old       replaced: thrown away
 * The gate is the one file without which no reader takes the folder for what it is. One process at a time (`lock.ts`).
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../errors.js';
import { printable } from '../show.js';
import { isTemporaryName, syncFolder } from './atomic.js';
import { isSystemError, remedy, systemReason } from './reason.js';
import { removeAll, rename, whileHeld } from './rename.js';

/** Names without a dot: what is completed must never be the folder itself or the one above it. */
const STAGED = /^\.dawntune-save\.([\w-]+)\.(writing|folder|files|moving|old)$/;
/** What versions before this one left when they were killed. */
const EARLIER = /^\.checkpoint-\d+\.partial$/;

export interface FileSet {
  /** The file that goes first and comes last; every save has it. */
  readonly gate: string;
  /**
   * Names that saves use; a file in a folder of the folder is written with a slash. Of a group of which the new save has a member, the members that it has not go too: they are
   * an earlier save's, and readers would take them for this one's.
   */
  readonly groups: readonly (readonly string[])[];
}

const staged = (folder: string, name: string, state: string) =>
  path.join(folder, `.dawntune-save.${name}.${state}`);

/** Whether files of a save are on their way into this folder: the gate is missing until `recover` has run. */
export function interruptedSave(folder: string): string | undefined {
  try {
    return fs.readdirSync(folder).find((name) => ['files', 'moving'].includes(STAGED.exec(name)?.[2] ?? ''));
  } catch {
    return undefined;
  }
}

/** Makes the folder `name` in `folder`, or replaces it, with what `write` puts into a folder that it is given. */
export async function publishFolder(
  folder: string,
  name: string,
  write: (into: string) => Promise<void>,
): Promise<void> {
  await stage(folder, name, 'folder', write);
  attempt(folder, () => completeFolder(folder, name));
}

/** Replaces the files of `set` in `folder` with what `write` puts into a folder that it is given. */
export async function publishFiles(
  folder: string,
  set: FileSet,
  write: (into: string) => Promise<void>,
): Promise<void> {
  await stage(folder, 'model', 'files', write);
  attempt(folder, () => completeFiles(folder, 'model', set));
}

/** Takes the folder `name` away: it is never seen with a part of its files. */
export function removeFolder(folder: string, name: string): void {
  attempt(folder, () => {
    const old = staged(folder, name, 'old');
    removeAll(old);
    rename(path.join(folder, name), old);
    removeAll(old);
  });
}

/** Ends what killed processes began in `folder` and removes what they left; gives the names that it completed. */
export function recover(folder: string, set: FileSet): string[] {
  const completed: string[] = [];
  attempt(folder, () => {
    const names = fs.readdirSync(folder);
    for (const name of names) {
      const [, target, state] = STAGED.exec(name) ?? [];
      if (state === 'folder') completeFolder(folder, target!);
      else if (state === 'files' || state === 'moving') completeFiles(folder, target!, set);
      else continue;
      completed.push(target!);
    }
    for (const name of names) {
      const state = STAGED.exec(name)?.[2];
      if (state === 'writing' || state === 'old' || EARLIER.test(name) || isTemporaryName(name))
        removeAll(path.join(folder, name));
    }
  });
  return completed;
}

async function stage(
  folder: string,
  name: string,
  whole: 'folder' | 'files',
  write: (into: string) => Promise<void>,
): Promise<void> {
  const writing = staged(folder, name, 'writing');
  attempt(folder, () => {
    removeAll(writing);
    fs.mkdirSync(writing);
  });
  begin(writing);
  try {
    await write(writing);
    attempt(folder, () => {
      syncFolder(writing);
      rename(writing, staged(folder, name, whole));
      syncFolder(folder);
    });
  } catch (error) {
    try {
      removeAll(writing);
    } catch {
      // What made the writing fail is what there is to say; the next run removes the rest.
    }
    throw isSystemError(error) ? cannotWrite(folder, error) : error;
  } finally {
    end(writing);
  }
}

/** Folders that are being written: removed when the process ends in between, before its locks are released. */
const begun = new Set<string>();
const removeBegun = () => {
  for (const writing of begun)
    try {
      removeAll(writing);
    } catch {
      // The next run removes it.
    }
};

function begin(writing: string): void {
  if (begun.size === 0) process.prependListener('exit', removeBegun);
  begun.add(writing);
}

function end(writing: string): void {
  begun.delete(writing);
  if (begun.size === 0) process.removeListener('exit', removeBegun);
}

function completeFolder(folder: string, name: string): void {
  const final = path.join(folder, name);
  const old = staged(folder, name, 'old');
  if (fs.lstatSync(final, { throwIfNoEntry: false })) {
    removeAll(old);
    rename(final, old);
  }
  rename(staged(folder, name, 'folder'), final);
  syncFolder(folder);
  removeAll(old);
}

function completeFiles(folder: string, name: string, { gate, groups }: FileSet): void {
  const whole = staged(folder, name, 'files');
  const moving = staged(folder, name, 'moving');
  if (fs.existsSync(whole)) {
    const used = filesIn(whole);
    const stale = groups.filter((group) => group.some((member) => used.includes(member))).flat();
    for (const file of new Set([gate, ...stale, ...used])) {
      whileHeld(() => fs.rmSync(path.join(folder, file), { force: true }));
      if (file === gate) syncFolder(folder);
    }
    syncFolder(folder);
    rename(whole, moving);
    syncFolder(folder);
  }
  const rest = filesIn(moving);
  const move = (file: string) => {
    const inner = path.dirname(path.join(folder, file));
    if (file.includes('/')) fs.mkdirSync(inner, { recursive: true });
    rename(path.join(moving, file), path.join(folder, file));
    if (file.includes('/')) syncFolder(inner);
  };
  for (const file of rest) if (file !== gate) move(file);
  syncFolder(folder);
  if (rest.includes(gate)) {
    move(gate);
    syncFolder(folder);
  }
  // Folders that held files are left in it.
  removeAll(moving);
}

/** Names of the files in a folder, those in its folders with a slash. */
function filesIn(folder: string): string[] {
  return fs
    .readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) =>
      entry.isDirectory()
        ? filesIn(path.join(folder, entry.name)).map((name) => `${entry.name}/${name}`)
        : [entry.name],
    );
}

function attempt(folder: string, body: () => void): void {
  try {
    body();
  } catch (error) {
    if (error instanceof InputError || error instanceof MachineError) throw error;
    throw cannotWrite(folder, error);
  }
}

function cannotWrite(folder: string, error: unknown): MachineError {
  return new MachineError(`${printable(folder)}: cannot write: ${systemReason(error)}${remedy(error)}`);
}
