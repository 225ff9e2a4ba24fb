/**
 * Ranks take the same steps only if they were given the same flags and read the same rows, tokenizer and model: machines
 * with folders of their own may not have them. What is compared is what a checkpoint is compared by (fingerprint.ts), and
 * the flags by which a run pauses, evaluates and ends.
 */
import fs from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Fields } from '../../files/json-fields.js';
import { allGatherJson, type Communicator, RankError } from '../../ranks/communicator.js';
import { show } from '../../show.js';
import { WEIGHT_FILES } from '../../weights/open.js';
import { type FinetuneArguments, finetuneFlags } from '../arguments.js';
import type { RunInputs } from '../run/inputs.js';
import { differences, type FlagName, flagValue, type RunFingerprint } from './fingerprint.js';

/** Flags whose values are a rank's own business, or whose files are compared in place of their names. */
const OF_A_RANK: ReadonlySet<FlagName> = new Set<FlagName>([
  ...(['model_name_or_path', 'config_name', 'tokenizer_name', 'cache_dir', 'token'] as const),
  ...(['train_data', 'eval_data', 'cache_path', 'deepspeed'] as const),
  ...(['output_dir', 'resume_from_checkpoint', 'profile', 'disable_tqdm', 'progress', 'debug'] as const),
  ...([
    'adapter',
    'adapters',
    'launcher',
    'ddp_timeout',
    'nproc_per_node',
    'max_gpu_memory',
    'dataloader_num_workers',
    'tune',
  ] as const),
]);

interface Told {
  /** Bytes of the files with the model's weights. */
  readonly weights: Readonly<Record<string, number>>;
  readonly fingerprint: RunFingerprint;
  readonly flags: Readonly<Record<string, unknown>>;
}

/** @throws RankError on all ranks, of the first one that was given something else than rank 0. */
export async function requireSameInputs(
  ranks: Communicator,
  { fingerprint, plan, folder }: Pick<RunInputs, 'fingerprint' | 'plan' | 'folder'>,
): Promise<void> {
  if (ranks.size === 1) return;
  const [first, ...others] = await allGatherJson<Told>(ranks, {
    ...{ fingerprint, flags: flagsOf(plan.args), weights: weightFiles(folder) },
  });
  for (const [n, other] of others.entries()) {
    const found = difference(first!, other);
    if (found !== undefined)
      throw new RankError({
        rank: n + 1,
        message: `it was not given what rank 0 was: ${found}`,
        exitCode: 2,
      });
  }
}

function difference(first: Told, other: Told): string | undefined {
  const saved = new Fields({ ...first.fingerprint }, 'rank 0');
  const { contradictions, otherEvaluation } = differences(saved, other.fingerprint);
  if (contradictions.length > 0) return contradictions.slice(0, 3).join('; ');
  if (otherEvaluation) return 'expected the rows of its --eval_data, found others';
  if (!isDeepStrictEqual(first.weights, other.weights))
    return `expected a model of the files ${show(first.weights)}, found ${show(other.weights)}`;
  const name = Object.keys(first.flags).find(
    (each) => !isDeepStrictEqual(first.flags[each], other.flags[each]),
  );
  return name && `expected --${name} ${show(first.flags[name])}, found ${show(other.flags[name])}`;
}

function weightFiles(folder: string): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const { file } of WEIGHT_FILES) {
    const size = fs.statSync(path.join(folder, file), { throwIfNoEntry: false })?.size;
    if (size !== undefined) sizes[file] = size;
  }
  return sizes;
}

function flagsOf(args: FinetuneArguments): Record<string, unknown> {
  const names = (Object.keys(finetuneFlags) as FlagName[]).filter((name) => !OF_A_RANK.has(name));
  return Object.fromEntries(names.map((name) => [name, flagValue(args, name)]));
}
