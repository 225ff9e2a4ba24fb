/**
 * `parity FOLDER`: compares the engine with figures computed by FlagEmbedding and PyTorch, for any folder in the
 * goldens layout, and prints a table. Exit code 0 only if every bound holds. The bounds stand in `BOUNDS`.
 */
import path from 'node:path';
import { backward, maxSim, mul, scale, sum } from '../autograd/index.js';
import { InputError } from '../errors.js';
import { readJson } from '../files/json.js';
import { PositionedFile } from '../files/positioned.js';
import type { ForcedKernels, KernelChoices } from '../gpu/choices.js';
import { Gpu, type GpuOptions } from '../gpu/gpu.js';
import { globalNorm } from '../kernels/adamw.js';
import { maxSimLayout } from '../kernels/maxsim/layout.js';
import { M3Model } from '../models/m3.js';
import type { M3Options } from '../models/m3-parameters.js';
import type { Representations } from '../models/scores.js';
import type { Pooling } from '../models/token-batch.js';
import { encodeTexts } from '../retrieval/encode/encode-texts.js';
import { hybridScores } from '../retrieval/pair-scores.js';
import { PackedSequences } from '../tensor/packed.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import { type M3Scores, m3LossWeights } from '../train/losses/m3-loss.js';
import type { DistillationKind } from '../train/losses/score-loss.js';
import { allGatherJson, type Communicator } from '../train/ranks/communicator.js';
import { EmulatedRanks } from '../train/ranks/emulated.js';
import { GradientReducer } from '../train/ranks/reducer.js';
import { type RunBatch, TrainingRun } from '../train/run/run.js';
import { collate, collateAhead } from '../train/step/collate.js';
import { forwardBackward, type StepSettings } from '../train/step/train-step.js';
import { SafetensorsFile } from '../weights/safetensors.js';
import type { DeliberateError } from './arguments.js';
import { requireGoldenForm } from './forms.js';
import { allowOneJump } from './jumps.js';
import { BOUNDS, cosineOf, HALF_BOUNDS, largestError, length, relativeError } from './measures.js';
import type { ParityCheck } from './report.js';

export interface ParityOptions {
  adapter?: string | undefined;
  deliberateError?: DeliberateError | undefined;
  /** Compute in mixed precision, with the looser bounds of that. */
  fp16?: boolean | undefined;
  /** Variants to use where the adapter supports them. That each was used is one of the checks. */
  kernels?: ForcedKernels | undefined;
  /** The goldens of several ranks are computed by as many real ones, of which this is one; else by this process alone. */
  communicator?: Communicator | undefined;
  /** Opens this rank's adapter, where there are several; `adapter` is not looked at then. */
  openGpu?: ((options: Omit<GpuOptions, 'adapter'>) => Promise<Gpu>) | undefined;
  /** Of all goldens those of several ranks alone. */
  ranksAlone?: boolean | undefined;
}

interface LossCase {
  id: string;
  B: number;
  G: number;
  query_max_len: number;
  passage_max_len: number;
  queries: string[];
  passages: string[];
  kd_loss_type: DistillationKind;
  teacher_scores: number[] | null;
  use_self_distill: boolean;
  no_in_batch_neg: boolean;
  temperature: number;
  unified_finetuning?: boolean;
  loss: number | null;
  grad_norm?: number;
  loss_intended?: number;
  grad_norm_intended?: number;
}

/** What a batch of a golden is made of. */
type GoldenBatch = Omit<LossCase, 'loss' | 'use_self_distill'>;

interface Settings {
  pooling: Pooling;
  colbert_dim: number;
  normalize_embeddings: boolean;
  temperature: number;
  pad_to_multiple_of: number | null;
}

const ALL_COMPAT = new Set(['none-prefix', 'no-in-batch', 'cross-device', 'colbert-floor', 'log-warmup']);

