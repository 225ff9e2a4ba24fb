/**
 * Kernels of the user's own: WGSL, the operands it takes, and its gradient, in one call. What comes back is an operation
 * like any other: it checks its operands before anything is allocated, records itself on the tape, works on tensors
 * beyond a binding, and is planned and profiled.
 */
import { record, wantsGradient } from '../autograd/tape.js';
import { ShapeError } from '../errors.js';
import { type FloatDType, floatDType } from '../kernels/launch/formats.js';
import type { ParamType } from '../kernels/launch/shader.js';
import { cast } from '../kernels/pointwise.js';
import { nearestName } from '../nearest-name.js';
import { show } from '../show.js';
import {
  anyNumber,
  dimensionNames,
  type NumberSpec,
  type OperandSpec,
  signature,
  wholeNumber,
} from '../tensor/operands.js';
import { isTaped, noGrad, scope } from '../tensor/scope.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { KernelError } from './errors.js';
import {
  type BodySource,
  CompiledSource,
  type KernelSource,
  SOURCE_FIELDS,
  type SourceContext,
} from './source.js';

/** Operands by name, each with its dtype and shape: `{ x: f32('...', 'C'), ids: u32('N') }`. */
export type OperandSpecs = Readonly<Record<string, OperandSpec>>;
/** Numbers by name, with their types in WGSL. */
export type KernelParams = Readonly<Record<string, ParamType>>;

/** Inputs and results of a kernel by name, as a gradient that is a function sees them. */
export type KernelTensors<I extends OperandSpecs, O extends OperandSpecs> = {
  readonly [Name in keyof I | keyof O]: Tensor;
};

/**
 * dL/d(input) from `dy`, dL/d(first result): of the input's shape, f32. What is f16 it sees as f32, and the gradient of an input
 * of f16 is rounded. Is called in backward, without recording, only where the input wants a gradient; what it makes besides is
 * freed.
 */
export type GradientFunction<I extends OperandSpecs, O extends OperandSpecs, P extends KernelParams> = (
  dy: Tensor,
  tensors: KernelTensors<I, O>,
  params: { readonly [Name in keyof P]: number },
) => Tensor;

/** What a kernel is called, takes, makes, and how its gradients are computed. */
export interface KernelOperands<I extends OperandSpecs, O extends OperandSpecs, P extends KernelParams> {
  /** In errors, profiles and on the tape. */
  readonly name: string;
  /**
   * What the kernel reads, of one dtype each, or `floats`, f32 or f16, where the source is a body. Dimensions are those of the engine's own signatures: a name is the same
   * extent wherever it stands, `'...'` any number of dimensions, `'3*C'` and `'N+1'` are computed, a number is itself.
   */
  readonly inputs: I;
  /**
   * What it writes, every element of it. `floats` are of the format of the first input of floats. Dimensions are named by the
   * inputs or by whole-number params.
   */
  readonly outputs: O;
  /** Numbers beside the tensors, `p.name` in WGSL: at most 16 with the dimensions that are mentioned. */
  readonly params?: P;
  /**
   * Of the first result, by input. WGSL writes `dx`, the gradient of the input `x`, and may read inputs, results and
   * `dy`, the gradient of the result `y`; what it does not mention is not kept for backward. A text is a body that is
   * run as the kernel's own, with its `each` and `functions`; a function may compute with any operation.
   */
  readonly gradient?: {
    readonly [Name in keyof I]?: string | KernelSource | GradientFunction<I, O, P>;
  };
}

/** What `defineKernel` takes: operands, and a source, which is a body or a whole shader with a grid. */
export type KernelDefinition<
  I extends OperandSpecs,
  O extends OperandSpecs,
  P extends KernelParams,
> = KernelOperands<I, O, P> & KernelSource;

type IsUnion<T, Whole = T> = T extends unknown ? ([Whole] extends [T] ? false : true) : never;

/** A tensor where there is one result, else tensors by name. */
export type KernelResult<O extends OperandSpecs> =
  IsUnion<keyof O> extends true ? { readonly [Name in keyof O]: Tensor } : Tensor;

