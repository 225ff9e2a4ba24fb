/**
 * Halves lie two a word, and the device copies and writes whole words: what begins or ends within one is done here by
 * small kernels that leave the other half of the word as it is.
 */
import type { Binding, Gpu, ShaderSource } from '../gpu/gpu.js';

/** Halves of one dispatch: 32,768 workgroups of 64 words, which every adapter has in one dimension. */
const MOST = 2 * 64 * 32768;

const COPY: ShaderSource = {
  label: 'copyHalves',
  immediateSize: 16,
  wgsl: `requires immediate_address_space;
struct Params { words: u32, source: u32, start: u32, end: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<u32>;
@group(0) @binding(1) var<storage, read_write> ioY: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.words) { return; }
  let word = p.start / 2u + id.x;
  var bits = ioY[word];
  for (var half = 0u; half < 2u; half++) {
    let at = 2u * word + half;
    if (at >= p.start && at < p.end) {
      let other = p.source + at - p.start;
      bits = insertBits(bits, X[other / 2u] >> (16u * (other % 2u)), 16u * half, 16u);
    }
  }
  ioY[word] = bits;
}`,
};

const SET: ShaderSource = {
  label: 'setHalf',
  immediateSize: 8,
  wgsl: `requires immediate_address_space;
struct Params { at: u32, value: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read_write> ioY: array<u32>;
@compute @workgroup_size(1)
fn main() { ioY[p.at / 2u] = insertBits(ioY[p.at / 2u], p.value, 16u * (p.at % 2u), 16u); }`,
};

/** Halves as a kernel can bind them: from the last aligned offset before the first of them on. */
function bind(gpu: Gpu, whole: Binding, first: number, count: number): { binding: Binding; first: number } {
  const align = gpu.capabilities.bindingAlignment;
  const begin = whole.offset + 2 * first;
  const offset = Math.floor(begin / align) * align;
  const size = Math.ceil((begin + 2 * count - offset) / 16) * 16;
  return { binding: { ...whole, offset, size, dtype: undefined }, first: (begin - offset) / 2 };
}

/** target[start + i] = source[from + i] for `count` halves of two tensors in different buffers. */
export function copyHalves(
  gpu: Gpu,
  source: Binding,
  from: number,
  target: Binding,
  start: number,
  count: number,
): void {
  const room = gpu.capabilities.maxBindingSize / 2 - gpu.capabilities.bindingAlignment;
  const step = Math.min(MOST, Math.floor(room / 2) * 2);
  for (let done = 0; done < count; done += step) {
    const part = Math.min(step, count - done);
    const X = bind(gpu, source, from + done, part);
    const Y = bind(gpu, target, start + done, part);
    const words = Math.floor((Y.first + part - 1) / 2) - Math.floor(Y.first / 2) + 1;
    gpu.dispatch(COPY, [X.binding, Y.binding], Uint32Array.of(words, X.first, Y.first, Y.first + part), [
      Math.ceil(words / 64),
    ]);
  }
}

/** target[at] = value, raw bits of a half. */
export function setHalf(gpu: Gpu, target: Binding, at: number, value: number): void {
  const { binding, first } = bind(gpu, target, at, 1);
  gpu.dispatch(SET, [binding], Uint32Array.of(first, value), [1]);
}
