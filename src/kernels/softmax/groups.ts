/** The block of columns of a score matrix that belongs to a row: the passages of its own query. */
import { f32, signature, wholeNumber } from '../../tensor/operands.js';
import { Tensor } from '../../tensor/tensor.js';
import { byRows } from '../launch/operands.js';
import type { RowVariant } from '../launch/rows.js';
import { type RowsSize, rowVariants, widthClass } from '../row-variants.js';
import { Draws, trialOf } from '../trials.js';
import { type Case, type Family, runVariant, variantOf } from '../variants.js';
import { scoresShader } from './kernel.js';

interface GroupForm {
  readonly part: 'value' | 'gradient';
}

/** Of the score matrix. */
interface GroupSize extends RowsSize {
  readonly group: number;
}

interface GroupOperands {
  /** Scores, or the gradient of the group. */
  readonly from: Tensor;
  readonly out: Tensor;
}

const groupShader = (form: GroupForm, reduction: RowVariant) =>
  scoresShader(form.part === 'value' ? 'ownGroup' : 'ownGroupGradient', form, reduction, ({ part }) => ({
    params: { first: 'u32', rows: 'u32', cols: 'u32', group: 'u32' } as const,
    buffers: ['X', 'outY'],
    body:
      part === 'value'
        ? `
  for (var c = lane; c < p.group; c += LANES) { outY[row * p.group + c] = X[row * p.cols + (p.first + row) * p.group + c]; }`
        : `
  for (var c = lane; c < p.cols; c += LANES) {
    let own = c / p.group == p.first + row;
    outY[row * p.cols + c] = select(0.0, X[row * p.group + c % p.group], own);
  }`,
  }));

const formName = ({ part }: GroupForm): string => (part === 'value' ? 'f32' : 'gradient f32');

const caseOf = (
  form: GroupForm,
  [rows, group]: readonly [number, number],
  use: 'check' | 'bench',
): Case<GroupForm, GroupSize> => ({
  name: `${rows}×${rows * group} groups of ${group} ${formName(form)}`,
  form,
  size: { rows, cols: rows * group, group },
  use,
});

export const groupFamily: Family<GroupForm, GroupSize, GroupOperands> = {
  name: 'scoreGroups',
  summary: 'each row’s own block of a score matrix, and its gradient',
  variants: rowVariants(
    groupShader,
    (shader, gpu, _, { cols, group }: GroupSize, { from, out }: GroupOperands) =>
      shader.launch(
        gpu,
        { X: byRows(from), outY: byRows(out) },
        ({ start, count }) => ({ first: start, rows: count, cols, group }),
        ({ count }) => count,
      ),
  ),
  formName,
  sizeClass: widthClass,
  cases: (['value', 'gradient'] as const).flatMap((part) => [
    caseOf({ part }, [3, 4], 'check'),
    caseOf({ part }, [9, 7], 'check'),
    caseOf({ part }, [64, 8], 'bench'),
  ]),
  cost: ({ part }, { rows, cols, group }) => ({
    flops: 0,
    bytes: 4 * rows * (group + (part === 'value' ? group : cols)),
  }),
  tolerance: () => 0,
  trial(gpu, form, size) {
    const { rows, cols, group } = size;
    const draws = new Draws(gpu, rows + cols);
    const value = form.part === 'value';
    const from = draws.floats([rows, value ? cols : group]);
    const out = draws.empty([rows, value ? group : cols]);
    const right = Float64Array.from({ length: out.size }, (_, i) => {
      const [r, c] = [Math.floor(i / out.cols), i % out.cols];
      if (value) return from.values[r * cols + r * group + c]!;
      return Math.floor(c / group) === r ? from.values[r * group + (c % group)]! : 0;
    });
    return trialOf(draws, [{ output: out, parts: () => [{ start: 0, values: right }] }], (name) =>
      variantOf(gpu, groupFamily, form, size, name).run(gpu, form, size, { from: from.tensor, out }),
    );
  },
};

const OWN_GROUP = signature('ownGroup', { x: f32('B', 'B*G') }, { numbers: { G: wholeNumber(1) } });

/** Row r's own block of a [B, B·G] score matrix: columns r·G..r·G+G−1 → [B,G]. */
export function ownGroup(x: Tensor, group: number): Tensor {
  OWN_GROUP.check({ x }, { G: group });
  const out = Tensor.empty(x.gpu, [x.rows, group]);
  const size = { rows: x.rows, cols: x.cols, group };
  runVariant(x.gpu, groupFamily, { part: 'value' }, size, { from: x, out });
  return out;
}

export function ownGroupGradient(dy: Tensor, cols: number): Tensor {
  const out = Tensor.empty(dy.gpu, [dy.rows, cols]);
  const size = { rows: dy.rows, cols, group: dy.cols };
  runVariant(dy.gpu, groupFamily, { part: 'gradient' }, size, { from: dy, out });
  return out;
}
