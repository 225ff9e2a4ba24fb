/**
 * The arithmetic of sums over ranks, apart from who carries them: the owner of a part adds what the ranks have in rank
 * order, in f32. With bf16 on the wire every rank rounds what it gives, the owner rounds the sum, and all ranks, the
 * owner too, go on with the rounded one.
 */
import { bf16ToF32, f32ToBf16 } from '../tensor/dtype.js';
import type { WireFormat } from './communicator.js';

/** target = parts[0] + parts[1] + …, element by element, each sum rounded to f32. */
function sumInOrder(target: Float32Array, parts: readonly Float32Array[]): void {
  const [first, ...rest] = parts;
  if (!first) throw new RangeError('a sum of no parts');
  if (first !== target) target.set(first);
  for (const part of rest) for (let i = 0; i < target.length; i++) target[i]! += part[i]!;
}

/** f32 bits of the nearest bf16, ties to even; infinities stay, a NaN stays one. In place. */
export function roundToBf16(values: Float32Array): void {
  values.set(bf16ToF32(f32ToBf16(values)));
}

/** What all ranks' `values` come to on this wire, as a new array. Each is left as it is. */
export function sumOnWire(values: readonly Float32Array[], wire: WireFormat): Float32Array {
  const given = wire === 'bf16' ? values.map((each) => each.slice()) : values;
  if (wire === 'bf16') given.forEach(roundToBf16);
  const sum = new Float32Array(values[0]!.length);
  sumInOrder(sum, given);
  if (wire === 'bf16') roundToBf16(sum);
  return sum;
}
