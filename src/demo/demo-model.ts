/** The demo's model: XLM-R in small, from random weights, and how its first steps are trained. */
import { Gpu } from '../gpu/gpu.js';
import { M3Model } from '../models/m3.js';
import type { Pooling } from '../models/token-batch.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import { DEMO_DEFAULTS } from './arguments.js';
import { demoTokenizerFolder } from './demo-data.js';

/** Of queries and passages, in tokens. */
export const DEMO_MAX_LENGTH = 64;

/** Trains in minutes on a CPU. Dropout off, as so few steps are far from overfitting. */
const MODEL = {
  architectures: ['XLMRobertaModel'],
  model_type: 'xlm-roberta',
  hidden_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  intermediate_size: 512,
  vocab_size: 4000,
  max_position_embeddings: 514,
  type_vocab_size: 1,
  layer_norm_eps: 1e-5,
  hidden_act: 'gelu',
  hidden_dropout_prob: 0,
  attention_probs_dropout_prob: 0,
  initializer_range: 0.02,
  pad_token_id: 1,
  bos_token_id: 0,
  eos_token_id: 2,
};

/** Writes the model with random weights; they are made on `adapter`, or on the one that is there. */
export async function saveRandomModel(
  folder: string,
  seed: number,
  adapter: string | null | undefined,
): Promise<void> {
  const gpu = await Gpu.open(adapter ? { adapter } : {});
  const model = M3Model.random(gpu, MODEL, { seed, pooling: 'mean' });
  try {
    await model.save(folder, Tokenizer.load(demoTokenizerFolder()));
  } finally {
    model.dispose();
    await gpu.close();
  }
}

/** How a model is trained in the demo. */
export interface DemoTraining {
  readonly steps: number;
  /** Pairs in a step. */
  readonly batch: number;
  readonly learningRate: number;
  readonly pooling: Pooling;
  readonly seed: number;
}

/** Words of `dawntune finetune`: pairs in one language and another, negatives within the batch. */
export function trainingFlags(
  model: string,
  rows: string,
  output: string,
  { steps, batch, learningRate, pooling, seed }: DemoTraining,
): string[] {
  return [
    ['--model_name_or_path', model],
    ['--train_data', rows],
    ['--output_dir', output],
    ['--train_group_size', '1'],
    ['--query_max_len', String(DEMO_MAX_LENGTH)],
    ['--passage_max_len', String(DEMO_MAX_LENGTH)],
    ['--per_device_train_batch_size', String(batch)],
    ['--dataloader_drop_last', 'True'],
    ['--max_steps', String(steps)],
    ['--learning_rate', learningRate.toExponential()],
    ['--warmup_steps', '10'],
    ['--temperature', '0.02'],
    ['--sentence_pooling_method', pooling],
    ['--unified_finetuning', 'True'],
    ['--use_self_distill', 'True'],
    ['--logging_steps', '20'],
    ['--save_strategy', 'no'],
    ['--seed', String(seed)],
  ].flat();
}

/** The first steps of a model of random weights. */
export const firstStepFlags = (
  model: string,
  rows: string,
  output: string,
  steps: number,
  seed: number,
): string[] => trainingFlags(model, rows, output, { ...DEMO_DEFAULTS.random, steps, seed, pooling: 'mean' });