/**
 * The operation that a definition makes: `softShrink({ x }, { threshold: 0.5 })`.
 * @throws ShapeError for operands or numbers that do not fit, and where an input without a gradient is on the tape;
 * KernelError that quotes the line where the device refuses the source; MachineError where an operand that is seen whole
 * does not fit a binding.
 */
export type OwnKernel<I extends OperandSpecs, O extends OperandSpecs, P extends KernelParams> = (
  inputs: { readonly [Name in keyof I]: Tensor },
  ...params: keyof P extends never ? [] : [params: { readonly [Name in keyof P]: number }]
) => KernelResult<O>;

const PARAMS: Readonly<Record<ParamType, NumberSpec>> = {
  f32: anyNumber,
  u32: wholeNumber(),
  i32: {
    what: 'a whole number from -2147483648 to 2147483647',
    allows: (value) => Number.isInteger(value) && value === (value | 0),
  },
};

/** Names that the text around a body has. */
const TAKEN = new Set(
  'p i row lane group groups local main Params rowSum rowMax rowMin rowScratch Half2 Half4 Half8'.split(' '),
);

const DEFINITION_FIELDS = ['name', 'inputs', 'outputs', 'params', 'gradient', ...SOURCE_FIELDS];

/** Calls `refuse` with a name that is given and is none of these: it would be nothing, and nobody would notice. */
function onlyKnown(given: object, known: readonly string[], refuse: (problem: string) => never): void {
  const stranger = Object.keys(given).find((name) => !known.includes(name));
  if (stranger === undefined) return;
  const nearest = nearestName(stranger, known);
  refuse(
    `there is no ${show(stranger)}${nearest === null ? '' : `, the nearest is ${nearest}`}; there ${known.length === 1 ? 'is' : 'are'} ${known.join(', ') || 'none'}`,
  );
}

/**
 * Makes an operation of WGSL.
 *
 * ```ts
 * const softShrink = defineKernel({
 *   name: 'softShrink',
 *   inputs: { x: f32('...') },
 *   outputs: { y: f32('...') },
 *   params: { threshold: 'f32' },
 *   body: 'y[i] = sign(x[i]) * max(abs(x[i]) - p.threshold, 0.0);',
 *   gradient: { x: 'dx[i] = select(0.0, dy[i], abs(x[i]) > p.threshold);' },
 * });
 * ```
 *
 * Gradients are of first order: a gradient's own computation is not recorded.
 * @throws KernelError for a definition that contradicts itself; the device's compiler is asked at the first call.
 */
export function defineKernel<
  const I extends OperandSpecs,
  const O extends OperandSpecs,
  const P extends KernelParams = Record<never, never>,
