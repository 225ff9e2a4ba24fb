/**
 * Where the tuner's winners are kept between runs: one file for each adapter, driver and processor, in the cache folder. A
 * winner is used again only while everything that competed for it has the same source; what cannot be read is tuned anew.
 */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { InputError } from '../errors.js';
import { writeFileAtomic } from '../files/atomic.js';
import { asJsonObject, isJsonObject, type JsonObject, readJsonObjectIfPresent } from '../files/json.js';
import { makeWritableFolder } from '../files/make-folder.js';
import type { Capabilities } from '../gpu/capabilities.js';
import { cacheFolder } from '../gpu/driver-cache.js';
import type { Gpu } from '../gpu/gpu.js';
import { sourcesOf, type Tuned } from './tuner.js';
import { choiceKey, type Family } from './variants.js';

const FORMAT = 1;

interface Winner {
  readonly family: string;
  readonly form: object;
  readonly size: object;
  readonly variant: string;
  /** Of all candidates, `sourcesOf`. */
  readonly source: string;
  /** How much faster it was than what the device would have chosen. */
  readonly ratio: number;
  readonly date: string;
}

/** The adapter, driver and processor that a choice holds for. */
const machineOf = ({ name, driver, cpu }: Capabilities): Record<string, string> => ({
  adapter: name,
  driver,
  cpu: cpu ? `${cpu.model}${cpu.avx512 ? ' with AVX-512' : ''}` : '',
});

/** The file for a device. */
export function tunedFile(facts: Capabilities): string {
  const machine = createHash('sha256')
    .update(JSON.stringify(machineOf(facts)))
    .digest('hex')
    .slice(0, 16);
  return path.join(cacheFolder(), 'kernels', `${machine}.json`);
}

/**
 * Gives the device the winners of earlier runs that still hold. Returns how many there were, and how many were retired
 * since their sources changed. A file that is damaged counts as none: `notice` says so.
 */
export function loadWinners(
  gpu: Gpu,
  families: readonly Family[],
): { used: number; retired: number; notice?: string } {
  const file = tunedFile(gpu.capabilities);
  let winners: Record<string, Winner>;
  try {
    winners = readWinners(file);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { used: 0, retired: 0, notice: `${error.message}: kernels are chosen as if nothing was tuned` };
  }
  let used = 0;
  let retired = 0;
  for (const key of Object.keys(winners)) {
    const { family: name, variant } = winners[key]!;
    const family = families.find((each) => each.name === name);
    if (family && holds(gpu, family, key, winners[key]!)) {
      gpu.choices.remember(key, variant);
      used++;
    } else retired++;
  }
  return { used, retired };
}

/** Forms and sizes out of a file may be of an older version, which the family's code need not understand. */
function holds(gpu: Gpu, family: Family, key: string, { form, size, variant, source }: Winner): boolean {
  const { capabilities } = gpu;
  try {
    return (
      choiceKey(family, form, size) === key &&
      sourcesOf(capabilities, family, form, size) === source &&
      family.variants.some((each) => each.name === variant && each.supports(capabilities, form, size))
    );
  } catch {
    return false;
  }
}

/** Finds out, before anything is tuned, that winners can be kept. @throws InputError that names the folder. */
export function requireTunedFolder(facts: Capabilities): void {
  makeWritableFolder(path.dirname(tunedFile(facts)), 0o700);
}

/** Adds what was found for a form and size to the file. @throws InputError when the cache folder cannot be written. */
export function storeWinner(
  gpu: Gpu,
  family: Family,
  form: object,
  size: object,
  { key, winner, candidates }: Tuned,
): void {
  const file = tunedFile(gpu.capabilities);
  let winners: Record<string, Winner> = {};
  try {
    winners = readWinners(file);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
  }
  const entry: Winner = {
    family: family.name,
    form,
    size,
    variant: winner,
    source: sourcesOf(gpu.capabilities, family, form, size),
    ratio: candidates.find(({ variant }) => variant === winner)?.ratio ?? 1,
    date: new Date().toISOString().slice(0, 10),
  };
  requireTunedFolder(gpu.capabilities);
  const record = { format: FORMAT, ...machineOf(gpu.capabilities), winners: { ...winners, [key]: entry } };
  writeFileAtomic(file, `${JSON.stringify(record, undefined, 1)}\n`);
}

/** @throws InputError for a file that is no such record. */
function readWinners(file: string): Record<string, Winner> {
  const record = readJsonObjectIfPresent(file);
  if (!record || record['format'] !== FORMAT) return {};
  const winners = asJsonObject(record['winners'], `${file}: winners`);
  const found: Record<string, Winner> = Object.create(null);
  for (const key of Object.keys(winners)) {
    const winner = winners[key];
    if (isJsonObject(winner) && isWinner(winner)) found[key] = winner;
  }
  return found;
}

const isWinner = (winner: JsonObject): winner is JsonObject & Winner =>
  ['family', 'variant', 'source'].every((name) => typeof winner[name] === 'string') &&
  isJsonObject(winner['form']) &&
  isJsonObject(winner['size']);
