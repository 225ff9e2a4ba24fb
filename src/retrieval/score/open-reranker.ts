/** Opens what pairs are scored with: the reranker of the flags, its tokenizer, and the rank's GPU. */
import { Gpu } from '../../gpu/gpu.js';
import { CrossEncoder } from '../../models/cross-encoder.js';
import { SingleCommunicator } from '../../ranks/single.js';
import { together } from '../../ranks/together.js';
import { TokenizerThreads } from '../../tokenizer/threads.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import type { EmbedderArguments } from '../embedder/arguments.js';
import { namedFolder } from '../embedder/folder.js';
import type { EmbedderSurroundings } from '../embedder/open.js';

export interface Reranker {
  readonly model: CrossEncoder;
  readonly threads: TokenizerThreads;
  close(): Promise<void>;
}

/** All ranks call it. `name`: a folder or a hub id. @throws InputError, MachineError; RankError with several ranks. */
export async function openReranker(
  name: string,
  args: Pick<EmbedderArguments, 'cacheDir' | 'token' | 'revision' | 'adapter' | 'fp16'>,
  { report, communicator = new SingleCommunicator(), openGpu }: EmbedderSurroundings,
): Promise<Reranker> {
  const note = (line: string) => {
    if (communicator.rank === 0) report.note(line);
  };
  const folder = await namedFolder(name, '--reranker_name_or_path', args, communicator, report);
  const opened: { gpu?: Gpu; model?: CrossEncoder; threads?: TokenizerThreads } = {};
  const close = async () => {
    await opened.threads?.close();
    opened.model?.dispose();
    await opened.gpu?.close();
  };
  try {
    const tokenizer = await together(communicator, () => Tokenizer.load(folder));
    const gpu = await together(communicator, async () => {
      opened.gpu = await (openGpu?.() ?? Gpu.open(args.adapter ? { adapter: args.adapter } : {}));
      return opened.gpu;
    });
    const model = await together(communicator, () => {
      opened.model = CrossEncoder.load(gpu, folder, { precision: args.fp16 ? 'f16' : 'f32' });
      tokenizer.requireRows(opened.model.config.vocabSize);
      return opened.model;
    });
    for (const line of [...tokenizer.notices, ...model.notices]) note(line);
    opened.threads = new TokenizerThreads(tokenizer, { threads: gpu.capabilities.software ? 0 : 1 });
    return { model, threads: opened.threads, close };
  } catch (error) {
    await close();
    throw error;
  }
}
