/**
 * The names of Hugging Face `TrainingArguments` that have no meaning of their own here, each with the values that say
 * what happens here anyway and with what is to be said of others. Those that would change what is learnt are refused,
 * the rest is passed over with a line. Together with the flags of arguments.ts that have a meaning they cover every
 * field of transformers 4.57.6, so a script written for FlagEmbedding runs unchanged or is told what it would lose.
 */
import type { ForeignFlag } from '../flags.js';

/** `names`: each as `name=value|value`, the values being those that pass without a word; `None` always does. */
function flags(reason: string, names: string, refused: boolean): Record<string, ForeignFlag> {
  return Object.fromEntries(
    names
      .trim()
      .split(/\s+/)
      .map((word) => {
        const [name, holds] = word.split('=');
        return [name!, { reason, refused, holds: holds === undefined ? [] : holds.split('|') }];
      }),
  );
}

const because = (reason: string, names: string) => flags(reason, names, false);
const refusedBecause = (reason: string, names: string) => flags(reason, names, true);

const OWN_RANKS = 'ranks exchange in memory or by MPI, without PyTorch’s process groups';
const READING = 'rows are read and batched by dawntune';

/** Names of transformers 4.57.6. */
export const foreignTrainingArguments: Readonly<Record<string, ForeignFlag>> = {
  // ---- what would change the weights ----
  ...refusedBecause(
    'the optimiser is AdamW, with its moments in float32',
    `optim=adamw_torch|adamw_torch_fused|adamw_hf|adamw_apex_fused|adamw_torch_xla|adamw_torch_npu_fused|paged_adamw|paged_adamw_32bit
     adafactor=False`,
  ),
  ...refusedBecause('the schedules here have no further settings', 'lr_scheduler_kwargs={}'),
  ...refusedBecause('labels are not smoothed', 'label_smoothing_factor=0'),
  ...refusedBecause('no noise is added to embeddings', 'neftune_noise_alpha=0'),
  ...refusedBecause('batches are drawn at random whatever the lengths', 'group_by_length=False'),
  ...refusedBecause('a rank learns its number from --nproc_per_node or from MPI', 'local_rank=-1|0'),

  // ---- what would not ----
  ...because('this command trains and nothing else', 'do_train=True do_eval=False do_predict=False'),
  ...because('evaluation is not delayed', 'eval_delay=0'),
  ...because(
    'evaluation has batches of --per_device_train_batch_size',
    'per_device_eval_batch_size per_gpu_eval_batch_size',
  ),
  ...because(
    'evaluation gives losses and rank metrics and nothing else',
    `eval_accumulation_steps eval_do_concat_batches=True eval_use_gather_object=False
     batch_eval_metrics=False include_for_metrics=[]
     include_inputs_for_metrics=False jit_mode_eval=False use_legacy_prediction_loop=False`,
  ),
  ...because('evaluation computes in the precision of training', 'bf16_full_eval=False fp16_full_eval=False'),
  ...because('AdamW has no further arguments', 'optim_args optim_target_modules'),
  ...because(
    'the log goes to standard output, into trainer_state.json and to TensorBoard',
    'run_name project=huggingface trackio_space_id=trackio',
  ),
  ...because(
    'the log has a line every --logging_steps steps and at the last step',
    'logging_strategy=steps logging_first_step=False',
  ),
  ...because(
    'a loss that is not finite is left out of the log where its step is skipped, and else ends the run',
    'logging_nan_inf_filter=True',
  ),
  ...because(
    'messages have one level',
    'log_level=passive log_level_replica=warning|passive log_on_each_node=True|False',
  ),
  ...because(
    'tokens are not counted in the log',
    'include_tokens_per_second=False|no include_num_input_tokens_seen=False|no',
  ),
  ...because('there is no search for hyperparameters', 'ray_scope=last'),
  ...because('weights are saved as safetensors', 'save_safetensors=True'),
  ...because('there are no callbacks', 'restore_callback_states_from_checkpoint=False'),
  ...because('a run that goes on does so at the batch where it stopped', 'ignore_data_skip=False'),
  ...because(
    'the GPU or CPU adapter is chosen with --adapter',
    'no_cuda=False use_cpu=False use_mps_device=False',
  ),
  ...because('it belongs to TPUs', 'tpu_num_cores tpu_metrics_debug=False'),
  ...because('it belongs to SageMaker', 'mp_parameters='),
  ...because('what is computed in float32 is computed in float32 throughout', 'tf32=False'),
  ...because('the same seed gives the same model on the same adapter anyway', 'full_determinism=True|False'),
  ...because(
    'it belongs to PyTorch',
    `fp16_opt_level=O1 fp16_backend=auto half_precision_backend=auto torchdynamo torch_compile=False
     torch_compile_backend torch_compile_mode torch_empty_cache_steps skip_memory_metrics=True
     use_liger_kernel=False liger_kernel_config gradient_checkpointing_kwargs`,
  ),
  ...because(
    OWN_RANKS,
    `ddp_backend ddp_find_unused_parameters=False ddp_bucket_cap_mb ddp_broadcast_buffers=False
     fsdp=|False fsdp_min_num_params=0 fsdp_config fsdp_transformer_layer_cls_to_wrap accelerator_config={}
     parallelism_config average_tokens_across_devices=True|False save_on_each_node=True|False`,
  ),
  ...because(
    READING,
    `dataloader_prefetch_factor dataloader_pin_memory=True
     dataloader_persistent_workers=False remove_unused_columns=True label_names=[] length_column_name=length`,
  ),
  ...because(
    'a batch for which the memory does not suffice is refused before the first step',
    'auto_find_batch_size=False',
  ),
  ...because(
    'nothing is uploaded',
    `push_to_hub=False push_to_hub_model_id push_to_hub_organization push_to_hub_token hub_model_id
     hub_strategy=every_save hub_token hub_private_repo=False hub_always_push=False hub_revision`,
  ),
  ...because('the models keep no past states', 'past_index=-1'),
};

