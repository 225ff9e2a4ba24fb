/**
 * What the commands refuse, by command: the words, the files that lie beside them, and the line that is told. The rows are
 * run by error-messages.test.ts in its own process, each in a new folder; `MODEL` is the golden model, `COPY` a copy of it
 * in that folder, into which the files of the row are written.
 */
import fs from 'node:fs';
import { golden } from './repository.js';

/** One call that is refused. */
export interface RefusedCall {
  /** Words after the command, parted by spaces. */
  readonly words: string;
  /** Contents by name, in the folder where the call is made; null makes a folder. */
  readonly files?: Readonly<Record<string, string | Uint8Array | null>>;
  readonly env?: Readonly<Record<string, string>>;
  /** The line without its `dawntune: `: whole, or an expression where this machine has a part in it. */
  readonly line: string | RegExp;
  /** Of the process: 2 where the input is wrong, 1 where the machine cannot. 2 where nothing is said. */
  readonly status?: number;
}

const ROW = '{"query":"a","pos":["b"],"neg":["c"]}';
const rowsOf = (...lines: string[]) => ({ 'a.jsonl': `${lines.join('\n')}\n` });
const data = rowsOf(ROW, ROW);
const TRAIN =
  '--model_name_or_path MODEL --train_data a.jsonl --output_dir out --train_group_size 2 --max_steps 1';
const COPIED = TRAIN.replace('MODEL', 'COPY');
const HUB = TRAIN.replace('MODEL', 'org/name');
const config = (changes: object) =>
  JSON.stringify({ ...JSON.parse(fs.readFileSync(golden('model', 'config.json'), 'utf8')), ...changes });
/** A safetensors file that ends with its header. */
const header = (text: string) => `${String.fromCharCode(text.length)}\0\0\0\0\0\0\0${text}`;
const RECORD = fs.readFileSync(golden('run-record.json'), 'utf8');
const yaml = (text: string) => ({ ...data, 'run.yaml': text });
const SEARCHED = '--model_name_or_path MODEL --eval_data a.jsonl';
const RUN = '--corpus c.jsonl --queries q.jsonl --qrels r.tsv';
const corpus = {
  'c.jsonl': '{"id":"d1","text":"x"}\n',
  'q.jsonl': '{"id":"q1","text":"x"}\n',
  'r.tsv': 'query-id\tcorpus-id\tscore\nq1\td1\t1\n',
};

