/**
 * `node dist/test/interop/attention.js PYTHON [EVERY]`, by hand: scaledDotProductAttention and its gradients over a grid of shapes and
 * options, with the kernels of the adapter's choice and with those that always work, beside PyTorch's in float64 (graphs.py).
 * EVERY: one case of so
 * many is compared, by default each. Exits with 1 where something differs by more than 1e-4 of the largest value, in f16 by more than 4e-3.
 */
import { backward, scaledDotProductAttention } from '../../src/autograd/index.js';
import { Gpu } from '../../src/gpu/gpu.js';
import { f16ToF32, f32ToF16 } from '../../src/tensor/dtype.js';
import { scope } from '../../src/tensor/scope.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { Draw } from './graphs/draw.js';
import { differenceOf, Oracle } from './graphs/oracle.js';

/** Batch, heads, key heads, queries, keys, components. */
const SHAPES = [
  [2, 4, 4, 37, 37, 16],
  [1, 8, 2, 70, 45, 32],
  [2, 2, 1, 9, 130, 64],
  [1, 2, 2, 66, 66, 128],
  [1, 3, 1, 5, 7, 20],
  [2, 4, 2, 21, 33, 10],
  [1, 2, 2, 40, 70, 33],
  [2, 3, 3, 1, 300, 25],
  [1, 2, 1, 20, 50, 50],
] as const;

interface Options {
  readonly layout: 'bhld' | 'blhd';
  readonly dtype: 'f32' | 'f16';
  readonly causal: boolean | 'lower-right';
  /** Extents of its bias that are 1: none of it, or it has none. */
  readonly bias: 'none' | 'all' | 'batch' | 'batch and heads' | 'heads and queries';
  readonly lengths: boolean;
}

const grid: Options[] = (['bhld', 'blhd'] as const).flatMap((layout) =>
  (['f32', 'f16'] as const).flatMap((dtype) =>
    ([false, true, 'lower-right'] as const).flatMap((causal) =>
      (['none', 'all', 'batch', 'batch and heads', 'heads and queries'] as const).flatMap((bias) =>
        [false, true].map((lengths) => ({ layout, dtype, causal, bias, lengths })),
      ),
    ),
  ),
);

const TORCH =
  `(lambda q, k, v, hide: F.scaled_dot_product_attention(q, k, v, attn_mask=hide + (x[3] if len(x) > 3 else 0), enable_gqa=True))(
  *(each.transpose(1, 2) if a['layout'] == 'blhd' else each for each in x[:3]),
  torch.full((a['queries'], a['keys']), -torch.inf if a['causal'] is True else 0.0, dtype=dtype).triu(1)
  + torch.stack([torch.where(torch.arange(a['keys']) < n, 0.0, -torch.inf).to(dtype) for n in a['lengths']])[:, None, None, :]
  + torch.stack([torch.full((a['queries'], a['keys']), -torch.inf if a['causal'] == 'lower-right' else 0.0, dtype=dtype).triu(1 + n - a['queries']) for n in a['lengths']])[:, None])
`.replaceAll('\n', ' ');

const oracle = new Oracle(process.argv[2] ?? 'python3');
const every = Number(process.argv[3] ?? 1);
let [count, wrong] = [0, 0];
const worst = { f32: 0, f16: 0 };
for (const kernels of [undefined, 'fallback'] as const) {
  const gpu = await Gpu.open(kernels ? { kernels } : {});
  for (const [n, options] of grid.entries()) {
    if (n % every !== 0) continue;
    const [batch, heads, keyHeads, queries, keys, d] = SHAPES[n % SHAPES.length]!;
    const { layout, dtype, causal, lengths: some, bias: extents } = options;
    const shape = (heads: number, length: number) =>
      layout === 'bhld' ? [batch, heads, length, d] : [batch, length, heads, d];
    const bias = {
      none: [],
      all: [[batch, heads, queries, keys]],
      batch: [[heads, queries, keys]],
      'batch and heads': [[queries, keys]],
      'heads and queries': [[batch, 1, 1, keys]],
    }[extents];
    const lengths = Array.from({ length: batch }, (_, b) => (some ? keys - 1 - b : keys));
    const shapes = [shape(heads, queries), shape(keyHeads, keys), shape(keyHeads, keys), ...bias];
    await scope(async () => {
      const draw = new Draw(gpu, n);
      const rounded = (length: number) => {
        const values = Float32Array.from({ length }, () => 2 * draw.next() - 1);
        return dtype === 'f16' ? f16ToF32(f32ToF16(values)) : values;
      };
      const leaves = shapes.map((shape) => rounded(shape.reduce((a, b) => a * b, 1)));
      const tensors = leaves.map((values, i) => {
        const tensor = Tensor.from(gpu, dtype === 'f16' ? f32ToF16(values) : values, shapes[i]!, dtype);
        // Of a bias that queries share there is none.
        tensor.requiresGrad = i < 3 || extents !== 'heads and queries';
        return tensor;
      });
      const [q, k, v, added] = tensors as [Tensor, Tensor, Tensor, Tensor?];
      const out = scaledDotProductAttention(q, k, v, {
        layout,
        causal,
        ...(added ? { bias: added } : {}),
        ...(some ? { keyLengths: lengths } : {}),
      });
      const weights = rounded(out.size);
      const seed = Tensor.from(gpu, dtype === 'f16' ? f32ToF16(weights) : weights, out.shape, dtype);
      backward(out, { seed });
      const answer = await oracle.ask({
        tensors: [
          ...leaves.map((values, i) => ({ shape: shapes[i], values: [...values] })),
          {
            inputs: leaves.map((_, i) => i),
            torch: layout === 'blhd' ? `(${TORCH}).transpose(1, 2)` : TORCH,
            attributes: { layout, causal, queries, keys, lengths },
          },
        ],
        seeds: [[leaves.length, [...weights]]],
      });
      const name = `${JSON.stringify(options)} ${SHAPES[n % SHAPES.length]}${kernels ? ` ${kernels}` : ''}`;
      count++;
      if (!('values' in answer)) {
        wrong++;
        process.stdout.write(`${name}: ${JSON.stringify(answer)}\n`);
        return;
      }
      const pairs: [string, Tensor, readonly number[]][] = [['value', out, answer.values.at(-1)!]];
      for (const [i, tensor] of tensors.entries())
        if (tensor.grad) pairs.push([`gradient ${i}`, tensor.grad, answer.gradients[i]!]);
      for (const [what, got, want] of pairs) {
        const difference = differenceOf(await got.toFloat32(), want);
        worst[dtype] = Math.max(worst[dtype], difference);
        if (!(difference <= (dtype === 'f16' ? 4e-3 : 1e-4))) {
          wrong++;
          process.stdout.write(`${name}: ${what} differs by ${difference.toExponential(1)}\n`);
        }
      }
      for (const tensor of tensors) tensor.grad?.dispose();
    });
  }
  await gpu.close();
}
oracle.close();
process.stdout.write(
  `${count} cases, ${wrong} differences; largest ${worst.f32.toExponential(1)} of the largest value, in f16 ${worst.f16.toExponential(1)}\n`,
);
process.exitCode = wrong > 0 ? 1 : 0;
