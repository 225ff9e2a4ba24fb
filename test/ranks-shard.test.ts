/** `finetune` with ranks that divide the optimiser's state: the same files as without, and runs that go on either way. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { type LogEntry, silentReporter } from '../src/console/reporter.js';
import { unlikeAdapters } from '../src/ranks/alike.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { finetune } from '../src/train/trainer.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-shards-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const at = (...names: string[]) => path.join(folder, ...names);
/** As a DeepSpeed file asks for it; in mixed precision with a loss scale at which the first steps do not overflow. */
function stage(number: 0 | 1, precision: 'f32' | 'f16'): string {
  const file = at(`stage${number}-${precision}.json`);
  const fp16 = { enabled: true, initial_scale_power: 6 };
  const zero = { zero_optimization: { stage: number } };
  fs.writeFileSync(file, JSON.stringify(precision === 'f16' ? { ...zero, fp16 } : zero));
  return `--deepspeed ${file}`;
}

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

describe('what is divided, by a flag or by a DeepSpeed file, is saved as if it were not, and goes on where adapters differ', () => {
  for (const precision of ['f32', 'f16'] as const)
    test(precision, async () => {
      const named = (output: string) => `${output}-${precision}`;
      const plain = await run(named('plain'), `--max_steps 2 --save_steps 1 ${stage(0, precision)}`, 2);
      const divided = await run(named('divided'), `--max_steps 1 --save_steps 1 ${stage(1, precision)}`, 2);
      assert.deepEqual(numbers(divided.log), numbers(plain.log).slice(0, 1));
      const requireSame = (output: string, step: number) => {
        for (const file of ['model.safetensors', 'optimizer.safetensors'])
          assert.deepEqual(
            bytes(named(output), `checkpoint-${step}`, file),
            bytes(named('plain'), `checkpoint-${step}`, file),
            `${file} of ${output}, step ${step}`,
          );
      };
      requireSame('divided', 1);
      // On adapters that differ nobody need ask, and rank 0 says so.
      const goesOn = `--max_steps 2 --check_replicas 1 --resume_from_checkpoint True ${stage(0, precision)}`;
      const { notes } = await run(named('divided'), goesOn, 2, ['one', 'two']);
      const said = notes.filter((note) => note.includes('need not give the same bits'));
      assert.deepEqual([said.length, /^rank 1 .*, two, rank 0 on .*, one, which/.test(said[0]!)], [1, true]);
      requireSame('divided', 2);
      assert.deepEqual(
        bytes(named('divided'), 'model.safetensors'),
        bytes(named('plain'), 'model.safetensors'),
      );
    });
});

test('a dry run tells what each rank takes; one rank has nothing to divide, and says so', async () => {
  const both = await run('dry', `--max_steps 3 --dry_run ${stage(0, 'f32')}`, 2);
  const told = both.notes.join('\n');
  assert.match(told, /^GPU memory that the longest batch takes on each of 2 ranks:\n +weights +\d/m);
  assert.match(told, /^ranks 0 and 1 compute in the memory of one machine: [\d.]+ MB together$/m);
  const { gpu_memory_bytes: each, machine_memory_bytes: together } = both.log[0] as Record<string, number>;
  assert.equal(together, 2 * each!);
  const alone = await run('dry', `--max_steps 3 --dry_run ${stage(1, 'f32')}`, 1);
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
