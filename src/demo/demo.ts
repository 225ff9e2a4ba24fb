/**
 * `dawntune demo`: watch a multilingual retriever learn. Compiler messages of TypeScript in six languages find
 * their English original; a small XLM-R with random weights is trained by the same trainer and command line as a
 * real model. A demonstration on real text, not a benchmark: most held-out messages have a near-duplicate
 * in training.
 */
import path from 'node:path';
import { writeFileAtomic } from '../files/atomic.js';
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
import { DEMO_MAX_LENGTH, firstStepFlags, saveRandomModel } from './demo-model.js';
import { lockDemoFolder } from './lock.js';

type Table = Record<RetrievalMode, RetrievalMetrics>;

export async function demo(argv: readonly string[]): Promise<number> {
  const args = parseDemoArguments(argv);
  const lock = lockDemoFolder(args.outputDir);
  const report = interruptible(consoleReporter(), { where: trainingInterruption.where });
  try {
    return await train(args, report);
  } finally {
    report.release();
    lock.release();
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
        { maxLength: DEMO_MAX_LENGTH },
      );
    } finally {
      model.dispose();
      await gpu.close();
    }
  };

  await saveRandomModel(initial, seed, adapter);
  const before = await evaluate(initial);

  const started = performance.now();
  const flags = [
    ...firstStepFlags(initial, rows, path.join(output, 'model'), steps, seed),
    ...(fp16 ? ['--fp16', 'True'] : []),
    ...(adapter ? ['--adapter', adapter] : []),
  ];
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
