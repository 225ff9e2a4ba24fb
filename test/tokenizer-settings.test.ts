/** What a tokenizer folder says beside its vocabulary, against the ids of transformers 4.57 (golden/tokenizers/make.py). */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { InputError } from '../src/errors.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';

const golden = path.join(import.meta.dirname, '../../test/golden');
const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-tokenizer-settings-test-'));
after(() => fs.rmSync(temporary, { recursive: true, force: true }));

type Json = Record<string, unknown>;
type Rows = string[] | Record<string, string>;
interface Case {
  name: string;
  base: string;
  changes: Record<string, Json | null>;
  ids?: Rows;
  cut?: Rows;
  error?: string;
  /** The ids of transformers 5, for a folder that 4.57 refuses. */
  ids5?: Rows;
  cut5?: Rows;
  /** Texts for which transformers 5 has other ids, or why it refuses the folder. */
  transformers5: number[] | string;
}
const { texts, cases } = JSON.parse(
  fs.readFileSync(path.join(golden, 'tokenizers', 'cases.json'), 'utf8'),
) as { texts: string[]; cases: Case[] };

const BASES: Record<string, string> = {
  xlmr: path.join(golden, 'model'),
  wordpiece: path.join(golden, 'tokenizers', 'wordpiece'),
  bytelevel: path.join(golden, 'tokenizers', 'bytelevel'),
};
const FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'sentencepiece.bpe.model',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
  'config.json',
];

/** `a.b.0` into JSON; a place behind the end of a list makes it longer. */
function put(value: unknown, place: string, found: unknown): void {
  const keys = place.split('.');
  const last = keys.pop()!;
  let at = value as Json;
  for (const key of keys) at = at[key] as Json;
  at[last] = found;
}

/** "KEEP" stands for the base's own normalizer. */
function resolved(value: unknown, kept: unknown): unknown {
  if (value === 'KEEP') return kept;
  if (Array.isArray(value)) return value.map((member) => resolved(member, kept));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, resolved(member, kept)]));
}

function folderOf({ base, changes }: Case): string {
  const folder = fs.mkdtempSync(path.join(temporary, 'case-'));
  for (const name of FILES) {
    const source = path.join(BASES[base]!, name);
    if (fs.existsSync(source)) fs.copyFileSync(source, path.join(folder, name));
  }
  for (const [name, change] of Object.entries(changes)) {
    const file = path.join(folder, name);
    if (change === null) {
      fs.rmSync(file, { force: true });
      continue;
    }
    const content = (fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : {}) as Json;
    const kept = structuredClone(content['normalizer']);
    for (const [place, found] of Object.entries(change))
      if (found === 'DELETE') delete content[place];
      else if (name === 'tokenizer.json') put(content, place, resolved(found, kept));
      else content[place] = found;
    fs.writeFileSync(file, JSON.stringify(content));
  }
  return folder;
}

function loaded(entry: Case): Tokenizer | InputError {
  const folder = folderOf(entry);
  try {
    return Tokenizer.load(folder);
  } catch (error) {
    assert.ok(error instanceof InputError, `${entry.name}: ${(error as Error).stack}`);
    assert.ok(error.message.startsWith(folder) && !error.message.includes('\n'), error.message);
    return error;
  }
}

const rowsOf = (entry: Case, key: 'ids' | 'cut' | 'ids5' | 'cut5'): string[] => {
  const rows = entry[key]!;
  if (Array.isArray(rows)) return rows;
  const first = cases.find(({ base }) => base === entry.base)![
    key.startsWith('ids') ? 'ids' : 'cut'
  ] as string[];
  return first.map((row, i) => rows[i] ?? row);
};

/** Refused though transformers 4.57 loads them. */
const REFUSED = new Set([
  // A stated id that is not the one that transformers gives.
  'added_tokens.json with a hole',
  'added_tokens.json far beyond',
  'added_tokens_decoder, wrong ids',
  'an added token in the JSON, other id',
  'an added token in the JSON, far beyond',
  'added tokens in the JSON, out of order',
  // Read from elsewhere, or by rules of classes that no model here has.
  'from_slow',
  'fast_tokenizer_files',
  'bytelevel, vocab.json and merges.txt only',
  ...['Camembert', 'Llama', 'T5', 'MPNet'].map((name) => `tokenizer_class ${name}Tokenizer`),
  ...['MPNet', 'BertJapanese'].map((name) => `wordpiece, tokenizer_class ${name}Tokenizer`),
  // What cannot be told without following each character through the normaliser.
  'prepend_scheme first',
  'Replace of another pattern',
  'template without the text',
  'template with the text twice',
]);

