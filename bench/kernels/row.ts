/** What a kernel suite says of one case and variant: the row of its JSON, and what follows from the times. */
import type { Capabilities } from '../../src/gpu/capabilities.js';
import type { Roofline } from '../../src/gpu/profile-report.js';
import type { Family } from '../../src/kernels/variants.js';
import { quantile } from '../report/statistics.js';
import { samplesBy, type Times } from './measure.js';
import { dtypeOf, kernelName, type Selected } from './select.js';

export interface KernelRow {
  /** Family and case; with `variant` it is unique in a report. */
  readonly kernel: string;
  readonly family: string;
  readonly variant: string;
  /** Whether the device would have chosen this variant. */
  readonly chosen: boolean;
  readonly dtype: 'f32' | 'f16';
  /** Of products: extents and layout (T where the operand is stored transposed). */
  readonly m?: number;
  readonly n?: number;
  readonly k?: number;
  readonly layout?: string;
  readonly form: object;
  readonly size: object;
  /** Which clock the rates, the roofline's share and the comparison with other reports go by. */
  readonly clock: 'host' | 'gpu';
  /** Time of a run by that clock: median and quartiles. */
  readonly milliseconds: number;
  readonly lowerQuartile: number;
  readonly upperQuartile: number;
  readonly samples: number;
  /** Runs of a sample by the host's clock, between two waits. */
  readonly repeats: number;
  /** Medians by either clock; of the GPU's, null where the adapter has no timestamps. */
  readonly hostMilliseconds: number;
  readonly gpuMilliseconds: number | null;
  readonly gflops: number | null;
  readonly gbPerSecond: number;
  readonly cpuSeconds: number;
  readonly gflopPerCpuSecond: number | null;
  /** Time that the adapter's measured peaks allow, which of them says so, and its share of the time taken. */
  readonly rooflineMilliseconds: number | null;
  readonly bound: 'arithmetic' | 'memory' | null;
  readonly roofline: number | null;
  readonly workspaceBytes: number;
  readonly error: number;
  readonly tolerance: number;
  /** Always true: what is wrong has no row. */
  readonly checked: true;
}

export function rowOf(
  facts: Capabilities,
  { family, case: { name, form, size }, chosen }: Selected,
  variant: Selected['variants'][number],
  times: Times,
  error: number,
  peaks: Roofline | null,
  clock: KernelRow['clock'],
): KernelRow {
  const samples = samplesBy(clock, times);
  const seconds = quantile(samples, 0.5);
  const { flops, bytes } = family.cost(form, size);
  const limit = peaks && limitOf(flops, bytes, peaks);
  return {
    kernel: kernelName(family, name),
    family: family.name,
    variant: variant.name,
    chosen: variant.name === chosen,
    dtype: dtypeOf(form),
    ...productFields(family, form, size),
    form,
    size,
    clock,
    milliseconds: seconds * 1e3,
    lowerQuartile: quantile(samples, 0.25) * 1e3,
    upperQuartile: quantile(samples, 0.75) * 1e3,
    samples: samples.length,
    repeats: times.repeats,
    hostMilliseconds: quantile(times.samples, 0.5) * 1e3,
    gpuMilliseconds: times.gpuSamples.length === 0 ? null : quantile(times.gpuSamples, 0.5) * 1e3,
    gflops: flops > 0 ? flops / seconds / 1e9 : null,
    gbPerSecond: bytes / seconds / 1e9,
    cpuSeconds: times.cpuSeconds,
    gflopPerCpuSecond: flops > 0 && times.cpuSeconds > 0 ? flops / times.cpuSeconds / 1e9 : null,
    rooflineMilliseconds: limit && limit.seconds * 1e3,
    bound: limit?.bound ?? null,
    roofline: limit && limit.seconds / seconds,
    workspaceBytes: variant.workspace?.(facts, form, size) ?? 0,
    error,
    tolerance: family.tolerance(form, size),
    checked: true,
  };
}

/** The roofline (Williams, Waterman, Patterson 2009): a kernel takes at least its arithmetic and at least its traffic. */
function limitOf(
  flops: number,
  bytes: number,
  { peakFlops, copyBandwidth }: Roofline,
): { seconds: number; bound: 'arithmetic' | 'memory' } {
  const arithmetic = flops / peakFlops;
  const memory = bytes / copyBandwidth;
  return arithmetic > memory
    ? { seconds: arithmetic, bound: 'arithmetic' }
    : { seconds: memory, bound: 'memory' };
}

function productFields(
  family: Family,
  form: object,
  size: object,
): Pick<KernelRow, 'm' | 'n' | 'k' | 'layout'> {
  if (family.name !== 'matmul') return {};
  const { M, N, K } = size as { M: number; N: number; K: number };
  const { transA, transB } = form as { transA: boolean; transB: boolean };
  return { m: M, n: N, k: K, layout: `${transA ? 'T' : 'N'}${transB ? 'T' : 'N'}` };
}
