/** Modules: PyTorch's state dicts by name, its outputs and gradients; names, loading, first values, modes, lifetimes. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { RowGradients } from '../src/autograd/gradients.js';
import {
  add,
  backward,
  crossEntropy,
  mul,
  relu,
  reshape,
  slice,
  square,
  sum,
} from '../src/autograd/index.js';
import { InputError, ShapeError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import {
  constant_,
  DecoderLayer,
  Dropout,
  Embedding,
  LayerNorm,
  Linear,
  Module,
  MultiHeadAttention,
  manualSeed,
  type Parameter,
  parameter,
  RMSNorm,
  RotaryAttention,
  Sequential,
  SwiGLU,
  TransformerEncoder,
  TransformerEncoderLayer,
  uniform_,
} from '../src/nn/index.js';
import { AdamW } from '../src/optim/index.js';
import { RandomStreams } from '../src/tensor/random-streams.js';
import { noGrad, scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { SafetensorsFile } from '../src/weights/safetensors.js';
import { golden } from './repository.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open({ guardWords: 8 });
});
after(() => gpu.close());

/** A test in a scope, behind which no buffer is left. Modules outlive scopes: `owned` ones are disposed of. */
const scoped = (name: string, body: (own: <M extends Module>(module: M) => M) => Promise<unknown>) =>
  test(name, async () => {
    const live = gpu.memory().liveBuffers;
    const owned: Module[] = [];
    await scope(() =>
      body((module) => {
        owned.push(module);
        return module;
      }),
    );
    for (const module of owned) module.dispose();
    assert.equal(gpu.memory().liveBuffers, live, 'no buffer is left behind');
    await gpu.checkGuards();
  });

const read = async (tensor: Tensor) => [...(await tensor.toFloat32())];

async function near(what: string, found: Tensor, want: Float32Array, tolerance = 1e-4): Promise<void> {
  const values = await found.toFloat32();
  assert.equal(values.length, want.length, what);
  const top = Math.max(1e-3, ...want.map(Math.abs));
  for (const [i, value] of values.entries())
    assert.ok(Math.abs(value - want[i]!) <= tolerance * top, `${what}[${i}]: ${value} instead of ${want[i]}`);
}

/** What test/interop/modules.py wrote beside a state dict. */
function expectations(name: string) {
  const file = SafetensorsFile.open(golden('torch', `${name}.safetensors`));
  after(() => file.close());
  return file;
}

const [DIM, HEADS, WIDTH, LAYERS] = [8, 2, 8, 2];
const small = { feedForward: WIDTH, dropout: 0 };

const encoders = {
  encoder: () =>
    new TransformerEncoder(
      Array.from({ length: LAYERS }, () => new TransformerEncoderLayer(gpu, DIM, HEADS, small)),
    ),
  'encoder-norm-first': () =>
    new TransformerEncoder(
      Array.from(
        { length: LAYERS },
        () => new TransformerEncoderLayer(gpu, DIM, HEADS, { ...small, normFirst: true, activation: 'gelu' }),
      ),
      new LayerNorm(gpu, DIM),
    ),
};

/** Relative to the largest value: in f32, and where products are of halves, eleven bits, and several follow each other. */
const tolerances = { f32: 1e-4, f16: 2e-2 };
const perPrecision = <C extends readonly unknown[]>(cases: readonly C[]) =>
  cases.flatMap((each) => (['f32', 'f16'] as const).map((precision) => [...each, precision] as const));

for (const [name, make, precision] of perPrecision(Object.entries(encoders)))
  scoped(
    `torch.nn.TransformerEncoder loads by name; output and gradients are PyTorch's: ${name}, ${precision}`,
    async (own) => {
      const model = own(make()).to(precision);
      const tolerance = tolerances[precision];
      assert.deepEqual(model.loadStateDict(golden('torch', `${name}.pt`)), { missing: [], unexpected: [] });
      const expected = expectations(name);
      const x = Tensor.from(gpu, expected.read('x'), [2, 5, DIM]);
      x.requiresGrad = true;
      const output = model.forward(x);
      assert.equal(output.dtype, 'f32');
      await near('output', output, expected.read('output'), tolerance);
      const weights = Float32Array.from({ length: output.size }, (_, n) => Math.cos(0.7 * n));
      backward(sum(mul(output, Tensor.from(gpu, weights, output.shape))));
      await near('dx', x.grad!, expected.read('dx'), tolerance);
      const names = [...model.namedParameters()].map(([parameter]) => parameter);
      assert.deepEqual(
        names.map((parameter) => `grad.${parameter}`).sort(),
        expected
          .names()
          .filter((entry) => entry.startsWith('grad.'))
          .sort(),
      );
      for (const [parameter, { tensor }] of model.namedParameters())
        await near(parameter, tensor.grad!, expected.read(`grad.${parameter}`), tolerance);
      x.grad?.dispose();
    },
  );

