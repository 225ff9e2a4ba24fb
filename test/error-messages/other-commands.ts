/** Commands that have few messages of their own. */

import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { golden } from '../repository.js';
import type { RefusedCalls } from './call.js';
import { being, failing } from './faults.js';
import { data } from './inputs.js';

const exists = fs.existsSync;
const RECORD = fs.readFileSync(golden('run-record.json'), 'utf8');

export const otherCommands: RefusedCalls = {
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
    {
      words: 'd',
      files: { 'd/run_record.json': RECORD },
      before: () => failing('writeSync', /report\.html/, 'ENOSPC'),
      line: 'd/report.html: cannot write: the disk is full; free space on this disk and rerun',
      status: 1,
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
      words: 'a --batch_tokens 8192 --queue_tokens 5',
      line: '--queue_tokens: expected at least the 8192 of --batch_tokens, found 5',
    },
    { words: 'a --port 99999', line: '--port: expected an integer from 0 to 65535, found "99999"' },
    {
      words: 'none/at/all',
      line: '--model_name_or_path: none/at/all: no such folder, and no name of the hub, which would be org/name',
    },
    {
      words: 'a',
      env: { DAWNTUNE_API_KEY: '' },
      line: 'DAWNTUNE_API_KEY: expected a key, found an empty one; unset it to ask for none',
    },
    {
      words: 'a',
      env: { DAWNTUNE_API_KEY: 'a b' },
      line: 'DAWNTUNE_API_KEY: expected a key of visible ASCII characters, found something else',
    },
    {
      words: 'MODEL --port PORT',
      before: async () => {
        const server = net.createServer().listen(0, '127.0.0.1');
        await once(server, 'listening');
        return {
          names: { PORT: `${(server.address() as net.AddressInfo).port}` },
          end: () => server.close(),
        };
      },
      line: 'cannot listen on 127.0.0.1 port PORT: the port is taken; --port 0 picks a free one',
      status: 1,
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
    {
      words: '--output_dir out',
      before: () =>
        being(fs, 'existsSync', (file) => !/diagnosticMessages/.test(String(file)) && exists(file)),
      line: 'the demo reads its texts from the package typescript 6 and did not find it: npm install typescript@6.0.3',
    },
    {
      words: '--output_dir out',
      before: () => failing('readFileSync', /diagnosticMessages/, 'ENOENT'),
      line: /diagnosticMessages\.generated\.json: the demo needs this file of typescript: no such file or folder$/,
    },
    {
      words: '--output_dir out',
      before: () => being(fs, 'existsSync', (file) => !/package\.json$/.test(String(file)) && exists(file)),
      line: /: not inside a package: the demo's tokenizer lies beside its package\.json; install dawntune again$/,
    },
  ],
  parity: [
    { words: '', line: 'parity: expected one folder of goldens, found 0' },
    { words: 'a b', line: 'parity: expected one folder of goldens, found 2' },
    {
      words: 'a --kernels softmax=workgroup129',
      line: '--kernels: expected softmax to be one of workgroup64, subgroup8, subgroup8-vec4, found "workgroup129"',
    },
    {
      words: 'a --kernels softmx=subgroup8',
      line: /^--kernels: there is no family "softmx" of kernels; there are matmul, /,
    },
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
