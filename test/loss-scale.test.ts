/** Loss scaling: the rules, what a skipped step leaves alone, and what a run tells of it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { ParameterStore } from '../src/autograd/parameter-store.js';
import { type LogEntry, silentReporter } from '../src/console/reporter.js';
import { MachineError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { FloatDType } from '../src/kernels/launch/formats.js';
import type { LossScaling } from '../src/optim/loss-scale.js';
import { defaultLossScaling, LossScaler } from '../src/optim/loss-scale.js';
import { CounterRandom } from '../src/tensor/random.js';
import { Tensor } from '../src/tensor/tensor.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { StoreAdamW } from '../src/train/optimizer.js';
import { finetune } from '../src/train/trainer.js';
import { SafetensorsFile } from '../src/weights/safetensors.js';
import { lendGpu } from './lent-gpu.js';
import { golden, repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-scale-'));
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(async () => {
  await gpu.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

// ---- rules -------------------------------------------------------------------------------------------------

const dynamic = (more: Partial<Extract<LossScaling, { kind: 'dynamic' }>> = {}): LossScaling => ({
  kind: 'dynamic',
  initialScale: 64,
  window: 4,
  hysteresis: 2,
  minimumScale: 16,
  ...more,
});

/** The scale after each step; `x` is an overflow. */
const course = (scaling: LossScaling, steps: string) => {
  const scaler = new LossScaler(scaling);
  return [...steps].map((step) => {
    scaler.update(step === 'x');
    return scaler.scale;
  });
};

test('the scale doubles after a window of good steps, counted from the last overflow', () => {
  assert.deepEqual(course(dynamic(), '........'), [64, 64, 64, 128, 128, 128, 128, 256]);
  assert.deepEqual(course(dynamic({ hysteresis: 1 }), '...x....'), [64, 64, 64, 32, 32, 32, 32, 64]);
});

test('it takes as many overflows as the hysteresis to lower it, which only growth refills', () => {
  assert.deepEqual(course(dynamic(), 'xx'), [64, 32]);
  assert.deepEqual(course(dynamic(), 'x..x'), [64, 64, 64, 32]);
  assert.deepEqual(course(dynamic(), 'x....xx'), [64, 64, 64, 64, 128, 128, 64]);
  assert.deepEqual(course(dynamic({ minimumScale: 48 }), 'xx'), [64, 48]);
});

test('without a file: PyTorch’s GradScaler', () => {
  const scaler = new LossScaler(defaultLossScaling);
  assert.equal(scaler.scale, 65536);
  assert.deepEqual(scaler.update(true), {
    event: 'overflow',
    loss_scale: 32768,
    previous_loss_scale: 65536,
  });
  for (let i = 0; i < 1999; i++) assert.equal(scaler.update(false), undefined);
  assert.deepEqual(scaler.update(false), {
    event: 'loss_scale',
    loss_scale: 65536,
    previous_loss_scale: 32768,
  });
});

/** `DynamicLossScaler.update_scale` of DeepSpeed (`runtime/fp16/loss_scaler.py`); undefined: it raises. */
function deepSpeedCourse(
  scaling: Extract<LossScaling, { kind: 'dynamic' }>,
  overflows: readonly boolean[],
): (number | undefined)[] {
  let scale = scaling.initialScale;
  let hysteresis = scaling.hysteresis;
  let lastOverflow = -1;
  return overflows.map((overflow, iteration) => {
    if (overflow) {
      if (scaling.hysteresis === 1 || hysteresis === 1) {
        if (scale === scaling.minimumScale) return undefined;
        scale = Math.max(scale / 2, scaling.minimumScale);
      } else hysteresis--;
      lastOverflow = iteration;
    } else if ((iteration - lastOverflow) % scaling.window === 0) {
      hysteresis = scaling.hysteresis;
      scale *= 2;
    }
    return scale;
  });
}