/** As `Decoder` of test/interop/modules.py. */
class Decoder extends Module {
  readonly tokens = new Embedding(gpu, 11, DIM);
  readonly positions = new Embedding(gpu, 6, DIM);
  readonly layers = Array.from(
    { length: LAYERS },
    () => new TransformerEncoderLayer(gpu, DIM, HEADS, { ...small, normFirst: true, activation: 'gelu' }),
  );
  readonly norm = new LayerNorm(gpu, DIM);
  readonly head = new Linear(gpu, DIM, 11, { bias: false, weight: this.tokens.weight });

  forward(ids: readonly ArrayLike<number>[]): Tensor {
    const positions = this.positions.forward(Array.from(ids[0]!, (_, n) => n));
    const x = add(this.tokens.forward(ids), positions);
    const y = this.layers.reduce((hidden, layer) => layer.forward(hidden, { causal: true }), x);
    return this.head.forward(this.norm.forward(y));
  }
}

/** As transformers' `LlamaForCausalLM`, whose names begin with `model.` but for the head's. */
class Llama extends Module {
  readonly model = Object.assign(new (class extends Module {})(), {
    embedTokens: new Embedding(gpu, 11, DIM),
    layers: Array.from(
      { length: LAYERS },
      () => new DecoderLayer(gpu, DIM, HEADS, { keyHeads: 1, feedForward: 12 }),
    ),
    norm: new RMSNorm(gpu, DIM, { eps: 1e-6 }),
  });
  readonly lmHead = new Linear(gpu, DIM, 11, { bias: false });

  forward(ids: readonly ArrayLike<number>[]): Tensor {
    const { embedTokens, layers, norm } = this.model;
    return this.lmHead.forward(
      norm.forward(layers.reduce((x, layer) => layer.forward(x), embedTokens.forward(ids))),
    );
  }
}

for (const [name, make, precision] of perPrecision([
  ['decoder', () => new Decoder()],
  ['llama', () => new Llama()],
] as const))
  scoped(`a causal ${name} of torch loads by name; all is PyTorch's: ${precision}`, async (own) => {
    const model = own(make()).to(precision);
    const tolerance = tolerances[precision];
    model.loadStateDict(golden('torch', `${name}.pt`));
    const expected = expectations(name);
    const flat = [...(expected.readRaw('ids') as Int32Array)];
    const ids = [flat.slice(0, 6), flat.slice(6)];
    const logits = model.forward(ids);
    assert.equal(logits.dtype, precision);
    await near('output', logits, expected.read('output'), tolerance);
    const loss = crossEntropy(
      reshape(slice(logits, null, [0, -1]), [10, 11]),
      ids.flatMap((list) => list.slice(1)),
    );
    await near('loss', loss, expected.read('loss'), tolerance);
    backward(loss);
    for (const [parameter, { tensor }] of model.namedParameters())
      await near(parameter, tensor.grad!, expected.read(`grad.${parameter}`), tolerance);
  });

