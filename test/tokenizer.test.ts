/** Token ids against the goldens and against the Rust tokenizers (npm `tokenizers`), which they must equal. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { Tokenizer as RustTokenizer } from 'tokenizers';
import { demoRows, demoTokenizerFolder } from '../src/demo/demo-data.js';
import { InputError } from '../src/errors.js';
import { Charsmap } from '../src/tokenizer/charsmap.js';
import { readSentencePiece } from '../src/tokenizer/sentencepiece.js';
import { TextCache } from '../src/tokenizer/text-cache.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';

const golden = path.join(import.meta.dirname, '../../test/golden');
const model = path.join(golden, 'model');
const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-tokenizer-test-'));
after(() => fs.rmSync(temporary, { recursive: true, force: true }));

interface Json {
  [field: string]: unknown;
}
const original = JSON.parse(fs.readFileSync(path.join(model, 'tokenizer.json'), 'utf8')) as Json;
const precompiled = original['normalizer'];
const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true };
const sequence = (...normalizers: unknown[]) => ({ type: 'Sequence', normalizers });

/** The shapes in which XLM-R tokenizers are found, and some that stress one component. */
const shapes: Record<string, Json> = {
  'whitespace, metaspace': original,
  'strip, replace, metaspace': {
    ...original,
    normalizer: sequence(
      precompiled,
      { type: 'Strip', strip_left: true, strip_right: true },
      { type: 'Replace', pattern: { Regex: ' {2,}' }, content: '▁' },
    ),
    pre_tokenizer: metaspace,
  },
  'nested, old metaspace, added tokens': {
    ...original,
    normalizer: sequence(sequence(precompiled), { type: 'Lowercase' }),
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', add_prefix_space: true },
    added_tokens: [
      ...(original['added_tokens'] as Json[]),
      {
        id: 4000,
        content: 'foo',
        single_word: true,
        lstrip: false,
        rstrip: false,
        normalized: true,
        special: false,
      },
      {
        id: 4001,
        content: 'Bar',
        single_word: false,
        lstrip: true,
        rstrip: true,
        normalized: false,
        special: false,
      },
    ],
  },
  'one word': {
    ...original,
    pre_tokenizer: { ...metaspace, split: false },
  },
  'one word, nothing before it': {
    ...original,
    pre_tokenizer: { ...metaspace, prepend_scheme: 'never', split: false },
  },
};

const { train, heldOut } = demoRows();
const corpus = [
  ...new Set([...train.flatMap(({ query, pos }) => [query, ...pos]), ...heldOut.map(({ query }) => query)]),
];
const every = (n: number, texts: readonly string[]) => texts.filter((_, i) => i % n === 0);
const decomposed = every(29, corpus).map((text) => text.normalize('NFD'));

const edges = [
  ['', ' ', '   ', '\n', '\t\n ', '\r\n', 'a\r\nb', '\u0085a\u0085b', 'a\u3000b\u00a0c', '\ufeffbom', 'x\u00ady'],
  ['👩‍👩‍👧‍👦 family', '👍🏽 ok a🏽', '🇩🇪🇫🇷🇯', '1\ufe0f\u20e3 #\ufe0f ©\ufe0f', '\u{1f9d1}\u200d\u{1f4bb}', 'a\u200db', 'a\u200b b'],
  ['ශ්‍රී ලංකා ක්‍ෂ', 'Tiếng Việt', 'Tiếng Việt'.normalize('NFD'), '한국어'.normalize('NFD'), '\u1100\u1161\u11a8 \u3131', 'ガギグ'.normalize('NFD')],
  ['ﾊﾝｶｸｶﾀｶﾅ ﾊﾟﾋﾟ', 'مُحَمَّد \u0600123 \u06dda', 'שָׁלוֹם', 'हिन्दी क्षत्रिय', 'ไทยน้ำ', 'ລາວນຳ', 'မြန်မာ', 'ខ្មែរ', '\u{110bd}a'],
  ['\u0000a\u0001b\u0007', 'a\ud800b', '\udc00', 'a\ud83d', '\ufffd\ufffe\u{10ffff}', '\u0301', 'e\u0301', 'a\u0308\u0304', '\n\u0301'],
  ['<s>', '</s>', 'a <mask> b', 'a<mask>b', 'a \u0085 <mask>  b <s> c </s>', '<pad><unk>', '＜ｓ＞', '＜mask＞ x', '<<s>>', '<s', '<mask><mask>'],
  ['▁', '▁▁a', 'a▁b', 'a ▁ b', 'foo Bar foo', 'foobar Bar  x', 'foo', 'xfoo foo. foo_', '  foo  Bar  '],
  ['…', 'ﷺ ﷻ', '①②③ ½ ﬁ ㍿ ㋿', 'Σίσυφος ΟΔΟΣ', 'İstanbul ẞ', '~～〜－。｡“”„', 'x'.repeat(3000), '漢字'.repeat(500), '𓀀𓀁 𓀂'],
].flat(); // biome-ignore format: a table

