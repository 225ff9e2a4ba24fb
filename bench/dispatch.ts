/**
 * `dawntune bench dispatch`: what the host pays for a dispatch, from `Shader.launch` down to Dawn, in microseconds; beside
 * it the same calls of WebGPU with nothing around them. Nothing is waited for while the host is measured, and kernels are
 * next to nothing. `null` is Dawn's device that computes nothing, so that no driver's threads disturb the host.
 */
import { parseToldFlags } from '../src/console/told-flags.js';
import { Gpu, type ShaderSource } from '../src/gpu/gpu.js';
import { byRows, type Operand, whole } from '../src/kernels/launch/operands.js';
import { Shader } from '../src/kernels/launch/shader.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { dispatchFlags } from './options.js';

const BINDINGS = [1, 3, 7] as const;
/** A round is a few submissions long; the median of the rounds counts. */
const DISPATCHES = 512;
const ROUNDS = 31;
const ROWS = 8;

export interface DispatchRow {
  /** The adapter's name, or `null-backend`. */
  readonly device: string;
  /** `launch`: operands that may be cut; `run`: operands as they are; `raw`: WebGPU's own calls. */
  readonly path: 'launch' | 'run' | 'raw';
  readonly bindings: number;
  /** One pipeline, or two in turns; either way the operands are others than those of the dispatch before. */
  readonly pipelines: 'same' | 'alternating';
  /** Microseconds of the host for each dispatch, submission included: median, and the middle half of the rounds. */
  readonly hostMicroseconds: number;
  readonly spread: readonly [number, number];
  /** Microseconds until the GPU has finished, for each dispatch. */
  readonly endToEndMicroseconds: number;
}

interface Work {
  readonly shader: Shader<{ rows: 'u32'; scale: 'f32' }>;
  readonly tensors: Tensor[];
}

/** A kernel of `bindings` operands that adds the others to the last one, eight values each. */
function kernel(bindings: number, which: number): Work['shader'] {
  const names = Array.from({ length: bindings }, (_, i) => (i === bindings - 1 ? 'ioY' : `X${i}`));
  return new Shader({
    label: `sum of ${bindings - 1}, ${which}`,
    params: { rows: 'u32', scale: 'f32' } as const,
    buffers: Object.fromEntries(names.map((name) => [name, 'array<f32>'])),
    body: `@compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < p.rows) { ioY[id.x] += p.scale * (${[...names.slice(0, -1).map((name) => `${name}[id.x]`), `${which}.0`].join(' + ')}); }
}`,
  });
}

/** Written out, as kernels write them. */
function operandsOf(tensors: readonly Tensor[]): Record<string, Operand> {
  const [a, b, c, d, e, f, g] = tensors as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
  if (tensors.length === 1) return { ioY: byRows(a) };
  if (tensors.length === 3) return { X0: byRows(a), X1: whole(b), ioY: byRows(c) };
  return {
    X0: byRows(a),
    X1: whole(b),
    X2: byRows(c),
    X3: byRows(d),
    X4: byRows(e),
    X5: byRows(f),
    ioY: byRows(g),
  };
}

const PARAMETERS = { rows: ROWS, scale: 1 };
const parametersOf = () => PARAMETERS;
const gridOf = () => 1;

/** Dispatches `count` times and returns what submits the rest. */
type Dispatcher = (count: number) => void;

function dispatcher(gpu: Gpu, path: DispatchRow['path'], works: readonly Work[]): Dispatcher {
  if (path === 'run')
    return (count) => {
      for (let i = 0; i < count; i++) {
        const { shader, tensors } = works[i % works.length]!;
        shader.run(gpu, tensors, PARAMETERS, [1]);
      }
      gpu.flush();
    };
  if (path === 'launch')
    return (count) => {
      for (let i = 0; i < count; i++) {
        const { shader, tensors } = works[i % works.length]!;
        shader.launch(gpu, operandsOf(tensors), parametersOf, gridOf);
      }
      gpu.flush();
    };
  return rawDispatcher(gpu, works);
}

