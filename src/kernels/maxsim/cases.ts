/** What the op tests, the bench and the tuner run of MaxSim, and trials against a float64 reference at probes. */
import type { Gpu } from '../../gpu/gpu.js';
import { PackedSequences } from '../../tensor/packed.js';
import { CounterRandom } from '../../tensor/random.js';
import { Tensor } from '../../tensor/tensor.js';
import { type Case, type Cost, type Family, type Trial, variantOf } from '../variants.js';
import type { MaxSimForm, MaxSimSize, WinnersOperands } from './form.js';
import { maxSimLayout } from './layout.js';

export const sizeClass = (): string => 'any';

const caseOf = (
  use: 'check' | 'bench',
  rows: number,
  passages: number,
  tokens: number,
  width: number,
): Case<MaxSimForm, MaxSimSize> => ({
  name: `${rows} query tokens, ${passages} passages of ${tokens / passages} × ${width} f32`,
  form: { unit: width % 4 === 0 ? 4 : 1 },
  size: { rows, passages, tokens, width },
  use,
});

export const cases: readonly Case<MaxSimForm, MaxSimSize>[] = [
  caseOf('check', 37, 3, 87, 20),
  caseOf('check', 5, 4, 40, 7),
  caseOf('bench', 120, 16, 2048, 384),
  caseOf('bench', 120, 16, 2048, 1024),
];

export const cost = (_: MaxSimForm, { rows, passages, tokens, width }: MaxSimSize): Cost => ({
  flops: 2 * rows * tokens * width,
  bytes: 4 * (width * (rows + tokens) + 2 * rows * passages),
});

/** Two queries of unequal length and passages of equal length, but for the last, all pairs scored. */
function lengthsOf({ rows, passages, tokens }: MaxSimSize): { queries: number; lengths: number[] } {
  const short = Math.floor(rows / 3);
  // Each text has a CLS, which takes no part.
  const queries = [short, rows - short].filter((length) => length > 0).map((length) => length + 1);
  const each = Math.max(1, Math.floor(tokens / passages));
  const lengths = new Array<number>(passages).fill(each);
  lengths[passages - 1] = Math.max(1, tokens - each * (passages - 1));
  return { queries: queries.length, lengths: [...queries, ...lengths] };
}

export function trial(
  gpu: Gpu,
  form: MaxSimForm,
  size: MaxSimSize,
  family: Pick<Family<MaxSimForm, MaxSimSize, WinnersOperands>, 'name' | 'variants' | 'sizeClass'>,
): Trial {
  const { width } = size;
  const { queries, lengths } = lengthsOf(size);
  const packed = new PackedSequences(gpu, lengths);
  const random = new CounterRandom(1, 0);
  const values = Float32Array.from({ length: packed.tokens * width }, () => 2 * random.uniform() - 1);
  const vectors = Tensor.from(gpu, values, [packed.tokens, width]).keep();
  const layout = maxSimLayout(packed, { queries, width, blockBytes: Number.POSITIVE_INFINITY });
  const block = layout.blocks[0]!;
  const { columns } = layout;
  const best = Tensor.empty(gpu, [block.rows, columns]).keep();
  const positions = Tensor.empty(gpu, [block.rows, columns], 'u32').keep();
  const { bounds } = packed;
  /** Query tokens of the block, by row. */
  const tokens = Array.from({ length: queries }, (_, q) => q).flatMap((q) =>
    Array.from({ length: bounds[q + 1]! - bounds[q]! - 1 }, (_, i) => bounds[q]! + 1 + i),
  );
  const product = (a: number, b: number): number => {
    let sum = 0;
    for (let c = 0; c < width; c++) sum += values[a * width + c]! * values[b * width + c]!;
    return sum;
  };
  return {
    outputs: [best, positions],
    run(name) {
      variantOf(gpu, family, form, size, name).run(gpu, form, size, {
        vectors,
        layout,
        block,
        best,
        positions,
      });
    },
    async error() {
      const [got, at] = [await best.toFloat32(), await positions.toArray()];
      let top = 1e-6;
      let worst = 0;
      const see = (difference: number) => {
        if (!(difference <= worst)) worst = difference;
      };
      for (const row of new Set([0, block.rows >> 1, block.rows - 1]))
        for (let passage = 0; passage < columns; passage++) {
          let most = Number.NEGATIVE_INFINITY;
          for (let t = bounds[queries + passage]! + 1; t < bounds[queries + passage + 1]!; t++)
            most = Math.max(most, product(tokens[row]!, t));
          top = Math.max(top, Math.abs(most));
          see(Math.abs(got[row * columns + passage]! - most));
          // Of two that are as good as equal either may win.
          see(most - product(tokens[row]!, at[row * columns + passage]!));
        }
      return worst / top;
    },
    dispose() {
      for (const tensor of [vectors, best, positions]) tensor.dispose();
      packed.dispose();
    },
  };
}
