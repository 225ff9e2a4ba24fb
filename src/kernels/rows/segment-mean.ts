/** Mean of each sequence's rows (mean pooling) and its gradient: the family `segmentMean`. */
import { Tensor } from '../../tensor/tensor.js';
import { byRows, flat, partsOf } from '../launch/operands.js';
import { threadSum } from '../launch/rows.js';
import { shaderOf } from '../launch/shader.js';
import { type RowKernel, widthClass } from '../row-variants.js';
import { Draws, trialOf } from '../trials.js';
import { type Case, type Family, runVariant, type Variant, variantOf } from '../variants.js';

interface MeanForm {
  readonly part: 'value' | 'gradient';
}

interface MeanSize {
  readonly sequences: number;
  readonly tokens: number;
  readonly cols: number;
}

interface MeanOperands {
  /** [T,C]: x, or for the gradient dx. */
  readonly tokens: Tensor;
  /** [S+1] u32 */
  readonly cuSeqlens: Tensor;
  /** [S,C]: the means, or for the gradient dy. */
  readonly means: Tensor;
}

/** WGSL: one workgroup a sequence `s`; its tokens among those in sight are [seen, after), `scale` is 1 / all of them. */
const SEQUENCE_MAIN = `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let s = group.y * groups.x + group.x;
  if (s >= p.sequences) { return; }
  let begin = starts[s];
  let end = starts[s + 1u];
  let seen = max(begin, p.first);
  let after = min(end, p.end);
  let scale = 1.0 / f32(max(1u, end - begin));`;

const KERNELS: Record<MeanForm['part'], RowKernel> = {
  value: {
    label: 'segmentMean',
    buffers: { X: 'array<f32>', starts: 'array<u32>', ioY: 'array<f32>' },
    body: `
  for (var column = lane; column < p.cols; column += 64u) {
    ${threadSum('sum', 'f32', ['seen', 'after', '1u'], (t) => `X[(${t} - p.first) * p.cols + column]`)}
    sum *= scale;
    if (p.accumulate != 0u) { sum += ioY[s * p.cols + column]; }
    ioY[s * p.cols + column] = sum;
  }`,
  },
  gradient: {
    label: 'segmentMeanGradient',
    buffers: { outX: 'array<f32>', starts: 'array<u32>', DY: 'array<f32>' },
    body: `
  for (var column = lane; column < p.cols; column += 64u) {
    let v = DY[s * p.cols + column] * scale;
    for (var t = seen; t < after; t++) { outX[(t - p.first) * p.cols + column] = v; }
  }`,
  },
};

const meanShader = (form: MeanForm) =>
  shaderOf('segmentMean', form, ({ part }) => {
    const { label, buffers, body } = KERNELS[part];
    return {
      label,
      params: { sequences: 'u32', cols: 'u32', first: 'u32', end: 'u32', accumulate: 'u32' } as const,
      buffers,
      body: `${SEQUENCE_MAIN}${body}
}`,
    };
  });

const lanes64: Variant<MeanForm, MeanSize, MeanOperands> = {
  name: 'lanes64',
  why: '64 threads a sequence, each of which walks down its columns',
  supports: () => true,
  prior: () => 0,
  shaders: (_, form) => ({ means: meanShader(form) }),
  run(gpu, form, { cols }, { tokens, cuSeqlens, means }) {
    const [inner, outer] = form.part === 'value' ? ['X', 'ioY'] : ['outX', 'DY'];
    for (const part of partsOf('segmentMean', gpu, byRows(tokens)))
      meanShader(form).launch(
        gpu,
        { [inner!]: part.operand, starts: flat(cuSeqlens, { beyond: 1 }), [outer!]: byRows(means) },
        ({ count }) => ({
          sequences: count,
          cols,
          first: part.start,
          end: part.start + part.count,
          accumulate: part.first ? 0 : 1,
        }),
        ({ count }) => count,
      );
  },
};

const formName = ({ part }: MeanForm): string => (part === 'value' ? 'f32' : 'gradient f32');

const caseOf = (
  form: MeanForm,
  [sequences, tokens, cols]: readonly [number, number, number],
  use: 'check' | 'bench',
): Case<MeanForm, MeanSize> => ({
  name: `${sequences} of ${tokens}×${cols} ${formName(form)}`,
  form,
  size: { sequences, tokens, cols },
  use,
});

export const segmentMeanFamily: Family<MeanForm, MeanSize, MeanOperands> = {
  name: 'segmentMean',
  summary: 'mean of the rows of each sequence, forward and gradient',
  variants: [lanes64],
  formName,
  sizeClass: widthClass,
  cases: (['value', 'gradient'] as const).flatMap((part) => [
    caseOf({ part }, [3, 17, 7], 'check'),
    caseOf({ part }, [5, 210, 132], 'check'),
    caseOf({ part }, [18, 1728, 384], 'bench'),
  ]),
  cost: ({ part }, { sequences, tokens, cols }) => ({
    flops: part === 'value' ? tokens * cols : 0,
    bytes: 4 * (tokens + sequences) * cols,
  }),
  tolerance: () => 1e-6,
  trial(gpu, form, size) {
    const { sequences, tokens, cols } = size;
    const draws = new Draws(gpu, tokens + cols);
    // Of unequal lengths.
    const bounds = Uint32Array.from({ length: sequences + 1 }, (_, s) =>
      Math.floor(tokens * (s / sequences) ** 1.5),
    );
    const cuSeqlens = draws.kept(Tensor.from(gpu, bounds, [sequences + 1], 'u32'));
    const value = form.part === 'value';
    const from = draws.floats([value ? tokens : sequences, cols]);
    const out = draws.empty([value ? sequences : tokens, cols]);
    const parts = () => {
      const right = new Float64Array(out.size);
      for (let s = 0; s < sequences; s++)
        for (let t = bounds[s]!; t < bounds[s + 1]!; t++)
          for (let c = 0; c < cols; c++) {
            const share = 1 / (bounds[s + 1]! - bounds[s]!);
            if (value) right[s * cols + c]! += from.values[t * cols + c]! * share;
            else right[t * cols + c] = from.values[s * cols + c]! * share;
          }
      return [{ start: 0, values: right }];
    };
    return trialOf(draws, [{ output: out, parts }], (name) =>
      variantOf(gpu, segmentMeanFamily, form, size, name).run(gpu, form, size, {
        tokens: value ? from.tensor : out,
        cuSeqlens,
        means: value ? out : from.tensor,
      }),
    );
  },
};

function run(part: MeanForm['part'], operands: MeanOperands): void {
  const { tokens, means } = operands;
  const size = { sequences: means.rows, tokens: tokens.rows, cols: tokens.cols };
  runVariant(tokens.gpu, segmentMeanFamily, { part }, size, operands);
}

/** Mean of each sequence's rows. x: [T,C]; cuSeqlens: [S+1] u32, whose last is T (the caller checks). Returns [S,C]. */
export function segmentMean(x: Tensor, cuSeqlens: Tensor): Tensor {
  const means = Tensor.empty(x.gpu, [cuSeqlens.size - 1, x.cols]);
  run('value', { tokens: x, cuSeqlens, means });
  return means;
}

/** dx[t] = dy[sequence of t] / length. */
export function segmentMeanGradient(dy: Tensor, cuSeqlens: Tensor, tokens: number): Tensor {
  const dx = Tensor.empty(dy.gpu, [tokens, dy.cols]);
  run('gradient', { tokens: dx, cuSeqlens, means: dy });
  return dx;
}
