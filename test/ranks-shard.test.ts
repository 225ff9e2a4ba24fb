/** `finetune` with ranks that divide the optimiser's state: the same files as without, and runs that go on either way. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { unlikeAdapters } from '../src/train/ranks/alike.js';
import { EmulatedRanks } from '../src/train/ranks/emulated.js';
import { type LogEntry, silentReporter } from '../src/train/report.js';
import { finetune } from '../src/train/trainer.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-shards-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const at = (...names: string[]) => path.join(folder, ...names);
const [stage0, stage1] = [0, 1].map((stage) => {
  fs.writeFileSync(at(`stage${stage}.json`), JSON.stringify({ zero_optimization: { stage } }));
  return `--deepspeed ${at(`stage${stage}.json`)}`;
});

interface Ended {
  readonly notes: readonly string[];
  readonly log: readonly LogEntry[];
}

/** `adapters`: what each rank's device says that it is. */
async function run(output: string, line: string, size: number, adapters?: string[]): Promise<Ended> {
  const world = new EmulatedRanks(size);
  const words = [
    ...['--model_name_or_path', golden('model'), '--output_dir', at(output)],
    ...['--train_data', golden('example_data', 'retrieval', 'nq.jsonl')],
    ...[
      '--train_group_size',
      '2',
      '--query_max_len',
      '12',
      '--passage_max_len',
      '16',
      '--logging_steps',
      '1',
    ],
    ...['--per_device_train_batch_size', `${4 / size}`, '--learning_rate', '1e-3', '--weight_decay', '0.1'],
    ...['--lr_scheduler_type', 'constant', '--negatives_cross_device', ...line.split(' ').filter(Boolean)],
  ];
  const { args } = parseFinetuneArguments(words);
  const [notes, log] = [[] as string[], [] as LogEntry[]];
  await Promise.all(
    Array.from({ length: size }, async (_, rank) => {
      const report = {
        ...silentReporter,
        note: (text: string) => void notes.push(text),
        log: (entry: LogEntry) => void log.push(entry),
      };
      const open = async () => {
        const gpu = await lendGpu();
        if (adapters) Object.assign(gpu, { capabilities: { ...gpu.capabilities, driver: adapters[rank] } });
        return gpu;
      };
      await finetune(args, report, open, undefined, world.rank(rank));
    }),
  );
  return { notes, log };
}

const bytes = (...names: string[]) => fs.readFileSync(at(...names));
const numbers = (log: readonly LogEntry[]) =>
  log.flatMap(({ loss, grad_norm }) => (loss === undefined ? [] : [[loss, grad_norm]]));

test('what is divided, by a flag or by a DeepSpeed file, is saved as if it were not, and goes on where adapters differ', async () => {
  const plain = await run('plain', `--max_steps 3 --save_steps 2 ${stage0}`, 2);
  const divided = await run('divided', `--max_steps 2 --save_steps 2 ${stage1}`, 2);
  assert.deepEqual(numbers(divided.log), numbers(plain.log).slice(0, 2));
  const requireSame = (output: string, step: number) => {
    for (const file of ['model.safetensors', 'optimizer.safetensors'])
      assert.deepEqual(
        bytes(output, `checkpoint-${step}`, file),
        bytes('plain', `checkpoint-${step}`, file),
        `${file} of ${output}, step ${step}`,
      );
  };
  requireSame('divided', 2);
  // On adapters that differ nobody need ask, and rank 0 says so.
  const goesOn = `--max_steps 3 --resume_from_checkpoint True ${stage0}`;
  const { notes } = await run('divided', goesOn, 2, ['one', 'two']);
  const said = notes.filter((note) => note.includes('need not give the same bits'));
  assert.deepEqual([said.length, /^rank 1 .*, two, rank 0 on .*, one, which/.test(said[0]!)], [1, true]);
  requireSame('divided', 3);
  const both = await run('dry', `--max_steps 3 --dry_run ${stage0}`, 2);
  const told = both.notes.join('\n');
  assert.match(told, /^GPU memory that the longest batch takes on each of 2 ranks:\n +weights +\d/m);
  assert.match(told, /^ranks 0 and 1 compute in the memory of one machine: [\d.]+ MB together$/m);
  const { gpu_memory_bytes: each, machine_memory_bytes: together } = both.log[0] as Record<string, number>;
  assert.equal(together, 2 * each!);
  const alone = await run('dry', `--max_steps 3 --dry_run ${stage1}`, 1);
  assert.match(alone.notes.join('\n'), /^GPU memory that the longest batch takes:$/m);
  assert.match(alone.notes.join('\n'), /zero_optimization\.stage 1 has no effect with one rank/);
});

test('adapters of one name and driver are alike', async () => {
  const told = (all: { name: string; driver: string }[]) => {
    const world = new EmulatedRanks(all.length);
    return Promise.all(all.map((each, rank) => unlikeAdapters(world.rank(rank), each)));
  };
  const [a, b, c] = [
    { name: 'A', driver: '1' },
    { name: 'A', driver: '2' },
    { name: 'B', driver: '1' },
  ] as const;
  assert.deepEqual(await told([a, a, a]), [undefined, undefined, undefined]);
  assert.deepEqual(await told([a]), [undefined]);
  for (const other of [b, c]) {
    const [first, ...rest] = await told([a, a, other]);
    assert.match(first!, /^rank 2 computes on /);
    assert.deepEqual(rest, [first, first]);
  }
});
