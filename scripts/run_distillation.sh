#!/bin/sh
# Step 2: teacher scores for mined rows, by the model's own dense, sparse and ColBERT scores together, to OUTPUT/scored. Flags
# of `dawntune score` may follow.
#   MINED       the rows (OUTPUT/mined)            MODE        dense, sparse, colbert or hybrid (hybrid)
#   WEIGHTS     of the three in hybrid (1,0.3,1)   SCALE       what scores are multiplied by (50)
. "$(dirname -- "$0")/settings.sh"

each_file "${MINED:-$OUTPUT/mined}" "$OUTPUT/scored" score --model_name_or_path "$MODEL" --nproc_per_node "$NPROC" \
  --mode "${MODE:-hybrid}" --weights "${WEIGHTS:-1,0.3,1}" --scale "${SCALE:-50}" \
  --query_max_length "$QUERY_MAX_LEN" --passage_max_length "$PASSAGE_MAX_LEN" "$@"
