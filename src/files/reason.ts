/** What the operating system had against a file, in words. */
import { InputError, MachineError } from '../errors.js';
import { printable } from '../show.js';

const reasons = new Map(
  Object.entries({
    ENOENT: 'no such file or folder',
    ENOTDIR: 'a part of the path is not a folder',
    EACCES: 'permission denied',
    EPERM: 'not permitted',
    EROFS: 'the file system is read-only',
    ENOSPC: 'the disk is full',
    EDQUOT: 'the disk quota is used up',
    EFBIG: 'the file would be larger than this system or `ulimit -f` allows',
    ENAMETOOLONG: 'the name is too long',
    ELOOP: 'links that lead in a circle',
    EISDIR: 'is a folder',
    EEXIST: 'something else has that name',
    EMFILE: 'too many files are open',
    EIO: 'the disk reports an error',
    ESTALE: 'the network file system has lost the file',
    ERR_INVALID_ARG_VALUE: 'no file can have such a name',
  }),
);

/** For a message: the known codes in words, any other as the system puts it. */
export function systemReason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return (code !== undefined && reasons.get(code)) || printable(message);
}

const remedies = new Map(
  Object.entries({
    ENOSPC: 'free space on this disk and rerun',
    EDQUOT: 'free some of the quota and rerun',
    EFBIG: 'allow larger files and rerun',
    EACCES: 'allow this user to write there and rerun',
    EPERM: 'allow this user to write there and rerun',
    EROFS: 'give a folder that can be written',
    EIO: 'look after the disk, or give a folder on another one',
    ESTALE: 'mount it again and rerun',
    EMFILE: 'raise `ulimit -n` and rerun',
  }),
);

/** What to do about it, to be put behind the reason; nothing where nothing is known. */
export function remedy(error: unknown): string {
  const known = remedies.get((error as NodeJS.ErrnoException).code ?? '');
  return known === undefined ? '' : `; ${known}`;
}

/** An error of the system, not one of this program. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && 'syscall' in error;
}

/** What the user did not ask for wrongly: another day the same command works. */
const OF_THE_MACHINE = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'EIO', 'ESTALE', 'EMFILE', 'ENFILE', 'ENOMEM']);

/** For what cannot be made or opened for writing, as one line. `problem`: e.g. `cannot write`. */
export function writingFault(file: string, problem: string, error: unknown): InputError | MachineError {
  const line = `${printable(file)}: ${problem}: ${systemReason(error)}${remedy(error)}`;
  const { code = '' } = error as NodeJS.ErrnoException;
  return OF_THE_MACHINE.has(code) ? new MachineError(line) : new InputError(line);
}
