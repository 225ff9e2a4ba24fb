/** `--resume_from_checkpoint`: which checkpoint a run goes on from, whether it may, and going on from it. */
import fs from 'node:fs';
import path from 'node:path';
import type { TrainingData } from '../../data/batches.js';
import { InputError } from '../../errors.js';
import { sameFolder } from '../../files/same-folder.js';
import type { Gpu } from '../../gpu/gpu.js';
import { CHECKPOINT } from '../../models/output-folder.js';
import { printable, show } from '../../show.js';
import type { FinetuneArguments } from '../arguments.js';
import { type Cursor, type MovedCursor, movedCursor, type Reading, readCursor } from '../run/cursor.js';
import { runSize } from '../run/forecast.js';
import type { RunInputs } from '../run/inputs.js';
import type { RunLog } from '../run/log.js';
import type { RunPlan } from '../run/plan.js';
import type { TrainingRun } from '../run/run.js';
import { checkpoints } from './checkpoints.js';
import { differences, savedSize } from './fingerprint.js';
import { type OpenCheckpoint, openCheckpoint, TRAINING_STATE } from './training-state.js';

const FLAG = '--resume_from_checkpoint';

/** What a run that may go on is held to. */
export interface Resuming extends Pick<RunInputs, 'fingerprint' | 'plan'> {
  readonly data: Pick<TrainingData, 'layout'>;
}

/** What the flag says: a folder, `True` for the newest checkpoint of the output folder, or nothing. */
export type ResumeWish = string | true | null;

export interface ResumePoint extends OpenCheckpoint {
  /** What was the best then was so on the rows that are evaluated now. */
  readonly sameEvaluation: boolean;
  /** A checkpoint beside this one as the output folder has it. */
  readonly located: (checkpoint: string) => string;
  /** Where the data goes on. */
  readonly cursor: Cursor;
  /** The run, whose length may follow from where its data goes on. */
  readonly plan: RunPlan;
}

/**
 * The checkpoint that the run goes on from, open; undefined where it begins anew: nothing was asked for, or `True` in a
 * folder that has no checkpoint yet, so that the same command starts a run and goes on with it.
 * @throws InputError naming a damaged checkpoint and the one before it, or what the run contradicts the checkpoint in.
 */
export function resumePoint(
  wish: ResumeWish,
  outputDir: string,
  run: Resuming,
  note: (line: string) => void,
): ResumePoint | undefined {
  if (wish === null) return undefined;
  let folder: string;
  if (wish === true) {
    const newest = resumable(outputDir)[0];
    if (newest === undefined) {
      note(`${FLAG} True: ${printable(outputDir)} has no checkpoint to go on from: the run begins anew`);
      return undefined;
    }
    folder = newest;
  } else {
    folder = wish;
    if (!fs.existsSync(path.join(folder, TRAINING_STATE)))
      throw new InputError(
        `${FLAG}: ${printable(folder)}: ${whyNone(folder)}${within(outputDir, folder)}${offer(folder)}`,
      );
  }
  const opened = open(folder);
  try {
    const { contradictions, notices, otherEvaluation } = differences(
      opened.state.fields('fingerprint'),
      run.fingerprint,
    );
    if (contradictions.length > 0)
      throw new InputError(
        `${FLAG} ${printable(folder)}: ${contradictions.slice(0, 3).join('; ')}${contradictions.length > 3 ? `; and ${contradictions.length - 3} more differences` : ''}`,
      );
    const { cursor, plan, notices: ofData } = dataGoesOn(opened, run);
    if (opened.step > plan.totalSteps)
      throw new InputError(
        `${FLAG} ${printable(folder)}: expected a run of at least the ${opened.step} steps that were taken, found ${plan.totalSteps}: give more --num_train_epochs or --max_steps`,
      );
    note(`the run goes on from ${printable(folder)}, after step ${opened.step} of ${plan.totalSteps}`);
    for (const line of [...notices, ...ofData]) note(line);
    const beside = path.dirname(fs.realpathSync(folder));
    const own = sameFolder(beside, outputDir);
    const later = own ? checkpoints(outputDir).filter(({ step }) => step > opened.step) : [];
    if (later.length > 0)
      note(
        `${later.map(({ name }) => name).join(', ')} in ${printable(outputDir)} ${later.length === 1 ? 'is' : 'are'} of steps that are taken anew now: whichever this run does not replace stays, and ${FLAG} True would take the one of most steps`,
      );
    const located = (name: string) =>
      own ? name : path.relative(fs.realpathSync(outputDir), path.resolve(beside, name));
    return { ...opened, located, cursor, plan, sameEvaluation: !otherEvaluation };
  } catch (error) {
    opened.tensors.close();
    throw error;
  }
}

