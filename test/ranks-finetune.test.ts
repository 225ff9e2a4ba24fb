/** `finetune` with two ranks in one process: one log, one folder, one end, whatever happens to either of them. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { neverStops, type StopRequest } from '../src/console/interruption.js';
import { type LogEntry, silentReporter } from '../src/console/reporter.js';
import { ALL_RANKS, type Communicator, RankError } from '../src/ranks/communicator.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { inOrder, shareOf } from '../src/ranks/rounds.js';
import { readRunRecord } from '../src/run-record/read.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { type FinetuneResult, finetune } from '../src/train/trainer.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-ranks-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const at = (...names: string[]) => path.join(folder, ...names);
const nq = golden('example_data', 'retrieval', 'nq.jsonl');
const lines = fs.readFileSync(nq, 'utf8').trim().split('\n');
const write = (name: string, of: readonly string[]) => {
  fs.writeFileSync(at(name), `${of.join('\n')}\n`);
  return at(name);
};

/** Rows with few candidates. */
const few = (count: number) =>
  lines.slice(0, count).map((line) => {
    const row = JSON.parse(line) as { neg: string[] };
    return JSON.stringify({ ...row, neg: row.neg.slice(0, 2) });
  });

const words = (output: string, line: string) => [
  ...['--model_name_or_path', golden('model'), '--train_data', nq, '--output_dir', at(output)],
  ...['--train_group_size', '2', '--query_max_len', '12', '--passage_max_len', '16', '--logging_steps', '1'],
  ...['--per_device_train_batch_size', '2', '--learning_rate', '1e-3', '--negatives_cross_device'],
  ...line.split(' ').filter(Boolean),
];

interface Rank {
  /** Beside those of all ranks. */
  readonly line?: string;
  readonly stop?: StopRequest;
  readonly afterStep?: (step: number) => void;
}

interface Ended {
  readonly result: FinetuneResult | undefined;
  readonly error: unknown;
  readonly notes: readonly string[];
  readonly log: readonly LogEntry[];
  readonly steps: readonly number[];
}

/** All ranks, to their ends. */
async function run(output: string, line: string, ranks: readonly Rank[] = [{}, {}]): Promise<Ended[]> {
  const world = new EmulatedRanks(ranks.length);
  return Promise.all(
    ranks.map(async ({ line: own = '', stop = neverStops, afterStep = () => {} }, rank): Promise<Ended> => {
      const [notes, log, steps] = [[] as string[], [] as LogEntry[], [] as number[]];
      const report = {
        ...silentReporter,
        note: (text: string) => void notes.push(text),
        log: (entry: LogEntry) => void log.push(entry),
        step: (step: number) => {
          steps.push(step);
          afterStep(step);
        },
      };
      const { args } = parseFinetuneArguments(words(output, `${line} ${own}`));
      const ended = await finetune(args, report, lendGpu, stop, world.rank(rank)).then(
        (result) => ({ result, error: undefined }),
        (error: unknown) => ({ result: undefined, error }),
      );
      return { ...ended, notes, log, steps };
    }),
  );
}

const losses = (log: readonly LogEntry[]) =>
  log.flatMap(({ loss }) => (typeof loss === 'number' ? [loss] : []));
const evaluations = (log: readonly LogEntry[]) =>
  log
    .map((entry) => Object.entries(entry).filter(([name]) => name.startsWith('eval_')))
    .filter((e) => e.length > 0);

test('two ranks take the steps together; rank 0 alone tells and writes', async () => {
  const evalData = write('eval.jsonl', few(2));
  const [first, second] = await run(
    'two',
    `--max_steps 4 --save_steps 2 --eval_data ${evalData} --eval_strategy steps --eval_steps 2`,
  );
  assert.deepEqual([first!.error, second!.error], [undefined, undefined]);
  assert.deepEqual(
    [first!.steps, second!.steps],
    [
      [1, 2, 3, 4],
      [1, 2, 3, 4],
    ],
  );
  assert.deepEqual([second!.notes, second!.log], [[], []]);
  assert.equal(losses(first!.log).length, 4);
  assert.equal(evaluations(first!.log).length, 2);
  // Both have the same history, of which rank 0 has told and written its own.
  const timeless = (log: readonly LogEntry[]) => log.filter((entry) => !('train_runtime' in entry));
  assert.deepEqual(timeless(second!.result!.log), timeless(first!.result!.log));
  assert.deepEqual(
    fs
      .readdirSync(at('two'))
      .filter((name) => name.startsWith('checkpoint'))
      .sort(),
    ['checkpoint-2', 'checkpoint-4'],
  );
  const state = JSON.parse(fs.readFileSync(at('two', 'checkpoint-2', 'training_state.json'), 'utf8'));
  assert.equal(state.fingerprint.world_size, 2);
  // 10 rows in steps of 4: two steps an epoch without the rest, which fills a third.
  assert.deepEqual(state.run.cursor, { epoch: 0, batch: 2 });
});

