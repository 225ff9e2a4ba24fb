/** Opens what the commands of this room encode with: the model of the flags, its tokenizer, and the rank's GPU. */

import type { Reporter } from '../../console/reporter.js';
import { compileFormat, type Join } from '../../data/prompts.js';
import { InputError } from '../../errors.js';
import { Gpu, type GpuOptions } from '../../gpu/gpu.js';
import { requireEmbedder } from '../../models/cross-encoder.js';
import { M3Model } from '../../models/m3.js';
import { headsIn, lackOfHead } from '../../models/m3-folder.js';
import type { M3Options } from '../../models/m3-parameters.js';
import type { Communicator } from '../../ranks/communicator.js';
import { SingleCommunicator } from '../../ranks/single.js';
import { together } from '../../ranks/together.js';
import { TokenizerThreads } from '../../tokenizer/threads.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import type { EmbedderArguments } from './arguments.js';
import { namedFolder } from './folder.js';

/** What a rank of a command has around it. */
export interface EmbedderSurroundings {
  /** Of rank 0, which tells what concerns all. */
  readonly report: Reporter;
  /** Where there are several ranks. */
  readonly communicator?: Communicator | undefined;
  /** Opens the rank's own adapter; where there are no ranks, one is opened by `--adapter`. */
  readonly openGpu?: ((options?: Omit<GpuOptions, 'adapter'>) => Promise<Gpu>) | undefined;
  /** What the cache of texts may hold, as a `Tokenizer`'s; default: as much as that. */
  readonly cacheSize?: number | undefined;
  /** The command's flag that asks for dense vectors alone, for whoever has a model without heads. */
  readonly denseAlone?: string | undefined;
}

/** What of the flags says which model it is, and how it reads texts. */
export type OpenArguments = Pick<
  EmbedderArguments,
  | ('modelNameOrPath' | 'revision' | 'cacheDir' | 'token' | 'poolingMethod' | 'normalizeEmbeddings')
  | ('queryInstructionForRetrieval' | 'queryInstructionFormat' | 'queryMaxLength')
  | ('passageInstructionForRetrieval' | 'passageInstructionFormat' | 'passageMaxLength')
  | ('truncateDim' | 'fp16' | 'adapter')
>;

/** A model with its tokenizer, ready to encode texts. */
export interface Embedder {
  /** The model's, of a model of the hub the one in the cache. */
  readonly folder: string;
  /** The device that the model is on; `close` closes it. */
  readonly gpu: Gpu;
  /** On `gpu`. */
  readonly model: M3Model;
  /** Of the same folder. */
  readonly tokenizer: Tokenizer;
  /** The same, which tokenizes ahead of the GPU. */
  readonly threads: TokenizerThreads;
  /** Puts instructions before texts as the flags say; undefined where they say nothing, and the folder's prompt counts. */
  readonly query: ((text: string) => string) | undefined;
  /** The same for passages. */
  readonly passage: ((text: string) => string) | undefined;
  /** Most tokens of a query and of a passage. */
  readonly queryMaxLength: number;
  /** Most tokens of a passage, special ones included. */
  readonly passageMaxLength: number;
  /** Frees the model, ends the tokenizer's threads and closes the device. */
  close(): Promise<void>;
}

/**
 * `heads`: those that are needed; a folder without their files is refused. All ranks call it. @throws InputError, MachineError; RankError with several ranks.
 */
