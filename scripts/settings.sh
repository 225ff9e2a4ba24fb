# What the three steps have in common; each sources this file. Settings come from the environment:
#   MODEL       folder or hub id of the model      TRAIN_DATA  file of rows, or folder of such files
#   OUTPUT      folder of the results (output)     NPROC       ranks, one a GPU (1)
#   QUERY_MAX_LEN, PASSAGE_MAX_LEN  in tokens (512)
# Without MODEL and TRAIN_DATA the tiny model and the example rows of the clone are used; the package has neither.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
dawntune() { node "$root/dist/src/cli/main.js" "$@"; }
stop() { echo "$0: $1" >&2; exit 2; }

[ -f "$root/dist/src/cli/main.js" ] || stop 'dawntune is not built yet: npm ci builds it'
if [ -d "$root/test/golden/model" ]; then
  : "${MODEL:=$root/test/golden/model}" "${TRAIN_DATA:=$root/test/golden/example_data/retrieval}"
fi
[ -n "${MODEL:-}" ] || stop 'expected MODEL, a folder or a hub id such as BAAI/bge-m3, found nothing'
: "${OUTPUT:=output}" "${NPROC:=1}" "${QUERY_MAX_LEN:=512}" "${PASSAGE_MAX_LEN:=512}"

# Runs a command, then its other words and --input_file and --output_file, on each file of rows of $1 (a file or a
# folder), to a file of the same name in the folder $2.
each_file() {
  from=$1 to=$2 found=
  shift 2
  for file in "$from" "$from"/*.json "$from"/*.jsonl; do
    [ -f "$file" ] || continue
    found=yes
    mkdir -p -- "$to"
    dawntune "$@" --input_file "$file" --output_file "$to/$(basename -- "$file")"
  done
  [ "$found" ] || stop "expected a file of rows or a folder of such files, found none at $from"
}