test('an evaluation that ranks share is that of one rank, to the bit', async () => {
  const evalData = write('shared.jsonl', few(3));
  const line =
    `--max_steps 1 --learning_rate 0 --save_strategy no --eval_data ${evalData} --eval_strategy steps --eval_steps 1 ` +
    '--eval_on_start True';
  const [alone] = await run('alone', line, [{}]);
  const ended = await run('shared', line);
  for (const { error } of ended) assert.equal(error, undefined);
  assert.deepEqual(evaluations(ended[0]!.log), evaluations(alone!.log));
  assert.deepEqual(evaluations(ended[1]!.result!.log), evaluations(alone!.log));
  assert.equal(evaluations(alone!.log).length, 2);
});

test('a stop that one rank is asked for ends all after the same step, which is saved; 1, 2 and 1 ranks go on', async () => {
  const [begun] = await run('stopped', '--max_steps 2 --save_steps 2', [
    { line: '--per_device_train_batch_size 4' },
  ]);
  assert.equal(begun!.error, undefined);
  const stop = { requested: false, exitCode: undefined as number | undefined };
  const asked = {
    stop,
    afterStep: (step: number) => {
      if (step === 4) Object.assign(stop, { requested: true, exitCode: 143 });
    },
  };
  const goesOn = '--max_steps 9 --resume_from_checkpoint True';
  const ended = await run('stopped', goesOn, [{}, asked]);
  for (const { error, steps, result } of ended) {
    assert.equal(error, undefined);
    assert.deepEqual(
      [steps, result!.steps, result!.exitCode],
      [ended[0]!.steps, ended[0]!.steps.at(-1), 143],
    );
  }
  const last = ended[0]!.steps.at(-1)!;
  assert.ok(last === 4 || last === 5, `${last}`);
  assert.ok(fs.existsSync(at('stopped', `checkpoint-${last}`, 'training_state.json')));
  assert.match(
    ended[0]!.notes.join('\n'),
    new RegExp(
      `2 ranks now, 1 when it was saved: every step has the rows.*interrupted at step ${last} of 9: saving`,
      's',
    ),
  );
  const [rest] = await run('stopped', `${goesOn} --save_strategy no`, [
    { line: '--per_device_train_batch_size 4' },
  ]);
  assert.equal(rest!.error, undefined);
  assert.deepEqual(rest!.steps.slice(0, 2), [last + 1, last + 2]);
});

test('a run that took steps of fewer rows goes on at more ranks, and again and again from there', async () => {
  const line = '--num_train_epochs 1 --per_device_train_batch_size 1 --passage_max_len 8';
  const stopsAfter = (last: number): Rank => {
    const stop = { requested: false };
    return { stop, afterStep: (step) => void (stop.requested ||= step === last) };
  };
  const [begun] = await run('longer', line, [stopsAfter(3)]);
  assert.equal(begun!.error, undefined);
  const steps = [...begun!.steps];
  const goesOn = `${line} --resume_from_checkpoint True`;
  for (const first of [stopsAfter(steps.at(-1)! + 1), {}]) {
    const ended = await run('longer', goesOn, [first, {}]);
    for (const { error } of ended) assert.equal(error, undefined);
    assert.match(ended[0]!.notes.join('\n'), /the run goes on from .* after step \d of 7\n/);
    steps.push(...ended[0]!.steps);
  }
  // Three or four steps of a row, then from the last even row on steps of two: seven or eight of ten rows.
  assert.deepEqual(
    steps,
    Array.from({ length: 7 }, (_, n) => n + 1),
  );
});

