/**
 * Embedding as a family of its own, measured and checked like the others although there is one way to do each: rows
 * gathered from a table, and the gradient, sums of the rows that were gathered from the same one. The kernels are in
 * rows.ts.
 */
import { Tensor } from '../tensor/tensor.js';
import { gatherInto, gatherShader, type RowSegments, segmentSumRows, segmentSumShader } from './rows.js';
import { Draws, probedRows, trialOf, variantOf } from './trials.js';
import type { Case, Family } from './variants.js';

interface EmbeddingForm {
  readonly part: 'value' | 'gradient';
  /** Rows are whole groups of four. */
  readonly vec: boolean;
}

interface EmbeddingSize {
  /** Rows of the table; of the gradient: those that were gathered at all. */
  readonly table: number;
  readonly tokens: number;
  readonly cols: number;
}

interface EmbeddingOperands {
  /** The table, or the gradient of what was gathered. */
  readonly from: Tensor;
  readonly index: Tensor;
  readonly segments: RowSegments | undefined;
  readonly out: Tensor;
}

const caseOf = (
  part: EmbeddingForm['part'],
  [table, tokens, cols]: readonly [number, number, number],
  use: 'check' | 'bench',
): Case<EmbeddingForm, EmbeddingSize> => ({
  name: `${part === 'value' ? '' : 'gradient '}${tokens} of ${table}×${cols} f32`,
  form: { part, vec: cols % 4 === 0 },
  size: { table, tokens, cols },
  use,
});

export const embeddingFamily: Family<EmbeddingForm, EmbeddingSize, EmbeddingOperands> = {
  name: 'embedding',
  summary: 'rows gathered from a table, and the sums of rows that are the gradient of that',
  variants: [
    {
      name: 'rows',
      why: '32 threads a row; gradients as sums over sorted positions, without atomics',
      supports: () => true,
      prior: () => 0,
      shaders: (_, { part, vec }) => ({
        rows: part === 'value' ? gatherShader({ vec }) : segmentSumShader({ vec }),
      }),
      run(_gpu, { part }, _size, { from, index, segments, out }) {
        if (part === 'value') gatherInto(from, index, out, false);
        else segmentSumRows(from, segments!, out, false);
      },
    },
  ],
  sizeClass: () => 'any',
  cases: (['value', 'gradient'] as const).flatMap((part) => [
    caseOf(part, [40, 100, 36], 'check'),
    caseOf(part, [9, 30, 7], 'check'),
    caseOf(part, [4096, 1728, 1024], 'bench'),
    caseOf(part, [512, 1728, 384], 'bench'),
  ]),
  cost: ({ part }, { table, tokens, cols }) =>
    part === 'value'
      ? { flops: 0, bytes: tokens * (8 * cols + 4) }
      : { flops: tokens * cols, bytes: 4 * (tokens + table) * cols + 4 * tokens },
  tolerance: ({ part }) => (part === 'value' ? 0 : 1e-5),
  trial(gpu, form, size) {
    const { table, tokens, cols } = size;
    const draws = new Draws(gpu, table + tokens);
    const gradient = form.part === 'gradient';
    const from = draws.floats([gradient ? tokens : table, cols]);
    const index = draws.indices(tokens, table);
    const out = draws.empty([gradient ? table : tokens, cols]);
    // Positions by the row that they were gathered from; rows that none names sum up nothing.
    const positions = Array.from({ length: table }, (): number[] => []);
    index.values.forEach((row, position) => {
      positions[row]!.push(position);
    });
    const u32 = (values: number[]) =>
      draws.kept(Tensor.from(gpu, Uint32Array.from(values), [values.length], 'u32'));
    const starts = [0];
    for (const list of positions) starts.push(starts.at(-1)! + list.length);
    const segments = gradient
      ? { order: u32(positions.flat()), starts: u32(starts), rows: u32(positions.map((_, row) => row)) }
      : undefined;
    const rowOf = (r: number) => from.values.subarray(r * cols, (r + 1) * cols);
    const right = (r: number) => {
      if (!gradient) return rowOf(index.values[r]!);
      const sum = new Float64Array(cols);
      for (const position of positions[r]!)
        rowOf(position).forEach((v, c) => {
          sum[c]! += v;
        });
      return sum;
    };
    const parts = () => probedRows(out.rows, 32).map((r) => ({ start: r * cols, values: right(r) }));
    return trialOf(draws, [{ output: out, parts }], (name) =>
      variantOf(gpu, embeddingFamily, form, size, name).run(gpu, form, size, {
        from: from.tensor,
        index: index.tensor,
        segments,
        out,
      }),
    );
  },
};