/** What is left when nobody checks, keeps or counts anything. */
function rawDispatcher(gpu: Gpu, works: readonly Work[]): Dispatcher {
  const { device } = gpu;
  const made = new Map<string, GPUComputePipeline>();
  const pipelineOf = ({ wgsl }: ShaderSource): GPUComputePipeline => {
    const module = device.createShaderModule({ code: wgsl });
    const pipeline = made.get(wgsl) ?? device.createComputePipeline({ layout: 'auto', compute: { module } });
    made.set(wgsl, pipeline);
    return pipeline;
  };
  const ready = works.map(({ shader, tensors }) => {
    const pipeline = pipelineOf(shader.source);
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: tensors.map((tensor, binding) => {
        const { entry, offset, size } = tensor.binding();
        return { binding, resource: { buffer: entry.buffer, offset, size } };
      }),
    });
    return { pipeline, group };
  });
  const words = Uint32Array.of(ROWS, 0x3f800000).buffer;
  return (count) => {
    for (let start = 0; start < count; start += 128) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass() as GPUComputePassEncoder & {
        setImmediates(offset: number, data: ArrayBuffer): void;
      };
      for (let i = start; i < Math.min(count, start + 128); i++) {
        const { pipeline, group } = ready[i % ready.length]!;
        if (made.size > 1 || i === start) pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.setImmediates(0, words);
        pass.dispatchWorkgroups(1);
      }
      pass.end();
      device.queue.submit([encoder.finish()]);
    }
  };
}

/** Host time and time to the end, of every path and number of bindings, on the device. */
async function measureDispatch(gpu: Gpu): Promise<DispatchRow[]> {
  const rows: DispatchRow[] = [];
  for (const bindings of BINDINGS)
    for (const pipelines of ['same', 'alternating'] as const)
      await scope(async () => {
        const shaders = [0, pipelines === 'same' ? 0 : 1].map((which) => kernel(bindings, which));
        const works = shaders.map((shader) => ({
          shader: pipelines === 'same' ? shaders[0]! : shader,
          tensors: Array.from({ length: bindings }, () => Tensor.zeros(gpu, [ROWS, 1])),
        }));
        await gpu.finish();
        const paths = (['launch', 'run', 'raw'] as const).map((path) => ({
          path,
          dispatch: dispatcher(gpu, path, works),
          host: [] as number[],
          all: [] as number[],
        }));
        // In turns, so that what else the machine does disturbs all alike; the first rounds warm up.
        for (let round = -3; round < ROUNDS; round++)
          for (const { dispatch, host, all } of paths) {
            const begin = performance.now();
            dispatch(DISPATCHES);
            const dispatched = performance.now();
            await gpu.finish();
            if (round < 0) continue;
            host.push(((dispatched - begin) * 1e3) / DISPATCHES);
            all.push(((performance.now() - begin) * 1e3) / DISPATCHES);
          }
        for (const { path, host, all } of paths) {
          const at = (values: number[], share: number) =>
            values.sort((a, b) => a - b)[Math.floor(share * (values.length - 1))]!;
          rows.push({
            ...{ device: gpu.capabilities.name, path, bindings, pipelines, hostMicroseconds: at(host, 0.5) },
            spread: [at(host, 0.25), at(host, 0.75)],
            endToEndMicroseconds: at(all, 0.5),
          });
        }
      });
  return rows;
}

const line = (row: DispatchRow): string =>
  `${row.path.padEnd(8)}${`${row.bindings}`.padStart(3)} bindings, ${row.pipelines.padEnd(11)} pipelines` +
  `${row.hostMicroseconds.toFixed(2).padStart(9)} µs of the host (${row.spread.map((each) => each.toFixed(2)).join(' to ')})` +
  `${row.endToEndMicroseconds.toFixed(1).padStart(9)} µs to the end`;

export async function benchDispatch(argv: readonly string[]): Promise<number> {
  const { json, adapter } = parseToldFlags(dispatchFlags, argv).values;
  const rows: DispatchRow[] = [];
  const gpu = await Gpu.open(adapter ? { adapter } : {});
  const { name, driver } = gpu.capabilities;
  const date = new Date().toISOString().slice(0, 10);
  for (const device of [gpu, await Gpu.open({ backend: 'null' })])
    try {
      const measured = await measureDispatch(device);
      rows.push(...measured);
      if (!json)
        process.stdout.write(
          `${device.capabilities.name} · ${date}\n${measured.map((row) => `${line(row)}\n`).join('')}`,
        );
    } finally {
      await device.close();
    }
  if (json)
    process.stdout.write(`${JSON.stringify({ suite: 'dispatch', adapter: name, driver, date, rows })}\n`);
  return 0;
}
