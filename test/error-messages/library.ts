/** What the library refuses that no command asks of it, and what a command would ask only after a long time. */
import fs from 'node:fs';
import { loadDatasets } from '../../src/data/batches.js';
import { AtomicFile } from '../../src/files/atomic.js';
import { NamelessFile } from '../../src/files/nameless-file.js';
import { PositionedFile } from '../../src/files/positioned.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import { flat } from '../../src/kernels/launch/operands.js';
import { Shader } from '../../src/kernels/launch/shader.js';
import { readEncoderConfig } from '../../src/models/config.js';
import { M3Model } from '../../src/models/m3.js';
import { OutputFolder } from '../../src/models/output-folder.js';
import { TokenBatch } from '../../src/models/token-batch.js';
import { AdamW } from '../../src/optim/index.js';
import { checkRanks } from '../../src/parity/several-ranks.js';
import { CarriedCommunicator } from '../../src/ranks/carrier.js';
import { EmulatedRanks } from '../../src/ranks/emulated.js';
import { threadsPlace, threadsWorld } from '../../src/ranks/threads-transport.js';
import { openEmbedder } from '../../src/retrieval/embedder/open.js';
import { encodeStream } from '../../src/retrieval/encode/stream.js';
import { EmbeddingBatcher } from '../../src/serve/batcher.js';
import { createEmbeddingServer } from '../../src/serve/server.js';
import { ensureDriver } from '../../src/setup/setup.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { compareTokenizer } from '../../src/tokenizer/parity.js';
import { TokenizerThreads } from '../../src/tokenizer/threads.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { broadcastModel } from '../../src/train/ranks/broadcast-model.js';
import { openWeights } from '../../src/weights/open.js';
import { SafetensorsFile, writeSafetensors } from '../../src/weights/safetensors.js';
import { TorchFile, writeTorchFile } from '../../src/weights/torch-file.js';
import { lendGpu } from '../lent-gpu.js';
import { golden } from '../repository.js';
import type { RefusedUse } from './call.js';
import { failing } from './faults.js';

const onGpu = (use: (gpu: Gpu) => unknown) => async () => {
  const gpu = await lendGpu();
  try {
    await use(gpu);
  } finally {
    await gpu.close();
  }
};

/** An optimiser of one parameter reads `a.safetensors`, whose metadata say `state`. */
const loading = (state: string, tensors: Parameters<typeof writeSafetensors>[1] = []) =>
  onGpu((gpu) => {
    writeSafetensors('a.safetensors', tensors, { state });
    const parameter = Tensor.from(gpu, [1], [1]).keep();
    parameter.requiresGrad = true;
    const optimizer = new AdamW([parameter]);
    try {
      optimizer.load('a.safetensors');
    } finally {
      optimizer.dispose();
      parameter.dispose();
    }
  });

const rows = { 'a.jsonl': '{"query":"a","pos":["b"],"neg":["c"]}\n' };
const example = () => loadDatasets({ trainData: ['a.jsonl'], trainGroupSize: 2, perDeviceTrainBatchSize: 1 });
const torchFile = () => TorchFile.open(golden('torch_files', 'mixed.pt'));
const numbers = { 'a.safetensors': '' };

/** A model on the lent device. */
const withModel = (use: (model: M3Model, tokenizer: Tokenizer) => unknown) =>
  onGpu(async (gpu) => {
    const model = M3Model.load(gpu, golden('model'));
    try {
      await use(model, Tokenizer.load(golden('model')));
    } finally {
      model.dispose();
    }
  });
const encoding = (representations: readonly string[]) =>
  withModel(async (model, tokenizer) => {
    for await (const _ of encodeStream(model, tokenizer, ['a'], {
      representations: new Set(representations as never[]),
    }));
  });

/** One rank with a communication thread. */
const carried = async (use: (rank: CarriedCommunicator) => Promise<unknown>) => {
  const rank = await CarriedCommunicator.open({ transport: threadsPlace(threadsWorld(1), 0) });
  try {
    await use(rank);
  } finally {
    await rank.close();
  }
};

