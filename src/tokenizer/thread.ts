/** A thread of TokenizerThreads: a tokenizer of its own, which answers one request after the other. */
import { parentPort, workerData } from 'node:worker_threads';
import { asFailure, type ThreadAnswer, type ThreadData, type ThreadRequest } from './thread-messages.js';
import { Tokenizer } from './tokenizer.js';

const { source, cacheSize } = workerData as ThreadData;
let tokenizer: Tokenizer | undefined;

function answer({ id, texts, maxLength, lowerCase }: ThreadRequest): ThreadAnswer {
  try {
    tokenizer ??= Tokenizer.from(source, { cacheSize });
    const rows = (lowerCase ? tokenizer.lowerCased() : tokenizer).encodeBatch(texts, maxLength);
    const lengths = Uint32Array.from(rows, (row) => row.length);
    const ids = new Uint32Array(lengths.reduce((sum, length) => sum + length, 0));
    let at = 0;
    for (const row of rows) {
      ids.set(row, at);
      at += row.length;
    }
    return { id, ids, lengths };
  } catch (error) {
    return { id, failure: asFailure(error) };
  }
}

parentPort!.on('message', (request: ThreadRequest) => {
  const result = answer(request);
  parentPort!.postMessage(result, 'ids' in result ? [result.ids.buffer, result.lengths.buffer] : []);
});
