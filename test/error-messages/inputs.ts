/** Rows and words of calls that are right, for those that are wrong in one thing. */
export const ROW = '{"query":"a","pos":["b"],"neg":["c"]}';
export const rowsOf = (...lines: string[]) => ({ 'a.jsonl': `${lines.join('\n')}\n` });
export const data = rowsOf(ROW, ROW);
export const TRAIN =
  '--model_name_or_path MODEL --train_data a.jsonl --output_dir out --train_group_size 2 --max_steps 1';
export const COPIED = TRAIN.replace('MODEL', 'COPY');
export const HUB = TRAIN.replace('MODEL', 'org/name');