>(definition: KernelDefinition<I, O, P>): OwnKernel<I, O, P> {
  const { name, inputs, outputs, params = {} as P, gradient = {} } = definition;
  checkNames(definition, name, inputs, outputs, params);
  const inputNames = Object.keys(inputs);
  const outputNames = Object.keys(outputs);
  const [first] = outputNames as [string];
  const operands: Record<string, OperandSpec> = { ...inputs, ...outputs };

  const forward = new CompiledSource(definition, {
    kernel: name,
    where: '',
    operands,
    results: outputNames,
    params,
  });
  // A gradient that is a body alone is run as the kernel is, and sees its functions.
  const { each, functions } = definition as Partial<BodySource>;
  const shared = {
    ...(each === undefined ? {} : { each }),
    ...(functions === undefined ? {} : { functions }),
  };
  const gradients = new Map<string, CompiledSource | GradientFunction<I, O, P>>();
  for (const [input, given] of Object.entries(gradient as Record<string, unknown>)) {
    if (given === undefined) continue;
    const source = typeof given === 'string' ? { ...shared, body: given } : given;
    const backward = gradientOf(source as KernelSource | GradientFunction<I, O, P>, input, {
      kernel: name,
      where: `gradient of ${input}, `,
      operands,
      results: [first],
      params,
    });
    gradients.set(input, backward);
  }
  for (const input of inputNames) {
    const read = [forward, ...gradients.values()].some(
      (source) => typeof source === 'function' || source.uses.includes(input),
    );
    if (!read) throw new KernelError(name, `nothing reads ${input}`);
  }

  const floating = inputNames.find((input) => isFloats(inputs[input]!));
  const numbers = Object.fromEntries(Object.entries(params).map(([param, type]) => [param, PARAMS[type]]));
  const checked = signature(name, inputs, { numbers });

  const run = (tensors: Readonly<Record<string, Tensor>>, values: Readonly<Record<string, number>> = {}) =>
    scope(() => {
      for (const [what, given, known] of [
        ['inputs', tensors, inputNames],
        ['params', values, Object.keys(params)],
      ] as const) {
        if (typeof given !== 'object' || given === null || given instanceof Tensor)
          throw new ShapeError(
            name,
            `${what} must be an object of ${known.join(', ')}, found ${show(given)}`,
          );
        onlyKnown(given, known, (problem) => {
          throw new ShapeError(name, `${what}: ${problem}`);
        });
      }
      const extents = checked.check(tensors as { [Name in keyof I]: Tensor }, values);
      for (const input of inputNames)
        if (isTaped() && wantsGradient(tensors[input]!) && !gradients.has(input))
          throw new ShapeError(name, `has no gradient for ${input}; define one, or detach() it`, {
            [input]: tensors[input]!,
          });
      const { gpu } = tensors[inputNames[0]!]!;
      const all: Record<string, Tensor> = {};
      for (const input of inputNames) all[input] = tensors[input]!;
      for (const output of outputNames) {
        const spec = outputs[output]!;
        const dtype = isFloats(spec) ? all[floating!]!.dtype : spec.dtypes[0]!;
        all[output] = Tensor.empty(gpu, extents.shapeOf(spec), dtype);
      }
      forward.launch(all, extents, values);

      const recorded = inputNames.flatMap((input) => {
        const backward = gradients.get(input);
        if (!backward) return [];
        const { shape } = all[input]!;
        const dtype = (): FloatDType => floatDType(name, all[input]!);
        if (typeof backward === 'function') {
          const closure = (dy: Tensor): Tensor => {
            const wide = Object.fromEntries(Object.entries(all).map(([of, tensor]) => [of, full(tensor)]));
            const dx: unknown = noGrad(() =>
              backward(full(dy), wide as KernelTensors<I, O>, values as { [Name in keyof P]: number }),
            );
            if (!(dx instanceof Tensor) || dx.dtype !== 'f32' || !sameShape(dx.shape, shape))
              throw new KernelError(
                name,
                `the gradient of ${input} must be ${formatShape(shape)} f32, found ${dx instanceof Tensor ? `${formatShape(dx.shape)} ${dx.dtype}` : show(dx)}`,
              );
            return dtype() === 'f16' ? cast(dx, 'f16') : dx;
          };
          return [[all[input]!, closure, Object.values(all)] as const];
        }
        const closure = (dy: Tensor): Tensor => {
          const dx = Tensor.empty(dy.gpu, shape, dtype(), 'gradients');
          // Several uses of a result of halves may have given it a gradient of f32.
          const own = all[first]!.dtype;
          const given = dy.dtype === own ? dy : cast(dy, own);
          backward.launch({ ...all, [`d${first}`]: given, [`d${input}`]: dx }, extents, values);
          return dx;
        };
        return [
          [
            all[input]!,
            closure,
            backward.uses.flatMap((used) => (Object.hasOwn(all, used) ? all[used]! : [])),
          ] as const,
        ];
      });
      const result = record(name, all[first]!, [], recorded);
      if (outputNames.length === 1) return result;
      return Object.fromEntries(
        outputNames.map((output) => [output, output === first ? result : all[output]!]),
      );
    });
  return run as unknown as OwnKernel<I, O, P>;
}

/** f32 or f16. */
const isFloats = ({ dtypes }: OperandSpec): boolean =>
  dtypes.length === 2 && dtypes.includes('f32') && dtypes.includes('f16');

