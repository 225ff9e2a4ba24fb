/**
 * What is done between the steps of a run: evaluation, checkpoints, whether another step follows, and what an interrupted
 * run leaves. The steps themselves stand in run.ts, the loop over them in trainer.ts. Ranks share evaluations out and come to
 * the same numbers; rank 0 alone writes, and the others wait for it.
 */
import path from 'node:path';
import type { StopRequest } from '../../console/interruption.js';
import type { Reporter } from '../../console/reporter.js';
import type { TrainingData } from '../../data/batches.js';
import { MachineError } from '../../errors.js';
import type { Work } from '../../progress.js';
import type { Communicator } from '../../ranks/communicator.js';
import { beatThrough } from '../../ranks/heartbeat.js';
import { shareOf } from '../../ranks/rounds.js';
import { together } from '../../ranks/together.js';
import { printable } from '../../show.js';
import type { RunSaves, TrainingFiles } from '../checkpoints/checkpoints.js';
import type { TrainingState } from '../checkpoints/training-state.js';
import { requireEqualReplicas } from '../ranks/replicas.js';
import type { RunRecorder } from '../record/recorder.js';
import { collateAhead } from '../step/collate.js';
import { type preparation, type RunInputs, ranked } from './inputs.js';
import type { RunLog } from './log.js';
import type { TrainingRun } from './run.js';

interface Parts {
  readonly run: TrainingRun;
  readonly inputs: RunInputs;
  /** Makes packed batches of rows. */
  readonly prepare: ReturnType<typeof preparation>;
  /** Of rank 0, which alone writes. */
  readonly saves: RunSaves | undefined;
  readonly log: RunLog;
  readonly report: Reporter;
  readonly stop: StopRequest;
  readonly ranks: Communicator;
  /** Of rank 0, where a record is kept. */
  readonly recorder: RunRecorder | undefined;
}

export class BetweenSteps {
  /** Why the last step left nothing new to save, if so. */
  nothingNew: string | undefined;
  /** The step that this process goes on from; 0 for a run that begins. */
  private readonly first: number;
  /** What the newest checkpoint is of. */
  private saved: { readonly step: number; readonly applied: number };
  /** Of the newest step, for messages. */
  private learningRate = 0;

  constructor(private readonly parts: Parts) {
    const { completed, tally } = parts.run;
    this.first = completed;
    this.saved = { step: completed, applied: tally.applied };
  }

  /**
   * Before the first step: the evaluation of the start, or what the process before this one had still to do after the step
   * of its checkpoint. Returns whether the run is at its end already.
   */
  async begin(): Promise<boolean> {
    const { evalData, plan } = this.parts.inputs;
    if (this.first > 0) return this.after(this.first, 0);
    if (evalData && plan.evaluatesAtStart) await this.evaluate(evalData);
    return false;
  }

  /** What is due after a step. Returns whether no other step follows it. */
  async after(step: number, learningRate: number): Promise<boolean> {
    const { run, inputs, log, report, ranks } = this.parts;
    const { evalData, plan } = inputs;
    const { tally } = run;
    this.learningRate = learningRate;
    const evaluates = evalData !== undefined && plan.evaluatesAt(step) && !log.evaluated;
    if (evaluates && !(await this.evaluate(evalData))) return false;
    // The checkpoint that the run goes on from was due only if it had been evaluated then.
    const due = plan.savesAt(step) && (step > this.first || evaluates);
    const stops = log.best?.whyStopped;
    const last = step === plan.totalSteps || stops !== undefined;
    if (last) await together(ranks, () => tally.requireApplied(run.scaler.scale));
    const { checkReplicas } = plan.args;
    if (due || last || (checkReplicas !== null && step % checkReplicas === 0))
      await this.requireEqualReplicas();
    if (due || last) await this.requireFinite(step);
    // A step that overflowed leaves the weights as they were.
    if (last && step > this.first && tally.nothingNew) this.nothingNew = tally.whyNothingNew;
    if (due && tally.nothingNew) report.note(`step ${step}: no checkpoint: ${tally.whyNothingNew}`);
    else if (due) {
      log.saves(`checkpoint-${step}`);
      tally.saved(step);
      await this.save();
    }
    if (stops !== undefined && step < plan.totalSteps)
      report.note(`stopped after step ${step} of ${plan.totalSteps}: ${stops}`);
    return last;
  }

