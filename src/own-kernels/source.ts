/**
 * The WGSL of an own kernel: what is declared around the user's text, which operands and parameters it mentions, and how
 * it is launched. A source is one of three: a body for every element, a body for every row, or a whole shader with a
 * grid.
 */
import { FLAT_MAIN, flatGroups, type Grid } from '../kernels/launch/grid.js';
import { byRows, flat, type Operand, whole } from '../kernels/launch/operands.js';
import { type ParamType, Shader } from '../kernels/launch/shader.js';
import { cast, castInto } from '../kernels/pointwise.js';
import { show } from '../show.js';
import { dimensionNames, type Extents, type OperandSpec } from '../tensor/operands.js';
import { scope } from '../tensor/scope.js';
import { type DType, Tensor } from '../tensor/tensor.js';
import { explain, KernelError, type Region } from './errors.js';

/** A body that is run for every element of the result, or by 64 threads for every row. */
export interface BodySource {
  /**
   * WGSL statements. Operands are arrays by their names, parameters and the named dimensions are `p.name`. Halves are seen
   * as f32, copies of operands, and what is written is rounded once.
   *
   * Without `each` a thread runs them for element `i` of the result, `y[i] = …`; operands of the result's own shape have
   * their element at `i`, others are seen whole. `p.start + i` is the element's number.
   *
   * With it a workgroup of 64 threads, `lane` from 0 to 63, runs them for row `row`; operands that begin with the
   * dimension have theirs at `row`, others are seen whole. `p.start + row` is the row's number. `rowSum(v, lane)`,
   * `rowMax(v, lane)` and `rowMin(v, lane)` give all lanes the same f32, added up in a fixed order.
   */
  readonly body: string;
  /** The dimension that rows are of, e.g. `'N'` or `'...'`, with which the result begins. */
  readonly each?: string;
  /** WGSL at the top level, before the body: functions, constants, workgroup variables. */
  readonly functions?: string;
}

/** A whole shader: its entry point is `main`, which sees every operand whole. */
export interface GridSource {
  /**
   * WGSL at the top level, with an entry point `main` of any workgroup size. Operands and parameters are declared
   * before it: arrays by their names, and `p.name` for parameters and named dimensions.
   */
  readonly wgsl: string;
  /**
   * Workgroups. A number is a line of them, which the launcher folds where it is too long: the kernel takes its own
   * from `group.y * groups.x + group.x` and leaves where there is none. `sizes`: dimensions and parameters by name.
   */
  readonly grid: (sizes: Readonly<Record<string, number>>) => Grid;
  /** WGSL types of operands where they are not arrays of their scalars: `{ x: 'array<vec4f>' }`. */
  readonly types?: Readonly<Record<string, string>>;
}

/** WGSL for every element, for every row, or with a grid of its own. */
export type KernelSource = BodySource | GridSource;

/** What a source may have. */
export const SOURCE_FIELDS = ['body', 'each', 'functions', 'wgsl', 'grid', 'types'] as const;

/** Of a `body`, and of a `wgsl`. */
const BELONGS = { body: ['each', 'functions'], wgsl: ['grid', 'types'] } as const;

/** An operand's array: a bool is a word, halves lie two a word. */
const ARRAYS: Readonly<Record<DType, string>> = {
  f32: 'array<f32>',
  f16: 'array<Half2>',
  u32: 'array<u32>',
  i32: 'array<i32>',
  bool: 'array<u32>',
};

const ROW_LANES = 64;

const rowReduction = (name: string, combine: string): string => `
fn ${name}(v: f32, lane: u32) -> f32 {
  rowScratch[lane] = v;
  workgroupBarrier();
  for (var s = ${ROW_LANES / 2}u; s > 0u; s >>= 1u) {
    if (lane < s) { let a = rowScratch[lane]; let b = rowScratch[lane + s]; rowScratch[lane] = ${combine}; }
    workgroupBarrier();
  }
  let result = rowScratch[0];
  workgroupBarrier();
  return result;
}`;

const ROW_FUNCTIONS = `var<workgroup> rowScratch: array<f32, ${ROW_LANES}>;
${rowReduction('rowSum', 'a + b')}
${rowReduction('rowMax', 'max(a, b)')}
${rowReduction('rowMin', 'min(a, b)')}
`;

const ROW_MAIN = `
@compute @workgroup_size(${ROW_LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
`;

