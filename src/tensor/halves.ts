/**
 * Ranges of a tensor's elements written, copied and cleared. Halves lie two a word, and the device copies and writes
 * whole words: what begins or ends within one is done here by small kernels that leave the other half of the word as it is.
 */
import type { Binding, Gpu, ShaderSource } from '../gpu/gpu.js';
import { deviceWords, type TensorArray } from './host-data.js';

/** The elements of a tensor: where they lie, and how many bytes one takes. */
export interface Elements {
  readonly gpu: Gpu;
  readonly range: Binding;
  readonly width: number;
}

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
function copyHalves(
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
function setHalf(gpu: Gpu, target: Binding, at: number, value: number): void {
  const { binding, first } = bind(gpu, target, at, 1);
  gpu.dispatch(SET, [binding], Uint32Array.of(first, value), [1]);
}

/** Of `count` halves from `start` on, an aligned tensor's: [first, end) are those that fill words. */
function wholeWords(start: number, count: number): { first: number; end: number } {
  const first = Math.min(count, start % 2);
  return { first, end: count - ((count - first) % 2) };
}

/** The places of [0, count) that whole words leave over: at most the first and the last. */
const leftOver = ({ first, end }: { first: number; end: number }, count: number): number[] => [
  ...(first > 0 ? [0] : []),
  ...(end < count ? [count - 1] : []),
];

/** Overwrites elements from `start` on with `array`. */
export function writeElements({ gpu, range, width }: Elements, array: TensorArray, start: number): void {
  const words = width === 2 ? wholeWords(start, array.length) : { first: 0, end: array.length };
  const { first, end } = words;
  if (end > first)
    gpu.upload(
      { ...range, offset: range.offset + (start + first) * width, size: (end - first) * width },
      deviceWords(array.subarray(first, end)),
    );
  for (const at of leftOver(words, array.length)) setHalf(gpu, range, start + at, array[at]!);
}

/** target[start + i] = source[from + i] for `count` elements of two tensors of one format in different buffers. */
export function copyElements(
  source: Elements,
  from: number,
  target: Elements,
  start: number,
  count: number,
): void {
  const { gpu, width } = target;
  if (width === 2 && (from + start) % 2 !== 0) {
    copyHalves(gpu, source.range, from, target.range, start, count);
    return;
  }
  const words = width === 2 ? wholeWords(start, count) : { first: 0, end: count };
  const size = (words.end - words.first) * width;
  const at = ({ range }: Elements, first: number): Binding => ({
    ...range,
    offset: range.offset + (first + words.first) * width,
    size,
  });
  if (size > 0) gpu.copy(at(source, from), at(target, start));
  for (const each of leftOver(words, count))
    copyHalves(gpu, source.range, from + each, target.range, start + each, 1);
}

/** Fills the first `count` elements with zeros. */
export function clearElements({ gpu, range, width }: Elements, count: number): void {
  const odd = width === 2 && count % 2 === 1;
  const size = count * width - (odd ? 2 : 0);
  if (size > 0) gpu.clear({ ...range, size });
  if (odd) setHalf(gpu, range, count - 1, 0);
}
