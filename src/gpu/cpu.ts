/** The processor that a software adapter computes on, as far as kernels choose by it. */
import { readFileSync } from 'node:fs';
import os from 'node:os';

/** The processor that a software adapter computes on. */
export interface CpuFacts {
  /** As the system names it, e.g. `AMD EPYC 7B13`. */
  readonly model: string;
  /** 32 vector registers and gathers that its compilers use; where the system does not tell, false. */
  readonly avx512: boolean;
}

let known: CpuFacts | undefined;

/** Of this machine. Linux lists the instruction sets; elsewhere only the model is known. */
export function cpuFacts(): CpuFacts {
  known ??= { model: os.cpus()[0]?.model.trim() || process.arch, avx512: flags().includes('avx512vl') };
  return known;
}

function flags(): string[] {
  try {
    return /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' ') ?? [];
  } catch {
    return [];
  }
}
