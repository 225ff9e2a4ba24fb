/** The rerankers of test/golden/rerankers, with the tokenizers that they were made with. */
import fs from 'node:fs';
import path from 'node:path';
import { golden } from './repository.js';

interface Case {
  readonly max_length: number;
  readonly query_max_length: number | null;
  readonly ids: number[][];
  readonly types: (number[] | null)[];
  readonly logits: number[];
}

export const rerankers = JSON.parse(fs.readFileSync(golden('rerankers', 'pairs.json'), 'utf8')) as {
  readonly pairs: [query: string, passage: string][];
  readonly models: Record<string, Case[]>;
};

/** A whole model folder `name` in `folder`. */
export function rerankerFolder(folder: string, name: string): string {
  const whole = path.join(folder, name);
  if (fs.existsSync(whole)) return whole;
  fs.cpSync(golden('rerankers', name), whole, { recursive: true });
  const tokenizer = name === 'bert' ? golden('tokenizers', 'wordpiece') : golden('model');
  for (const file of ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'])
    if (fs.existsSync(path.join(tokenizer, file)))
      fs.copyFileSync(path.join(tokenizer, file), path.join(whole, file));
  return whole;
}