export async function runParity(folder: string, options: ParityOptions = {}): Promise<ParityCheck[]> {
  const { adapter, kernels, communicator } = options;
  const choices = kernels ? { kernels } : {};
  const gpu = await (options.openGpu?.(choices) ?? Gpu.open({ ...(adapter ? { adapter } : {}), ...choices }));
  try {
    const checks = await new Parity(gpu, folder, options).run();
    const own = [...checks, ...forcedWereUsed(gpu.choices)];
    return communicator ? [...own, ...(await failedElsewhere(communicator, own))] : own;
  } finally {
    await gpu.close();
  }
}

/** The checks that do not hold on other ranks; those that hold are the same ones as here. */
async function failedElsewhere(
  communicator: Communicator,
  own: readonly ParityCheck[],
): Promise<ParityCheck[]> {
  const failed = await allGatherJson(
    communicator,
    own.filter(({ ok }) => !ok),
  );
  return failed.flatMap((checks, rank) =>
    rank === communicator.rank
      ? []
      : checks.map((check) => ({ ...check, section: `rank ${rank}: ${check.section}` })),
  );
}

/** A variant that no form took was not checked, whatever the other checks say. */
export function forcedWereUsed({ forced, decided }: KernelChoices): ParityCheck[] {
  if (forced === undefined || forced === 'fallback') return [];
  return Object.entries(forced).map(([family, variant]) => {
    const used = [...decided.values()].some(
      (each) => each.family === family && each.variant.name === variant,
    );
    const measured = used ? 0 : 1;
    return { section: 'kernels', name: `${family}=${variant} unused`, measured, bound: 0, ok: used };
  });
}

/** Only there the golden was seen to jump; all other kernels are held to the narrow bounds. */
const usedMatrixUnits = ({ decided }: KernelChoices): boolean =>
  [...decided.values()].some(({ variant }) => variant.name.startsWith('subgroupMatrix'));

class Parity {
  private readonly checks: ParityCheck[] = [];
  private readonly settings: Settings;
  private readonly tokenizer: Tokenizer;
  private readonly modelFolder: string;

  private readonly mistake: DeliberateError | undefined;
  private readonly half: boolean;
  private readonly communicator: Communicator | undefined;
  private readonly ranksAlone: boolean;
  private readonly bounds: Record<keyof typeof BOUNDS, number>;

  constructor(
    private readonly gpu: Gpu,
    private readonly folder: string,
    options: ParityOptions,
  ) {
    this.mistake = options.deliberateError;
    this.half = options.fp16 ?? false;
    this.communicator = options.communicator;
    this.ranksAlone = options.ranksAlone ?? false;
    this.bounds = this.half ? HALF_BOUNDS : BOUNDS;
    this.settings = this.json('settings.json');
    this.modelFolder = path.join(folder, 'model');
    this.tokenizer = Tokenizer.load(this.modelFolder);
  }

  async run(): Promise<ParityCheck[]> {
    // What does not take several ranks is the first one's.
    if (this.ranksAlone || (this.communicator && this.communicator.rank > 0)) {
      await this.checkRanks();
      return this.checks;
    }
    this.checkTokenizer();
    await this.checkLossCases();
    await this.checkColbertFloor();
    await this.checkTenSteps();
    await this.checkRanks();
    await this.checkEncode();
    return this.half && usedMatrixUnits(this.gpu.choices) ? allowOneJump(this.checks) : this.checks;
  }

  // ---- sections ------------------------------------------------------------------------------------------

  private checkTokenizer(): void {
    const rows = this.json<{ text: string; ids: number[]; ids_max16: number[] }[]>('tokenizer.json');
    const differ = (name: string, wanted: (row: (typeof rows)[number]) => number[], limit?: number) => {
      const wrong = rows.filter(
        (row) => wanted(row).join() !== this.tokenizer.encode(row.text, limit).join(),
      );
      this.check('tokenizer', `${name}: rows of ${rows.length} that differ`, wrong.length, 0);
    };
    differ('ids', (row) => row.ids);
    differ('ids cut to 16', (row) => row.ids_max16, 16);
  }

