/** Weights as they are written: number formats, shards and their index, and what a run makes of `--save_dtype`. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { silentReporter } from '../src/console/reporter.js';
import { MachineError } from '../src/errors.js';
import { M3Model } from '../src/models/m3.js';
import { bf16ToF32, bytesOf, f16ToF32, f32ToBf16, f32ToF16 } from '../src/tensor/dtype.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { finetune } from '../src/train/trainer.js';
import { openWeights } from '../src/weights/open.js';
import { SafetensorsFile } from '../src/weights/safetensors.js';
import { isWeightsFile, type SavedFormat, writeWeights } from '../src/weights/saved-weights.js';
import { TorchFile } from '../src/weights/torch-file.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-saved-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
let made = 0;
const home = () => {
  const name = path.join(folder, String(made++));
  fs.mkdirSync(name);
  return name;
};
const json = (...names: string[]) => JSON.parse(fs.readFileSync(path.join(...names), 'utf8'));
const inPieces = (data: Float32Array, length: number) => () =>
  Array.from({ length: Math.ceil(data.length / length) }, (_, i) => data.slice(i * length, (i + 1) * length));

const halves = {
  f16: { torch: 'float16', narrow: f32ToF16, widen: f16ToF32 },
  bf16: { torch: 'bfloat16', narrow: f32ToBf16, widen: bf16ToF32 },
} as const;

describe('writeWeights', () => {
  const float = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer)[0]!;
  const values = Float32Array.of(
    ...[0, -0, 1, -2.5, 1 / 3, 65504, -65519.996, 2 ** -24, 2 ** -25, 2 ** -149, 1e-3, Math.PI],
    ...[Number.NaN, float(0x7f800001), float(0xffc12345), Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  );

  for (const [dtype, { narrow, widen }] of Object.entries(halves))
    test(`${dtype} is float32 rounded, NaN and infinities kept, and others read the file`, async () => {
      const to = home();
      const tensor = { name: 'x', shape: [values.length], pieces: inPieces(values, 5) };
      assert.deepEqual(await writeWeights(to, [tensor], { dtype: dtype as 'f16' | 'bf16' }), [
        'model.safetensors',
      ]);
      const source = openWeights(to);
      assert.deepEqual(source.info('x'), { shape: [values.length], dtype });
      assert.deepEqual(source.read('x'), widen(narrow(values)));
      source.close();
      const { SafeTensor } = createRequire(import.meta.url)('safetensors') as {
        SafeTensor: new (bytes: Uint8Array) => { getTensor(name: string): Uint8Array };
      };
      // That reader takes `__metadata__` for a tensor and fails, so its bytes go to it without the entry.
      const text = fs.readFileSync(path.join(to, 'model.safetensors'), 'latin1');
      const blanked = text.replace(/"__metadata__":\{[^}]*\},/, (entry) => ' '.repeat(entry.length));
      const theirs = new SafeTensor(new Uint8Array(Buffer.from(blanked, 'latin1')));
      assert.deepEqual(new Uint8Array(theirs.getTensor('x')), bytesOf(narrow(values)));
    });

  test('a finite weight beyond the format is an error, and there is no file', async () => {
    const largest = { f16: 65519.996, bf16: float(0x7f7f7fff) };
    const beyond = { f16: 65520, bf16: float(0x7f7f8000) };
    for (const dtype of ['f16', 'bf16'] as const)
      for (const sign of [1, -1]) {
        const write = async (value: number) => {
          const to = home();
          const data = Float32Array.of(1, sign * value);
          await writeWeights(to, [{ name: 'a\nb', shape: [2], pieces: () => [data] }], { dtype }).finally(
            () => assert.ok(fs.readdirSync(to).every((name) => name === 'model.safetensors')),
          );
          const source = openWeights(to);
          assert.ok(source.read('a\nb').every(Number.isFinite));
          source.close();
        };
        await write(largest[dtype]);
        await assert.rejects(write(beyond[dtype]), (error: unknown) => {
          assert.ok(error instanceof MachineError);
          assert.match(error.message, /^the weight "a\\nb" is -?\d\S+, beyond b?float16: save in float32/);
          return true;
        });
      }
    const to = home();
    const huge = { name: 'x', shape: [1], pieces: () => [Float32Array.of(3.4e38)] };
    await writeWeights(to, [huge]);
    assert.deepEqual(fs.readdirSync(to), ['model.safetensors']);
  });

  interface Cut {
    elements: number[];
    max_shard_size: number;
    files: Record<string, string[]>;
    total_size: number;
  }
  test('shards and index are those of huggingface_hub, and are read again', async () => {
    let sharded = 0;
    for (const { elements, max_shard_size: maxShardBytes, files, total_size } of json(
      golden('weights', 'shards.json'),
    ) as Cut[]) {
      const to = home();
      const tensors = elements.map((length, i) => {
        const data = new Float32Array(length).fill(i + 1);
        return { name: `t${i}`, shape: [length], pieces: inPieces(data, 2), data };
      });
      const names = await writeWeights(to, tensors, { maxShardBytes });
      assert.deepEqual(fs.readdirSync(to).sort(), names.toSorted());
      assert.ok(names.every(isWeightsFile));
      const weights = names.filter((name) => name.endsWith('.safetensors'));
      assert.deepEqual(weights, Object.keys(files));
      for (const name of weights) {
        const file = SafetensorsFile.open(path.join(to, name));
        assert.deepEqual(
          file.names(),
          files[name]!.toSorted((a, b) => +a.slice(1) - +b.slice(1)),
        );
        file.close();
      }
      if (weights.length > 1) {
        sharded++;
        const parameters = elements.reduce((a, b) => a + b);
        const index = json(to, 'model.safetensors.index.json');
        assert.deepEqual(index.metadata, { total_parameters: parameters, total_size });
        const map = weights.flatMap((name) => files[name]!.map((tensor) => [tensor, name]));
        assert.deepEqual(index.weight_map, Object.fromEntries(map));
        assert.deepEqual(Object.keys(index.weight_map), Object.keys(index.weight_map).sort());
      }
      const source = openWeights(to);
      for (const { name, data } of tensors) assert.deepEqual(source.read(name), data);
      source.close();
    }
    assert.ok(sharded > 10);
  });
});

describe('a model', () => {
  const base = golden('model');

  /** Saved as `format`, and what a model that is loaded from there has. */
  async function saved(format: SavedFormat): Promise<{ to: string; weights: Map<string, Float32Array> }> {
    const to = home();
    const gpu = await lendGpu();
    const model = M3Model.load(gpu, base);
    await model.save(to, Tokenizer.load(base), format);
    model.dispose();
    const again = M3Model.load(gpu, to);
    assert.deepEqual(again.notices, []);
    const weights = await again.readWeights();
    again.dispose();
    await gpu.close();
    return { to, weights };
  }

  test('in 16 bits, whole or in shards, has every weight rounded, and config.json says so', async () => {
    const { weights: exact } = await saved({});
    for (const [dtype, maxShardBytes] of [
      ['f16', 5e9],
      ['bf16', 3e5],
    ] as const) {
      const { torch, narrow, widen } = halves[dtype];
      const { to, weights } = await saved({ dtype, maxShardBytes });
      assert.deepEqual([...weights.keys()], [...exact.keys()]);
      for (const [name, data] of weights)
        assert.equal(Buffer.compare(bytesOf(data), bytesOf(widen(narrow(exact.get(name)!)))), 0, name);
      const config = json(to, 'config.json');
      assert.deepEqual([config.dtype, config.torch_dtype], [torch, torch]);
      for (const head of ['colbert_linear.pt', 'sparse_linear.pt']) {
        const file = TorchFile.open(path.join(to, head));
        assert.equal(file.info('weight').dtype, dtype);
        file.close();
      }
      const files = fs.readdirSync(to).filter(isWeightsFile).length;
      assert.ok(maxShardBytes > 1e6 ? files === 1 : files > 2, `${files}`);
    }
  });

  const runs = path.join(folder, 'runs');
  const run = (output: string, model: string, ...more: string[]) => {
    const words = ['--model_name_or_path', model, '--train_data', golden('example_data', 'retrieval')];
    const lengths = ['--query_max_len', '8', '--passage_max_len', '8', '--train_group_size', '2'];
    const size = ['--max_steps', '1', '--per_device_train_batch_size', '1', '--save_steps', '1'];
    const flags = [...words, ...lengths, ...size, '--output_dir', path.join(runs, output), ...more];
    return finetune(parseFinetuneArguments(flags).args, silentReporter, lendGpu);
  };
  const read = (...names: string[]) => {
    const source = openWeights(path.join(runs, ...names));
    const weights = new Map(source.names().map((name) => [name, source.read(name)]));
    source.close();
    return weights;
  };

  test('that is trained is written as asked, its checkpoints in float32', async () => {
    await run('half', base, '--save_dtype', 'float16', '--max_shard_size', '200KB');
    const [checkpoint, final] = [read('half', 'checkpoint-1'), read('half')];
    assert.equal(json(runs, 'half', 'checkpoint-1', 'config.json').torch_dtype, 'float32');
    assert.equal(json(runs, 'half', 'config.json').torch_dtype, 'float16');
    for (const [name, data] of final)
      assert.equal(
        Buffer.compare(bytesOf(data), bytesOf(f16ToF32(f32ToF16(checkpoint.get(name)!)))),
        0,
        name,
      );
    assert.ok(fs.existsSync(path.join(runs, 'half', 'model.safetensors.index.json')));
    assert.ok(fs.existsSync(path.join(runs, 'half', 'checkpoint-1', 'model.safetensors.index.json')));
    // The next run into the folder leaves no shard of this one.
    await run('half', base, '--save_dtype', 'bfloat16');
    assert.deepEqual(fs.readdirSync(path.join(runs, 'half')).filter(isWeightsFile), ['model.safetensors']);
  });

  test('with a weight beyond the format is saved in float32, and the run says so and fails', async () => {
    const gpu = await lendGpu();
    const model = M3Model.load(gpu, base);
    model.store.get('model.embeddings.position_embeddings.weight').write(Float32Array.of(7e4), 400 * 64);
    const odd = path.join(folder, 'odd');
    await model.save(odd, Tokenizer.load(base));
    await assert.rejects(model.save(path.join(folder, 'odder'), undefined, { dtype: 'f16' }), {
      name: 'MachineError',
      message: /^the weight "embeddings\.position_embeddings\.weight" is 70000, beyond float16: save in/,
    });
    model.dispose();
    await gpu.close();
    await assert.rejects(run('odd', odd, '--save_dtype', 'float16', '--fix_position_embedding', 'True'), {
      name: 'MachineError',
      message: /^--save_dtype: the weight ".*" is 70000, beyond float16: .*; the model in .* is in float32$/,
    });
    assert.equal(json(runs, 'odd', 'config.json').torch_dtype, 'float32');
    assert.deepEqual(read('odd'), read('odd', 'checkpoint-1'));
  });
});
