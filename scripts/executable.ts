/**
 * The last part of `npm run build`: what package.json names as a command may be executed. npm sees to that once, when it
 * links the command, and the compiler does not: after `dist` was removed, as `npm pack` does, `npx dawntune` was refused.
 */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const { bin } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as {
  bin: Record<string, string>;
};
for (const command of Object.values(bin)) fs.chmodSync(path.join(root, command), 0o755);
