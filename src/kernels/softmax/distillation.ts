/** `m3_kd_loss`: one cross-entropy for every candidate of a row's own group, each without the candidates before it. */
import { f32, signature } from '../../tensor/operands.js';
import { Tensor } from '../../tensor/tensor.js';
import { byRows, flat, type Operand } from '../launch/operands.js';
import type { RowVariant } from '../launch/rows.js';
import { type RowsSize, rowVariants, widthClass } from '../row-variants.js';
import { Draws, probedRows, trialOf } from '../trials.js';
import { type Case, type Family, runVariant, variantOf } from '../variants.js';
import { logSoftmaxOf, logSumExp, rowOf, scoresShader } from './kernel.js';

interface DistillationForm {
  readonly part: 'value' | 'gradient';
}

interface DistillationSize extends RowsSize {
  readonly group: number;
}

interface DistillationOperands {
  readonly x: Tensor;
  readonly teacher: Tensor;
  readonly ownOnly: boolean;
  /** Losses, or their gradients. */
  readonly loss: Tensor;
  /** Of the gradient. */
  readonly dx: Tensor | undefined;
}

const distillationShader = (form: DistillationForm, reduction: RowVariant) =>
  scoresShader(
    form.part === 'value' ? 'distillation' : 'distillationGradient',
    form,
    reduction,
    ({ part }) => ({
      params: { first: 'u32', rows: 'u32', cols: 'u32', group: 'u32', blocks: 'u32' } as const,
      buffers: part === 'value' ? ['X', 'P', 'outL'] : ['X', 'P', 'outX', 'DL'],
      body: `
  let start = (p.first + row) * p.group * p.blocks;
  var loss = 0.0;
  ${part === 'gradient' ? 'for (var c = lane; c < p.cols; c += LANES) { outX[row * p.cols + c] = 0.0; }' : ''}
  for (var i = 0u; i < p.group; i++) {
    // Candidates: all columns but the row's own first i.
    ${logSumExp('c < start || c >= start + i')}
    let weight = P[row * p.group + i];
    ${
      part === 'gradient'
        ? `for (var c = lane; c < p.cols; c += LANES) {
      if (c < start || c >= start + i) {
        outX[row * p.cols + c] += DL[row] * weight * (expOf(X[row * p.cols + c] - top) / total - select(0.0, 1.0, c == start + i));
      }
    }`
        : 'loss += weight * (logOf(total) - (X[row * p.cols + start + i] - top));'
    }
  }
  ${part === 'gradient' ? '' : 'if (lane == 0u) { outL[row] = loss; }'}`,
    }),
  );

const formName = ({ part }: DistillationForm): string => (part === 'value' ? 'f32' : 'gradient f32');

const caseOf = (
  form: DistillationForm,
  [rows, cols, group]: readonly [number, number, number],
  use: 'check' | 'bench',
): Case<DistillationForm, DistillationSize> => ({
  name: `${rows}×${cols} groups of ${group} ${formName(form)}`,
  form,
  size: { rows, cols, group },
  use,
});