/** Strings over the whole of Unicode and over what joins, combines and separates; the same at every run. */
const fuzzed = fc
  .sample(
    fc.array(
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 4 }),
        fc.string({ unit: 'grapheme', maxLength: 4 }),
        fc.constantFrom(
          ' ',
          '  ',
          'a',
          '▁',
          '<mask>',
          '\u0301',
          '\u200d',
          '\ufe0f',
          '\u3099',
          '\u0e33',
          '\u1161',
          '\r',
          '\n',
        ),
      ),
      { maxLength: 6 },
    ),
    { numRuns: 2500, seed: 1 },
  )
  .map((parts) => parts.join(''));

function folderWith(json: Json): string {
  const folder = fs.mkdtempSync(path.join(temporary, 'model-'));
  fs.writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(json));
  return folder;
}

/** The texts whose ids differ from Rust's, both written out. */
async function differences(json: Json, texts: string[]): Promise<string[]> {
  const ours = Tokenizer.load(folderWith(json)).encodeBatch(texts);
  const theirs = await RustTokenizer.fromString(JSON.stringify(json)).encodeBatch(texts);
  return texts.flatMap((text, i) => {
    const [found, expected] = [ours[i]!.join(), theirs[i]!.getIds().join()];
    return found === expected ? [] : [`${JSON.stringify(text)}: ${found} instead of ${expected}`];
  });
}

test('the golden rows, whole and cut to 16', () => {
  type Row = { text: string; ids: number[]; ids_max16: number[] };
  const rows = JSON.parse(fs.readFileSync(path.join(golden, 'tokenizer.json'), 'utf8')) as Row[];
  assert.equal(rows.length, 238);
  const tokenizer = Tokenizer.load(model);
  for (const { text, ids, ids_max16 } of rows) {
    assert.deepEqual([...tokenizer.encode(text, 16)], ids_max16, text);
    assert.deepEqual([...tokenizer.encode(text)], ids, text);
    assert.equal(tokenizer.countTokens(text), ids.length);
  }
});

for (const [name, json] of Object.entries(shapes))
  test(`equals Rust: ${name}`, async () => {
    const texts = [...every(json === original ? 4 : 12, corpus), ...decomposed, ...edges, ...fuzzed];
    assert.deepEqual(await differences(json, texts), []);
  });

test('equals Rust: every character of the first two planes', async () => {
  const texts = Array.from({ length: 0x20000 / 8 }, (_, i) =>
    String.fromCodePoint(...Array.from({ length: 8 }, (_, k) => 8 * i + k).flatMap((c) => [97, c, 32])),
  );
  assert.deepEqual(await differences(original, texts), []);
});

