/**
 * `npm run bench -- kernels`: host-timed throughput of the kernels that dominate training, on whatever adapter
 * there is. Every result is checked against the float64 reference before it is timed; a wrong kernel is an error,
 * not a number. `benchmark` takes the samples; the GPU is waited for in each.
 */
import Benchmark from 'benchmark';
import { MachineError } from '../src/errors.js';
import { parseFlags } from '../src/flags.js';
import { Gpu } from '../src/gpu/gpu.js';
import { attention, attentionGradient } from '../src/kernels/attention/attention.js';
import { attentionReference } from '../src/kernels/attention/reference.js';
import type { FloatDType } from '../src/kernels/launch.js';
import { layerNorm, layerNormReference } from '../src/kernels/layer-norm.js';
import { matmul } from '../src/kernels/matmul/matmul.js';
import { matmulReference } from '../src/kernels/matmul/reference.js';
import { unary, unaryFormulas } from '../src/kernels/pointwise.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { PackedSequences } from '../src/tensor/packed.js';
import { CounterRandom } from '../src/tensor/random.js';
import { scope } from '../src/tensor/scope.js';
import { bytesPerElement, Tensor } from '../src/tensor/tensor.js';
import { kernelsFlags } from './options.js';

interface KernelBench {
  name: string;
  /** Floating-point operations, or bytes moved, in one run. */
  work: number;
  unit: 'GFLOP/s' | 'GB/s';
  run(): Tensor;
  readonly tolerance: number;
  /** Checks some of the result; returns the largest error relative to the largest reference value. */
  error(result: Float32Array): number;
}

const TOLERANCE = 1e-4;
/** Of results that are rounded to halves. */
const HALF_TOLERANCE = 2e-3;

/** Rows of a result to compare with the reference: first, last, and one in the middle. */
const probes = (rows: number) => [0, Math.floor(rows / 2), rows - 1];

function benches(gpu: Gpu): KernelBench[] {
  const random = new CounterRandom(1, 0);
  const values = (count: number) => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
  const tensor = (data: Float32Array, shape: number[], dtype: FloatDType = 'f32') =>
    (dtype === 'f16' ? Tensor.from(gpu, f32ToF16(data), shape, 'f16') : Tensor.from(gpu, data, shape)).keep();
  const halves = (data: Float32Array) => f16ToF32(f32ToF16(data));
  const worst = (got: (i: number) => number, want: Float64Array) => {
    let top = 1e-6;
    let error = 0;
    want.forEach((v, i) => {
      top = Math.max(top, Math.abs(v));
      error = Math.max(error, Math.abs(got(i) - v));
    });
    return error / top;
  };
  const list: KernelBench[] = [];

  for (const [T, K, N, dtype] of [
    [1728, 384, 1536, 'f32'],
    [1728, 384, 1536, 'f16'],
    [1728, 1024, 4096, 'f32'],
    [1728, 1024, 4096, 'f16'],
  ] as const) {
    const drawn = [values(T * K), values(N * K), values(T * N)];
    const [x, w, dy] = (dtype === 'f16' ? drawn.map(halves) : drawn) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const [tx, tw, tdy] = [tensor(x, [T, K], dtype), tensor(w, [N, K], dtype), tensor(dy, [T, N], dtype)];
    // Weight gradients are f32 in mixed precision too.
    const tolerance = dtype === 'f16' ? HALF_TOLERANCE : TOLERANCE;
    const rowsError =
      (width: number, row: (r: number) => Float64Array, rows: number) => (got: Float32Array) =>
        Math.max(...probes(rows).map((r) => worst((i) => got[r * width + i]!, row(r))));
    const work = 2 * T * K * N;
    list.push(
      {
        name: `matmul y = x·Wᵀ ${T}×${K}×${N} ${dtype}`,
        tolerance,
        work,
        unit: 'GFLOP/s',
        run: () => matmul(tx, tw, { transB: true }),
        error: rowsError(
          N,
          (r) => matmulReference(x.subarray(r * K, (r + 1) * K), w, { M: 1, N, K, transB: true }),
          T,
        ),
      },
      {
        name: `matmul dx = dy·W ${T}×${N}×${K} ${dtype}`,
        tolerance,
        work,
        unit: 'GFLOP/s',
        run: () => matmul(tdy, tw),
        error: rowsError(
          K,
          (r) => matmulReference(dy.subarray(r * N, (r + 1) * N), w, { M: 1, N: K, K: N }),
          T,
        ),
      },
      {
        name: `matmul dW = dyᵀ·x ${N}×${T}×${K} ${dtype}`,
        tolerance: TOLERANCE,
        work,
        unit: 'GFLOP/s',
        run: () => matmul(tdy, tx, { transA: true, dtype: 'f32' }),
        error: rowsError(
          K,
          (r) =>
            matmulReference(
              Float32Array.from({ length: T }, (_, t) => dy[t * N + r]!),
              x,
              { M: 1, N: K, K: T },
            ),
          N,
        ),
      },
    );
  }

  for (const [heads, d, dtype] of [
    [12, 32, 'f32'],
    [12, 32, 'f16'],
    [16, 64, 'f32'],
    [16, 64, 'f16'],
  ] as const) {
    const tolerance = dtype === 'f16' ? HALF_TOLERANCE : TOLERANCE;
    const lengths = new Array<number>(8).fill(128);
    const packed = new PackedSequences(gpu, lengths);
    const [T, H] = [packed.tokens, heads * d];
    const qkv = dtype === 'f16' ? halves(values(T * 3 * H)) : values(T * 3 * H);
    const tqkv = tensor(qkv, [T, 3 * H], dtype);
    const { out, logSumExp } = attention(tqkv, packed, heads);
    out.keep();
    logSumExp.keep();
    const pairs = lengths.reduce((sum, n) => sum + n * n, 0) * H * 2;
    const first = () => attentionReference(qkv.subarray(0, 128 * 3 * H), [0, 128], heads, H);
    list.push(
      {
        name: `attention 8×128, ${heads} heads of ${d} ${dtype}`,
        tolerance,
        work: 2 * pairs,
        unit: 'GFLOP/s',
        run: () => attention(tqkv, packed, heads).out,
        error: (got) => worst((i) => got[i]!, first()),
      },
      {
        // Five products are needed; two of them are computed twice here, and count once.
        name: `attention gradient 8×128, ${heads} heads of ${d} ${dtype}`,
        tolerance,
        work: 5 * pairs,
        unit: 'GFLOP/s',
        run: () => attentionGradient(tqkv, out, logSumExp, out, packed, heads),
        // Σ_t dv_t = Σ_t dOut_t for each sequence and component: rows of probabilities sum to 1 over keys.
        error: (got) => {
          let error = 0;
          const o = first();
          for (let c = 0; c < H; c++) {
            let have = 0;
            let want = 0;
            for (let t = 0; t < 128; t++) {
              have += got[t * 3 * H + 2 * H + c]!;
              want += o[t * H + c]!;
            }
            error = Math.max(error, Math.abs(have - want) / Math.max(1, Math.abs(want)));
          }
          return error;
        },
      },
    );
  }

  const [rows, cols] = [4096, 1024];
  const [gamma, beta] = [values(cols), values(cols)];
  const [tg, tb] = [tensor(gamma, [cols]), tensor(beta, [cols])];
  for (const dtype of ['f32', 'f16'] as const) {
    const tolerance = dtype === 'f16' ? HALF_TOLERANCE : TOLERANCE;
    const x = dtype === 'f16' ? halves(values(rows * cols)) : values(rows * cols);
    const tx = tensor(x, [rows, cols], dtype);
    const bytes = 2 * bytesPerElement[dtype] * rows * cols;
    list.push(
      {
        name: `LayerNorm ${rows}×${cols} ${dtype}`,
        tolerance,
        work: bytes,
        unit: 'GB/s',
        run: () => layerNorm(tx, undefined, tg, tb, 1e-5).y,
        error: (got) =>
          Math.max(
            ...probes(rows).map((r) =>
              worst(
                (i) => got[r * cols + i]!,
                layerNormReference(x.subarray(r * cols, (r + 1) * cols), gamma, beta, cols, 1e-5),
              ),
            ),
          ),
      },
      {
        name: `GELU ${rows}×${cols} ${dtype}`,
        tolerance,
        work: bytes,
        unit: 'GB/s',
        run: () => unary('gelu', tx),
        error: (got) =>
          worst(
            (i) => got[i]!,
            Float64Array.from(x.subarray(0, 4096), (v) => unaryFormulas.gelu.host(v)),
          ),
      },
    );
  }
  return list;
}

