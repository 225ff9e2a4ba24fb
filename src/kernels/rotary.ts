/**
 * Rotary positions (Su et al. 2021, "RoFormer"): pair i of a head's components is turned by position · base^(−2i/d). The
 * angle is a whole number of 2⁻³² turns, of which whole turns fall off by themselves: at position n it is right within n·2⁻³³
 * turns, where a product of f32 would be off by its size's rounding, and sines of large numbers by what the driver makes of them.
 */
import { ShapeError } from '../errors.js';
import { show } from '../show.js';
import { floats, integer, integers, optional, positive, signature } from '../tensor/operands.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { type FloatDType, floatDType, type UnitName, unitFor, unitOf } from './launch/formats.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { byRows, whole } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';
import { cast } from './pointwise.js';

/** How `rotary` turns: the base of its angles, and which components are a pair. */
export interface RotaryOptions {
  /** Of the angles, by default 10000. */
  readonly base?: number;
  /** Pairs are components 2i and 2i+1 (RoFormer, GPT-J), not i and i + d/2 (GPT-NeoX, Llama). */
  readonly interleaved?: boolean;
  /** The axis of positions, by default −2: [..., length, d]; −3 where heads come after the length. */
  readonly axis?: number;
}

interface Form {
  readonly dtype: FloatDType;
  readonly interleaved: boolean;
  readonly unit: UnitName;
  /** Of the tensor that positions are read from, if they are. */
  readonly given: 'u32' | 'i32' | undefined;
}

const rotaryShader = (own: Form) =>
  shaderOf('rotary', own, ({ dtype, interleaved, unit: name, given }) => {
    const unit = unitOf(name);
    const load = (index: string) => unit.load(dtype, 'X', index);
    const store = (index: string, value: string) => unit.store(dtype, 'outY', index, value);
    // Pairs of a thread, those of a unit's components or, interleaved, of two components each.
    const pairs = interleaved ? Math.max(1, unit.width / 2) : unit.width;
    const each = (value: (n: number) => string) => {
      const values = Array.from({ length: pairs }, (_, n) => value(n));
      return pairs === 1 ? values[0]! : `vec${pairs}f(${values.join(', ')})`;
    };
    const turn = !interleaved
      ? `let at = row * 2u * p.perRow + i % p.perRow;
  let a = ${load('at')}; let b = ${load('at + p.perRow')};
  ${store('at', 'a * c - b * s')} ${store('at + p.perRow', 'a * s + b * c')}`
      : unit.width === 4
        ? `let x = ${load('i')};
  ${store('i', 'vec4f(x.x * c.x - x.y * s.x, x.x * s.x + x.y * c.x, x.z * c.y - x.w * s.y, x.z * s.y + x.w * c.y)')}`
        : `let a = ${load('2u * i')}; let b = ${load('2u * i + 1u')};
  ${store('2u * i', 'a * c - b * s')} ${store('2u * i + 1u', 'a * s + b * c')}`;
    return {
      label: 'rotary',
      params: {
        count: 'u32',
        perRow: 'u32',
        start: 'u32',
        inner: 'u32',
        length: 'u32',
        offset: 'u32',
        sign: 'f32',
      } as const,
      buffers: {
        X: unit.type(dtype),
        turns: 'array<u32>',
        ...(given ? { positions: 'array<u32>' } : {}),
        outY: unit.type(dtype),
      },
      ...(given ? { dtypes: { positions: given } } : {}),
      body: `// Within an eighth of a turn of a multiple of a quarter.
fn directionOf(angle: u32) -> vec2f {
  let moved = angle + 0x20000000u;
  let r = f32(bitcast<i32>(moved & 0x3fffffffu) - 0x20000000) * ${(2 * Math.PI) / 2 ** 32};
  let z = r * r;
  let s = r + r * z * ((-0.0001951878803083673 * z + 0.008332191966474056) * z - 0.16666655242443085);
  let c = 1.0 - (0.5 * z - z * z * ((2.443297125864774e-05 * z - 0.0013887312961742282) * z + 0.04166664555668831));
  let quadrant = moved >> 30u;
  let turned = select(vec2f(c, s), vec2f(-s, c), (quadrant & 1u) == 1u);
  return select(turned, -turned, quadrant >= 2u);
}
${FLAT_MAIN}
  if (i >= p.count) { return; }
  let row = i / p.perRow;
  let place = (p.start + row) / p.inner % p.length;
  let position = ${given ? 'positions[place]' : 'p.offset + place'};
  let first = (i % p.perRow) * ${pairs}u;
  ${Array.from({ length: pairs }, (_, n) => `let w${n} = directionOf(position * turns[first + ${n}u]);`).join(' ')}
  let c = ${each((n) => `w${n}.x`)};
  let s = ${each((n) => `w${n}.y`)} * p.sign;
  ${turn}
}`,
    };
  });

