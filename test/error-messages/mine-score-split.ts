/** What goes over rows of training data: mining, scoring, splitting. */

import type { RefusedCalls } from './call.js';
import { changing } from './faults.js';
import { data, ROW, rowsOf } from './inputs.js';

export const mineScoreSplit: RefusedCalls = {
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
      words: '--model_name_or_path MODEL --input_file a.jsonl --output_file ./a.jsonl',
      files: data,
      line: '--output_file: expected another file than --input_file, found the same',
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
    {
      words: '--model_name_or_path MODEL --input_file a.jsonl --output_file b',
      files: { ...data, b: null },
      line: '--output_file: b: cannot write: is a folder',
    },
    {
      words: '--model_name_or_path MODEL --input_file a.jsonl --output_file b.jsonl --range_for_sampling 1-2',
      files: data,
      before: () => changing('a.jsonl', `${ROW}\n`, 3),
      line: 'a.jsonl: the file has changed since it was first read',
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
};
