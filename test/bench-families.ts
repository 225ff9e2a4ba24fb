/** Small kernel families for tests of the bench: y = 2·x, right and wrong, and two that stand for the adapter's peaks. */
import { Shader } from '../src/kernels/launch/shader.js';
import { choose, type Family, type Variant } from '../src/kernels/variants.js';
import { Tensor } from '../src/tensor/tensor.js';

interface DoubleForm {
  readonly y: 'f32';
}
interface DoubleSize {
  readonly n: number;
}
interface DoubleOperands {
  readonly x: Tensor;
  readonly y: Tensor;
}

type DoubleVariant = Variant<DoubleForm, DoubleSize, DoubleOperands>;

/** `statement` computes ioY[i] of v, which is x[i]. */
export function doubleVariant(
  name: string,
  statement = 'ioY[i] = 2.0 * v;',
  { prior = 0, supports = true } = {},
): DoubleVariant {
  const shader = new Shader({
    label: `double.${name}`,
    params: { n: 'u32' } as const,
    buffers: { X: 'array<f32>', ioY: 'array<f32>' },
    body: `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= p.n) { return; }
  let v = X[i];
  ${statement}
}`,
  });
  return {
    name,
    why: `a test of <b>${name}</b>`,
    supports: () => supports,
    prior: () => prior,
    shaders: () => ({ main: shader }),
    run: (gpu, _, { n }, { x, y }) => shader.run(gpu, [x, y], { n }, [Math.ceil(n / 64)]),
  };
}

export function doubleFamily(
  variants: readonly [DoubleVariant, ...DoubleVariant[]],
  { name = 'double', flops = (n: number) => n } = {},
): Family<DoubleForm, DoubleSize, DoubleOperands> {
  const family: Family<DoubleForm, DoubleSize, DoubleOperands> = {
    name,
    summary: 'y = 2 · x',
    variants,
    sizeClass: ({ n }) => `${n}`,
    cases: [
      { name: '64 f32', form: { y: 'f32' }, size: { n: 64 }, use: 'check' },
      { name: '8192 f32', form: { y: 'f32' }, size: { n: 8192 }, use: 'bench' },
    ],
    sizes: {
      spelled: 'N',
      read: ([n, ...more], form) =>
        n === undefined || more.length > 0 ? undefined : { name: `${n} f32`, form, size: { n } },
    },
    cost: (_, { n }) => ({ flops: flops(n), bytes: 8 * n }),
    tolerance: () => 1e-6,
    trial(gpu, form, size) {
      const values = Float32Array.from({ length: size.n }, (_, i) => (i + 1) / size.n);
      const x = Tensor.from(gpu, values, [size.n]).keep();
      const y = Tensor.empty(gpu, [size.n]).keep();
      return {
        outputs: [y],
        run(variant) {
          const named = variants.find((each) => each.name === variant) ?? choose(gpu, family, form, size);
          named.run(gpu, form, size, { x, y });
        },
        // Looks at its beginning only, as references that are expensive do.
        async error() {
          const got = await y.toFloat32();
          return Math.max(...[0, 1, 2].map((i) => Math.abs(got[i]! - 2 * values[i]!)));
        },
        dispose() {
          x.dispose();
          y.dispose();
        },
      };
    },
  };
  return family;
}

/** Named as the families in which the bench looks for peaks. */
export const peakFamilies = (): Family[] => [
  doubleFamily([doubleVariant('plain')], { name: 'copy' }),
  doubleFamily([doubleVariant('plain')], { name: 'fmaPeak', flops: (n) => 100 * n }),
];