/**
 * On a rank beside rank 0: the checkpoint that that one found, which was compared there. @throws InputError where it is not
 * there or damaged.
 */
export function sharedPoint(
  folder: string,
  outputDir: string,
  run: Resuming,
  note: (line: string) => void,
): ResumePoint {
  if (!fs.existsSync(path.join(folder, TRAINING_STATE)))
    throw new InputError(
      `${FLAG}: expected ${printable(folder)}, which rank 0 goes on from, found nothing there: ranks read a checkpoint from a file system that they share`,
    );
  // What lies where in the output folder is rank 0's business.
  return { ...resumePoint(folder, outputDir, run, note)!, located: (name) => name };
}

/**
 * At another world size the same place in the data is another batch, and the run may have more or fewer steps.
 * @throws InputError for what is no place in the data.
 */
export function dataGoesOn(
  { state, step }: Pick<OpenCheckpoint, 'state' | 'step'>,
  { data, plan: planned }: Pick<Resuming, 'data' | 'plan'>,
): { cursor: Cursor; plan: RunPlan; notices: string[] } {
  const was = savedSize(state.fields('fingerprint'));
  const { worldSize, window, stepsPerEpoch } = planned;
  const { reading: before, batches } = readingOf(data, planned.args, was.worldSize, was.perDevice);
  const now: Reading = { layout: data.layout(worldSize), window, stepsPerEpoch };
  const at = readCursor(state.fields('run').fields('cursor'));
  const { cursor, order } = movedCursor(at, before, now);
  const ahead = cursor.epoch * stepsPerEpoch + cursor.batch / window - step;
  // Steps that took fewer rows than one takes now leave the run behind its count of steps, and it stays so.
  if (!Number.isInteger(ahead))
    throw state.fields('run').fault('cursor', `the place of the data after ${step} steps`);
  // Ranks take whole steps: as many as cover the epochs. So those of then may be past what those of now would take.
  const aheadThen = at.epoch * before.stepsPerEpoch + at.batch / before.window - step;
  const admitted = step <= runSize(planned.args, batches, aheadThen).totalSteps;
  const plan = planned.goingOn(ahead, admitted ? step : 0);
  const notices: string[] = [];
  if (plan.totalSteps !== was.totalSteps)
    notices.push(
      `the run has ${plan.totalSteps} steps now, ${was.totalSteps} when it was saved: learning rates that follow from the length of the run are others from here on`,
    );
  if (worldSize !== was.worldSize)
    notices.push(
      `${ranks(worldSize)} now, ${was.worldSize} when it was saved: ${placeInData(order, cursor.epoch + 1)}`,
    );
  return { cursor, plan, notices };
}

function readingOf(
  data: Resuming['data'],
  args: FinetuneArguments,
  worldSize: number,
  perDevice: number,
): { readonly reading: Reading; readonly batches: number } {
  const layout = data.layout(worldSize, perDevice);
  const batches = layout.datasets.reduce((sum, { batches }) => sum + batches, 0);
  const { window, stepsPerEpoch } = runSize(args, batches);
  return { reading: { layout, window, stepsPerEpoch }, batches };
}

