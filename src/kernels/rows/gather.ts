/**
 * Rows of a table by index, and the gradient of that: sums of the rows of a gradient that belong to one row of the table.
 * Index lists come from the host, which knows all ids, so the gradient is a gather over sorted segments: no atomics, the
 * same sum in the same order every time.
 */
import { f32, signature, u32 } from '../../tensor/operands.js';
import { Tensor } from '../../tensor/tensor.js';
import { byRows, flat, partsOf } from '../launch/operands.js';
import { shaderOf } from '../launch/shader.js';
import { type RowsSize, widthClass } from '../row-variants.js';
import { Draws, probedRows, trialOf } from '../trials.js';
import { type Family, runVariant, type Variant, variantOf } from '../variants.js';

/** Columns that a thread moves at a time: four where rows are whole groups of four. */
type Columns = 1 | 4;

const columnsOf = (cols: number): Columns => (cols % 4 === 0 ? 4 : 1);
const typeOf = ({ columns }: { readonly columns: Columns }) => (columns === 4 ? 'vec4f' : 'f32');

/** Tokens by the width of the two models. */
const TOKENS = [
  [1728, 384],
  [4096, 1024],
] as const;
/** Rows of the table that they name. */
const VOCABULARY = 8192;

// ---- gather ---------------------------------------------------------------------------------------------------------

interface RowsForm {
  readonly columns: Columns;
}

interface GatherOperands {
  /** [V,C], of any size. */
  readonly table: Tensor;
  readonly index: Tensor;
  readonly out: Tensor;
}

/** How a kernel walks over rows. */
interface Walk {
  /** That share a row. */
  readonly lanes: number;
  /** Rows of a workgroup, one after the other. */
  readonly each: number;
  /** Units of a row that a lane moves at once. */
  readonly units: number;
}

const unitNumbers = ({ units }: Walk) => Array.from({ length: units }, (_, i) => i);

/** WGSL: loops over the units of a row, `units` at once by each lane: c0, c1 …; beyond the last, the last one is read again. */
const unitLoop = (walk: Walk, body: string): string => {
  const { lanes, units } = walk;
  if (units === 1) return `for (var c0 = lane; c0 < p.cols; c0 += ${lanes}u) {${body}}`;
  return `for (var c = lane; c < p.cols; c += ${lanes * units}u) {
      ${unitNumbers(walk)
        .map((i) => `let c${i} = min(c + ${i * lanes}u, p.cols - 1u);`)
        .join(' ')}${body}}`;
};

/** WGSL: what is done with unit i of a turn only where there is one: a sum in place must not be made twice. */
const ifThere = ({ lanes }: Walk, i: number, code: string): string =>
  i === 0 ? code : `if (c + ${i * lanes}u < p.cols) { ${code} }`;

/** WGSL: `main` over rows `row` below `rows`; `next` leaves one row for the next. */
const rowsMain = ({ lanes, each }: Walk, rows: string, body: (next: string) => string): string =>
  `
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${
    each === 1
      ? `let row = group.y * groups.x + group.x;
  if (row >= ${rows}) { return; }
  ${body('return')}`
      : `let start = (group.y * groups.x + group.x) * ${each}u;
  for (var row = start; row < min(start + ${each}u, ${rows}); row++) {
  ${body('continue')}
  }`
  }
}`;

const gatherShader = (columns: Columns, walk: Walk) =>
  shaderOf('gatherRows', { columns, ...walk }, (form) => {
    const type = typeOf(form);
    const each = (code: (i: number) => string) => unitNumbers(form).map(code).join(' ');
    return {
      label: 'gatherRows',
      params: { rows: 'u32', cols: 'u32', first: 'u32', end: 'u32' } as const,
      buffers: { table: `array<${type}>`, index: 'array<u32>', outY: `array<${type}>` },
      body: rowsMain(
        form,
        'p.rows',
        (next) => `let source = index[row];
  if (source < p.first || source >= p.end) { ${next}; }
  let own = (source - p.first) * p.cols;
  let base = row * p.cols;
  ${unitLoop(
    form,
    `
    ${each((i) => `let v${i} = table[own + c${i}];`)}
    ${each((i) => ifThere(form, i, `outY[base + c${i}] = v${i};`))}
  `,
  )}`,
      ),
    };
  });

