/** `npm run bench -- SUITE [--json] [--adapter NAME]`. One suite a file. */
import { parseArgs } from 'node:util';
import { benchKernels } from './kernels.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, adapter: { type: 'string' } },
});
const suite = positionals[0] ?? 'kernels';
if (suite !== 'kernels' || positionals.length > 1) {
  process.stderr.write(`bench: expected the suite "kernels", found "${positionals.join(' ')}"\n`);
  process.exit(2);
}
await benchKernels({ json: values.json, ...(values.adapter ? { adapter: values.adapter } : {}) });
