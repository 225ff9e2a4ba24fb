/**
 * What fine-tuning bge-m3 would take here, without the model: the batches, the run and the planning are those of
 * `finetune --dry_run`, with texts that are all as long as they may be and bring every word that there is.
 */
import os from 'node:os';
import type { Capabilities } from '../../gpu/capabilities.js';
import { Gpu } from '../../gpu/gpu.js';
import { machineMemory } from '../../gpu/machine-memory.js';
import { bgeM3 } from '../../models/bge-m3.js';
import { type EncoderConfig, parseEncoderConfig } from '../../models/config.js';
import { M3Model } from '../../models/m3.js';
import { type FinetuneArguments, parseFinetuneArguments } from '../../train/arguments.js';
import { matchBytes, plannedBatches } from '../../train/memory/longest-step.js';
import { planMemory } from '../../train/memory/memory-plan.js';
import { RunPlan } from '../../train/run/plan.js';
import type { FitFacts, FitWay } from '../facts.js';

/** FlagEmbedding's example: two queries a step, eight passages each. */
const STEP = [
  ...['--per_device_train_batch_size', '2', '--train_group_size', '8'],
  ...['--query_max_len', '512', '--passage_max_len', '512'],
  ...['--unified_finetuning', 'True', '--use_self_distill', 'True', '--knowledge_distillation', 'True'],
];
const WORDS = 'a step of 2 queries with 8 passages each, 512 tokens long';

/** In the order in which they save memory. */
const WAYS: readonly (readonly string[])[] = [
  [],
  ['--fp16'],
  ['--gradient_checkpointing'],
  ['--fp16', '--gradient_checkpointing'],
  ['--gradient_checkpointing', '--sub_batch_size', '4'],
  ['--fp16', '--gradient_checkpointing', '--sub_batch_size', '4'],
];

/** Of Node, the tokenizer and Dawn, beside what is accounted: 7.09 − 6.41 GB of a real step (docs/memory.md). */
const HOST_BYTES = 0.7e9;
/** Of a software adapter's memory, as the budget of `Gpu.open` has it. */
const PART = 0.9;
/** Of a Mac’s memory: about what Metal recommends that a GPU takes which shares it. */
const APPLE_PART = 2 / 3;

export interface FitOptions {
  readonly wanted: string | null;
  /** False: there is no adapter, and a software one is planned for. */
  readonly adapter: boolean;
  /** Of the adapter; null where nobody tells. */
  readonly memory: number | null;
}

/** @throws MachineError where the adapter cannot be opened. */
export async function probeFit({ wanted, adapter, memory }: FitOptions): Promise<FitFacts> {
  const capabilities = adapter ? await capabilitiesOf(wanted) : leastCapabilities;
  const { software } = capabilities;
  const of = software ? 'machine' : 'adapter';
  const part = software ? PART : process.platform === 'darwin' ? APPLE_PART : 1;
  const whole = software ? machineMemory() : memory;
  const bytes = whole === null ? null : Math.floor(whole * part);
  const ways: FitWay[] = [];
  for (const flags of WAYS) {
    const plan = await planWay(capabilities, parseEncoderConfig(bgeM3), [...STEP, ...flags]);
    const room = bytes === null ? null : plan.bytes <= bytes;
    ways.push({
      flags: flags.join(' '),
      ...plan,
      hostBytes: HOST_BYTES,
      // A tenth of the machine's is left to the program where the budget is the rest.
      fits: !software && machineMemory() < HOST_BYTES ? false : room,
    });
  }
  return { step: WORDS, memory: { of, bytes }, ways };
}

async function capabilitiesOf(wanted: string | null): Promise<Capabilities> {
  const gpu = await Gpu.open(wanted === null ? {} : { adapter: wanted });
  const { capabilities } = gpu;
  await gpu.close();
  return capabilities;
}

/** What every WebGPU adapter has at least. */
const leastCapabilities: Capabilities = {
  name: 'a software adapter',
  driver: '',
  software: true,
  shaderF16: false,
  subgroups: false,
  subgroupMinSize: 0,
  subgroupMaxSize: 0,
  subgroupMatrixConfigs: [],
  timestamps: false,
  maxBufferSize: 2 ** 32,
  maxBindingSize: 2 ** 27,
  bindingAlignment: 256,
  maxTextureSize: 8192,
  maxWorkgroupsPerDimension: 65535,
  maxWorkgroupInvocations: 256,
  maxWorkgroupMemory: 16384,
};

/** The memory of a step by these flags of `finetune`, at most: of texts as long as they may be, whose words are all different. */
export async function planWay(
  capabilities: Capabilities,
  config: EncoderConfig,
  flags: readonly string[],
  words = config.vocabSize,
): Promise<Pick<FitWay, 'bytes' | 'modelBytes' | 'checkpointBytes'>> {
  const { args } = parseFinetuneArguments([
    ...['--model_name_or_path', 'BAAI/bge-m3', '--train_data', os.tmpdir(), '--output_dir', os.tmpdir()],
    ...flags,
  ]);
  const plan = new RunPlan(args, null, { rows: 1000, batchesPerEpoch: 500, ranked: undefined });
  const longest = [longestOf(args)];
  const options = {
    unified: args.unifiedFinetuning,
    colbertFloor: args.flagembeddingCompat.has('colbert-floor'),
    chunk: args.subBatchSize,
    // Of XLM-R's tokenizer: a text stands between <s> and </s>.
    empty: [0, 2],
    specialIds: [0, 1, 2, 3],
  };
  let weights = 0;
  const report = await planMemory(
    { capabilities },
    {
      model: (gpu) => {
        const model = M3Model.empty(gpu, config, {
          colbertDim: args.colbertDim,
          trainable: (name) => plan.trains(name),
          decay: (name) => plan.decays(name),
          precision: plan.precision,
        });
        weights = model.store.count;
        return model;
      },
      run: plan.run,
      batches: (model) => plannedBatches(model, longest, options),
      words: () => words,
      extraBytes: () => (args.unifiedFinetuning ? matchBytes(longest, options) : 0),
    },
  );
  const modelBytes = 4 * weights;
  return {
    bytes: report.peak,
    modelBytes,
    checkpointBytes: modelBytes + report.peakByPurpose.optimizer,
  };
}

/** Rows whose texts fill the lengths that the flags allow. */
function longestOf(args: FinetuneArguments) {
  const batch = args.perDeviceTrainBatchSize;
  const { trainGroupSize: groupSize, queryMaxLen, passageMaxLen } = args;
  return {
    dataset: '',
    batches: 1,
    noInBatchNeg: false,
    hasTeacher: args.knowledgeDistillation,
    queries: new Array<number>(batch).fill(queryMaxLen),
    passages: new Array<number>(batch * groupSize).fill(passageMaxLen),
    groupSize,
    unread: 0,
  };
}
