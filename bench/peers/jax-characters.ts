/** The character model on jax-js: compiled gradients, and Adam in a few compiled lines, since the library has no optimiser. */
import { CHARACTER_LOSSES, CHARACTERS, characterBatch, characterParameters } from './characters.js';
import { type Jax, type JaxArray, trainingWork } from './jax-library.js';
import type { Work } from './protocol.js';

export async function characterWork(jax: Jax): Promise<Work> {
  const np = jax.numpy;
  const { layers, width, heads, context, batch, vocabulary, eps } = CHARACTERS;
  const specs = characterParameters();
  // Weights lie transposed, as its layers have them: x·W.
  const isWeight = ({ name, shape }: { name: string; shape: readonly number[] }) =>
    shape.length === 2 && name !== 'tokens' && name !== 'positions';
  const array = (values: Float32Array | Int32Array, shape: readonly number[]) =>
    np.array(values).reshape(shape);
  const weights = specs.map((spec) => {
    const values = array(spec.values, spec.shape);
    return isWeight(spec) ? np.matrixTranspose(values) : values;
  });

  /** What is used more than once is a reference each time but the last; here every use takes one, and the rest goes at the end. */
  const loss = (...operands: JaxArray[]): JaxArray => {
    const named = new Map(specs.map(({ name }, i) => [name, operands[i]!]));
    const of = (name: string) => named.get(name)!.ref;
    const norm = (x: JaxArray, name: string) =>
      jax.nn
        .standardize(x, -1, { epsilon: eps })
        .mul(of(`${name}.weight`))
        .add(of(`${name}.bias`));
    const layer = (x: JaxArray, name: string) => np.matmul(x, of(`${name}.weight`)).add(of(`${name}.bias`));
    const [inputs, targets] = operands.slice(specs.length) as [JaxArray, JaxArray];
    let x = np.matmul(jax.nn.oneHot(inputs, vocabulary), of('tokens')).add(of('positions'));
    for (let l = 0; l < layers; l++) {
      const parts = np.split(layer(norm(x.ref, `${l}.norm1`), `${l}.qkv`), 3, -1);
      const [q, k, v] = parts.map((part) => part.reshape([batch, context, heads, width / heads]));
      const attended = jax.nn.dotProductAttention(q!, k!, v!, { isCausal: true });
      x = x.add(layer(attended.reshape([batch, context, width]), `${l}.projection`));
      const wide = jax.nn.gelu(layer(norm(x.ref, `${l}.norm2`), `${l}.widen`), { approximate: false });
      x = x.add(layer(wide, `${l}.narrow`));
    }
    const logits = np.matmul(norm(x, 'norm'), of('head'));
    const picked = jax.nn.logSoftmax(logits, -1).mul(jax.nn.oneHot(targets, vocabulary));
    return np.sum(picked).mul(-1 / (batch * context));
  };
  const operandsOf = (step: number) => {
    const { inputs, targets } = characterBatch(step);
    return [inputs, targets].map((each) => array(each, [batch, context]));
  };
  return trainingWork(jax, weights, loss, operandsOf, CHARACTER_LOSSES.length);
}
