/**
 * What `npm pack` runs before and after (`prepack`, `postpack`): the package.json that is packed has no scripts, no
 * development dependencies and no leave for scripts of others. They are the clone's; where the package is installed they
 * could not run, or mean nothing. After a `npm pack` that was killed in between,
 * `node dist/scripts/package-manifest.js after` gives the clone its own back.
 */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const manifest = path.join(root, 'package.json');
const whole = path.join(root, 'dist', 'package.json.whole');

switch (process.argv[2]) {
  case 'before': {
    fs.copyFileSync(manifest, whole, fs.constants.COPYFILE_EXCL);
    const { scripts, devDependencies, allowScripts, ...packed } = JSON.parse(
      fs.readFileSync(manifest, 'utf8'),
    );
    fs.writeFileSync(manifest, `${JSON.stringify(packed, null, 2)}\n`);
    break;
  }
  case 'after':
    fs.renameSync(whole, manifest);
    break;
  default:
    throw new Error('expected before or after');
}
