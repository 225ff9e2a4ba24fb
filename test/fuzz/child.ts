/**
 * The process in which inputs are read: cases `first`, `first + step`, … of a run. It says on its standard output,
 * at once, which case it begins and how it ended, so that whoever watches knows which case a crash or a hang was.
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../../src/errors.js';
import { FuzzRandom } from './random.js';
import type { Input, Reader } from './readers.js';

const [module, folder, names, seedText, firstText, countText] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string,
];
const { readers } = (await import(module)) as { readers: ReadonlyMap<string, Reader> };
const chosen = names.split(',');
const say = (...words: (string | number)[]) => fs.writeSync(1, `${words.join('\t')}\n`);

/** Longest message, the path of the folder not counted. */
const LONGEST_MESSAGE = 600;
const OBEYED =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** What is wrong with an error, or undefined. */
function complaint(error: unknown): string | undefined {
  if (!(error instanceof InputError || error instanceof MachineError))
    return `untyped error: ${error instanceof Error ? error.stack : String(error)}`;
  const message = error.message.replaceAll(folder, '');
  if (message.length > LONGEST_MESSAGE) return `message of ${message.length} characters: ${message}`;
  if (OBEYED.test(message)) return `message with control characters: ${JSON.stringify(message)}`;
  return undefined;
}

function write(input: Input): void {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(input)) {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), content);
  }
}

/** What the case at hand wrote to standard error. */
let written = '';
process.stderr.write = (chunk: Uint8Array | string) => {
  written += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString();
  return true;
};

for (let i = Number(firstText), end = i + Number(countText); i < end; i++) {
  const name = chosen[i % chosen.length]!;
  const seed = Number(seedText) + Math.floor(i / chosen.length);
  const reader = readers.get(name)!;
  say('case', i, name, seed);
  write(reader.make(new FuzzRandom(seed, name)));
  say('read', i);
  const start = performance.now();
  let outcome = 'accepted';
  let fault: string | undefined;
  try {
    await reader.read(folder);
  } catch (error) {
    outcome = 'refused';
    fault = complaint(error);
    if (process.env['FUZZ_SHOW']) say('message', (error as Error).message);
  }
  const milliseconds = Math.round(performance.now() - start);
  // Promises that nobody waits for and warnings come now.
  await new Promise(setImmediate);
  if (written !== '') fault ??= `wrote: ${written}`;
  if (fault !== undefined) {
    say('fault', i, JSON.stringify(fault));
    break;
  }
  say('done', i, outcome, milliseconds, process.resourceUsage().maxRSS);
}
say('end');
