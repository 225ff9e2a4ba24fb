/**
 * `dawntune demo`: watch a multilingual retriever learn. Compiler messages of TypeScript in six languages find
 * their English original; a small XLM-R with random weights is trained by the same trainer and command line as a
 * real model. A demonstration on real text, not a benchmark: most held-out messages have a near-duplicate
 * in training.
 */
import path from 'node:path';
import { InputError, MachineError } from '../errors.js';
import { writeFileAtomic } from '../files/atomic.js';
import { FolderLock } from '../files/lock.js';
import { makeWritableFolder } from '../files/make-folder.js';
import { Gpu } from '../gpu/gpu.js';
import { M3Model } from '../models/m3.js';
import { type RetrievalMode, retrievalModes } from '../retrieval/evaluate/arguments.js';
import { evaluateRetrieval, type RetrievalMetrics } from '../retrieval/evaluate/one-relevant.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import { parseFinetuneArguments } from '../train/arguments.js';
import { interruptible, trainingInterruption } from '../train/interruption.js';
import { consoleReporter, type Reporter } from '../train/report.js';
import { finetune } from '../train/trainer.js';
import { type DemoArguments, parseDemoArguments } from './arguments.js';
import { DEMO_EVALUATION_LANGUAGES, demoNearDuplicates, demoRows, demoTokenizerFolder } from './demo-data.js';

const MAX_LENGTH = 64;

/** XLM-R in small: trains in minutes on a CPU. Dropout off, as so few steps are far from overfitting. */
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

type Table = Record<RetrievalMode, RetrievalMetrics>;

export async function demo(argv: readonly string[]): Promise<number> {
  const args = parseDemoArguments(argv);
  const lock = lockFolder(args.outputDir);
  const report = interruptible(consoleReporter(), { where: trainingInterruption.where });
  try {
    return await train(args, report);
  } finally {
    report.release();
    lock.release();
  }
}

/** Before anything else: what another demo has written there is not to be mixed with this one's. */
function lockFolder(folder: string): FolderLock {
  try {
    makeWritableFolder(folder);
    return FolderLock.acquire(folder);
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`--output_dir: ${error.message}`);
    throw error instanceof MachineError ? new MachineError(`--output_dir: ${error.message}`) : error;
  }
}

async function train(
  { outputDir: output, steps, seed, fp16, adapter }: DemoArguments,
  report: Reporter,
): Promise<number> {
  const data = demoRows(seed, DEMO_EVALUATION_LANGUAGES);
  const initial = path.join(output, 'random-model');
  const rows = path.join(output, 'train.jsonl');
  writeFileAtomic(rows, data.train.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const note = (line: string) => process.stderr.write(`${line}\n`);
  note(
    `${data.train.length} messages to train on, ${data.heldOut.length} held-out queries in ${DEMO_EVALUATION_LANGUAGES.length} languages, ${data.candidates.length} candidates`,
  );

  const tokenizer = Tokenizer.load(demoTokenizerFolder());
  const evaluate = async (folder: string): Promise<Table> => {
    const gpu = await Gpu.open(adapter ? { adapter } : {});
    const model = M3Model.load(gpu, folder, { pooling: 'mean' });
    try {
      return await evaluateRetrieval(
        model,
        tokenizer,
        {
          queries: data.heldOut.map((row) => row.query),
          candidates: data.candidates,
          targets: data.heldOut.map((row) => row.target),
        },
        { maxLength: MAX_LENGTH },
      );
    } finally {
      model.dispose();
      await gpu.close();
    }
  };

  const gpu = await Gpu.open(adapter ? { adapter } : {});
  const model = M3Model.random(gpu, MODEL, { seed, pooling: 'mean' });
  await model.save(initial, tokenizer);
  model.dispose();
  await gpu.close();
  const before = await evaluate(initial);

  const started = performance.now();
  const flags = [
    ['--model_name_or_path', initial],
    ['--train_data', rows],
    ['--output_dir', path.join(output, 'model')],
    ['--train_group_size', '1'],
    ['--query_max_len', String(MAX_LENGTH)],
    ['--passage_max_len', String(MAX_LENGTH)],
    ['--per_device_train_batch_size', '64'],
    ['--dataloader_drop_last', 'True'],
    ['--max_steps', String(steps)],
    ['--learning_rate', '2e-3'],
    ['--warmup_steps', '10'],
    ['--temperature', '0.02'],
    ['--sentence_pooling_method', 'mean'],
    ['--unified_finetuning', 'True'],
    ['--use_self_distill', 'True'],
    ['--logging_steps', '20'],
    ['--save_strategy', 'no'],
    ['--seed', String(seed)],
    ...(fp16 ? [['--fp16', 'True']] : []),
    ...(adapter ? [['--adapter', adapter]] : []),
  ].flat();
  note(`dawntune finetune ${flags.join(' ')}`);
  const { args } = parseFinetuneArguments(flags);
  await finetune(args, report);
  const seconds = (performance.now() - started) / 1000;
  const after = await evaluate(path.join(output, 'model'));

  process.stdout.write(`\n${renderTable(before, after)}\n`);
  process.stdout.write(
    `(${demoNearDuplicates()} of the candidates have a near-duplicate in training: a demonstration, no benchmark)\n`,
  );
  process.stdout.write(
    `\n${steps} steps of 64 pairs in ${seconds.toFixed(0)} s; model in ${path.join(output, 'model')}\n`,
  );
  return 0;
}

function renderTable(before: Table, after: Table): string {
  const number = (value: number) => value.toFixed(3).padStart(8);
  const rows = retrievalModes.map(
    (mode) =>
      `${mode.padEnd(8)}${number(before[mode].recallAt1)}${number(after[mode].recallAt1)}   ${number(before[mode].ndcgAt10)}${number(after[mode].ndcgAt10)}`,
  );
  return [
    'held-out messages, English original among 200 candidates',
    '             R@1                nDCG@10',
    'mode      before   after      before   after',
    ...rows,
  ].join('\n');
}