const gatherVariant = (
  { name, why, prior }: Pick<Variant<RowsForm, RowsSize, GatherOperands>, 'name' | 'why' | 'prior'>,
  walk: Walk,
): Variant<RowsForm, RowsSize, GatherOperands> => ({
  name,
  why,
  supports: () => true,
  prior,
  shaders: (_, { columns }) => ({ gather: gatherShader(columns, walk) }),
  run(gpu, { columns }, { cols }, { table, index, out }) {
    for (const part of partsOf('gatherRows', gpu, byRows(table)))
      gatherShader(columns, walk).launch(
        gpu,
        { table: part.operand, index: flat(index), outY: byRows(out) },
        ({ count }) => ({
          rows: count,
          cols: cols / columns,
          first: part.start,
          end: part.start + part.count,
        }),
        ({ count }) => Math.ceil(count / walk.each),
      );
  },
});

type Extents = readonly [rows: number, cols: number];

const CHECKS: readonly Extents[] = [
  [5, 12],
  [33, 260],
  [9, 7],
];

const casesOf = <Size>(sizeOf: (extents: Extents) => Size) => {
  const caseOf = ([rows, cols]: Extents, use: 'check' | 'bench') => ({
    name: `${rows}×${cols} f32`,
    form: { columns: columnsOf(cols) },
    size: sizeOf([rows, cols]),
    use,
  });
  return {
    cases: [...CHECKS.map((size) => caseOf(size, 'check')), ...TOKENS.map((size) => caseOf(size, 'bench'))],
    sizes: {
      spelled: 'RxC',
      read: ([rows, cols, ...more]: readonly number[]) =>
        rows && cols && more.length === 0 ? caseOf([rows, cols], 'bench') : undefined,
    },
  };
};

export const gatherFamily: Family<RowsForm, RowsSize, GatherOperands> = {
  name: 'gatherRows',
  summary: `rows of a table by index; the bench’s has ${VOCABULARY}`,
  variants: [
    gatherVariant(
      { name: 'lanes32', why: '32 threads a row, side by side', prior: () => 0 },
      { lanes: 32, each: 1, units: 1 },
    ),
    gatherVariant(
      {
        name: 'lanes8-rows4',
        why: 'on CPUs: as many threads as run together, for four rows one after the other',
        prior: ({ software }) => (software ? 1 : -1),
      },
      { lanes: 8, each: 4, units: 1 },
    ),
  ],
  sizeClass: widthClass,
  ...casesOf(([rows, cols]) => ({ rows, cols })),
  // Of the table only these rows are read.
  cost: (_, { rows, cols }) => ({ flops: 0, bytes: rows * (8 * cols + 4) }),
  tolerance: () => 0,
  trial(gpu, form, size) {
    const { rows, cols } = size;
    const draws = new Draws(gpu, 1);
    const table = draws.floats([VOCABULARY, cols]);
    const index = draws.indices(rows, VOCABULARY);
    const out = draws.empty([rows, cols]);
    const row = (r: number) => table.values.subarray(index.values[r]! * cols, (index.values[r]! + 1) * cols);
    const parts = () => probedRows(rows).map((r) => ({ start: r * cols, values: row(r) }));
    return trialOf(draws, [{ output: out, parts }], (name) =>
      variantOf(gpu, gatherFamily, form, size, name).run(gpu, form, size, {
        table: table.tensor,
        index: index.tensor,
        out,
      }),
    );
  },
};

const GATHER_ROWS = signature('gatherRows', { table: f32('V', 'C'), index: u32('n') });