scoped('attention: padding is as if it were not there; a context, a bias', async (own) => {
  const attend = own(new MultiHeadAttention(gpu, DIM, HEADS)).eval();
  const values = Float32Array.from({ length: 2 * 5 * DIM }, (_, n) => Math.sin(1.1 * n));
  const x = Tensor.from(gpu, values, [2, 5, DIM]);
  const three = Tensor.from(gpu, values.subarray(0, 3 * DIM), [1, 3, DIM]);
  const alone = await attend.forward(three, { causal: true }).toFloat32();
  const padded = attend.forward(x, { causal: true, lengths: [3, 5] });
  await near('padded', slice(padded, 0, [0, 3]), alone, 1e-5);
  const self = await attend.forward(x).toFloat32();
  await near('context', attend.forward(x, { context: x }), self, 1e-5);
  const mask = Tensor.from(
    gpu,
    Float32Array.from({ length: 25 }, (_, n) => (n % 5 > n / 5 ? -Infinity : 0)),
    [5, 5],
  );
  await near(
    'bias',
    attend.forward(x, { bias: mask }),
    await attend.forward(x, { causal: true }).toFloat32(),
    1e-5,
  );
  const few = attend.forward(x, { context: three.reshape([1, 3, DIM]).expand([2, 3, DIM]), lengths: [2, 3] });
  assert.deepEqual(few.shape, [2, 5, DIM]);
  assert.throws(() => attend.forward(three, { context: Tensor.zeros(gpu, [1, 2, 4]) }), ShapeError);
});

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-nn-'));
after(() => fs.rmSync(folder, { recursive: true }));

class Block extends Module {
  readonly fcIn = new Linear(gpu, 3, 4);
  readonly heads: Linear[];
  readonly LayerNorm = new LayerNorm(gpu, 3);
  readonly scale = parameter(gpu, [4]);
  readonly mean: Tensor;
  /** None of these is a part of it. */
  readonly note = 'text';
  readonly sizes = [1, 2];

  constructor() {
    super();
    this.mean = this.registerBuffer('running_mean', Tensor.from(gpu, [1, 2], [2]));
    this.registerBuffer('ids', Tensor.from(gpu, [1], [1], 'u32'), { persistent: false });
    this.heads = [new Linear(gpu, 4, 2), new Linear(gpu, 4, 2, { bias: false })];
  }
}

scoped('names come from properties, in their order, nested', async (own) => {
  const block = own(new Block());
  assert.deepEqual(
    [...block.stateDict().keys()],
    [
      'scale',
      'running_mean',
      'fc_in.weight',
      'fc_in.bias',
      'heads.0.weight',
      'heads.0.bias',
      'heads.1.weight',
      'LayerNorm.weight',
      'LayerNorm.bias',
    ],
  );
  assert.deepEqual(
    [...block.namedBuffers()].map(([name]) => name),
    ['running_mean'],
  );
  assert.equal(block.parameters().length, 8);
  assert.deepEqual(
    [...new Sequential(block.fcIn, relu, new Sequential(block.heads[0]!)).namedParameters()].map(
      ([name]) => name,
    ),
    ['0.weight', '0.bias', '2.0.weight', '2.0.bias'],
  );
  class Mixed extends Module {
    readonly parts = [block.fcIn, 3];
  }
  assert.throws(() => new Mixed().parameters(), /parts\.1 is no module/);
  class Ring extends Module {
    readonly self = this;
  }
  assert.throws(() => new Ring().parameters(), /contains itself/);
});

scoped('a state is saved and loaded: to the bit, by prefix, by other names, halves too', async (own) => {
  const [one, two] = [own(new Block()), own(new Block())];
  const file = path.join(folder, 'block.safetensors');
  await one.save(file);
  noGrad(() => two.mean.write([0, 0]));
  two.loadStateDict(file);
  for (const [name, tensor] of one.stateDict())
    assert.deepEqual(await read(two.stateDict().get(name)!), await read(tensor), name);
  const third = own(new Linear(gpu, 3, 4));
  const source = SafetensorsFile.open(file);
  third.loadStateDict(source, { prefix: 'fc_in.' });
  source.close();
  assert.deepEqual(await read(third.weight.tensor), await read(one.fcIn.weight.tensor));
  const half = Tensor.from(gpu, [0.5, 0.25, 2, 1, 3, 4, 5, 6, 7, 8, 9, 10], [4, 3], 'f16');
  third.loadStateDict({ w: half, b: one.scale.tensor }, { rename: (name) => name.slice(0, 1) });
  assert.deepEqual((await read(third.weight.tensor)).slice(0, 3), [0.5, 0.25, 2]);
});

