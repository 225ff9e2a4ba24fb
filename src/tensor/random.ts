/**
 * Counter-based random numbers on the host: Threefry-2x32-20 (Salmon et al. 2011, "Parallel Random Numbers: As
 * Easy as 1, 2, 3"). A draw is a pure function of (key, position), so a generator's whole state is three integers
 * and any point of any stream is reached without replaying the draws before it. What is drawn (dropout masks,
 * negatives, weight initialisation) lives with whoever draws it.
 */

const KEY_PARITY = 0x1bd11bda;
const WORD = 2 ** 32;

/** What `mix` computed last: weights are drawn by the million, and none of them makes an array. */
let mixed0 = 0;
let mixed1 = 0;

const rotate = (word: number, by: number): number => (word << by) | (word >>> (32 - by));

/** One block of 20 rounds into `mixed0` and `mixed1`: five times four rounds, then the next two words of the key. */
function mix(key0: number, key1: number, ctr0: number, ctr1: number): void {
  let [a, b, c] = [key0 | 0, key1 | 0, KEY_PARITY ^ key0 ^ key1];
  let x0 = (ctr0 + a) | 0;
  let x1 = (ctr1 + b) | 0;
  for (let injection = 1; injection <= 5; injection++) {
    const odd = injection % 2 === 1;
    x0 = (x0 + x1) | 0;
    x1 = rotate(x1, odd ? 13 : 17) ^ x0;
    x0 = (x0 + x1) | 0;
    x1 = rotate(x1, odd ? 15 : 29) ^ x0;
    x0 = (x0 + x1) | 0;
    x1 = rotate(x1, odd ? 26 : 16) ^ x0;
    x0 = (x0 + x1) | 0;
    x1 = rotate(x1, odd ? 6 : 24) ^ x0;
    x0 = (x0 + b) | 0;
    x1 = (x1 + c + injection) | 0;
    const used = a;
    a = b;
    b = c;
    c = used;
  }
  mixed0 = x0 >>> 0;
  mixed1 = x1 >>> 0;
}

/** One Threefry-2x32 block; all arguments and results are u32. */
export function threefry2x32(key0: number, key1: number, ctr0: number, ctr1: number): [number, number] {
  mix(key0, key1, ctr0, ctr1);
  return [mixed0, mixed1];
}

/** Low and high 32 bits of an integer (two's complement when negative). */
function words(value: number): [number, number] {
  if (!Number.isSafeInteger(value)) throw new RangeError(`random: expected an integer, found ${value}`);
  return [value >>> 0, Math.floor(value / WORD) >>> 0];
}

/**
 * The 64-bit key of a stream: the seed with the stream's parts folded in one after the other. Different paths
 * (say [epoch, batch, row]) give independent streams.
 */
export function streamKey(seed: number, stream: number | readonly number[]): [number, number] {
  let key = words(seed);
  for (const part of typeof stream === 'number' ? [stream] : stream)
    key = threefry2x32(key[0], key[1], ...words(part));
  return key;
}

/** Everything a generator is: its key and how many 32-bit words it has drawn. */
export type RandomState = readonly [key0: number, key1: number, position: number];

export class CounterRandom {
  private key0: number;
  private key1: number;
  private position = 0;
  private block0 = 0;
  private block1 = 0;
  private blockIndex = -1;

  /** `stream`: an integer or a path of integers that names this stream among those of one seed. */
  constructor(seed: number, stream: number | readonly number[] = 0) {
    [this.key0, this.key1] = streamKey(seed, stream);
  }

  get state(): RandomState {
    return [this.key0, this.key1, this.position];
  }

  set state(state: RandomState) {
    [this.key0, this.key1, this.position] = state;
    this.blockIndex = -1;
  }

  static restore(state: RandomState): CounterRandom {
    const random = new CounterRandom(0);
    random.state = state;
    return random;
  }

  /** The next u32. */
  word(): number {
    const index = Math.floor(this.position / 2);
    if (index !== this.blockIndex) {
      mix(this.key0, this.key1, index >>> 0, Math.floor(index / WORD) >>> 0);
      this.block0 = mixed0;
      this.block1 = mixed1;
      this.blockIndex = index;
    }
    return this.position++ % 2 === 0 ? this.block0 : this.block1;
  }

  /** Uniform in [0, 1) with 53 random bits; takes two words. */
  uniform(): number {
    const high = this.word() >>> 5;
    const low = this.word() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /** Uniform in 0 … n−1, without bias: draws that fall into the incomplete last run of n are drawn again. */
  int(n: number): number {
    if (!Number.isSafeInteger(n) || n < 1 || n > WORD)
      throw new RangeError(`random: expected a bound from 1 to 2^32, found ${n}`);
    const limit = WORD - (WORD % n);
    let word = this.word();
    while (word >= limit) word = this.word();
    return word % n;
  }

  /** Fisher–Yates, in place; returns the same array. */
  shuffle<A extends unknown[] | Uint32Array>(array: A): A {
    for (let last = array.length - 1; last > 0; last--) {
      const other = this.int(last + 1);
      const held = array[last];
      array[last] = array[other];
      array[other] = held;
    }
    return array;
  }

  /** k different elements in random order. @throws RangeError when k exceeds the length. */
  sample<T>(array: ArrayLike<T>, k: number): T[] {
    if (!Number.isInteger(k) || k < 0 || k > array.length)
      throw new RangeError(`random: cannot sample ${k} of ${array.length} without replacement`);
    const pool = Array.from(array);
    for (let i = 0; i < k; i++) {
      const other = i + this.int(pool.length - i);
      const held = pool[i]!;
      pool[i] = pool[other]!;
      pool[other] = held;
    }
    pool.length = k;
    return pool;
  }

  /** Standard normal by Box–Muller; the second value of the pair is not kept, so the state stays three integers. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }
}
