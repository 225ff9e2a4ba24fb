/** `npm run fuzz -- --seconds N [--seed S] [--only reader…]`: made inputs for every reader, as long as one likes. */
import { InputError } from '../../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../../src/flag-help.js';
import { parseFlags } from '../../src/flags.js';
import { fuzzFlags } from './flags.js';
import { readers } from './readers.js';
import { fuzz } from './watch.js';

function flagValues() {
  const argv = process.argv.slice(2);
  if (wantsHelp(argv)) {
    process.stdout.write(renderHelp(usageLine('npm run fuzz --', fuzzFlags), fuzzFlags));
    process.exit(0);
  }
  try {
    return parseFlags(fuzzFlags, argv).values;
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    process.stderr.write(`fuzz: ${error.message}\n`);
    process.exit(2);
  }
}

const values = flagValues();
const chosen = values.only ?? [...readers.keys()];
const seed = values.seed ?? Math.floor(Math.random() * 2 ** 31);
process.stdout.write(`seed ${seed}, ${values.seconds} s\n`);
const { counts, findings } = await fuzz({
  readers: chosen,
  seed,
  seconds: values.seconds,
  ...(values.cases === null ? {} : { cases: values.cases }),
  findings: values.findings,
});
for (const [name, { accepted, refused, slowest }] of counts)
  process.stdout.write(
    `${name.padEnd(14)} ${String(accepted + refused).padStart(8)} inputs: ${accepted} accepted, ${refused} refused, slowest ${slowest} ms\n`,
  );
for (const { reader, seed, what, folder } of findings)
  process.stdout.write(`\nFOUND by --only ${reader} --seed ${seed} --cases 1, kept in ${folder}:\n${what}\n`);
process.stdout.write(`${findings.length} findings\n`);
process.exitCode = findings.length > 0 ? 1 : 0;
