/** The version of this package, of which what it writes tells. Stands beside errors.ts, below all rooms. */
import fs from 'node:fs';

export const packageVersion = (): string => {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(fs.readFileSync(file, 'utf8')) as { version: string }).version;
};
