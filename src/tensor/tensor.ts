/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Tensor: a shape and a dtype over a range of a pooled GPU buffer.
 *
 * Row-major and contiguous; reshapes and aligned row ranges share storage. Storage is counted by its handles:
 * scopes drop theirs at their end, the tape holds its own for what a gradient needs. One class, and so one file: what it is to
 * training (LeafRole) and it name each other.
 */
import { ShapeError } from '../errors.js';
import type { Binding, Gpu, Purpose } from '../gpu/gpu.js';
import { Version } from '../gpu/version.js';
import { show } from '../show.js';
import { f16ToF32 } from './dtype.js';
import { clearElements, copyElements, type Elements, writeElements } from './halves.js';
import {
  type ArrayOf,
  arrayOf,
  bytesPerElement,
  checkDType,
  type DType,
  deviceWords,
  dtypeOf,
  type HostData,
  type TensorArray,
  toTensorArray,
} from './host-data.js';
import { type NestedValues, nest } from './nested.js';
import { adopt, type Disposable, disown, isTaped, noteRead } from './scope.js';
import { asRows, checkShape, formatShape, type Shape, sizeOf } from './shape.js';
import { Handle, Storage } from './storage.js';

export { bytesPerElement, type DType };

/** Bound ranges are rounded up to whole vec4s; every allocation has the room. */
const BINDING_GRANULE = 16;

/** Elements at which parts of a flat tensor begin: halves too can be bound there on every adapter. */
const SLOT_GRANULE = 128;

/** How a tensor was computed; `src/autograd` owns the meaning. Counted by the handles and nodes that lead to it. */
export interface TapeNode {
  /** Ascending in the order of recording: an operand's is less than its result's. */
  readonly id: number;
  /** Of the operation. */
  readonly name: string;
  /** One more handle or node leads to it. */
  retain(): void;
  /** One less; with the last it lets go what it keeps for its gradient. */
  release(): void;
}

/** Where every gradient that reaches a leaf arrives; `src/autograd/gradients.ts` has the forms. */
export interface GradientSink {
  /** The gradient so far, when it is dense: kernels may add to it themselves. */
  readonly into: Tensor | undefined;
  /** Wants the gradient of a gather by rows. */
  readonly byRows: boolean;
  /** Adds a gradient of as many elements as the leaf has. */
  add(part: Tensor): void;
  /** Adds `values` [rows.length, C] to distinct, ascending rows; the sink keeps `values` and owns them. */
  addRows(rows: Uint32Array, values: Tensor): void;
  /** A backward that brought some has ended: what it brought in parts can be added up. */
  settle(): void;
  /** The whole gradient as one tensor of the leaf's shape; undefined when there is none. */
  dense(): Tensor | undefined;
  /** This gradient, of the leaf's shape, or none, instead of what there is. */
  set(gradient: Tensor | undefined): void;
  /** Back to no gradient. */
  clear(): void;
  /** Frees what it holds. */
  dispose(): void;
}

/** What a tensor is to training, be it a model's parameter or a leaf of its own; `src/autograd` owns the meaning. */
export interface LeafRole {
  /** Asks for a gradient. */
  readonly trains: boolean;
  /** Undefined: it was made not to train. */
  readonly gradient: GradientSink | undefined;
  /** @throws ShapeError when it cannot. */
  train(on: boolean): void;
  /** @throws ShapeError when it is no gradient of this leaf. */
  setGradient(gradient: Tensor | undefined): void;
  /** The f16 copy for products as the weight is now; undefined when it has none. */
  half(): Tensor | undefined;
  /** Frees the gradient; the tensor is gone. */
  dispose(): void;
}

let makeLeaf: ((tensor: Tensor) => LeafRole) | undefined;

/** What gives tensors their part in training: `src/autograd`, which stands above and can only say so when it is loaded. */
export function makeLeavesWith(make: (tensor: Tensor) => LeafRole): void {
  makeLeaf = make;
}

function leafOf(tensor: Tensor): LeafRole {
  if (!makeLeaf) throw new ShapeError('requiresGrad', 'nothing that differentiates was loaded', { tensor });
  tensor.role ??= makeLeaf(tensor);
  return tensor.role;
}

