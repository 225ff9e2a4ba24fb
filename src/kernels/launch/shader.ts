/**
 * Declaring a shader with its parameters and buffers, keeping one per name and form, and launching it: operands by
 * name, cut where the adapter needs it. Nothing about any one kernel belongs here.
 */
import { MachineError, ShapeError } from '../../errors.js';
import type { Binding, Gpu, RowTexture, ShaderSource, Work } from '../../gpu/gpu.js';
import { bytesPerElement, type DType, type Tensor } from '../../tensor/tensor.js';
import { HALVES } from './formats.js';
import { foldedGrid, type Grid } from './grid.js';
import { type Operand, type Piece, partOf, piecesOf } from './operands.js';

/** Types that a parameter of a kernel can have. */
export type ParamType = 'u32' | 'i32' | 'f32';

export interface ShaderDefinition<P extends Record<string, ParamType>> {
  label: string;
  /** At most 16 scalars; readable in WGSL as `p.name`. They are never constants, so loops stay loops. */
  params: P;
  /**
   * WGSL types in binding order, storage buffers or textures; a name that begins with `out` or `io` is writable, unless
   * `writes` lists those that are. An
   * operand's dtype must be that of the elements: f16 where they are native halves or `Half2`, `Half4`, `Half8`.
   */
  buffers: Record<string, string>;
  writes?: readonly string[];
  /** Where an operand's dtype is not that of the WGSL type: `{ A: 'f16' }` for halves in an `array<vec4u>`. */
  dtypes?: Readonly<Record<string, DType>>;
  subgroups?: boolean;
  /** Further language extensions, e.g. `f16`. */
  enables?: readonly ('f16' | 'chromium_experimental_subgroup_matrix')[];
  /** Module-scope code and `fn main`. */
  body: string;
}

type Operands = Readonly<Record<string, Operand>>;

interface Buffer {
  readonly name: string;
  /** Of a tensor that it may be; undefined for textures. */
  readonly dtype: DType | undefined;
  /** Of a texture that it must be, where the WGSL type tells. */
  readonly format: string | undefined;
}

/** A shader whose parameters are packed by name. */
export class Shader<P extends Record<string, ParamType>> {
  readonly source: ShaderSource;
  private readonly names: (keyof P & string)[];
  private readonly isFloat: readonly boolean[];
  private readonly buffers: readonly Buffer[];
  /** Parameters of the dispatch that is being recorded, which copies them: one array for all. */
  private readonly words: Uint32Array<ArrayBuffer>;
  private readonly floats: Float32Array<ArrayBuffer>;

  constructor(private readonly definition: ShaderDefinition<P>) {
    const { label, dtypes = {} } = definition;
    this.names = Object.keys(definition.params);
    if (this.names.length > 16) throw new RangeError(`${label}: more than 64 bytes of parameters`);
    this.isFloat = this.names.map((name) => definition.params[name] === 'f32');
    this.words = new Uint32Array(new ArrayBuffer(4 * this.names.length));
    this.floats = new Float32Array(this.words.buffer);
    for (const name in dtypes)
      if (!Object.hasOwn(definition.buffers, name))
        throw new RangeError(`${label}: a dtype for ${name}, which is no buffer`);
    const entries = Object.entries(definition.buffers);
    this.buffers = entries.map(([name, type]) => ({
      name,
      dtype: type.startsWith('texture') ? undefined : (dtypes[name] ?? elementType(label, type)),
      format: /^texture_storage_2d<\s*(\w+)/.exec(type)?.[1],
    }));
    const fields = this.names.map((name) => `${name}: ${definition.params[name]}`).join(', ');
    const { writes } = definition;
    const written = (name: string) => (writes ? writes.includes(name) : /^(out|io)/.test(name));
    const buffers = entries.map(([name, type], i) =>
      type.startsWith('texture')
        ? `@group(0) @binding(${i}) var ${name}: ${type};`
        : `@group(0) @binding(${i}) var<storage, ${written(name) ? 'read_write' : 'read'}> ${name}: ${type};`,
    );
    const lines = [
      ...(definition.subgroups ? ['enable subgroups;'] : []),
      ...(definition.enables ?? []).map((name) => `enable ${name};`),
      'requires immediate_address_space;',
      ...(entries.some(([, type]) => type.includes('Half')) ? [HALVES] : []),
      ...(fields ? [`struct Params { ${fields} }`, 'var<immediate> p: Params;'] : []),
      ...buffers,
      definition.body,
    ];
    this.source = { label, wgsl: lines.join('\n'), immediateSize: this.names.length * 4 };
  }