export const distillationFamily: Family<DistillationForm, DistillationSize, DistillationOperands> = {
  name: 'm3DistillationLoss',
  summary: 'm3_kd_loss of each row with its teacher, and its gradient',
  variants: rowVariants(
    distillationShader,
    (
      shader,
      gpu,
      _,
      { cols, group }: DistillationSize,
      { x, teacher, ownOnly, loss, dx }: DistillationOperands,
    ) => {
      const operands: Record<string, Operand> = dx
        ? { outX: byRows(dx), DL: flat(loss) }
        : { outL: flat(loss) };
      shader.launch(
        gpu,
        { X: byRows(x), P: byRows(teacher), ...operands },
        ({ start, count }) => ({ first: start, rows: count, cols, group, blocks: ownOnly ? 0 : 1 }),
        ({ count }) => count,
      );
    },
  ),
  formName,
  sizeClass: widthClass,
  cases: (['value', 'gradient'] as const).flatMap((part) => [
    caseOf({ part }, [3, 12, 4], 'check'),
    // Own groups only, and more passages than the groups have.
    caseOf({ part }, [5, 7, 7], 'check'),
    caseOf({ part }, [6, 301, 5], 'check'),
    caseOf({ part }, [64, 512, 8], 'bench'),
  ]),
  cost: ({ part }, { rows, cols, group }) => ({
    flops: (part === 'value' ? 25 : 28) * rows * cols * group,
    bytes: 4 * rows * ((part === 'value' ? 1 : 2) * cols + group + 1),
  }),
  tolerance: () => 1e-5,
  trial(gpu, form, size) {
    const { rows, cols, group } = size;
    const draws = new Draws(gpu, rows + cols);
    const x = draws.floats([rows, cols], 'f32', 0, 8);
    const teacher = draws.floats([rows, group], 'f32', 0.5);
    const ownOnly = cols < rows * group;
    const startOf = (r: number) => (ownOnly ? 0 : r * group);
    /** Of candidate i of a row: its weight, its column, and the logarithms of the softmax over what is left. */
    const candidates = (r: number) =>
      Array.from({ length: group }, (_, i) => {
        const start = startOf(r);
        const keeps = (c: number) => c < start || c >= start + i;
        return {
          weight: teacher.values[r * group + i]!,
          column: start + i,
          logs: logSoftmaxOf(rowOf(x.values, cols, r), keeps),
        };
      });
    const run = (name: string | undefined, loss: Tensor, dx?: Tensor) =>
      variantOf(gpu, distillationFamily, form, size, name).run(gpu, form, size, {
        x: x.tensor,
        teacher: teacher.tensor,
        ownOnly,
        loss,
        dx,
      });
    if (form.part === 'gradient') {
      const dLoss = draws.floats([rows], 'f32', 1);
      const dx = draws.empty([rows, cols]);
      const right = (r: number) => {
        const sum = new Float64Array(cols);
        for (const { weight, column, logs } of candidates(r))
          logs.forEach((log, c) => {
            sum[c]! += dLoss.values[r]! * weight * (Math.exp(log) - (c === column ? 1 : 0));
          });
        return sum;
      };
      const parts = () => probedRows(rows, 8).map((r) => ({ start: r * cols, values: right(r) }));
      return trialOf(draws, [{ output: dx, parts }], (name) => run(name, dLoss.tensor, dx));
    }
    const loss = draws.empty([rows]);
    const lossOf = (r: number) =>
      candidates(r).reduce((sum, { weight, column, logs }) => sum - weight * logs[column]!, 0);
    const parts = () => probedRows(rows, 8).map((r) => ({ start: r, values: [lossOf(r)] }));
    return trialOf(draws, [{ output: loss, parts }], (name) => run(name, loss));
  },
};

const DISTILL_OWN = signature('m3Distillation', { x: f32('B', 'G'), teacher: f32('B', 'G') });
const DISTILL_ALL = signature('m3Distillation', { x: f32('B', '>=B*G'), teacher: f32('B', 'G') });

function run(form: DistillationForm, operands: DistillationOperands): void {
  const { x, teacher } = operands;
  const size = { rows: x.rows, cols: x.cols, group: teacher.cols };
  runVariant(x.gpu, distillationFamily, form, size, operands);
}

/**
 * `m3_kd_loss` per row (docs/spec/flagembedding-m3.md §4.2). Row r owns columns s..s+G−1, s = r·G (or 0 when `ownOnly`:
 * X is then the own block). Loss_r = Σ_i P_ri (logsumexp_{c ∉ [s, s+i)} X_rc − X_r,s+i).
 */
export function distillationRows(x: Tensor, teacher: Tensor, ownOnly: boolean): Tensor {
  (ownOnly ? DISTILL_OWN : DISTILL_ALL).check({ x, teacher });
  const loss = Tensor.empty(x.gpu, [x.rows]);
  run({ part: 'value' }, { x, teacher, ownOnly, loss, dx: undefined });
  return loss;
}

export function distillationRowsGradient(
  x: Tensor,
  teacher: Tensor,
  ownOnly: boolean,
  dLoss: Tensor,
): Tensor {
  const dx = Tensor.empty(x.gpu, x.shape);
  run({ part: 'gradient' }, { x, teacher, ownOnly, loss: dLoss, dx });
  return dx;
}