/** Which of the two it is: what is undefined is not there. */
const isBody = (source: KernelSource): source is BodySource =>
  (source as Partial<BodySource>).body !== undefined;

const withoutComments = (wgsl: string): string => wgsl.replace(/\/\/.*|\/\*[\s\S]*?\*\//g, ' ');

/** The text, with the names that an operand, a function or a variable can have. */
function mentioned(wgsl: string): ReadonlySet<string> {
  return new Set([...wgsl.matchAll(/(?<![\w.])[A-Za-z_]\w*/g)].map(([name]) => name));
}

export interface SourceContext {
  /** In errors and profiles. */
  readonly kernel: string;
  /** What stands before the part's name in errors, e.g. `gradient of x, `. */
  readonly where: string;
  readonly operands: Readonly<Record<string, OperandSpec>>;
  /** Which of the operands the source writes; the first is what elements and rows are of. */
  readonly results: readonly string[];
  readonly params: Readonly<Record<string, ParamType>>;
}

/** A source with what was made of it. */
export class CompiledSource {
  /** Operands that the source mentions, results included. */
  readonly uses: readonly string[];
  private readonly shader: Shader<Record<string, ParamType>>;
  private readonly regions: readonly Region[];
  private readonly sizes: readonly string[];
  private readonly first: OperandSpec;

  /** @throws KernelError for a source that cannot be one, without asking a device. */
  constructor(
    private readonly source: KernelSource,
    private readonly context: SourceContext,
  ) {
    const { kernel, where, operands, results, params } = context;
    const fail = (problem: string): never => {
      throw new KernelError(kernel, `${where}${problem}`);
    };
    const { body: inner, wgsl: outer, grid } = source as Partial<BodySource & GridSource>;
    if (inner !== undefined && outer !== undefined) fail('either body or wgsl, not both');
    if (inner === undefined && outer === undefined) fail('body or wgsl must be there');
    const [here, there] = inner === undefined ? (['wgsl', 'body'] as const) : (['body', 'wgsl'] as const);
    for (const field of BELONGS[there])
      if ((source as unknown as Record<string, unknown>)[field] !== undefined)
        fail(`${field} belongs to a ${there}, and here is a ${here}`);
    if (outer !== undefined && typeof grid !== 'function')
      fail(`grid must be a function, found ${show(grid)}`);
    const body = isBody(source) ? source.body : source.wgsl;
    const part = isBody(source) ? 'body' : 'wgsl';
    if (typeof body !== 'string' || body.trim() === '') fail(`${part} must be WGSL, it is empty`);
    const functions = (isBody(source) && source.functions) || '';
    const code = withoutComments(`${functions}\n${body}`);
    const names = mentioned(code);
    this.uses = Object.keys(operands).filter((name) => names.has(name));
    for (const name of results) if (!names.has(name)) fail(`the ${part} never writes ${name}`);
    this.first = operands[results[0]!]!;

    const dimensions = new Set(Object.values(operands).flatMap(dimensionNames));
    const fields = new Set([...code.matchAll(/(?<![\w.])p\s*\.\s*(\w+)/g)].map(([, name]) => name!));
    const own = isBody(source) ? ['count', 'start'] : [];
    for (const name of fields)
      if (!own.includes(name) && !(name in params) && !dimensions.has(name))
        fail(
          `p.${name} is neither a parameter nor a dimension; there are ${[...own, ...Object.keys(params), ...[...dimensions].filter((each) => !each.startsWith('...'))].join(', ')}`,
        );
    this.sizes = [...fields].filter((name) => !own.includes(name));
    const scalars = [...own, ...this.sizes];
    if (scalars.length > 16)
      fail(`${scalars.length} scalars in p (${scalars.join(', ')}), and there is room for 16`);

    const types = (!isBody(source) && source.types) || {};
    for (const name in types) if (!(name in operands)) fail(`a type for ${name}, which is no operand`);
    const buffers: Record<string, string> = {};
    const dtypes: Record<string, DType> = {};
    for (const name of this.uses) {
      const [declared, other] = operands[name]!.dtypes as [DType, DType?];
      if (!isBody(source) && other !== undefined)
        fail(`${name} is f32 or f16, which lie differently: a body takes either, a whole wgsl is of one`);
      const dtype = isBody(source) && declared === 'f16' ? 'f32' : declared;
      buffers[name] = types[name] ?? ARRAYS[dtype];
      dtypes[name] = dtype;
    }
    if (isBody(source) && source.each !== undefined && this.first.shape[0] !== source.each)
      fail(`each is ${source.each}, and ${results[0]} [${this.first.shape}] does not begin with it`);

    const library = isBody(source) && source.each !== undefined ? ROW_FUNCTIONS : '';
    const before = isBody(source)
      ? `${library}\n${functions}\n${source.each === undefined ? FLAT_MAIN : ROW_MAIN}  ${this.uses.map((name) => `_ = &${name};`).join(' ')}
  if (${source.each === undefined ? 'i' : 'row'} >= p.count) { return; }
  {
`
      : '';
    const after = isBody(source) ? '\n  }\n}' : '';
    this.shader = new Shader({
      label: kernel,
      params: Object.fromEntries(scalars.map((name) => [name, params[name] ?? 'u32'])),
      buffers,
      writes: results,
      dtypes,
      body: `${before}${body}${after}`,
    });
    const { wgsl } = this.shader.source;
    const lineAt = (offset: number) => wgsl.slice(0, offset).split('\n').length;
    const at = wgsl.length - after.length - body.length;
    this.regions = [
      { part: `${where}${part}`, text: body, firstLine: lineAt(at) },
      ...(functions
        ? [
            {
              part: `${where}functions`,
              text: functions,
              firstLine: lineAt(at - before.length + library.length + 1),
            },
          ]
        : []),
    ];
  }

  /** @throws KernelError for what is no number of workgroups. */
  private workgroups(grid: Grid): Grid {
    const counts: unknown[] = Array.isArray(grid) ? grid : [grid];
    const counted = counts.every((count) => Number.isSafeInteger(count) && (count as number) >= 0);
    if (counts.length < 1 || counts.length > 3 || !counted)
      throw new KernelError(
        this.context.kernel,
        `${this.context.where}grid must give a whole number from 0 on, or a list of up to 3, found ${show(grid)}`,
      );
    return grid;
  }

  /** @throws KernelError that quotes the line where the device refuses the source. */
  launch(
    tensors: Readonly<Record<string, Tensor>>,
    extents: Extents,
    params: Readonly<Record<string, number>>,
  ): void {
    if (!isBody(this.source)) {
      this.launchOn(tensors, extents, params);
      return;
    }
    scope(() => {
      const seen: Record<string, Tensor> = { ...tensors };
      const { results } = this.context;
      const halves = this.uses.filter((name) => tensors[name]!.dtype === 'f16');
      for (const name of halves) {
        const given = tensors[name]!;
        seen[name] = results.includes(name)
          ? Tensor.empty(given.gpu, given.shape, 'f32', 'workspace')
          : cast(given, 'f32');
      }
      this.launchOn(seen, extents, params);
      for (const name of halves) if (results.includes(name)) castInto(seen[name]!, tensors[name]!);
    });
  }

  private launchOn(
    tensors: Readonly<Record<string, Tensor>>,
    extents: Extents,
    params: Readonly<Record<string, number>>,
  ): void {
    const { source, context, shader, sizes, first, uses } = this;
    const { gpu } = tensors[context.results[0]!]!;
    const values: Record<string, number> = {};
    for (const name of sizes) values[name] = params[name] ?? extents.of(name);
    const operands: Record<string, Operand> = {};
    const each = isBody(source) ? source.each : undefined;
    const walked = `${first.shape}`;
    const rows =
      each === undefined ? 0 : extents.shapeOf({ ...first, shape: [each] }).reduce((a, b) => a * b, 1);
    for (const name of uses) {
      const { shape } = context.operands[name]!;
      const tensor = tensors[name]!;
      if (!isBody(source)) operands[name] = whole(tensor);
      else if (each !== undefined)
        operands[name] = shape[0] === each ? byRows(tensor, { rows }) : whole(tensor);
      else operands[name] = `${shape}` === walked ? flat(tensor) : whole(tensor);
    }
    try {
      if (isBody(source))
        shader.launch(
          gpu,
          operands,
          ({ start, count }) => ({ ...values, start, count }),
          ({ count }) => (each === undefined ? flatGroups(count) : count),
        );
      else {
        const all = { ...params };
        for (const name of new Set(Object.values(context.operands).flatMap(dimensionNames)))
          if (!name.startsWith('...')) all[name] = extents.of(name);
        shader.launch(
          gpu,
          operands,
          () => values,
          () => this.workgroups(source.grid(all)),
        );
      }
    } catch (error) {
      throw explain(error, context.kernel, shader.source.wgsl, this.regions);
    }
  }
}
