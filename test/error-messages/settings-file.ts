/** The file of `--config`, and that of `--deepspeed`. */

import type { RefusedCalls } from './call.js';
import { failing } from './faults.js';
import { data, TRAIN } from './inputs.js';

const yaml = (text: string) => ({ ...data, 'run.yaml': text });

export const settingsFile: RefusedCalls = {
  finetune: [
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
    {
      words: '--config run.yaml',
      files: yaml('['.repeat(6_000)),
      line: 'run.yaml:1: expected settings, found more levels than can be read',
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
      words: '--config run.yaml',
      files: yaml('seed: 1'),
      before: () => failing('readFileSync', /run\.yaml$/, 'EIO'),
      line: '--config: run.yaml: cannot be read: EIO: refused',
    },
  ],
};
