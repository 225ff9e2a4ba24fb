/**
 * The user's home folder. There may be none: HOME unset, and a user id that the system's list of users does not have,
 * as containers and services are run with. Node throws an error of its own then.
 */
import os from 'node:os';
import { InputError } from '../errors.js';

export function homeFolder(): string | undefined {
  try {
    return os.homedir();
  } catch {
    return undefined;
  }
}

/** For what has its place there unless `variable` gives another. @throws InputError that names both ways out. */
export function requireHome(variable: string): string {
  const home = homeFolder();
  if (home !== undefined) return home;
  throw new InputError(`${variable}: expected a folder, as this user has no home folder; set it, or HOME`);
}
