/** The settings of a run, beside its model: `--config` on them says the same, and repeats the run to the bit. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { silentReporter } from '../src/console/reporter.js';
import { parseFlags } from '../src/flags.js';
import { mineFlags, parseMineArguments } from '../src/retrieval/mine/arguments.js';
import { settingsFile, withoutSecrets } from '../src/settings-file.js';
import { finetuneFlags, parseFinetuneArguments } from '../src/train/arguments.js';
import { finetune } from '../src/train/trainer.js';
import { packageVersion } from '../src/version.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-settings-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const about = { name: 'effective_settings.yaml', changes: '--output_dir OTHER' };
const needed = '--model_name_or_path m --train_data a.jsonl --output_dir out'.split(' ');

function written(text: string): string {
  const file = path.join(folder, 'settings.yaml');
  fs.writeFileSync(file, text);
  return file;
}

test('what was written is read back as it was, whatever the texts', () => {
  const text = fc
    .string({ unit: 'binary', minLength: 1 })
    .filter((word) => word !== 'None' && !word.includes('\0'));
  const values = fc.record({
    texts: fc.array(text, { minLength: 1, maxLength: 4 }),
    instruction: fc.oneof(
      text,
      fc.constantFrom('no', 'true', '~', '1e3', ' a ', '# x', '- y', '<<', '\u2028\u0085\u007f'),
    ),
    rate: fc.double({ min: 1e-30, max: 1, noNaN: true }),
    seed: fc.maxSafeInteger(),
    compat: fc.constantFrom([], ['log-warmup'], ['none-prefix', 'colbert-floor']),
  });
  fc.assert(
    fc.property(values, ({ texts, instruction, rate, seed, compat }) => {
      const { args } = parseFinetuneArguments(needed);
      const told = {
        ...{ ...args, trainData: texts, queryInstructionForRetrieval: instruction, seed },
        ...{ learningRate: rate, flagembeddingCompat: new Set(compat), maxGpuMemory: 12_000_000_000 },
      };
      const file = written(settingsFile('finetune', finetuneFlags, told, about));
      assert.deepEqual(parseFlags(finetuneFlags, ['--config', file]).values, told);
    }),
    { numRuns: 60 },
  );
  const mining =
    '--input_file a --output_file b --model_name_or_path m --range_for_sampling 3-9 --weights 1,2,3';
  const { args } = parseMineArguments(mining.split(' '));
  const file = written(settingsFile('mine', mineFlags, args, { ...about, changes: '' }));
  assert.deepEqual(parseMineArguments(['--config', file]).args, args);
});

test('no secret is written, and the command stays one line', () => {
  for (const token of [['--token', 'hf_secret'], ['--token=hf_secret']]) {
    const argv = [...needed, ...token, '--seed', '3', '--query_instruction_for_retrieval', "it's\n# a\u001b"];
    assert.ok(!withoutSecrets(finetuneFlags, argv).join(' ').includes('hf_'));
    const { args, origin } = parseFinetuneArguments(argv);
    const text = settingsFile('finetune', finetuneFlags, args, { ...about, commandLine: { argv, origin } });
    assert.ok(!/hf_secret|token/.test(text), text);
    assert.match(
      text,
      new RegExp(`^# Settings of finetune, written by dawntune ${packageVersion().replaceAll('.', '\\.')} `),
    );
    assert.match(text, /^# {3}dawntune finetune --model_name_or_path m .* --seed 3 /m);
    assert.match(text, /^seed: 3 {2}# flag$/m);
    assert.match(text, /^weight_decay: 0$/m);
    assert.deepEqual(parseFinetuneArguments(['--config', written(text)]).args, { ...args, token: null });
  }
});

test('a run by the settings of another has the same weights, to the bit, and its own folder', async () => {
  const deepspeed = path.join(folder, 'ds.json');
  fs.writeFileSync(deepspeed, '{"optimizer": {"type": "AdamW", "params": {"lr": 1e-3}}}');
  const config = path.join(folder, 'run.yaml');
  fs.writeFileSync(
    config,
    `model_name_or_path: ${golden('model')}
train_data: [${golden('example_data', 'retrieval', 'nq.jsonl')}]
deepspeed: ${deepspeed}
train_group_size: 2
query_max_len: 16
passage_max_len: 16
per_device_train_batch_size: 2
max_steps: 3
unified_finetuning: true
save_strategy: no
`,
  );
  const md5 = async (argv: readonly string[], output: string) => {
    const { args, origin } = parseFinetuneArguments(argv);
    await finetune(args, silentReporter, lendGpu, undefined, undefined, { argv, origin });
    return ['model.safetensors', 'colbert_linear.pt', 'sparse_linear.pt'].map((name) =>
      createHash('md5')
        .update(fs.readFileSync(path.join(folder, output, name)))
        .digest('hex'),
    );
  };
  const at = (name: string) => path.join(folder, name);
  const first = await md5(['--config', config, '--output_dir', at('first'), '--seed', '7'], 'first');
  const settings = path.join(folder, 'first', 'effective_settings.yaml');
  const again = await md5(['--config', settings, '--output_dir', at('again')], 'again');
  const other = await md5(['--config', settings, '--output_dir', at('other'), '--seed', '8'], 'other');
  assert.deepEqual(again, first);
  assert.notDeepEqual(other, first);
  const lines = (text: string) =>
    text
      .split('\n')
      .filter((line) => !/^#|^output_dir/.test(line))
      .map((line) => line.split('  #')[0]);
  assert.deepEqual(
    lines(fs.readFileSync(path.join(folder, 'again', 'effective_settings.yaml'), 'utf8')),
    lines(fs.readFileSync(settings, 'utf8')),
  );
});
