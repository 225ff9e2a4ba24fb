/**
 * Makes assets/demo-tokenizer/ anew: a SentencePiece unigram model of 4000 ids in XLM-R's form, trained on the
 * demo's training texts (never on the held-out messages).
 *
 *   npx tsc -b && node dist/scripts/train-demo-tokenizer.js
 *
 * Needs SentencePiece's `spm_train` (Debian: `apt-get install sentencepiece`), found on PATH or named by SPM_TRAIN.
 * The committed files were made with Debian's 0.1.97.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { demoTokenizerFolder, demoTrainingTexts } from '../src/demo/demo-data.js';
import { writeFileAtomic } from '../src/files/atomic.js';
import { readSentencePiece, xlmRobertaTokenizerJson } from '../src/tokenizer/sentencepiece.js';

const VOCABULARY = 4000;
/** fairseq's order adds `<pad>` and `<mask>` to SentencePiece's own pieces. */
const PIECES = VOCABULARY - 2;
const MAX_LENGTH = 512;

const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-tokenizer-'));
try {
  const texts = demoTrainingTexts();
  fs.writeFileSync(path.join(temporary, 'texts.txt'), `${texts.join('\n')}\n`);
  const program = process.env['SPM_TRAIN'] ?? 'spm_train';
  const { status, error } = spawnSync(
    program.includes(path.sep) ? path.resolve(program) : program,
    [
      '--input=texts.txt',
      '--model_prefix=model',
      `--vocab_size=${PIECES}`,
      '--model_type=unigram',
      '--normalization_rule_name=nmt_nfkc',
      '--character_coverage=0.9995',
      '--input_sentence_size=0',
      '--shuffle_input_sentence=false',
      '--num_threads=1',
      '--minloglevel=1',
    ],
    // The model file records its input's path: a relative one makes the same bytes anywhere.
    { cwd: temporary, stdio: ['ignore', 'inherit', 'inherit'] },
  );
  if (error !== undefined)
    throw new Error(`${program}: ${error.message}; apt-get install sentencepiece, or set SPM_TRAIN`);
  if (status !== 0) throw new Error(`${program} failed with status ${status}`);

  const model = fs.readFileSync(path.join(temporary, 'model.model'));
  const converted = xlmRobertaTokenizerJson(readSentencePiece(model));
  const added = (id: number) => ({
    id,
    content: converted.model.vocab[id]![0],
    single_word: false,
    lstrip: id === VOCABULARY - 1,
    rstrip: false,
    normalized: false,
    special: true,
  });
  // With the pipeline of transformers 5, so that every version gives the same ids.
  const tokenizer = {
    ...converted,
    added_tokens: [0, 1, 2, 3, VOCABULARY - 1].map(added),
    normalizer: converted.normalizer.normalizers[0],
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [{ type: 'WhitespaceSplit' }, converted.pre_tokenizer],
    },
  };
  if (tokenizer.model.vocab.length !== VOCABULARY)
    throw new Error(`expected ${VOCABULARY} ids, made ${tokenizer.model.vocab.length}`);
  const specialTokens = {
    bos_token: '<s>',
    eos_token: '</s>',
    sep_token: '</s>',
    cls_token: '<s>',
    unk_token: '<unk>',
    pad_token: '<pad>',
    mask_token: '<mask>',
  };
  const files: Record<string, string | Uint8Array> = {
    'sentencepiece.bpe.model': model,
    'tokenizer.json': `${JSON.stringify(tokenizer)}\n`,
    'special_tokens_map.json': `${JSON.stringify(specialTokens, null, 1)}\n`,
    'tokenizer_config.json': `${JSON.stringify({ tokenizer_class: 'XLMRobertaTokenizer', ...specialTokens, model_max_length: MAX_LENGTH }, null, 1)}\n`,
  };
  const folder = demoTokenizerFolder();
  fs.mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileAtomic(path.join(folder, name), content);
  console.log(`${folder}: ${VOCABULARY} ids from ${texts.length} texts`);
} finally {
  fs.rmSync(temporary, { recursive: true, force: true });
}