/** table[index[i]]. table: [V,C], of any size; index: [n] u32, each below V (the caller checks). Returns [n,C]. */
export function gatherRows(table: Tensor, index: Tensor): Tensor {
  GATHER_ROWS.check({ table, index });
  const { gpu, cols } = table;
  const out = Tensor.empty(gpu, [index.size, cols]);
  runVariant(
    gpu,
    gatherFamily,
    { columns: columnsOf(cols) },
    { rows: index.size, cols },
    {
      table,
      index,
      out,
    },
  );
  return out;
}

// ---- its gradient ---------------------------------------------------------------------------------------------------

/** Which rows of a [n,C] tensor add up to which target row; see `RowIndex` in `src/tensor`. */
export interface RowSegments {
  /** [picked] u32: positions sorted by target; those that add to no row (padding) are left out. */
  readonly order: Tensor;
  /** [targets+1] u32: segment bounds in `order`. */
  readonly starts: Tensor;
  /** [targets] u32: row of the output each segment adds to. */
  readonly rows: Tensor;
}

interface SegmentSize {
  /** Rows that are added up. */
  readonly picked: number;
  /** Rows that they are added to. */
  readonly targets: number;
  readonly cols: number;
}

interface SegmentOperands {
  readonly x: Tensor;
  readonly segments: RowSegments;
  readonly out: Tensor;
  readonly accumulate: boolean;
}

const segmentSumShader = (columns: Columns, walk: Walk) =>
  shaderOf('segmentSumRows', { columns, ...walk }, (form) => {
    const type = typeOf(form);
    const each = (code: (i: number) => string) => unitNumbers(form).map(code).join(' ');
    return {
      label: 'segmentSumRows',
      params: {
        segments: 'u32',
        cols: 'u32',
        accumulate: 'u32',
        first: 'u32',
        end: 'u32',
        firstX: 'u32',
        endX: 'u32',
        firstK: 'u32',
        endK: 'u32',
      } as const,
      buffers: {
        X: `array<${type}>`,
        order: 'array<u32>',
        starts: 'array<u32>',
        rows: 'array<u32>',
        ioY: `array<${type}>`,
      },
      body: rowsMain(
        form,
        'p.segments',
        (next) => `let target_ = rows[row];
  if (target_ < p.first || target_ >= p.end) { ${next}; }
  let begin = max(starts[row], p.firstK);
  let end = min(starts[row + 1u], p.endK);
  let base = (target_ - p.first) * p.cols;
  ${unitLoop(
    form,
    `
    ${each((i) => `var sum${i} = ${type}();`)}
    for (var k = begin; k < end; k++) {
      let own = order[k - p.firstK];
      if (own >= p.firstX && own < p.endX) {
        let at = (own - p.firstX) * p.cols;
        ${each((i) => `sum${i} += X[at + c${i}];`)}
      }
    }
    if (p.accumulate != 0u) { ${each((i) => `sum${i} += ioY[base + c${i}];`)} }
    ${each((i) => ifThere(form, i, `ioY[base + c${i}] = sum${i};`))}
  `,
  )}`,
      ),
    };
  });

type SegmentVariant = Variant<RowsForm, SegmentSize, SegmentOperands>;

/** Where they are larger than a binding, parts of `out` meet parts of x and of the order one after the other. */
const segmentVariant = (
  { name, why, prior }: Pick<SegmentVariant, 'name' | 'why' | 'prior'>,
  walk: Walk,
): SegmentVariant => ({
  name,
  why,
  supports: () => true,
  prior,
  shaders: (_, { columns }) => ({ sums: segmentSumShader(columns, walk) }),
  run(gpu, { columns }, { cols }, { x, segments: { order, starts, rows }, out, accumulate }) {
    for (const to of partsOf('segmentSumRows', gpu, byRows(out)))
      for (const listed of partsOf('segmentSumRows', gpu, flat(order)))
        for (const from of partsOf('segmentSumRows', gpu, byRows(x)))
          segmentSumShader(columns, walk).launch(
            gpu,
            {
              X: from.operand,
              order: listed.operand,
              starts: flat(starts, { beyond: 1 }),
              rows: flat(rows),
              ioY: to.operand,
            },
            ({ count }) => ({
              segments: count,
              cols: cols / columns,
              accumulate: accumulate || !listed.first || !from.first ? 1 : 0,
              first: to.start,
              end: to.start + to.count,
              firstX: from.start,
              endX: from.start + from.count,
              firstK: listed.start,
              endK: listed.start + listed.count,
            }),
            ({ count }) => Math.ceil(count / walk.each),
          );
  },
});