test('a run that is at its end is so at fewer ranks, which would have taken fewer rows; with fewer epochs it is none', async () => {
  const line = '--num_train_epochs 0.5 --per_device_train_batch_size 1 --passage_max_len 8';
  // Three steps of two rows, where one rank would take five of one.
  for (const { error } of await run('rounded', line, [{}, {}])) assert.equal(error, undefined);
  const goesOn = '--resume_from_checkpoint True';
  const [ended] = await run('rounded', `${line} ${goesOn}`, [{}]);
  assert.equal(ended!.error, undefined);
  assert.deepEqual(ended!.steps, []);
  assert.match(ended!.notes.join('\n'), /goes on from .* after step 3 of 3\n/);
  const [shorter] = await run('rounded', `${line} --num_train_epochs 0.2 ${goesOn}`, [{}]);
  assert.match(String(shorter!.error), /expected a run of at least the 3 steps that were taken, found/);
});

test('what ranks find wrong ends all of them with one reason', async () => {
  const reasons = (ended: readonly Ended[]) =>
    ended.map(({ error }) => {
      assert.ok(error instanceof Error);
      return error.message;
    });
  // The same on all: as a run on its own tells it, and once.
  const none = await run('wrong', '--max_steps 1 --train_data nowhere.jsonl');
  assert.match(reasons(none)[0]!, /^--train_data: .*nowhere\.jsonl/);
  for (const { error } of none) {
    assert.ok(error instanceof RankError);
    assert.deepEqual([error.failure.rank, error.failure.exitCode], [ALL_RANKS, 2]);
  }

  // Of one of them.
  const bad = write('bad.jsonl', [...lines.slice(0, 4), '{"query": 1}']);
  for (const rank of [0, 1]) {
    const wrong = { line: `--train_data ${bad}` };
    const ended = await run('wrong', '--max_steps 1', rank === 0 ? [wrong, {}] : [{}, wrong]);
    for (const { error } of ended) {
      assert.ok(error instanceof RankError);
      assert.equal(error.failure.exitCode, 2);
      assert.match(error.message, new RegExp(`^rank ${rank}: .*bad\\.jsonl:5: `));
    }
  }
  const others = write('others.jsonl', lines.slice(1));
  const shards = at('other-model');
  fs.cpSync(golden('model'), shards, { recursive: true });
  fs.rmSync(path.join(shards, 'model.safetensors'));
  const differing: [Rank, RegExp][] = [
    [
      { line: `--train_data ${others}` },
      /^rank 1: it was not given what rank 0 was: expected the 10 rows \(/,
    ],
    [{ line: '--learning_rate 1e-5' }, /expected --learning_rate 0.001, found 0.00001$/],
    [{ line: '--save_steps 3' }, /expected --save_steps 500, found 3$/],
    [
      { line: `--model_name_or_path ${shards}` },
      /expected a model of the files .*model\.safetensors.*, found \{\}$/,
    ],
  ];
  for (const [rank, reason] of differing)
    for (const message of reasons(await run('wrong', '--max_steps 1', [{}, rank])))
      assert.match(message, reason);
  assert.ok(!fs.existsSync(at('wrong')));

  // While steps are taken.
  const broken = new Error('the disk of rank 1 is gone');
  const ended = await run('broken', '--max_steps 5', [
    {},
    {
      afterStep: (step) => {
        if (step === 2) throw broken;
      },
    },
  ]);
  for (const message of reasons(ended)) assert.equal(message, 'rank 1: the disk of rank 1 is gone');
  // Nothing is saved; what is told of the run says why.
  assert.deepEqual(fs.readdirSync(at('broken')), ['report.html', 'run_record.json', 'runs']);
  assert.equal(readRunRecord(at('broken')).status, 'failed');
});

test('shares of a list come together in its order, and stop together', async () => {
  for (const [size, count, stopAt] of [
    [1, 5, 9],
    [2, 5, 9],
    [3, 6, 9],
    [4, 2, 9],
    [3, 0, 9],
    [2, 9, 4],
  ] as const) {
    const world = new EmulatedRanks(size);
    const all = Array.from({ length: count }, (_, n) => n);
    const found = await Promise.all(
      Array.from({ length: size }, async (_, rank) => {
        const ranks: Communicator = world.rank(rank);
        const seen: number[] = [];
        let [stopped, asks] = [false, false];
        async function* own() {
          for (const n of shareOf(ranks, all)) {
            asks = n >= stopAt;
            yield n;
          }
        }
        const stops = () => asks;
        for await (const n of inOrder(ranks, own(), stops, () => (stopped = true))) seen.push(n);
        return { seen, stopped };
      }),
    );
    const last = stopAt < count ? size * Math.floor(stopAt / size) + size : count;
    for (const each of found) assert.deepEqual(each, { seen: all.slice(0, last), stopped: stopAt < count });
  }
});
