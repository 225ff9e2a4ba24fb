/** Where a run computes, and what it trains, for its record. */
import { createRequire } from 'node:module';
import os from 'node:os';
import type { Gpu } from '../../gpu/gpu.js';
import type { M3Model } from '../../models/m3.js';
import type { Environment, ModelSummary } from '../../run-record/record.js';
import { packageVersion } from '../../version.js';
import type { FinetuneArguments } from '../arguments.js';

export function environmentOf({ capabilities }: Gpu, ranks: number): Environment {
  const { version } = createRequire(import.meta.url)('webgpu/package.json') as { version: string };
  return {
    dawntune: packageVersion(),
    node: process.versions.node,
    platform: `${os.platform()} ${os.arch()}`,
    processor: os.cpus()[0]?.model.trim() || process.arch,
    cores: os.availableParallelism(),
    memory: os.totalmem(),
    adapter: {
      name: capabilities.name,
      driver: capabilities.driver,
      software: capabilities.software,
      f16: capabilities.shaderF16,
      subgroups: capabilities.subgroups,
      matrix_units: capabilities.subgroupMatrixConfigs.length > 0,
    },
    dawn: version,
    ranks,
  };
}

export function modelSummary({ store, config }: M3Model, args: FinetuneArguments): ModelSummary {
  const folder = args.outputDir;
  const size = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);
  const trained = store.parameters.filter(({ trains }) => trains);
  return {
    base: args.modelNameOrPath,
    folder,
    parameters: store.count,
    trained_parameters: trained.reduce((sum, { shape }) => sum + size(shape), 0),
    hidden_size: config.hiddenSize,
    layers: config.layers,
    colbert_dim: store.get('colbert_linear.weight').shape[0]!,
    vocabulary: config.vocabSize,
    max_length: config.maxTokens,
    use: waysToUse(folder, args),
  };
}

function waysToUse(folder: string, args: FinetuneArguments): ModelSummary['use'] {
  // A shell's word that means nothing but itself; what Python and JavaScript call a string is one of JSON.
  const word = /^[\w./-]+$/.test(folder) ? folder : `'${folder.replaceAll("'", "'\\''")}'`;
  const quoted = JSON.stringify(folder);
  const lines = (...text: string[]) => text.join('\n');
  return [
    {
      title: 'Vectors of a file of texts',
      language: 'sh',
      code: `npx dawntune encode texts.txt --model_name_or_path ${word} --output vectors.npy`,
    },
    {
      title: 'dawntune, all three kinds of vectors',
      language: 'js',
      code: lines(
        "import { encodeTexts, Gpu, hybridScores, M3Model, Tokenizer } from 'dawntune';",
        '',
        'const gpu = await Gpu.open();',
        `const model = M3Model.load(gpu, ${quoted});`,
        `const tokenizer = Tokenizer.load(${quoted});`,
        "const [query] = await encodeTexts(model, tokenizer, ['What is BGE M3?'], { role: 'query' });",
        "const [passage] = await encodeTexts(model, tokenizer, ['BGE M3 is an embedding model.'], { role: 'document' });",
        'console.log(hybridScores(query, passage));',
      ),
    },
    {
      title: 'sentence-transformers, dense vectors',
      language: 'python',
      code: lines(
        'from sentence_transformers import SentenceTransformer',
        '',
        `model = SentenceTransformer(${quoted})`,
        'print(model.encode(["What is BGE M3?"]))',
      ),
    },
    {
      title: 'FlagEmbedding, all three',
      language: 'python',
      code: lines(
        'from FlagEmbedding import BGEM3FlagModel',
        '',
        `model = BGEM3FlagModel(${quoted}, pooling_method="${args.sentencePoolingMethod}", normalize_embeddings=${args.normalizeEmbeddings ? 'True' : 'False'})`,
        'vectors = model.encode(["What is BGE M3?"], return_dense=True, return_sparse=True, return_colbert_vecs=True)',
      ),
    },
  ];
}
