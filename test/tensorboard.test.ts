/** Event files byte by byte: checksums of known vectors, framing, messages; and what a run writes into one. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { crc32c, maskedCrc32c } from '../src/run-record/tensorboard/crc32c.js';
import { runFolderName, scalarsOf } from '../src/run-record/tensorboard/event-file.js';
import {
  scalarsEvent,
  textEvent,
  tfRecord,
  versionEvent,
} from '../src/run-record/tensorboard/event-format.js';
import type { FinetuneArguments } from '../src/train/arguments.js';
import { RunEvents } from '../src/train/record/events.js';
import type { TakenStep } from '../src/train/run/step.js';
import { at, run } from './resumed-runs.js';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const ascii = (text: string) => Buffer.from(text, 'latin1');

test('CRC-32C of known vectors (RFC 3720, B.4), and its mask', () => {
  for (const [bytes, expected] of [
    [new Uint8Array(32), 0x8a9136aa],
    [new Uint8Array(32).fill(0xff), 0x62a8ab43],
    [Uint8Array.from({ length: 32 }, (_, n) => n), 0x46dd794e],
    [Uint8Array.from({ length: 32 }, (_, n) => 31 - n), 0x113fdb5c],
    [ascii('123456789'), 0xe3069283],
    [ascii(''), 0],
  ] as const)
    assert.equal(crc32c(bytes), expected);
  // 0xe3069283 rotated right by 15 bits is 0x2507c60d.
  assert.equal(maskedCrc32c(ascii('123456789')), (0x2507c60d + 0xa282ead8) % 2 ** 32);
});

test('a record is length, checksum, data, checksum, and events are their protobuf fields', () => {
  const version = versionEvent(1.5);
  assert.equal(hex(version), `09${'000000000000f83f'}1a0d${hex(ascii('brain.Event:2'))}`);
  const record = Buffer.from(tfRecord(version));
  assert.equal(record.readBigUInt64LE(0), 24n);
  assert.equal(record.readUInt32LE(8), maskedCrc32c(record.subarray(0, 8)));
  assert.deepEqual(record.subarray(12, 36), Buffer.from(version));
  assert.equal(record.readUInt32LE(36), maskedCrc32c(version));
  assert.equal(record.length, 40);

  const values = new Map([
    ['a', 1],
    ['b', Number.POSITIVE_INFINITY],
  ] as const);
  assert.equal(
    hex(scalarsEvent(1.5, 300, values)),
    `09000000000000f83f10ac022a14${`0a080a0161${'150000803f'}`}${`0a080a0162${'150000807f'}`}`,
  );
  // Steps beyond 32 bits.
  assert.match(hex(scalarsEvent(0, 2 ** 40, new Map())), /^090000000000000000108080808080202a00$/);
  assert.ok(hex(textEvent(0, 0, 'args', 'x')).includes(hex(ascii('args/text_summary'))));
});

test('tags are those of Hugging Face’s callback', () => {
  assert.deepEqual(
    [...scalarsOf({ loss: 1, eval_loss: 2, 'eval_dense_ndcg@10': 3, train_runtime: 4, step: 5, event: 'x' })],
    [
      ['train/loss', 1],
      ['eval/loss', 2],
      ['eval/dense_ndcg@10', 3],
      ['train/train_runtime', 4],
    ],
  );
  assert.equal(runFolderName(new Date(2026, 10, 7, 3, 4, 5), 'a host'), 'Nov07_03-04-05_a_host');
});

/** Tags of the scalars in a file, whose checksums hold. */
function tagsIn(file: string): string[] {
  const bytes = fs.readFileSync(file);
  const tags: string[] = [];
  for (let start = 0; start < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(start));
    const data = bytes.subarray(start + 12, start + 12 + length);
    assert.equal(bytes.readUInt32LE(start + 8), maskedCrc32c(bytes.subarray(start, start + 8)));
    assert.equal(bytes.readUInt32LE(start + 12 + length), maskedCrc32c(data));
    // A tag stands behind its length.
    for (const { 1: size, 2: text } of data
      .toString('latin1')
      .matchAll(/\n(.)((?:train|eval|args)\/[\w@]+)/gs))
      tags.push(text!.slice(0, size!.charCodeAt(0)));
    start += 16 + length;
  }
  return tags;
}

test('means beside an entry of the log are of the steps since the last one, without those that were skipped', () => {
  const folder = at('means');
  const events = new RunEvents({ loggingDir: folder } as FinetuneArguments, [], assert.fail);
  const take = (number: number, dense: number, seconds = 2, skipped = false) =>
    events.taken({
      ...({} as TakenStep),
      ...{ number, skipped, seconds, tokens: 100, parts: new Map([['dense', dense]]) },
    });
  take(1, 1);
  take(2, 3);
  take(3, 99, 2, true);
  events.logged({ loss: 1, learning_rate: 0.1, step: 3 });
  take(4, 5, 1);
  events.logged({ loss: 1, learning_rate: 0.1, step: 4 });
  events.close();
  const bytes = fs.readFileSync(path.join(folder, fs.readdirSync(folder)[0]!));
  const values = (tag: string): number[] => {
    const found: number[] = [];
    // A tag stands before its value, field 2 of its message.
    for (let at = bytes.indexOf(tag); at >= 0; at = bytes.indexOf(tag, at + 1))
      found.push(bytes.readFloatLE(at + tag.length + 1));
    return found;
  };
  assert.deepEqual(values('train/dense_loss'), [2, 5]);
  assert.deepEqual(values('train/tokens_per_second'), [50, 100]);
});

test('a run writes its log there, where --logging_dir says, and nothing with --report_to none', async () => {
  await run('told', '--max_steps 2 --logging_steps 1');
  const [folder, ...others] = fs.readdirSync(at('told', 'runs'));
  assert.deepEqual(others, []);
  const [file] = fs.readdirSync(at('told', 'runs', folder!));
  assert.match(file!, /^events\.out\.tfevents\.\d+\..*\.\d+\.0$/);
  const parts = ['dense', 'sparse', 'colbert', 'ensemble'].map((name) => `train/${name}_loss`);
  const logged = ['loss', 'grad_norm', 'learning_rate', 'epoch'].map((name) => `train/${name}`);
  const step = [...logged, ...parts, 'train/tokens_per_second'];
  const end = ['runtime', 'steps_per_second', 'loss'].map((name) => `train/train_${name}`);
  const all = ['args/text_summary', ...step, ...step, ...end, 'train/epoch'];
  assert.deepEqual(tagsIn(at('told', 'runs', folder!, file!)), all);

  await run('elsewhere', `--max_steps 1 --report False --report_to all --logging_dir ${at('events')}`);
  assert.ok(!fs.existsSync(at('elsewhere', 'runs')) && !fs.existsSync(at('elsewhere', 'run_record.json')));
  assert.equal(fs.readdirSync(at('events')).length, 1);
  await run('untold', '--max_steps 1 --report_to none');
  assert.ok(!fs.existsSync(path.join(at('untold'), 'runs')));

  // A file that cannot be written is told, and the run goes on.
  fs.writeFileSync(at('taken'), '');
  const { notes, steps } = await run('taken-away', `--max_steps 1 --logging_dir ${at('taken')}`);
  assert.match(notes.join('\n'), /^TensorBoard's events are written no more: .*taken/m);
  assert.deepEqual(steps, [1]);
});