/** Without a notice: transformers 5 differs where white space begins or ends a text or is repeated. */
const UNNOTICED = new Set([
  'add_prefix_space true in an old Metaspace',
  'pre_tokenizer Metaspace only',
  'Replace of a text',
]);

test('ids are those of transformers 4.57, whole and cut, or the folder is refused', () => {
  const wrong: string[] = [];
  for (const entry of cases) {
    const tokenizer = loaded(entry);
    if (tokenizer instanceof InputError) {
      if (entry.error === undefined && !REFUSED.has(entry.name))
        wrong.push(`${entry.name}: ${tokenizer.message}`);
      continue;
    }
    if (REFUSED.has(entry.name)) wrong.push(`${entry.name}: expected it to be refused`);
    // What only transformers 5 can read has its ids.
    const newer = entry.error !== undefined;
    if (newer && entry.ids5 === undefined) {
      wrong.push(`${entry.name}: accepted, transformers: ${entry.error}`);
      continue;
    }
    for (const [key, limit] of [
      [newer ? 'ids5' : 'ids', undefined],
      [newer ? 'cut5' : 'cut', 7],
    ] as const)
      rowsOf(entry, key).forEach((row, i) => {
        const found = tokenizer.encode(texts[i]!, limit).join(' ');
        if (found !== row)
          wrong.push(`${entry.name} ${key}: ${JSON.stringify(texts[i])}: ${found} instead of ${row}`);
      });
    const differs = entry.transformers5.length > 0;
    if (differs && tokenizer.notices.length === 0 && !UNNOTICED.has(entry.name))
      wrong.push(`${entry.name}: no notice, though transformers 5 differs: ${entry.transformers5}`);
    if (!differs && tokenizer.notices.some((line) => line.includes('transformers 5')))
      wrong.push(`${entry.name}: a notice, though transformers 5 has the same ids: ${tokenizer.notices}`);
  }
  assert.deepEqual(wrong, []);
});

test('an id without a row is found where the tokenizer meets the model', () => {
  const entry = (name: string) => cases.find((found) => found.name === name)!;
  const late = Tokenizer.load(folderOf(entry('an added token in the JSON')));
  assert.equal(late.largestId, 4000);
  late.requireRows(4001);
  assert.throws(() => late.requireRows(4000), {
    name: 'InputError',
    message: `${late.folder}: expected the tokenizer's ids to be below the 4000 rows of the model's word embeddings, found 4000 for "dawntune"`,
  });
  const template = Tokenizer.load(folderOf(entry('template with ids beyond the vocabulary')));
  assert.throws(() => template.requireRows(4000), {
    name: 'InputError',
    message: /found 5000 in its template/,
  });
});

/** The places of a value's members, the first few of each list and object. */
function* places(value: unknown, place: readonly string[] = []): Generator<readonly string[]> {
  if (place.length > 0) yield place;
  if (typeof value === 'object' && value !== null)
    for (const key of Object.keys(value).slice(0, 6)) yield* places((value as Json)[key], [...place, key]);
}

test('whatever a member is replaced by: a tokenizer that works, or one line', () => {
  const base = JSON.parse(fs.readFileSync(path.join(BASES['wordpiece']!, 'tokenizer.json'), 'utf8')) as Json;
  base['truncation'] = { direction: 'Right', max_length: 5, strategy: 'LongestFirst', stride: 0 };
  const folder = fs.mkdtempSync(path.join(temporary, 'odd-'));
  const file = path.join(folder, 'tokenizer.json');
  let worked = 0;
  for (const place of places(base))
    for (const odd of [null, [], {}, 'x', -1, 1e99, { type: 'toString' }, '\ud800']) {
      const changed = structuredClone(base);
      put(changed, place.join('.'), odd);
      fs.writeFileSync(file, JSON.stringify(changed));
      try {
        Tokenizer.load(folder).encode('Hello world [MASK]');
        worked++;
      } catch (error) {
        const { message, stack } = error as Error;
        assert.ok(error instanceof InputError, `${place.join('.')} ${JSON.stringify(odd)}: ${stack}`);
        assert.ok(message.startsWith(folder) && !message.includes('\n') && message.length < 1500, message);
      }
    }
  assert.ok(worked > 20, `${worked} worked`);
});
