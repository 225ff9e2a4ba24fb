/**
 * `dawntune doctor`: what this machine offers, and proof that it computes.
 *
 * Speaks to WebGPU directly, so that it still works when something above the driver does not.
 */
import { createRequire } from 'node:module';
import os from 'node:os';
import { parseDoctorArguments } from '../doctor/arguments.js';
import { openAdapter, subgroupMatrixConfigs } from '../gpu/adapter.js';
import { type VisibleAdapter, visibleAdapters } from '../gpu/adapter-list.js';
import { cacheFolder, noAdapterError, prepareVulkan } from '../gpu/software-driver.js';
import { GPUBufferUsage, GPUMapMode } from '../gpu/webgpu.js';
import { printable } from '../show.js';
import { ranksTogether } from '../train/ranks/choose-ranks.js';

const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupsPerDimension',
] as const;

/** What each optional feature is good for here, and what happens without it. */
const FEATURES: readonly (readonly [name: string, without: string])[] = [
  ['shader-f16', 'half precision is stored packed and computed in f32'],
  ['subgroups', 'reductions go through workgroup memory'],
  ['timestamp-query', 'profiles show host time only'],
  ['chromium-experimental-subgroup-matrix', 'matrix products run without matrix units'],
];

/**
 * @param args `--adapter <substring>` picks one of the adapters listed.
 * @returns 0 when a dispatch gave the right numbers, else 1.
 * @throws InputError for unknown arguments and for an adapter that is not there; MachineError when there is no adapter.
 */
export async function doctor(args: readonly string[] = []): Promise<number> {
  const { adapter: wanted } = parseDoctorArguments(args);
  const row = (name: string, value: string) => console.log(`${name.padEnd(40)}${value}`);

  const environment = prepareVulkan();
  const webgpu = createRequire(import.meta.url)('webgpu/package.json') as { version: string };
  row('node', `${process.version}, ${os.platform()} ${os.release()} ${os.arch()}, webgpu ${webgpu.version}`);
  row('processor', `${os.availableParallelism()} × ${os.cpus()[0]?.model ?? 'unknown'}`);
  row('memory', `${bytes(os.totalmem())}, ${bytes(os.freemem())} free`);
  row('cache folder', cacheFolder());
  row('drivers', environment.description);

  const adapters = await visibleAdapters();
  if (adapters.length === 0) throw noAdapterError();
  for (const adapter of adapters) row(`adapter ${adapter.index}`, describe(adapter));
  row('ranks', ranksTogether(adapters, os.availableParallelism()));

  const { adapter } = await openAdapter(wanted ? { adapter: wanted } : {});
  const { info } = adapter;
  row('chosen', `${info.device || info.vendor}, ${info.description}`);
  for (const limit of LIMITS) {
    const value = adapter.limits[limit];
    row(`  ${limit}`, /Size$/.test(limit) ? bytes(value) : String(value));
  }
  for (const [feature, without] of FEATURES) {
    let value = adapter.features.has(feature) ? 'yes' : `no: ${without}`;
    if (feature === 'subgroups' && adapter.features.has(feature))
      value += `, ${info.subgroupMinSize} to ${info.subgroupMaxSize} invocations`;
    row(`  ${feature}`, value);
  }
  for (const { M, N, K, componentType, resultComponentType } of subgroupMatrixConfigs(info))
    row('  subgroup matrix', `${M}×${N}×${K} ${componentType} → ${resultComponentType}`);

  const problem = await compute(adapter);
  const software = info.isFallbackAdapter;
  row(
    'verdict',
    problem ?? (software ? 'works, on the processor: fit for tests and demos, slow for training' : 'works'),
  );
  return problem ? 1 : 0;
}

/** In words, by Vulkan's kinds. */
const KINDS = {
  discrete: 'discrete GPU',
  integrated: 'integrated GPU',
  virtual: 'GPU of a virtual machine',
  cpu: 'on the processor',
  other: 'of another kind',
} as const;

/** Several cards of one name have its number: it is the name that `--adapters` picks. */
function describe({ name, backend, type, software, pci, uuid }: VisibleAdapter): string {
  const kind = type ? KINDS[type] : software ? KINDS.cpu : undefined;
  return [
    `${printable(name)} (${backend})`,
    ...(kind ? [kind] : []),
    ...(pci ? [`PCI ${pci}`] : []),
    ...(uuid ? [`UUID ${uuid}`] : []),
  ].join(', ');
}

function bytes(value: number): string {
  const [unit, size] =
    value >= 2 ** 30
      ? (['GiB', 2 ** 30] as const)
      : value >= 2 ** 20
        ? (['MiB', 2 ** 20] as const)
        : (['KiB', 2 ** 10] as const);
  return `${Number((value / size).toFixed(1))} ${unit}`;
}

const COUNT = 1000;

/** Squares numbers on the adapter; undefined when all are right, else what went wrong. */
async function compute(adapter: GPUAdapter): Promise<string | undefined> {
  let device: GPUDevice | undefined;
  try {
    device = await adapter.requestDevice();
    const module = device.createShaderModule({
      code: /* wgsl */ `
        @group(0) @binding(0) var<storage, read_write> squares: array<u32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
          if (id.x < arrayLength(&squares)) { squares[id.x] = id.x * id.x; }
        }`,
    });
    const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module } });
    const size = COUNT * 4;
    const squares = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
    const readable = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer: squares } }],
    });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(Math.ceil(COUNT / 64));
    pass.end();
    encoder.copyBufferToBuffer(squares, 0, readable, 0, size);
    device.queue.submit([encoder.finish()]);
    await readable.mapAsync(GPUMapMode.READ);
    const wrong = new Uint32Array(readable.getMappedRange()).findIndex((value, i) => value !== i * i);
    readable.unmap();
    return wrong < 0 ? undefined : `does not work: element ${wrong} of a test dispatch is wrong`;
  } catch (error) {
    return `does not work: ${(error as Error).message.split('\n')[0]}`;
  } finally {
    device?.destroy();
    await device?.lost;
  }
}
