/** The character model on dawntune: its operations over packed sequences, and Adam over the parameters. */
import {
  add,
  attention,
  backward,
  crossEntropy,
  gatherRows,
  layerNorm,
  linear,
  linearGelu,
} from '../../src/autograd/index.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import { Adam } from '../../src/optim/adam.js';
import { PackedSequences } from '../../src/tensor/packed.js';
import { RowIndex } from '../../src/tensor/row-index.js';
import { scope } from '../../src/tensor/scope.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { CHARACTER_LOSSES, CHARACTERS, characterBatch, characterParameters } from './characters.js';
import type { Work } from './protocol.js';
import { ADAM } from './workloads.js';

export async function characterWork(gpu: Gpu, variant: () => string | null): Promise<Work> {
  const { layers, heads, context, batch, eps } = CHARACTERS;
  const parameters = new Map(
    characterParameters().map(({ name, shape, values }) => {
      const tensor = Tensor.from(gpu, values, shape).keep();
      tensor.requiresGrad = true;
      return [name, tensor];
    }),
  );
  const of = (name: string) => parameters.get(name)!;
  const sequences = new PackedSequences(gpu, new Array<number>(batch).fill(context));
  const places = new RowIndex(
    gpu,
    Uint32Array.from({ length: batch * context }, (_, i) => i % context),
  );
  const norm = (x: Tensor, name: string) => layerNorm(x, of(`${name}.weight`), of(`${name}.bias`), eps);
  const layer = (x: Tensor, name: string) => linear(x, of(`${name}.weight`), of(`${name}.bias`));
  const loss = (inputs: Tensor, targets: Tensor): Tensor => {
    let x = add(gatherRows(of('tokens'), inputs), gatherRows(of('positions'), places));
    for (let l = 0; l < layers; l++) {
      const qkv = layer(norm(x, `${l}.norm1`), `${l}.qkv`);
      x = add(x, layer(attention(qkv, sequences, heads, undefined, { causal: true }), `${l}.projection`));
      const wide = linearGelu(norm(x, `${l}.norm2`), of(`${l}.widen.weight`), of(`${l}.widen.bias`));
      x = add(x, layer(wide, `${l}.narrow`));
    }
    return crossEntropy(linear(norm(x, 'norm'), of('head')), targets);
  };
  const { learningRate, beta1, beta2, eps: adamEps } = ADAM;
  const optimizer = new Adam([...parameters.values()], {
    ...{ learningRate, beta1, beta2, eps: adamEps },
  });
  let steps = 0;
  const step = async (): Promise<Tensor> => {
    const batchOf = characterBatch(steps++);
    const value = scope(() => {
      const [inputs, targets] = [batchOf.inputs, batchOf.targets].map((ids) =>
        Tensor.from(gpu, ids, [ids.length]),
      );
      const result = loss(inputs!, targets!);
      backward(result);
      return result.detach().keep();
    });
    await optimizer.step();
    optimizer.zeroGrad();
    return value;
  };
  const losses: number[] = [];
  for (const _ of CHARACTER_LOSSES) {
    const value = await step();
    losses.push(await value.item());
    value.dispose();
  }
  return {
    result: async () => losses,
    variant,
    async run(times) {
      for (let i = 0; i < times; i++) (await step()).dispose();
      await gpu.finish();
    },
    dispose() {
      for (const each of [sequences, places, ...parameters.values()]) each.dispose();
      gpu.choices.decided.clear();
    },
  };
}
