/** The tuner takes only what computes right results, only what is clearly faster, and forgets winners of changed sources. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { InputError, MachineError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { poison } from '../src/kernels/check.js';
import { columnsFamily } from '../src/kernels/column-reduction.js';
import { Shader } from '../src/kernels/launch/shader.js';
import { loadWinners, storeWinner, tunedFile } from '../src/kernels/tuned-file.js';
import { sourcesOf, tune, winnerOf } from '../src/kernels/tuner.js';
import { tuneAsked } from '../src/kernels/tuning.js';
import { choiceKey, choose, type Family, type Variant, variantOf } from '../src/kernels/variants.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';

const SIZE = { n: 4096 };
interface Operands {
  x: Tensor;
  y: Tensor;
}

/** y = 2·x, `work` times over, or what `result` says. */
function doubling(
  name: string,
  { work = 1, result = '2.0 * v', prior = 0, breaks = false } = {},
): Variant<object, typeof SIZE, Operands> {
  const shader = new Shader({
    label: `double.${name}`,
    params: { n: 'u32', work: 'u32' } as const,
    buffers: { X: 'array<f32>', ioY: 'array<f32>' },
    body: `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.n) { return; }
  let v = X[id.x];
  for (var i = 0u; i < p.work; i++) { ioY[id.x] = ${result}; }
}`,
  });
  return {
    name,
    why: `a test: ${name}`,
    supports: () => true,
    prior: () => prior,
    shaders: () => ({ main: shader }),
    run(gpu, _, { n }, { x, y }) {
      if (breaks) throw new MachineError('no such thing\nand more');
      shader.run(gpu, [x, y], { n, work }, [n / 64]);
    },
  };
}

function family(
  ...variants: Variant<object, typeof SIZE, Operands>[]
): Family<object, typeof SIZE, Operands> {
  const [first, ...rest] = variants;
  const self: Family<object, typeof SIZE, Operands> = {
    name: 'double',
    summary: 'y = 2·x',
    variants: [first!, ...rest],
    sizeClass: ({ n }) => `${n}`,
    cases: [{ name: 'one', form: {}, size: SIZE, use: 'bench' }],
    cost: (_, { n }) => ({ flops: n, bytes: 8 * n }),
    tolerance: () => 1e-6,
    trial(gpu, form, size) {
      const x = Tensor.from(
        gpu,
        Float32Array.from({ length: size.n }, (_, i) => i / size.n),
        [size.n],
      ).keep();
      const y = Tensor.empty(gpu, [size.n]).keep();
      return {
        outputs: [y],
        run(name) {
          const variant = self.variants.find((each) => each.name === name) ?? choose(gpu, self, form, size);
          variant.run(gpu, form, size, { x, y });
        },
        // Looks at the first few only, as references that are expensive do.
        async error() {
          const got = await y.toFloat32();
          return (
            Math.max(...[0, 1, 2].map((i) => Math.abs(got[i]! - (2 * i) / size.n))) ||
            (Number.isNaN(got[0]!) ? Number.NaN : 0)
          );
        },
        dispose() {
          x.dispose();
          y.dispose();
        },
      };
    },
  };
  return self;
}

let gpu: Gpu;
const cache = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-tuner-'));
const cacheBefore = process.env['XDG_CACHE_HOME'];
before(async () => {
  gpu = await Gpu.open();
  // From here on only the tuner looks for the cache folder.
  process.env['XDG_CACHE_HOME'] = cache;
});
after(async () => {
  await gpu.close();
  if (cacheBefore === undefined) delete process.env['XDG_CACHE_HOME'];
  else process.env['XDG_CACHE_HOME'] = cacheBefore;
  fs.rmSync(cache, { recursive: true });
});

const always = doubling('always', { work: 4000 });

