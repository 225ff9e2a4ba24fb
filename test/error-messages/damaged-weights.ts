/** Files of weights that are damaged, of another kind, or unusual: safetensors, and what PyTorch wrote. */
import fs from 'node:fs';
import { golden } from '../repository.js';
import { legacyTorchFile, pickled, tensorPickle, zipOf, zipTorchFile } from '../torch-bytes.js';
import type { RefusedCalls } from './call.js';
import { COPIED, data } from './inputs.js';

const { raw, text, integer, tuple, u32 } = pickled;

/** A model with other weights, or with another head. */
const weights = (bytes: Uint8Array) => ({ ...data, 'COPY/model.safetensors': bytes });
const head = (bytes: Uint8Array) => ({ ...data, 'COPY/sparse_linear.pt': bytes });

/** A safetensors file of a header and so many zeros. */
function safetensors(header: string, zeros = 0): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, Buffer.from(header), Buffer.alloc(zeros)]);
}
const f32 = (name: string, begin: number, end: number) =>
  `"${name}":{"dtype":"F32","shape":[${(end - begin) / 4}],"data_offsets":[${begin},${end}]}`;

/** The golden model's weights with another dtype of the same width in its header, for one tensor. */
function withIntegers(name: string): Buffer {
  const bytes = fs.readFileSync(golden('model', 'model.safetensors'));
  const at = bytes.indexOf('F32', bytes.indexOf(`"${name}"`));
  bytes.write('I32', at, 'latin1');
  return bytes;
}

/** A head as versions before 1.6 wrote it: `content`, then the list of storages with their elements. */
const one = { offset: 0, shape: [1], strides: [1] };
const legacyEnd = 3 + 6 + 2 + 8 + 4;
const legacy = (content: Parameters<typeof legacyTorchFile>[0], end: Uint8Array): Buffer =>
  Buffer.concat([legacyTorchFile(content, 1).subarray(0, -legacyEnd), end]);
const count = (elements: number) => Buffer.concat([u32(elements), u32(0)]);
const listed = (...keys: Uint8Array[]) =>
  Buffer.concat([raw('\x80\x02]'), ...keys.flatMap((key) => [key, raw('a')]), raw('.')]);
const weight = [['weight', tensorPickle(1, one)]] as const;

export const damagedWeights: RefusedCalls = {
  finetune: [
    {
      words: COPIED,
      files: weights(safetensors(`{${f32('a', 4, 8)}}`, 8)),
      line: 'COPY/model.safetensors: tensor "a": leaves a gap: expected to begin at 0, found 4',
    },
    {
      words: COPIED,
      files: weights(
        safetensors(
          `{"__metadata__":{${Array.from({ length: 2 ** 16 + 1 }, (_, i) => `"${i}":""`).join()}}}`,
        ),
      ),
      line: 'COPY/model.safetensors: __metadata__: expected at most 65536 entries, found more',
    },
    {
      words: COPIED,
      files: weights(
        safetensors(
          `{${f32('encoder.layer.0.output.dense.bias', 0, 4)},${f32('encoder.layer.1.output.dense.bias', 4, 8)}}`,
          8,
        ),
      ),
      line: 'COPY/model.safetensors: expected the weights of an encoder, found no tensor "embeddings.word_embeddings.weight" under any prefix (it has "encoder.layer.0.output.dense.bias", "encoder.layer.1.output.dense.bias")',
    },
    {
      words: COPIED,
      files: data,
      before: () => {
        const entry = ':{"dtype":"U8","shape":[],"data_offsets":[0,1]}';
        const names = Array.from({ length: 2 ** 17 + 1 }, (_, i) => `"${i}"${entry}`);
        fs.writeFileSync('COPY/model.safetensors', safetensors(`{${names.join()}}`));
        return {};
      },
      line: 'COPY/model.safetensors: expected at most 131072 tensors, found more',
    },
    {
      words: COPIED,
      files: weights(withIntegers('embeddings.LayerNorm.bias')),
      line: 'COPY/model.safetensors: tensor "embeddings.LayerNorm.bias": expected floats, found i32',
    },
    {
      words: COPIED,
      files: head(zipTorchFile(text('x'), 0)),
      line: 'COPY/sparse_linear.pt: expected a dict of tensors, found "x"',
    },
    {
      words: COPIED,
      files: head(zipTorchFile([['epoch', integer(3)]], 0)),
      line: 'COPY/sparse_linear.pt: expected a dict of tensors, found only "epoch"',
    },
    {
      words: COPIED,
      files: head(zipOf([['archive/version', raw('3\n')]])),
      line: 'COPY/sparse_linear.pt: not a PyTorch file: expected one data.pkl in the zip, found 0',
    },
    {
      words: COPIED,
      files: head(legacyTorchFile(weight, 1).fill(0xe8, 18, 19)),
      line: 'COPY/sparse_linear.pt: expected protocol 1001, found 1000',
    },
    {
      words: COPIED,
      files: head(
        legacy(
          [...weight, ['bias', tensorPickle(2, one)]],
          Buffer.concat([listed(text('0')), count(1), u32(0)]),
        ),
      ),
      line: 'COPY/sparse_linear.pt: storage "0" is described in two ways',
    },
    {
      words: COPIED,
      files: head(legacy(weight, Buffer.concat([raw('\x80\x02'), text('0'), raw('.')]))),
      line: 'COPY/sparse_linear.pt: expected a list of storages, found "0"',
    },
    {
      words: COPIED,
      files: head(legacy(weight, Buffer.concat([listed(text('0'), text('0')), count(1), u32(0)]))),
      line: 'COPY/sparse_linear.pt: storage "0" is listed twice',
    },
    {
      words: COPIED,
      files: head(legacy(weight, Buffer.concat([listed(text('0')), count(2), u32(0)]))),
      line: 'COPY/sparse_linear.pt: storage "0": expected 1 f32, found 2',
    },
    {
      words: COPIED,
      files: head(legacy(weight, Buffer.concat([listed(text('0')), count(1)]))),
      line: 'COPY/sparse_linear.pt: storage "0": expected 1 f32, found 0 bytes (truncated)',
    },
    {
      words: COPIED,
      files: head(zipTorchFile(tuple(raw('s')), 0)),
      line: 'COPY/sparse_linear.pt: pickle: takes from an empty stack',
    },
    {
      words: COPIED,
      files: head(zipTorchFile(weight, 1).subarray(0, -4)),
      line: 'COPY/sparse_linear.pt: damaged zip: truncated: no end record (the file was not fetched whole?)',
    },
  ],
};