export async function openEmbedder(
  args: OpenArguments,
  { report, communicator = new SingleCommunicator(), openGpu, cacheSize, denseAlone }: EmbedderSurroundings,
  heads: NonNullable<M3Options['needs']>,
): Promise<Embedder> {
  const name = args.modelNameOrPath;
  if (name === null)
    throw new InputError('--model_name_or_path: expected a folder or a hub id, found nothing');
  const query = instruction(args.queryInstructionForRetrieval, args.queryInstructionFormat, 'query');
  const passage = instruction(args.passageInstructionForRetrieval, args.passageInstructionFormat, 'passage');
  const note = (line: string) => {
    if (communicator.rank === 0) report.note(line);
  };
  const cache = cacheSize === undefined ? {} : { cacheSize };
  const folder = await namedFolder(name, '--model_name_or_path', args, communicator, report);
  const opened: { gpu?: Gpu; model?: M3Model; threads?: TokenizerThreads } = {};
  const close = async () => {
    await opened.threads?.close();
    opened.model?.dispose();
    await opened.gpu?.close();
  };
  try {
    await together(communicator, () => {
      requireEmbedder(folder, '--model_name_or_path');
      requireHeads(folder, heads, denseAlone);
    });
    if (communicator.rank === 0) report.progress?.({ phase: 'read', done: 0, unit: 'bytes', subject: name });
    const tokenizer = await together(communicator, () => Tokenizer.load(folder, cache));
    const gpu = await together(communicator, async () => {
      opened.gpu = await (openGpu?.() ?? Gpu.open(args.adapter ? { adapter: args.adapter } : {}));
      return opened.gpu;
    });
    const model = await together(communicator, () => {
      opened.model = M3Model.load(gpu, folder, {
        ...(args.poolingMethod === null ? {} : { pooling: args.poolingMethod }),
        ...(args.normalizeEmbeddings === null ? {} : { normalize: args.normalizeEmbeddings }),
        ...{ precision: args.fp16 ? 'f16' : 'f32', trainable: () => false, needs: heads },
      });
      tokenizer.requireRows(opened.model.config.vocabSize);
      requireWidth(args.truncateDim, opened.model, heads);
      return opened.model;
    });
    for (const line of [...tokenizer.notices, ...model.notices]) note(line);
    opened.threads = new TokenizerThreads(tokenizer, {
      threads: gpu.capabilities.software ? 0 : 1,
      ...cache,
    });
    return {
      ...{ folder, gpu, model, tokenizer, threads: opened.threads, query, passage, close },
      queryMaxLength: args.queryMaxLength ?? usualLength(model),
      passageMaxLength: args.passageMaxLength ?? usualLength(model),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** @throws InputError for a head that the folder has no file of, with what does without it. */
function requireHeads(
  folder: string,
  heads: NonNullable<M3Options['needs']>,
  denseAlone: string | undefined,
): void {
  const there = headsIn(folder);
  const missing = heads.find((head) => !there.includes(head));
  if (missing === undefined) return;
  throw lackOfHead(folder, missing, denseAlone === undefined ? '' : `${denseAlone} does without, and `);
}

/** @throws InputError for vectors that are cut to more than the widest has. */
function requireWidth(
  truncateDim: number | null,
  model: M3Model,
  heads: NonNullable<M3Options['needs']>,
): void {
  const widest = Math.max(model.config.hiddenSize, heads.includes('colbert_linear') ? model.colbertWidth : 0);
  if (truncateDim !== null && truncateDim > widest)
    throw new InputError(
      `--truncate_dim: expected at most ${widest}, the width of the model’s vectors, found ${truncateDim}`,
    );
}

/** Most tokens of a text where no flag says: FlagEmbedding's default, and never more than the model was made for. */
const USUAL_LENGTH = 512;

export const usualLength = ({ texts }: Pick<M3Model, 'texts'>): number =>
  Math.min(USUAL_LENGTH, texts.maxLength ?? USUAL_LENGTH);

/** The lengths alone, as settings of retrieval have them. */
export const lengthsOf = ({ queryMaxLength, passageMaxLength }: Embedder) => ({
  queryMaxLength,
  passageMaxLength,
});

function instruction(
  text: string | null,
  format: string,
  side: string,
): ((text: string) => string) | undefined {
  const join: Join = compileFormat(format, `--${side}_instruction_format`);
  if (text === null) return undefined;
  return (passage) => join(text, passage);
}
