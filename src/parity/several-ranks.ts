/** Losses and gradients of several ranks with the passages of all as negatives: real ranks, or all played by this process. */
import { InputError } from '../errors.js';
import type { M3Model } from '../models/m3.js';
import { allGatherJson, type Communicator } from '../ranks/communicator.js';
import { EmulatedRanks } from '../ranks/emulated.js';
import { GradientReducer } from '../train/ranks/reducer.js';
import type { Comparison } from './comparison.js';
import { ALL_COMPAT, checkGradients, gradientNorm, type LossCase, lossAndGradient } from './steps.js';

/** `real`: the ranks of which this is one. */
export async function checkRanks(parity: Comparison, real: Communicator | undefined): Promise<void> {
  const golden = parity.json<{
    source_case: string;
    world_size: number;
    per_rank_batch: number;
    group: number;
    passage_len: number;
    cases: { name: string; losses: number[]; grad_norm: number }[];
  }>('cross_device.json');
  const source = parity.json<LossCase[]>('loss_cases.json').find(({ id }) => id === golden.source_case);
  if (!source)
    throw new InputError(`${parity.folder}/cross_device.json: no loss case "${golden.source_case}"`);
  const goldens = parity.open('cross_device.safetensors');
  const model = parity.load();
  const { world_size: W, per_rank_batch: b, group: G } = golden;
  if (real && real.size !== W)
    throw new InputError(`${parity.folder}/cross_device.json: expected ${W} ranks, found ${real.size}`);
  for (const wanted of golden.cases) {
    const section = `${W} ranks ${wanted.name}`;
    const play = async (communicator: Communicator) => {
      const { rank } = communicator;
      const part = <T>(list: T[], per: number) => list.slice(rank * per, (rank + 1) * per);
      return lossAndGradient(
        parity,
        model,
        {
          ...source,
          B: b,
          G,
          queries: part(source.queries, b),
          passages: part(source.passages, b * G),
          teacher_scores: wanted.name.startsWith('ce') ? null : part(source.teacher_scores ?? [], b * G),
          kd_loss_type: wanted.name.startsWith('kl') ? 'kl_div' : 'm3_kd_loss',
          use_self_distill: wanted.name.endsWith('selfdistill'),
        },
        ALL_COMPAT,
        undefined,
        { communicator, paddedLength: golden.passage_len },
      );
    };
    const losses = real ? await summed(model, real, play) : await emulated(W, play);
    for (const [rank, loss] of losses.entries())
      parity.checkRelative(section, `loss of rank ${rank}`, loss, wanted.losses[rank]!, parity.bounds.ranks);
    const norm = (await gradientNorm(model)) / W;
    parity.checkRelative(section, 'grad_norm', norm, wanted.grad_norm, parity.bounds.ranks);
    if (goldens.names().some((name) => name.startsWith(`${wanted.name}/grad/`)))
      await checkGradients(parity, section, model, goldens, `${wanted.name}/`, 1 / W, parity.bounds.ranks);
    model.store.zeroGradients();
  }
  model.dispose();
  goldens.close();
}

type Play = (communicator: Communicator) => Promise<{ loss: number }>;

/** The losses of ranks that this process plays, on one model whose gradients add up. */
async function emulated(size: number, play: Play): Promise<number[]> {
  const ranks = new EmulatedRanks(size);
  const results = await Promise.all(Array.from({ length: size }, (_, rank) => play(ranks.rank(rank))));
  return results.map(({ loss }) => loss);
}

/** The losses of ranks of which this process is one, each with a model of its own; gradients are summed as in training. */
async function summed({ store }: M3Model, communicator: Communicator, play: Play): Promise<number[]> {
  const { loss } = await play(communicator);
  const reducer = new GradientReducer(store, communicator);
  await reducer.finish();
  return allGatherJson(communicator, loss);
}
