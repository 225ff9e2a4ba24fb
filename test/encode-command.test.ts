/** `dawntune encode` from its words to its files: formats, several ranks, runs that were killed, and what is refused. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { silentReporter } from '../src/console/reporter.js';
import { lockOutput } from '../src/files/partial.js';
import { parseEncodeArguments } from '../src/retrieval/encode/arguments.js';
import { encodeFiles } from '../src/retrieval/encode/encode-command.js';
import { type InputOptions, type InputText, readTexts } from '../src/retrieval/encode/input.js';
import { openVectors, readOffsets } from '../src/retrieval/vectors/files.js';
import { SafetensorsFile } from '../src/weights/safetensors.js';
import { golden, repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-encode-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => path.join(folder, name);
const model = ['--model_name_or_path', golden('model')];
const program = path.join(repositoryRoot, 'dist/src/cli/main.js');
const command = (...words: string[]) => [program, 'encode', ...model, ...words];

/** In this process; what it tells. */
async function encode(...words: string[]): Promise<string[]> {
  const notes: string[] = [];
  const { args, notices } = parseEncodeArguments([...model, ...words]);
  const note = (line: string) => void notes.push(line);
  await encodeFiles(args, { report: { ...silentReporter, note } });
  return [...notices, ...notes];
}

