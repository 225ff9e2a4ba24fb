/** Where the repository is, for tests that run from `dist/test`. */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

let folder = path.dirname(fileURLToPath(import.meta.url));
while (!fs.existsSync(path.join(folder, 'package.json'))) folder = path.dirname(folder);

export const repositoryRoot = folder;
export const golden = (...names: string[]): string => path.join(folder, 'test', 'golden', ...names);
