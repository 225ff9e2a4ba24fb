/** Checkpoints: a run that was stopped and goes on is the run that was not; what contradicts or is damaged is refused. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { type LogEntry, silentReporter } from '../src/console/reporter.js';
import { InputError } from '../src/errors.js';
import { RUN_RECORD_FILE } from '../src/run-record/record.js';
import { finetuneFlags } from '../src/train/arguments.js';
import { checkpoints } from '../src/train/checkpoints/checkpoints.js';
import { MAY_CHANGE } from '../src/train/checkpoints/fingerprint.js';
import { resumePoint } from '../src/train/checkpoints/resume.js';
import { openInputs } from '../src/train/run/inputs.js';
import { finetune } from '../src/train/trainer.js';
import { lendGpu } from './lent-gpu.js';
import { repositoryRoot } from './repository.js';
import {
  argumentsOf,
  assertSameFiles,
  at,
  base,
  config,
  dropout,
  filesIn,
  root,
  rows,
  run,
  SECRET,
  wordsOf,
} from './resumed-runs.js';

const F32 =
  '--weight_decay 0.1 --warmup_ratio 0.5 --gradient_accumulation_steps 2 --sub_batch_size 3 --use_self_distill True --self_distill_start_step 5';
const F16 = '--fp16 --gradient_accumulation_steps 2 --use_self_distill True --knowledge_distillation True';

for (const [name, line] of [
  ['f32', F32],
  ['f16', F16],
] as const)
  test(`a run that was stopped goes on to the bit: ${name}`, async () => {
    await run(name, line);
    fs.renameSync(at(name), at(`${name}-whole`));
    const { steps } = await run(name, line, 6);
    assert.deepEqual(steps, [1, 2, 3, 4, 5]);
    fs.rmSync(at(name, 'checkpoint-4'), { recursive: true });
    const again = await run(name, `${line} --resume_from_checkpoint True`);
    assert.deepEqual(again.steps, [3, 4, 5, 6]);
    assert.ok(
      again.notes.some((text) => /^the run goes on from .*checkpoint-2, after step 2 of 6$/.test(text)),
    );
    assertSameFiles(`${name}-whole`, name);
  });

test('a process that is killed goes on to the bit', async () => {
  fs.renameSync(at('f32'), at('f32-again'));
  const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');
  const begin = () =>
    spawn(process.execPath, [main, 'finetune', ...wordsOf('f32', `${F32} --resume_from_checkpoint True`)], {
      stdio: 'ignore',
    });
  // While its first checkpoint appears, and while a later one does.
  for (const name of ['checkpoint-2', 'checkpoint-4']) {
    const child = begin();
    while (child.exitCode === null && !fs.existsSync(at('f32', name)))
      await new Promise((resolve) => setTimeout(resolve, 2));
    child.kill('SIGKILL');
    if (child.exitCode === null) await once(child, 'exit');
  }
  const [code] = await once(begin(), 'exit');
  assert.equal(code, 0);
  assertSameFiles('f32-whole', 'f32');
  for (const [file, bytes] of filesIn(at('f32'))) assert.ok(!bytes.includes(SECRET), file);
});

test('a run that had ended is written again; a longer one goes on, a shorter one is refused', async () => {
  fs.cpSync(at('f32-whole'), at('longer'), { recursive: true });
  const line = `${F32} --resume_from_checkpoint True`;
  assert.deepEqual((await run('longer', line)).steps, []);
  const { steps, notes } = await run('longer', `${line} --max_steps 7 --save_total_limit 2`);
  assert.deepEqual(steps, [7]);
  assert.ok(notes.some((text) => /^the run has 7 steps now, 6 when it was saved: /.test(text)));
  assert.deepEqual(
    checkpoints(at('longer')).map(({ step }) => step),
    [6, 7],
  );
  await assert.rejects(
    run('longer', `${line} --max_steps 3`),
    /expected a run of at least the 7 steps that were taken, found 3/,
  );
});

test('without a checkpoint True begins anew; a model alone is no checkpoint to go on from', async () => {
  const { notes, steps } = await run(
    'alone',
    '--max_steps 2 --save_only_model --resume_from_checkpoint True',
  );
  assert.deepEqual(steps, [1, 2]);
  assert.ok(
    notes.some((text) => /True: .*alone has no checkpoint to go on from: the run begins anew$/.test(text)),
  );
  assert.ok(!fs.existsSync(at('alone', 'checkpoint-2', 'optimizer.safetensors')));
  for (const [folder, expected] of [
    [at('alone', 'checkpoint-2'), /found a model alone \(such as --save_only_model writes\)$/],
    [at('alone'), /found a folder with checkpoints in it: name one of them, or give True/],
    [at('nowhere'), /expected a checkpoint, found nothing$/],
    [rows, /expected the folder of a checkpoint, found a file$/],
    [root, /found a folder without training_state\.json$/],
  ] as const)
    assert.throws(
      () => point('alone', '', folder),
      (error: Error) => {
        assert.ok(error instanceof InputError);
        assert.match(error.message, expected);
        return true;
      },
    );
});

/** The checkpoint that a run of these flags goes on from. */
function point(output: string, line: string, wish: string | true, notes: string[] = []): number | undefined {
  const args = argumentsOf(output, line);
  const inputs = openInputs(args.modelNameOrPath, args, () => {});
  const opened = resumePoint(wish, at(output), inputs, (text) => notes.push(text));
  opened?.tensors.close();
  return opened?.step;
}