scoped('what does not fit is named in one error, and nothing was written', async (own) => {
  const linear = own(new Linear(gpu, 3, 4));
  const before = await read(linear.weight.tensor);
  const wrong = {
    weight: Tensor.zeros(gpu, [4, 3]),
    bias: Tensor.zeros(gpu, [3]),
    other: Tensor.zeros(gpu, [1]),
  };
  assert.throws(
    () => linear.loadStateDict(wrong),
    (error) =>
      error instanceof InputError &&
      /1 unexpected: "other"; 1 that do not fit: "bias" is \[3\], expected \[4\]/.test(error.message),
  );
  assert.throws(
    () => linear.loadStateDict(golden('torch', 'encoder.pt')),
    /2 missing: "weight", "bias"; 24 unexpected: /,
  );
  assert.throws(
    () => linear.loadStateDict({ weight: Tensor.zeros(gpu, [4, 3], 'i32') }, { strict: false }),
    /i32/,
  );
  assert.deepEqual(linear.loadStateDict({ other: wrong.other }, { strict: false }), {
    missing: ['weight', 'bias'],
    unexpected: ['other'],
  });
  assert.deepEqual(await read(linear.weight.tensor), before);
});

class Tied extends Module {
  readonly tokens = new Embedding(gpu, 7, 4);
  readonly head = new Linear(gpu, 4, 7, { bias: false, weight: this.tokens.weight });
}

scoped(
  'tied parameters are one: in gradients, in the optimiser, under either name in a file',
  async (own) => {
    const model = own(new Tied());
    assert.equal(model.parameters().length, 1);
    assert.deepEqual([...model.stateDict().keys()], ['tokens.weight', 'head.weight']);
    const values = Float32Array.from({ length: 28 }, (_, i) => i / 10);
    for (const name of ['tokens.weight', 'head.weight'])
      assert.deepEqual(model.loadStateDict({ [name]: Tensor.from(gpu, values, [7, 4]) }), {
        missing: [],
        unexpected: [],
      });
    backward(
      sum(
        square(
          model.head.forward(
            model.tokens.forward([
              [1, 2],
              [2, 6],
            ]),
          ),
        ),
      ),
    );
    const optimizer = new AdamW(model.namedParameters());
    optimizer.step();
    assert.ok((await read(model.head.weight.tensor)).every((value, i) => value !== values[i]));
    optimizer.dispose();
    assert.throws(
      () => new Linear(gpu, 5, 7, { weight: model.tokens.weight }),
      /tied weight must be \[7,5\]/,
    );
  },
);

scoped('an embedding: lists of ids, gradients by rows, padding', async (own) => {
  const table = own(new Embedding(gpu, 6, 4, { paddingIndex: -1 }));
  assert.deepEqual((await read(table.weight.tensor)).slice(20), [0, 0, 0, 0]);
  const y = table.forward([Uint32Array.of(1, 5, 1), [3, 3, 5]]);
  assert.deepEqual(y.shape, [2, 3, 4]);
  assert.deepEqual(table.forward([2, 0]).shape, [2, 4]);
  backward(sum(y));
  const sink = table.weight.gradient as RowGradients;
  assert.deepEqual([...sink.merged()!.rows], [1, 3]);
  assert.deepEqual(
    await read(table.weight.tensor.grad!),
    [0, 0, 0, 0, 2, 2, 2, 2, 0, 0, 0, 0, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0],
  );
  assert.throws(() => table.forward(Tensor.zeros(gpu, [2], 'u32')), /padding row is known on the host/);
  const plain = own(new Embedding(gpu, 3, 4));
  const ids = [
    [2, 0],
    [1, 1],
  ];
  const onDevice = plain.forward(Tensor.from(gpu, Uint32Array.from(ids.flat()), [2, 2]));
  assert.deepEqual(onDevice.shape, [2, 2, 4]);
  assert.deepEqual(await read(onDevice), await read(plain.forward(ids)));
  for (const [ids, says] of [
    [[[1], [1, 2]], /list 1 of ids has 2, the first 1/],
    [[1.5], /1.5 is no row/],
    [[6], /row 6 of a table of 6/],
    [3, /ids must be/],
  ] as const)
    assert.throws(() => table.forward(ids as never), says);
});

