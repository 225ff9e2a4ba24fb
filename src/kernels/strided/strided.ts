/**
 * Elements from anywhere to anywhere in regular steps: what transposes, slices, stacks, pads, repeats and flips. Numbers
 * are moved by their bits, of any format; which places they have is in box.ts. Nothing is computed here.
 */
import { sizeOf, stridesOf } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { cut, isRun, type Side, simplified } from './box.js';
import { moveBox } from './kernel.js';

/** Threads of a workgroup of the kernel, each of which moves one element at least. */
const WORKGROUP = 256;

/**
 * to[to.start + Σ i·to.strides] = from[from.start + Σ i·from.strides] for all i in `dims`. The places that are written are
 * distinct, and the two tensors, of one dtype, lie in different buffers; steps may be negative, those of reads 0. What is a
 * run of elements on both sides is a copy of the device.
 */
function copyStrided(dims: readonly number[], from: Tensor, read: Side, to: Tensor, write: Side): void {
  if (dims.includes(0)) return;
  const box = simplified({ dims, from: read, to: write });
  if (isRun(box)) {
    to.copyUnrecorded(from, box.to.start, box.from.start, sizeOf(box.dims));
    return;
  }
  const { gpu } = from;
  const { maxWorkgroupsPerDimension: most } = gpu.capabilities;
  for (const each of cut(box, from, to, most * most * WORKGROUP)) moveBox(gpu, each, from, to);
}

/**
 * The tensor of `shape` whose element i is x[start + Σ i·strides]: another handle to x's own memory where these are
 * elements one behind the other that can be bound there, else a copy.
 */
export function readStrided(x: Tensor, shape: readonly number[], { start, strides }: Side): Tensor {
  const to = { start: 0, strides: stridesOf(shape) };
  if (sizeOf(shape) > 0) {
    const box = simplified({ dims: shape, from: { start, strides }, to });
    if (isRun(box)) {
      const view = x.aliasAt(box.from.start, shape);
      if (view) return view;
    }
  }
  const out = Tensor.empty(x.gpu, shape, x.dtype);
  copyStrided(shape, x, { start, strides }, out, to);
  return out;
}

/** out[start + Σ i·strides] = element i of x. The places are distinct; the others keep what they have. */
export function writeStrided(x: Tensor, out: Tensor, write: Side): void {
  copyStrided(x.shape, x, { start: 0, strides: stridesOf(x.shape) }, out, write);
}
