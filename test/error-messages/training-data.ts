/** Rows to train on. */
import fs from 'node:fs';
import type { RefusedCalls } from './call.js';
import { changing, failing } from './faults.js';
import { data, ROW, rowsOf, TRAIN } from './inputs.js';

export const trainingData: RefusedCalls = {
  finetune: [
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
    {
      words: TRAIN,
      files: rowsOf('{"query":"a","pos":["b"],"negs":["c"]}'),
      line: 'a.jsonl:1: expected "neg" to have at least one text for groups of 2, found none: 1 rows have "negs": if that is meant, rename it',
    },
    {
      words: TRAIN,
      files: rowsOf(ROW, '{"anchor":"a","positive":"b","negative":"c"}', '{"question":"a","pos":["b"]}'),
      line: 'a.jsonl:2: expected "query" to be a text, found the columns of sentence-transformers: "anchor" is called "query" here, "positive" and "negative" are lists, "pos" and "neg" (docs/from-sentence-transformers.md) (the first of 2 faulty rows)',
    },
    {
      words: TRAIN,
      files: rowsOf('query,pos,neg', 'a,b,c'),
      line: 'a.jsonl:1: expected a JSON object, found "query,pos,neg": these look like comma-separated values, and each row is to be an object such as {"query": "…", "pos": ["…"], "neg": ["…"]}',
    },
    { words: TRAIN, files: { 'a.jsonl': '' }, line: 'a.jsonl: expected at least one row, found none' },
    {
      words: `${TRAIN} --knowledge_distillation True`,
      files: data,
      line: 'a.jsonl:1: expected "pos_scores" and "neg_scores" for --knowledge_distillation, found none (the first of 2 faulty rows)',
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
      words: `${TRAIN} --query_max_len 600`,
      files: rowsOf(JSON.stringify({ query: 'wort '.repeat(900), pos: ['b'], neg: ['c'] })),
      line: 'a query has 600 tokens, the model has positions for 512: lower --query_max_len (row a.jsonl:1)',
    },
    {
      words: TRAIN,
      files: data,
      before: () => failing('statSync', /a\.jsonl$/, 'EIO'),
      line: '--train_data: a.jsonl: cannot read: the disk reports an error',
    },
    {
      words: TRAIN.replace('a.jsonl', 'd'),
      files: { d: null },
      before: (folder) => {
        fs.writeFileSync(
          Buffer.concat([Buffer.from(`${folder}/d/`), Buffer.of(0xff), Buffer.from('.jsonl')]),
          '',
        );
        return {};
      },
      line: '--train_data: d: expected names of files in UTF-8, found "\ufffd.jsonl"',
      systems: ['linux'],
    },
    {
      words: TRAIN,
      files: data,
      before: () => changing('a.jsonl', `${ROW.replace('a', 'x')}\n${ROW}\n`),
      line: 'a.jsonl:1: the file has changed since it was first read',
    },
  ],
};