  /**
   * Dispatches once for every piece of the operands, of which there is one where everything fits. `grid`: workgroups of
   * a piece, a number where the kernel takes them as one line (`group.y * groups.x + group.x`) and may be folded. `base`:
   * the element of each operand that its binding begins at, for kernels that see windows. `work`: what a piece computes,
   * which is asked for in profiles only; without it the bytes are known where all operands are cut.
   * @throws ShapeError when the operands are not exactly the buffers, or of other dtypes; MachineError when the least
   * piece fits no binding or no grid.
   */
  launch(
    gpu: Gpu,
    operands: Operands,
    params: (piece: Piece, base: Readonly<Record<string, number>>) => { [K in keyof P]: number },
    grid: (piece: Piece) => Grid,
    work?: (piece: Piece) => Work,
  ): void {
    const { buffers } = this;
    const { maxWorkgroupsPerDimension: limit, maxBindingSize } = gpu.capabilities;
    // Nearly every launch is of one piece: that is found out without allocating anything.
    const units = this.unitsAtOnce(operands, maxBindingSize);
    if (units !== undefined) {
      const piece = { start: 0, count: units, first: true, last: true };
      const groups = foldedGrid(grid(piece), limit);
      if (groups[0] <= limit && groups[1] <= limit && groups[2] <= limit) {
        const parts = new Array<Tensor | Binding | RowTexture>(buffers.length);
        const base: Record<string, number> = {};
        for (let i = 0; i < buffers.length; i++) {
          const { name } = buffers[i]!;
          const seen = partOf(operands[name]!, piece);
          parts[i] = seen.part;
          base[name] = seen.base;
        }
        const computes = gpu.wantsWork ? this.workOf(operands, piece, work) : undefined;
        this.dispatch(gpu, parts, params(piece, base), groups, computes);
        return;
      }
    }
    const folded = (piece: Piece) => foldedGrid(grid(piece), limit);
    const fits = (piece: Piece) => folded(piece).every((count) => count <= limit);
    for (const piece of piecesOf(this.definition.label, gpu, operands, fits)) {
      const parts = buffers.map(({ name }) => partOf(operands[name]!, piece));
      const base: Record<string, number> = {};
      for (const [i, { name }] of buffers.entries()) base[name] = parts[i]!.base;
      this.dispatch(
        gpu,
        parts.map(({ part }) => part),
        params(piece, base),
        folded(piece),
        gpu.wantsWork ? this.workOf(operands, piece, work) : undefined,
      );
    }
  }

  /**
   * The units of the operands where one binding shows each of them whole (1 where none is cut); undefined where not.
   * @throws MachineError when the operands are not exactly the buffers.
   */
  private unitsAtOnce(operands: Operands, maxBindingSize: number): number | undefined {
    let given = 0;
    for (const name in operands) if (operands[name]) given++;
    let units = -1;
    let fits = given === this.buffers.length;
    for (let i = 0; i < this.buffers.length; i++) {
      const operand = operands[this.buffers[i]!.name];
      if (!operand) throw this.otherOperands(operands);
      if ('whole' in operand) continue;
      const own = 'cut' in operand ? operand.cut : operand.window;
      if (units >= 0 && own.units !== units) fits = false;
      units = own.units;
      if (own.tensor.bytes > maxBindingSize - 16) fits = false;
    }
    if (given !== this.buffers.length) throw this.otherOperands(operands);
    return fits ? (units < 0 ? 1 : units) : undefined;
  }

  private workOf(
    operands: Operands,
    piece: Piece,
    work: ((piece: Piece) => Work) | undefined,
  ): Work | undefined {
    if (work) return work(piece);
    let bytes = 0;
    for (const { name } of this.buffers) {
      const operand = operands[name]!;
      if (!('cut' in operand)) return undefined;
      const { tensor, width, size } = operand.cut;
      const seen = Math.min(piece.count * width, size) * bytesPerElement[tensor.dtype];
      bytes += name.startsWith('io') ? 2 * seen : seen;
    }
    return { bytes };
  }

