/** Operands of the workloads, from a formula that any language can evaluate. */

/** Element i of an operand: a hash of its index and seed, in [-scale, scale). Python evaluates the same (torch.ts). */
export function operand(seed: number, count: number, scale = 1): Float32Array {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    let h = Math.imul(i + Math.imul(seed, 0x1000193), 0x9e3779b1) >>> 0;
    h = Math.imul(h ^ (h >>> 15), 0x85ebca77) >>> 0;
    h = (h ^ (h >>> 13)) >>> 0;
    values[i] = scale * (h / 2 ** 31 - 1);
  }
  return values;
}

/** Scale of a weight with so many inputs. */
export const weightScale = (inputs: number): number => 1 / Math.sqrt(inputs);
