/** Encoding as a user has it: dense vectors, ColBERT vectors, lexical weights, and the scores of pairs. */
import { encodeTexts } from '../retrieval/encode/encode-texts.js';
import { hybridScores } from '../retrieval/pair-scores.js';
import type { Comparison } from './comparison.js';
import { largestError } from './measures.js';

export async function checkEncode(parity: Comparison): Promise<void> {
  const golden = parity.json<{
    max_length: number;
    texts: string[];
    lexical_weights: Record<string, number>[];
    pairs: [string, string][];
    weights: [number, number, number];
    scores: Record<string, number[]>;
  }>('encode.json');
  const goldens = parity.open('encode.safetensors');
  const model = parity.load();
  const encodeAll = (texts: string[]) =>
    encodeTexts(model, parity.tokenizer, texts, { maxLength: golden.max_length });
  const embeddings = await encodeAll(golden.texts);
  const dense = embeddings.flatMap((embedding) => [...embedding.dense]);
  parity.check('encode', 'dense', largestError(dense, goldens.read('dense')), parity.bounds.encode);
  let colbert = 0;
  let lexical = 0;
  for (const [i, embedding] of embeddings.entries()) {
    colbert = Math.max(colbert, largestError(embedding.colbert, goldens.read(`colbert_${i}`)));
    const wanted = golden.lexical_weights[i]!;
    const ids = new Set([...Object.keys(wanted), ...[...embedding.lexical.keys()].map(String)]);
    for (const id of ids)
      lexical = Math.max(lexical, Math.abs((wanted[id] ?? 0) - (embedding.lexical.get(Number(id)) ?? 0)));
  }
  parity.check('encode', 'ColBERT vectors', colbert, parity.bounds.encode);
  parity.check('encode', 'lexical weights', lexical, parity.bounds.encode);
  const left = await encodeAll(golden.pairs.map(([query]) => query));
  const right = await encodeAll(golden.pairs.map(([, passage]) => passage));
  const scores = left.map((query, i) => hybridScores(query, right[i]!, golden.weights));
  for (const [name, wanted] of Object.entries(golden.scores)) {
    const got = scores.map((score) => score[name as keyof typeof score]);
    parity.check('encode', `${name} scores`, largestError(got, wanted), parity.bounds.encode);
  }
  model.dispose();
  goldens.close();
}
