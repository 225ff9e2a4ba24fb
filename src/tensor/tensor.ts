/**
 * Tensor: a shape and a dtype over a range of a pooled GPU buffer.
 *
 * Row-major and contiguous; reshapes and aligned row ranges share storage. Storage is counted by its handles:
 * scopes drop theirs at their end, the tape holds its own for what a gradient needs.
 */
import { MachineError, ShapeError } from '../errors.js';
import type { Binding, Gpu, PoolBuffer, Purpose } from '../gpu/gpu.js';
import { f16ToF32 } from './dtype.js';
import { adopt, type Disposable, disown } from './scope.js';
import { asRows, formatShape, type Shape, sizeOf } from './shape.js';

export type DType = 'f32' | 'f16' | 'i32' | 'u32';

export const bytesPerElement: Record<DType, number> = { f32: 4, f16: 2, i32: 4, u32: 4 };

/** Bound ranges are rounded up to whole vec4s; every allocation has the room. */
const BINDING_GRANULE = 16;

class Storage {
  references = 1;
  constructor(
    readonly gpu: Gpu,
    readonly entry: PoolBuffer,
  ) {}

  retain(): void {
    if (this.references === 0) throw new MachineError('use of a tensor that was already freed');
    this.references++;
  }

  release(): void {
    if (--this.references === 0) this.gpu.pool.release(this.entry);
  }
}

/** How a tensor was computed; `src/autograd` owns the meaning. Counted by the handles and nodes that lead to it. */
export interface TapeNode {
  readonly id: number;
  retain(): void;
  release(): void;
}

/** Gradient of some rows of a table: `values` [rows.length, C], `rows` distinct and ascending. */
export interface RowGradient {
  readonly rows: Uint32Array;
  readonly values: Tensor;
}

export class Tensor {
  /** Asks for a gradient when the tensor is a leaf. */
  requiresGrad = false;
  /** How it was computed, when a gradient may flow through it. */
  node: TapeNode | undefined;
  /** Gradient of a leaf after `backward`; added to when it exists already. */
  grad: Tensor | undefined;
  /** f16 copy that f16 products read instead of this f32 weight; whoever changes the weight keeps it current. */
  half: Tensor | undefined;
  /** Set to `[]` on a leaf table to collect its gradient by rows instead of densely. */
  rowGradients: RowGradient[] | undefined;
  owner: Set<Disposable> | undefined;
  private disposed = false;

  private constructor(
    private readonly storage: Storage,
    readonly shape: Shape,
    readonly dtype: DType,
    private readonly byteOffset: number,
  ) {
    adopt(this);
  }

  // ---- making ----------------------------------------------------------------------------------------------

  /** Uninitialised memory; kernels write all of it. */
  static empty(gpu: Gpu, shape: Shape, dtype: DType = 'f32', purpose: Purpose = 'activations'): Tensor {
    for (const extent of shape)
      if (!Number.isInteger(extent) || extent < 0)
        throw new ShapeError('tensor', `bad shape ${formatShape(shape)}`);
    const bytes = Math.max(BINDING_GRANULE, sizeOf(shape) * bytesPerElement[dtype]);
    const entry = gpu.pool.allocate(Math.ceil(bytes / BINDING_GRANULE) * BINDING_GRANULE, purpose);
    return new Tensor(new Storage(gpu, entry), [...shape], dtype, 0);
  }

  static zeros(gpu: Gpu, shape: Shape, dtype: DType = 'f32', purpose: Purpose = 'activations'): Tensor {
    const tensor = Tensor.empty(gpu, shape, dtype, purpose);
    gpu.clear(tensor.binding());
    return tensor;
  }

