/** What tests of values at the extremes share: goldens with infinities and NaN in them, and when a value is right. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as ops from '../src/autograd/index.js';
import type { Gpu } from '../src/gpu/gpu.js';
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.js';
import { Tensor } from '../src/tensor/tensor.js';
import { golden } from './repository.js';

export interface Results {
  y: number[];
  grads: number[][];
}

const WORDS: Record<string, number> = { NaN: Number.NaN, Infinity, '-Infinity': -Infinity };

/** A file of test/golden/extremes. */
export const readGolden = (file: string): unknown =>
  JSON.parse(readFileSync(golden('extremes', file), 'utf8'), (key, value: unknown) =>
    typeof value === 'string' && key !== 'torch' && Object.hasOwn(WORDS, value) ? WORDS[value] : value,
  );

/** A unit in the last place of f32, or of f16, at `x`. */
export function unit(x: number, half: boolean): number {
  const [digits, lowest] = half ? [10, -14] : [23, -126];
  return 2 ** (Math.max(lowest, Math.floor(Math.log2(Math.abs(x)))) - digits);
}

export interface Allowed {
  half?: boolean;
  /** Units in the last place of the exact value. */
  ulp: number;
  /** Where terms of this size cancel, their units count. */
  absolute?: number;
}

/**
 * Undefined where `found` is PyTorch's value, or the exact one where PyTorch's own arithmetic overflows on the way.
 * Infinities, NaN and zeros with their sign are exact; numbers are off by some units, or by no more than twice what
 * PyTorch's own value is off. What is below the smallest normal number may be zero.
 */
export function differs(found: number, torch: number, exact: number, allowed: Allowed): string | undefined {
  const half = allowed.half ?? false;
  const rounded = half ? f16ToF32(f32ToF16(Float32Array.of(exact)))[0]! : Math.fround(exact);
  const right = [torch, rounded].some((want) => {
    if (Object.is(found, want)) return true;
    if (!Number.isFinite(want) || !Number.isFinite(found) || (want === 0 && found === 0)) return false;
    const error = Math.abs(found - want);
    if (error < 4 * (half ? 2 ** -14 : 2 ** -126)) return Object.is(found, 0 * want) || found * want >= 0;
    return (
      error <=
      Math.max(allowed.ulp * unit(want, half), 2 * Math.abs(torch - rounded) || 0, allowed.absolute ?? 0)
    );
  });
  return right ? undefined : `${name(found)} instead of ${name(torch)} (exactly ${name(exact)})`;
}

/** Units in the last place: most of what drivers may be off in divisions is 2.5. */
export const ULP = 4;

export const name = (x: number) => (Object.is(x, -0) ? '-0' : String(x));
export const tensorOf = (gpu: Gpu, values: number[], half: boolean, shape = [values.length]) =>
  half
    ? Tensor.from(gpu, f32ToF16(Float32Array.from(values)), shape, 'f16')
    : Tensor.from(gpu, Float32Array.from(values), shape);

/** Result and gradients, with `outer` arriving everywhere unless it names a value for each element. */
export async function run(
  f: (...inputs: Tensor[]) => Tensor,
  inputs: Tensor[],
  outer: number | number[],
): Promise<Results> {
  for (const input of inputs) input.requiresGrad = true;
  const out = f(...inputs);
  const y = [...(await out.toFloat32())];
  const arriving = typeof outer === 'number' ? y.map(() => outer) : outer;
  ops.backward(out, tensorOf(out.gpu, arriving, out.dtype === 'f16', [...out.shape]));
  const grads: number[][] = [];
  for (const input of inputs) {
    grads.push([...(await input.grad!.toFloat32())]);
    input.grad!.dispose();
  }
  return { y, grads };
}

export function report(failures: string[]): void {
  assert.equal(failures.length, 0, `${failures.length} differ:\n  ${failures.slice(0, 40).join('\n  ')}`);
}
