/** Late interaction of given vectors: as FlagEmbedding computes it, whose padding is a floor of 0, and as it is meant. */
import { backward, maxSim, mul, scale, sum } from '../autograd/index.js';
import { maxSimLayout } from '../kernels/maxsim/layout.js';
import { PackedSequences } from '../tensor/packed.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import type { Comparison } from './comparison.js';
import { largestError, relativeError } from './measures.js';

export async function checkColbertFloor(parity: Comparison): Promise<void> {
  const goldens = parity.open('loss_cases.safetensors');
  const [qShape, pShape] = ['q', 'p'].map((name) => goldens.info(`colbert_floor/${name}`).shape) as [
    number[],
    number[],
  ];
  const [B, Tq, C] = qShape as [number, number, number];
  const [N, Tp] = pShape as [number, number];
  const lengths = [
    ...(goldens.readRaw('colbert_floor/q_len') as Int32Array),
    ...(goldens.readRaw('colbert_floor/p_len') as Int32Array),
  ];
  const sources = [goldens.read('colbert_floor/q'), goldens.read('colbert_floor/p')];
  const rowOf = (text: number, token: number): [Float32Array, number] =>
    text < B ? [sources[0]!, (text * Tq + token) * C] : [sources[1]!, ((text - B) * Tp + token) * C];
  for (const kind of ['upstream', 'intended']) {
    // The engine skips every text's first token, which these vectors do not have: put one in front.
    const packed = new PackedSequences(
      parity.gpu,
      lengths.map((length) => length + 1),
    );
    const values = new Float32Array(packed.tokens * C).fill(9);
    lengths.forEach((length, text) => {
      for (let t = 0; t < length; t++) {
        const [source, at] = rowOf(text, t);
        values.set(source.subarray(at, at + C), (packed.bounds[text]! + 1 + t) * C);
      }
    });
    await scope(async () => {
      const vectors = Tensor.from(parity.gpu, values, [packed.tokens, C]);
      vectors.requiresGrad = true;
      const floor = kind === 'upstream' ? lengths.slice(B).map((length) => length < Tp) : undefined;
      const layout = maxSimLayout(packed, { queries: B, floor });
      const scores = scale(maxSim(vectors, layout), 1 / parity.settings.temperature);
      const got = (await scores.toArray()) as Float32Array;
      parity.check(
        'colbert_floor',
        `${kind} scores`,
        largestError(got, goldens.read(`colbert_floor/score_${kind}`)),
        parity.bounds.state,
      );
      backward(sum(mul(scores, Tensor.from(parity.gpu, goldens.read('colbert_floor/weight'), [B, N]))));
      const gradient = (await vectors.grad!.toArray()) as Float32Array;
      vectors.grad!.dispose();
      for (const [side, from, to] of [
        ['q', 0, B],
        ['p', B, B + N],
      ] as const) {
        const want: number[] = [];
        const have: number[] = [];
        const all = goldens.read(`colbert_floor/d${side}_${kind}`);
        for (let text = from; text < to; text++)
          for (let t = 0; t < lengths[text]!; t++) {
            const at = rowOf(text, t)[1];
            want.push(...all.subarray(at, at + C));
            const own = (packed.bounds[text]! + 1 + t) * C;
            have.push(...gradient.subarray(own, own + C));
          }
        parity.check(
          'colbert_floor',
          `${kind} gradient of ${side}`,
          relativeError(have, want),
          parity.bounds.gradient,
        );
      }
    });
    packed.dispose();
  }
  goldens.close();
}
