/** Data on which bytes, the longest row or the number of rows say little about what a batch takes; and what runs take. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { silentReporter } from '../src/console/reporter.js';
import type { Gpu } from '../src/gpu/gpu.js';
import type { Communicator } from '../src/ranks/communicator.js';
import { SingleCommunicator } from '../src/ranks/single.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { finetune } from '../src/train/trainer.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';

/** What a run planned and what it took. The golden model's texts are as they come, not the longest every time. */
export async function plannedAndTaken(
  folder: string,
  ...more: string[]
): Promise<{ planned: number; taken: number }> {
  return plannedAndTakenOn(await lendGpu(), folder, ...more);
}

/** The same on a device of the caller's, which the run closes. */
export function plannedAndTakenOn(
  own: Gpu,
  folder: string,
  ...more: string[]
): Promise<{ planned: number; taken: number }> {
  return plannedAndTakenBy(new SingleCommunicator(), own, folder, more);
}

/** The same of one rank. */
export async function plannedAndTakenBy(
  rank: Communicator,
  own: Gpu,
  folder: string,
  more: readonly string[],
): Promise<{ planned: number; taken: number }> {
  const words = [
    ...['--model_name_or_path', golden('model')],
    ...['--train_data', golden('example_data', 'retrieval', 'nq.jsonl')],
    ...['--output_dir', path.join(folder, 'run'), '--save_strategy', 'no'],
    ...['--train_group_size', '3', '--query_max_len', '16', '--passage_max_len', '32'],
    ...['--per_device_train_batch_size', '2', '--unified_finetuning', 'True'],
    ...more,
  ];
  let planned = 0;
  const expect = own.pool.expect.bind(own.pool);
  own.pool.expect = (bytes) => {
    planned = bytes;
    expect(bytes);
  };
  const { args } = parseFinetuneArguments(words);
  await finetune(args, silentReporter, async () => own, undefined, rank);
  own.pool.expect = expect;
  return { planned, taken: own.memory().peak };
}

const wordOf = (n: number) => `${n % 10}${(7 * n) % 10}${(3 * n) % 10}`;
const wordsOf = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => wordOf(from + i)).join(' ');
interface Row {
  query: string;
  pos: string[];
  neg: string[];
  [field: string]: unknown;
}
const repeated = (count: number, of: (n: number) => Row) => Array.from({ length: count }, (_, n) => of(n));
export type MemoryShape = [name: string, flags: string, ...files: Row[][]];
export const memoryShapes: MemoryShape[] = [
  [
    'many bytes a token beside many tokens a byte',
    '--passage_max_len 400',
    [
      ...repeated(4, () => ({
        query: 'a',
        pos: ['\u{12345}'.repeat(1100)],
        neg: ['\u{12345}'.repeat(1100)],
      })),
      ...repeated(4, (n) => ({ query: 'a', pos: [wordsOf(120, n)], neg: [wordsOf(130, n)] })),
    ],
  ],
  [
    'letters that become many',
    '--passage_max_len 400',
    [
      ...repeated(4, () => ({ query: 'a', pos: ['\ufdfa'.repeat(30)], neg: ['\ufdfa'.repeat(30)] })),
      ...repeated(4, (n) => ({ query: 'a', pos: ['x'.repeat(100)], neg: [wordsOf(20, n)] })),
    ],
  ],
  [
    'long queries in some rows, long passages in others',
    '--query_max_len 300 --passage_max_len 300',
    repeated(8, (n) =>
      n % 2 === 0
        ? { query: wordsOf(100, n), pos: ['a'], neg: ['b'] }
        : { query: 'a', pos: [wordsOf(100, n)], neg: [wordsOf(100, 7 * n)] },
    ),
  ],
  [
    'texts that share all their words',
    '--per_device_train_batch_size 8 --query_max_len 64',
    repeated(8, () => ({ query: wordsOf(20), pos: [wordsOf(20)], neg: [wordsOf(20)] })),
  ],
  [
    'negatives that come several times, chunks of three',
    '--sub_batch_size 3 --train_group_size 5',
    repeated(8, (n) => ({ query: wordsOf(n), pos: [wordsOf(2 * n)], neg: [wordsOf(20 - n), 'b'] })),
  ],
  [
    'files of other batch sizes, one without in-batch negatives',
    '--same_dataset_within_batch True --gradient_accumulation_steps 3',
    repeated(6, (n) => ({ query: 'a', pos: [wordsOf(n)], neg: [wordsOf(30)], batch_size: 3 })),
    repeated(3, (n) => ({ query: wordsOf(8), pos: [wordsOf(25, n)], neg: [wordsOf(30)], batch_size: 1 })),
    repeated(4, (n) => ({ query: 'a', pos: [wordsOf(n)], neg: ['b'], train_group_size: 7 })),
  ],
  [
    'more micro-batches than the epoch has',
    '--gradient_accumulation_steps 100000',
    repeated(12, (n) => ({ query: wordOf(n), pos: [wordsOf(9, 9 * n)], neg: [wordsOf(9, 40 * n)] })),
  ],
  [
    'prompts and shuffled passages',
    '--query_instruction_for_retrieval instruction --query_instruction_format {}:{} --shuffle_ratio 1 --query_max_len 80',
    repeated(6, (n) => ({ query: wordsOf(n), pos: [wordsOf(40, n)], neg: ['b'], prompt: wordsOf(3 * n) })),
  ],
];

export async function checkShape([, flags, ...files]: MemoryShape, folder: string): Promise<void> {
  const paths = files.map((rows, i) => {
    const file = path.join(folder, `shape-${i}${i === 1 ? '-no_in_batch_neg' : ''}.jsonl`);
    fs.writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return file;
  });
  const { planned, taken } = await plannedAndTaken(
    folder,
    ...['--train_group_size', '2', '--gradient_checkpointing', '--num_train_epochs', '1'],
    ...['--train_data', ...paths, ...flags.split(' ')],
  );
  assert.ok(taken <= planned && taken > 0.6 * planned, `${taken} of ${planned} bytes`);
}
