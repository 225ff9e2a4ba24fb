/** How datasets are read and cut into batches: the options of training data and what they are where nobody says. */
import { InputError } from '../errors.js';
import { show } from '../show.js';
import type { DatasetOptions } from './datasets.js';
import type { PromptOptions } from './prompts.js';

export interface DataOptions extends DatasetOptions, PromptOptions {
  readonly dataloaderDropLast: boolean;
  readonly shuffleRatio: number;
  /** A query meets passages of other ranks too, where it meets others than its own. */
  readonly acrossRanks: boolean;
}

export const defaults: Omit<DataOptions, 'trainData'> = {
  sameDatasetWithinBatch: false,
  trainGroupSize: 8,
  perDeviceTrainBatchSize: 8,
  dataloaderDropLast: false,
  acrossRanks: false,
  smallThreshold: 0,
  dropThreshold: 0,
  maxExampleNumPerDataset: 100_000_000,
  knowledgeDistillation: false,
  shuffleRatio: 0,
  queryInstructionForRetrieval: null,
  queryInstructionFormat: '{}{}',
  passageInstructionForRetrieval: null,
  passageInstructionFormat: '{}{}',
  nonePrefix: false,
  seed: 42,
  flag: '--train_data',
};

/** @throws InputError for a number that is none of its flag. */
export function requireOptions(options: DataOptions): void {
  const positive = {
    train_group_size: options.trainGroupSize,
    per_device_train_batch_size: options.perDeviceTrainBatchSize,
    max_example_num_per_dataset: options.maxExampleNumPerDataset,
  };
  const natural = { small_threshold: options.smallThreshold, drop_threshold: options.dropThreshold };
  for (const [flag, value] of Object.entries({ ...positive, ...natural })) {
    const least = Object.hasOwn(positive, flag) ? 1 : 0;
    if (!Number.isSafeInteger(value) || value < least)
      throw new InputError(`--${flag}: expected an integer from ${least}, found ${show(value)}`);
  }
  if (!(options.shuffleRatio >= 0 && options.shuffleRatio <= 1))
    throw new InputError(
      `--shuffle_ratio: expected a number from 0 to 1, found ${show(options.shuffleRatio)}`,
    );
}