/**
 * Numbers on a device: a shape, a format and memory without gaps, row-major. Operations are methods of it and functions of the
 * same names; `scope` or `dispose` frees its memory.
 */
export class Tensor extends Handle {
  /** How it was computed, when a gradient may flow through it. */
  node: TapeNode | undefined;
  /** What it is to training; undefined as long as no gradient was ever asked of it. */
  role: LeafRole | undefined;
  /** A name for people, in `gpu.tensors()` and printing; views have none. */
  label: string | undefined;
  /** The scope that frees it; undefined for what is kept. */
  owner: Set<Disposable> | undefined;
  private disposed = false;
  /** Kept, since most tensors are bound more than once. */
  private bound: Binding | undefined;
  private elements: number | undefined;

  private constructor(
    private readonly storage: Storage,
    /** Extents of the axes; [] of a scalar. */
    readonly shape: Shape,
    /** The format of its numbers. */
    readonly dtype: DType,
    private readonly byteOffset: number,
    /** Counts the writes; shared by all views. */
    readonly version: Version,
  ) {
    super();
    adopt(this);
    storage.gpu.live?.made(this, storage);
  }

  // ---- making ----------------------------------------------------------------------------------------------

  /** Uninitialised memory; kernels write all of it. */
  static empty(gpu: Gpu, shape: Shape, dtype: DType = 'f32', purpose: Purpose = 'activations'): Tensor {
    checkDType(dtype);
    checkShape('tensor', shape);
    const bytes = Math.max(BINDING_GRANULE, sizeOf(shape) * bytesPerElement[dtype]);
    const entry = gpu.pool.allocate(Math.ceil(bytes / BINDING_GRANULE) * BINDING_GRANULE, purpose);
    return new Tensor(new Storage(gpu, entry), [...shape], dtype, 0, Version.start());
  }

  /** Zeros, or false. @throws ShapeError for what is no shape. */
  static zeros(gpu: Gpu, shape: Shape, dtype: DType = 'f32', purpose: Purpose = 'activations'): Tensor {
    const tensor = Tensor.empty(gpu, shape, dtype, purpose);
    gpu.clear(tensor.binding());
    return tensor;
  }

  /**
   * Host data, by default in its own format: Float32Array f32, Int32Array i32, Uint32Array u32, Uint16Array f16 (raw
   * halves), Uint8Array bool, numbers and Float64Array f32, booleans bool. Numbers are converted to any other that has them.
   * @throws TypeError naming both when the data does not fit `dtype`.
   */
  static from(
    gpu: Gpu,
    data: HostData,
    shape: Shape,
    dtype: DType = dtypeOf(data),
    purpose: Purpose = 'activations',
  ): Tensor {
    checkDType(dtype);
    const array = toTensorArray('tensor', dtype, data);
    checkShape('tensor', shape);
    if (array.length !== sizeOf(shape))
      throw new ShapeError('tensor', `${array.length} values for shape ${formatShape(shape)}`);
    const tensor = Tensor.empty(gpu, shape, dtype, purpose);
    if (array.length > 0) gpu.upload(tensor.binding(), deviceWords(array));
    return tensor;
  }

  /** One number as an f32 tensor of shape []. */
  static scalar(gpu: Gpu, value: number): Tensor {
    return Tensor.from(gpu, [value], []);
  }

  // ---- looking -----------------------------------------------------------------------------------------------

  /** The device that its memory is of. */
  get gpu(): Gpu {
    return this.storage.gpu;
  }

  /** Number of elements: the product of the shape. */
  get size(): number {
    this.elements ??= sizeOf(this.shape);
    return this.elements;
  }

  /** Bytes of its elements; the memory that is taken may be rounded up. */
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

  /** Whether its memory was given back: nothing but its shape and dtype is left. */
  get freed(): boolean {
    return this.storage.references === 0;
  }

  /** Whether it lies in the same buffer, be it in another part of that. */
  sharesStorage(other: Tensor): boolean {
    return this.storage === other.storage;
  }

  /** The range a kernel binds, rounded up to whole vec4s. */
  binding(): Binding {
    this.check('binding');
    this.bound ??= {
      ...this.whole(),
      size: Math.max(BINDING_GRANULE, Math.ceil(this.bytes / BINDING_GRANULE) * BINDING_GRANULE),
    };
    return this.bound;
  }