/** PyTorch's `_amp_update_scale_`: a tracker of good steps that growth and overflow set back. */
function gradScalerCourse(initialScale: number, window: number, overflows: readonly boolean[]): number[] {
  let scale = initialScale;
  let tracker = 0;
  return overflows.map((overflow) => {
    if (overflow) {
      scale /= 2;
      tracker = 0;
    } else if (++tracker === window) {
      scale *= 2;
      tracker = 0;
    }
    return scale;
  });
}

test('whatever overflows: the scales of DeepSpeed’s rules and of GradScaler’s', () => {
  const steps = fc.array(
    fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(
      steps,
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 0, max: 8 }),
      (overflows, window, hysteresis, power) => {
        const scaling = {
          kind: 'dynamic',
          initialScale: 256,
          window,
          hysteresis,
          minimumScale: 2 ** power,
        } as const;
        const scaler = new LossScaler(scaling);
        for (const [i, expected] of deepSpeedCourse(scaling, overflows).entries()) {
          if (expected === undefined) {
            assert.throws(() => scaler.update(true), MachineError);
            return;
          }
          const before = scaler.scale;
          const event = scaler.update(overflows[i]!);
          assert.equal(scaler.scale, expected);
          const told = overflows[i]! ? 'overflow' : expected !== before ? 'loss_scale' : undefined;
          assert.equal(event?.event, told);
        }
      },
    ),
  );
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 5 }), (overflows, window) => {
      const scaling = { ...defaultLossScaling, window, minimumScale: 0 } as LossScaling;
      const scaler = new LossScaler(scaling);
      const scales = overflows.map((overflow) => {
        scaler.update(overflow);
        return scaler.scale;
      });
      assert.deepEqual(scales, gradScalerCourse(65536, window, overflows));
    }),
  );
});

test('what cannot be lowered ends the run', () => {
  const scaler = new LossScaler(dynamic());
  for (let i = 0; i < 3; i++) scaler.update(true);
  assert.equal(scaler.scale, 16);
  assert.throws(() => scaler.update(true), /f16 overflows at the smallest loss scale 16, after 4 overflows/);
  const fixed = new LossScaler({ kind: 'static', scale: 8 });
  for (let i = 0; i < 9; i++) assert.equal(fixed.update(true)?.event, 'overflow');
  fixed.update(false);
  for (let i = 0; i < 9; i++) fixed.update(true);
  assert.throws(() => fixed.update(true), /10 steps in a row .* fixed loss scale 8/);
  assert.equal(fixed.scale, 8);
  const none = new LossScaler(null);
  assert.equal(none.scale, 1);
  assert.equal(none.update(false), undefined);
  assert.throws(() => none.update(true), MachineError);
});

// ---- a skipped step ----------------------------------------------------------------------------------------

