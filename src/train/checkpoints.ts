/**
 * Checkpoint folders. A checkpoint is written under a temporary name and renamed when it is whole, so a killed
 * process never leaves half of one under its final name.
 */
import fs from 'node:fs';
import path from 'node:path';
import { writeFileAtomic } from '../files/atomic.js';
import type { M3Model, TokenizerFiles } from '../models/m3.js';
import type { LogEntry } from './report.js';

const PARTIAL = /^\.checkpoint-\d+\.partial$/;

/** `trainer_state.json`, with Hugging Face's keys. */
export interface TrainerState {
  global_step: number;
  epoch: number;
  max_steps: number;
  num_train_epochs: number;
  train_batch_size: number;
  logging_steps: number;
  save_steps: number;
  seed: number;
  log_history: LogEntry[];
}

export async function saveModel(
  folder: string,
  model: M3Model,
  tokenizer: TokenizerFiles,
  state: TrainerState,
): Promise<void> {
  await model.save(folder, tokenizer);
  writeFileAtomic(path.join(folder, 'trainer_state.json'), `${JSON.stringify(state, null, 2)}\n`);
}

/** Writes checkpoint-<step> and deletes the oldest beyond `limit`. */
export async function saveCheckpoint(
  outputDir: string,
  model: M3Model,
  tokenizer: TokenizerFiles,
  state: TrainerState,
  limit: number | null,
): Promise<string> {
  const final = path.join(outputDir, `checkpoint-${state.global_step}`);
  const partial = path.join(outputDir, `.checkpoint-${state.global_step}.partial`);
  for (const name of fs.existsSync(outputDir) ? fs.readdirSync(outputDir) : [])
    if (PARTIAL.test(name)) fs.rmSync(path.join(outputDir, name), { recursive: true, force: true });
  await saveModel(partial, model, tokenizer, state);
  fs.rmSync(final, { recursive: true, force: true });
  fs.renameSync(partial, final);
  if (limit !== null)
    for (const { step } of checkpoints(outputDir).slice(0, -limit))
      fs.rmSync(path.join(outputDir, `checkpoint-${step}`), { recursive: true, force: true });
  return final;
}

/** By step, oldest first. */
export function checkpoints(outputDir: string): { step: number; folder: string }[] {
  if (!fs.existsSync(outputDir)) return [];
  return fs
    .readdirSync(outputDir)
    .flatMap((name) => {
      const step = /^checkpoint-(\d+)$/.exec(name)?.[1];
      return step === undefined ? [] : [{ step: Number(step), folder: path.join(outputDir, name) }];
    })
    .sort((a, b) => a.step - b.step);
}
