/**
 * What all kernel families share: declaring a shader with its parameters and buffers, choosing grids, and
 * the reduction across the lanes of a row. Nothing about any one kernel belongs here.
 */
import type { Capabilities } from '../gpu/capabilities.js';
import type { Binding, Gpu, RowTexture, ShaderSource } from '../gpu/gpu.js';
import type { Tensor } from '../tensor/tensor.js';

type ParamType = 'u32' | 'i32' | 'f32';

export interface ShaderDefinition<P extends Record<string, ParamType>> {
  label: string;
  /** At most 16 scalars; readable in WGSL as `p.name`. They are never constants, so loops stay loops. */
  params: P;
  /** WGSL types in binding order, storage buffers or textures; a name that begins with `out` or `io` is writable. */
  buffers: Record<string, string>;
  subgroups?: boolean;
  /** Module-scope code and `fn main`. */
  body: string;
}

/** A shader whose parameters are packed by name. */
export class Shader<P extends Record<string, ParamType>> {
  readonly source: ShaderSource;
  private readonly names: (keyof P & string)[];

  constructor(private readonly definition: ShaderDefinition<P>) {
    this.names = Object.keys(definition.params);
    if (this.names.length > 16) throw new RangeError(`${definition.label}: more than 64 bytes of parameters`);
    const fields = this.names.map((name) => `${name}: ${definition.params[name]}`).join(', ');
    const buffers = Object.entries(definition.buffers).map(([name, type], i) =>
      type.startsWith('texture')
        ? `@group(0) @binding(${i}) var ${name}: ${type};`
        : `@group(0) @binding(${i}) var<storage, ${/^(out|io)/.test(name) ? 'read_write' : 'read'}> ${name}: ${type};`,
    );
    const lines = [
      ...(definition.subgroups ? ['enable subgroups;'] : []),
      'requires immediate_address_space;',
      ...(fields ? [`struct Params { ${fields} }`, 'var<immediate> p: Params;'] : []),
      ...buffers,
      definition.body,
    ];
    this.source = { label: definition.label, wgsl: lines.join('\n'), immediateSize: this.names.length * 4 };
  }

  run(
    gpu: Gpu,
    tensors: readonly (Tensor | Binding | RowTexture)[],
    params: { [K in keyof P]: number },
    grid: readonly [number, number?, number?],
  ): void {
    const words = new Uint32Array(this.names.length);
    const floats = new Float32Array(words.buffer);
    this.names.forEach((name, i) => {
      if (this.definition.params[name] === 'f32') floats[i] = params[name];
      else words[i] = params[name];
    });
    const bindings = tensors.map((tensor) => ('binding' in tensor ? tensor.binding() : tensor));
    gpu.dispatch(this.source, bindings, words, grid);
  }
}

const shaders = new Map<string, Shader<Record<string, ParamType>>>();

/** The shader for `key`, built once. Keys name everything the source depends on. */
export function shaderOf<P extends Record<string, ParamType>>(
  key: string,
  build: () => ShaderDefinition<P>,
): Shader<P> {
  let shader = shaders.get(key);
  if (!shader) {
    shader = new Shader(build()) as unknown as Shader<Record<string, ParamType>>;
    shaders.set(key, shader);
  }
  return shader as unknown as Shader<P>;
}

/** Threads of a workgroup in one-thread-per-item kernels. */
export const FLAT_WORKGROUP = 256;

/** Workgroups for `items` flat items, folded into two dimensions; pair with `FLAT_INDEX`. */
export function flatGrid(items: number, perWorkgroup = FLAT_WORKGROUP): [number, number] {
  const groups = Math.ceil(items / perWorkgroup);
  if (groups <= 65535) return [groups, 1];
  const x = Math.ceil(Math.sqrt(groups));
  return [x, Math.ceil(groups / x)];
}

/** Entry of a flat kernel: defines `i`, the item; the body must check it against its own bound. */
export const FLAT_MAIN = `
@compute @workgroup_size(${FLAT_WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * ${FLAT_WORKGROUP}u + local;
`;

/** Workgroup count for `rows` rows, folded like `flatGrid`. */
export function rowGrid(rows: number): [number, number] {
  return flatGrid(rows, 1);
}

export interface RowReduction {
  /** Lanes that share a row; also the workgroup size. */
  readonly lanes: number;
  readonly subgroups: boolean;
  /** Distinguishes the variant in shader keys. */
  readonly key: string;
  /** WGSL: `LANES`, `rowSum(f32, lane)`, `rowMax(f32, lane)` and `rowMain`, the head of an entry with `row` and `lane`. */
  readonly prelude: string;
}

/**
 * One workgroup a row. On lavapipe 8 lanes reduce within their subgroup; elsewhere 64 threads reduce through
 * workgroup memory, which is right for any subgroup size.
 */
export function rowReduction(caps: Capabilities): RowReduction {
  const entry = (lanes: number) => `
const LANES = ${lanes}u;
`;
  if (caps.subgroup8)
    return {
      lanes: 8,
      subgroups: true,
      key: 's8',
      prelude: `${entry(8)}
fn rowSum(v: f32, lane: u32) -> f32 { return subgroupAdd(v); }
fn rowMax(v: f32, lane: u32) -> f32 { return subgroupMax(v); }`,
    };
  const tree = (name: string, combine: string) => `
fn ${name}(v: f32, lane: u32) -> f32 {
  scratch[lane] = v;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (lane < s) { let a = scratch[lane]; let b = scratch[lane + s]; scratch[lane] = ${combine}; }
    workgroupBarrier();
  }
  let result = scratch[0];
  workgroupBarrier();
  return result;
}`;
  return {
    lanes: 64,
    subgroups: false,
    key: 'w64',
    prelude: `${entry(64)}
var<workgroup> scratch: array<f32, 64>;
${tree('rowSum', 'a + b')}
${tree('rowMax', 'max(a, b)')}`,
  };
}

/** Entry of a row kernel: defines `row` and `lane`, and leaves when the row does not exist (all lanes alike). */
export function rowMain(reduction: RowReduction, rows: string): string {
  return `
@compute @workgroup_size(${reduction.lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= ${rows}) { return; }
`;
}
