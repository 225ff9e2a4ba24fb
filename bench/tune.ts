/**
 * `dawntune bench tune`: finds the fastest variant of every kernel for the sizes that the kernels' records name, or that a
 * training step of a model asks for, and keeps the winners for `--tune cached`.
 */

import { parseToldFlags } from '../src/console/told-flags.js';
import { InputError } from '../src/errors.js';
import type { Decision } from '../src/gpu/choices.js';
import { Gpu } from '../src/gpu/gpu.js';
import { families } from '../src/kernels/families.js';
import { tunedFile } from '../src/kernels/tuned-file.js';
import type { Tuned } from '../src/kernels/tuner.js';
import { tuneAsked, tuningSummary, useWinners } from '../src/kernels/tuning.js';
import { choiceKey, decide } from '../src/kernels/variants.js';
import { show } from '../src/show.js';
import { planMemory } from '../src/train/memory/memory-plan.js';
import { type PresetName, tuneFlags } from './options.js';
import { fullBatch, lossBatch, presetConfig, runSettings, stepSettings } from './presets.js';
import { plannedModel } from './training-run.js';

export async function benchTune(argv: readonly string[]): Promise<number> {
  const { values: options, given } = parseToldFlags(tuneFlags, argv);
  const needsModel = ['batch', 'group', 'query_max_len', 'passage_max_len', 'fp16', 'gradient_checkpointing'];
  const lonely = options.model === null && needsModel.find((name) => given.has(name));
  if (lonely) throw new InputError(`--${lonely}: goes with --model, which is not given`);
  const matches = matcher(options.filter);
  const gpu = await Gpu.open(options.adapter ? { adapter: options.adapter } : {});
  try {
    const note = (line: string) => process.stderr.write(`${line}\n`);
    useWinners(gpu, 'cached', note);
    const asked: Decision[] = [];
    const sizes =
      options.model === null ? askedByRecords(gpu) : await askedByStep(gpu, options.model, options);
    for (const decision of sizes) if (matches(decision.key)) asked.push(decision);
    if (asked.length === 0)
      throw new InputError(
        `--filter: expected a part of a key such as ${sizes[0]?.key}, found ${show(options.filter)}`,
      );
    const start = performance.now();
    const print = (tuned: Tuned) => options.json || process.stdout.write(lines(tuned));
    if (!options.json) process.stdout.write(`${gpu.capabilities.name}\n`);
    const tuned = await tuneAsked(
      gpu,
      asked,
      { again: options.again, all: options.all, rounds: options.rounds },
      print,
    );
    const seconds = (performance.now() - start) / 1e3;
    const { name: adapter, driver, cpu } = gpu.capabilities;
    if (options.json)
      process.stdout.write(
        `${JSON.stringify({ suite: 'tune', adapter, driver, cpu: cpu?.model ?? null, date: new Date().toISOString().slice(0, 10), seconds, rows: tuned })}\n`,
      );
    else process.stdout.write(`${tuningSummary(tuned, seconds)}\nkept in ${tunedFile(gpu.capabilities)}\n`);
    return 0;
  } finally {
    await gpu.close();
  }
}

function matcher(filter: string | null): (key: string) => boolean {
  if (filter === null) return () => true;
  try {
    const expression = new RegExp(filter);
    return (key) => expression.test(key);
  } catch {
    throw new InputError(`--filter: expected a regular expression, found ${show(filter)}`);
  }
}

/** The sizes that the families' own records are measured at. */
function askedByRecords(gpu: Gpu): Decision[] {
  const asked: Decision[] = [];
  for (const family of families)
    for (const { form, size, use } of family.cases) {
      if (use !== 'bench') continue;
      const key = choiceKey(family, form, size);
      asked.push({ key, family: family.name, form, size, variant: decide(gpu, family, form, size, key) });
    }
  return asked;
}

/** What a step with texts of the longest lengths asks for. */
async function askedByStep(
  gpu: Gpu,
  model: PresetName,
  options: {
    batch: number;
    group: number;
    queryMaxLen: number;
    passageMaxLen: number;
    fp16: boolean;
    gradientCheckpointing: boolean;
  },
): Promise<readonly Decision[]> {
  const config = presetConfig(model);
  const batch = fullBatch({ ...options, vocab: config.vocabSize });
  let asked: readonly Decision[] = [];
  const step = stepSettings(options.gradientCheckpointing, null);
  await planMemory(gpu, {
    model: plannedModel({ config, fp16: options.fp16, step }),
    run: runSettings(options.fp16, step),
    batches: ({ gpu: on }) => [lossBatch(on, config, batch)],
    asked: (decisions) => {
      asked = decisions;
    },
  });
  return asked;
}

function lines({ key, winner, untuned, candidates }: Tuned): string {
  const rows = candidates.map(({ variant, milliseconds, ratio, refused }) => {
    const figures =
      milliseconds === undefined || ratio === undefined
        ? (refused ?? 'not timed')
        : `${milliseconds.toFixed(2).padStart(9)} ms  ×${ratio.toFixed(2)}`;
    const marks = `${variant === winner ? '  ← taken' : ''}${variant === untuned ? '  (by rule)' : ''}`;
    return `  ${variant.padEnd(24)}${figures}${marks}\n`;
  });
  return `${key}\n${rows.join('')}`;
}
