/**
 * `dawntune pipeline`: the whole way on the demo's texts, by the commands that a user types. A small model that has learnt
 * a little from random weights looks for hard negatives, its three modes together give teacher scores for them, it is
 * fine-tuned on both, and the held-out messages are searched for before and after. With `--compare` the same fine-tuning
 * runs without distillation, and without mined negatives, beside it.
 */
import fs from 'node:fs';
import path from 'node:path';
import { interruptible } from '../console/interruption.js';
import { consoleReporter, type Reporter } from '../console/reporter.js';
import { writeFileAtomic } from '../files/atomic.js';
import { makeWritableFolder } from '../files/make-folder.js';
import { parseEvaluateArguments } from '../retrieval/evaluate/arguments.js';
import { evaluate } from '../retrieval/evaluate/evaluate.js';
import { parseMineArguments } from '../retrieval/mine/arguments.js';
import { mine } from '../retrieval/mine/mine.js';
import { parseScoreArguments } from '../retrieval/score/arguments.js';
import { scoreFiles } from '../retrieval/score/score.js';
import { parseFinetuneArguments } from '../train/arguments.js';
import { trainingInterruption } from '../train/interruption.js';
import { finetune } from '../train/trainer.js';
import { DEMO_EVALUATION_LANGUAGES, type DemoRows, demoNearDuplicates, demoRows } from './demo-data.js';
import { DEMO_MAX_LENGTH, firstStepFlags, saveRandomModel } from './demo-model.js';
import { lockDemoFolder } from './lock.js';
import { type PipelineArguments, parsePipelineArguments } from './pipeline-arguments.js';
import { type Measured, measuredOf, renderPipeline } from './pipeline-table.js';

/** Texts of a query, its positive included, and queries of a batch. */
const GROUP = 4;
const BATCH = 16;

export async function pipeline(argv: readonly string[]): Promise<number> {
  const args = parsePipelineArguments(argv);
  const lock = lockDemoFolder(args.outputDir);
  const report = interruptible(consoleReporter({ mode: args.progress }), {
    where: trainingInterruption.where,
  });
  try {
    const runs: Measured[][] = [];
    for (const seed of args.seeds) runs.push(await runSeed(args, seed, report));
    process.stdout.write(`\n${renderPipeline(runs, args.seeds)}`);
    process.stdout.write(
      `\n(${demoNearDuplicates()} of the 200 messages have a near-duplicate in training: a demonstration, no benchmark)\n`,
    );
    return 0;
  } finally {
    report.end();
    report.release();
    lock.release();
  }
}