test('the fastest right variant wins; wrong, silent and broken ones are named', async () => {
  const live = gpu.memory().liveBuffers;
  const tuned = await tune(
    gpu,
    family(
      always,
      doubling('fast'),
      doubling('wrong', { result: '2.0 * v + 0.5' }),
      doubling('wrong in places', { result: 'select(2.0 * v, 7.0, id.x == 4000u)' }),
      doubling('silent', { result: 'ioY[id.x]' }),
      doubling('broken', { breaks: true }),
    ),
    {},
    SIZE,
  );
  assert.equal(tuned.winner, 'fast');
  assert.equal(tuned.untuned, 'always');
  const refused = Object.fromEntries(tuned.candidates.map(({ variant, refused }) => [variant, refused]));
  assert.equal(refused['always'], undefined);
  assert.equal(refused['fast'], undefined);
  assert.match(refused['wrong']!, /is wrong by 5\.0e-1/);
  assert.match(refused['wrong in places']!, /differs by .* from the variant that always works/);
  assert.match(refused['silent']!, /leaves 4096 of 4096 elements unwritten/);
  assert.equal(refused['broken'], 'no such thing');
  assert.ok(tuned.candidates.find(({ variant }) => variant === 'fast')!.ratio! > 1.1);
  // Milliseconds, not seconds: a run of 400 passes over 4,096 elements takes more than a few microseconds.
  assert.ok(tuned.candidates.find(({ variant }) => variant === 'always')!.milliseconds! > 0.02);
  assert.equal(gpu.memory().liveBuffers, live, 'no buffer is left behind');
});

test('rounds decide, not totals: what is not clearly faster within them does not replace the own choice', () => {
  const winner = (a: number[], b: number[], c: number[] = []) =>
    winnerOf(new Map([['a', a], ['b', b], ...(c.length > 0 ? [['c', c] as const] : [])]), 'a', 1.1);
  assert.equal(winner([10, 10, 10], [9.5, 9.5, 9.5]), 'a');
  assert.equal(winner([10, 10, 10], [9, 9, 9]), 'b');
  // A machine that slows down for all in a round.
  assert.equal(winner([10, 40, 10], [9.5, 38, 9.5]), 'a');
  assert.equal(winner([10, 40, 10], [5, 20, 5]), 'b');
  // One lucky round.
  assert.equal(winner([10, 10, 10], [2, 10, 10]), 'a');
  assert.equal(winner([10, 10, 10], [8, 8, 8], [5, 5, 5]), 'c');
  // Out after two rounds.
  assert.equal(winner([10, 10, 10], [8, 8, 8], [30, 30]), 'b');
});

test('where winners cannot be kept nothing is tuned', async () => {
  const folder = path.dirname(tunedFile(gpu.capabilities));
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(path.dirname(folder), { recursive: true });
  fs.writeFileSync(folder, '');
  const { form, size } = columnsFamily.cases[0]!;
  const key = choiceKey(columnsFamily, form, size);
  const asked = { key, family: columnsFamily.name, form, size, variant: { name: 'columns' } };
  try {
    await assert.rejects(
      tuneAsked(gpu, [asked], { all: true }),
      (error: Error) =>
        error instanceof InputError && /kernels: cannot be written: is no folder$/.test(error.message),
    );
  } finally {
    fs.rmSync(folder);
  }
});

test('an own choice that is wrong is left', async () => {
  const tuned = await tune(gpu, family(always, doubling('bad', { result: 'v', prior: 5 })), {}, SIZE);
  assert.equal(tuned.untuned, 'bad');
  assert.equal(tuned.winner, 'always');
});

test('what a device is forced to is no measure: it may be ranked so low that it does not compete', async () => {
  for (const kernels of [{ double: 'low' }, 'fallback'] as const) {
    const forced = await Gpu.open({ kernels });
    try {
      const tuned = await tune(
        forced,
        family(always, doubling('rule', { prior: 5 }), doubling('low', { prior: -1, work: 400 })),
        {},
        SIZE,
        { rounds: 3 },
      );
      assert.equal(tuned.untuned, 'rule');
      assert.equal(tuned.winner, 'rule');
    } finally {
      await forced.close();
    }
  }
});

