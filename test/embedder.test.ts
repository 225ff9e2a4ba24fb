/** What the commands that encode open: the model of their flags, under all the names that the flags have. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { silentReporter } from '../src/console/reporter.js';
import { parseFlags } from '../src/flags.js';
import {
  type EmbedderArguments,
  embedderAliases,
  embedderFlags,
  foreignEmbedderFlags,
} from '../src/retrieval/embedder/arguments.js';
import { openEmbedder } from '../src/retrieval/embedder/open.js';
import { golden } from './repository.js';

const parse = (words: string) =>
  parseFlags(embedderFlags, words.split(' '), { aliases: embedderAliases, foreign: foreignEmbedderFlags });

test('the names of FlagEmbedding’s scripts mean the same flags', () => {
  const ours = parse(
    '--model_name_or_path m --fp16 True --query_max_length 7 --passage_max_length 9 --query_instruction_format {}:{} --pooling_method mean',
  );
  const theirs = parse(
    '--embedder_name_or_path m --use_fp16 True --embedder_query_max_length 7 --embedder_passage_max_length 9 --query_instruction_format_for_retrieval {}:{} --pooling_method mean --embedder_batch_size 3000 --devices cuda:0 cuda:1 --trust_remote_code False',
  );
  assert.deepEqual(theirs.values, { ...ours.values, batchSize: 3000, devices: ['cuda:0', 'cuda:1'] });
  assert.deepEqual(theirs.notices, [
    '--batch_size has no effect here: --batch_tokens bounds a batch, and texts are not padded',
    '--devices has no effect here: --adapter picks a GPU, --nproc_per_node and --adapters several',
  ]);
  assert.throws(() => parse('--examples_for_task x.json'), /--examples_for_task: .*decoders/);
});

const open = (
  args: Partial<EmbedderArguments>,
  heads: readonly ('sparse_linear' | 'colbert_linear')[],
  told: string[] = [],
) =>
  openEmbedder(
    { ...parse(`--model_name_or_path ${golden('model')}`).values, ...args },
    { report: { ...silentReporter, note: (line) => void told.push(line) } },
    heads,
  );

test('a folder without a head that is needed is refused, and of one that is not needed nothing is said', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-embedder-'));
  try {
    fs.cpSync(golden('model'), folder, { recursive: true });
    fs.rmSync(path.join(folder, 'sparse_linear.pt'));
    await assert.rejects(
      open({ modelNameOrPath: folder }, ['sparse_linear']),
      /sparse_linear\.pt: no such file: the model has no such head; finetune --unified_finetuning True makes it$/,
    );
    const told: string[] = [];
    const embedder = await open({ modelNameOrPath: folder }, ['colbert_linear'], told);
    await embedder.close();
    assert.deepEqual(
      told.filter((line) => line.includes('linear.pt')),
      [],
    );
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});

test('instructions are joined as their format says, and without one the folder’s prompt is left to count', async () => {
  const embedder = await open({ queryInstructionForRetrieval: 'find', queryInstructionFormat: '{}: {}' }, []);
  await embedder.close();
  assert.equal(embedder.query?.('a text'), 'find: a text');
  assert.equal(embedder.passage, undefined);
  await assert.rejects(open({ modelNameOrPath: null }, []), /--model_name_or_path: expected a folder/);
  await assert.rejects(
    open({ passageInstructionFormat: '{} {} {}' }, []),
    /--passage_instruction_format: expected slots/,
  );
});

test('texts are cut at 512 tokens, at what the folder says where that is less, or at what the flags say', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-embedder-'));
  const lengths = async (flags: Partial<EmbedderArguments>) => {
    const options = {
      modelNameOrPath: folder,
      poolingMethod: 'cls',
      normalizeEmbeddings: true,
      ...flags,
    } as const;
    const { queryMaxLength, passageMaxLength, close } = await open(options, []);
    await close();
    return [queryMaxLength, passageMaxLength];
  };
  try {
    fs.cpSync(golden('model'), folder, { recursive: true });
    assert.deepEqual(await lengths({}), [512, 512]);
    const modules = [{ idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' }];
    fs.writeFileSync(path.join(folder, 'modules.json'), JSON.stringify(modules));
    const says = (length: number) =>
      fs.writeFileSync(
        path.join(folder, 'sentence_bert_config.json'),
        JSON.stringify({ max_seq_length: length, do_lower_case: false }),
      );
    says(32);
    assert.deepEqual(await lengths({}), [32, 32]);
    assert.deepEqual(await lengths({ queryMaxLength: 40 }), [40, 32]);
    says(8192);
    assert.deepEqual(await lengths({}), [512, 512]);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});

test('vectors are cut to no more than their width', async () => {
  await assert.rejects(
    open({ truncateDim: 65 }, []),
    /^InputError: --truncate_dim: expected at most 64, the width of the model’s vectors, found 65$/,
  );
  await (await open({ truncateDim: 64 }, [])).close();
});
