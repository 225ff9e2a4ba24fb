/**
 * WordPiece and unigram ids against npm's `@huggingface/tokenizers`, an implementation in JavaScript that shares no
 * code with ours or with the Rust one. It decides nothing (its character classes are those of the running Node, not
 * those of the models' authors), so it is held against texts on which no class is in doubt.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { Tokenizer as PackageTokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { repositoryRoot } from './repository.js';

const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-tokenizer-package-'));
after(() => fs.rmSync(temporary, { recursive: true, force: true }));

function read(folder: string, file: string): Record<string, unknown> {
  return JSON.parse(fs.readFileSync(path.join(folder, file), 'utf8'));
}

/** A BERT tokenizer over all ASCII letters, marks and digits, and some pieces of words. */
function wordPieceFolder(): string {
  const marks = [...'!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~'];
  const letters = [...'abcdefghijklmnopqrstuvwxyz0123456789äöüéß東京'];
  const pieces = [
    'the',
    'cat',
    'un',
    '##want',
    '##ed',
    '##s',
    'run',
    '##ning',
    ...letters.map((c) => `##${c}`),
  ];
  const tokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...marks, ...letters, ...pieces];
  const vocab = Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id]));
  const special = (content: string) => ({
    id: vocab[content],
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const folder = path.join(temporary, 'bert');
  fs.mkdirSync(folder);
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'].map(special),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: '[CLS]', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '[SEP]', type_id: 0 } },
      ],
      pair: [
        { SpecialToken: { id: '[CLS]', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '[SEP]', type_id: 0 } },
        { Sequence: { id: 'B', type_id: 1 } },
        { SpecialToken: { id: '[SEP]', type_id: 1 } },
      ],
      special_tokens: {
        '[CLS]': { id: '[CLS]', ids: [vocab['[CLS]']], tokens: ['[CLS]'] },
        '[SEP]': { id: '[SEP]', ids: [vocab['[SEP]']], tokens: ['[SEP]'] },
      },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab,
    },
  };
  const config = {
    tokenizer_class: 'BertTokenizer',
    do_lower_case: true,
    unk_token: '[UNK]',
    cls_token: '[CLS]',
    sep_token: '[SEP]',
    pad_token: '[PAD]',
    mask_token: '[MASK]',
  };
  fs.writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(json));
  fs.writeFileSync(path.join(folder, 'tokenizer_config.json'), JSON.stringify(config));
  return folder;
}

const character = fc.constantFrom(
  ...'abcdefghijklmnopqrstuvwxyz ABCDEFXYZ 0123456789 .,!?-\'"() äöüÉß 東京 ',
);
const word = fc.constantFrom('the', 'cats', 'unwanted', 'running', 'Zebra', 'x'.repeat(120), '…');
const text = fc.array(fc.oneof(character, word), { maxLength: 60 }).map((parts) => parts.join(''));

const folders: [string, () => string, RegExp | null][] = [
  ['WordPiece', wordPieceFolder, null],
  // The package drops or doubles blanks at ends and in runs, where the Rust tokenizers and ours agree.
  ['unigram', () => path.join(repositoryRoot, 'test', 'golden', 'model'), /^ | {2}| $/],
];

for (const [name, make, doubtful] of folders)
  test(`${name}: the ids of another implementation`, () => {
    const folder = make();
    const ours = Tokenizer.load(folder);
    const other = new PackageTokenizer(read(folder, 'tokenizer.json'), read(folder, 'tokenizer_config.json'));
    let compared = 0;
    fc.assert(
      fc.property(text, (sample) => {
        if (doubtful?.test(sample)) return;
        compared++;
        assert.deepEqual([...ours.encode(sample)], [...other.encode(sample).ids], JSON.stringify(sample));
      }),
      { numRuns: 600, seed: 8 },
    );
    assert.ok(compared > 60, `${compared} texts were compared`);
  });