  /** Host data in the tensor's dtype (`f16` takes raw halves as Uint16Array). */
  static from(
    gpu: Gpu,
    data: Float32Array | Int32Array | Uint32Array | Uint16Array | readonly number[],
    shape: Shape,
    dtype: DType = 'f32',
    purpose: Purpose = 'activations',
  ): Tensor {
    if (data.length !== sizeOf(shape))
      throw new ShapeError('tensor', `${data.length} values for shape ${formatShape(shape)}`);
    const tensor = Tensor.empty(gpu, shape, dtype, purpose);
    if (data.length > 0)
      gpu.upload(tensor.binding(), ArrayBuffer.isView(data) ? data : hostArray(dtype, data));
    return tensor;
  }

  static scalar(gpu: Gpu, value: number): Tensor {
    return Tensor.from(gpu, [value], []);
  }

  // ---- looking -----------------------------------------------------------------------------------------------

  get gpu(): Gpu {
    return this.storage.gpu;
  }

  get size(): number {
    return sizeOf(this.shape);
  }

  get bytes(): number {
    return this.size * bytesPerElement[this.dtype];
  }

  /** Rows when everything but the last dimension is rows. */
  get rows(): number {
    return asRows(this.shape).rows;
  }

  /** Extent of the last dimension. */
  get cols(): number {
    return asRows(this.shape).cols;
  }

  /** The range a kernel binds, rounded up to whole vec4s. */
  binding(): Binding {
    this.check();
    return {
      entry: this.storage.entry,
      offset: this.byteOffset,
      size: Math.max(BINDING_GRANULE, Math.ceil(this.bytes / BINDING_GRANULE) * BINDING_GRANULE),
    };
  }

  /** A binding of `count` elements from element `start`; its offset must be aligned for the adapter. */
  bindingRange(start: number, count: number): Binding {
    this.check();
    const width = bytesPerElement[this.dtype];
    return {
      entry: this.storage.entry,
      offset: this.byteOffset + start * width,
      size: Math.ceil((count * width) / BINDING_GRANULE) * BINDING_GRANULE,
      dtype: this.dtype,
    };
  }

  /** Reads the tensor back as Float32Array / Int32Array / Uint32Array (f16: Uint16Array of raw halves). */
  async toArray(): Promise<Float32Array | Int32Array | Uint32Array | Uint16Array> {
    this.check();
    if (this.size === 0) return hostArray(this.dtype, []);
    const buffer = await this.gpu.read({
      entry: this.storage.entry,
      offset: this.byteOffset,
      size: this.bytes,
    });
    switch (this.dtype) {
      case 'f32':
        return new Float32Array(buffer);
      case 'i32':
        return new Int32Array(buffer);
      case 'u32':
        return new Uint32Array(buffer);
      case 'f16':
        return new Uint16Array(buffer);
    }
  }

  /** Reads f32 or f16 back as numbers. */
  async toFloat32(): Promise<Float32Array> {
    const data = await this.toArray();
    if (data instanceof Float32Array) return data;
    if (this.dtype === 'f16') return f16ToF32(data as Uint16Array);
    throw new ShapeError('toFloat32', `${formatShape(this.shape)} is ${this.dtype}`);
  }

  /** The one value of a tensor of size 1. */
  async item(): Promise<number> {
    if (this.size !== 1)
      throw new ShapeError('item', `needs one element, shape is ${formatShape(this.shape)}`);
    return (await this.toArray())[0]!;
  }

  // ---- views -------------------------------------------------------------------------------------------------

  /** Same storage, another shape. Not recorded on the tape: `reshape` in `src/autograd` is. */
  view(shape: Shape): Tensor {
    if (sizeOf(shape) !== this.size)
      throw new ShapeError(
        'view',
        `${formatShape(this.shape)} has ${this.size} elements, ${formatShape(shape)} ${sizeOf(shape)}`,
      );
    this.storage.retain();
    return new Tensor(this.storage, [...shape], this.dtype, this.byteOffset);
  }

