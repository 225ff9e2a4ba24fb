/**
 * The standard normal distribution as a table of integers. Logarithms and cosines differ in the last bits from adapter to
 * adapter; a table that is interpolated in integers gives the same normal numbers everywhere.
 *
 * A random word is a sign and 31 bits m, of which u = m·2^−32 lies in (0, ½); the number is Φ⁻¹(1 − u). As Φ⁻¹ changes with
 * the logarithm of u, the nodes are 32 to each octave of m; segment j lies between nodes 2j and 2j + 2, and the parabola
 * through its three nodes is within 2·10⁻⁶ of Φ⁻¹. The largest number that can come is 6.23.
 */

const OCTAVES = 31;
const SEGMENTS = 16;
/** Fixed point of the nodes: below 2^24 at the largest, so that f32 has every result exactly. */
const FRACTION_BITS = 21;

/** 1 − Φ(x) and the density at x ≥ 0: by its power series near the centre, by the continued fraction of Laplace in the tail. */
function upperTail(x: number): { tail: number; density: number } {
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  if (x < 3) {
    let [term, sum] = [x, x];
    for (let n = 3; term > 1e-18 * sum; n += 2) {
      term *= (x * x) / n;
      sum += term;
    }
    return { tail: 0.5 - density * sum, density };
  }
  let fraction = x;
  for (let n = 80; n >= 1; n--) fraction = x + n / fraction;
  return { tail: density / fraction, density };
}

let nodes: Int32Array | undefined;

/** [993] the nodes, in ascending order of m: Φ⁻¹(1 − u)·2^21, from 6.23 down to 0. Made once. */
export function normalNodes(): Int32Array {
  if (nodes) return nodes;
  const perOctave = 2 * SEGMENTS;
  const made = new Int32Array(OCTAVES * perOctave + 1);
  let x = 0;
  // From the centre outwards; Newton's method ascends to the next node from the last.
  for (let i = made.length - 2; i >= 0; i--) {
    const u = 2 ** (Math.floor(i / perOctave) - 32) * (1 + (i % perOctave) / perOctave);
    for (let step = 0; step < 20; step++) {
      const { tail, density } = upperTail(x);
      const change = (tail - u) / density;
      x += change;
      if (Math.abs(change) < 1e-13) break;
    }
    made[i] = Math.round(x * 2 ** FRACTION_BITS);
  }
  nodes = made;
  return made;
}

/** WGSL: normal numbers of four random words, from `nodes`, an `array<i32>` of `normalNodes`. Exact: only integers. */
export const NORMAL_OF = `
fn normalOf(word: u32) -> f32 {
  let m = max(word & 0x7fffffffu, 1u);
  let leading = countLeadingZeros(m);
  let bits = m << leading;
  let node = (31u - leading) * 32u + ((bits >> 27u) & 15u) * 2u;
  let f0 = inNodes[node];
  let f1 = inNodes[node + 2u];
  let c2 = 2 * (f1 - 2 * inNodes[node + 1u] + f0);
  let c1 = f1 - f0 - c2;
  // The place in the segment in 22 bits, taken in two halves so that products stay within 32.
  let t1 = i32((bits >> 16u) & 0x7ffu);
  let t0 = i32((bits >> 5u) & 0x7ffu);
  let slope = c1 + ((c2 * t1 + ((c2 * t0) >> 11u)) >> 11u);
  let size = f0 + ((slope * t1 + ((slope * t0) >> 11u)) >> 11u);
  return f32(select(size, -size, word > 0x7fffffffu)) * ${1 / 2 ** FRACTION_BITS};
}`;

/** The same on the host. */
export function normalOf(word: number): number {
  const table = normalNodes();
  const m = Math.max(word & 0x7fffffff, 1);
  const leading = Math.clz32(m);
  const bits = m << leading;
  const node = (31 - leading) * 32 + ((bits >>> 27) & 15) * 2;
  const [f0, middle, f1] = [table[node]!, table[node + 1]!, table[node + 2]!];
  const c2 = 2 * (f1 - 2 * middle + f0);
  const c1 = f1 - f0 - c2;
  const t1 = (bits >>> 16) & 0x7ff;
  const t0 = (bits >>> 5) & 0x7ff;
  const slope = c1 + ((c2 * t1 + ((c2 * t0) >> 11)) >> 11);
  const size = f0 + ((slope * t1 + ((slope * t0) >> 11)) >> 11);
  return (word > 0x7fffffff ? -size : size) / 2 ** FRACTION_BITS;
}
