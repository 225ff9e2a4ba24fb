#!/bin/sh
# Step 1: hard negatives for the rows of TRAIN_DATA, to OUTPUT/mined. Flags of `dawntune mine` may follow.
#   METRIC      ip, l2 or cosine (ip)              RANGE       ranks to take negatives from (2-200)
#   NEGATIVES   of each row (15)                   CANDIDATE_POOL  JSONL of texts to mine in (the rows' own)
. "$(dirname -- "$0")/settings.sh"
[ -n "${TRAIN_DATA:-}" ] || stop 'expected TRAIN_DATA, a file of rows or a folder of such files, found nothing'

each_file "$TRAIN_DATA" "$OUTPUT/mined" mine --model_name_or_path "$MODEL" --nproc_per_node "$NPROC" \
  ${CANDIDATE_POOL:+--candidate_pool "$CANDIDATE_POOL"} \
  --use_row_prompts True --metric "${METRIC:-ip}" --range_for_sampling "${RANGE:-2-200}" --negative_number "${NEGATIVES:-15}" \
  --query_max_length "$QUERY_MAX_LEN" --passage_max_length "$PASSAGE_MAX_LEN" "$@"