  /** A binding of `count` elements from element `start`; its offset must be aligned for the adapter. */
  bindingRange(start: number, count: number): Binding {
    this.check('binding');
    const width = bytesPerElement[this.dtype];
    return {
      ...this.whole(),
      // Of nothing too something is bound, of which nothing is read: the beginning, which is always there.
      offset: this.byteOffset + (count === 0 ? 0 : start * width),
      size: Math.max(BINDING_GRANULE, Math.ceil((count * width) / BINDING_GRANULE) * BINDING_GRANULE),
      dtype: this.dtype,
    };
  }

  /**
   * Reads the tensor back as Float32Array, Int32Array, Uint32Array, Uint16Array (f16, raw halves) or Uint8Array (bool);
   * with a dtype as the array of that. @throws ShapeError when the tensor is of another.
   */
  async toArray(): Promise<TensorArray>;
  async toArray<D extends DType>(dtype: D): Promise<ArrayOf[D]>;
  async toArray(dtype?: DType): Promise<TensorArray> {
    if (dtype !== undefined && dtype !== this.dtype)
      throw new ShapeError('toArray', `is ${this.dtype}, not ${show(dtype)}`, { tensor: this });
    return this.beginRead().wait();
  }

  /** Its values in nested lists as deep as it has dimensions: f16 as numbers, bools as booleans. */
  async toNested(): Promise<NestedValues> {
    return nest(this.dtype, await this.toArray(), this.shape);
  }

  /** What `toArray` reads, as it is after the work so far; it is waited for only when it is asked for, which is once. */
  beginRead(): {
    /** The values, once the device is done. */
    wait(): Promise<TensorArray>;
  } {
    this.check('read');
    const { dtype, size } = this;
    if (size === 0) return { wait: async () => toTensorArray('toArray', dtype, []) };
    const reading = this.gpu.beginRead(this.whole());
    const wait = async () => arrayOf(dtype, await reading.wait());
    return { wait };
  }

  /** Reads f32 or f16 back as numbers. */
  async toFloat32(): Promise<Float32Array> {
    const data = await this.toArray();
    if (data instanceof Float32Array) return data;
    if (this.dtype === 'f16') return f16ToF32(data as Uint16Array);
    throw new ShapeError('toFloat32', `${formatShape(this.shape)} is ${this.dtype}`);
  }

  /** The one value of a tensor of size 1, as a number: of a bool 1 or 0. @throws ShapeError of any other size. */
  async item(): Promise<number> {
    if (this.size !== 1)
      throw new ShapeError('item', `needs one element, shape is ${formatShape(this.shape)}`);
    const data = await this.toArray();
    return (this.dtype === 'f16' ? f16ToF32(data as Uint16Array) : data)[0]!;
  }

  // ---- training ----------------------------------------------------------------------------------------------

  /** Asks for a gradient when the tensor is a leaf. Taken back from a parameter, it freezes: no gradient, no update. */
  get requiresGrad(): boolean {
    return this.role?.trains ?? false;
  }

  /** @throws ShapeError for integers, for false on the result of an op, for true on a parameter made not to train. */
  set requiresGrad(on: boolean) {
    leafOf(this).train(on);
  }

  /**
   * Gradient of a leaf after `backward`, which adds to it when it exists already; of a parameter, what its sink
   * holds, and no gradient but zeros after it was set to undefined. See `zeroGrad`.
   */
  get grad(): Tensor | undefined {
    return this.role?.gradient?.dense();
  }

  /** @throws ShapeError when it is not of the leaf's shape, dtype and device. */
  set grad(gradient: Tensor | undefined) {
    leafOf(this).setGradient(gradient);
  }

  /** Back to no gradient (a parameter's: to zeros); frees what a loose leaf's took. */
  zeroGrad(): void {
    this.role?.gradient?.clear();
  }

  // ---- views -------------------------------------------------------------------------------------------------

