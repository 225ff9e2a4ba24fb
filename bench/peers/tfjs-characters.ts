/** The character model on TensorFlow.js, with its own Adam. */
import { gpuWait } from '../../src/gpu/wait.js';
import { CHARACTER_LOSSES, CHARACTERS, characterBatch, characterParameters } from './characters.js';
import type { Work } from './protocol.js';
import type { Tf, TfTensor } from './tfjs-library.js';
import { ADAM } from './workloads.js';

export async function characterWork(tf: Tf): Promise<Work> {
  const { layers, width, heads, context, batch, vocabulary, eps } = CHARACTERS;
  const variables = new Map(
    characterParameters().map(({ name, shape, values }) => [name, tf.variable(tf.tensor(values, shape))]),
  );
  const of = (name: string) => variables.get(name)!;
  const above = Float32Array.from({ length: context * context }, (_, i) =>
    i % context > Math.floor(i / context) ? -1e9 : 0,
  );
  const mask = tf.tensor(above, [context, context]);
  const norm = (x: TfTensor, name: string) => {
    const centred = tf.sub(x, tf.mean(x, -1, true));
    const scale = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), eps));
    return tf.add(tf.mul(tf.mul(centred, scale), of(`${name}.weight`)), of(`${name}.bias`));
  };
  const layer = (x: TfTensor, name: string) =>
    tf.add(tf.matMul(x, of(`${name}.weight`), false, true), of(`${name}.bias`));
  const gelu = (h: TfTensor) => tf.mul(tf.mul(h, 0.5), tf.add(tf.erf(tf.mul(h, Math.SQRT1_2)), 1));
  /** [batch · context, width] to the heads before the tokens, as its products want them. */
  const byHeads = (x: TfTensor) =>
    tf.transpose(tf.reshape(x, [batch, context, heads, width / heads]), [0, 2, 1, 3]);
  const loss = (inputs: TfTensor, targets: TfTensor): TfTensor => {
    const tokens = tf.reshape(tf.gather(of('tokens'), inputs), [batch, context, width]);
    let x = tf.reshape(tf.add(tokens, of('positions')), [batch * context, width]);
    for (let l = 0; l < layers; l++) {
      const [q, k, v] = tf.split(layer(norm(x, `${l}.norm1`), `${l}.qkv`), 3, -1).map(byHeads);
      const scores = tf.add(tf.mul(tf.matMul(q!, k!, false, true), (heads / width) ** 0.5), mask);
      const attended = tf.transpose(tf.matMul(tf.softmax(scores), v!), [0, 2, 1, 3]);
      x = tf.add(x, layer(tf.reshape(attended, [batch * context, width]), `${l}.projection`));
      x = tf.add(x, layer(gelu(layer(norm(x, `${l}.norm2`), `${l}.widen`)), `${l}.narrow`));
    }
    const logits = tf.matMul(norm(x, 'norm'), of('head'), false, true);
    const picked = tf.mul(tf.logSoftmax(logits), tf.oneHot(targets, vocabulary));
    return tf.mul(tf.sum(picked), -1 / (batch * context));
  };
  const optimizer = tf.train.adam(ADAM.learningRate, ADAM.beta1, ADAM.beta2, ADAM.eps);
  let steps = 0;
  const step = (): TfTensor => {
    const { inputs, targets } = characterBatch(steps++);
    const [ids, wanted] = [inputs, targets].map((each) => tf.tensor(each, [batch * context], 'int32'));
    const value = optimizer.minimize(() => loss(ids!, wanted!), true);
    for (const each of [ids!, wanted!]) each.dispose();
    return value;
  };
  const losses: number[] = [];
  for (const _ of CHARACTER_LOSSES) {
    const value = step();
    losses.push((await gpuWait(value.data()))[0]!);
    value.dispose();
  }
  return {
    result: async () => losses,
    async run(times) {
      for (let i = 0; i < times; i++) step().dispose();
      // Commands end in the order in which they began.
      const last = tf.slice(of('head'), [0, 0], [1, 1]);
      await gpuWait(last.data());
      last.dispose();
    },
    dispose() {
      for (const each of [mask, ...variables.values()]) each.dispose();
    },
  };
}