scoped('train and eval, freeze and unfreeze reach all modules', async (own) => {
  const model = own(
    new Sequential(new Linear(gpu, 4, 64), new Dropout(0.5), new Sequential(new Dropout(0.1))),
  );
  const x = Tensor.from(gpu, [1, 2, 3, 4], [1, 4]);
  const zeros = async () => (await read(model.forward(x))).filter((value) => value === 0).length;
  assert.ok((await zeros()) > 10);
  model.eval();
  assert.equal(await zeros(), 0);
  assert.ok([...model.namedModules()].every(([, module]) => !module.training));
  model.train().freeze();
  assert.ok([...model.namedModules()].every(([, module]) => module.training));
  assert.equal(model.forward(x).node, undefined);
  model.unfreeze();
  assert.ok(model.forward(x).node);
  backward(sum(model.forward(x)));
  model.zeroGrad();
  assert.ok(model.parameters().every(({ tensor }) => tensor.grad === undefined));
});

scoped('first values are those of PyTorch, and a seed draws them again', async (own) => {
  const spread = async ({ tensor }: Parameter) => {
    const values = await read(tensor);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const most = Math.max(...values.map(Math.abs));
    return { mean, most, deviation: Math.hypot(...values.map((v) => v - mean)) / Math.sqrt(values.length) };
  };
  const linear = own(new Linear(gpu, 64, 100));
  for (const each of [linear.weight, linear.bias!]) {
    const { most, deviation } = await spread(each);
    assert.ok(most <= 1 / 8 && most > 0.11, `${most}`);
    assert.ok(Math.abs(deviation * Math.sqrt(3) * 8 - 1) < 0.2, `${deviation}`);
  }
  const table = await spread(own(new Embedding(gpu, 100, 40)).weight);
  assert.ok(Math.abs(table.mean) < 0.1 && Math.abs(table.deviation - 1) < 0.05);
  const attention = own(new MultiHeadAttention(gpu, 32, 4));
  const bound = Math.sqrt(6 / (4 * 32));
  const projection = await spread(attention.inProjWeight);
  assert.ok(projection.most <= bound && projection.most > 0.98 * bound);
  assert.deepEqual(await spread(attention.inProjBias!), { mean: 0, most: 0, deviation: 0 });
  assert.equal((await spread(attention.outProj.bias!)).most, 0);
  assert.deepEqual(await read(own(new RMSNorm(gpu, 2)).weight.tensor), [1, 1]);
  const drawn = async (make: () => Linear) => read(own(make()).weight.tensor);
  const plain = () => new Linear(gpu, 5, 3);
  manualSeed(gpu, 7);
  const [first, second] = [await drawn(plain), await drawn(plain)];
  assert.notDeepEqual(first, second);
  manualSeed(gpu, 7);
  assert.deepEqual(await drawn(plain), first);
  assert.deepEqual(await drawn(() => new Linear(gpu, 5, 3, { random: new RandomStreams(7, 2) })), second);
});

scoped('a small model learns', async (own) => {
  manualSeed(gpu, 1);
  const model = own(new Sequential(new Linear(gpu, 2, 16), relu, new Linear(gpu, 16, 1)));
  const optimizer = new AdamW(model.parameters(), { learningRate: 0.05 });
  const x = Tensor.from(gpu, [0, 0, 0, 1, 1, 0, 1, 1], [4, 2]);
  const target = Tensor.from(gpu, [0, -1, -1, 0], [4, 1]);
  const losses: number[] = [];
  for (let step = 0; step < 60; step++)
    await scope(async () => {
      const loss = sum(square(add(model.forward(x), target)));
      optimizer.zeroGrad();
      backward(loss);
      optimizer.step();
      if (step % 59 === 0) losses.push(await loss.item());
    });
  assert.ok(losses[1]! < 0.02, `${losses}`);
  optimizer.dispose();
});

