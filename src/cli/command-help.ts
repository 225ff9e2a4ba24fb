/**
 * What the short help of a command shows beside its table of flags: two or three calls that people make, and which flags
 * most calls need. A test parses every example.
 */
import type { Example, ShortHelp } from '../flag-help.js';

const MODEL = '--model_name_or_path output/mine';

/** The headings of `dawntune --help`, each with its commands. */
const groups: Readonly<Record<string, readonly string[]>> = {
  'Train a model': ['finetune', 'mine', 'score', 'split'],
  'Use and judge it': ['encode', 'evaluate', 'serve', 'report'],
  'See it work': ['demo', 'pipeline'],
  'This machine': ['doctor', 'setup', 'bench', 'parity', 'completion'],
};

/** The heading under which a command stands. */
export const groupOf = (name: string): string =>
  Object.keys(groups).find((title) => groups[title]!.includes(name)) ?? 'More';

/** Where one begins. */
export const firstCalls: readonly Example[] = [
  { purpose: 'does this machine compute?', command: 'dawntune doctor' },
  { purpose: 'train a small model and see what it learnt', command: 'dawntune demo' },
  {
    purpose: 'fine-tune on rows of one’s own',
    command:
      'dawntune finetune --model_name_or_path BAAI/bge-m3 --train_data rows.jsonl --output_dir output/mine',
  },
];