export const refusedCalls: Readonly<Record<string, readonly RefusedCall[]>> = {
  finetune: [
    // Flags.
    { words: '--learning_rat 1', line: 'unknown flag --learning_rat; the nearest is --learning_rate' },
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
    // The file of --config.
    { words: '--config', line: '--config: expected a path, found nothing' },
    { words: '--config none.yaml', line: '--config: none.yaml: there is no such file' },
    {
      words: '--config folder',
      files: { folder: null },
      line: '--config: folder: expected a file, found a folder',
    },
    {
      words: '--config run.yaml',
      files: yaml('learning_rate: fast'),
      line: 'run.yaml:1: learning_rate: expected a number from 0 to 1000, found "fast"',
    },
    {
      words: '--config run.yaml',
      files: yaml('learning_rat: 1'),
      line: 'run.yaml:1: unknown flag "learning_rat"; the nearest is learning_rate',
    },
    {
      words: '--config run.yaml',
      files: yaml('zzzzzzzz: 1'),
      line: 'run.yaml:1: unknown flag "zzzzzzzz"; --help lists them',
    },
    {
      words: '--config run.yaml',
      files: yaml('seed: 1\nseed: 2'),
      line: 'run.yaml:2: seed: expected one value, found another in line 1',
    },
    {
      words: '--config run.yaml',
      files: yaml('debug: true'),
      line: 'run.yaml:1: debug: expected it on the command line, found it in a file, which cannot have it',
    },
    {
      words: '--config run.yaml',
      files: yaml('- 1'),
      line: 'run.yaml:1: expected lines such as learning_rate: 1e-5, found a list',
    },
    { words: '--config run.yaml', files: yaml('seed: [1'), line: /^run\.yaml:1: expected YAML: / },
    {
      words: '--config run.yaml',
      files: yaml('seed: *a'),
      line: 'run.yaml:1: expected an anchor &a, found none',
    },
    {
      words: '--config run.yaml',
      files: yaml('seed: !!str 1'),
      line: 'run.yaml:1: seed: expected a value without a tag, found "tag:yaml.org,2002:str"',
    },
    {
      words: '--config run.yaml',
      files: yaml('train_data: [true]'),
      line: 'run.yaml:1: train_data: expected texts and numbers in a list, found true',
    },
    {
      words: '--config run.yaml',
      files: yaml('train_data: [[a]]'),
      line: 'run.yaml:1: train_data: expected a list of texts and numbers, found something else in it',
    },
    {
      words: '--config run.yaml',
      files: yaml('[a]: 1'),
      line: 'run.yaml:1: expected the name of a flag before a colon, found something else',
    },
    {
      words: '--config run.yaml',
      files: yaml('<<: 1'),
      line: 'run.yaml:1: <<: merge keys are of YAML 1.1, and are not read',
    },
    {
      words: '--config run.yaml',
      files: yaml('seed: 1\n---\nseed: 2'),
      line: 'run.yaml:2: expected one document, found another after ---',
    },
    {
      words: '--config run.yaml',
      files: yaml('a\0'),
      line: '--config: run.yaml: expected YAML, found bytes that are no text',
    },
    {
      words: '--config run.yaml',
      files: yaml('#'.repeat(300_000)),
      line: '--config: run.yaml: expected settings in at most 256 KiB, found 300000 bytes',
    },
    // Training data.
    { words: TRAIN, line: '--train_data: a.jsonl: expected a file or directory, found nothing' },
    {
      words: TRAIN.replace('a.jsonl', 'folder'),
      files: { folder: null },
      line: '--train_data: folder: expected a directory with .json or .jsonl files, found none',
    },
    {
      words: TRAIN.replace('a.jsonl', 'a.txt'),
      files: { 'a.txt': 'x' },
      line: '--train_data: a.txt: expected a .json or .jsonl file',
    },
    {
      words: TRAIN,
      files: rowsOf(ROW, '{"query": "a", '),
      line: 'a.jsonl:2: expected a JSON object, found broken JSON (expected a name in double quotes, found the end at line 3, character 1)',
    },
    { words: TRAIN, files: rowsOf(ROW, '[1]'), line: 'a.jsonl:2: expected a JSON object, found "[1]"' },
    {
      words: TRAIN,
      files: rowsOf('{"query":"a","neg":["c"]}'),
      line: 'a.jsonl:1: expected "pos" to be a list of at least one text, found nothing',
    },
    {
      words: TRAIN,
      files: rowsOf('{"query":"a","pos":[],"neg":["c"]}'),
      line: 'a.jsonl:1: expected "pos" to be a list of at least one text, found []',
    },
    {
      words: TRAIN,
      files: rowsOf('{"query":1,"pos":["b"],"neg":["c"]}'),
      line: 'a.jsonl:1: expected "query" to be a text, found 1',
    },
    {
      words: TRAIN,
      files: rowsOf('{"query":"a","pos":["b"],"neg":[]}'),
      line: 'a.jsonl:1: expected "neg" to have at least one text for groups of 2, found none: dawntune mine finds some, groups of 1 (--train_group_size) need none',
    },
    { words: TRAIN, files: { 'a.jsonl': '' }, line: 'a.jsonl: expected at least one row, found none' },
    {
      words: `${TRAIN} --knowledge_distillation True`,
      files: data,
      line: 'a.jsonl:1: expected "pos_scores" and "neg_scores" for --knowledge_distillation, found none',
    },
    {
      words: `${TRAIN} --same_dataset_within_batch True --small_threshold 5 --drop_threshold 5`,
      files: data,
      line: '--train_data: expected a dataset of at least --small_threshold 5 rows, found none',
    },
    {
      words: `${TRAIN} --query_instruction_for_retrieval x --query_instruction_format y`,
      files: data,
      line: '--query_instruction_format: expected slots for instruction and text as in "{}{}", found "y"',
    },
    {
      words: `${TRAIN} --query_instruction_for_retrieval x --query_instruction_format {}{}{}`,
      files: data,
      line: '--query_instruction_format: expected slots for instruction and text as in "{}{}", found "{}{}{}"',
    },
    // The model's folder.
    {
      words: TRAIN.replace('MODEL', 'none/at/all'),
      files: data,
      line: '--model_name_or_path: none/at/all: no such folder, and no name of the hub, which would be org/name',
    },
    {
      words: TRAIN.replace('MODEL', 'empty'),
      files: { ...data, empty: null },
      line: '--model_name_or_path: empty: expected a model folder, found no config.json in it',
    },
    {
      words: TRAIN.replace('MODEL', 'a.jsonl'),
      files: data,
      line: '--model_name_or_path: a.jsonl: expected a model folder, found a file; give the folder that it is in',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': '{' },
      line: /^COPY\/config\.json: expected JSON, found /,
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': '[]' },
      line: 'COPY/config.json: expected a JSON object, found []',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': '{"model_type":"gpt2"}' },
      line: 'COPY/config.json: model_type: expected "xlm-roberta", "roberta", "bert", found "gpt2"',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/tokenizer.json': '{}' },
      line: 'COPY/tokenizer.json: model: expected an object, found nothing',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/model.safetensors': 'x' },
      line: 'COPY/model.safetensors: not a safetensors file: expected at least 8 bytes, found 1',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/sparse_linear.pt': 'x' },
      line: 'COPY/sparse_linear.pt: not a PyTorch file: expected a zip or a pickle of torch.save, found bytes 78',
    },
    {
      words: HUB,
      files: data,
      env: { HF_ENDPOINT: 'x' },
      line: 'HF_ENDPOINT: expected the address of a hub, http or https, with no password or query in it, found "x"',
    },
    {
      words: HUB,
      files: data,
      env: { HF_HUB_DOWNLOAD_TIMEOUT: 'x' },
      line: 'HF_HUB_DOWNLOAD_TIMEOUT: expected seconds, above 0 and at most 86400, found "x"',
    },
    {
      words: HUB,
      files: data,
      env: { HF_TOKEN: 'a b' },
      line: 'HF_TOKEN: expected an access token, found characters that no token has (a space, a line end, …)',
    },
    {
      words: HUB,
      files: data,
      env: { HF_HUB_OFFLINE: '1', HF_HOME: 'cache' },
      line: 'org/name: HF_HUB_OFFLINE is set, so that nothing is downloaded, and the cache ./cache/hub has no revision "main" of it; unset HF_HUB_OFFLINE, or give the model\'s folder',
    },
    {
      words: `${HUB} --revision ..`,
      files: data,
      env: { HF_HUB_OFFLINE: '1' },
      line: 'expected a branch, a tag or a commit of the hub, found ".."',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': config({ num_hidden_layers: 9 }) },
      line: 'COPY/config.json: num_hidden_layers: expected at most 2, the layers in COPY/model.safetensors, found 9',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': config({ hidden_size: 32 }) },
      line: 'COPY/model.safetensors: tensor "embeddings.word_embeddings.weight" has shape [4000,64], expected [4000,32], as config.json says',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': config({ vocab_size: 100 }) },
      line: 'COPY: expected the tokenizer\'s ids to be below the 100 rows of the model\'s word embeddings, found 3999 for "<mask>"',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': new Uint8Array([0x22, 0xff, 0x22]) },
      line: 'COPY/config.json: expected JSON, found bytes that are no UTF-8',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': `${'['.repeat(5000)}` },
      line: /^COPY\/config\.json: expected JSON, found /,
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/model.safetensors': header('{}') },
      line: 'COPY/config.json: num_hidden_layers: expected at most 0, the layers in COPY/model.safetensors, found 2',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/model.safetensors': header('{"a"}') },
      line: 'COPY/model.safetensors: not a safetensors file: the header is not JSON: expected ":" at byte 4, found "}"',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/model.safetensors': header('{"__metadata__":1}') },
      line: 'COPY/model.safetensors: __metadata__: expected an object of strings, found "1"',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/model.safetensors': header('{"__metadata__":{"a":1}}') },
      line: 'COPY/model.safetensors: __metadata__: "a": expected a string, found "1"',
    },
    {
      words: COPIED,
      files: {
        ...data,
        'COPY/model.safetensors': header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'),
      },
      line: 'COPY/model.safetensors: tensor "a": truncated: expected data up to byte 4, the file has 0 bytes of data',
    },
    {
      words: TRAIN,
      files: { 'a.jsonl': new Uint8Array([0xff, 0xfe, 0x41, 0]) },
      line: 'a.jsonl: expected JSON objects, found UTF-16 text (as > of Windows PowerShell writes it: save the file as UTF-8)',
    },
    {
      words: TRAIN,
      files: { 'a.jsonl': new Uint8Array([0x22, 0x80, 0x22, 10]) },
      line: 'a.jsonl:1: expected UTF-8 text, found other bytes',
    },
    {
      words: '--config run.yaml',
      files: yaml('['.repeat(6_000)),
      line: 'run.yaml:1: expected settings, found more levels than can be read',
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
      words: `${TRAIN} --colbert_dim 7`,
      files: data,
      line: '--colbert_dim: expected 64, as MODEL/colbert_linear.pt has, found 7',
    },
    {
      words: `${TRAIN} --resume_from_checkpoint a.jsonl`,
      files: data,
      line: '--resume_from_checkpoint: a.jsonl: expected the folder of a checkpoint, found a file',
    },
    {
      words: TRAIN.replace('_dir out', '_dir a.jsonl/b'),
      files: data,
      line: '--output_dir: a.jsonl/b: cannot be written: a part of the path is not a folder',
    },
    {
      words: `${TRAIN} --query_max_len 600`,
      files: rowsOf(JSON.stringify({ query: 'wort '.repeat(900), pos: ['b'], neg: ['c'] })),
      line: 'a query has 600 tokens, the model has positions for 512: lower --query_max_len (row a.jsonl:1)',
    },
    // The output folder.
    {
      words: TRAIN.replace('_dir out', '_dir a.jsonl'),
      files: data,
      line: '--output_dir: a.jsonl: cannot be written: is no folder',
    },
    {
      words: `${TRAIN} --resume_from_checkpoint none`,
      files: data,
      line: '--resume_from_checkpoint: none: expected a checkpoint, found nothing',
    },
    {
      words: `${TRAIN} --deepspeed none.json`,
      files: data,
      line: 'none.json: cannot read: no such file or folder',
    },
    {
      words: `${TRAIN} --deepspeed d.json`,
      files: { ...data, 'd.json': '[]' },
      line: 'd.json: expected an object, found []',
    },
    {
      words: `${TRAIN} --deepspeed d.json`,
      files: { ...data, 'd.json': '{"optimizer":1}' },
      line: 'd.json: optimizer: expected an object, found 1',
    },
    {
      words: `${TRAIN} --deepspeed d.json`,
      files: { ...data, 'd.json': '{"optimizer":{"type":"Lion"}}' },
      line: 'd.json: optimizer.type: expected "AdamW", found "Lion"',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/model.safetensors': header('{"__metadata__":{},"__metadata__":{}}') },
      line: 'COPY/model.safetensors: the header has "__metadata__" twice',
    },
  ],
  encode: [
    {
      words: '--output out.jsonl a.jsonl',
      line: '--model_name_or_path: expected a folder or a hub id, found nothing',
    },
    {
      words: '',
      line: '--output: expected a path, or - for standard output, found nothing (the flag is required)',
    },
    {
      words: '--model_name_or_path MODEL --output out.txt a.jsonl',
      files: data,
      line: '--output: expected a name that ends with .jsonl, .npy, .safetensors, or --format with it, found "out.txt"',
    },
    {
      words: '--model_name_or_path MODEL --output - --format npy a.jsonl',
      files: data,
      line: '--format: expected jsonl on standard output, found npy',
    },
    {
      words: '--model_name_or_path MODEL --output - --resume a.jsonl',
      files: data,
      line: '--resume: expected an --output that is a file, found standard output',
    },
    {
      words: '--model_name_or_path MODEL --output out.jsonl - -',
      line: 'expected standard input (-) once among the files, found it more than once',
    },
    {
      words: '--model_name_or_path MODEL --output out.jsonl none.txt',
      line: 'none.txt: cannot read: no such file or folder',
    },
    {
      words: '--model_name_or_path MODEL --output a.jsonl a.jsonl',
      files: data,
      line: '--output: expected other files than those that are read, found a.jsonl',
    },
    {
      words: '--model_name_or_path none/at/all --output out.jsonl a.jsonl',
      files: data,
      line: '--model_name_or_path: none/at/all: no such folder, and no name of the hub, which would be org/name',
    },
    {
      words: '--model_name_or_path MODEL --output out.jsonl --batch_size 0 a.jsonl',
      files: data,
      line: '--batch_size: expected a positive integer of at most 1000000000, found "0"',
    },
    {
      words: '--model_name_or_path MODEL --output out.jsonl --truncate_dim 9999 a.jsonl',
      files: data,
      line: '--truncate_dim: expected at most 64, the width of the model’s vectors, found 9999',
    },
    {
      words: '--model_name_or_path MODEL --output out.jsonl a.jsonl',
      files: data,
      line: 'a.jsonl:1: expected "text" to be a text, found nothing',
    },
    {
      words: '--model_name_or_path MODEL --output out.jsonl a.txt',
      files: { 'a.txt': new Uint8Array([0x80, 10]) },
      line: 'a.txt:1: expected UTF-8 text, found other bytes',
    },
    {
      words: '--model_name_or_path MODEL --output out.jsonl --resume a.jsonl',
      files: { ...data, '.out.jsonl.dawntune-progress': '{}' },
      line: '.out.jsonl.dawntune-progress: expected the progress of a run, found something else',
    },
    {
      words: '--model_name_or_path MODEL --output out.jsonl --resume a.jsonl --field query',
      files: { ...data, '.out.jsonl.dawntune-progress': '{"state":{},"bytes":{}}' },
      line: '--resume: expected the progress of a run, found something else; rerun without it',
    },
    {
      words: '--model_name_or_path MODEL --output out.jsonl --resume a.jsonl --field query',
      files: { ...data, '.out.jsonl.dawntune-progress': '{"state":{"texts":1,"checksum":1},"bytes":{}}' },
      line: /^--resume: expected the model of the earlier run, nothing, found /,
    },
  ],
  evaluate: [
    {
      words: '',
      line: 'evaluate: expected one of --dataset_dir, --eval_data, and --corpus, --queries and --qrels, found none',
    },
    {
      words: '--eval_data a.jsonl',
      line: '--model_name_or_path: expected a folder or a hub id (or --run), found nothing',
    },
    {
      words: '--eval_data a.jsonl --dataset_dir d --model_name_or_path MODEL',
      line: 'evaluate: expected one of --dataset_dir, --eval_data, and --corpus, --queries and --qrels, found --dataset_dir and --eval_data',
    },
    {
      words: `${SEARCHED} --dataset_names x`,
      line: '--dataset_names: expected --dataset_dir with it, found none',
    },
    {
      words: `${SEARCHED} --tune_weights x`,
      line: '--tune_weights: expected hybrid among --modes, found none',
    },
    {
      words: `${SEARCHED} --reranker_name_or_path x`,
      files: data,
      line: '--reranker_name_or_path: x: no such folder, and no name of the hub, which would be org/name',
    },
    {
      words: `${SEARCHED} --reranker_model_class decoder-only-base`,
      line: '--reranker_model_class: expected encoder-only-base, found decoder-only-base: rerankers that are decoders are not read here',
    },
    {
      words: `${SEARCHED} --run x`,
      line: '--run: expected no --model_name_or_path beside it (--compare takes a second one)',
    },
    { words: `${SEARCHED}`, line: '--eval_data: a.jsonl: expected a file or directory, found nothing' },
    {
      words: '--qrels r.tsv --model_name_or_path MODEL',
      line: '--corpus: expected a path beside --qrels, found nothing',
    },
    {
      words: '--corpus c.jsonl --eval_data a.jsonl --model_name_or_path MODEL',
      line: '--corpus: expected --qrels with it, found none',
    },
    {
      words: '--qrels none.tsv --run run.txt',
      files: { 'run.txt': 'q1 Q0 d1 1 0.5 x\n' },
      line: 'none.tsv: cannot read: no such file or folder',
    },
    {
      words: '--qrels r.tsv --run none.txt',
      files: corpus,
      line: 'none.txt: cannot read: no such file or folder',
    },
    {
      words: '--qrels r.tsv --run run.txt',
      files: { ...corpus, 'run.txt': 'q1 d1\n' },
      line: 'run.txt:1: expected query Q0 document rank score tag, found 2 columns',
    },
    {
      words: '--qrels r.tsv --run run.txt',
      files: { ...corpus, 'run.txt': 'q1 Q0 d1 1 much x\n' },
      line: 'run.txt:1: expected a number as score, found "much"',
    },
    {
      words: '--qrels r.tsv --run run.txt',
      files: { ...corpus, 'run.txt': 'q1 Q0 d1 1 1 x\nq1 Q0 d1 2 0.5 x\n' },
      line: 'run.txt:2: expected each document of query "q1" once, found "d1" again',
    },
    {
      words: '--qrels r.tsv --run run.txt',
      files: { 'r.tsv': 'q1\td1\tmuch\nq1\td1\tmuch\n', 'run.txt': 'q1 Q0 d1 1 1 x\n' },
      line: 'r.tsv:2: expected a whole number as relevance, found "much"',
    },
    {
      words: '--qrels r.tsv --run run.txt',
      files: { 'r.tsv': '', 'run.txt': 'q1 Q0 d1 1 1 x\n' },
      line: 'r.tsv: expected judgements, found none',
    },
    {
      words: `${RUN} --model_name_or_path MODEL`,
      files: { ...corpus, 'c.jsonl': '{"text":"x"}\n' },
      line: 'c.jsonl:1: expected "id" or "_id" to be an id (a text or a whole number), found nothing',
    },
    {
      words: `${RUN} --model_name_or_path MODEL`,
      files: { ...corpus, 'c.jsonl': '' },
      line: 'c.jsonl: expected documents, found none',
    },
    {
      words: `${RUN} --model_name_or_path MODEL`,
      files: { ...corpus, 'q.jsonl': '{"id":"q2","text":"x"}\n' },
      line: 'r.tsv: expected judgements of queries in q.jsonl, found none: it judges 1 others, such as "q1"',
    },
    {
      words: '--qrels r.tsv --run run.txt',
      files: { ...corpus, 'run.txt': '' },
      line: 'run.txt: expected lines of a TREC run, found none',
    },
    {
      words: '--qrels r.tsv --run run.txt',
      files: { ...corpus, 'run.txt': 'q9 Q0 d1 1 1 x\n' },
      line: '--run: expected a run that answers judged queries, found none of 1 in run.txt',
    },
    {
      words: '--qrels r.tsv --run run.txt',
      files: { 'r.tsv': 'q1\td1\t1\nq1\td1\t2\n', 'run.txt': 'q1 Q0 d1 1 1 x\n' },
      line: 'r.tsv:2: expected one relevance of document "d1" to query "q1", found 2 after 1',
    },
    {
      words: '--qrels r.tsv --run run.txt',
      files: { 'r.tsv': 'q1\td1\n', 'run.txt': 'q1 Q0 d1 1 1 x\n' },
      line: 'r.tsv:1: expected the columns query, iteration, document and relevance (TREC), or query, document and relevance (BEIR), found 2',
    },
    {
      words: '--qrels r.tsv --run run.txt',
      files: { 'r.tsv': 'h\th\th\nq1\t\t1\n', 'run.txt': 'q1 Q0 d1 1 1 x\n' },
      line: 'r.tsv:2: expected ids of query and document, found "q1\\t\\t1"',
    },
    {
      words: '--qrels r.jsonl --run run.txt',
      files: { 'r.jsonl': '{"qid":"q1","docid":"d1","relevance":"x"}\n', 'run.txt': 'q1 Q0 d1 1 1 x\n' },
      line: 'r.jsonl:1: expected "relevance" to be a whole number, found "x"',
    },
    {
      words: `${RUN} --model_name_or_path MODEL`,
      files: { ...corpus, 'c.jsonl': '{"id":"d1","text":1}\n' },
      line: 'c.jsonl:1: expected "text" to be a text, found 1',
    },
    {
      words: `${RUN} --model_name_or_path MODEL`,
      files: { ...corpus, 'c.jsonl': '{"id":"d1","text":"x"}\n{"id":"d1","text":"x"}\n' },
      line: 'c.jsonl:2: expected each id once, found "d1" again after line 1',
    },
    {
      words: `${RUN} --model_name_or_path MODEL`,
      files: { ...corpus, 'q.jsonl': '' },
      line: 'q.jsonl: expected queries, found none',
    },
    {
      words: `${RUN} --model_name_or_path MODEL --group_by language`,
      files: corpus,
      line: '--group_by: expected a field of queries in q.jsonl, found no query with "language"',
    },
    {
      words: '--corpus c.tsv --queries q.jsonl --qrels r.tsv --model_name_or_path MODEL',
      files: { ...corpus, 'c.tsv': 'd1\n' },
      line: 'c.tsv:1: expected id, tab, text (or id, title and text), found no tab',
    },
    {
      words: '--corpus c.jsonl --queries q.tsv --qrels r.tsv --model_name_or_path MODEL',
      files: { ...corpus, 'q.tsv': 'q1\n' },
      line: 'q.tsv:1: expected id, tab, query, found "q1"',
    },
    {
      words: '--dataset_dir d --model_name_or_path MODEL',
      files: { 'd/corpus.jsonl': corpus['c.jsonl'] },
      line: 'd: expected test_queries.jsonl and test_qrels.jsonl, or queries.jsonl and qrels/test.tsv, found neither pair',
    },
    {
      words: '--eval_data a.jsonl --model_name_or_path MODEL',
      files: { 'a.jsonl': '' },
      line: '--eval_data: expected rows, found none',
    },
    {
      words: '--dataset_dir none --model_name_or_path MODEL',
      line: 'none: expected corpus.jsonl with queries and judgements beside it (FlagEmbedding’s or BEIR’s layout), found no corpus.jsonl',
    },
    {
      words: '--dataset_dir d --model_name_or_path MODEL',
      files: { d: null },
      line: 'd: expected corpus.jsonl with queries and judgements beside it (FlagEmbedding’s or BEIR’s layout), found no corpus.jsonl',
    },
  ],
  mine: [
    { words: '', line: '--input_file: expected a path, found nothing (the flag is required)' },
    {
      words: '--model_name_or_path MODEL --input_file a.jsonl',
      line: '--output_file: expected a path, found nothing (the flag is required)',
    },
    {
      words: '--input_file a.jsonl --output_file b.jsonl',
      line: '--model_name_or_path: expected a folder or a hub id, found nothing (the flag is required)',
    },
    {
      words:
        '--model_name_or_path MODEL --input_file a.jsonl --output_file b.jsonl --mode sparse --metric l2',
      line: '--metric: expected ip with --mode sparse, found "l2": only dense vectors have another',
    },
    {
      words:
        '--model_name_or_path MODEL --input_file a.jsonl --output_file b.jsonl --mode sparse --index usearch',
      line: '--index: expected exact with --mode sparse, found "usearch"',
    },
    {
      words:
        '--model_name_or_path MODEL --input_file a.jsonl --output_file b.jsonl --mode colbert --fill random --write_scores',
      line: '--fill: expected none with --write_scores and --mode colbert, found random: what is drawn has no such score',
    },
    {
      words: '--model_name_or_path MODEL --input_file a.jsonl --output_file b.jsonl --range_for_sampling 9',
      line: '--range_for_sampling: expected a range of ranks such as 10-210, found "9"',
    },
    {
      words: '--model_name_or_path MODEL --input_file none.jsonl --output_file b.jsonl',
      line: '--input_file: none.jsonl: expected a file, found nothing',
    },
    {
      words: '--model_name_or_path MODEL --input_file a.jsonl --output_file b.jsonl --candidate_pool b.jsonl',
      files: { ...data, 'b.jsonl': '{"text":"x"}\n' },
      line: '--output_file: expected another file than --candidate_pool, found the same',
    },
    {
      words: '--model_name_or_path MODEL --input_file a.jsonl --output_file b.jsonl',
      files: { 'a.jsonl': '' },
      line: 'a.jsonl: expected at least one row, found none',
    },
    {
      words: '--model_name_or_path MODEL --input_file a.jsonl --output_file b.jsonl --candidate_pool p.jsonl',
      files: { ...data, 'p.jsonl': '{"text":1}\n' },
      line: 'p.jsonl:1: expected "text" to be a text, found 1',
    },
    {
      words: '--model_name_or_path MODEL --input_file a.jsonl --output_file b.jsonl --candidate_pool p.jsonl',
      files: { ...data, 'p.jsonl': '' },
      line: 'p.jsonl: expected at least one text to mine in, found none',
    },
  ],
  score: [
    { words: '', line: '--input_file: expected a path, found nothing' },
    { words: 'a.jsonl', line: '--output_file: expected a path, found nothing' },
    {
      words: 'a.jsonl b.jsonl c.jsonl --model_name_or_path MODEL',
      line: 'expected one file to read and one to write, found "c.jsonl" too',
    },
    {
      words: '--input_file a.jsonl --output_file b.jsonl',
      line: '--model_name_or_path and --reranker_name_or_path: expected one of them, found neither',
    },
    {
      words:
        '--input_file a.jsonl --output_file b.jsonl --model_name_or_path MODEL --reranker_name_or_path MODEL',
      line: '--model_name_or_path and --reranker_name_or_path: expected one of them, found both',
    },
    {
      words: '--input_file none.jsonl --output_file b.jsonl --model_name_or_path MODEL',
      line: 'none.jsonl: cannot read: no such file or folder',
    },
    {
      words: '--input_file a.jsonl --output_file b.jsonl --reranker_name_or_path MODEL',
      files: data,
      line: 'MODEL/model.safetensors: expected a reranker, an encoder with a classifier of one label, found no "classifier.dense.weight", "classifier.dense.bias", "classifier.out_proj.weight" and 1 more (config.json has the architecture "XLMRobertaModel")',
    },
  ],
  split: [
    { words: '', line: '--input_path: expected a path, found nothing (the flag is required)' },
    {
      words: '--input_path a.jsonl --output_dir out --log_name a/b',
      line: '--log_name: expected a file name without a folder, found "a/b"',
    },
    {
      words: '--input_path a.jsonl --output_dir out --length_list 0 500 500',
      line: '--length_list: expected different lengths, found 500 more than once',
    },
    {
      words: '--input_path none --output_dir out --model_name_or_path MODEL',
      line: '--input_path: none: expected a file or directory, found nothing',
    },
    {
      words: '--input_path a.jsonl --output_dir out --model_name_or_path MODEL',
      files: rowsOf('{'),
      line: 'a.jsonl:1: expected a JSON object, found broken JSON (expected a name in double quotes, found the end at line 2, character 1)',
    },
    {
      words: '--input_path a.jsonl --output_dir out --model_name_or_path MODEL',
      files: rowsOf(''),
      line: 'a.jsonl: expected at least one row, found none',
    },
    {
      words: '--input_path a.jsonl b/a.jsonl --output_dir out --model_name_or_path MODEL',
      files: { ...data, 'b/a.jsonl': ROW },
      line: 'unexpected argument "b/a.jsonl": expected a flag',
    },
    {
      words: '--input_path d --output_dir out --model_name_or_path MODEL',
      files: { 'd/a.json': ROW, 'd/a.jsonl': ROW },
      line: '--input_path: expected files whose parts have different names, found d/a.json and d/a.jsonl: both have out/a_len-0-500.jsonl',
    },
    {
      words: '--input_path a.jsonl --output_dir out --model_name_or_path MODEL --log_name a_len-0-500.jsonl',
      files: data,
      line: '--log_name: expected another name than those of the parts, found a_len-0-500.jsonl',
    },
  ],
  report: [
    { words: '', line: 'report: expected the output folder of a run, or of several, found none' },
    {
      words: 'a b c d e f g h i j k l',
      line: 'report: expected at most 9 folders, as many as there are colours, found 12',
    },
    { words: 'none', line: 'none: expected the output folder of a run, found no run_record.json in it' },
    {
      words: 'empty',
      files: { empty: null },
      line: 'empty: expected the output folder of a run, found no run_record.json in it',
    },
    {
      words: 'd --output a.html',
      files: { 'd/run_record.json': RECORD, 'a.html': 'x' },
      line: '--output: a.html: is there already and is no report: move it away, or give --output another name',
    },
    {
      words: 'd d',
      files: { d: null },
      line: 'report: expected different folders, found d and d, which are the same',
    },
    { words: 'd', files: { 'd/run_record.json': '{' }, line: /^d\/run_record\.json: expected JSON, found / },
    {
      words: 'd',
      files: { 'd/run_record.json': '{}' },
      line: 'd/run_record.json: expected "format" to be 1, found none',
    },
    {
      words: 'd --output a.html/b',
      files: { 'd/run_record.json': RECORD, 'a.html': 'x' },
      line: '--output: a.html/b: cannot write: a part of the path is not a folder',
    },
  ],
  serve: [
    { words: '', line: '--model_name_or_path: expected a folder or a hub id, found nothing' },
    { words: 'a b', line: 'expected one model, found "b" too' },
    {
      words: 'a --model_name_or_path b',
      line: '--model_name_or_path: expected the model once, found it as a word without a flag too',
    },
    {
      words: 'a --queue_tokens 5',
      line: '--queue_tokens: expected at least the 8192 of --batch_tokens, found 5',
    },
    { words: 'a --port 99999', line: '--port: expected an integer from 0 to 65535, found "99999"' },
    {
      words: 'none/at/all',
      line: '--model_name_or_path: none/at/all: no such folder, and no name of the hub, which would be org/name',
    },
    {
      words: 'a',
      env: { DAWNTUNE_API_KEY: 'a b' },
      line: 'DAWNTUNE_API_KEY: expected a key of visible ASCII characters, found something else',
    },
  ],
  demo: [
    {
      words: '--pooling_method cls',
      line: '--pooling_method: expected --model beside it; random weights are pooled by mean',
    },
    {
      words: '--model none/at/all',
      line: '--model: none/at/all: no such folder, and no name of the hub, which would be org/name',
    },
    {
      words: '--output_dir a.jsonl',
      files: data,
      line: '--output_dir: a.jsonl: cannot be written: is no folder',
    },
    { words: 'word', line: 'unexpected argument "word": expected a flag' },
  ],
  parity: [
    { words: '', line: 'parity: expected one folder of goldens, found 0' },
    { words: 'a b', line: 'parity: expected one folder of goldens, found 2' },
    { words: 'none', line: 'none: expected a folder of goldens, found no settings.json in it' },
    {
      words: 'd',
      files: { 'd/settings.json': '{}' },
      line: 'd/settings.json: pooling: expected a text, found nothing',
    },
  ],
  completion: [
    { words: '', line: 'completion: expected one of bash, zsh, fish, found nothing' },
    { words: 'tcsh', line: 'completion: expected one of bash, zsh, fish, found "tcsh"' },
  ],
  doctor: [{ words: '--zzzzzzzz', line: 'unknown flag --zzzzzzzz; --help lists them' }],
};