test('equals Rust: WordPiece', async () => {
  const words = new Set(corpus.flatMap((text) => text.match(/\p{L}+/gu) ?? []));
  const vocabulary = new Map(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'].map((token, id) => [token, id]));
  const add = (token: string) => vocabulary.has(token) || vocabulary.set(token, vocabulary.size);
  for (const character of new Set(
    [...corpus, ...edges]
      .join('')
      .replace(/\p{Cs}/gu, '')
      .normalize('NFD')
      .toLowerCase(),
  )) {
    add(character);
    add(`##${character}`);
  }
  for (const word of every(7, [...words])) add(word.toLowerCase());
  const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  const bert = (lowercase: boolean): Json => ({
    ...original,
    added_tokens: [...vocabulary].slice(0, 5).map(([content, id]) => ({
      ...(original['added_tokens'] as Json[])[0],
      id,
      content,
    })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [special('[CLS]'), { Sequence: { id: 'A', type_id: 0 } }, special('[SEP]')],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: {
        '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] },
        '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] },
      },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(vocabulary),
    },
  });
  // Rust's punctuation, marks and format characters are of an older Unicode than Node's.
  const newer = [0x9fd, 0xafe, 0x1886, 0x2e43, 0x2e58, 0x11be1].map((c) => `a${String.fromCodePoint(c)}b`);
  const texts = [...every(16, corpus), ...decomposed, ...edges, ...fuzzed, ...newer];
  assert.deepEqual(await differences(bert(true), texts), []);
  assert.deepEqual(await differences(bert(false), texts), []);
  const { clsId, sepId, padId, unkId, maskId, vocabSize } = Tokenizer.load(folderWith(bert(true)));
  assert.deepEqual([clsId, sepId, padId, unkId, maskId, vocabSize], [2, 3, 0, 1, 4, vocabulary.size]);
});

test('decode equals Rust', async () => {
  const tokenizer = Tokenizer.load(model);
  const rust = RustTokenizer.fromString(JSON.stringify(original));
  const ids = tokenizer.encodeBatch([...every(40, corpus), ...edges]).map((row) => Array.from(row));
  for (const skip of [true, false])
    assert.deepEqual(
      ids.map((row) => tokenizer.decode(row, skip)),
      await rust.decodeBatch(ids, skip),
    );
});

test('a cut text has the ids of the whole text, also where only its beginning is read', async () => {
  const joined = fc
    .array(fc.constantFrom(...every(97, corpus), ...edges.filter((text) => text.length < 100)), {
      minLength: 300,
      maxLength: 500,
    })
    .chain((texts) => fc.constantFrom(' ', '  ', '', '\n').map((space) => texts.join(space)));
  for (const json of Object.values(shapes)) {
    const folder = folderWith(json);
    const cut = Tokenizer.load(folder, { cacheSize: 0 });
    const whole = Tokenizer.load(folder, { cacheSize: 0 });
    fc.assert(
      fc.property(joined, fc.integer({ min: 2, max: 3000 }), (text, maxLength) => {
        const all = whole.encode(text);
        const expected = all.length <= maxLength ? all : [...all.subarray(0, maxLength - 1), all.at(-1)!];
        assert.deepEqual([...cut.encode(text, maxLength)], [...expected]);
      }),
      { numRuns: 8, seed: 7 },
    );
  }
});

test('400,000 characters, with spaces and without', async () => {
  const spaced = every(3, corpus).join(' ').slice(0, 400_000);
  for (const json of Object.values(shapes).slice(0, 2))
    assert.deepEqual(await differences(json, [spaced, spaced.replaceAll(' ', ''), ' '.repeat(400_000)]), []);
});

test('the cache changes no result', () => {
  const cached = Tokenizer.load(model, { cacheSize: 20_000 });
  const plain = Tokenizer.load(model, { cacheSize: 0 });
  const texts = every(50, corpus);
  for (const maxLength of [4, 64, undefined, 4])
    for (const text of [...texts, ...texts.slice(0, 3)]) {
      const ids = cached.encode(text, maxLength);
      assert.deepEqual(ids, plain.encode(text, maxLength));
      ids.fill(77); // The caller's own copy.
    }
});

test('the cache is bounded for texts of any length: what was not asked for longest goes first', () => {
  const cache = new TextCache(64_000);
  for (let i = 0; i < 5000; i++) cache.set(`${i}`, { ids: new Uint32Array(1), complete: true });
  const kept = Array.from({ length: 5000 }, (_, i) => i).filter((i) => cache.get(`${i}`));
  assert.ok(kept.length > 900 && kept.length < 1000, `${kept.length} texts`);
  assert.equal(kept[0], 5000 - kept.length);
});

test('special tokens, sizes and files of a model folder', () => {
  const tokenizer = Tokenizer.load(model);
  const { clsId, padId, sepId, unkId, maskId, vocabSize, modelMaxLength } = tokenizer;
  assert.deepEqual([clsId, padId, sepId, unkId, maskId], [0, 1, 2, 3, 3999]);
  assert.deepEqual([vocabSize, modelMaxLength], [4000, 512]);
  assert.deepEqual(
    [...tokenizer.files.keys()],
    ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'sentencepiece.bpe.model'],
  );
  assert.equal(Tokenizer.load(folderWith(original)).modelMaxLength, Number.POSITIVE_INFINITY);
});

test('the demo tokenizer: XLM-R order, below 1 MB, the same ids from sentencepiece.bpe.model alone', () => {
  const folder = demoTokenizerFolder();
  const tokenizer = Tokenizer.load(folder);
  const { clsId, padId, sepId, unkId, maskId, vocabSize } = tokenizer;
  assert.deepEqual([clsId, padId, sepId, unkId, maskId, vocabSize], [0, 1, 2, 3, 3999, 4000]);
  const bytes = [...tokenizer.files.values()].map(({ length }) => length);
  assert.ok(bytes.length === 4 && bytes.reduce((sum, size) => sum + size) <= 1e6);

  const alone = fs.mkdtempSync(path.join(temporary, 'alone-'));
  fs.copyFileSync(path.join(folder, 'sentencepiece.bpe.model'), path.join(alone, 'sentencepiece.bpe.model'));
  const converted = Tokenizer.load(alone);
  // WhitespaceSplit, which the conversion has not, also splits at U+0085, which the charsmap leaves alone.
  for (const text of [...every(20, corpus), ...edges.filter((edge) => !edge.includes('\u0085'))]) {
    assert.deepEqual(converted.encode(text), tokenizer.encode(text));
    assert.equal(tokenizer.encode(text).filter((id) => id >= 4000).length, 0);
  }
});

