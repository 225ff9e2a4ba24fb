/**
 * What the kernels of the check should reach on a class of machine, and where each figure is from: measured here
 * (bench/results), or computed from the maker's figures: lanes × 2 × clock, bus width × transfer rate. Of hardware that
 * is not in the table nothing is said.
 */
import type { CheckedKernel, ChosenFacts, ProcessorFacts } from './facts.js';

/** What to hold a measured rate against. */
export interface Expected {
  readonly rate: number;
  /** `about`: measured on a machine of the class; `at most`: the hardware's own limit. */
  readonly kind: 'about' | 'at most';
  readonly source: string;
  /** A rate below this part of it is far below what the machine should give. */
  readonly alarming: number;
}

// ---- processors ----------------------------------------------------------------------------------------------

/**
 * bench/results/2026-11-26-lavapipe-25.0.7-kernels-f32.json: 2 cores of an AMD EPYC with AVX-512 at 2.6 GHz, lavapipe of Mesa
 * 25.0.7, a product of 1024×1024×1024, and a copy of 16 Mi values. Of two cores, the copy takes what the memory gives.
 */
const MEASURED = { cores: 2, gigahertz: 2.6, product: 75.7, copy: 10.3 } as const;

/** lavapipe compiles for vectors of 256 bits: 8 lanes, two units that multiply and add, 2 operations each. NEON has 128. */
const OPERATIONS: Record<NonNullable<ProcessorFacts['vectors']>, number> = {
  'AVX-512': 32,
  AVX2: 32,
  NEON: 16,
};

/** The part of what the vector units could do that a product reached there: 75.7 of 2 × 32 × 2.6 GHz. */
const REACHED = MEASURED.product / (MEASURED.cores * OPERATIONS['AVX-512'] * MEASURED.gigahertz);

function ofProcessor(kernel: CheckedKernel, processor: ProcessorFacts): Expected | null {
  const { model, megahertz, vectors } = processor;
  const cores = Math.min(processor.cores, processor.quota ?? processor.cores);
  const same = /EPYC/.test(model) && vectors === 'AVX-512';
  if (kernel.unit === 'GB/s')
    return same && cores === MEASURED.cores
      ? { rate: MEASURED.copy, kind: 'about', source: 'measured on 2 cores of an EPYC', alarming: 0.3 }
      : null;
  if (vectors === null || megahertz === null) return null;
  // A format of memory alone there, unpacked when it is read.
  const halves = kernel.name.endsWith('f16') ? ', as in f32' : '';
  if (same)
    return {
      rate: (MEASURED.product / MEASURED.cores) * cores,
      kind: 'about',
      source: `measured on an EPYC: ${(MEASURED.product / MEASURED.cores).toFixed(0)} a core${halves}`,
      alarming: 0.3,
    };
  const peak = cores * OPERATIONS[vectors] * (megahertz / 1000);
  return {
    rate: REACHED * peak,
    kind: 'about',
    source: `computed: ${(100 * REACHED).toFixed(0)} % of ${Number(cores.toPrecision(3))} cores × ${OPERATIONS[vectors]} × ${(megahertz / 1000).toFixed(1)} GHz, as on an EPYC${halves}`,
    alarming: 0.2,
  };
}

// ---- GPUs ----------------------------------------------------------------------------------------------------

interface Card {
  readonly match: RegExp;
  /** That multiply and add in f32, and their highest clock in GHz. */
  readonly lanes: number;
  readonly gigahertz: number;
  /** Of the memory's bus, and transfers a second on each line in GHz. */
  readonly bits: number;
  readonly transfers: number;
}

