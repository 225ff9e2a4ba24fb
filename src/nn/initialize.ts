/** First values of parameters, as PyTorch's `torch.nn.init` gives them. They overwrite a parameter and return it. */
import { Parameter } from '../autograd/parameter.js';
import { ShapeError } from '../errors.js';
import { type Draw, drawInto } from '../kernels/draw.js';
import { show } from '../show.js';
import { anyNumber, notNegative, signature } from '../tensor/operands.js';
import type { RandomStreams } from '../tensor/random-streams.js';
import { noGrad } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { defaultRandom } from './random.js';

/** @throws ShapeError for what is no parameter. */
function tensorOf(op: string, parameter: Parameter): Tensor {
  if (!(parameter instanceof Parameter))
    throw new ShapeError(op, `takes a parameter, found ${show(parameter)}`);
  return parameter.tensor;
}

function draw(op: string, parameter: Parameter, what: Draw, random: RandomStreams | undefined): Parameter {
  const tensor = tensorOf(op, parameter);
  drawInto(tensor, what, (random ?? defaultRandom(tensor.gpu)).next(), 0);
  return parameter;
}

const UNIFORM = signature('uniform_', {}, { numbers: { low: anyNumber, high: anyNumber } });
const NORMAL = signature('normal_', {}, { numbers: { mean: anyNumber, deviation: notNegative } });

/** Uniform in [low, high). */
export function uniform_(parameter: Parameter, low = 0, high = 1, random?: RandomStreams): Parameter {
  UNIFORM.check({}, { low, high });
  return draw('uniform_', parameter, { kind: 'uniform', low, high }, random);
}

/** Normal, of `mean` and standard `deviation`. */
export function normal_(parameter: Parameter, mean = 0, deviation = 1, random?: RandomStreams): Parameter {
  NORMAL.check({}, { mean, deviation });
  return draw('normal_', parameter, { kind: 'normal', mean, deviation }, random);
}

const CONSTANT = signature('constant_', {}, { numbers: { value: anyNumber } });

/** One value everywhere. */
export function constant_(parameter: Parameter, value: number): Parameter {
  const tensor = tensorOf('constant_', parameter);
  CONSTANT.check({}, { value });
  noGrad(() => tensor.write(new Float32Array(tensor.size).fill(value)));
  return parameter;
}

/** Inputs and outputs of a unit of a weight [out, in, ...]. @throws ShapeError for less than two dimensions. */
function fans(op: string, parameter: Parameter): { fanIn: number; fanOut: number } {
  const tensor = tensorOf(op, parameter);
  const [out, input, ...rest] = tensor.shape;
  if (out === undefined || input === undefined)
    throw new ShapeError(op, 'needs a weight of two dimensions or more', { parameter: tensor });
  const field = rest.reduce((a, b) => a * b, 1);
  return { fanIn: input * field, fanOut: out * field };
}

/** Uniform in ±√(6 / ((1 + a²)·inputs)): He et al. 2015. With a = √5 ±1/√inputs, what Linear begins with. */
export function kaimingUniform_(parameter: Parameter, a = 0, random?: RandomStreams): Parameter {
  const { fanIn } = fans('kaimingUniform_', parameter);
  const bound = fanIn === 0 ? 0 : Math.sqrt(6 / ((1 + a * a) * fanIn));
  return uniform_(parameter, -bound, bound, random);
}

/** Uniform in ±gain·√(6 / (inputs + outputs)): Glorot & Bengio 2010. */
export function xavierUniform_(parameter: Parameter, gain = 1, random?: RandomStreams): Parameter {
  const { fanIn, fanOut } = fans('xavierUniform_', parameter);
  const bound = fanIn + fanOut === 0 ? 0 : gain * Math.sqrt(6 / (fanIn + fanOut));
  return uniform_(parameter, -bound, bound, random);
}
