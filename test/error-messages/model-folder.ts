/** A model's folder: its configuration, tokenizer and weights. */
import fs from 'node:fs';
import { golden } from '../repository.js';
import type { RefusedCalls } from './call.js';
import { failing } from './faults.js';
import { COPIED, data, TRAIN } from './inputs.js';

const config = (changes: object) =>
  JSON.stringify({ ...JSON.parse(fs.readFileSync(golden('model', 'config.json'), 'utf8')), ...changes });
/** A safetensors file that ends with its header. */
const header = (text: string) => `${String.fromCharCode(text.length)}\0\0\0\0\0\0\0${text}`;

const TOKENIZER = JSON.parse(fs.readFileSync(golden('model', 'tokenizer.json'), 'utf8'));
/** The golden tokenizer with other parts; `ofMask`: of the added token <mask>. */
const tokenizer = (changes: object, ofMask: object = {}) =>
  JSON.stringify({
    ...TOKENIZER,
    added_tokens: TOKENIZER.added_tokens.map((token: { content: string }) =>
      token.content === '<mask>' ? { ...token, ...ofMask } : token,
    ),
    ...changes,
  });

export const modelFolder: RefusedCalls = {
  finetune: [
    {
      words: TRAIN.replace('MODEL', 'none/at/all'),
      files: data,
      line: '--model_name_or_path: none/at/all: no such folder, and no name of the hub, which would be org/name',
    },
    {
      words: COPIED.replace('COPY', 'https://hub.example/org/name'),
      line: '--model_name_or_path: https://hub.example/org/name: no such folder, and no name of the hub, which would be org/name: did you mean org/name?',
    },
    {
      words: COPIED.replace('COPY', 'bge-m3'),
      line: '--model_name_or_path: bge-m3: no such folder, and no name of the hub, which would be org/name: did you mean BAAI/bge-m3?',
    },
    {
      words: TRAIN.replace('MODEL', 'empty'),
      files: { ...data, empty: null },
      line: '--model_name_or_path: empty: expected a model folder, found no config.json in it',
    },
    {
      words: TRAIN.replace('MODEL', 'a.jsonl'),
      files: data,
      line: '--model_name_or_path: a.jsonl: expected a model folder, found a file; give the folder that it is in',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': '{' },
      line: /^COPY\/config\.json: expected JSON, found /,
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': '[]' },
      line: 'COPY/config.json: expected a JSON object, found []',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': '{"model_type":"gpt2"}' },
      line: 'COPY/config.json: model_type: expected "xlm-roberta", "roberta", "bert", found "gpt2"',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/tokenizer.json': '{}' },
      line: 'COPY/tokenizer.json: model: expected an object, found nothing',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/model.safetensors': 'x' },
      line: 'COPY/model.safetensors: not a safetensors file: expected at least 8 bytes, found 1',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/sparse_linear.pt': 'x' },
      line: 'COPY/sparse_linear.pt: not a PyTorch file: expected a zip or a pickle of torch.save, found bytes 78',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': config({ num_hidden_layers: 9 }) },
      line: 'COPY/config.json: num_hidden_layers: expected at most 2, the layers in COPY/model.safetensors, found 9',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': config({ hidden_size: 32 }) },
      line: 'COPY/model.safetensors: tensor "embeddings.word_embeddings.weight" has shape [4000,64], expected [4000,32], as config.json says',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': config({ vocab_size: 100 }) },
      line: 'COPY: expected the tokenizer\'s ids to be below the 100 rows of the model\'s word embeddings, found 3999 for "<mask>"',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': new Uint8Array([0x22, 0xff, 0x22]) },
      line: 'COPY/config.json: expected JSON, found bytes that are no UTF-8',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/config.json': `${'['.repeat(5000)}` },
      line: /^COPY\/config\.json: expected JSON, found /,
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/model.safetensors': header('{}') },
      line: 'COPY/config.json: num_hidden_layers: expected at most 0, the layers in COPY/model.safetensors, found 2',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/model.safetensors': header('{"a"}') },
      line: 'COPY/model.safetensors: not a safetensors file: the header is not JSON: expected ":" at byte 4, found "}"',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/model.safetensors': header('{"__metadata__":1}') },
      line: 'COPY/model.safetensors: __metadata__: expected an object of strings, found "1"',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/model.safetensors': header('{"__metadata__":{"a":1}}') },
      line: 'COPY/model.safetensors: __metadata__: "a": expected a string, found "1"',
    },
    {
      words: COPIED,
      files: {
        ...data,
        'COPY/model.safetensors': header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'),
      },
      line: 'COPY/model.safetensors: tensor "a": truncated: expected data up to byte 4, the file has 0 bytes of data',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/model.safetensors': header('{"__metadata__":{},"__metadata__":{}}') },
      line: 'COPY/model.safetensors: the header has "__metadata__" twice',
    },
    {
      words: COPIED,
      files: data,
      before: () => failing('realpathSync', /COPY\/tokenizer\.json$/, 'ELOOP'),
      line: 'COPY/tokenizer.json: cannot read: links that lead in a circle',
    },
    {
      words: COPIED,
      files: data,
      before: () => {
        fs.writeFileSync('COPY/vocab.txt', '');
        fs.truncateSync('COPY/vocab.txt', 2 ** 28 + 1);
        return {};
      },
      line: 'COPY/vocab.txt: expected at most 256 MiB, found 257',
    },
    {
      words: COPIED,
      files: {
        ...data,
        'COPY/tokenizer.json': tokenizer(
          { normalizer: { type: 'Replace', pattern: { String: '<mask>' }, content: '' } },
          { normalized: true },
        ),
      },
      line: 'COPY: tokenizer: the added token "<mask>" is nothing after normalisation',
    },
    {
      words: COPIED,
      files: {
        ...data,
        'COPY/tokenizer.json': tokenizer({
          model: { type: 'BPE', vocab: { a: 0 }, merges: [], unk_token: 'a' },
          added_tokens: [],
          post_processor: null,
        }),
        'COPY/special_tokens_map.json': '{}',
        'COPY/tokenizer_config.json': '{"tokenizer_class":"PreTrainedTokenizerFast"}',
      },
      line: 'COPY: tokenizer: expected a cls_token, found none that it knows',
    },
    {
      words: COPIED,
      files: { ...data, 'COPY/sentencepiece.bpe.model': 'x' },
      before: () => {
        fs.rmSync('COPY/tokenizer.json');
        return {};
      },
      line: /^COPY\/sentencepiece\.bpe\.model: broken: /,
    },
  ],
};
