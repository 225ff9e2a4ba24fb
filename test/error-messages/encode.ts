/** Texts to encode, and the output of an earlier run. */
import fs from 'node:fs';
import { commands } from '../../src/cli/commands.js';
import { refusalOf } from '../refusal.js';
import { golden } from '../repository.js';
import type { RefusedCalls } from './call.js';
import { failing } from './faults.js';
import { data } from './inputs.js';

export const encode: RefusedCalls = {
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
      line: 'a.jsonl:1: expected "text" to be a text, found nothing (--field query reads "query") (the first of 2 faulty texts)',
    },
    {
      words: '--model_name_or_path MODEL --output out.jsonl a.txt',
      files: { 'a.txt': 'PAR1\x15\x04' },
      line: 'a.txt: expected lines of text, found a Parquet file',
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
    {
      words: '--model_name_or_path MODEL --output out.jsonl a.txt',
      files: { 'a.txt': 'x\n' },
      before: () => failing('writeSync', /out\.jsonl/, 'ENOSPC'),
      line: 'out.jsonl: cannot write: the disk is full; free space on this disk and rerun',
      status: 1,
    },
    {
      words: '--model_name_or_path MODEL --output out.jsonl a.txt',
      files: { 'a.txt': 'x\n', '.out.jsonl.dawntune-lock': null },
      line: '.out.jsonl.dawntune-lock: cannot lock: is a folder',
      status: 1,
      systems: ['linux', 'darwin'],
    },
    {
      words: '--model_name_or_path MODEL --output out.jsonl --resume a.txt',
      files: { 'a.txt': 'x\n' },
      before: async () => {
        // A run that ends as it gives its output the name.
        const { end } = failing('renameSync', /out\.jsonl\.dawntune-part$/, 'EIO');
        const run = await commands.get('encode')!.load();
        const words = ['--model_name_or_path', golden('model'), '--output', 'out.jsonl', 'a.txt'];
        await refusalOf(run, words);
        end!();
        const progress = '.out.jsonl.dawntune-progress';
        const { state } = JSON.parse(fs.readFileSync(progress, 'utf8'));
        fs.writeFileSync(progress, JSON.stringify({ state, bytes: {} }));
        return {};
      },
      line: 'out.jsonl: the progress of the earlier run does not know this file; rerun without --resume',
      status: 1,
    },
  ],
};
