/** `npm run docs`: the API reference as pages, to `dist/api`. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { readApi } from './api-reference.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const { undocumented, problems, write } = await readApi(root);
for (const problem of problems) process.stderr.write(`docs: ${problem}\n`);
for (const name of undocumented) process.stderr.write(`docs: no docstring: ${name}\n`);
await write(path.join(root, 'dist', 'api'));
if (undocumented.length + problems.length > 0) process.exitCode = 1;