scoped('what cannot be made is refused', async () => {
  const refuses = (call: () => unknown, says: RegExp) =>
    assert.throws(call, (error) => error instanceof ShapeError && says.test(error.message));
  refuses(() => new Linear(gpu, -1, 2), /in must be/);
  refuses(() => new Dropout(1.5), /probability/);
  refuses(() => new LayerNorm(gpu, 3, { eps: 0 }), /eps/);
  refuses(() => new MultiHeadAttention(gpu, 6, 4), /do not divide/);
  refuses(() => new DecoderLayer(gpu, 8, 4, { keyHeads: 3 }), /do not divide/);
  refuses(
    () => new TransformerEncoderLayer(gpu, 4, 1, { activation: 'softmax' as never }),
    /activation must be/,
  );
  refuses(() => new Embedding(gpu, 3, 2, { paddingIndex: 3 }), /padding index/);
  for (const Layer of [
    Linear,
    Embedding,
    LayerNorm,
    RMSNorm,
    MultiHeadAttention,
    TransformerEncoderLayer,
    DecoderLayer,
  ])
    refuses(
      () => new (Layer as unknown as new (...sizes: number[]) => Module)(8, 2),
      /first argument must be a Gpu/,
    );
  refuses(
    () => new Sequential([relu] as never),
    /layer 0 must be a module or a function, found \[a function\]/,
  );
  refuses(() => parameter(gpu, Tensor.zeros(gpu, [2], 'f16')), /f32/);
  refuses(() => parameter(gpu, 3 as never), /needs a shape, or a tensor of its values, found 3/);
  refuses(() => manualSeed(gpu, 'a' as never), /seed must be/);
  const leaf = Tensor.zeros(gpu, [2, 2]);
  const takes = { constant_: () => constant_(leaf as never, 1), uniform_: () => uniform_(leaf as never) };
  for (const [name, call] of Object.entries(takes))
    refuses(call, new RegExp(`^${name}: takes a parameter, found a Tensor`));
});

scoped('what properties hold at any depth of lists and objects is the module’s', async (own) => {
  class Net extends Module {
    readonly start = parameter(gpu, Tensor.from(gpu, [1, 2, 3], [3]));
    readonly heads = { first: [new Linear(gpu, 2, 1), relu], selfAttn: { deep: new LayerNorm(gpu, 2) } };
    readonly towers = new Map([['left', new Linear(gpu, 1, 1, { bias: false })]]);
    readonly config: Record<string, unknown> = { width: 3, names: ['a'] };
    readonly loose: Record<string, unknown> = {};
  }
  const net = own(new Net());
  net.config.itself = net.config;
  assert.deepEqual(await net.start.tensor.toArray(), new Float32Array([1, 2, 3]));
  const names = [
    'start',
    ...['heads.first.0.weight', 'heads.first.0.bias'],
    ...['heads.selfAttn.deep.weight', 'heads.selfAttn.deep.bias', 'towers.left.weight'],
  ];
  assert.deepEqual([...net.stateDict().keys()], names);
  net.towers.get('left')!.freeze();
  assert.equal(
    String(net),
    `Net(start [3]
  heads.first.0: Linear(weight [1,2], bias [1])
  heads.selfAttn.deep: LayerNorm(weight [2], bias [2])
  towers.left: Linear(weight [1,1])
), 11 values in 6 parameters, 1 of them frozen`,
  );
  const refuses = (says: RegExp) =>
    assert.throws(
      () => net.parameters(),
      (error) => error instanceof ShapeError && says.test(error.message),
    );
  const stray = Tensor.zeros(gpu, [2]);
  stray.requiresGrad = true;
  for (const property of ['stray', 'loose']) {
    Object.assign(net, property === 'loose' ? { loose: { in: [stray, net.start] } } : { stray });
    refuses(
      property === 'loose' ? /loose.in.0 is no module/ : /stray requires a gradient and is no parameter/,
    );
    delete (net as unknown as Record<string, unknown>)[property];
  }
  Object.assign(net, { loose: { 'a.b': net.start } });
  refuses(/loose has the key "a.b"/);
  Object.assign(net, { loose: { tied: net.start.tensor } });
  assert.equal(net.parameters().length, 6);
  net.start.requiresGrad = false;
  assert.equal(net.start.trains, false);
  Object.assign(net, { loose: new Set([net.start]) });
  refuses(/loose is a Set, whose members have no names/);
  Object.assign(net, { loose: {} });
});