  private async checkLossCases(): Promise<void> {
    const cases = this.json<LossCase[]>('loss_cases.json');
    const goldens = this.open('loss_cases.safetensors');
    const model = this.load();
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
          const refused = await this.lossAndGradient(model, golden, compat).then(
            () => 0,
            (error) => (error instanceof InputError ? 1 : 0),
          );
          this.check(section, 'refused, as upstream crashes', 1 - refused, 0);
          model.store.zeroGradients();
          continue;
        }
        const prefix = `${golden.id}/`;
        const hidden: Tensor[] = [];
        const wantsStates = suffix === '' && goldens.has(`${prefix}q/hidden_0`);
        const result = await this.lossAndGradient(model, golden, compat, (_, state) => {
          if (wantsStates) hidden.push(state.detach().keep());
        });
        this.checkRelative(section, 'loss', result.loss, loss, this.bounds.loss);
        if (norm !== undefined)
          this.checkRelative(section, 'grad_norm', result.norm, norm, this.bounds.gradient);
        if (suffix === '' && goldens.names().some((name) => name.startsWith(`${prefix}grad/`)))
          await this.checkGradients(section, model, goldens, prefix, 1, this.bounds.gradient);
        if (wantsStates)
          await this.checkStates(section, goldens, prefix, golden, hidden, result.scores, result.dense);
        for (const state of hidden) state.dispose();
        model.store.zeroGradients();
      }
    }
    if (this.half) {
      const errors = this.checks.filter(
        ({ section, name }) => section.startsWith('loss ') && name === 'loss',
      );
      const squares = errors.reduce((total, { measured }) => total + measured * measured, 0);
      this.check(
        'all loss cases',
        `loss, root mean square of ${errors.length}`,
        Math.sqrt(squares / errors.length),
        HALF_BOUNDS.lossMean,
      );
    }
    model.dispose();
    goldens.close();
  }

  private async checkStates(
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
      ...this.tokenizer.encodeBatch(golden.queries, golden.query_max_len),
      ...this.tokenizer.encodeBatch(golden.passages, golden.passage_max_len),
    ].flatMap((row) => [...row]);
    this.check(section, 'input ids that differ', ids.join() === own.join() ? 0 : 1, 0);
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
      this.check(section, `hidden state ${layer}`, largestError(got, want), this.bounds.state);
    }
    const vectors = [...goldens.read(`${prefix}q/dense`), ...goldens.read(`${prefix}p/dense`)];
    this.check(section, 'dense vectors', largestError(dense, vectors), this.bounds.state);
    for (const [name, values] of Object.entries(scores))
      if (goldens.has(`${prefix}score/${name}`))
        this.check(
          section,
          `${name} scores`,
          largestError(values, goldens.read(`${prefix}score/${name}`)),
          this.bounds.state,
        );
  }

  private async checkColbertFloor(): Promise<void> {
    const goldens = this.open('loss_cases.safetensors');
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
        this.gpu,
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
        const vectors = Tensor.from(this.gpu, values, [packed.tokens, C]);
        vectors.requiresGrad = true;
        const floor = kind === 'upstream' ? lengths.slice(B).map((length) => length < Tp) : undefined;
        const layout = maxSimLayout(packed, { queries: B, floor });
        const scores = scale(maxSim(vectors, layout), 1 / this.settings.temperature);
        const got = (await scores.toArray()) as Float32Array;
        this.check(
          'colbert_floor',
          `${kind} scores`,
          largestError(got, goldens.read(`colbert_floor/score_${kind}`)),
          this.bounds.state,
        );
        backward(sum(mul(scores, Tensor.from(this.gpu, goldens.read('colbert_floor/weight'), [B, N]))));
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
          this.check(
            'colbert_floor',
            `${kind} gradient of ${side}`,
            relativeError(have, want),
            this.bounds.gradient,
          );
        }
      });
      packed.dispose();
    }
    goldens.close();
  }

  private async checkTenSteps(): Promise<void> {
    const golden = this.json<{
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
    const final = this.open('ten_steps_final.safetensors');
    const model = this.load(this.mistake === 'decay-biases' ? { decay: () => true } : {});
    const cases = golden.steps.map((step) => ({
      ...{ ...golden, ...step, id: 'ten steps', no_in_batch_neg: false },
      ...{ B: step.queries.length, G: step.passages.length / step.queries.length },
      temperature: this.settings.temperature,
    }));
    const run = new TrainingRun(model, {
      optimizer: {
        beta1: golden.betas[0],
        beta2: this.mistake === 'beta2' ? 0.95 : golden.betas[1],
        eps: golden.eps,
        weightDecay: golden.weight_decay,
        maxGradNorm: golden.max_grad_norm,
      },
      step: this.stepSettings(cases[0]!, ALL_COMPAT),
      window: 1,
      learningRate: (updates) => golden.steps[updates]!.lr,
      lossScaling: null,
      seed: null,
      selfDistillAfter: golden.use_self_distill ? golden.self_distill_start_step : null,
    });
    const before = await model.readWeights();
    const batches = collateAhead(cases, (each) => this.batchOf(model, each, ALL_COMPAT));
    for await (const { number, loss, norm } of run.steps(batches, golden.steps.length)) {
      const step = golden.steps[number - 1]!;
      this.checkRelative('ten steps', `step ${step.step} loss`, loss, step.loss, this.bounds.tenSteps);
      this.checkRelative(
        'ten steps',
        `step ${step.step} grad_norm`,
        norm,
        step.grad_norm,
        this.bounds.tenSteps,
      );
    }
    const after = await model.readWeights();
    const rates = golden.steps.reduce((total, { lr }) => total + lr, 0);
    for (const name of final.names()) {
      const [start, end] = [before.get(name), after.get(name)];
      if (!start || !end) {
        this.check('ten steps', `${name}: missing here`, 1, 0);
        continue;
      }
      const want = final.read(name).map((v, i) => v - start[i]!);
      const got = end.map((v, i) => v - start[i]!);
      if (name.includes('pooler'))
        this.check(
          'ten steps',
          `${name} changed`,
          got.some((v) => v !== 0) || want.some((v) => v !== 0) ? 1 : 0,
          0,
        );
      else if (name.endsWith('attention.self.key.bias'))
        this.check(
          'ten steps',
          `Δ ${name}, largest`,
          got.reduce((most, v) => Math.max(most, Math.abs(v)), 0),
          2 * rates,
        );
      else
        this.checkVector(
          'ten steps',
          `Δ ${name}`,
          got,
          want,
          name.includes('word_embeddings') ? this.bounds.updateWords : this.bounds.update,
          HALF_BOUNDS.update,
        );
    }
    run.dispose();
    model.dispose();
    final.close();
  }

  private async checkRanks(): Promise<void> {
    const golden = this.json<{
      source_case: string;
      world_size: number;
      per_rank_batch: number;
      group: number;
      passage_len: number;
      cases: { name: string; losses: number[]; grad_norm: number }[];
    }>('cross_device.json');
    const source = this.json<LossCase[]>('loss_cases.json').find(({ id }) => id === golden.source_case);
    if (!source)
      throw new InputError(`${this.folder}/cross_device.json: no loss case "${golden.source_case}"`);
    const goldens = this.open('cross_device.safetensors');
    const model = this.load();
    const { world_size: W, per_rank_batch: b, group: G } = golden;
    const real = this.communicator;
    if (real && real.size !== W)
      throw new InputError(`${this.folder}/cross_device.json: expected ${W} ranks, found ${real.size}`);
    for (const wanted of golden.cases) {
      const section = `${W} ranks ${wanted.name}`;
      const play = async (communicator: Communicator) => {
        const { rank } = communicator;
        const part = <T>(list: T[], per: number) => list.slice(rank * per, (rank + 1) * per);
        return this.lossAndGradient(
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
        this.checkRelative(section, `loss of rank ${rank}`, loss, wanted.losses[rank]!, this.bounds.ranks);
      const norm = (await gradientNorm(model)) / W;
      this.checkRelative(section, 'grad_norm', norm, wanted.grad_norm, this.bounds.ranks);
      if (goldens.names().some((name) => name.startsWith(`${wanted.name}/grad/`)))
        await this.checkGradients(section, model, goldens, `${wanted.name}/`, 1 / W, this.bounds.ranks);
      model.store.zeroGradients();
    }
    model.dispose();
    goldens.close();
  }

  private async checkEncode(): Promise<void> {
    const golden = this.json<{
      max_length: number;
      texts: string[];
      lexical_weights: Record<string, number>[];
      pairs: [string, string][];
      weights: [number, number, number];
      scores: Record<string, number[]>;
    }>('encode.json');
    const goldens = this.open('encode.safetensors');
    const model = this.load();
    const encodeAll = (texts: string[]) =>
      encodeTexts(model, this.tokenizer, texts, { maxLength: golden.max_length });
    const embeddings = await encodeAll(golden.texts);
    const dense = embeddings.flatMap((embedding) => [...embedding.dense]);
    this.check('encode', 'dense', largestError(dense, goldens.read('dense')), this.bounds.encode);
    let colbert = 0;
    let lexical = 0;
    for (const [i, embedding] of embeddings.entries()) {
      colbert = Math.max(colbert, largestError(embedding.colbert, goldens.read(`colbert_${i}`)));
      const wanted = golden.lexical_weights[i]!;
      const ids = new Set([...Object.keys(wanted), ...[...embedding.lexical.keys()].map(String)]);
      for (const id of ids)
        lexical = Math.max(lexical, Math.abs((wanted[id] ?? 0) - (embedding.lexical.get(Number(id)) ?? 0)));
    }
    this.check('encode', 'ColBERT vectors', colbert, this.bounds.encode);
    this.check('encode', 'lexical weights', lexical, this.bounds.encode);
    const left = await encodeAll(golden.pairs.map(([query]) => query));
    const right = await encodeAll(golden.pairs.map(([, passage]) => passage));
    const scores = left.map((query, i) => hybridScores(query, right[i]!, golden.weights));
    for (const [name, wanted] of Object.entries(golden.scores)) {
      const got = scores.map((score) => score[name as keyof typeof score]);
      this.check('encode', `${name} scores`, largestError(got, wanted), this.bounds.encode);
    }
    model.dispose();
    goldens.close();
  }

  // ---- pieces --------------------------------------------------------------------------------------------

  private batchOf(
    model: M3Model,
    golden: GoldenBatch,
    compat: ReadonlySet<string>,
    paddedLength?: number,
  ): RunBatch {
    const texts = collate(this.gpu, this.tokenizer, model.config, golden.queries, golden.passages, {
      queryMaxLen: golden.query_max_len,
      passageMaxLen: golden.passage_max_len,
      padToMultipleOf: this.settings.pad_to_multiple_of,
      colbertFloor: compat.has('colbert-floor'),
      ...(paddedLength === undefined ? {} : { paddedLength }),
    });
    return { ...texts, teacherScores: golden.teacher_scores, noInBatchNeg: golden.no_in_batch_neg };
  }

  private stepSettings(golden: GoldenBatch, compat: ReadonlySet<string>, acrossRanks = false): StepSettings {
    return {
      temperature: golden.temperature,
      unified: golden.unified_finetuning ?? true,
      kind: golden.kd_loss_type,
      negativesCrossDevice: acrossRanks,
      compat,
      recompute: false,
      subBatchSize: null,
      ...(this.mistake === 'missing-term' ? { weights: { ...m3LossWeights, ensemble: 0 } } : {}),
    };
  }

  /** Loss of one batch; gradients are added to the model's, whose norm is returned. */
  private async lossAndGradient(
    model: M3Model,
    golden: GoldenBatch & Pick<LossCase, 'use_self_distill'>,
    compat: ReadonlySet<string>,
    onHidden?: (layer: number, hidden: Tensor) => void,
    rank?: { communicator: Communicator; paddedLength: number },
  ): Promise<{ loss: number; norm: number; scores: Record<string, Float32Array>; dense: Float32Array }> {
    const batch = {
      ...this.batchOf(model, golden, compat, rank?.paddedLength),
      selfDistill: golden.use_self_distill,
    };
    const seen: { scores: Record<string, Float32Array>; dense: Float32Array } = {
      ...{ scores: {}, dense: new Float32Array(0) },
    };
    const onScores = async (texts: Representations, scores: M3Scores) => {
      seen.dense = await texts.dense.toFloat32();
      for (const [name, tensor] of Object.entries(scores)) seen.scores[name] = await tensor.toFloat32();
    };
    try {
      const loss = await forwardBackward(
        model,
        batch,
        this.stepSettings(golden, compat, rank !== undefined),
        {
          ...{ communicator: rank?.communicator, watch: onHidden && { onHidden, onScores } },
        },
      );
      const norm = await gradientNorm(model);
      return { loss, norm, ...seen };
    } finally {
      batch.tokens.dispose();
    }
  }

  private async checkGradients(
    section: string,
    model: M3Model,
    goldens: SafetensorsFile,
    prefix: string,
    scale: number,
    bound: number,
  ): Promise<void> {
    const gradients = await model.store.readGradients();
    const wanted = new Set<string>();
    for (const name of goldens.names()) {
      if (!name.startsWith(`${prefix}grad/`)) continue;
      const parameter = name.slice(prefix.length + 'grad/'.length);
      wanted.add(parameter);
      const got = gradients.get(parameter)?.map((v) => v * scale);
      if (!got) this.check(section, `gradient ${parameter}: missing here`, 1, 0);
      else if (parameter.endsWith('attention.self.key.bias')) {
        const weight = gradients.get(parameter.replace(/bias$/, 'weight'))!.map((v) => v * scale);
        this.check(
          section,
          `‖gradient ${parameter}‖ / ‖key.weight‖`,
          length(got) / length(weight),
          this.bounds.keyBias,
        );
      } else
        this.checkVector(
          section,
          `gradient ${parameter}`,
          got,
          goldens.read(name),
          bound,
          parameter.startsWith('colbert_linear') ? HALF_BOUNDS.cosineColbert : HALF_BOUNDS.cosine,
        );
    }
    for (const [name, values] of gradients)
      if (!wanted.has(name))
        this.check(section, `gradient ${name}: none in the golden`, length(values), this.bounds.lossZero);
  }

  private load(options: M3Options = {}): M3Model {
    return M3Model.load(this.gpu, this.modelFolder, {
      pooling: this.settings.pooling,
      normalize: this.settings.normalize_embeddings,
      colbertDim: this.settings.colbert_dim,
      precision: this.half ? 'f16' : 'f32',
      ...(this.mistake === 'tanh-gelu' ? { activation: 'geluTanh' as const } : {}),
      ...options,
    });
  }

  /** Relative L2 in float32; in mixed precision the direction. */
  private checkVector(
    section: string,
    name: string,
    got: Float32Array,
    want: Float32Array,
    relative: number,
    cosine: number,
  ): void {
    if (this.half) this.check(section, name, 1 - cosineOf(got, want), cosine);
    else this.check(section, name, relativeError(got, want), relative);
  }

  private checkRelative(section: string, name: string, got: number, want: number, bound: number): void {
    if (want === 0) this.check(section, `${name} (absolute)`, Math.abs(got), this.bounds.lossZero);
    else this.check(section, name, Math.abs(got - want) / Math.abs(want), bound);
  }

  private check(section: string, name: string, measured: number, bound: number): void {
    this.checks.push({ section, name, measured, bound, ok: measured <= bound });
  }

  private json<T>(name: string): T {
    const file = path.join(this.folder, name);
    if (!PositionedFile.exists(file))
      throw new InputError(`${this.folder}: expected a folder of goldens, found no ${name} in it`);
    const value = readJson(file);
    requireGoldenForm(value, name, file);
    return value as T;
  }

  private open(name: string): SafetensorsFile {
    return SafetensorsFile.open(path.join(this.folder, name));
  }
}

const without = (name: string): ReadonlySet<string> =>
  new Set([...ALL_COMPAT].filter((other) => other !== name));

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

/** Of the gradients that are in the model. */
function gradientNorm({ store }: M3Model): Promise<number> {
  return scope(() =>
    globalNorm([
      ...(store.gradients ? [store.gradients] : []),
      ...store.tables.flatMap((table) => table.gradient.merged()?.values ?? []),
    ]).item(),
  );
}
