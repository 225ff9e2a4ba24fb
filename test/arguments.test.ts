/**
 * The flags of `finetune`, the DeepSpeed file and the schedules. The command is that of FlagEmbedding's examples,
 * unchanged; the schedules' figures are what Hugging Face's trainer gives (docs/spec/flagembedding-m3.md §5.4).
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadDatasets } from '../src/data/batches.js';
import { InputError } from '../src/errors.js';
import { renderHelp, wantsHelp } from '../src/flag-help.js';
import {
  byteSize,
  group,
  integer,
  listOf,
  optional,
  parseFlags,
  required,
  text,
  withDefault,
} from '../src/flags.js';
import { editDistance, nearestName } from '../src/nearest-name.js';
import {
  constantSchedule,
  constantWithWarmupSchedule,
  cosineSchedule,
  linearSchedule,
  logWarmupSchedule,
} from '../src/optim/schedules.js';
import { serveFlags } from '../src/serve/arguments.js';
import {
  compatNames,
  type FinetuneArguments,
  finetuneFlags,
  intervalInSteps,
  parseFinetuneArguments,
  resumeWish,
} from '../src/train/arguments.js';
import { parseDeepSpeed, readDeepSpeed } from '../src/train/deepspeed.js';
import { learningRateOf, warmupStepsOf } from '../src/train/schedules.js';
import {
  foreignTrainingArguments,
  habits,
  trainingArgumentAliases,
} from '../src/train/training-arguments-names.js';

let root = dirname(fileURLToPath(import.meta.url));
while (!existsSync(join(root, 'package.json'))) root = dirname(root);

const words = (command: string) => command.trim().split(/\s+/);

const needed = words('--model_name_or_path m --train_data a.jsonl --output_dir out');
const parse = (command = '') =>
  parseFinetuneArguments([...needed, ...(command === '' ? [] : words(command))]);

function refuses(run: () => unknown, message: RegExp): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof InputError, String(error));
    assert.match(error.message, message);
    assert.ok(!error.message.includes('\n'), error.message);
    return true;
  });
}

const mission = `
  --model_name_or_path BAAI/bge-m3
  --cache_dir ./cache/model
  --train_data ./example_data/retrieval
    ./example_data/sts/sts.jsonl
    ./example_data/classification-no_in_batch_neg
    ./example_data/clustering-no_in_batch_neg
  --cache_path ./cache/data
  --train_group_size 8
  --query_max_len 512
  --passage_max_len 512
  --pad_to_multiple_of 8
  --knowledge_distillation True
  --same_dataset_within_batch True
  --small_threshold 0
  --drop_threshold 0
  --output_dir ./test_encoder_only_m3_bge-m3_sd
  --overwrite_output_dir
  --learning_rate 1e-5
  --fp16
  --num_train_epochs 2
  --per_device_train_batch_size 2
  --dataloader_drop_last True
  --warmup_ratio 0.1
  --gradient_checkpointing
  --deepspeed ../ds_stage0.json
  --logging_steps 1
  --save_steps 1000
  --negatives_cross_device
  --temperature 0.02
  --sentence_pooling_method cls
  --normalize_embeddings True
  --kd_loss_type m3_kd_loss
  --unified_finetuning True
  --use_self_distill True
  --fix_encoder False
  --self_distill_start_step 0`;

// The file that the command names, as FlagEmbedding ships it.
const stage0 = {
  zero_optimization: { stage: 0 },
  fp16: {
    enabled: 'auto',
    loss_scale: 0,
    loss_scale_window: 1000,
    initial_scale_power: 12,
    hysteresis: 2,
    min_loss_scale: 1,
  },
  bf16: { enabled: 'auto' },
  optimizer: { type: 'AdamW', params: { lr: 'auto', betas: 'auto', eps: 'auto', weight_decay: 'auto' } },
  scheduler: {
    type: 'WarmupDecayLR',
    params: {
      warmup_min_lr: 'auto',
      warmup_max_lr: 'auto',
      warmup_num_steps: 'auto',
      total_num_steps: 'auto',
    },
  },
  gradient_accumulation_steps: 'auto',
  gradient_clipping: 'auto',
  steps_per_print: 100,
  train_batch_size: 'auto',
  train_micro_batch_size_per_gpu: 'auto',
  wall_clock_breakdown: false,
};

// ---- the command ----

test('the mission’s command parses unchanged', () => {
  const { args, notices } = parseFinetuneArguments(words(mission));
  const expected: Partial<FinetuneArguments> = {
    modelNameOrPath: 'BAAI/bge-m3',
    cacheDir: './cache/model',
    trainData: [
      './example_data/retrieval',
      './example_data/sts/sts.jsonl',
      './example_data/classification-no_in_batch_neg',
      './example_data/clustering-no_in_batch_neg',
    ],
    trainGroupSize: 8,
    queryMaxLen: 512,
    passageMaxLen: 512,
    padToMultipleOf: 8,
    knowledgeDistillation: true,
    sameDatasetWithinBatch: true,
    outputDir: './test_encoder_only_m3_bge-m3_sd',
    overwriteOutputDir: true,
    learningRate: 1e-5,
    fp16: true,
    numTrainEpochs: 2,
    perDeviceTrainBatchSize: 2,
    dataloaderDropLast: true,
    warmupRatio: 0.1,
    gradientCheckpointing: true,
    deepspeed: '../ds_stage0.json',
    loggingSteps: 1,
    saveSteps: 1000,
    negativesCrossDevice: true,
    temperature: 0.02,
    sentencePoolingMethod: 'cls',
    normalizeEmbeddings: true,
    kdLossType: 'm3_kd_loss',
    unifiedFinetuning: true,
    useSelfDistill: true,
    fixEncoder: false,
    selfDistillStartStep: 0,
  };
  for (const [name, value] of Object.entries(expected))
    assert.deepEqual(args[name as keyof FinetuneArguments], value, name);
  assert.deepEqual(
    notices.map((notice) => notice.split(/[: ]/)[0]),
    ['--cache_path', '--negatives_cross_device'],
  );
});

test('the arguments are the options of the data', () => {
  const { args } = parseFinetuneArguments(words(mission));
  const example = join(root, 'test/golden/example_data');
  const data = loadDatasets({
    ...args,
    trainData: args.trainData.map((path) => path.replace('./example_data', example)),
    seed: args.dataSeed ?? args.seed,
    nonePrefix: args.flagembeddingCompat.has('none-prefix'),
  });
  assert.equal(data.batchesPerEpoch(1), 65);
  assert.equal(data.batchesPerEpoch(2), 31);
});

test('defaults are FlagEmbedding’s and Hugging Face’s', () => {
  const { args, notices } = parse();
  assert.deepEqual(notices, []);
  assert.deepEqual(args, {
    modelNameOrPath: 'm',
    configName: null,
    tokenizerName: null,
    revision: null,
    cacheDir: null,
    trustRemoteCode: false,
    useFastTokenizer: true,
    token: null,
    colbertDim: -1,
    trainData: ['a.jsonl'],
    cachePath: null,
    evalData: null,
    evalStrategy: null,
    evalSteps: null,
    evalOnStart: false,
    predictionLossOnly: false,
    loadBestModelAtEnd: false,
    metricForBestModel: null,
    greaterIsBetter: null,
    earlyStoppingPatience: null,
    earlyStoppingThreshold: 0,
    trainGroupSize: 8,
    queryMaxLen: 32,
    passageMaxLen: 128,
    padToMultipleOf: null,
    maxExampleNumPerDataset: 1e8,
    queryInstructionForRetrieval: null,
    queryInstructionFormat: '{}{}',
    passageInstructionForRetrieval: null,
    passageInstructionFormat: '{}{}',
    knowledgeDistillation: false,
    shuffleRatio: 0,
    sameDatasetWithinBatch: false,
    smallThreshold: 0,
    dropThreshold: 0,
    dataSeed: null,
    dataloaderNumWorkers: null,
    temperature: 0.02,
    negativesCrossDevice: false,
    sentencePoolingMethod: 'cls',
    normalizeEmbeddings: true,
    kdLossType: 'kl_div',
    unifiedFinetuning: false,
    useSelfDistill: false,
    selfDistillStartStep: -1,
    fixEncoder: false,
    fixPositionEmbedding: false,
    useMrl: false,
    mrlDims: [],
    learningRate: 5e-5,
    numTrainEpochs: 3,
    maxSteps: -1,
    perDeviceTrainBatchSize: 8,
    gradientAccumulationSteps: 1,
    subBatchSize: null,
    dataloaderDropLast: false,
    lrSchedulerType: 'linear',
    warmupRatio: 0,
    warmupSteps: 0,
    weightDecay: 0,
    adamBeta1: 0.9,
    adamBeta2: 0.999,
    adamEpsilon: 1e-8,
    maxGradNorm: 1,
    seed: 42,
    fp16: false,
    bf16: false,
    gradientCheckpointing: false,
    shardOptimizer: false,
    deepspeed: null,
    outputDir: 'out',
    overwriteOutputDir: false,
    loggingSteps: 500,
    saveStrategy: 'steps',
    saveSteps: 500,
    saveTotalLimit: null,
    saveDtype: 'float32',
    saveOnlyModel: false,
    dryRun: false,
    maxShardSize: null,
    resumeFromCheckpoint: null,
    report: true,
    reportTo: null,
    loggingDir: null,
    disableTqdm: null,
    progress: 'auto',
    nprocPerNode: 1,
    adapters: null,
    launcher: 'auto',
    reduceDtype: 'f32',
    ddpTimeout: 20,
    checkReplicas: null,
    adapter: null,
    maxGpuMemory: null,
    tune: 'cached',
    profile: null,
    flagembeddingCompat: new Set(),
    debug: false,
  });
});

test('spellings: dashes, =value, booleans, negation, negative numbers, None, the last one wins', () => {
  const { args } = parse(
    '--train-group-size=4 --fix-encoder=true --unified_finetuning yes --use_self_distill 0 --disable_tqdm ' +
      '--no_normalize_embeddings --self_distill_start_step -1 --seed -7 --data-seed None --seed 5',
  );
  assert.equal(args.trainGroupSize, 4);
  assert.equal(args.fixEncoder, true);
  assert.equal(args.unifiedFinetuning, true);
  assert.equal(args.useSelfDistill, false);
  assert.equal(args.disableTqdm, true);
  assert.equal(args.normalizeEmbeddings, false);
  assert.equal(args.selfDistillStartStep, -1);
  assert.equal(args.dataSeed, null);
  assert.equal(args.seed, 5);
  const instructed = parseFinetuneArguments([
    ...needed,
    '--query_instruction_for_retrieval',
    'Represent this: ',
    '--passage_instruction_for_retrieval=',
    '--query_instruction_format={}\\n{}',
  ]).args;
  assert.equal(instructed.queryInstructionForRetrieval, 'Represent this: ');
  assert.equal(instructed.passageInstructionForRetrieval, '');
  assert.equal(instructed.queryInstructionFormat, '{}\\n{}');
  assert.equal(parse('--max_gpu_memory 12GB').args.maxGpuMemory, 12e9);
  assert.equal(parse('--max_shard_size 500MB').args.maxShardSize, 5e8);
});

test('the compatibility switch takes a boolean or names, by comma or space', () => {
  const names = (command: string) => [...parse(command).args.flagembeddingCompat];
  assert.deepEqual(names('--flagembedding_compat'), [...compatNames]);
  assert.deepEqual(names('--flagembedding_compat True'), [...compatNames]);
  assert.deepEqual(names('--flagembedding_compat False'), []);
  assert.deepEqual(names('--flagembedding_compat none-prefix,log-warmup'), ['none-prefix', 'log-warmup']);
  assert.deepEqual(names('--flagembedding-compat cross-device colbert-floor --fp16'), [
    'cross-device',
    'colbert-floor',
  ]);
  refuses(
    () => parse('--flagembedding_compat none'),
    /^--flagembedding_compat: expected True, False or names among none-prefix, .*, found "none"$/,
  );
});

test('wrong values are refused in one line', () => {
  const cases: [string, RegExp][] = [
    [
      '--train_group_size abc',
      /^--train_group_size: expected a positive integer of at most 65536, found "abc"$/,
    ],
    ['--train_group_size 0', /found "0"$/],
    [
      '--train-group-size 1.5',
      /^--train_group_size: expected a positive integer of at most 65536, found "1.5"$/,
    ],
    ['--train_group_size', /^--train_group_size: expected a positive integer of .*, found nothing$/],
    ['--train_data', /^--train_data: expected one or more paths, found nothing$/],
    ['--fp16 maybe', /^--fp16: expected True or False, found "maybe"$/],
    ['--temperature 0', /^--temperature: expected a number from 0.000001 to 1000000, found "0"$/],
    ['--temperature 0x10', /found "0x10"$/],
    ['--warmup_ratio 1.5', /^--warmup_ratio: expected a number from 0 to 1, found "1.5"$/],
    ['--adam_beta2 1', /^--adam_beta2: expected a number from 0 to 0.999999, found "1"$/],
    ['--learning_rate 1e', /^--learning_rate: expected a number from 0 to 1000, found "1e"$/],
    [
      '--max_steps 0',
      /^--max_steps: expected a positive integer of at most 1000000000, or -1 for .*, found "0"$/,
    ],
    [
      '--logging_steps 1.5',
      /^--logging_steps: expected a positive number of steps, or a share .*, found "1.5"$/,
    ],
    ['--kd_loss_type mse', /^--kd_loss_type: expected one of kl_div, m3_kd_loss, found "mse"$/],
    ['--lr_scheduler_type polynomial', /expected one of linear, cosine, constant, constant_with_warmup/],
    ['--max_gpu_memory lots', /^--max_gpu_memory: expected a size such as 12GB, found "lots"$/],
    ['--seed 1 2', /^unexpected argument "2": expected a flag$/],
    ['--fp16 --bf16', /^--fp16 and --bf16: expected at most one of them, found both$/],
    ['--use_mrl', /^--use_mrl: expected False, found True: not implemented for M3$/],
    [
      '--adapters H100,AMD',
      /^--adapters: expected --nproc_per_node 2 with it, found one rank; --adapter picks/,
    ],
    ['--adapters 0,,1 --nproc_per_node 2', /^--adapters: expected parts of adapter names, .*, found "0,,1"$/],
    [
      '--adapter A --adapters 0 1 --nproc_per_node 2',
      /^--adapter and --adapters: expected at most one of them, found both$/,
    ],
    ['--nproc_per_node 0', /^--nproc_per_node: expected a positive integer of at most 1024, found "0"$/],
    ['--ddp_timeout 0.5', /^--ddp_timeout: expected a number of seconds from 1, found "0.5"$/],
    ['--reduce_dtype f16', /^--reduce_dtype: expected one of f32, bf16, found "f16"$/],
    ['--fix_encoder', /^--fix_encoder True: expected --unified_finetuning True with it/],
    ['--no_normalize_embeddings=x', /^--no_normalize_embeddings: expected no value, found "x"$/],
    ['--lerning_rate 1', /^unknown flag --lerning_rate; the nearest is --learning_rate$/],
    ['--per-device-train-batchsize 1', /^unknown flag .*; the nearest is --per_device_train_batch_size$/],
    ['--push_to_hubs', /the nearest is --push_to_hub$/],
    ['--constructor 1', /^unknown flag --constructor; --help lists them$/],
    ['--no_constructor', /^unknown flag --no_constructor; --help lists them$/],
    ['-x', /^unknown flag -x; --help lists them$/],
    // What a number can mean: beyond it f32 computes infinities, or a count takes the machine.
    ['--temperature 1e-300', /^--temperature: expected a number from 0.000001 to 1000000, found "1e-300"$/],
    ['--temperature 1e300', /found "1e300"$/],
    ['--adam_epsilon 0', /^--adam_epsilon: expected a number from 1e-20 to 1000, found "0"$/],
    ['--adam_epsilon 1e-300', /found "1e-300"$/],
    ['--adam_beta2 0.99999999999999', /^--adam_beta2: expected a number from 0 to 0.999999,/],
    ['--learning_rate 1e300', /^--learning_rate: expected a number from 0 to 1000, found "1e300"$/],
    ['--learning_rate 1e999', /found "1e999"$/],
    ['--learning_rate -1e-5', /found "-1e-5"$/],
    ['--weight_decay 1e30', /^--weight_decay: /],
    ['--max_grad_norm 1e-300', /^--max_grad_norm: expected 0 or a number from 0.000001 to 1e\+30,/],
    ['--num_train_epochs 1e300', /^--num_train_epochs: expected a number above 0 and at most 1000000,/],
    ['--num_train_epochs 0', /^--num_train_epochs: /],
    ['--max_steps 99999999999', /^--max_steps: /],
    ['--colbert_dim 1000000000', /^--colbert_dim: expected an integer of at most 65536, found/],
    ['--train_group_size 1000000000', /^--train_group_size: expected a positive integer of at most 65536,/],
    ['--gradient_accumulation_steps 1e9', /^--gradient_accumulation_steps: .*, found "1e9"$/],
    ['--query_max_len 99999999999999999999', /^--query_max_len: /],
    ['--warmup_steps 1e300', /^--warmup_steps: /],
    ['--save_steps 1e300', /^--save_steps: /],
    ['--max_gpu_memory 99999999999999999999TB', /^--max_gpu_memory: /],
    // Nothing that a terminal would obey.
    ['--kd_loss_type \u001b[31m\u202ered', /found "\\u001b\[31m\\u202ered"$/],
    ['--\u001b[2J', /^unexpected argument "--\\u001b\[2J"/],
    ['--a\u001b[2J', /^unknown flag --a\\u001b\[2J; /],
    [`--${'a'.repeat(5000)}`, /^unknown flag --a{78}…; --help lists them$/],
    [`--kd_loss_type ${'a'.repeat(5000)}`, /found "a{100}…"$/],
  ];
  for (const [command, message] of cases) refuses(() => parse(command), message);
  refuses(
    () => parseFinetuneArguments([]),
    /^--model_name_or_path: expected a folder or a hub id, found nothing/,
  );
  for (const [word, wish] of [
    ['False', null],
    ['None', null],
    ['True', true],
    ['out/checkpoint-5', 'out/checkpoint-5'],
  ] as const)
    assert.equal(resumeWish(parse(`--resume_from_checkpoint ${word}`).args), wish);
});

// Every field of transformers 4.57.6 TrainingArguments that is a flag.
const trainingArguments = words(`
  output_dir overwrite_output_dir do_train do_eval do_predict eval_strategy prediction_loss_only
  per_device_train_batch_size per_device_eval_batch_size per_gpu_train_batch_size per_gpu_eval_batch_size
  gradient_accumulation_steps eval_accumulation_steps eval_delay torch_empty_cache_steps learning_rate weight_decay
  adam_beta1 adam_beta2 adam_epsilon max_grad_norm num_train_epochs max_steps lr_scheduler_type lr_scheduler_kwargs
  warmup_ratio warmup_steps log_level log_level_replica log_on_each_node logging_dir logging_strategy
  logging_first_step logging_steps logging_nan_inf_filter save_strategy save_steps save_total_limit save_safetensors
  save_on_each_node save_only_model restore_callback_states_from_checkpoint no_cuda use_cpu use_mps_device seed
  data_seed jit_mode_eval bf16 fp16 fp16_opt_level half_precision_backend bf16_full_eval fp16_full_eval tf32
  local_rank ddp_backend tpu_num_cores tpu_metrics_debug debug dataloader_drop_last eval_steps
  dataloader_num_workers dataloader_prefetch_factor past_index run_name disable_tqdm remove_unused_columns
  label_names load_best_model_at_end metric_for_best_model greater_is_better ignore_data_skip fsdp
  fsdp_min_num_params fsdp_config fsdp_transformer_layer_cls_to_wrap accelerator_config parallelism_config deepspeed
  label_smoothing_factor optim optim_args adafactor group_by_length length_column_name report_to project
  trackio_space_id ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers dataloader_pin_memory
  dataloader_persistent_workers skip_memory_metrics use_legacy_prediction_loop push_to_hub resume_from_checkpoint
  hub_model_id hub_strategy hub_token hub_private_repo hub_always_push hub_revision gradient_checkpointing
  gradient_checkpointing_kwargs include_inputs_for_metrics include_for_metrics eval_do_concat_batches fp16_backend
  push_to_hub_model_id push_to_hub_organization push_to_hub_token mp_parameters auto_find_batch_size
  full_determinism torchdynamo ray_scope ddp_timeout torch_compile torch_compile_backend torch_compile_mode
  include_tokens_per_second include_num_input_tokens_seen neftune_noise_alpha optim_target_modules
  batch_eval_metrics eval_on_start use_liger_kernel liger_kernel_config eval_use_gather_object
  average_tokens_across_devices`);

test('every name of Hugging Face’s TrainingArguments 4.57 is known, exactly once', () => {
  assert.equal(trainingArguments.length, 132);
  for (const name of trainingArguments)
    assert.equal(
      [finetuneFlags, foreignTrainingArguments, trainingArgumentAliases].filter((table) => name in table)
        .length,
      1,
      name,
    );
  for (const table of [foreignTrainingArguments, trainingArgumentAliases])
    for (const name of Object.keys(table)) assert.ok(trainingArguments.includes(name), name);
});

test('what changes nothing has one notice, none where the value says what happens anyway', () => {
  const { notices } = parse(
    '--report_to wandb --do_train --optim=adamw_torch --report-to tensorboard wandb --dataloader_prefetch_factor 4 ' +
      '--cache_path c --logging_first_step --logging_strategy epoch --eval_delay 2',
  );
  const logged = 'the log has a line every --logging_steps steps and at the last step';
  assert.deepEqual(notices, [
    '--report_to is given more than once: the last counts',
    '--dataloader_prefetch_factor has no effect here: rows are read and batched by dawntune',
    '--cache_path has no effect here: rows are read from the files themselves',
    `--logging_first_step has no effect here: ${logged}`,
    `--logging_strategy has no effect here: ${logged}`,
    '--eval_delay has no effect here: evaluation is not delayed',
    '--report_to wandb has no effect here: the log goes to standard output, into trainer_state.json and to TensorBoard',
  ]);
  assert.deepEqual(
    parse('--eval_data e.jsonl --eval_steps 1 --metric_for_best_model loss --early_stopping_threshold 0.1')
      .notices,
    [
      '--eval_steps 1 has no effect without --eval_strategy steps',
      '--metric_for_best_model has no effect without --load_best_model_at_end True or --early_stopping_patience',
      '--early_stopping_threshold has no effect without --early_stopping_patience',
    ],
  );
  for (const silent of [
    '--overwrite_output_dir',
    '--report_to none',
    '--do_train',
    '--do_train yes --do_eval 0',
    '--ddp_find_unused_parameters False',
    '--dataloader_pin_memory True --dataloader_num_workers 0',
    '--trust_remote_code False --use_fast_tokenizer True --token None',
    '--evaluation_strategy no',
    '--eval_data e.jsonl --eval_strategy epoch',
    '--eval_data e.jsonl --evaluation_strategy steps --eval_steps 1 --load_best_model_at_end',
    '--optim adamw_hf --adafactor False --label_smoothing_factor 0.0 --neftune_noise_alpha None',
    '--lr_scheduler_kwargs {} --group_by_length False --local_rank -1',
    '--fsdp= --save_safetensors --full_determinism --logging_nan_inf_filter True',
    '--config_name m --tokenizer_name m',
    '--per_device_train_batch_size 2 --per_gpu_train_batch_size None',
  ])
    assert.deepEqual(parse(silent).notices, [], silent);
  assert.match(parse('--eval_data e.jsonl --eval_strategy no').notices[0]!, /^--eval_data has no effect /);
  assert.match(parse('--overwrite_output_dir False').notices[0]!, /^--overwrite_output_dir /);
  assert.equal(parse('--per_gpu_train_batch_size 3').args.perDeviceTrainBatchSize, 3);
  assert.ok(renderHelp('usage', finetuneFlags).includes('at the last step too'));
});

test('what would change the result and is not supported is refused', () => {
  for (const [line, pattern] of [
    ['--optim sgd', /^--optim: expected one of adamw_torch, .*, found "sgd": the optimiser is AdamW/],
    ['--optim adafactor', /^--optim: .*found "adafactor"/],
    ['--optim lion_32bit', /^--optim: /],
    ['--optim adamw_bnb_8bit', /^--optim: /],
    ['--optim', /^--optim: .*found "True"/],
    ['--optim sgd --do_train', /^--optim: /],
    ['--adafactor', /^--adafactor: expected False, found "True": the optimiser is AdamW/],
    ['--label_smoothing_factor 0.1', /^--label_smoothing_factor: expected 0, found "0.1": labels are not/],
    ['--neftune_noise_alpha 5', /^--neftune_noise_alpha: expected 0, found "5": no noise/],
    ['--lr_scheduler_kwargs {"num_cycles":2}', /^--lr_scheduler_kwargs: expected \{\}, found /],
    ['--group_by_length', /^--group_by_length: expected False, found "True": /],
    ['--local_rank 1', /^--local_rank: expected one of -1, 0, found "1": a rank learns its number/],
    ['--per_gpu_train_batch_size 0', /^--per_device_train_batch_size: expected a positive integer/],
    ['--config_name other', /^--config_name: expected that of the model, "m", found "other": another/],
    ['--tokenizer_name other', /^--tokenizer_name: expected that of the model, "m", found "other"/],
  ] as const)
    refuses(() => parse(line), pattern);
});

test('flags that others leave without effect, and flags given twice', () => {
  const combined = parse('--use_self_distill').notices;
  assert.match(combined[0]!, /^--use_self_distill has no effect here without --unified_finetuning True$/);
  // The last of several counts, as in Hugging Face's parser; the same again is no matter.
  assert.deepEqual(parse('--seed 1 --seed=2 --fp16 --fp16 True --seed 3').notices, [
    '--seed is given more than once: the last counts',
  ]);
  assert.deepEqual(parse('--train-data b.jsonl').notices, [
    '--train_data is given more than once: the last counts',
  ]);
  // Flags that others leave without effect.
  const idle: [string, RegExp[]][] = [
    [
      '--kd_loss_type m3_kd_loss',
      [/^--kd_loss_type m3_kd_loss has no effect without --knowledge_distillation/],
    ],
    ['--kd_loss_type m3_kd_loss --knowledge_distillation True', []],
    [
      '--lr_scheduler_type constant --warmup_ratio 0.1',
      [/^--warmup_ratio 0\.1 has no effect with .*constant;/],
    ],
    ['--lr_scheduler_type constant_with_warmup --warmup_ratio 0.1', []],
    ['--warmup_steps 3 --warmup_ratio 0.1', [/^--warmup_ratio 0\.1 has no effect beside --warmup_steps 3$/]],
    ['--save_strategy no --save_total_limit 2', [/^--save_total_limit 2 has no effect/]],
  ];
  for (const [line, expected] of idle) {
    const lines = parse(line).notices;
    assert.equal(lines.length, expected.length, line);
    for (const [i, pattern] of expected.entries()) assert.match(lines[i]!, pattern);
  }
  const file = { scheduler: { type: 'WarmupDecayLR', params: { warmup_num_steps: 4 } } };
  const { args } = parse('--lr_scheduler_type cosine --warmup_steps 3');
  assert.deepEqual(parseDeepSpeed(file, 'ds.json', args).notices, [
    'ds.json: scheduler.type WarmupDecayLR is used, not --lr_scheduler_type cosine',
    'ds.json: scheduler.params.warmup_num_steps 4 is used, not --warmup_steps 3',
  ]);
});

test('intervals below 1 are shares of the run', () => {
  assert.equal(parse('--save_steps 0.1').args.saveSteps, 0.1);
  assert.equal(intervalInSteps(0.1, 62), 7);
  assert.equal(intervalInSteps(500, 62), 500);
});

// ---- the table ----

test('a table is typed, renders its help by group, and takes positionals when asked', () => {
  const table = {
    ...group('Input', {
      corpus_file: required(text('a file'), 'the texts'),
      topic: withDefault(listOf(text(), 'topics'), ['a', 'b'], 'what they are about'),
    }),
    ...group('Limits', { most: optional(integer(1), 'stop after this many') }),
  };
  const { values, positionals, given } = parseFlags(table, ['x', '--corpus-file', 'f', 'y', '--', '--most'], {
    positionals: true,
  });
  const typed: { corpusFile: string; topic: string[]; most: number | null } = values;
  assert.deepEqual(typed, { corpusFile: 'f', topic: ['a', 'b'], most: null });
  assert.deepEqual(positionals, ['x', 'y', '--most']);
  assert.deepEqual([...given], ['corpus_file']);
  assert.equal(
    renderHelp('usage: t [flags]', table),
    [
      'usage: t [flags]',
      '',
      'Input:',
      '  --corpus_file TEXT',
      '      the texts (required)',
      '  --topic TEXT…',
      '      what they are about (default a b)',
      '',
      'Limits:',
      '  --most N',
      '      stop after this many',
      '',
    ].join('\n'),
  );
  const help = renderHelp('usage', finetuneFlags);
  assert.match(
    help,
    / {2}--fp16 \[True\|False\]\n {6}mixed precision: f16 activations, f32 weights, scaled loss \(default\s+False\)/,
  );
  assert.ok(!help.includes('--tokenizer_name'));
  assert.ok(help.split('\n').every((line) => line.length <= 100));
  assert.ok(wantsHelp(['--x', '-h']) && !wantsHelp(['h']));
});

test('the nearest name is the one at the smallest edit distance', () => {
  assert.equal(editDistance('kitten', 'sitting'), 3);
  assert.equal(editDistance('', 'abc'), 3);
  assert.equal(nearestName('warm_up_ratio', ['seed', 'warmup_steps', 'warmup_ratio']), 'warmup_ratio');
  assert.equal(nearestName('x', []), null);
  const flags = Object.keys(finetuneFlags).concat(Object.keys(foreignTrainingArguments));
  const cases: [string, string | null][] = [
    ['normlized', 'normalize_embeddings'],
    ['normalise', 'normalize_embeddings'],
    ['lerning_rate', 'learning_rate'],
    ['learnign_rate', 'learning_rate'],
    ['lr', 'learning_rate'],
    ['wd', 'weight_decay'],
    ['epochs', 'num_train_epochs'],
    ['train_batch_size', 'per_device_train_batch_size'],
    ['group_size', 'train_group_size'],
    ['outputdir', 'output_dir'],
    ['output', 'output_dir'],
    ['model', 'model_name_or_path'],
    ['temprature', 'temperature'],
    ['gradient_checkpoint', 'gradient_checkpointing'],
    ['passage_length', 'passage_max_len'],
    ['self_distill', 'use_self_distill'],
    ['FP16', 'fp16'],
    ['xyzzy', null],
    ['q', null],
    ['frobnicate', null],
    ['constructor', null],
    ['__proto__', null],
    ['hasOwnProperty', null],
    ['', null],
  ];
  for (const [given, expected] of cases) assert.equal(nearestName(given, flags), expected, given);
});

test('sizes in bytes', () => {
  const size = byteSize('GiB', 1000);
  const bytes = (word: string) => size.parse([word]);
  assert.deepEqual(['12GB', '1.5gib', '800 MB', '4096', '2k', '0', 'GB', '-1GB'].map(bytes), [
    12e9,
    1.5 * 2 ** 30,
    8e8,
    4096,
    2000,
    undefined,
    undefined,
    undefined,
  ]);
  // Too few to be meant.
  assert.deepEqual(['15', '1.5', '999', '999B', '1000'].map(bytes), [
    undefined,
    undefined,
    undefined,
    999,
    1000,
  ]);
});

test('what is written as elsewhere is told as it is written here', () => {
  for (const [words, message] of [
    [
      '--learning_rate 1e\u22125',
      /^--learning_rate: expected a number from 0 to 1000, found "1e\u22125": did you mean 1e-5\?$/,
    ],
    ['--learning_rate 0,5', /found "0,5": did you mean 0\.5\?$/],
    ['--max_steps 10,000', /found "10,000": did you mean 10000\?$/],
    ['--max_steps 10_000', /found "10_000": did you mean 10000\?$/],
    ['--max_steps ten', /found "ten"$/],
    [
      '\u2014fp16',
      /^"\u2014fp16": expected a flag after hyphens, found another dash before it: did you mean --fp16\?$/,
    ],
    ['\u2013learning-rate 1', /did you mean --learning-rate\?$/],
    ['--batch_size 8', /^unknown flag --batch_size; the nearest is --per_device_train_batch_size$/],
    ['--device cuda', /the nearest is --adapter$/],
    ['--max_length 512', /the nearest is --passage_max_len$/],
  ] as const)
    refuses(() => parse(words), message);
  for (const name of Object.values(habits)) assert.ok(Object.hasOwn(finetuneFlags, name), name);
  for (const name of Object.keys(habits)) assert.ok(!Object.hasOwn(finetuneFlags, name), name);
  // A text may begin with a dash that is no flag’s.
  assert.equal(
    parse('--query_instruction_for_retrieval \u2014so').args.queryInstructionForRetrieval,
    '\u2014so',
  );
  assert.match(
    parse('--learning_rate 1').notices.join(),
    /^--learning_rate 1 is far above what a pretrained/,
  );
  assert.deepEqual(parse('--max_steps 5 --num_train_epochs 2').notices, [
    '--num_train_epochs 2 has no effect beside --max_steps 5',
  ]);
});

test('a size without a unit that is too small to be meant is told with the unit that was', () => {
  for (const [flag, words, meant] of [
    ['max_gpu_memory', '15', '15GiB'],
    ['max_gpu_memory', '0.5', '0.5GiB'],
    ['max_gpu_memory', '15000', '15000MiB'],
    ['max_shard_size', '5', '5GB'],
  ] as const)
    assert.throws(
      () => parse(`--${flag} ${words}`),
      new RegExp(
        `^InputError: --${flag}: expected a size such as 12GB, found ${words} bytes: did you mean ${meant}\\?$`,
      ),
    );
  const sizes = Object.entries({ ...finetuneFlags, ...serveFlags }).filter(
    ([, { type }]) => type.placeholder === 'SIZE',
  );
  assert.deepEqual(
    sizes.map(([name]) => name),
    ['max_shard_size', 'max_gpu_memory', 'max_body_bytes'],
  );
  for (const [name, { type }] of sizes) assert.match(type.meant!(['8'])!, /did you mean 8[GM]i?B\?$/, name);
});

// ---- the DeepSpeed file ----

const deepSpeed = (change: object, command = '--learning_rate 1e-5 --fp16 --per_device_train_batch_size 2') =>
  parseDeepSpeed({ ...stage0, ...change }, 'ds.json', parse(command).args);

test('the mission’s DeepSpeed file resolves from the flags', () => {
  const { settings, notices } = deepSpeed({});
  assert.deepEqual(settings, {
    precision: 'float16',
    lossScaling: { kind: 'dynamic', initialScale: 4096, window: 1000, hysteresis: 2, minimumScale: 1 },
    optimizer: {
      learningRate: 1e-5,
      betas: [0.9, 0.999],
      epsilon: 1e-8,
      weightDecay: 0,
      decaysEverything: true,
    },
    scheduler: {
      type: 'WarmupDecayLR',
      warmupType: 'linear',
      minimum: 0,
      maximum: 1e-5,
      warmupSteps: null,
      totalSteps: null,
    },
    maxGradNorm: 1,
  });
  assert.deepEqual(notices, ['ds.json: no effect here: steps_per_print, wall_clock_breakdown']);
  const plain = parseDeepSpeed({}, 'ds.json', parse('--weight_decay 0.1').args).settings;
  assert.equal(plain.precision, 'float32');
  assert.equal(plain.lossScaling, null);
  assert.equal(plain.scheduler, null);
  assert.deepEqual([plain.optimizer.weightDecay, plain.optimizer.decaysEverything], [0.1, false]);
});

test('stage 1 of ZeRO divides the optimiser’s state and changes no other setting; what has no effect beside it is said', () => {
  const plain = deepSpeed({});
  assert.equal(plain.shardsOptimizer, false);
  const { settings, shardsOptimizer, notices } = deepSpeed({
    zero_optimization: { stage: 1, reduce_bucket_size: 5e8, offload_optimizer: { device: 'cpu' } },
  });
  assert.equal(shardsOptimizer, true);
  assert.deepEqual(settings, plain.settings);
  assert.deepEqual(notices, [
    'ds.json: no effect here: steps_per_print, wall_clock_breakdown, zero_optimization.reduce_bucket_size, zero_optimization.offload_optimizer',
  ]);
  assert.equal(parse().args.shardOptimizer, false);
  assert.equal(parse('--shard_optimizer').args.shardOptimizer, true);
});

test('explicit values of the DeepSpeed file are taken, and what contradicts a flag is said', () => {
  const { settings, notices } = deepSpeed({
    fp16: { enabled: true, loss_scale: 128 },
    optimizer: {
      type: 'Adam',
      params: { lr: 2e-5, betas: [0.8, 0.99], eps: 1e-6, weight_decay: 0.01, torch_adam: true },
    },
    scheduler: {
      type: 'WarmupLR',
      params: { warmup_min_lr: 1e-7, warmup_num_steps: 20, warmup_type: 'log', colour: 'red' },
    },
    gradient_clipping: 0.5,
    train_batch_size: 2,
    surprise: {},
  });
  assert.deepEqual(settings.lossScaling, { kind: 'static', scale: 128 });
  assert.deepEqual(settings.optimizer.betas, [0.8, 0.99]);
  assert.equal(settings.maxGradNorm, 0.5);
  assert.deepEqual(settings.scheduler, {
    type: 'WarmupLR',
    warmupType: 'log',
    minimum: 1e-7,
    maximum: 2e-5,
    warmupSteps: 20,
    totalSteps: null,
  });
  assert.deepEqual(notices, [
    'ds.json: optimizer.params.lr 0.00002 is used, not --learning_rate 0.00001',
    'ds.json: optimizer.params.eps 0.000001 is used, not --adam_epsilon 1e-8',
    'ds.json: optimizer.params.weight_decay 0.01 is used, not --weight_decay 0',
    'ds.json: optimizer.params.betas[0] 0.8 is used, not --adam_beta1 0.9',
    'ds.json: optimizer.params.betas[1] 0.99 is used, not --adam_beta2 0.999',
    'ds.json: gradient_clipping 0.5 is used, not --max_grad_norm 1',
    'ds.json: no effect here: steps_per_print, wall_clock_breakdown, optimizer.params.torch_adam',
    'ds.json: unknown keys, ignored: surprise, scheduler.params.colour',
  ]);
  assert.deepEqual(deepSpeed({ fp16: { enabled: false } }).notices.slice(0, 1), [
    'ds.json: fp16.enabled false is used, not --fp16 true',
  ]);
});

test('what a DeepSpeed file cannot say here is refused with file and key', () => {
  const cases: [object, RegExp][] = [
    [
      { zero_optimization: { stage: 2 } },
      /^ds\.json: zero_optimization\.stage: expected 0 or 1 \(every rank has the whole gradient here; .*\), found 2$/,
    ],
    [
      { zero_optimization: { stage: 3 } },
      /^ds\.json: zero_optimization\.stage: expected 0 or 1 \(every rank has the whole model here; .*\), found 3$/,
    ],
    [{ zero_optimization: { stage: 4 } }, /stage: expected "auto" or an integer from 0 to 3, found 4$/],
    [{ zero_optimization: { stage: 0.5 } }, /stage: expected "auto" or an integer from 0 to 3, found 0\.5$/],
    [{ zero_optimization: 0 }, /^ds\.json: zero_optimization: expected an object, found 0$/],
    [
      { optimizer: { type: 'OneBitAdam' } },
      /^ds\.json: optimizer\.type: expected "AdamW", found "OneBitAdam"$/,
    ],
    [
      { optimizer: { params: { adam_w_mode: false } } },
      /optimizer\.params\.adam_w_mode: expected true .*, found false$/,
    ],
    [
      { optimizer: { params: { lr: 'high' } } },
      /optimizer\.params\.lr: expected "auto" or a number from 0 to 1000, found "high"$/,
    ],
    [
      { optimizer: { params: { betas: [0.9] } } },
      /optimizer\.params\.betas: expected "auto" or two numbers .*, found \[0\.9\]$/,
    ],
    [
      { scheduler: { type: 'OneCycle' } },
      /scheduler\.type: expected "WarmupDecayLR" or "WarmupLR", found "OneCycle"$/,
    ],
    [
      { scheduler: { type: 'WarmupLR', params: { warmup_type: 'cubic' } } },
      /warmup_type: expected "log" or "linear", found "cubic"$/,
    ],
    [
      { bf16: { enabled: true } },
      /^ds\.json: fp16: expected at most one of fp16 and bf16 enabled, found "both"$/,
    ],
    [{ fp16: { enabled: 'yes' } }, /^ds\.json: fp16\.enabled: expected "auto", true or false, found "yes"$/],
    [
      { fp16: { initial_scale_power: 1024 } },
      /fp16\.initial_scale_power: expected "auto" or a number from 0 to 64, found 1024$/,
    ],
    [
      { train_micro_batch_size_per_gpu: 4 },
      /expected 2 or "auto" \(--per_device_train_batch_size\), found 4$/,
    ],
    [{ gradient_accumulation_steps: 4 }, /expected 1 or "auto" \(--gradient_accumulation_steps\), found 4$/],
    [{ train_batch_size: 4 }, /expected 2 or "auto" \(batch size × accumulation × ranks\), found 4$/],
  ];
  const bounded: [string, RegExp][] = [
    [
      '{"fp16":{"hysteresis":1e9,"initial_scale_power":100}}',
      /initial_scale_power: .* from 0 to 64, found 100$/,
    ],
    [
      '{"fp16":{"hysteresis":1e9}}',
      /fp16\.hysteresis: expected "auto" or an integer from 1 to 1000, found 1000000000$/,
    ],
    ['{"fp16":{"hysteresis":1.5}}', /fp16\.hysteresis: .*, found 1\.5$/],
    ['{"fp16":{"loss_scale":1e999}}', /fp16\.loss_scale: .*, found Infinity$/],
    ['{"fp16":{"loss_scale":-1}}', /fp16\.loss_scale: /],
    ['{"fp16":{"loss_scale":1e-46}}', /fp16\.loss_scale: expected 0 \(dynamic\) or a number of at least /],
    ['{"fp16":{"min_loss_scale":1e-300}}', /fp16\.min_loss_scale: /],
    ['{"fp16":{"loss_scale_window":0}}', /fp16\.loss_scale_window: /],
    ['{"fp16":{"loss_scale_window":1e999}}', /fp16\.loss_scale_window: /],
    ['{"fp16":{"min_loss_scale":1e999}}', /fp16\.min_loss_scale: /],
    ['{"optimizer":{"params":{"lr":1e999}}}', /optimizer\.params\.lr: /],
    [
      '{"optimizer":{"params":{"eps":0}}}',
      /optimizer\.params\.eps: expected "auto" or a number from 1e-20 to 1000,/,
    ],
    ['{"optimizer":{"params":{"betas":[0.9,1]}}}', /optimizer\.params\.betas: /],
    ['{"optimizer":{"params":{"weight_decay":-1}}}', /optimizer\.params\.weight_decay: /],
    ['{"scheduler":{"params":{"warmup_num_steps":1e999}}}', /warmup_num_steps: /],
    ['{"scheduler":{"params":{"total_num_steps":0}}}', /total_num_steps: /],
    [
      '{"scheduler":{"params":{"warmup_min_lr":1}}}',
      /warmup_min_lr: expected at most warmup_max_lr, 0\.00001, found 1$/,
    ],
    [
      '{"gradient_clipping":1e-300}',
      /gradient_clipping: expected 0 or a number of at least 0\.000001, found 1e-300$/,
    ],
    ['{"gradient_clipping":[[[[[1]]]]]}', /gradient_clipping: .*, found \[\[\[\[…\]\]\]\]$/],
    ['{"fp16":{"enabled":{"toString":1}}}', /fp16\.enabled: /],
    ['{"optimizer":{"type":"\\u001b[31m"}}', /found "\\u001b\[31m"$/],
  ];
  for (const [change, message] of cases) refuses(() => deepSpeed(change), message);
  for (const [json, message] of bounded) refuses(() => deepSpeed(JSON.parse(json)), message);
  refuses(() => parseDeepSpeed(null, 'ds.json', parse().args), /^ds\.json: expected an object, found null$/);
  refuses(() => parseDeepSpeed([], '\u001b[2J.json', parse().args), /^\\u001b\[2J\.json: expected an object/);
  const { args } = parse();
  refuses(() => parseDeepSpeed([], 'ds.json', args), /^ds\.json: expected an object, found \[\]$/);
  refuses(() => readDeepSpeed('/no/ds.json', args), /^\/no\/ds\.json: cannot read: no such file or folder$/);
});

// ---- schedules ----

const firstSteps = (schedule: (completed: number) => number, count: number) =>
  Array.from({ length: count }, (_, completed) => Number(schedule(completed).toFixed(4)));

test('linear: 62 steps, 7 of them warm-up', () => {
  const schedule = linearSchedule({ warmupSteps: 7, totalSteps: 62 });
  assert.deepEqual(firstSteps(schedule, 9), [0, 0.1429, 0.2857, 0.4286, 0.5714, 0.7143, 0.8571, 1, 0.9818]);
  assert.equal(Number(schedule(61).toFixed(4)), 0.0182);
  assert.equal(schedule(62), 0);
  assert.equal(schedule(70), 0);
  assert.equal(linearSchedule({ warmupSteps: 0, totalSteps: 10 })(0), 1);
});

test('logarithmic warm-up is DeepSpeed’s: two steps of 0, then the logarithm, 1 twice', () => {
  const schedule = logWarmupSchedule({ warmupSteps: 7, totalSteps: 62 });
  assert.deepEqual(firstSteps(schedule, 9), [0, 0, 0.3562, 0.5646, 0.7124, 0.8271, 0.9208, 1, 1]);
  assert.equal(schedule(9), 54 / 55);
  assert.equal(schedule(61), 2 / 55);
  assert.equal(logWarmupSchedule({ warmupSteps: 7, totalSteps: 62 }, false)(40), 1);
  assert.deepEqual(firstSteps(logWarmupSchedule({ warmupSteps: 0, totalSteps: 4 }), 4), [0, 0, 1, 1]);
});

test('constant and cosine', () => {
  assert.equal(constantSchedule(17), 1);
  assert.deepEqual(firstSteps(constantWithWarmupSchedule({ warmupSteps: 4 }), 6), [0, 0.25, 0.5, 0.75, 1, 1]);
  const cosine = cosineSchedule({ warmupSteps: 2, totalSteps: 10 });
  assert.deepEqual(firstSteps(cosine, 4), [0, 0.5, 1, 0.9619]);
  assert.equal(Number(cosine(6).toFixed(12)), 0.5);
  assert.ok(cosine(10) < 1e-15);
});

test('warm-up steps: the number, else the share rounded up', () => {
  assert.equal(warmupStepsOf({ warmupSteps: 0, warmupRatio: 0.1 }, 62), 7);
  assert.equal(warmupStepsOf({ warmupSteps: 3, warmupRatio: 0.1 }, 62), 3);
  assert.equal(warmupStepsOf({ warmupSteps: 0, warmupRatio: 0 }, 62), 0);
});

test('the learning rate of the mission’s run: linear, or DeepSpeed’s logarithm when asked', () => {
  const run = (command: string) => {
    const { args } = parse(`--learning_rate 1e-5 --warmup_ratio 0.1 ${command}`);
    const { settings } = parseDeepSpeed(stage0, 'ds.json', args);
    const rate = learningRateOf(args, 62, settings);
    return firstSteps((completed) => rate(completed) * 1e5, 4);
  };
  assert.deepEqual(run(''), [0, 0.1429, 0.2857, 0.4286]);
  assert.deepEqual(run('--lr_scheduler_type constant'), [0, 0.1429, 0.2857, 0.4286]); // the file goes first
  assert.deepEqual(run('--flagembedding_compat log-warmup'), [0, 0, 0.3562, 0.5646]);
  const { args } = parse('--learning_rate 2e-5 --lr_scheduler_type cosine');
  assert.equal(learningRateOf(args, 10)(0), 2e-5);
  assert.equal(learningRateOf(args, 10)(5), 1e-5);
  const floor = deepSpeed({
    scheduler: { type: 'WarmupLR', params: { warmup_min_lr: 5e-6, warmup_num_steps: 2 } },
  });
  const rate = learningRateOf(args, 10, floor.settings);
  assert.deepEqual(
    firstSteps((completed) => rate(completed) * 1e6, 4),
    [5, 7.5, 10, 10],
  );
});