test('where the variant that always works is wrong nothing is tuned', async () => {
  await assert.rejects(
    tune(gpu, family(doubling('always', { result: 'v' }), doubling('other')), {}, SIZE),
    /double: the variant always, which always works, is wrong/,
  );
});

test('what a size gets does not depend on which sizes came before it', async () => {
  const even = {
    ...doubling('even', { prior: 5 }),
    supports: (_: unknown, __: object, { n }: typeof SIZE) => n % 2 === 0,
  };
  const one = { ...family(doubling('always'), even), sizeClass: () => 'all' };
  for (const sizes of [
    [4096, 4097, 4096],
    [4097, 4096, 4097],
  ]) {
    const device = Gpu.plan(gpu);
    assert.deepEqual(
      sizes.map((n) => choose(device, one, {}, { n }).name),
      sizes.map((n) => (n % 2 === 0 ? 'even' : 'always')),
    );
  }
  assert.throws(
    () => variantOf(gpu, one, {}, { n: 4097 }, 'even'),
    /double: the variant even does not compute the form {} of size/,
  );
  assert.throws(() => variantOf(gpu, one, {}, SIZE, 'odd'), RangeError);
});

test('poison covers results to their last word', async () => {
  await scope(async () => {
    const y = Tensor.from(gpu, new Float32Array(1001), [1001]);
    poison(y);
    assert.ok((await y.toFloat32()).every(Number.isNaN));
  });
});

test('winners are kept in a file, used by the next device, and retired with their sources', async () => {
  const one = family(always, doubling('fast'));
  const tuned = await tune(gpu, one, {}, SIZE);
  storeWinner(gpu, one, {}, SIZE, tuned);
  const next = await Gpu.open();
  assert.equal(choose(next, one, {}, SIZE).name, 'always');
  assert.deepEqual(loadWinners(next, [one]), { used: 1, retired: 0 });
  assert.equal(choose(next, one, {}, SIZE).name, 'fast');
  assert.equal(choose(Gpu.plan(next), one, {}, SIZE).name, 'fast', 'a plan chooses the same');
  const changed = family(always, doubling('fast', { result: 'v + v' }));
  assert.notEqual(sourcesOf(gpu.capabilities, one, {}, SIZE), sourcesOf(gpu.capabilities, changed, {}, SIZE));
  const third = await Gpu.open();
  assert.deepEqual(loadWinners(third, [changed]), { used: 0, retired: 1 });
  assert.equal(choose(third, changed, {}, SIZE).name, 'always');
  // A name that stands for no kernel must be tuned anew, not be taken for the rule's choice.
  const file = tunedFile(gpu.capabilities);
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('"variant": "fast"', '"variant": "gone"'));
  assert.deepEqual(loadWinners(third, [one]), { used: 0, retired: 1 });
  // Any of these files is as good as none, and those that are no JSON are told.
  for (const text of [
    '{',
    '[]',
    '{"format":1}',
    '{"format":1,"winners":{"k":5,"l":{"family":"double"}}}',
    '{"format":9}',
  ]) {
    fs.writeFileSync(tunedFile(gpu.capabilities), text);
    const { used, retired, notice } = loadWinners(third, [one]);
    assert.deepEqual([used, retired], [0, 0], text);
    assert.equal(
      notice !== undefined,
      !text.includes('"winners":{') && !text.includes('9'),
      `${text}: ${notice}`,
    );
  }
  // What cannot be written is one line that names it.
  fs.rmSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(path.dirname(file), '');
  assert.throws(() => storeWinner(gpu, one, {}, SIZE, tuned), {
    name: 'InputError',
    message: /kernels: cannot be written: is no folder$/,
  });
  fs.rmSync(path.dirname(file));
  await next.close();
  await third.close();
});