scoped('a name that leads to two is refused, wherever the second comes from', async (own) => {
  class Twice extends Module {
    readonly selfAttn = own(new Linear(gpu, 1, 1));
    readonly self_attn = own(new Linear(gpu, 1, 1));
  }
  class Shadowed extends Module {
    readonly weight = parameter(gpu, [1]);
    constructor() {
      super();
      this.registerBuffer('weight', Tensor.zeros(gpu, [1]));
    }
  }
  const called = (name: string) => (error: unknown) =>
    error instanceof ShapeError && error.message.includes(`two parameters or buffers are called "${name}"`);
  assert.throws(() => new Twice().stateDict(), called('self_attn.weight'));
  const shadowed = new Shadowed();
  assert.throws(() => shadowed.parameters(), called('weight'));
  shadowed.weight.tensor.dispose();
  (shadowed as unknown as { disposeOwn(): void }).disposeOwn();
  class Buffers extends Module {
    constructor(first: boolean, second: boolean) {
      super();
      this.registerBuffer('z', Tensor.zeros(gpu, [1]), { persistent: first });
      assert.throws(
        () => this.registerBuffer('z', Tensor.zeros(gpu, [1]), { persistent: second }),
        /two buffers are called z/,
      );
    }
  }
  for (const first of [true, false]) for (const second of [true, false]) own(new Buffers(first, second));
});

scoped('what is no state, or could not be copied, is refused before anything is written', async (own) => {
  const linear = own(new Linear(gpu, 2, 1));
  const before = await read(linear.weight.tensor);
  const other = await Gpu.open();
  const freed = Tensor.zeros(gpu, [1]);
  freed.dispose();
  const weight = Tensor.zeros(gpu, [1, 2]);
  for (const [source, says] of [
    [undefined, /expected a file, an open source, or tensors by name/],
    [3, /expected a file/],
    [linear, /expected a file.*found a Linear/],
    [[weight], /expected a file/],
    [{ weight, bias: freed }, /"bias" is already freed/],
    [{ weight, bias: Tensor.zeros(other, [1]) }, /"bias" is on another device/],
    [{ weight, bias: [1] }, /"bias" is no tensor but \[1\]/],
  ] as const)
    assert.throws(() => linear.loadStateDict(source as never), says);
  assert.deepEqual(await read(linear.weight.tensor), before);
  await other.close();
  const gone = new Linear(gpu, 2, 1);
  gone.dispose();
  assert.throws(
    () => gone.loadStateDict({ weight, bias: Tensor.zeros(gpu, [1]) }),
    /"weight" .* already freed/,
  );
});

scoped('options of modules that there are not are refused with the nearest name', async (own) => {
  const calls: Readonly<Record<string, (options: never) => unknown>> = {
    Linear: (options) => new Linear(gpu, 2, 2, options),
    Embedding: (options) => new Embedding(gpu, 2, 2, options),
    LayerNorm: (options) => new LayerNorm(gpu, 2, options),
    RMSNorm: (options) => new RMSNorm(gpu, 2, options),
    Dropout: (options) => new Dropout(0.5, options),
    SwiGLU: (options) => new SwiGLU(gpu, 2, 2, options),
    MultiHeadAttention: (options) => new MultiHeadAttention(gpu, 4, 1, options),
    RotaryAttention: (options) => new RotaryAttention(gpu, 4, 1, options),
    DecoderLayer: (options) => new DecoderLayer(gpu, 4, 1, options),
    TransformerEncoderLayer: (options) => new TransformerEncoderLayer(gpu, 4, 1, options),
    parameter: (options) => parameter(gpu, [2], options),
  };
  for (const [op, call] of Object.entries(calls))
    assert.throws(
      () => call({ nonsense: 1 } as never),
      new RegExp(`^ShapeError: ${op}: no option "nonsense"`),
    );
  assert.throws(() => calls['Linear']!({ bais: false } as never), /no option "bais", the nearest is bias/);
  assert.throws(() => calls['Linear']!({ bias: 'false' } as never), /bias must be true or false/);
  const x = Tensor.zeros(gpu, [1, 2, 4]);
  const encoder = own(new TransformerEncoderLayer(gpu, 4, 1));
  const decoder = own(new DecoderLayer(gpu, 4, 1));
  assert.throws(
    () => encoder.forward(x, { casual: true } as never),
    /no option "casual", the nearest is causal/,
  );
  assert.throws(() => decoder.forward(x, { strat: 1 } as never), /no option "strat", the nearest is start/);
  assert.throws(() => encoder.loadStateDict(new Map(), { stict: false } as never), /the nearest is strict/);
});
