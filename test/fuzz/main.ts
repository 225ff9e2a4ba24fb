/** `npm run fuzz -- --seconds N [--seed S] [--only reader…]`: made inputs for every reader, as long as one likes. */
import os from 'node:os';
import path from 'node:path';
import { InputError } from '../../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../../src/flag-help.js';
import { choice, integer, listOf, optional, parseFlags, text, withDefault } from '../../src/flags.js';
import { readers } from './readers.js';
import { fuzz } from './watch.js';

const flags = {
  seconds: { ...withDefault(integer(1), 60, 'how long'), group: 'Fuzz' },
  seed: { ...optional(integer(0), 'seed of the first case of each reader'), group: 'Fuzz' },
  only: {
    ...optional(
      listOf(choice([...readers.keys()]), `readers of ${[...readers.keys()].join(', ')}`),
      'some of the readers',
    ),
    group: 'Fuzz',
  },
  cases: { ...optional(integer(1), 'stop after so many cases of each reader'), group: 'Fuzz' },
  findings: {
    ...withDefault(text('a folder'), path.join(os.tmpdir(), 'dawntune-findings'), 'where inputs are kept'),
    group: 'Fuzz',
  },
};

function flagValues() {
  const argv = process.argv.slice(2);
  if (wantsHelp(argv)) {
    process.stdout.write(renderHelp(usageLine('npm run fuzz --', flags), flags));
    process.exit(0);
  }
  try {
    return parseFlags(flags, argv).values;
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