  /**
   * Same storage from element `start`; undefined when the adapter cannot bind at that offset or whole vec4s do
   * not fit (then copy). `padded`: what follows the range up to whole vec4s is padding that may be bound.
   */
  viewAt(start: number, shape: Shape, padded = false): Tensor | undefined {
    const width = bytesPerElement[this.dtype];
    const offset = this.byteOffset + start * width;
    if (start < 0 || start + sizeOf(shape) > this.size)
      throw new ShapeError(
        'view',
        `elements ${start}..${start + sizeOf(shape)} of ${formatShape(this.shape)}`,
      );
    if (offset % this.gpu.capabilities.bindingAlignment !== 0) return undefined;
    if (!padded && start + sizeOf(shape) < this.size && (sizeOf(shape) * width) % BINDING_GRANULE !== 0)
      return undefined;
    this.storage.retain();
    return new Tensor(this.storage, [...shape], this.dtype, offset);
  }

  /** Another handle to the same tensor, outside the tape. */
  detach(): Tensor {
    return this.view(this.shape);
  }

  // ---- data --------------------------------------------------------------------------------------------------

  /** Overwrites elements from `start` with host data. */
  write(data: Float32Array | Int32Array | Uint32Array | Uint16Array, start = 0): void {
    this.check();
    if (start < 0 || start + data.length > this.size)
      throw new ShapeError('write', `${data.length} values at ${start} of ${formatShape(this.shape)}`);
    const width = bytesPerElement[this.dtype];
    this.gpu.upload(
      { entry: this.storage.entry, offset: this.byteOffset + start * width, size: data.byteLength },
      data,
    );
  }

  /** Copies `source` (same size and dtype) into this tensor. */
  copyFrom(source: Tensor, start = 0): void {
    if (start + source.size > this.size || source.dtype !== this.dtype)
      throw new ShapeError(
        'copy',
        `${formatShape(source.shape)} ${source.dtype} into ${formatShape(this.shape)} ${this.dtype} at ${start}`,
      );
    source.check();
    this.check();
    const width = bytesPerElement[this.dtype];
    // Copies are of whole words; an odd half at the end of both has the room that every allocation has.
    const size = Math.ceil(source.bytes / 4) * 4;
    if ((start * width) % 4 !== 0 || (size > source.bytes && start + source.size < this.size))
      throw new ShapeError(
        'copy',
        `halves are copied in pairs: ${source.size} of them to ${start} of ${formatShape(this.shape)}`,
      );
    this.gpu.copy(
      { entry: source.storage.entry, offset: source.byteOffset, size },
      { entry: this.storage.entry, offset: this.byteOffset + start * width, size },
    );
  }

  fillZero(): void {
    this.check();
    this.gpu.clear({
      entry: this.storage.entry,
      offset: this.byteOffset,
      size: Math.ceil(this.bytes / 4) * 4,
    });
  }

  // ---- life --------------------------------------------------------------------------------------------------

  /** Outlives the scope it was made in; call `dispose` when done (it takes the gradient along). */
  keep(): this {
    disown(this);
    return this;
  }

  /** One more handle to the storage for an owner that outlives scopes (the tape); undo with `releaseStorage`. */
  retainStorage(): void {
    this.storage.retain();
  }

  releaseStorage(): void {
    this.storage.release();
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    disown(this);
    this.node?.release();
    this.node = undefined;
    this.grad?.dispose();
    this.half?.dispose();
    for (const { values } of this.rowGradients ?? []) values.dispose();
    this.storage.release();
  }

  private check(): void {
    if (this.storage.references === 0)
      throw new MachineError(`use of a freed tensor of shape ${formatShape(this.shape)}`);
  }
}

function hostArray(
  dtype: DType,
  data: readonly number[],
): Float32Array | Int32Array | Uint32Array | Uint16Array {
  switch (dtype) {
    case 'f32':
      return new Float32Array(data);
    case 'i32':
      return new Int32Array(data);
    case 'u32':
      return new Uint32Array(data);
    case 'f16':
      return new Uint16Array(data);
  }
}
