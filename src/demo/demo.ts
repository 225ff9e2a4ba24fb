/**
 * `dawntune demo`: watch a multilingual retriever learn. Compiler messages of TypeScript in six languages find
 * their English original; a small XLM-R with random weights, or a pretrained model (`--model`), is trained by the trainer and
 * the command line of real work. A demonstration on real text, not a benchmark: most held-out messages have a near-duplicate
 * in training.
 */
import path from 'node:path';
import { interruptible } from '../console/interruption.js';
import { consoleReporter, type Reporter } from '../console/reporter.js';
import { writeFileAtomic } from '../files/atomic.js';
import { Gpu } from '../gpu/gpu.js';
import { M3Model } from '../models/m3.js';
import type { Pooling } from '../models/token-batch.js';
import { type RetrievalMode, retrievalModes } from '../retrieval/evaluate/arguments.js';
import {
  evaluateRetrieval,
  type RetrievalMetrics,
  type RetrievalTask,
} from '../retrieval/evaluate/one-relevant.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import { parseFinetuneArguments } from '../train/arguments.js';
import { trainingInterruption } from '../train/interruption.js';
import { finetune } from '../train/trainer.js';
import { DEMO_DEFAULTS, type DemoArguments, parseDemoArguments } from './arguments.js';
import { DEMO_EVALUATION_LANGUAGES, demoNearDuplicates, demoRows } from './demo-data.js';
import { DEMO_MAX_LENGTH, saveRandomModel, trainingFlags } from './demo-model.js';
import { lockDemoFolder } from './lock.js';
import { betterPooling, pretrainedFolder, pretrainedPooling, promptFlags } from './pretrained.js';

type Table = Readonly<Record<RetrievalMode, RetrievalMetrics>>;

export async function demo(argv: readonly string[]): Promise<number> {
  const args = parseDemoArguments(argv);
  const lock = lockDemoFolder(args.outputDir);
  const report = interruptible(consoleReporter({ mode: args.progress }), {
    where: trainingInterruption.where,
  });
  try {
    return await train(args, report);
  } finally {
    report.end();
    report.release();
    lock.release();
  }
}

async function train(args: DemoArguments, report: Reporter): Promise<number> {
  const { outputDir: output, seed, fp16, adapter } = args;
  const base = args.model === null ? undefined : await pretrainedFolder(args.model, report);
  const said = base === undefined ? 'mean' : (args.poolingMethod ?? pretrainedPooling(base));
  const data = demoRows(seed, DEMO_EVALUATION_LANGUAGES);
  const task: RetrievalTask = {
    queries: data.heldOut.map((row) => row.query),
    candidates: data.candidates,
    targets: data.heldOut.map((row) => row.target),
  };
  const rows = path.join(output, 'train.jsonl');
  writeFileAtomic(rows, data.train.map((row) => `${JSON.stringify(row)}\n`).join(''));
  report.note(
    `${data.train.length} messages to train on, ${data.heldOut.length} held-out queries in ${DEMO_EVALUATION_LANGUAGES.length} languages, ${data.candidates.length} candidates`,
  );

  const onGpu = async <T>(act: (gpu: Gpu) => Promise<T>): Promise<T> => {
    const gpu = await Gpu.open(adapter ? { adapter } : {});
    try {
      return await act(gpu);
    } finally {
      await gpu.close();
    }
  };
  const evaluate = (folder: string, pooling: Pooling) =>
    onGpu(async (gpu) => {
      const model = M3Model.load(gpu, folder, { pooling, normalize: true, seed });
      try {
        // The tokenizer is the folder's own, so that a folder whose parts do not belong together is refused here.
        const found = await evaluateRetrieval(model, Tokenizer.load(folder), task, {
          maxLength: DEMO_MAX_LENGTH,
        });
        return { found, texts: model.texts };
      } finally {
        model.dispose();
      }
    });

  const initial = base ?? path.join(output, 'random-model');
  if (base === undefined) await saveRandomModel(initial, seed, adapter);
  const pooling = said ?? (await onGpu((gpu) => betterPooling(gpu, initial, task, report)));
  const before = await evaluate(initial, pooling);

  const started = performance.now();
  const usual = DEMO_DEFAULTS[base === undefined ? 'random' : 'pretrained'];
  const training = {
    steps: args.steps ?? usual.steps,
    batch: args.perDeviceTrainBatchSize ?? usual.batch,
    learningRate: args.learningRate ?? usual.learningRate,
    ...{ pooling, seed },
  };
  const trained = path.join(output, 'model');
  const flags = [
    ...trainingFlags(initial, rows, trained, training),
    ...promptFlags(before.texts),
    ...(fp16 ? ['--fp16', 'True'] : []),
    ...(adapter ? ['--adapter', adapter] : []),
  ];
  report.note(`dawntune finetune ${flags.map(typed).join(' ')}`);
  await finetune(parseFinetuneArguments(flags).args, report);
  const seconds = (performance.now() - started) / 1000;
  const after = await evaluate(trained, pooling);

  process.stdout.write(`\n${renderTable(before.found, after.found)}\n`);
  process.stdout.write(
    `(${demoNearDuplicates()} of the candidates have a near-duplicate in training: a demonstration, no benchmark)\n`,
  );
  process.stdout.write(
    `\n${training.steps} steps of ${training.batch} pairs in ${seconds.toFixed(0)} s; model in ${trained}\n`,
  );
  return 0;
}

/** A word as a shell takes it. */
const typed = (word: string) => (/^[\w@%+=:,./\\-]+$/.test(word) ? word : `"${word}"`);

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