/** Names that transformers dropped between 4.44, the oldest FlagEmbedding allows, and 4.57. */
export const olderTrainingArguments: Readonly<Record<string, ForeignFlag>> = {
  ...because(OWN_RANKS, 'dispatch_batches=False split_batches=False sharded_ddp=|False'),
  ...because('it belongs to PyTorch', 'use_ipex=False'),
};

/** Names of flags that are there, which transformers dropped. */
export const olderTrainingArgumentAliases: Readonly<Record<string, string>> = {
  evaluation_strategy: 'eval_strategy',
};

/** Deprecated names of flags that are there. */
export const trainingArgumentAliases: Readonly<Record<string, string>> = {
  per_gpu_train_batch_size: 'per_device_train_batch_size',
};

/** What the commands that encode call a flag of training. */
export const embedderNames: Readonly<Record<string, string>> = {
  pooling_method: 'sentence_pooling_method',
};

/** What people who know other programs call flags, where the nearest name by its letters would be another one. */
export const habits: Readonly<Record<string, string>> = {
  ...{ batch_size: 'per_device_train_batch_size', batch: 'per_device_train_batch_size' },
  ...{
    device: 'adapter',
    gpu: 'adapter',
    cuda: 'adapter',
    gpus: 'nproc_per_node',
    num_gpus: 'nproc_per_node',
  },
  ...{ n_gpu: 'nproc_per_node', ngpu: 'nproc_per_node', world_size: 'nproc_per_node' },
  ...{ max_length: 'passage_max_len', max_len: 'passage_max_len', max_seq_length: 'passage_max_len' },
  ...{ max_seq_len: 'passage_max_len', doc_max_len: 'passage_max_len' },
  ...{ data: 'train_data', dataset: 'train_data', dataset_name: 'train_data', train_file: 'train_data' },
  ...{ data_path: 'train_data', input: 'train_data', validation_file: 'eval_data', dev_data: 'eval_data' },
  ...{ num_negatives: 'train_group_size', negatives: 'train_group_size', group_size: 'train_group_size' },
  ...{ negative_number: 'train_group_size', workers: 'dataloader_num_workers' },
  ...{ num_workers: 'dataloader_num_workers', resume: 'resume_from_checkpoint', memory: 'max_gpu_memory' },
  ...{ amp: 'fp16', half: 'fp16', mixed_precision: 'fp16', output: 'output_dir', save_dir: 'output_dir' },
  ...{ grad_clip: 'max_grad_norm', pooling: 'sentence_pooling_method', val_data: 'eval_data' },
};