  /** The run was asked to stop: a checkpoint of the last whole step, unless there is one. */
  async interrupted(): Promise<void> {
    const { run, inputs, report } = this.parts;
    const { plan } = inputs;
    const { completed: step, tally } = run;
    if (step <= this.saved.step) return;
    if (tally.applied === this.saved.applied) {
      report.note(`step ${step}: no checkpoint: ${tally.whyNothingNew}`);
      return;
    }
    await this.requireEqualReplicas();
    await this.requireFinite(step);
    const { saveOnlyModel, saveStrategy, outputDir } = plan.args;
    const name = `checkpoint-${step}`;
    report.note(
      `interrupted at step ${step} of ${plan.totalSteps}: saving ${name}${saveStrategy === 'no' ? ', in spite of --save_strategy no' : ''}`,
    );
    await this.save();
    report.note(
      saveOnlyModel
        ? `${name} is a model alone, as --save_only_model says: no run goes on from it`
        : `--resume_from_checkpoint ${printable(path.join(outputDir, name))} goes on from there`,
    );
  }

  /** A long evaluation is not waited for when the run is to stop; whoever goes on from there makes it anew: false. */
  private async evaluate(data: TrainingData): Promise<boolean> {
    const { run, inputs, prepare, log, report, stop, ranks, recorder } = this.parts;
    const { gpu } = run.model;
    const tell = (work: Pick<Work, 'done' | 'total' | 'subject' | 'ended'>) =>
      report.progress?.({
        ...{ phase: 'evaluate', unit: 'batches', memoryBytes: gpu.pool.heldBytes, ...work },
      });
    const total = data.batchesPerEpoch();
    const candidates = inputs.plan.ranks
      ? told(collateAhead(shareOf(ranks, data.candidates()), ranked(prepare)), (n) =>
          tell({ done: n * ranks.size, subject: 'candidates' }),
        )
      : [];
    const batches = told(collateAhead(shareOf(ranks, data.epoch(0)), prepare), (n) =>
      tell({ done: Math.min(total, n * ranks.size), total }),
    );
    // The first one compiles kernels.
    const evaluation = await beatThrough(() =>
      gpu.phase('evaluate', () => run.evaluate(batches, candidates, stop)),
    );
    tell({ done: total, total, ended: true });
    if (evaluation.stopped) return false;
    run.tally.evaluated(evaluation);
    log.evaluation(evaluation);
    const { completed } = run;
    recorder?.evaluated(completed, inputs.plan.epochsAfter(completed), evaluation.metrics());
    return true;
  }

  private async save(): Promise<void> {
    const { run, inputs, saves, log, report, ranks, recorder } = this.parts;
    const { model, completed, tally } = run;
    const saving = { phase: 'save', done: 0, unit: 'bytes', subject: `checkpoint-${completed}` } as const;
    report.progress?.(saving);
    const save = async (training?: TrainingFiles): Promise<void> =>
      saves?.saveCheckpoint(model, inputs.tokenizer, log.state, training, recorder?.text());
    await together(ranks, () =>
      model.gpu.phase('save', async () => {
        const state = inputs.plan.args.saveOnlyModel ? undefined : this.trainingState();
        return run.optimizer.withTensors(saves && ((tensors) => save(state && { state, tensors })));
      }),
    );
    report.progress?.({ ...saving, ended: true });
    this.saved = { step: completed, applied: tally.applied };
    recorder?.write();
    report.saved?.(`checkpoint-${completed}`);
  }

  /** What goes into a checkpoint beside the model. */
  private trainingState(): TrainingState {
    const { run, inputs, log } = this.parts;
    const { capabilities, choices } = run.model.gpu;
    const kernels = choices.record().winners;
    return {
      ...{ run: run.state(), means: log.means(), fingerprint: inputs.fingerprint, kernels },
      adapter: { name: capabilities.name, driver: capabilities.driver },
    };
  }

  /** What one rank has trained and saves is what all have trained. */
  private async requireEqualReplicas(): Promise<void> {
    const { run, ranks } = this.parts;
    if (ranks.size > 1) await together(ranks, () => requireEqualReplicas(run, ranks));
  }

  /** A model with a weight that is not finite must not replace a good one on disk. */
  private async requireFinite(step: number): Promise<void> {
    const { run, ranks } = this.parts;
    await together(ranks, async () => {
      if (!(await run.weightsFinite()))
        throw new MachineError(
          `weights are no longer finite at step ${step}: nothing is saved; lower --learning_rate (${this.learningRate} in this step)`,
        );
    });
  }
}

/** The same things; `tell` hears how many have been worked on, at first none. */
async function* told<T>(things: AsyncIterable<T>, tell: (count: number) => void): AsyncGenerator<T> {
  let count = 0;
  tell(count);
  for await (const thing of things) {
    yield thing;
    tell(++count);
  }
}
