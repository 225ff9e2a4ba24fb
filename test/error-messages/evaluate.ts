/** Data sets, judgements and runs to evaluate. */
import fs from 'node:fs';
import type { RefusedCalls } from './call.js';
import { before, changing } from './faults.js';
import { data } from './inputs.js';

const SEARCHED = '--model_name_or_path MODEL --eval_data a.jsonl';
const RUN = '--corpus c.jsonl --queries q.jsonl --qrels r.tsv';
const corpus = {
  'c.jsonl': '{"id":"d1","text":"x"}\n',
  'q.jsonl': '{"id":"q1","text":"x"}\n',
  'r.tsv': 'query-id\tcorpus-id\tscore\nq1\td1\t1\n',
};

export const evaluate: RefusedCalls = {
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
      files: { ...corpus, 'r.tsv': 'PK\u0003\u0004' },
      line: 'r.tsv: expected lines of text, found a zip archive',
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
    {
      words: '--qrels r.tsv --run run.txt',
      files: { ...corpus, 'run.txt': null },
      line: 'run.txt: expected a file, found a folder',
    },
    {
      words: '--qrels r.tsv --run run.txt',
      files: { ...corpus, 'run.txt': new Uint8Array([0x71, 0x80, 10]) },
      line: 'run.txt:1: expected UTF-8 text, found other bytes',
    },
    {
      words: '--qrels r.tsv --run run.txt',
      files: { ...corpus, 'run.txt': 'q1' },
      before: () => {
        fs.truncateSync('run.txt', 2 ** 26 + 2 ** 20);
        return {};
      },
      line: 'run.txt:1: expected a line of at most 67108864 bytes, found more',
    },
    {
      words: '--qrels r.tsv --run run.txt',
      files: { ...corpus, 'run.txt': 'q1 Q0 d1 1 1 x\n' },
      before: () => before('readSync', /run\.txt$/, () => fs.truncateSync('run.txt', 0)),
      line: 'run.txt: truncated: expected 15 bytes at 0, found 0',
    },
    {
      words: `${RUN} --model_name_or_path MODEL`,
      files: corpus,
      before: () => changing('c.jsonl', '{"id":"d2","text":"x"}\n'),
      line: 'c.jsonl:1: the file has changed since it was first read',
    },
    {
      words: `${RUN} --model_name_or_path MODEL`,
      files: corpus,
      before: () => changing('c.jsonl', ''),
      line: 'c.jsonl: the file has changed since it was first read',
    },
  ],
};
