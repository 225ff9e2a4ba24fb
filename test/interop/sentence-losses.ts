/**
 * `npm run interop:losses -- --python PYTHON`: the losses of three steps of `finetune` and of sentence-transformers on the same
 * rows, from the same weights: in-batch negatives, hard negatives, sub-batches, a teacher. Exits with 1 where one differs
 * by more than 1e-4; the log has four decimals. The model's dropout is taken away, since no two libraries draw it alike.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { silentReporter } from '../../src/console/reporter.js';
import { MachineError } from '../../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../../src/flag-help.js';
import { parseFlags } from '../../src/flags.js';
import { messageLine } from '../../src/show.js';
import { parseFinetuneArguments } from '../../src/train/arguments.js';
import { finetune } from '../../src/train/trainer.js';
import { golden, repositoryRoot } from '../repository.js';
import { lossInteropFlags } from './flags.js';

const TOLERANCE = 1e-4;
const [STEPS, LENGTH, TEMPERATURE, RATE] = [3, 64, 0.05, 2e-5];

/** What sentence-transformers is asked for, and what differs in our words. */
const CASES: Readonly<Record<string, { loss: string; negatives: number; words: readonly string[] }>> = {
  'MultipleNegativesRankingLoss, pairs': { loss: 'mnrl', negatives: 0, words: [] },
  'MultipleNegativesRankingLoss, a hard negative': { loss: 'mnrl', negatives: 1, words: [] },
  'MultipleNegativesRankingLoss, two hard negatives': { loss: 'mnrl', negatives: 2, words: [] },
  CachedMultipleNegativesRankingLoss: { loss: 'cached', negatives: 1, words: ['--sub_batch_size', '4'] },
  'DistillKLDivLoss + entropy + MultipleNegativesRankingLoss': {
    ...{ loss: 'distilled', negatives: 2, words: ['--knowledge_distillation', 'True'] },
  },
};

/** Rows of the goldens with as many passages as are wanted, and scores of a teacher that nobody has. */
function rowsOf(count: number) {
  const lines = fs.readFileSync(golden('example_data/retrieval/nq.jsonl'), 'utf8').trimEnd().split('\n');
  return lines.slice(0, count).map((line, i) => {
    const { query, pos, neg } = JSON.parse(line) as { query: string; pos: string[]; neg: string[] };
    const scores = { pos_scores: [2 + (i % 3)], neg_scores: [i % 2, 0.5] };
    return { query, pos: pos.slice(0, 1), neg: neg.slice(0, 2), ...scores };
  });
}

async function main(argv: readonly string[]): Promise<number> {
  if (wantsHelp(argv)) {
    process.stdout.write(
      renderHelp(usageLine('npm run interop:losses --', lossInteropFlags), lossInteropFlags),
    );
    return 0;
  }
  const { values } = parseFlags(lossInteropFlags, argv);
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-interop-losses-'));
  process.on('exit', () => fs.rmSync(root, { recursive: true, force: true }));
  const at = (name: string) => path.join(root, name);
  fs.cpSync(values.modelNameOrPath ?? golden('model'), at('model'), { recursive: true });
  const config = JSON.parse(fs.readFileSync(at('model/config.json'), 'utf8'));
  const still = { hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 };
  fs.writeFileSync(at('model/config.json'), JSON.stringify({ ...config, ...still }));
  const rows = rowsOf(values.rows);
  const ours = async (negatives: number, words: readonly string[]): Promise<number[]> => {
    // Of more than are used `finetune` draws some anew in each step.
    const taken = rows.map((row) => ({
      ...row,
      neg: row.neg.slice(0, negatives),
      neg_scores: row.neg_scores.slice(0, negatives),
    }));
    fs.writeFileSync(at('rows.jsonl'), taken.map((row) => `${JSON.stringify(row)}\n`).join(''));
    const { args } = parseFinetuneArguments([
      ...['--model_name_or_path', at('model'), '--train_data', at('rows.jsonl'), '--output_dir', at('out')],
      ...['--overwrite_output_dir', 'True', '--save_strategy', 'no', '--sentence_pooling_method', 'mean'],
      ...[
        '--temperature',
        `${TEMPERATURE}`,
        '--train_group_size',
        `${negatives + 1}`,
        '--max_steps',
        `${STEPS}`,
      ],
      ...['--per_device_train_batch_size', `${rows.length}`, '--learning_rate', `${RATE}`],
      ...['--lr_scheduler_type', 'constant', '--logging_steps', '1', '--logging_nan_inf_filter', 'False'],
      ...['--query_max_len', `${LENGTH}`, '--passage_max_len', `${LENGTH}`, ...words],
    ]);
    const { log } = await finetune(args, silentReporter);
    return log.flatMap(({ loss }) => (typeof loss === 'number' ? [loss] : []));
  };

  fs.writeFileSync(
    at('request.json'),
    JSON.stringify({
      ...{ folder: at('model'), rows, steps: STEPS, max_length: LENGTH, temperature: TEMPERATURE },
      ...{ learning_rate: RATE, cases: CASES },
    }),
  );
  const script = path.join(repositoryRoot, 'test', 'interop', 'sentence_losses.py');
  const words = [script, at('request.json'), at('answer.json')];
  const { status, stderr, error } = spawnSync(values.python, words, {
    encoding: 'utf8',
    maxBuffer: 256 << 20,
  });
  if (error) throw new MachineError(`${values.python}: ${error.message}`);
  if (status !== 0) throw new MachineError(stderr.trim().split('\n').slice(-8).join('\n'));
  const theirs = JSON.parse(fs.readFileSync(at('answer.json'), 'utf8')) as Record<string, number[]>;

  let worst = 0;
  for (const [name, { negatives, words }] of Object.entries(CASES)) {
    const losses = await ours(negatives, words);
    const differences = theirs[name]!.map((loss, i) => Math.abs(losses[i]! - loss));
    worst = Math.max(worst, ...differences.map((each) => (Number.isFinite(each) ? each : Infinity)));
    process.stdout.write(
      `${name}: ${theirs[name]!.map((loss, i) => `${loss.toFixed(5)} ${losses[i]?.toFixed(5)}`).join(' · ')}\n`,
    );
  }
  process.stdout.write(`largest difference ${worst.toExponential(1)}\n`);
  return worst <= TOLERANCE ? 0 : 1;
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${messageLine(error instanceof Error ? error.message : String(error))}\n`);
    process.exit(1);
  },
);
