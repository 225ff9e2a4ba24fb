/** Models whose numbers leave the range of what computes them. */
import fs from 'node:fs';
import { golden } from '../repository.js';
import type { RefusedCalls, Stage } from './call.js';
import { COPIED, data, fillTensor } from './inputs.js';

const WEIGHTS = 'COPY/model.safetensors';
/** Rows of the golden model's table of words: those of what is written as a query, and as a passage. */
const [A, B] = [21, 44];

const words = (row: number) => (): Stage => {
  fillTensor(WEIGHTS, 'embeddings.word_embeddings.weight', 3e38, row, row + 1);
  return {};
};
const rest = 'this model leaves the range of float32: its weights are damaged, or its training went astray';

export const notFinite: RefusedCalls = {
  finetune: [
    {
      words: `${COPIED} --fp16 --deepspeed d.json`,
      files: { ...data, 'd.json': '{"fp16":{"enabled":true,"initial_scale_power":0,"hysteresis":1}}' },
      before: () => {
        fillTensor(WEIGHTS, 'embeddings.LayerNorm.weight', 60000);
        return {};
      },
      line: /^step 1, loss NaN: f16 overflows at the smallest loss scale/,
      status: 1,
    },
  ],
  encode: [
    {
      words: '--model_name_or_path COPY --output out.jsonl a.txt',
      files: { 'a.txt': 'c\na\n' },
      before: words(A),
      line: `the values of text 2 of the input are not finite (NaN); ${rest}`,
      status: 1,
    },
    {
      words: '--model_name_or_path COPY --output out.jsonl --fp16 a.txt',
      files: { 'a.txt': 'a\n' },
      before: () => {
        fillTensor(WEIGHTS, 'embeddings.LayerNorm.weight', 60000);
        return {};
      },
      line: 'the values of text 1 of the input are not finite (NaN); without --fp16 the model computes in a wider range',
      status: 1,
    },
  ],
  score: [
    {
      words: '--input_file a.jsonl --output_file b.jsonl --model_name_or_path COPY',
      files: data,
      before: words(B),
      line: `the dense score of query 1 and passage 1 is not finite (NaN); ${rest}`,
      status: 1,
    },
    {
      words: '--input_file a.jsonl --output_file b.jsonl --reranker_name_or_path COPY --fp16',
      files: data,
      before: () => {
        fs.cpSync(golden('rerankers', 'xlm-roberta'), 'COPY', { recursive: true });
        fillTensor(WEIGHTS, 'roberta.embeddings.LayerNorm.weight', 60000);
        return {};
      },
      line: 'the score of pair 1 is not finite (NaN); without --fp16 the model computes in a wider range',
      status: 1,
    },
  ],
};