/** A safetensors file of two floats and of two whole numbers. */
const withNumbers = (use: (file: SafetensorsFile) => unknown) => () => {
  writeSafetensors('a.safetensors', [
    { name: 'floats', dtype: 'f32', shape: [2], data: Float32Array.of(1, 2) },
    { name: 'whole', dtype: 'i32', shape: [2], data: Int32Array.of(1, 2) },
  ]);
  const file = SafetensorsFile.open('a.safetensors');
  try {
    use(file);
  } finally {
    file.close();
  }
};

export const refusedUses: readonly RefusedUse[] = [
  // ---- data
  {
    what: 'loadDatasets',
    files: rows,
    use: () => loadDatasets({ trainData: ['a.jsonl'], trainGroupSize: 0 }),
    line: '--train_group_size: expected an integer from 1, found 0',
  },
  {
    what: 'TrainingData.epoch of a rank that there is not',
    files: rows,
    use: () => [...example().epoch(0, { rank: 1 })],
    line: 'rank: expected an integer from 0 to 0, found 1',
  },
  {
    what: 'TrainingData.epoch from a batch that there is not',
    files: rows,
    use: () => [...example().epoch(0, { startBatch: -1 })],
    line: 'startBatch: expected an integer from 0, found -1',
  },
  // ---- files
  {
    what: 'AtomicFile.write after abort',
    use: () => {
      const file = AtomicFile.create('a');
      file.abort();
      file.write(new Uint8Array(1));
    },
    line: 'a: written after it was closed',
    status: 1,
  },
  {
    what: 'NamelessFile.write after close',
    use: () => {
      const file = NamelessFile.create('.');
      file.close();
      file.write(new Uint8Array(1), 0);
    },
    line: 'a temporary file was used after it was closed',
    status: 1,
  },
  {
    what: 'PositionedFile.readInto after close',
    files: rows,
    use: () => {
      const file = PositionedFile.open('a.jsonl');
      file.close();
      file.readInto(new Uint8Array(1), 0);
    },
    line: 'a.jsonl: read after it was closed',
    status: 1,
  },
  // ---- weights
  {
    what: 'a tensor of a folder of weights in several files',
    files: {
      'w/model.safetensors.index.json': '{"weight_map":{"a":"s.safetensors"}}',
      'w/s.safetensors': '6\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}',
    },
    use: () => openWeights('w').read('b'),
    line: 'w/model.safetensors.index.json: no tensor "b" (it lists "a")',
  },
  {
    what: 'SafetensorsFile.readRange beyond the end',
    files: numbers,
    use: withNumbers((file) => file.readRange('floats', 1, 2)),
    line: 'a.safetensors: tensor "floats": no elements 1 to 3 of 2',
  },
  {
    what: 'SafetensorsFile.read of none',
    files: numbers,
    use: withNumbers((file) => file.read('none')),
    line: 'a.safetensors: no tensor "none" (the file has "floats", "whole")',
  },
  {
    what: 'SafetensorsFile.read of whole numbers',
    files: numbers,
    use: withNumbers((file) => file.read('whole')),
    line: 'a.safetensors: tensor "whole": expected floats, found i32',
  },
  {
    what: 'TorchFile.read of none',
    use: () => torchFile().read('none'),
    line: /mixed\.pt: no tensor "none" \(the file has /,
  },
  {
    what: 'TorchFile.read of whole numbers',
    use: () => {
      const file = torchFile();
      file.read(file.names().find((name) => file.info(name).dtype === 'i64')!);
    },
    line: /mixed\.pt: tensor ".*": expected floats, found i64$/,
  },
  {
    what: 'writeTorchFile of a name twice',
    use: () => writeTorchFile('a.pt', Array(2).fill({ name: 'a', shape: [1], data: Float32Array.of(1) })),
    line: 'a.pt: a tensor name is repeated',
  },
  {
    what: 'writeTorchFile of too much',
    use: () => {
      const data = new Float32Array(1 << 24);
      const entries = Array.from({ length: 64 }, (_, i) => ({ name: `${i}`, shape: [data.length], data }));
      writeTorchFile('a.pt', entries);
    },
    line: 'a.pt: 64 tensors of 4295000536 bytes are more than a PyTorch file written here can have (65280 of 4 GiB); write safetensors',
  },
  // ---- models and tokenizers
  {
    what: 'TokenBatch of a text that is too long',
    use: onGpu((gpu) => new TokenBatch(gpu, [new Uint32Array(600)], readEncoderConfig(golden('model')))),
    line: 'text 0 has 600 tokens, the model has positions for 512; lower --query_max_len or --passage_max_len',
  },
  {
    what: 'encodeStream of a representation that there is not',
    use: encoding(['all']),
    line: 'representations: expected some of dense, sparse, colbert, found "all"',
  },
  {
    what: 'encodeStream of none',
    use: encoding([]),
    line: 'representations: expected some of dense, sparse, colbert, found none',
  },
  {
    what: 'TokenizerThreads with a cache of no size',
    use: () => new TokenizerThreads(Tokenizer.load(golden('model')), { threads: 0, cacheSize: Number.NaN }),
    line: 'cacheSize: expected a number, found NaN',
  },
  {
    what: 'openEmbedder without a model',
    use: () => openEmbedder({ modelNameOrPath: null } as never, {} as never, []),
    line: '--model_name_or_path: expected a folder or a hub id, found nothing',
  },
  // ---- serving and set-up
  {
    what: 'EmbeddingBatcher with batches of nothing',
    use: withModel((model, tokenizer) => new EmbeddingBatcher(model, tokenizer, { batchTokens: 0 })),
    line: 'batchTokens: expected a number of at least 1, found 0',
  },
  {
    what: 'EmbeddingBatcher after close',
    use: withModel(async (model, tokenizer) => {
      const batcher = new EmbeddingBatcher(model, tokenizer, {});
      await batcher.close();
      await batcher.compute([Uint32Array.of(0, 2)], { representations: new Set(['dense']) }, () => {});
    }),
    line: 'the batcher was closed',
    status: 1,
  },
  {
    what: 'createEmbeddingServer without a name',
    use: () => createEmbeddingServer({} as never, { names: [] }),
    line: 'names: expected a name of the model, found none',
  },
  {
    what: 'ensureDriver of another driver',
    use: () => ensureDriver({ driver: 'other' as never }),
    line: 'ensureDriver: driver must be lavapipe or swiftshader, found "other"',
  },
  // ---- folders of models
  {
    what: 'OutputFolder.open with a lock that says nothing',
    files: { 'out/.dawntune.lock': '{' },
    use: () => OutputFolder.open('out'),
    line: 'out/.dawntune.lock: expected JSON, found a text that ends too early, after "{"; if no run writes there, remove this file',
    status: 1,
  },
  {
    what: 'OutputFolder.open with a folder in the place of a file',
    files: { 'out/config.json': null },
    use: () => OutputFolder.open('out'),
    line: 'out/config.json: expected a file or nothing, as a model is written there, found a folder',
  },
  {
    what: 'OutputFolder.open where what was left cannot be removed',
    files: { 'out/.dawntune-save.checkpoint-1.writing/a': '' },
    before: () => failing('rmSync', /checkpoint-1\.writing$/, 'EIO'),
    use: () => OutputFolder.open('out'),
    line: 'out: cannot write: the disk reports an error; look after the disk, or give a folder on another one',
    status: 1,
  },
  {
    what: 'compareTokenizer of a large file',
    files: { 'a.txt': '' },
    before: () => {
      fs.truncateSync('a.txt', 2 ** 28 + 1);
      return {};
    },
    use: () => compareTokenizer({ folder: golden('model'), lines: 'a.txt', threads: 0, seconds: 0 }),
    line: 'a.txt: expected at most 256 MiB, found 257',
  },
  // ---- the device
  {
    what: 'Gpu.checkGuards of a device without them',
    use: onGpu((gpu) => gpu.checkGuards()),
    line: 'the device was opened without guardWords',
    status: 1,
  },
  {
    what: 'a buffer beyond what the adapter has',
    use: onGpu((gpu) => Tensor.zeros(gpu, [2 ** 45])),
    line: /^a buffer of .* exceeds the adapter's limit of /,
    status: 1,
  },
  // ---- optimisers
  {
    what: 'AdamW.load of no state',
    use: loading('1'),
    line: 'a.safetensors: expected the state of an optimiser in its metadata',
  },
  {
    what: 'AdamW.load of another optimiser',
    use: loading('{"optimizer":"SGD","steps":1,"updates":{}}'),
    line: 'a.safetensors: expected the state of AdamW, found that of "SGD"',
  },
  {
    what: 'AdamW.load of another parameter',
    use: loading('{"optimizer":"AdamW","steps":1,"updates":{"1":1}}'),
    line: 'a.safetensors: this optimiser has no parameter "1"',
  },
  {
    what: 'AdamW.load without its tensors',
    use: loading('{"optimizer":"AdamW","steps":1,"updates":{"0":1}}'),
    line: 'a.safetensors: "0.exp_avg": expected f32 [1], found no such tensor',
  },
  {
    what: 'copyToTexture of rows that are not there',
    use: onGpu((gpu) => {
      const tensor = Tensor.from(gpu, [1, 2], [2]).keep();
      try {
        gpu.copyToTexture(tensor.bindingRange(0, 2), 256, 4, 9, { kind: 'rgba32uint 4x9' } as never);
      } finally {
        tensor.dispose();
      }
    }),
    line: 'copyToTexture: no 9 rows of 4 texels, 256 bytes apart, in 16 bytes',
    status: 1,
  },
  {
    what: 'a launch with operands that are not its buffers',
    use: onGpu((gpu) => {
      const tensor = Tensor.from(gpu, [1, 2], [2]).keep();
      try {
        const buffers = { a: 'array<f32>', out: 'array<f32>' };
        const shader = new Shader({ label: 'copy', params: {}, buffers, body: '' });
        shader.launch(
          gpu,
          { a: flat(tensor) },
          () => ({}),
          () => 1,
        );
      } finally {
        tensor.dispose();
      }
    }),
    line: 'copy: operands a for the buffers a, out',
    status: 1,
  },
  {
    what: 'a gather into an array of another size',
    use: onGpu(async (gpu) => {
      const tensor = Tensor.from(gpu, [1, 2, 3, 4], [4]).keep();
      const gather = gpu.beginGather([tensor.bindingRange(0, 4)]);
      try {
        await gather.into(new Uint8Array(4));
      } finally {
        await gather.into(new Uint8Array(16));
        tensor.dispose();
      }
    }),
    line: 'read: 16 bytes into an array of 4',
    status: 1,
  },
  // ---- ranks
  {
    what: 'an exchange of too few parts through a thread',
    use: () => carried((rank) => rank.exchange([])),
    line: 'an exchange of 0 parts among 1 ranks',
    status: 1,
  },
  {
    what: 'a carried rank after close',
    use: () =>
      carried(async (rank) => {
        await rank.close();
        await rank.barrier();
      }),
    line: 'rank 0 is closed',
    status: 1,
  },
  {
    what: 'broadcastModel of two models',
    use: () => {
      const ranks = new EmulatedRanks(2);
      const model = (shape: number[]) =>
        ({ store: { parameters: [{ name: 'a', shape, trainable: true }] } }) as never;
      return Promise.all([
        broadcastModel(model([1]), ranks.rank(0)).catch(() => {}),
        broadcastModel(model([2]), ranks.rank(1)),
      ]);
    },
    line: 'rank 1 has another model than rank 0: expected a [1], found a [2]',
    status: 1,
  },
  {
    what: 'checkRanks of goldens that do not fit together',
    use: () =>
      checkRanks(
        {
          folder: 'd',
          json: (name: string) => (name === 'cross_device.json' ? { source_case: 'x' } : []),
        } as never,
        undefined,
      ),
    line: 'd/cross_device.json: no loss case "x"',
  },
  {
    what: 'an exchange of too few parts',
    use: () => new EmulatedRanks(2).rank(0).exchange([]),
    line: 'an exchange of 0 parts among 2 ranks',
    status: 1,
  },
  {
    what: 'a rank after close',
    use: async () => {
      const ranks = new EmulatedRanks(1);
      await ranks.rank(0).close();
      await ranks.rank(0).barrier();
    },
    line: 'rank 0 is closed',
    status: 1,
  },
];
