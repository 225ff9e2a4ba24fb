/** Flags of training, and what a launcher sets in the environment. */
import type { RefusedCalls } from './call.js';
import { data, ROW, TRAIN } from './inputs.js';

export const flags: RefusedCalls = {
  finetune: [
    { words: '--learning_rat 1', line: 'unknown flag --learning_rat; the nearest is --learning_rate' },
    {
      words: '-m FlagEmbedding.finetune.embedder.encoder_only.m3',
      line: 'unknown flag -m; which command stands for a module: docs/from-flagembedding.md',
    },
    { words: '--zzzzzzzz 1', line: 'unknown flag --zzzzzzzz; --help lists them' },
    {
      words: `${TRAIN} --learning_rate fast`,
      line: '--learning_rate: expected a number from 0 to 1000, found "fast"',
    },
    {
      words: `${TRAIN} --learning_rate`,
      line: '--learning_rate: expected a number from 0 to 1000, found nothing',
    },
    {
      words: `${TRAIN} --max_gpu_memory 15`,
      line: '--max_gpu_memory: expected a size such as 12GB, found 15 bytes: did you mean 15GiB?',
    },
    {
      words: `${TRAIN} --use_mrl True`,
      line: '--use_mrl: expected False, found True: not implemented for M3',
    },
    { words: `${TRAIN} --fp16 --bf16`, line: '--fp16 and --bf16: expected at most one of them, found both' },
    {
      words: `${TRAIN} --fix_encoder True --unified_finetuning False`,
      line: '--fix_encoder True: expected --unified_finetuning True with it; else nothing is trained',
    },
    {
      words: `${TRAIN} --eval_strategy steps --eval_steps 1`,
      line: '--eval_strategy steps: expected --eval_data with it, found none',
    },
    {
      words: `${TRAIN} --tokenizer_name other`,
      line: '--tokenizer_name: expected that of the model, "MODEL", found "other": another one is not supported',
    },
    {
      words: `${TRAIN} --adapter a --adapters b`,
      line: '--adapter and --adapters: expected at most one of them, found both',
    },
    {
      words: `${TRAIN} --adapters a b`,
      line: '--adapters: expected --nproc_per_node 2 with it, found one rank; --adapter picks the GPU of one',
    },
    {
      words: `${TRAIN} --load_best_model_at_end --metric_for_best_model x --eval_data a.jsonl --eval_strategy epoch`,
      files: data,
      line: '--metric_for_best_model: expected one of loss, dense_ndcg@10, dense_mrr@10, found "x"',
    },
    {
      words: `${TRAIN} --load_best_model_at_end --eval_data a.jsonl --eval_strategy epoch --save_strategy no`,
      files: data,
      line: '--load_best_model_at_end: expected checkpoints, found --save_strategy no',
    },
    {
      words: '--model_name_or_path MODEL --output_dir out',
      line: '--train_data: expected one or more paths, found nothing (the flag is required)',
    },
    {
      words: `${TRAIN} --optim sgd`,
      files: data,
      line: '--optim: expected one of adamw_torch, adamw_torch_fused, adamw_hf, adamw_apex_fused, adamw_torch_xla, adamw_torch_npu_fused, paged_adamw, paged_adamw_32bit, found "sgd": the optimiser is AdamW, with its moments in float32',
    },
    { words: `${TRAIN} --no_normalize_embeddings x`, line: 'unexpected argument "x": expected a flag' },
    {
      words: `${TRAIN} --colbert_dim 7`,
      files: data,
      line: '--colbert_dim: expected 64, as MODEL/colbert_linear.pt has, found 7',
    },
    {
      words: TRAIN,
      files: data,
      env: { RANK: '0', WORLD_SIZE: '2', MASTER_ADDR: 'x' },
      line: 'RANK, WORLD_SIZE and MASTER_ADDR are set, as torchrun sets them for each of "2" processes, which would not know of each other here: start one command with --nproc_per_node, or the ranks with mpirun; for one process on its own unset WORLD_SIZE',
      status: 1,
    },
    {
      words: TRAIN,
      files: data,
      env: { PMIX_RANK: '0' },
      line: 'PMIX_RANK is set, and no variable tells the number of ranks: start with mpirun of Open MPI or srun --mpi=pmix',
      status: 1,
    },
    {
      words: `${TRAIN} --query_instruction_for_retrieval x --query_instruction_format ${'{0}'.repeat(16)}{1}`,
      files: data,
      line: '--query_instruction_format: expected at most 16 slots, found 17',
    },
    {
      words: `${TRAIN.replace('a.jsonl', 'no_in_batch_neg.jsonl')} --per_device_train_batch_size 3 --same_dataset_within_batch True --unified_finetuning True --flagembedding_compat no-in-batch`,
      files: { 'no_in_batch_neg.jsonl': `${ROW}\n`.repeat(3) },
      line: '--flagembedding_compat no-in-batch: FlagEmbedding crashes (IndexError) on 3 queries of group size 2 without in-batch negatives',
    },
    {
      words: `${TRAIN} --adapter zzzz`,
      files: data,
      line: /^--adapter: expected a part of an adapter's name \(upper and lower case count\), found "zzzz"; there are: /,
    },
    {
      words: `${TRAIN} --adapter zzzz --nproc_per_node 2`,
      files: data,
      line: /^--adapter: expected a part of an adapter's name \(upper and lower case count\), found "zzzz"; there are: /,
    },
    {
      words: `${TRAIN} --nproc_per_node 2`,
      files: data,
      env: { DAWNTUNE_ADAPTER: 'zzzz' },
      line: /^DAWNTUNE_ADAPTER: expected a part of an adapter's name \(upper and lower case count\), found "zzzz"; there are: /,
    },
  ],
};