  private otherOperands(operands: Operands): MachineError {
    const wanted = this.buffers.map(({ name }) => name);
    return new MachineError(
      `${this.definition.label}: operands ${Object.keys(operands).join(', ')} for the buffers ${wanted.join(', ')}`,
    );
  }

  /** One dispatch of operands in binding order. */
  run(
    gpu: Gpu,
    tensors: readonly (Tensor | Binding | RowTexture)[],
    params: { [K in keyof P]: number },
    grid: readonly [number, number?, number?],
    work?: Work,
  ): void {
    this.dispatch(gpu, tensors, params, grid, work);
  }

  private dispatch(
    gpu: Gpu,
    parts: readonly (Tensor | Binding | RowTexture)[],
    params: { [K in keyof P]: number },
    grid: readonly [number, number?, number?],
    work: Work | undefined,
  ): void {
    const { names, words, floats } = this;
    for (let i = 0; i < names.length; i++) {
      const value = params[names[i]!];
      if (this.isFloat[i]) floats[i] = value;
      else words[i] = value;
    }
    this.checkTypes(parts);
    const bindings = new Array<Binding | RowTexture>(parts.length);
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i]!;
      bindings[i] = 'binding' in part ? part.binding() : part;
    }
    gpu.dispatch(this.source, bindings, words, grid, work);
  }

  /** Bits of one format read as another would be a wrong number without any error. */
  private checkTypes(parts: readonly (Tensor | Binding | RowTexture)[]): void {
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i]!;
      const { dtype, format } = this.buffers[i]!;
      if ('texture' in part) {
        if (dtype !== undefined) this.refuse(i, part, 'a texture');
        if (format !== undefined && !part.kind.startsWith(`${format} `))
          this.refuse(i, part, part.kind.split(' ')[0]!);
      } else if (dtype === undefined) this.refuse(i, part, 'a buffer');
      else if ('dtype' in part && part.dtype !== undefined && part.dtype !== dtype)
        this.refuse(i, part, part.dtype);
    }
  }

  private refuse(i: number, part: Tensor | Binding | RowTexture, found: string): never {
    const { name, dtype, format } = this.buffers[i]!;
    throw new ShapeError(
      this.definition.label,
      `works on ${dtype ?? format ?? 'a texture'} here, operand ${name}${'shape' in part ? ` [${part.shape}]` : ''} is ${found}`,
    );
  }
}

/** Of a tensor that a buffer of this WGSL type may be. */
function elementType(label: string, type: string): DType {
  if (/Half|\bf16\b|\bvec\dh\b/.test(type)) return 'f16';
  if (/\bu32\b|\bvec\du\b/.test(type)) return 'u32';
  if (/\bi32\b|\bvec\di\b/.test(type)) return 'i32';
  if (/\bf32\b|\bvec\df\b/.test(type)) return 'f32';
  throw new RangeError(`${label}: of what dtype a ${type} is must be said in "dtypes"`);
}

type AnyShader = Shader<Record<string, ParamType>>;
const shaders = new Map<string, AnyShader>();

/**
 * The shader of a name and a form, built once. `build` sees nothing but the form, a plain object of scalars, so that the
 * key names everything that the source depends on.
 */
export function shaderOf<F extends object, P extends Record<string, ParamType>>(
  name: string,
  form: F,
  build: (form: F) => ShaderDefinition<P>,
): Shader<P> {
  // As formKey, but in the order in which the form has its values: every launch comes by here.
  let key = name;
  for (const field in form) if (form[field] !== undefined) key += ` ${field}=${form[field]}`;
  let shader = shaders.get(key);
  if (!shader || rebuilds) {
    const built = new Shader(build(form)) as unknown as AnyShader;
    if (shader && shader.source.wgsl !== built.source.wgsl)
      throw new Error(`shader ${key}: its source depends on more than its form`);
    shader ??= built;
    shaders.set(key, shader);
  }
  return shader as unknown as Shader<P>;
}

let rebuilds = false;

/** For tests: builds every source anew whenever it is asked for, and throws where it differs from the one that is kept. */
export function rebuildShaders(on: boolean): void {
  rebuilds = on;
}
