/**
 * A pretrained model for the demo to begin with: where its folder is, how it pools, and what it puts before texts. What is
 * wrong with the folder is told here, before anything is computed.
 */

import type { Reporter } from '../console/reporter.js';
import { InputError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { downloadReport } from '../hub/download-report.js';
import { requireEmbedder } from '../models/cross-encoder.js';
import { resolveModelFolder } from '../models/hub-cache.js';
import { M3Model } from '../models/m3.js';
import { readSentenceFolder, type TextSettings } from '../models/sentence-files.js';
import type { Pooling } from '../models/token-batch.js';
import { evaluateRetrieval, type RetrievalTask } from '../retrieval/evaluate/one-relevant.js';
import { printable } from '../show.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import { DEMO_MAX_LENGTH } from './demo-model.js';

/** @throws InputError, MachineError as `finetune` for its model, with the name of the flag `--model`. */
export async function pretrainedFolder(name: string, report: Reporter): Promise<string> {
  const folder = await resolveModelFolder(
    name,
    {
      report: downloadReport(report),
    },
    '--model',
  );
  requireEmbedder(folder, '--model');
  return folder;
}

/** What the folder says of pooling, if it does. @throws InputError when it says what cannot be done here. */
export function pretrainedPooling(folder: string): Pooling | undefined {
  const said = readSentenceFolder(folder);
  const [problem] = said?.vectorProblems ?? [];
  if (problem !== undefined && said?.pooling === undefined)
    throw new InputError(`${problem}; --pooling_method goes before it`);
  return said?.pooling;
}

/**
 * For a folder that does not say how its vectors are made: every so many queries are looked for with the vector of the
 * first token and with the mean of all, and the pooling which finds more is taken.
 */
export async function betterPooling(
  gpu: Gpu,
  folder: string,
  { queries, candidates, targets }: RetrievalTask,
  report: Reporter,
): Promise<Pooling> {
  const every = Math.ceil(queries.length / LOOKED_FOR);
  const some = <T>(all: readonly T[]) => all.filter((_, i) => i % every === 0);
  const task = { candidates, queries: some(queries), targets: some(targets) };
  const tokenizer = Tokenizer.load(folder);
  const found: { pooling: Pooling; recall: number }[] = [];
  for (const pooling of ['cls', 'mean'] as const) {
    const model = M3Model.load(gpu, folder, { pooling, normalize: true });
    try {
      const { dense } = await evaluateRetrieval(model, tokenizer, task, { maxLength: DEMO_MAX_LENGTH });
      found.push({ pooling, recall: dense.recallAt1 });
    } finally {
      model.dispose();
    }
  }
  // The first of equals: cls, which is FlagEmbedding's.
  const best = found.reduce((a, b) => (b.recall > a.recall ? b : a));
  report.note(
    `${printable(folder)} does not say how its vectors are pooled: of ${task.queries.length} queries ` +
      `${found.map(({ pooling, recall }) => `${pooling} finds ${Math.round(recall * task.queries.length)}`).join(', ')}; ` +
      `${best.pooling} is taken (--pooling_method)`,
  );
  return best.pooling;
}

const LOOKED_FOR = 150;

/** Words of `dawntune finetune` that put before texts what the model's folder has for queries and passages. */
export function promptFlags({ prompts }: TextSettings): string[] {
  const flags = (name: string, flag: string) => {
    const prompt = prompts.get(name) ?? '';
    return prompt === '' ? [] : [flag, prompt];
  };
  return [
    ...flags('query', '--query_instruction_for_retrieval'),
    ...flags('document', '--passage_instruction_for_retrieval'),
  ];
}
