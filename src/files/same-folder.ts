/** Whether two paths lead to one folder. */
import fs from 'node:fs';

/** By what they lead to, links and mounts included; what is not there is the same as nothing. */
export function sameFolder(a: string, b: string): boolean {
  const [one, other] = [a, b].map((folder) => {
    try {
      return fs.statSync(folder, { bigint: true });
    } catch {
      return undefined;
    }
  });
  return one !== undefined && other !== undefined && one.dev === other.dev && one.ino === other.ino;
}