export const gatherGradientFamily: Family<RowsForm, SegmentSize, SegmentOperands> = {
  name: 'gatherRowsGradient',
  summary: 'rows of the same index added up; in the bench four of them each on average',
  variants: [
    segmentVariant(
      {
        name: 'lanes32',
        why: '32 threads a row of the result, each of which adds up the rows of its segment in their order',
        prior: () => 0,
      },
      { lanes: 32, each: 1, units: 1 },
    ),
    segmentVariant(
      {
        name: 'lanes8-units4',
        why: 'on CPUs: as many threads as run together, each with four sums, so that the order is read a quarter as often',
        prior: ({ software }) => (software ? 1 : -1),
      },
      { lanes: 8, each: 1, units: 4 },
    ),
  ],
  sizeClass: widthClass,
  ...casesOf(([picked, cols]) => ({ picked, targets: Math.max(1, Math.floor(picked / 4)), cols })),
  cost: (_, { picked, targets, cols }) => ({
    flops: picked * cols,
    bytes: 4 * (picked + targets) * cols + 4 * (picked + 2 * targets),
  }),
  tolerance: () => 1e-6,
  trial(gpu, form, size) {
    const { picked, targets, cols } = size;
    const draws = new Draws(gpu, 1);
    const x = draws.floats([picked, cols]);
    // Every target has a row at least, so that all of the result is written.
    const { values: drawn } = draws.indices(picked, targets);
    const target = Array.from(drawn, (t, i) => (i < targets ? i : t));
    const order = Uint32Array.from(target.keys()).sort((a, b) => target[a]! - target[b]! || a - b);
    const starts = new Uint32Array(targets + 1);
    for (const t of target) starts[t + 1]!++;
    for (let t = 0; t < targets; t++) starts[t + 1]! += starts[t]!;
    const u32s = (values: Uint32Array) => draws.kept(Tensor.from(gpu, values, [values.length], 'u32'));
    const segments = {
      order: u32s(order),
      starts: u32s(starts),
      rows: u32s(Uint32Array.from({ length: targets }, (_, t) => t)),
    };
    const out = draws.empty([targets, cols]);
    const sum = (t: number) => {
      const values = new Float64Array(cols);
      for (let k = starts[t]!; k < starts[t + 1]!; k++)
        for (let c = 0; c < cols; c++) values[c]! += x.values[order[k]! * cols + c]!;
      return values;
    };
    const parts = () => probedRows(targets).map((t) => ({ start: t * cols, values: sum(t) }));
    return trialOf(draws, [{ output: out, parts }], (name) =>
      variantOf(gpu, gatherGradientFamily, form, size, name).run(gpu, form, size, {
        x: x.tensor,
        segments,
        out,
        accumulate: false,
      }),
    );
  },
};

const SEGMENT_SUM = signature('segmentSum', {
  x: f32('n', 'C'),
  order: u32('picked'),
  starts: u32('U+1'),
  rows: u32('U'),
  out: f32('V', 'C'),
});

/** out[rows[u]] (+)= Σ_{k in segment u} x[order[k]]. Rows of `out` that no segment names keep their values. */
export function segmentSumRows(x: Tensor, segments: RowSegments, out: Tensor, accumulate: boolean): void {
  const { order, starts, rows } = segments;
  SEGMENT_SUM.check({ x, order, starts, rows, out });
  const { gpu, cols } = x;
  const size = { picked: order.size, targets: rows.size, cols };
  runVariant(gpu, gatherGradientFamily, { columns: columnsOf(cols) }, size, { x, segments, out, accumulate });
}