  /**
   * Same storage, another shape.
   * @throws ShapeError on the tape, which a view would cut: `reshape` is recorded there, `detach` leaves it.
   */
  view(shape: Shape): Tensor {
    if ((this.node || this.requiresGrad) && isTaped())
      throw new ShapeError(
        'view',
        'on the tape, which a view would cut; reshape() is recorded, detach() leaves the tape',
        { tensor: this },
      );
    return this.alias(shape);
  }

  /** Another handle to the same tensor, outside the tape. */
  detach(): Tensor {
    return this.alias(this.shape, 'detach');
  }

  /** Same storage, another shape, outside the tape: for kernels and gradients. */
  alias(shape: Shape, op = 'view'): Tensor {
    this.check(op);
    checkShape(op, shape, this);
    if (sizeOf(shape) !== this.size)
      throw new ShapeError(op, `${this.size} elements are no ${formatShape(shape)}`, { x: this });
    this.storage.retain();
    return new Tensor(this.storage, [...shape], this.dtype, this.byteOffset, this.version);
  }

  /**
   * Same storage from element `start`, outside the tape; undefined when the adapter cannot bind at that offset or
   * whole vec4s do not fit (then copy).
   */
  aliasAt(start: number, shape: Shape): Tensor | undefined {
    this.check('view');
    checkShape('view', shape, this);
    const width = bytesPerElement[this.dtype];
    const size = sizeOf(shape);
    if (!Number.isInteger(start) || start < 0 || start + size > this.size)
      throw new ShapeError('view', `no elements ${start} to ${start + size}`, { tensor: this });
    // Nothing lies anywhere; at the end of a buffer nothing can be bound.
    const offset = this.byteOffset + (size === 0 ? 0 : start * width);
    if (offset % this.gpu.capabilities.bindingAlignment !== 0) return undefined;
    if (start + size < this.size && (size * width) % BINDING_GRANULE !== 0) return undefined;
    this.storage.retain();
    return new Tensor(this.storage, [...shape], this.dtype, offset, this.version);
  }

  /**
   * A tensor of its own that lies in this flat one from element `start` on, a multiple of 128: what is written to
   * others in it is not written to this. What follows it up to whole vec4s is padding that may be bound.
   * @throws ShapeError when it does not lie there.
   */
  slot(start: number, shape: Shape): Tensor {
    this.check('slot');
    checkShape('slot', shape, this);
    this.checkRange('slot', start, sizeOf(shape));
    if (start % SLOT_GRANULE !== 0)
      throw new ShapeError('slot', `begins at a multiple of ${SLOT_GRANULE}, not at ${start}`, {
        tensor: this,
      });
    const width = bytesPerElement[this.dtype];
    const offset = this.byteOffset + start * width;
    this.storage.retain();
    const version = this.version.part(offset, offset + sizeOf(shape) * width);
    return new Tensor(this.storage, [...shape], this.dtype, offset, version);
  }

  // ---- data --------------------------------------------------------------------------------------------------

  /**
   * Overwrites elements from `start` with host data, and touches no other.
   * @throws TypeError naming both when the data is of another format than the tensor (see `from`); ShapeError for
   * the result of an op on the tape.
   */
  write(data: HostData, start = 0): void {
    this.check('write');
    this.checkWritable('write');
    const array = toTensorArray('write', this.dtype, data);
    this.checkRange('write', start, array.length);
    writeElements(this.allElements(), array, start);
  }

  /**
   * Copies `count` elements of `source` from `from` on (by default all) into this tensor, from `start` on.
   * @throws ShapeError when they do not fit; ShapeError on the tape, which knows nothing of a copy.
   */
  copyFrom(source: Tensor, start = 0, from = 0, count = source.size - from): void {
    this.checkWritable('copyFrom');
    if ((source.node || source.requiresGrad) && isTaped())
      throw new ShapeError(
        'copyFrom',
        'the source is on the tape, which a copy would cut; sliceRows() and concat() are recorded, detach() leaves the tape',
        { source },
      );
    this.copyUnrecorded(source, start, from, count);
  }

