/**
 * Fused attention over packed sequences, forward and gradient (FlashAttention-2, Dao 2023): the entrance to two families,
 * `forward.ts` and `backward.ts`, which choose separately. Checks operands and makes the results.
 */
import { ShapeError } from '../../errors.js';
import {
  floats,
  integer,
  probability,
  requireBeside,
  signature,
  wholeNumber,
} from '../../tensor/operands.js';
import { scope } from '../../tensor/scope.js';
import { Tensor } from '../../tensor/tensor.js';
import { floatDType } from '../launch/formats.js';
import { runVariant } from '../variants.js';
import { gradientFamily } from './backward.js';
import type { AttentionForm } from './form.js';
import { forwardFamily } from './forward.js';
import type { AttentionDropout, AttentionSize, TileSource } from './layout.js';
import { kernelWidth, narrowed, widened } from './widths.js';

export type { AttentionDropout, TileSource };

const ATTENTION = signature(
  'attention',
  { qkv: floats('T', '3*heads*d') },
  { numbers: { heads: wholeNumber(1) } },
);
/** @throws ShapeError when the draw is not one. */
export function checkDropout(op: string, x: Tensor, dropout: AttentionDropout): void {
  const { probability: p, seed, stream, firstRow = 0 } = dropout;
  signature(
    op,
    { x: floats('...') },
    { numbers: { probability, seed: integer, stream: integer, firstRow: wholeNumber() } },
  ).check({ x }, { probability: p, seed, stream, firstRow });
}

/** @throws ShapeError for a head of which kernels have no form. */
export function checkHeadDim(op: string, headDim: number, operands: Record<string, Tensor>): void {
  if (headDim > 128 || headDim === 0)
    throw new ShapeError(op, `the head dimension must be from 1 up to 128, not ${headDim}`, operands);
}

/** @throws ShapeError. */
function checkOperands(
  qkv: Tensor,
  sequences: TileSource,
  heads: number,
  dropout: AttentionDropout | undefined,
): void {
  requireBeside('attention', 'sequences', 'a PackedSequences', sequences, 'tokens', 'gpu');
  ATTENTION.check(
    { qkv },
    { heads },
    { extents: { T: [sequences.tokens, 'the sequences'] }, gpu: sequences.gpu },
  );
  if (dropout) checkDropout('attention', qkv, dropout);
  checkHeadDim('attention', qkv.cols / 3 / heads, { qkv });
}

function formAndSize(
  qkv: Tensor,
  sequences: TileSource,
  heads: number,
  dropout: AttentionDropout | undefined,
  causal: boolean,
): [form: AttentionForm, size: AttentionSize, headDim: number] {
  const headDim = qkv.cols / 3 / heads;
  const dtype = floatDType('attention', qkv);
  const width = kernelWidth(headDim, dtype);
  let longest = 0;
  const { bounds } = sequences;
  for (let s = 0; s + 1 < bounds.length; s++) longest = Math.max(longest, bounds[s + 1]! - bounds[s]!);
  return [
    {
      headDim: width,
      dtype,
      dropout: dropout !== undefined,
      ...(causal ? { causal } : {}),
    },
    { tokens: qkv.rows, hidden: heads * width, longest },
    headDim,
  ];
}

/**
 * qkv: [T, 3·heads·headDim] f32 or f16. Returns out [T, heads·headDim] of the same and the base-2 log-sum-exp
 * [T, heads] f32; scores, softmax and sums are f32. `causal`: a token sees itself and those before it.
 * @throws ShapeError unless the sequences have T tokens in all and headDim is from 1 up to 128.
 */
export function attention(
  qkv: Tensor,
  sequences: TileSource,
  heads: number,
  dropout?: AttentionDropout,
  causal = false,
): { out: Tensor; logSumExp: Tensor } {
  checkOperands(qkv, sequences, heads, dropout);
  const { gpu } = qkv;
  const [form, size, headDim] = formAndSize(qkv, sequences, heads, dropout, causal);
  return scope(() => {
    const out = Tensor.empty(gpu, [size.tokens, size.hidden], form.dtype);
    const logSumExp = Tensor.empty(gpu, [size.tokens, heads]);
    runVariant(gpu, forwardFamily, form, size, {
      qkv: widened(qkv, headDim, form.headDim),
      scale: 1 / Math.sqrt(headDim),
      sequences,
      dropout,
      out,
      logSumExp,
    });
    return { out: narrowed(out, headDim, form.headDim), logSumExp };
  });
}

/** dqkv [T, 3·H] of dOut [T, H]; `out` and `logSumExp` are those of the forward pass. */
export function attentionGradient(
  qkv: Tensor,
  out: Tensor,
  logSumExp: Tensor,
  dOut: Tensor,
  sequences: TileSource,
  heads: number,
  dropout?: AttentionDropout,
  causal = false,
): Tensor {
  const { gpu } = qkv;
  const [form, size, headDim] = formAndSize(qkv, sequences, heads, dropout, causal);
  return scope(() => {
    const wide = (x: Tensor) => widened(x, headDim, form.headDim);
    const dqkv = Tensor.empty(gpu, [size.tokens, 3 * size.hidden], form.dtype);
    runVariant(gpu, gradientFamily, form, size, {
      qkv: wide(qkv),
      scale: 1 / Math.sqrt(headDim),
      sequences,
      dropout,
      out: wide(out),
      logSumExp,
      dOut: wide(dOut),
      dqkv,
    });
    return narrowed(dqkv, headDim, form.headDim);
  });
}
