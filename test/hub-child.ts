/** A process that fetches a model of a (fake) hub, to be killed or run beside another: ENDPOINT CACHE NAME. */
import { fetchModel } from '../src/hub/download.js';

const [endpoint, cache, name] = process.argv.slice(2) as [string, string, string];
const folder = await fetchModel(name, {
  cacheDir: cache,
  env: { HF_ENDPOINT: endpoint },
  transport: { firstPause: 10 },
  report: { note: (line) => process.stderr.write(`${line}\n`) },
});
process.stdout.write(`${folder}\n`);
