/**
 * The arithmetic of sums.ts on slices as a communication thread holds them: the same bits at the memory's speed. bf16 is
 * packed as it travels, 16 bits a value.
 */
import {
  type Code,
  f32x4,
  i32x4,
  load,
  local,
  setTo,
  store,
  type VectorLoop,
  vectorLoops,
} from './vector-loops.js';

/** Elements that a loop takes at once; slices are a multiple of it, and what is beyond their end is never read. */
const AT_ONCE = 16;

const times = (count: number, code: (index: number) => Code): Code =>
  Array.from({ length: count }, (_, index) => code(index)).flat();

/** The first vector local of a loop over two pointers and a count. */
const BITS = 3;

/** bf16, to the nearest and ties to even, in the low halves of four values; infinities stay, a NaN stays one. */
function rounded(pointer: number, offset: number): Code {
  const bits = local(BITS);
  const upper = i32x4.shiftRightUnsigned(bits, 16);
  const odd = i32x4.and(upper, i32x4.splat(1));
  const nearest = i32x4.shiftRightUnsigned(i32x4.add(i32x4.add(bits, odd), i32x4.splat(0x7fff)), 16);
  return [
    ...setTo(BITS, load(pointer, offset)),
    ...i32x4.select(i32x4.or(upper, i32x4.splat(0x40)), nearest, f32x4.notEqual(bits, bits)),
  ];
}

/** Four of the values that are packed at `pointer`. */
function widened(pointer: number, quarter: number): Code {
  const eight = load(pointer, 16 * (quarter >> 1));
  return i32x4.shiftLeft(quarter & 1 ? i32x4.extendHigh(eight) : i32x4.extendLow(eight), 16);
}

const LOOPS = {
  /** target = a + b */
  add: {
    steps: [64, 64, 64],
    body: times(4, (i) => store(0, 16 * i, f32x4.add(load(1, 16 * i), load(2, 16 * i)))),
  },
  /** packed = bf16(values) */
  pack: {
    steps: [32, 64],
    locals: 1,
    body: times(2, (i) => store(0, 16 * i, i32x4.narrow(rounded(1, 32 * i), rounded(1, 32 * i + 16)))),
  },
  /** values = packed */
  unpack: { steps: [64, 32], body: times(4, (i) => store(0, 16 * i, widened(1, i))) },
  /** values = values + packed */
  addPacked: {
    steps: [64, 32],
    body: times(4, (i) => store(0, 16 * i, f32x4.add(load(0, 16 * i), widened(1, i)))),
  },
} satisfies Record<string, VectorLoop>;

/** What `size` ranks have for one slice of at most `elements`, and its sum. */
export class SliceSums {
  /** Of each rank: values of a slice as they came. */
  readonly values: readonly Float32Array[];
  /** Of each rank, in the memory of `values`: packed values that go out, and those that came. */
  readonly outgoing: readonly Uint16Array[];
  readonly arrived: readonly Uint16Array[];
  readonly total: Float32Array;
  /** Elements. */
  readonly length: number;
  private readonly loops: ReturnType<typeof vectorLoops<keyof typeof LOOPS>>['run'];

  constructor(size: number, elements: number) {
    this.length = Math.max(1, Math.ceil(elements / AT_ONCE)) * AT_ONCE;
    const { memory, run } = vectorLoops(LOOPS, 4 * this.length * (size + 1));
    this.loops = run;
    const { length } = this;
    const ranks = Array.from({ length: size }, (_, rank) => 4 * length * rank);
    this.values = ranks.map((at) => new Float32Array(memory, at, length));
    this.outgoing = ranks.map((at) => new Uint16Array(memory, at, length));
    this.arrived = ranks.map((at) => new Uint16Array(memory, at + 2 * length, length));
    this.total = new Float32Array(memory, 4 * length * size, length);
  }

  /** total = values[0] + values[1] + …, in this order, each partial sum rounded to f32; the first `count` elements. */
  add(count: number): void {
    const { values, total } = this;
    if (values.length === 1) total.set(values[0]!.subarray(0, count));
    else this.loops.add(total.byteOffset, values[0]!.byteOffset, values[1]!.byteOffset, rounds(count));
    for (const each of values.slice(2))
      this.loops.add(total.byteOffset, total.byteOffset, each.byteOffset, rounds(count));
  }

  /** The same of what arrived. */
  addArrived(count: number): void {
    const { arrived, total } = this;
    this.loops.unpack(total.byteOffset, arrived[0]!.byteOffset, rounds(count));
    for (const each of arrived.slice(1))
      this.loops.addPacked(total.byteOffset, each.byteOffset, rounds(count));
  }

  /** The nearest bf16 of the total, ties to even; infinities stay, a NaN stays one. */
  packTotal(packed: Uint16Array, count: number): void {
    this.loops.pack(packed.byteOffset, this.total.byteOffset, rounds(count));
  }

  unpackTotal(packed: Uint16Array, count: number): void {
    this.loops.unpack(this.total.byteOffset, packed.byteOffset, rounds(count));
  }
}

const rounds = (count: number) => Math.ceil(count / AT_ONCE);
