/**
 * Makes a folder and those above it. Node's own `mkdirSync(…, { recursive: true })` never returns where a file system
 * knows the folder above but says "no such file" to a new one in it, as /proc does.
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError } from '../errors.js';
import { printable } from '../show.js';
import { writingFault } from './reason.js';

/** Does nothing where there is one; `mode` is for those that it makes. @throws the system's error. */
export function makeFolder(folder: string, mode?: number): void {
  const missing: string[] = [];
  let above = path.resolve(folder);
  while (!isThere(above) && above !== path.dirname(above)) {
    missing.push(above);
    above = path.dirname(above);
  }
  for (const next of missing.reverse())
    try {
      fs.mkdirSync(next, mode);
    } catch (error) {
      // Another process may have made it in between.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !isFolder(next)) throw error;
    }
  // A file of that name: what the system says of making it again.
  if (!fs.statSync(folder).isDirectory()) fs.mkdirSync(folder);
}

/** The same for a folder that is then written into. @throws InputError that names it, MachineError (disk full …). */
export function makeWritableFolder(folder: string, mode?: number): void {
  try {
    makeFolder(folder, mode);
    fs.accessSync(folder, fs.constants.W_OK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
      throw writingFault(folder, 'cannot be written', error);
    const taken = (error as NodeJS.ErrnoException).path ?? folder;
    const what = isThere(taken) ? 'is no folder' : 'a link to something that does not exist';
    throw new InputError(`${printable(folder)}: cannot be written: ${what}`);
  }
}

function isFolder(file: string): boolean {
  return fs.statSync(file, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Links that lead nowhere are not there; what cannot be asked fails when it is made. */
function isThere(file: string): boolean {
  try {
    return fs.statSync(file, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}