export async function benchKernels(argv: readonly string[]): Promise<number> {
  const { json, adapter } = parseFlags(kernelsFlags, argv).values;
  const gpu = await Gpu.open(adapter ? { adapter } : {});
  const { name, software } = gpu.capabilities;
  const date = new Date().toISOString().slice(0, 10);
  if (!json) {
    process.stdout.write(`${name}${software ? ' (software adapter: computes on the CPU)' : ''} · ${date}\n`);
  }
  const rows: {
    kernel: string;
    value: number;
    unit: string;
    milliseconds: number;
    error: number;
    cpuSeconds: number;
  }[] = [];
  for (const bench of benches(gpu)) {
    const error = await scope(async () => bench.error(await bench.run().toFloat32()));
    if (!(error <= bench.tolerance))
      throw new MachineError(`${bench.name}: wrong by ${error}: no timing of a wrong result`);
    const before = process.cpuUsage();
    const { median, runs } = await sample(gpu, bench);
    const used = process.cpuUsage(before);
    const row = {
      kernel: bench.name,
      value: bench.work / median / 1e9,
      unit: bench.unit,
      milliseconds: median * 1e3,
      error,
      cpuSeconds: (used.user + used.system) / 1e6 / runs,
    };
    rows.push(row);
    if (!json)
      process.stdout.write(
        `${row.kernel.padEnd(48)}${row.value.toFixed(1).padStart(8)} ${row.unit.padEnd(8)}${row.milliseconds.toFixed(2).padStart(9)} ms  ${row.cpuSeconds.toFixed(3)} cpu-s  error ${row.error.toExponential(1)}\n`,
      );
  }
  if (json)
    process.stdout.write(
      `${JSON.stringify({ suite: 'kernels', adapter: name, driver: gpu.capabilities.driver, date, rows })}\n`,
    );
  await gpu.close();
  return 0;
}

/** Median seconds of one run. */
function sample(gpu: Gpu, bench: KernelBench): Promise<{ median: number; runs: number }> {
  return new Promise((resolve, reject) => {
    let runs = 0;
    new Benchmark(bench.name, {
      defer: true,
      minSamples: 5,
      maxTime: 1,
      fn(deferred: { resolve(): void }) {
        runs++;
        scope(async () => {
          bench.run();
          await gpu.finish();
        }).then(() => deferred.resolve(), reject);
      },
      onComplete(event: { target: { stats?: { sample: number[] } } }) {
        const times = [...(event.target.stats?.sample ?? [])].sort((a, b) => a - b);
        resolve({ median: times[Math.floor(times.length / 2)]!, runs });
      },
      onError(event: { target: { error?: Error } }) {
        reject(event.target.error);
      },
    }).run({ async: true });
  });
}
