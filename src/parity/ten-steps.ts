/** Ten steps of training: losses and gradient norms on the way, and by how much each parameter changed. */
import type { DistillationKind } from '../train/losses/score-loss.js';
import { TrainingRun } from '../train/run/run.js';
import { collateAhead } from '../train/step/collate.js';
import type { Comparison } from './comparison.js';
import { HALF_BOUNDS } from './measures.js';
import { ALL_COMPAT, batchOf, stepSettings } from './steps.js';

export async function checkTenSteps(parity: Comparison): Promise<void> {
  const golden = parity.json<{
    steps: {
      step: number;
      loss: number;
      grad_norm: number;
      lr: number;
      queries: string[];
      passages: string[];
      teacher_scores: number[] | null;
    }[];
    query_max_len: number;
    passage_max_len: number;
    weight_decay: number;
    max_grad_norm: number;
    self_distill_start_step: number;
    kd_loss_type: DistillationKind;
    unified_finetuning: boolean;
    use_self_distill: boolean;
    betas: [number, number];
    eps: number;
  }>('ten_steps.json');
  const final = parity.open('ten_steps_final.safetensors');
  const model = parity.load(parity.mistake === 'decay-biases' ? { decay: () => true } : {});
  const cases = golden.steps.map((step) => ({
    ...{ ...golden, ...step, id: 'ten steps', no_in_batch_neg: false },
    ...{ B: step.queries.length, G: step.passages.length / step.queries.length },
    temperature: parity.settings.temperature,
  }));
  const run = new TrainingRun(model, {
    optimizer: {
      beta1: golden.betas[0],
      beta2: parity.mistake === 'beta2' ? 0.95 : golden.betas[1],
      eps: golden.eps,
      weightDecay: golden.weight_decay,
      maxGradNorm: golden.max_grad_norm,
    },
    step: stepSettings(parity, cases[0]!, ALL_COMPAT),
    window: 1,
    learningRate: (updates) => golden.steps[updates]!.lr,
    lossScaling: null,
    seed: null,
    selfDistillAfter: golden.use_self_distill ? golden.self_distill_start_step : null,
  });
  const before = await model.readWeights();
  const batches = collateAhead(cases, (each) => batchOf(parity, model, each, ALL_COMPAT));
  for await (const { number, loss, norm } of run.steps(batches, golden.steps.length)) {
    const step = golden.steps[number - 1]!;
    parity.checkRelative('ten steps', `step ${step.step} loss`, loss, step.loss, parity.bounds.tenSteps);
    parity.checkRelative(
      'ten steps',
      `step ${step.step} grad_norm`,
      norm,
      step.grad_norm,
      parity.bounds.tenSteps,
    );
  }
  const after = await model.readWeights();
  const rates = golden.steps.reduce((total, { lr }) => total + lr, 0);
  for (const name of final.names()) {
    const [start, end] = [before.get(name), after.get(name)];
    if (!start || !end) {
      parity.check('ten steps', `${name}: missing here`, 1, 0);
      continue;
    }
    const want = final.read(name).map((v, i) => v - start[i]!);
    const got = end.map((v, i) => v - start[i]!);
    if (name.includes('pooler'))
      parity.check(
        'ten steps',
        `${name} changed`,
        got.some((v) => v !== 0) || want.some((v) => v !== 0) ? 1 : 0,
        0,
      );
    else if (name.endsWith('attention.self.key.bias'))
      parity.check(
        'ten steps',
        `Δ ${name}, largest`,
        got.reduce((most, v) => Math.max(most, Math.abs(v)), 0),
        2 * rates,
      );
    else
      parity.checkVector(
        'ten steps',
        `Δ ${name}`,
        got,
        want,
        name.includes('word_embeddings') ? parity.bounds.updateWords : parity.bounds.update,
        HALF_BOUNDS.update,
      );
  }
  run.dispose();
  model.dispose();
  final.close();
}