const full = (x: Tensor): Tensor => (x.dtype === 'f16' ? cast(x, 'f32') : x);

/** The source of a gradient: of the operands, and of the two that are gradients. @throws KernelError. */
function gradientOf<G>(source: KernelSource | G, input: string, context: SourceContext): CompiledSource | G {
  const { kernel, operands } = context;
  const [first] = context.results as [string];
  const spec = operands[input];
  if (!spec || input === first) throw new KernelError(kernel, `a gradient of ${input}, which is no input`);
  for (const [what, { dtypes }] of [
    [input, spec],
    [first, operands[first]!],
  ] as const)
    if (!dtypes.every((dtype) => dtype === 'f32' || dtype === 'f16'))
      throw new KernelError(
        kernel,
        `a gradient of ${input}, and ${what} is ${dtypes[0]}: only floats have one`,
      );
  if (typeof source === 'function') return source as G;
  if (typeof source !== 'object' || source === null)
    throw new KernelError(
      kernel,
      `the gradient of ${input} must be WGSL or a function, found ${show(source)}`,
    );
  onlyKnown(source, SOURCE_FIELDS, (problem) => {
    throw new KernelError(kernel, `gradient of ${input}, ${problem}`);
  });
  const [dx, dy] = [`d${input}`, `d${first}`];
  return new CompiledSource(source as KernelSource, {
    ...context,
    operands: { ...operands, [dy]: operands[first]!, [dx]: spec },
    results: [dx],
  });
}

/** @throws KernelError for names that WGSL cannot have, or has twice, and for operands that are not described. */
function checkNames(
  definition: object,
  name: string,
  inputs: OperandSpecs,
  outputs: OperandSpecs,
  params: KernelParams,
): void {
  if (typeof name !== 'string' || name === '')
    throw new KernelError('defineKernel', `name must be a text, found ${show(name)}`);
  const fail = (problem: string): never => {
    throw new KernelError(name, problem);
  };
  onlyKnown(definition, DEFINITION_FIELDS, fail);
  for (const [what, list] of Object.entries({ inputs, outputs }))
    if (typeof list !== 'object' || list === null || Object.keys(list).length === 0)
      fail(`${what} must name at least one tensor`);
  const [first] = Object.keys(outputs);
  const names = [...Object.keys(inputs), ...Object.keys(outputs)];
  const all = [...names, `d${first}`, ...Object.keys(inputs).map((input) => `d${input}`)];
  for (const each of all) {
    if (!/^[A-Za-z]\w*$/.test(each) || TAKEN.has(each)) fail(`${show(each)} can be no operand's name`);
    if (all.indexOf(each) !== all.lastIndexOf(each)) fail(`two operands are named ${each}`);
  }
  for (const [operand, spec] of [...Object.entries(inputs), ...Object.entries(outputs)]) {
    if (!Array.isArray(spec?.shape) || !Array.isArray(spec.dtypes))
      fail(`${operand} must be described as f32('N', 'C') is, found ${show(spec)}`);
    if ((spec.dtypes.length !== 1 && !isFloats(spec)) || spec.optional)
      fail(`${operand} must be of one dtype, or floats, and always there: its WGSL is written once`);
  }
  if (Object.values(outputs).some(isFloats) && !Object.values(inputs).some(isFloats))
    fail('a result of floats has the format of an input of floats, and there is none');
  const known = new Set(Object.values(inputs).flatMap(dimensionNames));
  for (const [param, type] of Object.entries(params)) {
    if (!Object.hasOwn(PARAMS, type)) fail(`${param} must be f32, u32 or i32, found ${show(type)}`);
    if (!/^[A-Za-z]\w*$/.test(param) || ['start', 'count'].includes(param))
      fail(`${show(param)} can be no parameter's name`);
    if (type === 'u32') known.add(param);
  }
  for (const [output, spec] of Object.entries(outputs))
    for (const dimension of dimensionNames(spec))
      if (!known.has(dimension))
        fail(`${dimension} of ${output} is no dimension of an input, and no u32 parameter`);
}
