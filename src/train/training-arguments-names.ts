/**
 * The names of Hugging Face `TrainingArguments` that change nothing here, each with why ('' where it goes without
 * saying). Together with the flags of arguments.ts that have a meaning they cover every field of transformers
 * 4.57.6, so a script written for FlagEmbedding runs unchanged and is told what it loses.
 */

const because = (reason: string, names: string): Record<string, string> =>
  Object.fromEntries(
    names
      .trim()
      .split(/\s+/)
      .map((name) => [name, reason]),
  );

/** Names of transformers 4.57.6. */
export const inertTrainingArguments: Readonly<Record<string, string>> = {
  ...because('this command trains and nothing else', 'do_train do_eval do_predict'),
  ...because(
    'validation is asked for with --eval_data',
    `eval_strategy eval_steps eval_delay eval_on_start eval_accumulation_steps eval_do_concat_batches
     eval_use_gather_object per_device_eval_batch_size prediction_loss_only batch_eval_metrics
     include_for_metrics include_inputs_for_metrics bf16_full_eval fp16_full_eval jit_mode_eval
     use_legacy_prediction_loop load_best_model_at_end metric_for_best_model greater_is_better`,
  ),
  ...because('use --per_device_train_batch_size', 'per_gpu_train_batch_size per_gpu_eval_batch_size'),
  ...because('the optimiser is AdamW', 'optim optim_args optim_target_modules adafactor'),
  ...because('the schedules here have no further settings', 'lr_scheduler_kwargs'),
  ...because(
    'the log goes to the terminal and the trainer state',
    `report_to run_name project trackio_space_id logging_dir logging_strategy logging_first_step
     logging_nan_inf_filter log_level log_level_replica log_on_each_node include_tokens_per_second
     include_num_input_tokens_seen ray_scope`,
  ),
  ...because(
    'a checkpoint is always whole, in safetensors',
    `save_safetensors save_only_model save_on_each_node restore_callback_states_from_checkpoint
     ignore_data_skip`,
  ),
  ...because(
    'the adapter is chosen with --adapter',
    `no_cuda use_cpu use_mps_device local_rank tpu_num_cores tpu_metrics_debug mp_parameters`,
  ),
  ...because(
    'it belongs to PyTorch',
    `tf32 fp16_opt_level fp16_backend half_precision_backend torchdynamo torch_compile torch_compile_backend
     torch_compile_mode torch_empty_cache_steps skip_memory_metrics use_liger_kernel liger_kernel_config
     gradient_checkpointing_kwargs full_determinism`,
  ),
  ...because(
    'every rank holds the whole model and gradients are exchanged by dawntune',
    `ddp_backend ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_timeout fsdp
     fsdp_min_num_params fsdp_config fsdp_transformer_layer_cls_to_wrap accelerator_config
     parallelism_config average_tokens_across_devices`,
  ),
  ...because(
    'rows are read and batched by dawntune',
    `dataloader_num_workers dataloader_prefetch_factor dataloader_pin_memory
     dataloader_persistent_workers remove_unused_columns label_names group_by_length
     length_column_name auto_find_batch_size`,
  ),
  ...because(
    'nothing is uploaded',
    `push_to_hub push_to_hub_model_id push_to_hub_organization push_to_hub_token hub_model_id hub_strategy
     hub_token hub_private_repo hub_always_push hub_revision`,
  ),
  ...because('not part of M3 training', 'label_smoothing_factor neftune_noise_alpha past_index'),
};

/** Names that transformers dropped between 4.44, the oldest FlagEmbedding allows, and 4.57. */
export const olderTrainingArguments: Readonly<Record<string, string>> = {
  ...because('validation is asked for with --eval_data', 'evaluation_strategy'),
  ...because('rows are read and batched by dawntune', 'dispatch_batches split_batches'),
  ...because('it belongs to PyTorch', 'use_ipex sharded_ddp'),
};