const ROTARY = signature(
  'rotary',
  { x: floats('...'), positions: optional(integers('L')) },
  { numbers: { base: positive } },
);
const OFFSET = signature('rotary', { x: floats('...') }, { numbers: { offset: integer } });

/** A call whose operands were checked. */
export interface Rotary {
  readonly form: Form;
  readonly positions: Tensor | undefined;
  readonly offset: number;
  /** Rows of d that share a position side by side, and positions. */
  readonly inner: number;
  readonly length: number;
  /** Of each pair, 2⁻³² turns from one position to the next. */
  readonly turns: Uint32Array;
}

/** @throws ShapeError before anything is allocated. */
export function rotaryCall(
  x: Tensor,
  positions: number | Tensor,
  { base = 10_000, interleaved = false, axis = -2 }: RotaryOptions,
): Rotary {
  const given = positions instanceof Tensor ? positions : undefined;
  const operands = { x, ...(given ? { positions: given } : {}) };
  ROTARY.check({ x, positions: given }, { base });
  if (!given) OFFSET.check({ x }, { offset: positions as number });
  const { shape } = x;
  const rank = shape.length;
  const at = axis < 0 ? rank + axis : axis;
  if (!Number.isInteger(axis) || at < 0 || at >= rank - 1)
    throw new ShapeError('rotary', `axis ${show(axis)} is none of x but its last`, operands);
  const [d, length] = [shape[rank - 1]!, shape[at]!];
  if (d % 2 !== 0) throw new ShapeError('rotary', `${d} components are no pairs`, operands);
  if (given && given.size !== length)
    throw new ShapeError('rotary', `${given.size} positions for an axis of ${length}`, operands);
  // The kernel takes halves in fours.
  const dtype = d % (interleaved ? 4 : 8) === 0 ? floatDType('rotary', x) : 'f32';
  return {
    form: {
      dtype,
      interleaved,
      unit: unitFor('rotary', interleaved ? d : d / 2, dtype).name,
      given: given?.dtype as Form['given'],
    },
    positions: given,
    offset: given ? 0 : (positions as number),
    inner: shape.slice(at + 1, -1).reduce((a, b) => a * b, 1),
    length,
    turns: Uint32Array.from(
      { length: d / 2 },
      (_, i) => Math.round((2 ** 32 / (2 * Math.PI)) * base ** ((-2 * i) / d)) % 2 ** 32,
    ),
  };
}

/** x turned, or with `back` turned back, of x's format. */
export function rotary(call: Rotary, x: Tensor, back = false): Tensor {
  const { form, positions, offset, inner, length, turns } = call;
  if (x.dtype !== form.dtype)
    return scope(() => cast(rotary(call, cast(x, form.dtype), back), floatDType('rotary', x)));
  const y = Tensor.empty(x.gpu, x.shape, form.dtype);
  if (x.size === 0) return y;
  const table = Tensor.from(x.gpu, turns, [turns.length], 'u32', 'workspace');
  const { width } = unitOf(form.unit);
  // Threads of a row: one a unit where pairs lie within units of four, else one for two units.
  const perRow = form.interleaved && width === 4 ? x.cols / 4 : x.cols / 2 / width;
  rotaryShader(form).launch(
    x.gpu,
    {
      X: byRows(x),
      turns: whole(table),
      ...(positions ? { positions: whole(positions) } : {}),
      outY: byRows(y),
    },
    ({ start, count }) => ({
      count: count * perRow,
      perRow,
      start,
      inner,
      length,
      offset,
      sign: back ? -1 : 1,
    }),
    ({ count }) => flatGroups(count * perRow),
  );
  table.dispose();
  return y;
}