  /** `copyFrom` for kernels and gradients, on the tape or not. */
  copyUnrecorded(source: Tensor, start = 0, from = 0, count = source.size - from): void {
    source.check('copyFrom');
    this.check('copyFrom');
    noteRead(() => [source]);
    if (source.dtype !== this.dtype || source.gpu !== this.gpu)
      throw new ShapeError(
        'copyFrom',
        source.gpu === this.gpu ? `copies no ${source.dtype} to ${this.dtype}` : 'tensors of two devices',
        { source, target: this },
      );
    this.checkRange('copyFrom', start, count);
    source.checkRange('copyFrom', from, count);
    if (count === 0) return;
    if (source.storage === this.storage) {
      // The device copies between two buffers only.
      const width = bytesPerElement[this.dtype];
      if (source.byteOffset + from * width === this.byteOffset + start * width) return;
      const between = Tensor.empty(this.gpu, [count], this.dtype, 'workspace');
      between.copyUnrecorded(source, 0, from, count);
      this.copyUnrecorded(between, start);
      between.dispose();
      return;
    }
    copyElements(source.allElements(), from, this.allElements(), start, count);
  }

  /** @throws ShapeError for the result of an op on the tape. */
  fillZero(): void {
    this.check('fillZero');
    this.checkWritable('fillZero');
    clearElements(this.allElements(), this.size);
  }

  // ---- life --------------------------------------------------------------------------------------------------

  /** Whether it was freed: then every use of it is a ShapeError. */
  get isDisposed(): boolean {
    return this.disposed;
  }

  /** Outlives the scope it was made in; call `dispose` when done (it takes the gradient along). */
  keep(): this {
    disown(this);
    return this;
  }

  /** One more handle to the storage for an owner that outlives scopes (the tape); undo with `releaseStorage`. */
  retainStorage(): void {
    this.storage.retain();
  }

  /** Gives back what `retainStorage` took. */
  releaseStorage(): void {
    this.storage.release();
  }

  /** Frees it now, unless other handles to the same memory are left. Again is no error. */
  override dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    disown(this);
    this.node?.release();
    this.node = undefined;
    this.role?.dispose();
    this.gpu.live?.disposed(this, this.storage);
    this.storage.release();
  }

  /**
   * What JavaScript's operators make of a tensor: text where text is wanted. @throws TypeError in arithmetic and comparisons,
   * which would go on with a NaN or with text.
   */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === 'string') return this.toString();
    throw new TypeError(
      `${this} is no number: add(), lt() and the like compute with tensors, await item() reads one value`,
    );
  }

  /** Shape, dtype, label, what it is to gradients, and the device; its values are the device's until they are read. */
  override toString(): string {
    const facts = [
      ...(this.freed || this.disposed ? ['freed'] : []),
      ...(this.requiresGrad ? ['requires gradient'] : []),
      ...(this.node ? [`result of ${this.node.name}`] : []),
    ];
    const label = this.label === undefined ? '' : ` "${this.label}"`;
    const told = facts.length > 0 ? ` (${facts.join(', ')})` : '';
    return `Tensor${label} ${formatShape(this.shape)} ${this.dtype}${told} on ${this.gpu.capabilities.name}`;
  }

  /** The elements alone, without the room after them. */
  private whole(): Binding {
    return {
      entry: this.storage.entry,
      offset: this.byteOffset,
      size: this.bytes,
      version: this.version,
    };
  }

  private allElements(): Elements {
    return { gpu: this.gpu, range: this.whole(), width: bytesPerElement[this.dtype] };
  }

  /** The gradient of a result flows to what it was computed from, whatever is written over it. */
  private checkWritable(op: string): void {
    if (this.node && isTaped())
      throw new ShapeError(
        op,
        'computed by an op on the tape, which knows nothing of other values; use detach(), or write under noGrad',
        { tensor: this },
      );
  }

  private checkRange(op: string, start: number, count: number): void {
    if (
      !Number.isInteger(start) ||
      !Number.isInteger(count) ||
      start < 0 ||
      count < 0 ||
      start + count > this.size
    )
      throw new ShapeError(op, `no ${count} values at ${start}`, { tensor: this });
  }

  /** @throws ShapeError when its memory was given back. */
  private check(op: string): void {
    if (this.freed)
      throw new ShapeError(
        op,
        `was already freed${this.label === undefined ? '' : ` ("${this.label}")`}: keep() it, or return it from its scope`,
        { tensor: this },
      );
  }
}
