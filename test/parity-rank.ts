/** One rank of parity in a thread of its own (parity-ranks.test.ts). */
import { Gpu } from '../src/gpu/gpu.js';
import { runParity } from '../src/parity/parity.js';
import type { ParityCheck } from '../src/parity/report.js';
import type { RankContext } from '../src/ranks/rank-messages.js';

/** What this rank checked. */
export interface RankChecks {
  readonly float32: readonly ParityCheck[];
  readonly mixed: readonly ParityCheck[];
}

/** The goldens of ranks in `folder`, with floats and in mixed precision, on one device. */
export async function runRank({ communicator, data: folder }: RankContext<string>): Promise<RankChecks> {
  const gpu = await Gpu.open();
  const close = gpu.close.bind(gpu);
  gpu.close = async () => {};
  const check = (fp16: boolean) =>
    runParity(folder, { fp16, communicator, ranksAlone: true, openGpu: async () => gpu });
  try {
    return { float32: await check(false), mixed: await check(true) };
  } finally {
    await close();
  }
}
