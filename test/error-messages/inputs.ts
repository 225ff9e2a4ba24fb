/** Rows and words of calls that are right, for those that are wrong in one thing. */
import fs from 'node:fs';
import { f32ToF16 } from '../../src/tensor/dtype.js';

export const ROW = '{"query":"a","pos":["b"],"neg":["c"]}';
export const rowsOf = (...lines: string[]) => ({ 'a.jsonl': `${lines.join('\n')}\n` });
export const data = rowsOf(ROW, ROW);
export const TRAIN =
  '--model_name_or_path MODEL --train_data a.jsonl --output_dir out --train_group_size 2 --max_steps 1';
export const COPIED = TRAIN.replace('MODEL', 'COPY');
export const HUB = TRAIN.replace('MODEL', 'org/name');

/** Fills a tensor of a safetensors file, or its rows from `from` to `to`, with a number. */
export function fillTensor(
  file: string,
  name: string,
  value: number,
  from = 0,
  to = Number.POSITIVE_INFINITY,
): void {
  const bytes = fs.readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const { dtype, shape, data_offsets } = JSON.parse(bytes.toString('utf8', 8, 8 + length))[name];
  const [begin, end] = data_offsets as [number, number];
  const row = (end - begin) / shape[0];
  const half = dtype === 'F16';
  for (let at = begin + from * row; at < Math.min(end, begin + to * row); at += half ? 2 : 4)
    if (half) bytes.writeUInt16LE(f32ToF16(Float32Array.of(value))[0]!, 8 + length + at);
    else bytes.writeFloatLE(value, 8 + length + at);
  fs.writeFileSync(file, bytes);
}
