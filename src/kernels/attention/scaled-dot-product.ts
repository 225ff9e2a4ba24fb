/**
 * Attention of queries, keys and values that are tensors of their own: checks operands and options, finds which rows
 * belong together (`spans.ts`), and makes the results by the families `attention` and `attentionGradient`.
 */
import { ShapeError } from '../../errors.js';
import { show } from '../../show.js';
import { floats, optional, requireBeside, signature } from '../../tensor/operands.js';
import type { PackedSequences } from '../../tensor/packed.js';
import { scope } from '../../tensor/scope.js';
import { formatShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { floatDType } from '../launch/formats.js';
import { runVariant } from '../variants.js';
import { checkDropout, checkHeadDim } from './attention.js';
import { gradientFamily } from './backward.js';
import type { ApartSources, AttentionForm } from './form.js';
import { forwardFamily } from './forward.js';
import type { AttentionDropout, AttentionSize } from './layout.js';
import { type BiasSteps, type Span, Spans } from './spans.js';
import { kernelWidth, narrowed, widened } from './widths.js';

/** What attention leaves out, adds and scales by. */
export interface ScaledDotProductOptions {
  /**
   * Query i sees keys 0 … i of its sequence: the upper left corner, as PyTorch's `is_causal`, also of unequal lengths. With
   * `lower-right`, as PyTorch's `causal_lower_right`, the last query sees all keys of its sequence, the one before all but
   * the last …: queries are the newest tokens, and keys those of a cache of all.
   */
  readonly causal?: boolean | 'lower-right';
  /** Added to scaled scores, f32 or f16: [batch or 1, heads or 1, Lq, Lk], or less dimensions of these from the right. */
  readonly bias?: Tensor;
  /** Factor of q·kᵀ, by default 1/√dim. */
  readonly scale?: number;
  /** Of the probabilities. */
  readonly dropout?: AttentionDropout;
  /** Of four dimensions, which is which: batch, heads, length and dim (`bhld`, as in PyTorch) or `blhd`. */
  readonly layout?: 'bhld' | 'blhd';
  /** Of four dimensions: rows of each example that are there; the result has zeros in the others. Of keys too. */
  readonly lengths?: ArrayLike<number>;
  /** The same of keys and values alone, where it is not `lengths`. */
  readonly keyLengths?: ArrayLike<number>;
  /** Of three dimensions, [tokens, heads, dim]: the sequences that queries are packed from. */
  readonly sequences?: PackedSequences;
  /** The same of keys and values, by default those of the queries. */
  readonly keySequences?: PackedSequences;
}

const OP = 'scaledDotProductAttention';

const key = { sameDType: ['q', 'k', 'v'] } as const;
const bias = optional(floats('...'));
const SIGNATURES = {
  bhld: signature(
    OP,
    {
      q: floats('B', 'H', 'Lq', 'd'),
      k: floats('B', 'G', 'Lk', 'd'),
      v: floats('B', 'G', 'Lk', 'd'),
      bias,
    },
    key,
  ),
  blhd: signature(
    OP,
    {
      q: floats('B', 'Lq', 'H', 'd'),
      k: floats('B', 'Lk', 'G', 'd'),
      v: floats('B', 'Lk', 'G', 'd'),
      bias,
    },
    key,
  ),
  packed: signature(
    OP,
    { q: floats('Tq', 'H', 'd'), k: floats('Tk', 'G', 'd'), v: floats('Tk', 'G', 'd'), bias },
    key,
  ),
};

/** A call whose operands were checked: what forward and gradient run with, once its bias is f32. */
export interface ScaledDotProduct {
  /** Of heads as kernels see them, and so is the size. */
  readonly form: AttentionForm;
  readonly size: AttentionSize;
  readonly headDim: number;
  /** q, k and v as rows. */
  readonly sources: ApartSources;
  readonly dropout: AttentionDropout | undefined;
  /** Of the result. */
  readonly shape: readonly number[];
  /** Whether some rows belong to no sequence. */
  readonly gaps: boolean;
  /** Whether all queries, or all keys, share the bias. */
  readonly sharedBias: boolean;
}

/** Rows of each example or sequence: where they begin, and how many there are. */
interface Sequences {
  readonly begins: readonly number[];
  readonly lengths: readonly number[];
}

/** What the layouts differ in, once they are read. */
interface Geometry {
  readonly heads: number;
  readonly keyHeads: number;
  readonly queries: Sequences;
  readonly keys: Sequences;
  /** Extents of the bias. */
  readonly longest: number;
  readonly longestKeys: number;
  readonly gaps: boolean;
}

type Fail = (problem: string) => never;

/** @throws ShapeError before anything is allocated. */
export function scaledDotProductCall(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: ScaledDotProductOptions,
): ScaledDotProduct {
  const { causal = false, bias, dropout, layout } = options;
  const operands = { q, k, v, ...(bias ? { bias } : {}) };
  const fail: Fail = (problem) => {
    throw new ShapeError(OP, problem, operands);
  };
  const packed = q instanceof Tensor && q.shape.length === 3;
  if (layout !== undefined && layout !== 'bhld' && layout !== 'blhd')
    fail(`layout must be bhld or blhd, found ${show(layout)}`);
  const only = (dimensions: string, ...names: (keyof ScaledDotProductOptions)[]) => {
    const found = names.find((name) => options[name] !== undefined);
    if (found) fail(`${found} is for ${dimensions}`);
  };
  if (typeof causal !== 'boolean' && causal !== 'lower-right')
    fail(`causal must be true, false or lower-right, found ${show(causal)}`);
  if (packed) only('four dimensions', 'layout', 'lengths', 'keyLengths');
  else only('three dimensions, [tokens, heads, dim]', 'sequences', 'keySequences');
  const geometry = packed
    ? packedGeometry(q, k, v, options)
    : denseGeometry(q, k, v, options, layout ?? 'bhld');
  const { heads, keyHeads, queries, keys, longest, longestKeys, gaps } = geometry;
  const headDim = q.shape.at(-1)!;
  checkHeadDim(OP, headDim, { q });
  if (dropout) checkDropout(OP, q, dropout);
  const scale = options.scale ?? 1 / Math.sqrt(headDim);
  if (typeof scale !== 'number' || !Number.isFinite(Math.fround(scale)))
    fail(`scale must be a finite number, found ${show(scale)}`);
  if (keyHeads === 0 ? heads > 0 : heads % keyHeads !== 0)
    fail(`${heads} heads of queries cannot share ${keyHeads} of keys evenly`);
  const members = keyHeads === 0 ? 1 : heads / keyHeads;
  const batch = queries.begins.length;
  const steps = biasSteps(bias, [batch, heads, longest, longestKeys], fail);
  const rows = ({ begins, lengths }: Sequences, s: number, shift = 0) => ({
    begin: begins[s]! + shift,
    end: begins[s]! + shift + lengths[s]!,
  });
  const spans: Span[] = [];
  const below = !packed && layout !== 'blhd';
  for (let s = 0; s < batch; s++)
    for (let g = 0; g < (below ? keyHeads : Math.min(1, heads)); g++)
      spans.push({
        queries: rows(queries, s, below ? g * members * longest : 0),
        keys: rows(keys, s, below ? g * longestKeys : 0),
        bias: s * steps.batch + (below ? g * members * steps.head : 0),
      });
  const [besides, keysBesides] = below ? [1, 1] : [heads, keyHeads];
  const dtype = floatDType(OP, q);
  const width = kernelWidth(headDim, dtype);
  const all = new Spans(q.gpu, spans, besides, keysBesides, members, below ? longest : 0, steps);
  const asRows = (x: Tensor, heads: number) =>
    x.alias([headDim * heads === 0 ? 0 : x.size / headDim / heads, headDim * heads], OP);
  return {
    form: {
      headDim: width,
      dtype,
      dropout: dropout !== undefined,
      apart: true,
      ...(causal === false ? {} : { causal }),
      ...(bias ? { bias: true } : {}),
    },
    size: {
      tokens: besides === 0 ? 0 : q.size / headDim / besides,
      hidden: besides * width,
      longest: all.longest('queries'),
      keyTokens: keysBesides === 0 ? 0 : k.size / headDim / keysBesides,
      keyHidden: keysBesides * width,
      longestKeys: all.longest('keys'),
    },
    headDim,
    sources: {
      q: asRows(q, besides),
      k: asRows(k, keysBesides),
      v: asRows(v, keysBesides),
      bias,
      spans: all,
      scale,
    },
    dropout,
    shape: q.shape,
    gaps,
    sharedBias: (steps.query === 0 && longest > 1) || (steps.key === 0 && longestKeys > 1),
  };
}

/** Of [tokens, heads, dim]. */
function packedGeometry(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { bias, sequences, keySequences = sequences }: ScaledDotProductOptions,
): Geometry {
  for (const [name, of] of Object.entries({ sequences, keySequences }))
    requireBeside(OP, name, 'a PackedSequences, for [tokens, heads, dim]', of, 'bounds', 'gpu');
  const [own, other] = [sequences!, keySequences!];
  SIGNATURES.packed.check({ q, k, v, bias }, undefined, {
    extents: { Tq: [own.tokens, 'the sequences'], Tk: [other.tokens, 'the sequences of keys'] },
    gpu: own.gpu,
  });
  if (own.count !== other.count)
    throw new ShapeError(OP, `${own.count} sequences of queries and ${other.count} of keys`, { q, k, v });
  const of = ({ bounds, lengths }: PackedSequences) => ({
    begins: [...bounds.subarray(0, -1)],
    lengths: [...lengths],
  });
  const longest = ({ lengths }: PackedSequences) => lengths.reduce((a, b) => Math.max(a, b), 0);
  return {
    heads: q.shape[1]!,
    keyHeads: k.shape[1]!,
    queries: of(own),
    keys: of(other),
    longest: longest(own),
    longestKeys: longest(other),
    gaps: false,
  };
}

/** Of four dimensions. */
function denseGeometry(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { bias, lengths, keyLengths }: ScaledDotProductOptions,
  layout: 'bhld' | 'blhd',
): Geometry {
  SIGNATURES[layout].check({ q, k, v, bias });
  const [batch] = q.shape as [number];
  const [headsAt, lengthAt] = layout === 'bhld' ? [1, 2] : [2, 1];
  const [heads, keyHeads] = [q.shape[headsAt]!, k.shape[headsAt]!];
  const [longest, longestKeys] = [q.shape[lengthAt]!, k.shape[lengthAt]!];
  const sequencesOf = (
    name: string,
    given: ArrayLike<number> | undefined,
    longest: number,
    heads: number,
  ): Sequences => {
    if (given !== undefined) requireBeside(OP, name, 'a list of whole numbers', given, 'length');
    const ofEach = given === undefined ? new Array<number>(batch).fill(longest) : Array.from(given);
    const wrong = ofEach.findIndex((length) => !Number.isInteger(length) || length < 0 || length > longest);
    if (ofEach.length !== batch || wrong >= 0)
      throw new ShapeError(
        OP,
        wrong < 0
          ? `${name} has ${ofEach.length} numbers for a batch of ${batch}`
          : `${name} must be whole numbers up to ${longest}, found ${show(ofEach[wrong])}`,
        { q, k, v },
      );
    const rows = layout === 'bhld' ? heads * longest : longest;
    return { begins: ofEach.map((_, b) => b * rows), lengths: ofEach };
  };
  const queries = sequencesOf('lengths', lengths, longest, heads);
  const keys =
    keyLengths === undefined
      ? sequencesOf('lengths', lengths, longestKeys, keyHeads)
      : sequencesOf('keyLengths', keyLengths, longestKeys, keyHeads);
  const gaps = queries.lengths.some((n) => n < longest) || keys.lengths.some((n) => n < longestKeys);
  return { heads, keyHeads, queries, keys, longest, longestKeys, gaps };
}

/** From one batch entry, head, query and key to the next, of a bias that is broadcast to `extents`. */
function biasSteps(
  bias: Tensor | undefined,
  extents: readonly number[],
  fail: Fail,
): BiasSteps & { readonly batch: number } {
  if (!bias) return { batch: 0, head: 0, query: 0, key: 0 };
  const { shape } = bias;
  const own = [...extents.map(() => 1), ...shape].slice(-Math.max(4, shape.length));
  if (shape.length > 4 || own.some((extent, i) => extent !== 1 && extent !== extents[i]))
    fail(`the bias cannot be broadcast to ${formatShape(extents)}, [batch, heads, queries, keys]`);
  const step = (i: number) => (own[i] === 1 ? 0 : own.slice(i + 1).reduce((a, b) => a * b, 1));
  return { batch: step(0), head: step(1), query: step(2), key: step(3) };
}

/** Zeros where rows belong to no sequence, which kernels leave as they are. */
const made = ({ gaps }: ScaledDotProduct, like: Tensor): Tensor =>
  gaps ? Tensor.zeros(like.gpu, like.shape, like.dtype) : Tensor.empty(like.gpu, like.shape, like.dtype);

/** The result, of q's shape, and the base-2 log-sum-exp of each of its rows and heads side by side, f32. */
export function scaledDotProduct(call: ScaledDotProduct): { out: Tensor; logSumExp: Tensor } {
  const { form, size, headDim, sources, dropout, shape } = call;
  return scope(() => {
    const wide = (x: Tensor) => widened(x, headDim, form.headDim);
    const [q, k, v] = [wide(sources.q), wide(sources.k), wide(sources.v)];
    const out = made(call, q);
    const logSumExp = Tensor.empty(q.gpu, [q.rows, sources.spans.heads]);
    runVariant(q.gpu, forwardFamily, form, size, { ...sources, q, k, v, dropout, out, logSumExp });
    return { out: narrowed(out, headDim, form.headDim).alias(shape), logSumExp };
  });
}

/**
 * dq, dk and dv of dOut, as rows; with `biasGradient` that of the bias too. `out` and `logSumExp` are those of the forward
 * pass.
 */
export function scaledDotProductGradient(
  call: ScaledDotProduct,
  out: Tensor,
  logSumExp: Tensor,
  dOut: Tensor,
  biasGradient: boolean,
): { dq: Tensor; dk: Tensor; dv: Tensor; dBias: Tensor | undefined } {
  const { form, size, headDim, sources, dropout } = call;
  return scope(() => {
    const wide = (x: Tensor) => widened(x, headDim, form.headDim);
    const [q, k, v] = [wide(sources.q), wide(sources.k), wide(sources.v)];
    const [dq, dk, dv] = [made(call, q), made(call, k), made(call, v)];
    const { bias } = sources;
    const dBias = biasGradient && bias ? Tensor.zeros(q.gpu, bias.shape) : undefined;
    runVariant(q.gpu, gradientFamily, form, size, {
      ...sources,
      q,
      k,
      v,
      dropout,
      out: wide(out.alias(sources.q.shape)),
      logSumExp,
      dOut: wide(dOut.alias(sources.q.shape)),
      dq,
      dk,
      dv,
      dBias,
    });
    const own = (x: Tensor) => narrowed(x, headDim, form.headDim);
    return { dq: own(dq), dk: own(dk), dv: own(dv), dBias };
  });
}