/** For people. */
function placeInData(order: MovedCursor['order'], epoch: number): string {
  if (order === 'same') return 'every step has the rows that it would have had';
  const steps = 'a step takes other rows, and the data goes on where it stood';
  if (order === 'rows') return steps;
  return order === 'others'
    ? `a step takes other rows, and epoch ${epoch} goes on at the same share of it in another order: some of its rows come twice and others not at all`
    : `${steps}, but for ${order.twice === 1 ? 'one row' : `${order.twice} rows`} of epoch ${epoch} that ${order.twice === 1 ? 'comes' : 'come'} again, because no step begins there`;
}

const ranks = (count: number) => (count === 1 ? '1 rank' : `${count} ranks`);

/** Puts run and log where the checkpoint stands, whose weights the model has. @throws InputError. */
export function restore(
  { state, step, history, tensors, located, sameEvaluation, cursor }: ResumePoint,
  run: TrainingRun,
  log: RunLog,
): void {
  run.restore(state.fields('run'), tensors);
  run.cursor = cursor;
  log.restore(step, state.fields('means'), history, sameEvaluation ? located : null);
}

/** The kernels of the checkpoint instead of what tuning found since: with them the numbers go on as they were. */
export function useKernels({ state }: OpenCheckpoint, gpu: Gpu, note: (line: string) => void): void {
  const kernels = state.fields('kernels');
  gpu.choices.replaceWinners(Object.fromEntries(kernels.names().map((name) => [name, kernels.text(name)])));
  const adapter = state.fields('adapter');
  const { name, driver } = gpu.capabilities;
  if (adapter.text('name') !== name || adapter.text('driver') !== driver)
    note(
      `the checkpoint was computed by ${printable(`${adapter.text('name')}, ${adapter.text('driver')}`)}, the run goes on with ${printable(`${name}, ${driver}`)}: the last bits may be others`,
    );
}

/**
 * Folders of checkpoints with a training state, the one of the most steps first. One that an earlier run left is refused
 * if that run was another, and otherwise stands where this run would come to.
 */
function resumable(outputDir: string): string[] {
  return checkpoints(outputDir)
    .map(({ folder }) => folder)
    .filter((folder) => fs.existsSync(path.join(folder, TRAINING_STATE)))
    .reverse();
}

function open(folder: string): OpenCheckpoint {
  try {
    return openCheckpoint(folder);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InputError(
      `${FLAG}: the checkpoint ${printable(folder)} is damaged: ${error.message}${offer(folder)}`,
    );
  }
}

/** Where the name of a checkpoint was given alone. */
function within(outputDir: string, name: string): string {
  const folder = path.join(outputDir, name);
  return !path.isAbsolute(name) && fs.existsSync(path.join(folder, TRAINING_STATE))
    ? `; ${printable(folder)} is one`
    : '';
}

/** The newest whole checkpoint beside a folder, if there is one. */
function offer(folder: string): string {
  const real = path.resolve(folder);
  for (const other of CHECKPOINT.test(path.basename(real)) ? resumable(path.dirname(folder)) : []) {
    if (path.resolve(other) === real) continue;
    try {
      openCheckpoint(other).tensors.close();
      return `; the newest whole one is ${printable(other)}`;
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
    }
  }
  return '';
}

function whyNone(folder: string): string {
  const stat = fs.statSync(folder, { throwIfNoEntry: false });
  if (!stat) return 'expected a checkpoint, found nothing';
  if (!stat.isDirectory()) return 'expected the folder of a checkpoint, found a file';
  const names = fs.readdirSync(folder);
  if (names.some((name) => CHECKPOINT.test(name)))
    return `expected a checkpoint, found a folder with checkpoints in it: name one of them, or give True with --output_dir ${show(folder)}`;
  if (names.includes('model.safetensors') || names.includes('model.safetensors.index.json'))
    return 'expected a checkpoint to go on from, found a model alone (such as --save_only_model writes)';
  return `expected a checkpoint, found a folder without ${TRAINING_STATE}`;
}