/** From the makers' data sheets; the first that matches counts. */
export const cards: readonly Card[] = [
  { match: /H200/, lanes: 16896, gigahertz: 1.98, bits: 6144, transfers: 6.25 },
  { match: /H100 PCIe/, lanes: 14592, gigahertz: 1.755, bits: 5120, transfers: 3.19 },
  { match: /H100 80GB HBM3/, lanes: 16896, gigahertz: 1.98, bits: 5120, transfers: 5.23 },
  { match: /A100.*80GB/, lanes: 6912, gigahertz: 1.41, bits: 5120, transfers: 3.19 },
  { match: /A100.*40GB/, lanes: 6912, gigahertz: 1.41, bits: 5120, transfers: 2.43 },
  { match: /L40S/, lanes: 18176, gigahertz: 2.52, bits: 384, transfers: 18 },
  { match: /NVIDIA L4$/, lanes: 7424, gigahertz: 2.04, bits: 192, transfers: 12.5 },
  { match: /NVIDIA A10$/, lanes: 9216, gigahertz: 1.695, bits: 384, transfers: 12.5 },
  { match: /Tesla T4/, lanes: 2560, gigahertz: 1.59, bits: 256, transfers: 10 },
  { match: /V100-SXM2/, lanes: 5120, gigahertz: 1.53, bits: 4096, transfers: 1.75 },
  { match: /RTX 4090$/, lanes: 16384, gigahertz: 2.52, bits: 384, transfers: 21 },
  { match: /RTX 4080$/, lanes: 9728, gigahertz: 2.505, bits: 256, transfers: 22.4 },
  { match: /RTX 4070$/, lanes: 5888, gigahertz: 2.475, bits: 192, transfers: 21 },
  { match: /RTX 4060$/, lanes: 3072, gigahertz: 2.46, bits: 128, transfers: 17 },
  { match: /RTX 3090$/, lanes: 10496, gigahertz: 1.695, bits: 384, transfers: 19.5 },
  { match: /RTX 3060$/, lanes: 3584, gigahertz: 1.777, bits: 192, transfers: 15 },
  { match: /RX 6800 XT/, lanes: 4608, gigahertz: 2.25, bits: 256, transfers: 16 },
  { match: /Arc.*A770/, lanes: 4096, gigahertz: 2.1, bits: 256, transfers: 17.5 },
  { match: /^Apple M1$/, lanes: 1024, gigahertz: 1.278, bits: 128, transfers: 4.266 },
  { match: /^Apple M1 Pro$/, lanes: 2048, gigahertz: 1.296, bits: 256, transfers: 6.4 },
  { match: /^Apple M1 Max$/, lanes: 4096, gigahertz: 1.296, bits: 512, transfers: 6.4 },
  { match: /^Apple M2$/, lanes: 1280, gigahertz: 1.398, bits: 128, transfers: 6.4 },
];

function ofCard(kernel: CheckedKernel, name: string): Expected | null {
  const card = cards.find(({ match }) => match.test(name));
  if (!card) return null;
  const { lanes, gigahertz, bits, transfers } = card;
  if (kernel.unit === 'GB/s')
    return {
      rate: (bits / 8) * transfers,
      kind: 'at most',
      source: `by the maker’s data sheet: ${bits} bits × ${transfers} GHz`,
      alarming: 0.2,
    };
  // Products of halves run on other units, of which makers tell other figures.
  if (!kernel.name.endsWith('f32')) return null;
  return {
    rate: lanes * 2 * gigahertz,
    kind: 'at most',
    source: `by the maker’s data sheet: ${lanes.toLocaleString('en')} lanes × 2 × ${gigahertz} GHz`,
    alarming: 0.03,
  };
}

/** Null where nothing is known of such a machine. */
export function expectedOf(
  kernel: CheckedKernel,
  adapter: Pick<ChosenFacts, 'name' | 'software'>,
  processor: ProcessorFacts | undefined,
): Expected | null {
  if (!adapter.software) return ofCard(kernel, adapter.name);
  // SwiftShader compiles for 128 bits and is dozens of times slower.
  return processor && /llvmpipe/i.test(adapter.name) ? ofProcessor(kernel, processor) : null;
}
