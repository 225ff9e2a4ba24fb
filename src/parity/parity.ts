/**
 * `parity FOLDER`: compares the engine with figures computed by FlagEmbedding and PyTorch, for any folder in the
 * goldens layout, and prints a table. Exit code 0 only if every bound holds. The bounds stand in `BOUNDS`.
 */
import { InputError } from '../errors.js';
import type { ForcedKernels, KernelChoices } from '../gpu/choices.js';
import { Gpu, type GpuOptions } from '../gpu/gpu.js';
import { families, familyNamed } from '../kernels/families.js';
import { allGatherJson, type Communicator } from '../ranks/communicator.js';
import { show } from '../show.js';
import { checkColbertFloor } from './colbert-floor.js';
import { Comparison, type ComparisonOptions } from './comparison.js';
import { checkEncode } from './encode.js';
import { allowOneJump } from './jumps.js';
import { checkLossCases } from './loss-cases.js';
import type { ParityCheck } from './report.js';
import { checkRanks } from './several-ranks.js';
import { checkTenSteps } from './ten-steps.js';

export interface ParityOptions extends ComparisonOptions {
  adapter?: string | undefined;
  /** Variants to use where the adapter supports them. That each was used is one of the checks. */
  kernels?: ForcedKernels | undefined;
  /** The goldens of several ranks are computed by as many real ones, of which this is one; else by this process alone. */
  communicator?: Communicator | undefined;
  /** Opens this rank's adapter, where there are several; `adapter` is not looked at then. */
  openGpu?: ((options: Omit<GpuOptions, 'adapter'>) => Promise<Gpu>) | undefined;
  /** Of all goldens those of several ranks alone. */
  ranksAlone?: boolean | undefined;
}

export async function runParity(folder: string, options: ParityOptions = {}): Promise<ParityCheck[]> {
  const { adapter, kernels, communicator } = options;
  const choices = kernels ? { kernels } : {};
  const gpu = await (options.openGpu?.(choices) ?? Gpu.open({ ...(adapter ? { adapter } : {}), ...choices }));
  try {
    const checks = await compare(gpu, folder, options);
    const own = [...checks, ...forcedWereUsed(gpu.choices)];
    return communicator ? [...own, ...(await failedElsewhere(communicator, own))] : own;
  } finally {
    await gpu.close();
  }
}

/** The checks that do not hold on other ranks; those that hold are the same ones as here. */
async function failedElsewhere(
  communicator: Communicator,
  own: readonly ParityCheck[],
): Promise<ParityCheck[]> {
  const failed = await allGatherJson(
    communicator,
    own.filter(({ ok }) => !ok),
  );
  return failed.flatMap((checks, rank) =>
    rank === communicator.rank
      ? []
      : checks.map((check) => ({ ...check, section: `rank ${rank}: ${check.section}` })),
  );
}

/** Of names that there are. @throws InputError, one line that names the flag. */
export function checkForcedKernels(kernels: ForcedKernels | null): void {
  if (kernels === null || kernels === 'fallback') return;
  for (const [name, variant] of Object.entries(kernels)) {
    const family = familyNamed(name);
    if (!family)
      throw new InputError(
        `--kernels: there is no family ${show(name)} of kernels; there are ${families.map((each) => each.name).join(', ')}`,
      );
    const names = family.variants.map((each) => each.name);
    if (!names.includes(variant))
      throw new InputError(
        `--kernels: expected ${name} to be one of ${names.join(', ')}, found ${show(variant)}`,
      );
  }
}

/** A variant that no form took was not checked, whatever the other checks say. */
export function forcedWereUsed({ forced, decided }: KernelChoices): ParityCheck[] {
  if (forced === undefined || forced === 'fallback') return [];
  return Object.entries(forced).map(([family, variant]) => {
    const used = [...decided.values()].some(
      (each) => each.family === family && each.variant.name === variant,
    );
    const measured = used ? 0 : 1;
    return { section: 'kernels', name: `${family}=${variant} unused`, measured, bound: 0, ok: used };
  });
}

/** Only there the golden was seen to jump; all other kernels are held to the narrow bounds. */
const usedMatrixUnits = ({ decided }: KernelChoices): boolean =>
  [...decided.values()].some(({ variant }) => variant.name.startsWith('subgroupMatrix'));

async function compare(gpu: Gpu, folder: string, options: ParityOptions): Promise<ParityCheck[]> {
  const { communicator, ranksAlone = false } = options;
  const parity = new Comparison(gpu, folder, options);
  // What does not take several ranks is the first one's.
  if (ranksAlone || (communicator && communicator.rank > 0)) {
    await checkRanks(parity, communicator);
    return parity.checks;
  }
  checkTokenizer(parity);
  await checkLossCases(parity);
  await checkColbertFloor(parity);
  await checkTenSteps(parity);
  await checkRanks(parity, communicator);
  await checkEncode(parity);
  return parity.half && usedMatrixUnits(gpu.choices) ? allowOneJump(parity.checks) : parity.checks;
}

function checkTokenizer(parity: Comparison): void {
  const rows = parity.json<{ text: string; ids: number[]; ids_max16: number[] }[]>('tokenizer.json');
  const differ = (name: string, wanted: (row: (typeof rows)[number]) => number[], limit?: number) => {
    const wrong = rows.filter(
      (row) => wanted(row).join() !== parity.tokenizer.encode(row.text, limit).join(),
    );
    parity.check('tokenizer', `${name}: rows of ${rows.length} that differ`, wrong.length, 0);
  };
  differ('ids', (row) => row.ids);
  differ('ids cut to 16', (row) => row.ids_max16, 16);
}