/** By the name of the command. */
export const commandHelp: Readonly<Record<string, ShortHelp>> = {
  finetune: {
    examples: [
      {
        purpose: 'rows of one’s own, one JSON object a line: {"query": "…", "pos": ["…"], "neg": ["…"]}',
        command:
          'dawntune finetune --model_name_or_path BAAI/bge-m3 --train_data rows.jsonl \\\n  --output_dir output/mine --unified_finetuning True --fp16 --gradient_checkpointing',
      },
      {
        purpose: 'what a run would be and the memory that it takes, without training',
        command:
          'dawntune finetune --model_name_or_path BAAI/bge-m3 --train_data rows.jsonl \\\n  --output_dir output/mine --dry_run',
      },
      {
        purpose: 'go on after an interruption; the same run again from its settings, elsewhere',
        command:
          'dawntune finetune --config run.yaml --resume_from_checkpoint True\ndawntune finetune --config output/mine/effective_settings.yaml --output_dir output/again',
      },
    ],
    common: [
      ...['train_group_size', 'query_max_len', 'passage_max_len', 'query_instruction_for_retrieval'],
      ...['knowledge_distillation', 'eval_data', 'temperature', 'unified_finetuning', 'use_self_distill'],
      ...['learning_rate', 'num_train_epochs', 'max_steps', 'per_device_train_batch_size'],
      ...['gradient_accumulation_steps', 'sub_batch_size', 'warmup_ratio', 'seed', 'fp16'],
      ...['gradient_checkpointing', 'deepspeed', 'logging_steps', 'save_steps', 'save_total_limit'],
      ...['resume_from_checkpoint', 'dry_run', 'progress', 'nproc_per_node', 'adapter', 'max_gpu_memory'],
    ],
  },
  serve: {
    examples: [
      { purpose: 'vectors over HTTP, on this machine', command: 'dawntune serve output/mine --port 8080' },
      {
        purpose: 'for others too, who need a key, in half the memory',
        command: 'dawntune serve output/mine --host 0.0.0.0 --api_key KEY --fp16',
      },
    ],
    common: [
      ...['host', 'port', 'api_key', 'served_model_name', 'role', 'max_length', 'fp16', 'batch_tokens'],
      ...['max_texts', 'queue_tokens', 'adapter'],
    ],
  },
  report: {
    examples: [
      { purpose: 'the page of a run again, from its record', command: 'dawntune report output/mine' },
      {
        purpose: 'two runs beside each other',
        command: 'dawntune report output/mine output/other --output compared.html',
      },
    ],
  },
  encode: {
    examples: [
      {
        purpose: 'texts, one a line, to dense vectors and lexical weights as JSON lines',
        command: `dawntune encode texts.txt ${MODEL} --representations dense,sparse --output vectors.jsonl`,
      },
      {
        purpose: 'queries from a pipe to an array of numpy',
        command: `cat queries.txt | dawntune encode ${MODEL} --role query --output queries.npy`,
      },
    ],
    common: [
      ...['model_name_or_path', 'field', 'id_field', 'role', 'max_length', 'representations', 'format'],
      ...['resume', 'fp16', 'batch_tokens', 'nproc_per_node', 'adapter', 'progress'],
    ],
  },
  evaluate: {
    examples: [
      {
        purpose: 'training rows that were held out: what a model finds by each score',
        command: `dawntune evaluate ${MODEL} --eval_data held-out.jsonl --modes dense,sparse,colbert,hybrid`,
      },
      {
        purpose: 'two models on a dataset of BEIR, compared query by query, as a page',
        command: `dawntune evaluate ${MODEL} --compare BAAI/bge-m3 --dataset_dir scifact \\\n  --eval_output_path compared.html`,
      },
    ],
    common: [
      ...['model_name_or_path', 'dataset_dir', 'corpus', 'queries', 'qrels', 'eval_data', 'modes'],
      ...[
        'search_top_k',
        'weights',
        'tune_weights',
        'run',
        'eval_metrics',
        'compare',
        'reranker_name_or_path',
      ],
      ...['query_max_length', 'passage_max_length', 'fp16', 'nproc_per_node', 'adapter', 'output_dir'],
      'eval_output_path',
    ],
  },
  mine: {
    examples: [
      {
        purpose: 'fifteen negatives for each row, from the texts of all rows',
        command: `dawntune mine ${MODEL} --input_file rows.jsonl --output_file mined.jsonl`,
      },
      {
        purpose: 'from a corpus, and none that scores nearly as well as the positive',
        command: `dawntune mine ${MODEL} --input_file rows.jsonl --output_file mined.jsonl \\\n  --candidate_pool corpus.jsonl --negative_number 7 --relative_margin 0.05`,
      },
    ],
    common: [
      ...[
        'model_name_or_path',
        'candidate_pool',
        'range_for_sampling',
        'negative_number',
        'mode',
        'sampling',
      ],
      ...['max_score', 'relative_margin', 'write_scores', 'index', 'seed', 'query_max_length'],
      ...['passage_max_length', 'fp16', 'nproc_per_node', 'adapter'],
    ],
  },
  score: {
    examples: [
      {
        purpose: 'hybrid scores of a model as those of a teacher',
        command: `dawntune score mined.jsonl scored.jsonl ${MODEL}`,
      },
      {
        purpose: 'those of a cross-encoder',
        command:
          'dawntune score mined.jsonl scored.jsonl --reranker_name_or_path BAAI/bge-reranker-v2-m3 --fp16',
      },
    ],
    common: [
      ...['input_file', 'output_file', 'scale', 'mode', 'weights', 'reranker_name_or_path'],
      ...['reranker_max_length', 'normalize', 'model_name_or_path', 'query_max_length', 'passage_max_length'],
      ...['fp16', 'nproc_per_node', 'adapter'],
    ],
  },
  split: {
    examples: [
      {
        purpose: 'rows by the length of their longest text, a file for each range',
        command: 'dawntune split --input_path rows.jsonl --output_dir by-length --length_list 0 512 2048',
      },
      {
        purpose: 'counted by the tokenizer of one’s own model',
        command: `dawntune split --input_path rows --output_dir by-length ${MODEL}`,
      },
    ],
  },
  demo: {
    examples: [
      { purpose: 'a small retriever from random weights, in a minute or two', command: 'dawntune demo' },
      {
        purpose: 'from a pretrained model of one’s own',
        command: 'dawntune demo --model intfloat/multilingual-e5-small',
      },
      {
        purpose: 'for longer, elsewhere',
        command: 'dawntune demo --steps 300 --output_dir output/longer',
      },
    ],
  },
  pipeline: {
    examples: [
      { purpose: 'mine, score, fine-tune and evaluate', command: 'dawntune pipeline' },
      {
        purpose: 'with the steps left out one by one, over three seeds',
        command: 'dawntune pipeline --compare --seeds 1 2 3',
      },
    ],
  },
  parity: {
    examples: [
      { purpose: 'in the clone: all figures, in f32', command: 'dawntune parity test/golden' },
      {
        purpose: 'in mixed precision, and with one variant of a kernel',
        command: 'dawntune parity test/golden --fp16\ndawntune parity test/golden --kernels matmul=tile64',
      },
    ],
  },
  doctor: {
    examples: [
      { purpose: 'what this machine offers, and whether it computes', command: 'dawntune doctor' },
      { purpose: 'with another of its adapters', command: 'dawntune doctor --adapter llvmpipe' },
    ],
  },
  bench: {
    examples: [
      { purpose: 'the kernels on this adapter, as a page too', command: 'dawntune bench --html bench.html' },
      {
        purpose: 'one shape of product, every variant',
        command: 'dawntune bench matmul --sizes 512x512x512 --variant all',
      },
      { purpose: 'a training step', command: 'dawntune bench step --fp16 --steps 5' },
    ],
  },
  completion: {
    examples: [
      { purpose: 'in ~/.bashrc', command: 'eval "$(dawntune completion bash)"' },
      { purpose: 'in ~/.zshrc, behind compinit', command: 'source <(dawntune completion zsh)' },
      {
        purpose: 'for fish, once',
        command:
          'mkdir -p ~/.config/fish/completions\ndawntune completion fish > ~/.config/fish/completions/dawntune.fish',
      },
    ],
  },
  setup: {
    examples: [
      { purpose: 'a software driver in the cache folder, without root', command: 'dawntune setup' },
      {
        purpose: 'lavapipe for the whole machine, on Debian and Ubuntu',
        command: 'sudo dawntune setup --system',
      },
    ],
  },
};
