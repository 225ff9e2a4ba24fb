/** Threads that tokenize ahead of the GPU: whatever their number, the same losses, weights and embeddings to the bit. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { silentReporter } from '../src/console/reporter.js';
import { M3Model } from '../src/models/m3.js';
import { encodeTexts } from '../src/retrieval/encode/encode-texts.js';
import type { TextRole } from '../src/retrieval/texts.js';
import { TokenizerThreads } from '../src/tokenizer/threads.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { finetune } from '../src/train/trainer.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-data-workers-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const run = async (output: string, ...more: string[]) => {
  const words =
    `--model_name_or_path ${golden('model')} --train_data ${golden('example_data/retrieval/nq.jsonl')} ` +
    `--output_dir ${path.join(folder, output)} --train_group_size 2 --per_device_train_batch_size 2 --max_steps 3 ` +
    '--query_max_len 16 --passage_max_len 24 --unified_finetuning True --save_strategy no --logging_steps 1';
  const { log } = await finetune(
    parseFinetuneArguments([...words.split(' '), ...more]).args,
    silentReporter,
    lendGpu,
  );
  const weights = fs.readFileSync(path.join(folder, output, 'model.safetensors'));
  return { losses: log.map(({ loss }) => loss), weights };
};

test('training: 0, 1 and 2 threads take the same steps', async () => {
  const none = await run('none', '--dataloader_num_workers', '0');
  assert.ok(none.losses.filter((loss) => loss !== undefined).length >= 3);
  for (const threads of ['1', '2']) {
    const found = await run(`threads-${threads}`, '--dataloader_num_workers', threads);
    assert.deepEqual(found.losses, none.losses);
    assert.ok(found.weights.equals(none.weights), `${threads} threads`);
  }
});

test('encoding: with threads the embeddings are the same', async () => {
  const gpu = await lendGpu();
  const model = M3Model.load(gpu, golden('model'));
  try {
    const tokenizer = Tokenizer.load(golden('model'));
    const rows = JSON.parse(fs.readFileSync(golden('tokenizer.json'), 'utf8')) as { text: string }[];
    const texts = rows.slice(0, 40).map(({ text }) => text);
    await using threads = new TokenizerThreads(tokenizer, { threads: 2 });
    const options = { maxLength: 32, batchTokens: 300 };
    assert.deepEqual(
      await encodeTexts(model, threads, texts, options),
      await encodeTexts(model, tokenizer, texts, options),
    );
    // A program without types.
    const wrong = { name: 'InputError', message: /^expected a text, found / };
    for (const text of [undefined, null, 5, {}, ['a']] as unknown as string[]) {
      for (const of of [tokenizer, threads])
        await assert.rejects(encodeTexts(model, of, ['a', text]), wrong, String(text));
      await assert.rejects(threads.encode(['a', text]), wrong);
      assert.throws(() => tokenizer.encode(text), wrong);
      assert.throws(() => tokenizer.countTokens(text), wrong);
      if (text !== undefined)
        await assert.rejects(encodeTexts(model, tokenizer, ['a'], { prompt: text }), wrong);
    }
    for (const role of ['passage', '', null, 1] as unknown as TextRole[])
      await assert.rejects(encodeTexts(model, tokenizer, ['a'], { role }), {
        name: 'InputError',
        message: /^role: expected one of query, document, text, found /,
      });
    for (const count of [-1, 1.5, 65, Number.NaN, undefined, '2'] as number[])
      assert.throws(() => new TokenizerThreads(tokenizer, { threads: count }), {
        name: 'InputError',
        message: /^threads: expected an integer from 0 to 64, found /,
      });
  } finally {
    model.dispose();
    await gpu.close();
  }
});
