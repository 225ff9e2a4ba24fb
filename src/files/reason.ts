/** What the operating system had against a file, in words. */
import { printable } from '../show.js';

const reasons = new Map(
  Object.entries({
    ENOENT: 'no such file or folder',
    ENOTDIR: 'a part of the path is not a folder',
    EACCES: 'permission denied',
    EPERM: 'not permitted',
    EROFS: 'the file system is read-only',
    ENOSPC: 'the disk is full',
    ENAMETOOLONG: 'the name is too long',
    ELOOP: 'links that lead in a circle',
    EISDIR: 'is a folder',
    EMFILE: 'too many files are open',
    EIO: 'the disk reports an error',
    ERR_INVALID_ARG_VALUE: 'no file can have such a name',
  }),
);

/** For a message: the known codes in words, any other as the system puts it. */
export function systemReason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return (code !== undefined && reasons.get(code)) || printable(message);
}
