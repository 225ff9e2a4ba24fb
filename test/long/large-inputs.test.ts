/** Files of a hundred megabytes that mean little or nothing: read or refused within seconds and a gigabyte. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-large-'));
after(() => fs.rmSync(folder, { recursive: true }));

const MB = 1e6;

/** `start`, then `repeated` up to about `size` bytes, then `end`; never in memory as a whole. */
interface Content {
  readonly start: string;
  readonly repeated: string;
  readonly size: number;
  readonly end: string;
}

function write(file: string, { start, repeated, size, end }: Content, header: boolean): void {
  const chunk = Buffer.from(repeated.repeat(Math.ceil(MB / repeated.length)), 'latin1');
  const times = Math.max(1, Math.floor(size / chunk.length));
  const descriptor = fs.openSync(file, 'w');
  if (header) {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(start.length + times * chunk.length + end.length));
    fs.writeSync(descriptor, length);
  }
  fs.writeSync(descriptor, Buffer.from(start, 'latin1'));
  for (let i = 0; i < times; i++) fs.writeSync(descriptor, chunk);
  fs.writeSync(descriptor, Buffer.from(end, 'latin1'));
  fs.closeSync(descriptor);
}

const field = (start: string, repeated: string, end: string): Content => ({
  start: `{"x":{"z":${start}`,
  repeated,
  size: 98 * MB,
  end: `${end}}}`,
});
const json = (start: string, repeated: string, size: number, end: string): Content => ({
  start,
  repeated,
  size,
  end,
});
const SPECIAL_PIECES =
  '\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02\n\x0c\n\x03<s>\x15\0\0\0\0\x18\x03\n\r\n\x04</s>\x15\0\0\0\0\x18\x03';

const cases: [what: string, reader: string, file: string, content: Content][] = [
  ['a header of digits', 'safetensors', 'model.safetensors', field('[', '0,', '0]')],
  ['a header of numbers', 'safetensors', 'model.safetensors', field('[', '1.5e3,', '0]')],
  ['a header of lists', 'safetensors', 'model.safetensors', field('[', '[],', '0]')],
  ['a header of strings', 'safetensors', 'model.safetensors', field('[', '"\\n",', '0]')],
  ['a header of escapes', 'safetensors', 'model.safetensors', field('"', '\\ud83e\\udd17', '"')],
  ['a header of one number', 'safetensors', 'model.safetensors', field('', '1', '')],
  ['a header of blanks', 'safetensors', 'model.safetensors', json('{', ' ', 98 * MB, '}')],
  ['a shape of ones', 'safetensors', 'model.safetensors', json('{"x":{"shape":[', '1,', 98 * MB, '1]}}')],
  ['a name', 'safetensors', 'model.safetensors', json('{"', '\\u0041', 98 * MB, '":1}')],
  ['a configuration of lists', 'config', 'config.json', json('[', '[],', 15 * MB, '0]')],
  ['a configuration of text', 'config', 'config.json', json('{"a":"', 'x', 300 * MB, '"}')],
  [
    'an index of lists',
    'index',
    'pytorch_model.bin.index.json',
    json('{"weight_map":[', '[],', 15 * MB, '0]}'),
  ],
  ['a pickle without an end', 'torch', 'pytorch_model.bin', json('\x80\x02', ']0', 100 * MB, '.')],
  ['ends of a zip', 'torch', 'pytorch_model.bin', json('PK\x03\x04', 'PK\x05\x06', 100 * MB, '')],
  ['a tokenizer of lists', 'tokenizer', 'tokenizer.json', json('[', '[],', 60 * MB, '0]')],
  ['a tokenizer of text', 'tokenizer', 'tokenizer.json', json('{"a":"', '\u00c3\u00a9', 120 * MB, '"}')],
  [
    'pieces',
    'sentencepiece',
    'sentencepiece.bpe.model',
    json(SPECIAL_PIECES, '\n\x0a\n\x03abc\x15\0\0\0\0', 100 * MB, ''),
  ],
  ['a row', 'rows', 'rows.jsonl', json('{"pos":["b"],"neg":["c"],"query":"', 'x', 700 * MB, '"}')],
  ['a row of lists', 'rows', 'rows.jsonl', json('{"query":"a","pos":["b"],"z":[', '[],', 200 * MB, '0]}')],
  ['opening brackets', 'rows', 'rows.jsonl', json('', '[', 200 * MB, '')],
  ['empty lines', 'rows', 'rows.jsonl', json('', '\n', 200 * MB, '')],
  ['a DeepSpeed file of objects', 'deepspeed', 'ds.json', json('{"a":[', '{},', 15 * MB, '{}]}')],
];

const script = (reader: string, home: string) => `
  import { readers } from ${JSON.stringify(new URL('../fuzz/readers.js', import.meta.url).href)};
  const before = process.cpuUsage().user;
  let outcome = 'accepted';
  try {
    readers.get(${JSON.stringify(reader)}).read(${JSON.stringify(home)});
  } catch (error) {
    outcome = 'exitCode' in error ? error.message : error.stack;
  }
  const seconds = (process.cpuUsage().user - before) / 1e6;
  console.log(JSON.stringify({ outcome, seconds, bytes: process.resourceUsage().maxRSS * 1024 }));`;

for (const [what, reader, file, content] of cases)
  test(`${reader}: ${what}`, () => {
    const home = fs.mkdtempSync(path.join(folder, 'case-'));
    write(path.join(home, file), content, reader === 'safetensors');
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--input-type=module', '-e', script(reader, home)],
      { encoding: 'utf8' },
    );
    fs.rmSync(home, { recursive: true });
    assert.equal(stderr, '');
    const { outcome, seconds, bytes } = JSON.parse(stdout);
    assert.ok(outcome === 'accepted' || outcome.startsWith(path.join(home, file)), outcome);
    assert.ok(outcome.length < 600 + home.length && !/\p{Cc}/u.test(outcome), outcome);
    assert.ok(seconds < 5, `${seconds} s`);
    assert.ok(bytes < 2 ** 30, `${bytes} bytes`);
  });
