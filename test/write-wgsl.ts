/** `npm run wgsl`: writes test/golden/wgsl anew and says what changed. */
import fs from 'node:fs';
import path from 'node:path';
import { goldenWgsl } from './golden-wgsl.js';
import { golden } from './repository.js';

const folder = golden('wgsl');
fs.mkdirSync(folder, { recursive: true });
const texts = goldenWgsl();
const before = fs.readdirSync(folder);
for (const name of before)
  if (!texts.has(name)) {
    fs.rmSync(path.join(folder, name));
    process.stdout.write(`${name}: removed\n`);
  }
for (const [name, text] of texts) {
  const file = path.join(folder, name);
  const known = before.includes(name);
  if (known && fs.readFileSync(file, 'utf8') === text) continue;
  fs.writeFileSync(file, text);
  process.stdout.write(`${name}: ${known ? 'changed' : 'new'}\n`);
}
process.stdout.write(`${texts.size} texts in ${path.relative(process.cwd(), folder)}\n`);
