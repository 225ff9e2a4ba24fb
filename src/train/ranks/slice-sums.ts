/**
 * The arithmetic of sums.ts on slices as a communication thread holds them: the same bits, in loops that the memory can
 * nearly keep up with. bf16 is packed as it travels, 16 bits a value.
 */

/** total = slices[0] + slices[1] + …, in this order, each partial sum rounded to f32. All of one length. */
export function addSlices(total: Float32Array, slices: readonly Float32Array[]): void {
  const [first, second, ...rest] = slices;
  if (!first || !second) {
    if (first) total.set(first);
    return;
  }
  const { length } = total;
  for (let i = 0; i < length; i++) total[i] = first[i]! + second[i]!;
  for (const slice of rest) for (let i = 0; i < length; i++) total[i]! += slice[i]!;
}

/** The nearest bf16 of each value, ties to even; infinities stay, a NaN stays one. */
export function packBf16(packed: Uint16Array, values: Float32Array): void {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  const { length } = bits;
  for (let i = 0; i < length; i++) {
    const b = bits[i]!;
    packed[i] =
      (b & 0x7fffffff) > 0x7f800000 ? (b >>> 16) | 0x40 : ((b + 0x7fff + ((b >>> 16) & 1)) | 0) >>> 16;
  }
}

export function unpackBf16(values: Float32Array, packed: Uint16Array): void {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  const { length } = bits;
  for (let i = 0; i < length; i++) bits[i] = packed[i]! << 16;
}

/** total = slices[0] + slices[1] + … of packed values. `scratch`: as long as they are. */
export function addPackedSlices(
  total: Float32Array,
  slices: readonly Uint16Array[],
  scratch: Float32Array,
): void {
  const [first, ...rest] = slices;
  if (!first) return;
  unpackBf16(total, first);
  const { length } = total;
  for (const slice of rest) {
    unpackBf16(scratch, slice);
    for (let i = 0; i < length; i++) total[i]! += scratch[i]!;
  }
}