/** Each model that is measured, the one before first. */
async function runSeed(args: PipelineArguments, seed: number, report: Reporter): Promise<Measured[]> {
  const folder = path.join(args.outputDir, `seed-${seed}`);
  const at = (...names: string[]) => path.join(folder, ...names);
  const adapter = args.adapter ? ['--adapter', args.adapter] : [];
  const run = async <Parsed>(
    command: string,
    words: readonly string[],
    parse: (words: readonly string[]) => { args: Parsed; notices: readonly string[] },
    act: (args: Parsed) => Promise<unknown>,
  ) => {
    const all = [...words, ...adapter];
    report.note(`dawntune ${command} ${all.join(' ')}`);
    const { args: parsed, notices } = parse(all);
    for (const line of notices) report.note(line);
    await act(parsed);
  };
  const train = (words: readonly string[]) =>
    run('finetune', words, parseFinetuneArguments, (parsed) => finetune(parsed, report));
  writeData(folder, demoRows(seed, DEMO_EVALUATION_LANGUAGES), args.rows);

  await saveRandomModel(at('random'), seed, args.adapter);
  await train(firstStepFlags(at('random'), at('all.jsonl'), at('before'), args.firstSteps, seed));
  const lengths = [
    '--query_max_length',
    String(DEMO_MAX_LENGTH),
    '--passage_max_length',
    String(DEMO_MAX_LENGTH),
  ];
  await run(
    'mine',
    [
      ...['--model_name_or_path', at('before'), '--input_file', at('rows.jsonl')],
      ...['--candidate_pool', at('pool.jsonl'), '--output_file', at('mined.jsonl')],
      ...['--range_for_sampling', '1-40', '--negative_number', '7', '--seed', String(seed), ...lengths],
    ],
    parseMineArguments,
    (parsed) => mine(parsed, { report }),
  );
  await run(
    'score',
    [
      ...['--model_name_or_path', at('before'), '--input_file', at('mined.jsonl')],
      ...['--output_file', at('scored.jsonl'), '--mode', 'hybrid', ...lengths],
    ],
    parseScoreArguments,
    (parsed) => scoreFiles(parsed, { report }),
  );
  const fineTuned = async (name: string, rows: string, group: number, flags: readonly string[]) => {
    await train([
      ...['--model_name_or_path', at('before'), '--train_data', at(rows), '--output_dir', at(name)],
      ...['--overwrite_output_dir', '--train_group_size', String(group)],
      ...['--per_device_train_batch_size', String(BATCH), '--max_steps', String(args.steps)],
      ...['--query_max_len', String(DEMO_MAX_LENGTH), '--passage_max_len', String(DEMO_MAX_LENGTH)],
      ...['--dataloader_drop_last', 'True', '--learning_rate', '5e-4', '--warmup_ratio', '0.1'],
      ...['--temperature', '0.02', '--sentence_pooling_method', 'mean', '--unified_finetuning', 'True'],
      ...['--logging_steps', '20', '--save_strategy', 'no', '--seed', String(seed), ...flags],
    ]);
    return name;
  };
  const distilled = ['--knowledge_distillation', 'True', '--kd_loss_type', 'm3_kd_loss'];
  const names = ['before'];
  if (args.compare)
    names.push(
      await fineTuned('in-batch', 'rows.jsonl', 1, []),
      await fineTuned('mined', 'mined.jsonl', GROUP, []),
    );
  names.push(
    await fineTuned('distilled', 'scored.jsonl', GROUP, [...distilled, '--use_self_distill', 'True']),
  );
  const measured: Measured[] = [];
  for (const name of names) {
    await run(
      'evaluate',
      [
        ...['--model_name_or_path', at(name), '--dataset_dir', at('held-out'), ...lengths],
        ...['--modes', 'dense,sparse,colbert,hybrid', '--eval_metrics', 'ndcg_at_10', 'recall_at_1'],
        ...['--colbert_candidates', '200', '--eval_output_path', at(`${name}.json`)],
      ],
      parseEvaluateArguments,
      (parsed) => evaluate(parsed, { report }),
    );
    measured.push(measuredOf(name, JSON.parse(fs.readFileSync(at(`${name}.json`), 'utf8'))));
  }
  return measured;
}

/**
 * `all.jsonl` to learn from at first, `rows.jsonl` to mine for, which have no negatives, `pool.jsonl` to mine in, and
 * `held-out/`, which is evaluated on.
 */
function writeData(folder: string, { train, heldOut, candidates }: DemoRows, rows: number): void {
  makeWritableFolder(path.join(folder, 'held-out'));
  const write = (name: string, values: readonly unknown[]) =>
    writeFileAtomic(path.join(folder, name), values.map((value) => `${JSON.stringify(value)}\n`).join(''));
  write('all.jsonl', train);
  write(
    'rows.jsonl',
    train.slice(0, rows).map((row) => ({ ...row, neg: [] })),
  );
  write(
    'pool.jsonl',
    [...new Set(train.flatMap(({ pos }) => pos))].map((text) => ({ text })),
  );
  write(
    'held-out/corpus.jsonl',
    candidates.map((text, id) => ({ id: String(id), text })),
  );
  write(
    'held-out/test_queries.jsonl',
    heldOut.map(({ lang, query }, id) => ({ id: String(id), text: query, lang })),
  );
  write(
    'held-out/test_qrels.jsonl',
    heldOut.map(({ target }, id) => ({ qid: String(id), docid: String(target), relevance: 1 })),
  );
}