test('tokenizer files are read once, from the folder itself', async () => {
  const folder = fs.mkdtempSync(path.join(temporary, 'links-'));
  const outside = path.join(temporary, 'outside.json');
  fs.copyFileSync(path.join(model, 'tokenizer.json'), outside);
  fs.copyFileSync(outside, path.join(folder, 'tokenizer.json'));
  const tokenizer = Tokenizer.load(folder);
  fs.rmSync(path.join(folder, 'tokenizer.json'));
  assert.deepEqual(Buffer.from(tokenizer.files.get('tokenizer.json')!), fs.readFileSync(outside));
  const link = (name: string, target: string) => {
    fs.rmSync(path.join(folder, name), { force: true });
    fs.symlinkSync(target, path.join(folder, name));
  };
  link('tokenizer.json', outside);
  assert.throws(() => Tokenizer.load(folder), {
    name: 'InputError',
    message: /tokenizer\.json: .* a link to/,
  });
  link('tokenizer.json', path.join(folder, 'nowhere'));
  assert.throws(() => Tokenizer.load(folder), { name: 'InputError', message: /does not exist/ });
  fs.copyFileSync(outside, path.join(folder, 'here.json'));
  link('tokenizer.json', 'here.json');
  assert.equal(Tokenizer.load(folder).vocabSize, 4000);
  link('vocab.txt', outside);
  assert.throws(() => Tokenizer.load(folder), { name: 'InputError', message: /vocab\.txt: .* a link to/ });

  const cache = path.join(temporary, 'models--org--name');
  const snapshot = path.join(cache, 'snapshots', 'abc');
  fs.mkdirSync(snapshot, { recursive: true });
  fs.mkdirSync(path.join(cache, 'blobs'));
  fs.copyFileSync(outside, path.join(cache, 'blobs', '123'));
  fs.symlinkSync('../../blobs/123', path.join(snapshot, 'tokenizer.json'));
  assert.equal(Tokenizer.load(snapshot).vocabSize, 4000);
});

test('bad input is one line that names the file', () => {
  const folder = fs.mkdtempSync(path.join(temporary, 'bad-'));
  const file = path.join(folder, 'tokenizer.json');
  const fails = (content: Json | string, message: RegExp) => {
    fs.writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
    assert.throws(
      () => Tokenizer.load(folder),
      (error) => {
        assert.ok(error instanceof InputError, String(error));
        assert.match(error.message, message);
        assert.ok(error.message.startsWith(file) && !error.message.includes('\n'), error.message);
        return true;
      },
    );
  };
  assert.throws(() => Tokenizer.load(folder), {
    name: 'InputError',
    message: `${file}: no such file; a model folder needs its tokenizer.json, or sentencepiece.bpe.model for XLMRobertaTokenizer, or vocab.txt for BertTokenizer`,
  });
  fails('{"model": ', /expected JSON, found/);
  fails('[]', /expected a JSON object/);
  fails({}, /model: expected an object, found nothing/);
  fails({ ...original, normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAA' } }, /a charsmap/);
  fails({ ...original, normalizer: { type: 'Unheard' } }, /normalizer\.type: expected one of .*"Unheard"/);
  fails({ ...original, normalizer: { type: 'toString' } }, /normalizer\.type: expected one of .*"toString"/);
  fails({ ...original, pre_tokenizer: { type: 'Split' } }, /pre_tokenizer\.type: expected one of .*"Split"/);
  fails({ ...original, model: { ...(original['model'] as Json), unk_id: null } }, /model\.unk_id: expected/);
  fails({ ...original, model: { type: 'Unheard', vocab: {} } }, /model\.type: expected .*"Unheard"/);
  fs.rmSync(file);
  for (const [content, found] of [
    ['version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n', 'a Git LFS pointer'],
    ['<!doctype html><title>404</title>', 'a web page'],
    ['', 'an empty file'],
  ] as const)
    for (const name of ['sentencepiece.bpe.model', 'vocab.txt']) {
      const bare = fs.mkdtempSync(path.join(temporary, 'bare-'));
      fs.writeFileSync(path.join(bare, name), content);
      assert.throws(() => Tokenizer.load(bare), {
        name: 'InputError',
        message: new RegExp(`${name}: expected a vocabulary, found ${found}`),
      });
    }
  assert.throws(() => Tokenizer.load(model).encode('a', 1), { name: 'InputError', message: /at least 2/ });
  assert.throws(() => Charsmap.parse(new Uint8Array([8, 0, 0, 0, 1])), RangeError);
  assert.throws(() => readSentencePiece(new Uint8Array([10, 200, 1])), RangeError);
});