test('what contradicts a checkpoint is refused with the difference, what changes no number is not', () => {
  const same = F32;
  const [moved, other] = [at('moved', 'rows.jsonl'), at('other.jsonl')];
  fs.mkdirSync(at('moved'));
  fs.copyFileSync(rows, moved);
  const lines = fs.readFileSync(rows, 'utf8').split('\n').filter(Boolean);
  fs.writeFileSync(other, [...lines.slice(1), lines[0]].join('\n'));
  const wider = at('wider');
  fs.cpSync(base, wider, { recursive: true });
  fs.writeFileSync(
    path.join(wider, 'config.json'),
    JSON.stringify({ ...config, ...dropout, num_hidden_layers: 1 }),
  );
  for (const [more, expected] of [
    [
      '--learning_rate 1e-4',
      /--resume_from_checkpoint .*checkpoint-6: expected --learning_rate 0\.001, found 0\.0001$/,
    ],
    ['--seed 7', /expected --seed 42, found 7; expected the seed of the data 42, found 7$/],
    ['--gradient_accumulation_steps 1', /expected --gradient_accumulation_steps 2, found 1/],
    ['--fp16', /expected --fp16 false, found true$/],
    ['--query_instruction_for_retrieval q:', /expected --query_instruction_for_retrieval none, found "q:"$/],
    ['--flagembedding_compat log-warmup', /expected --flagembedding_compat \[\], found \["log-warmup"\]$/],
    [`--train_data ${rows} ${moved}`, /expected --train_data with 1 files, found 2/],
    [`--train_data ${other}`, /expected the 10 rows \(\d+ bytes\) of .*rows\.jsonl, found other ones/],
    [`--model_name_or_path ${wider}`, /expected a model of layers 2, found 1$/],
    [
      '--temperature 0.1 --warmup_steps 1 --max_grad_norm 2 --adam_beta1 0.8 --dataloader_drop_last',
      /^--resume_from_checkpoint .*; and 2 more differences$/,
    ],
  ] as const)
    assert.throws(
      () => point('f32-whole', `${same} ${more}`, true),
      (error: Error) => {
        assert.ok(error instanceof InputError);
        assert.match(error.message, expected);
        return true;
      },
    );
  const notes: string[] = [];
  for (const more of [
    '--gradient_checkpointing',
    '--logging_steps 1',
    '--save_total_limit 1',
    '--num_train_epochs 9',
  ])
    assert.equal(point('f32-whole', `${same} ${more}`, at('f32-whole', 'checkpoint-4'), notes), 4);
  assert.equal(point('f32-whole', `${same} --train_data ${moved}`, true, notes), 6);
  assert.match(notes.at(-1)!, /^the rows of .*rows\.jsonl are read from .*moved.rows\.jsonl$/);
});