for (const precision of ['f32', 'f16'] as FloatDType[])
  test(`a step whose gradients are not finite changes nothing, to the bit: ${precision}`, async () => {
    const specs = [
      { name: 'table', shape: [40, 8], table: true, trainable: true, decay: true },
      { name: 'matrix', shape: [12, 8], trainable: true, decay: true, product: true },
      { name: 'plain', shape: [8, 8], trainable: true, decay: false, product: true },
      { name: 'bias', shape: [5], trainable: true, decay: false },
    ];
    const random = new CounterRandom(2, 0);
    const values = (count: number) => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
    const initial = specs.map(({ shape }) => values(shape.reduce((a, b) => a * b)));
    const gradients = Array.from({ length: 3 }, () => initial.map(({ length }) => values(length)));
    const rows = Uint32Array.of(1, 7, 30);
    const run = async (spoilt: (step: number, data: Float32Array[]) => boolean) => {
      const store = new ParameterStore(gpu, specs, precision);
      specs.forEach(({ name }, i) => {
        store.get(name).write(initial[i]!);
      });
      store.refreshHalves();
      const optimizer = new StoreAdamW(store, {
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weightDecay: 0.1,
        maxGradNorm: 1,
      });
      const fill = (data: Float32Array[]) => {
        specs.forEach(({ name, table }, i) => {
          if (table)
            store
              .get(name)
              .role!.gradient!.addRows(
                rows,
                Tensor.from(gpu, data[i]!.slice(0, 24), [3, 8], 'f32', 'gradients').keep(),
              );
          else store.get(name).grad!.write(data[i]!);
        });
      };
      const skipped: boolean[] = [];
      for (let step = 0; step < 3; step++) {
        const bad = gradients[step]!.map((array) => array.slice());
        if (spoilt(step, bad)) {
          fill(bad);
          skipped.push((await optimizer.step(1e-2, 0.5)).skipped);
        }
        fill(gradients[step]!);
        const result = await optimizer.step(1e-2, 0.5);
        assert.equal(result.skipped, false);
        assert.ok(Number.isFinite(result.norm));
      }
      const state: unknown[] = [optimizer.steps];
      for (const { name } of specs) {
        state.push(await store.get(name).toArray());
        const half = store.get(name).role!.half();
        if (half) state.push(await half.toArray());
      }
      optimizer.dispose();
      store.dispose();
      return { state, skipped };
    };
    const clean = await run(() => false);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 3e38])
      for (const tensor of [0, 1, 3]) {
        const { state, skipped } = await run((step, data) => {
          // 3e38 is finite, its square is not.
          data[tensor]![2] = value;
          return step !== 1;
        });
        assert.deepEqual(skipped, [true, true]);
        assert.deepEqual(state, clean.state, `${value} in ${specs[tensor]!.name}`);
      }
    assert.equal(gpu.memory().liveBuffers, 0);
  });

// ---- a run -------------------------------------------------------------------------------------------------

const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');

function flags(name: string, fp16: Record<string, unknown> | undefined, ...more: string[]): string[] {
  const words = [
    ...['--model_name_or_path', golden('model')],
    ...['--train_data', golden('example_data', 'retrieval', 'nq.jsonl')],
    ...['--output_dir', path.join(folder, name)],
    ...['--train_group_size', '3', '--query_max_len', '16', '--passage_max_len', '32'],
    ...['--per_device_train_batch_size', '2', '--unified_finetuning', 'True', '--fp16'],
    ...['--learning_rate', '1e-3', '--warmup_steps', '2', '--logging_steps', '1', '--save_strategy', 'no'],
    ...more,
  ];
  if (fp16) {
    const file = path.join(folder, `${name}.json`);
    fs.writeFileSync(file, JSON.stringify({ fp16: { enabled: 'auto', ...fp16 } }));
    words.push('--deepspeed', file);
  }
  return words;
}

const run = async (name: string, fp16: Record<string, unknown> | undefined, ...more: string[]) =>
  (await finetune(parseFinetuneArguments(flags(name, fp16, ...more)).args, silentReporter, lendGpu)).log;
const rates = (log: readonly LogEntry[]) =>
  log.flatMap((entry) => ('learning_rate' in entry ? [entry['learning_rate'] as number] : []));
const events = (log: readonly LogEntry[]) => log.filter((entry) => 'event' in entry);

test('overflows are logged and skipped, and the schedule does not count them', async () => {
  const scaled = { initial_scale_power: 24, hysteresis: 1, loss_scale_window: 1000, min_loss_scale: 1 };
  const log = await run('overflow', scaled, '--max_steps', '14');
  const overflows = events(log).filter(({ event }) => event === 'overflow');
  assert.ok(overflows.length > 5 && overflows.length < 12, `${overflows.length} overflows`);
  overflows.forEach((entry, i) => {
    assert.deepEqual(entry, {
      event: 'overflow',
      loss_scale: 2 ** (23 - i),
      previous_loss_scale: 2 ** (24 - i),
      step: i + 1,
    });
  });
  const losses = log.flatMap((entry) => (typeof entry['loss'] === 'number' ? [entry['loss']] : []));
  assert.equal(losses.length, 14);
  assert.ok(losses.every(Number.isFinite));
  // 14 steps are planned; those that did not happen leave the rate where it was.
  const plain = rates(await run('plain', { initial_scale_power: 8 }, '--max_steps', '14'));
  const n = overflows.length;
  assert.deepEqual(rates(log), [...new Array(n).fill(plain[0]), ...plain.slice(0, 14 - n)]);
  const weight = (name: string) => {
    const file = SafetensorsFile.open(path.join(folder, name, 'model.safetensors'));
    const data = file.read('encoder.layer.0.output.dense.weight');
    file.close();
    return data;
  };
  assert.ok(weight('overflow').every(Number.isFinite));
  assert.notDeepEqual(weight('overflow'), weight('plain'));
});