const lines = ['hello world', 'zwei Wörter', '', 'the last one'];
fs.writeFileSync(at('lines.txt'), lines.join('\r\n'));
const rows = lines.map((text, i) => ({ _id: i === 1 ? 7 : `d${i}`, title: i === 2 ? '' : 'A title', text }));
fs.writeFileSync(at('rows.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));

test('the formats hold the same numbers', async () => {
  const all = ['--representations', 'colbert,dense,sparse'];
  for (const name of ['v.jsonl', 'v.npy', 'v.safetensors'])
    await encode(at('lines.txt'), '--output', at(name), ...all);
  const json = fs
    .readFileSync(at('v.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(json.length, 4);
  const dense = openVectors(at('v.dense.npy'));
  assert.deepEqual([dense.count, dense.width], [4, 64]);
  assert.deepEqual(await dense.read(0, 4), Float32Array.from(json.flatMap(({ dense_vecs }) => dense_vecs)));
  const colbert = openVectors(at('v.colbert.npy'));
  const offsets = readOffsets(at('v.colbert_offsets.npy'), colbert.count);
  for (const [i, { colbert_vecs }] of json.entries())
    assert.deepEqual(
      await colbert.read(offsets[i]!, offsets[i + 1]!),
      Float32Array.from(colbert_vecs.flat()),
    );
  const stored = SafetensorsFile.open(at('v.safetensors'));
  assert.deepEqual(stored.read('dense'), await dense.read(0, 4));
  assert.deepEqual(stored.read('colbert'), await colbert.read(0, colbert.count));
  const ends = Array.from(stored.readRaw('sparse_offsets') as BigInt64Array, Number);
  const ids = stored.readRaw('sparse_ids') as Int32Array;
  const weights = stored.read('sparse_weights');
  for (const [i, { lexical_weights }] of json.entries()) {
    const found = Array.from(ids.subarray(ends[i], ends[i + 1]), (id, k) => [
      String(id),
      weights[ends[i]! + k],
    ]);
    const told = Object.entries(lexical_weights as Record<string, number>);
    assert.deepEqual(
      Object.fromEntries(found),
      Object.fromEntries(told.map(([id, weight]) => [id, Math.fround(weight)])),
    );
  }
  for (const file of [dense, colbert, stored]) file.close();
  // One array has the name that was asked for, f16 is what f32 rounds to.
  await encode(at('lines.txt'), '--output', at('h.npy'), '--dtype', 'f16');
  const half = openVectors(at('h.npy'));
  for (const [i, value] of (await half.read(0, 4)).entries())
    assert.ok(Math.abs(value - json[Math.floor(i / 64)].dense_vecs[i % 64]) < 5e-4);
  half.close();
  // Nothing is left beside them, and no names of texts that have none.
  assert.deepEqual(
    fs.readdirSync(folder).filter((name) => name.startsWith('.') || name.endsWith('ids.jsonl')),
    [],
  );
});

test('names are carried along, titles and instructions stand before texts', async () => {
  await encode(at('rows.jsonl'), '--output', at('n.jsonl'), '--field', 'title,text');
  const json = fs.readFileSync(at('n.jsonl'), 'utf8').trimEnd().split('\n');
  assert.deepEqual(
    json.map((line) => JSON.parse(line).id),
    ['d0', 7, 'd2', 'd3'],
  );
  await encode(at('rows.jsonl'), '--output', at('n.npy'));
  assert.equal(fs.readFileSync(at('n.ids.jsonl'), 'utf8'), '"d0"\n7\n"d2"\n"d3"\n');
  fs.writeFileSync(at('joined.txt'), 'A title hello world\nA title zwei Wörter\n\nA title the last one\n');
  await encode(at('joined.txt'), '--output', at('j.jsonl'));
  const without = (file: string) => fs.readFileSync(at(file), 'utf8').replaceAll(/"id":[^,]*,/g, '');
  assert.equal(without('j.jsonl'), without('n.jsonl'));
  const words = ['--role', 'query', '--query_instruction_for_retrieval', 'A title'];
  const format = ['--query_instruction_format', '{} {}'];
  fs.writeFileSync(at('one.txt'), 'hello world\n');
  await encode(at('one.txt'), '--output', at('q.jsonl'), ...words, ...format);
  assert.equal(fs.readFileSync(at('q.jsonl'), 'utf8'), `${without('j.jsonl').split('\n')[0]}\n`);
});

test('two ranks write the bytes of one, of files and of standard input', () => {
  const many = Array.from({ length: 60 }, (_, i) => `text ${'word '.repeat(i % 17)}${i}`).join('\n');
  fs.writeFileSync(at('many.txt'), many);
  const words = ['--representations', 'dense,sparse,colbert', '--batch_tokens', '128'];
  const run = (output: string, input: string, ...more: string[]) => {
    const { status, stderr } = spawnSync(
      process.execPath,
      command(input, '--output', at(output), ...words, ...more),
      { encoding: 'utf8', input: many },
    );
    assert.equal(status, 0, stderr);
    return stderr;
  };
  run('one.safetensors', at('many.txt'));
  const said = run('two.safetensors', '-', '--nproc_per_node', '2');
  assert.match(said, /^2 ranks, a thread each: /m);
  assert.equal(said.match(/^60 texts: /gm)?.length, 1);
  assert.ok(fs.readFileSync(at('two.safetensors')).equals(fs.readFileSync(at('one.safetensors'))));
});

test('a run that was killed goes on behind its last window, to the same bytes', async () => {
  const text = (i: number) => `number ${(i * 7919) % 1009} ${'of many '.repeat(i % 5)}`;
  const long = Array.from({ length: 1600 }, (_, i) => text(i)).join('\n');
  fs.writeFileSync(at('long.txt'), long);
  const words = ['--representations', 'dense,sparse'];
  const child = spawn(process.execPath, command(at('long.txt'), '--output', at('k.npy'), ...words));
  const progress = at('.k.npy.dawntune-progress');
  while (!fs.existsSync(progress) && child.exitCode === null) await pause(5);
  child.kill('SIGKILL');
  await once(child, 'close');
  assert.equal(fs.existsSync(at('k.dense.npy')), false);
  const { state } = JSON.parse(fs.readFileSync(progress, 'utf8'));
  assert.ok(state.texts >= 1024 && state.texts < 1600, `${state.texts}`);
  // Half a window more than what is whole.
  fs.appendFileSync(at('.k.dense.npy.dawntune-part'), 'half of a vector');
  const again = (...more: string[]) =>
    encode(at('long.txt'), '--output', at('k.npy'), '--resume', ...words, ...more);
  // Of other words or texts it is not taken up.
  await assert.rejects(
    again('--max_length', '9'),
    /--resume: expected the max_length of the earlier run, "512", found "9"/,
  );
  await assert.rejects(
    encode(at('many.txt'), '--output', at('k.npy'), '--resume', ...words),
    /--resume: expected at least the \d+ texts of the earlier run, found 60/,
  );
  fs.writeFileSync(at('long.txt'), long.replace('number', 'other'));
  await assert.rejects(
    again(),
    /--resume: expected the texts of the earlier run, found others among the first/,
  );
  fs.writeFileSync(at('long.txt'), long);
  const notes = await again();
  assert.match(notes[0]!, /going on after \d+ texts$/);
  await encode(at('long.txt'), '--output', at('u.npy'), ...words);
  for (const name of ['dense', 'sparse_ids', 'sparse_weights', 'sparse_offsets'])
    assert.ok(fs.readFileSync(at(`k.${name}.npy`)).equals(fs.readFileSync(at(`u.${name}.npy`))), name);
  assert.deepEqual(
    fs.readdirSync(folder).filter((name) => name.startsWith('.')),
    [],
  );
  // A second time there is nothing to go on with.
  assert.match((await encode(at('one.txt'), '--output', at('z.npy'), '--resume'))[0]!, /no earlier run/);
});

test('one run at a time writes an output: another waits', async () => {
  const unlock = await lockOutput(at('w.npy'), () => assert.fail('nobody holds it'));
  const { args } = parseEncodeArguments([...model, at('lines.txt'), '--output', at('w.npy')]);
  let told = () => {};
  const waits = new Promise<void>((resolve) => (told = resolve));
  const note = (line: string) => {
    if (/w\.npy: another run writes it; waiting for its end$/.test(line)) told();
  };
  const run = encodeFiles(args, { report: { ...silentReporter, note } });
  await waits;
  assert.equal(fs.existsSync(at('w.npy')), false);
  unlock();
  await run;
  assert.equal(fs.existsSync(at('w.npy')), true);
  assert.equal(fs.existsSync(at('.w.npy.dawntune-lock')), false);
});

test('nothing, and texts of 100 k characters', async () => {
  fs.writeFileSync(at('empty.txt'), '');
  for (const name of ['e.npy', 'e.jsonl', 'e.safetensors'])
    assert.match((await encode(at('empty.txt'), '--output', at(name))).at(-1)!, /^0 texts: /);
  const none = openVectors(at('e.npy'));
  assert.deepEqual([none.count, none.width], [0, 64]);
  none.close();
  assert.equal(fs.readFileSync(at('e.jsonl'), 'utf8'), '');
  fs.writeFileSync(at('huge.txt'), `${'many words '.repeat(9100)}\n${'x'.repeat(100_000)}\n`);
  const { args } = parseEncodeArguments([...model, at('huge.txt'), '--output', at('g.npy')]);
  await encodeFiles(args, { report: silentReporter });
  const huge = openVectors(at('g.npy'));
  assert.ok((await huge.read(0, 2)).every(Number.isFinite));
  huge.close();
});

test('what is no text is refused, with its place, and leaves no file', async () => {
  for (const [name, content, wrong] of [
    [
      'broken.jsonl',
      '{"text": "a"}\n{"text": ',
      /broken\.jsonl:2: expected a JSON object, found broken JSON/,
    ],
    [
      'list.jsonl',
      '{"text": "a"}\n{"text": ["b"]}\n',
      /list\.jsonl:2: expected "text" to be a text, found \["b"\]/,
    ],
    ['field.jsonl', '{"query": "a"}\n', /field\.jsonl:1: expected "text" to be a text, found nothing/],
    ['half.jsonl', '{"text": "\\ud83d"}\n', /half\.jsonl:1: expected "text" to be text/],
    ['id.jsonl', '{"text": "a", "id": 1.5}\n', /id\.jsonl:1: expected "id" to be a text or a whole number/],
    ['latin.jsonl', Buffer.from('{"text": "\xfc"}\n', 'latin1'), /latin\.jsonl:1: expected UTF-8 text/],
    [
      'latin.txt',
      Buffer.from('a\nb\n\xfc\n', 'latin1'),
      /latin\.txt:3: expected UTF-8 text, found other bytes/,
    ],
  ] as [string, string | Buffer, RegExp][]) {
    fs.writeFileSync(at(name), content);
    await assert.rejects(encode(at(name), '--output', at('wrong.npy')), wrong, name);
    assert.deepEqual(
      fs.readdirSync(folder).filter((found) => found.includes('wrong')),
      [],
    );
  }
  for (const [words, wrong] of [
    [[], /--output: expected a path, or - for standard output/],
    [
      ['--output', 'x.bin'],
      /--output: expected a name that ends with \.jsonl, \.npy, \.safetensors, or --format/,
    ],
    [['--output', '-', '--format', 'npy'], /--format: expected jsonl on standard output, found npy/],
    [['--output', '-', '--resume'], /--resume: expected an --output that is a file/],
    [['--output', '-', '-', '-'], /standard input \(-\) once/],
    [
      ['--output', '-', '--representations', 'dense,late'],
      /--representations: expected some of dense, sparse, colbert/,
    ],
    [['--output', '-', '--representations', 'dense,dense'], /--representations: expected/],
    [['--output', '-', at('nowhere.txt')], /nowhere\.txt: cannot read: no such file/],
    [['--output', at('none/x.npy'), at('one.txt')], /--output: .*cannot write/],
    [
      ['--output', '-', at('one.txt'), '--truncate_dim', '65'],
      /--truncate_dim: expected at most 64, .* found 65/,
    ],
  ] as [string[], RegExp][])
    await assert.rejects(async () => encode(...words), wrong, words.join(' '));
  const { notices } = parseEncodeArguments([
    ...[...model, '--output', '-', '--dtype', 'f16', '--query_max_length', '9', '--embedder_batch_size', '3'],
    ...['--max_length', '8', '--passage_max_length', '7', '--passage_instruction_format', '{} {}'],
  ]);
  assert.deepEqual(notices.toSorted(), [
    '--batch_size has no effect here: --batch_tokens bounds a batch, and texts are not padded',
    '--dtype has no effect on JSON, whose numbers are those of f32',
    '--passage_instruction_format has no effect without --passage_instruction_for_retrieval',
    '--passage_max_length has no effect beside --max_length',
    '--query_max_length has no effect with --role passage',
  ]);
});

test('standard input is lines or JSON, however its bytes come', async () => {
  const texts = async (pieces: (string | Buffer)[], options: Partial<InputOptions> = {}) => {
    const input = (async function* () {
      for (const piece of pieces) yield Buffer.from(piece as string);
    })();
    const all = { format: 'auto', fields: ['text'], idField: undefined, ...options } as const;
    const found: InputText[] = [];
    for await (const text of readTexts(['-'], all, input)) found.push(text);
    return found;
  };
  const plain = (...of: string[]) => of.map((text) => ({ text, id: undefined }));
  const ue = Buffer.from('ü');
  assert.deepEqual(await texts([]), []);
  assert.deepEqual(await texts(['a', 'b\r', '\n\nc']), plain('ab', '', 'c'));
  assert.deepEqual(await texts([ue.subarray(0, 1), ue.subarray(1), '\n']), plain('ü'));
  assert.deepEqual(await texts(['\ufeffa\n']), plain('a'));
  assert.deepEqual(await texts(['\n \na']), plain('', ' ', 'a'));
  assert.deepEqual(await texts(['\n\n']), plain('', ''));
  assert.deepEqual(await texts(['\n {"te', 'xt":"a","id":3}\n\n{"text":"b"}']), [
    { text: 'a', id: 3 },
    { text: 'b', id: undefined },
  ]);
  assert.deepEqual(await texts(['{"text":"a"}'], { format: 'lines' }), plain('{"text":"a"}'));
  await assert.rejects(texts(['{"text":"a"}\n', 'b\n']), /standard input:2: expected a JSON object/);
  await assert.rejects(
    texts(['{"text":"a"}'], { idField: 'key' }),
    /standard input:1: expected "key" to name the text/,
  );
});