test('a checkpoint of which any file is damaged is named, and the one before it is offered', () => {
  const line = F32;
  const newest = at('f32-whole', 'checkpoint-6');
  for (const name of filesIn(newest).keys()) {
    // Nothing is computed from it: run-record.test.ts.
    if (name === RUN_RECORD_FILE) continue;
    const file = path.join(newest, name);
    const bytes = fs.readFileSync(file);
    const flipped = Buffer.from(bytes);
    flipped[bytes.length >> 1]! ^= name === 'training_state.json' ? 0x80 : 1;
    for (const damaged of [flipped, bytes.subarray(0, bytes.length >> 1), undefined]) {
      if (damaged) fs.writeFileSync(file, damaged);
      else if (name === 'trainer_state.json' || name === 'training_state.json') continue;
      else fs.rmSync(file);
      assert.throws(
        () => point('f32-whole', line, newest),
        (error: Error) => {
          assert.ok(error instanceof InputError, `${name}: ${error.stack}`);
          assert.match(
            error.message,
            /the checkpoint .*checkpoint-6 is damaged: .*; the newest whole one is .*checkpoint-4$/,
          );
          assert.ok(error.message.includes(path.basename(name)), error.message);
          return true;
        },
      );
    }
    fs.writeFileSync(file, bytes);
  }
  // Other weights beside those that were saved, which a reader might prefer.
  for (const name of ['model.safetensors.index.json', 'pytorch_model.bin', 'pytorch_model.bin.index.json']) {
    const file = path.join(newest, name);
    fs.writeFileSync(file, '{}');
    assert.throws(() => point('f32-whole', line, newest), {
      name: 'InputError',
      message: new RegExp(`${name}: expected the weights that were saved, found others beside them`),
    });
    fs.rmSync(file);
  }
});

test('a dry run tells the plan and its memory, and touches nothing', async () => {
  const entries: LogEntry[] = [];
  const notes: string[] = [];
  const reporter = {
    ...silentReporter,
    log: (entry: LogEntry) => void entries.push(entry),
    note: (text: string) => void notes.push(text),
  };
  await finetune(
    argumentsOf('dry', '--dry_run --warmup_ratio 0.5 --gradient_accumulation_steps 2'),
    reporter,
    lendGpu,
  );
  assert.ok(!fs.existsSync(at('dry')));
  const [{ event, total_steps, batches_per_step, warmup_steps, learning_rate_warm, gpu_memory_bytes }] =
    entries as [LogEntry];
  assert.deepEqual(
    { event, total_steps, batches_per_step, warmup_steps, learning_rate_warm },
    { event: 'plan', total_steps: 6, batches_per_step: 2, warmup_steps: 3, learning_rate_warm: 1e-3 },
  );
  assert.ok((gpu_memory_bytes as number) > 1e6);
  assert.match(notes.join('\n'), /GPU memory that the longest batch takes:\n +weights +\d/);
  await finetune(argumentsOf('f32', `${F32} --dry_run --resume_from_checkpoint True`), reporter, lendGpu);
  assert.equal(entries.at(-1)!['resumes_after_step'], 6);
});

test('of each flag it is known whether a run may go on with another value', () => {
  const numbers =
    `colbert_dim train_group_size query_max_len passage_max_len pad_to_multiple_of max_example_num_per_dataset
    query_instruction_for_retrieval query_instruction_format passage_instruction_for_retrieval passage_instruction_format
    knowledge_distillation shuffle_ratio same_dataset_within_batch small_threshold drop_threshold data_seed temperature
    negatives_cross_device sentence_pooling_method normalize_embeddings kd_loss_type unified_finetuning use_self_distill
    self_distill_start_step fix_encoder fix_position_embedding learning_rate per_device_train_batch_size
    gradient_accumulation_steps sub_batch_size dataloader_drop_last lr_scheduler_type warmup_ratio warmup_steps weight_decay
    adam_beta1 adam_beta2 adam_epsilon max_grad_norm seed fp16 reduce_dtype flagembedding_compat`.split(
      /\s+/,
    );
  assert.deepEqual([...numbers, ...MAY_CHANGE].sort(), Object.keys(finetuneFlags).sort());
});