test('skipped steps leave no trace: the model is, to the bit, that of a run that began with the lower scale', async () => {
  // One batch, step after step, so that a step that was skipped did not use up data that others see.
  const row = (n: number) => ({
    query: `a question about number ${n}`,
    pos: [`the answer is ${n}`],
    neg: ['something else altogether'],
  });
  const data = path.join(folder, 'one-batch.jsonl');
  fs.writeFileSync(data, [row(1), row(1)].map((each) => `${JSON.stringify(each)}\n`).join(''));
  const fixed = (steps: number) => [
    ...['--train_data', data, '--train_group_size', '2', '--lr_scheduler_type', 'constant'],
    ...['--warmup_steps', '0', '--gradient_accumulation_steps', '2', '--weight_decay', '0.1'],
    ...['--max_steps', `${steps}`],
  ];
  const files = ['model.safetensors', 'colbert_linear.pt', 'sparse_linear.pt'];
  const read = (name: string) => files.map((file) => fs.readFileSync(path.join(folder, name, file)));
  const rule = { hysteresis: 1, loss_scale_window: 1000 };
  const log = await run('late', { ...rule, initial_scale_power: 24 }, ...fixed(12));
  const skipped = events(log).filter(({ event }) => event === 'overflow').length;
  assert.ok(skipped > 0 && skipped < 11, `${skipped} overflows`);
  const last = log.filter((entry) => 'loss_scale' in entry).at(-1)!;
  assert.equal(last['loss_scale'], 2 ** (24 - skipped));
  await run('lower', { ...rule, initial_scale_power: 24 - skipped }, ...fixed(12 - skipped));
  assert.deepEqual(read('late'), read('lower'));
  // And one step more or less would show.
  await run('shorter', { ...rule, initial_scale_power: 24 - skipped }, ...fixed(11 - skipped));
  assert.notDeepEqual(read('late'), read('shorter'));
});

test('growth is logged; without a file the first scale is', async () => {
  const log = await run('growth', { initial_scale_power: 4, loss_scale_window: 2 }, '--max_steps', '5');
  assert.deepEqual(
    events(log).map(({ event, loss_scale, step }) => [event, loss_scale, step]),
    [
      ['loss_scale', 16, 0],
      ['loss_scale', 32, 2],
      ['loss_scale', 64, 4],
    ],
  );
  const [first] = events(await run('default', undefined, '--max_steps', '4'));
  assert.deepEqual(first, { event: 'loss_scale', loss_scale: 65536, step: 0 });
});

test('a storm of overflows ends the run with one line and saves nothing', () => {
  const storm = { initial_scale_power: 41, hysteresis: 1, min_loss_scale: 2 ** 40 };
  const { status, stderr } = spawnSync(
    process.execPath,
    [main, 'finetune', ...flags('storm', storm, '--max_steps', '10')],
    { encoding: 'utf8' },
  );
  const line = stderr.trim().split('\n').at(-1)!;
  assert.match(
    line,
    /^dawntune: step 2, loss \d+\.\d+: f16 overflows at the smallest loss scale 1099511627776, after 2 overflows in a row: nothing of this step is saved; the weights are still those of the start, so it is not the learning rate: look at the temperature \(0\.02\) and rows .*nq\.jsonl:\d+, .*, or train without --fp16$/,
  );
  assert.equal(status, 1);
  assert.ok(!/^\s+at /m.test(stderr));
  assert.ok(!fs.existsSync(path.join(folder, 'storm', 'model.safetensors')));
});
