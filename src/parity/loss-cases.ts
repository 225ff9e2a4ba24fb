/** Losses of single batches, with their gradients, and for some the hidden states and scores on the way there. */
import { InputError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import type { SafetensorsFile } from '../weights/safetensors.js';
import type { Comparison } from './comparison.js';
import { HALF_BOUNDS, largestError } from './measures.js';
import { ALL_COMPAT, checkGradients, type LossCase, lossAndGradient } from './steps.js';

export async function checkLossCases(parity: Comparison): Promise<void> {
  const cases = parity.json<LossCase[]>('loss_cases.json');
  const goldens = parity.open('loss_cases.safetensors');
  const model = parity.load();
  for (const golden of cases) {
    const runs: [string, number | null, number | undefined, ReadonlySet<string>][] = [
      ['', golden.loss, golden.grad_norm, ALL_COMPAT],
    ];
    if (golden.loss_intended !== undefined)
      runs.push([' intended', golden.loss_intended, golden.grad_norm_intended, without('no-in-batch')]);
    for (const [suffix, loss, norm, compat] of runs) {
      const section = `loss ${golden.id}${suffix}`;
      if (loss === null) {
        // Upstream crashes here; so that nobody trains on it unnoticed, we refuse.
        const refused = await lossAndGradient(parity, model, golden, compat).then(
          () => 0,
          (error) => (error instanceof InputError ? 1 : 0),
        );
        parity.check(section, 'refused, as upstream crashes', 1 - refused, 0);
        model.store.zeroGradients();
        continue;
      }
      const prefix = `${golden.id}/`;
      const hidden: Tensor[] = [];
      const wantsStates = suffix === '' && goldens.has(`${prefix}q/hidden_0`);
      const result = await lossAndGradient(parity, model, golden, compat, (_, state) => {
        if (wantsStates) hidden.push(state.detach().keep());
      });
      parity.checkRelative(section, 'loss', result.loss, loss, parity.bounds.loss);
      if (norm !== undefined)
        parity.checkRelative(section, 'grad_norm', result.norm, norm, parity.bounds.gradient);
      if (suffix === '' && goldens.names().some((name) => name.startsWith(`${prefix}grad/`)))
        await checkGradients(parity, section, model, goldens, prefix, 1, parity.bounds.gradient);
      if (wantsStates)
        await checkStates(parity, section, goldens, prefix, golden, hidden, result.scores, result.dense);
      for (const state of hidden) state.dispose();
      model.store.zeroGradients();
    }
  }
  if (parity.half) {
    const errors = parity.checks.filter(
      ({ section, name }) => section.startsWith('loss ') && name === 'loss',
    );
    const squares = errors.reduce((total, { measured }) => total + measured * measured, 0);
    parity.check(
      'all loss cases',
      `loss, root mean square of ${errors.length}`,
      Math.sqrt(squares / errors.length),
      HALF_BOUNDS.lossMean,
    );
  }
  model.dispose();
  goldens.close();
}

async function checkStates(
  parity: Comparison,
  section: string,
  goldens: SafetensorsFile,
  prefix: string,
  golden: LossCase,
  hidden: Tensor[],
  scores: Record<string, Float32Array>,
  dense: Float32Array,
): Promise<void> {
  const width = hidden[0]!.cols;
  const sides = ['q', 'p'] as const;
  const masks = sides.map((side) => goldens.readRaw(`${prefix}${side}/attention_mask`) as Int32Array);
  const lengths = sides.map((side) => goldens.info(`${prefix}${side}/attention_mask`).shape[1]!);
  const unpadded = (name: string, side: number): number[] => {
    const all = goldens.readRaw(`${prefix}${sides[side]}/${name}`);
    return [...masks[side]!].flatMap((mask, i) => (mask ? [Number(all[i])] : []));
  };
  const ids = [...unpadded('input_ids', 0), ...unpadded('input_ids', 1)];
  const own = [
    ...parity.tokenizer.encodeBatch(golden.queries, golden.query_max_len),
    ...parity.tokenizer.encodeBatch(golden.passages, golden.passage_max_len),
  ].flatMap((row) => [...row]);
  parity.check(section, 'input ids that differ', ids.join() === own.join() ? 0 : 1, 0);
  for (const [layer, state] of hidden.entries()) {
    const got = await state.toFloat32();
    const want: number[] = [];
    sides.forEach((side, n) => {
      const all = goldens.read(`${prefix}${side}/hidden_${layer}`);
      masks[n]!.forEach((mask, i) => {
        const row = Math.floor(i / lengths[n]!) * lengths[n]! + (i % lengths[n]!);
        if (mask) for (let c = 0; c < width; c++) want.push(all[row * width + c]!);
      });
    });
    parity.check(section, `hidden state ${layer}`, largestError(got, want), parity.bounds.state);
  }
  const vectors = [...goldens.read(`${prefix}q/dense`), ...goldens.read(`${prefix}p/dense`)];
  parity.check(section, 'dense vectors', largestError(dense, vectors), parity.bounds.state);
  for (const [name, values] of Object.entries(scores))
    if (goldens.has(`${prefix}score/${name}`))
      parity.check(
        section,
        `${name} scores`,
        largestError(values, goldens.read(`${prefix}score/${name}`)),
        parity.bounds.state,
      );
}

const without = (name: string): ReadonlySet<string> =>
  new Set([...ALL_COMPAT].filter((other) => other !== name));
