#!/bin/sh
# Step 3: fine-tuning on scored rows, which teach all three modes, to OUTPUT/model. Flags of `dawntune finetune` may follow.
#   SCORED      the rows (OUTPUT/scored)           MORE_DATA   other paths of rows, parted by spaces (none)
#   BATCH, GROUP   queries of a batch, texts of a query (2, 8)    EPOCHS, LEARNING_RATE   (2, 1e-5)
. "$(dirname -- "$0")/settings.sh"

# shellcheck disable=SC2086 # MORE_DATA may be several words
dawntune finetune --nproc_per_node "$NPROC" --model_name_or_path "$MODEL" \
  --train_data "${SCORED:-$OUTPUT/scored}" ${MORE_DATA:-} --output_dir "$OUTPUT/model" --overwrite_output_dir \
  --train_group_size "${GROUP:-8}" --query_max_len "$QUERY_MAX_LEN" --passage_max_len "$PASSAGE_MAX_LEN" \
  --pad_to_multiple_of 8 --knowledge_distillation True --same_dataset_within_batch True \
  --small_threshold 0 --drop_threshold 0 --learning_rate "${LEARNING_RATE:-1e-5}" --fp16 \
  --num_train_epochs "${EPOCHS:-2}" --per_device_train_batch_size "${BATCH:-2}" --dataloader_drop_last True \
  --warmup_ratio 0.1 --gradient_checkpointing --logging_steps 1 --save_steps 1000 --negatives_cross_device \
  --temperature 0.02 --sentence_pooling_method cls --normalize_embeddings True --kd_loss_type m3_kd_loss \
  --unified_finetuning True --use_self_distill True --fix_encoder False --self_distill_start_step 0 "$@"
