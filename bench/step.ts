/**
 * `dawntune bench step`: whole training steps (forward, backward, AdamW) of M3's unified objective, from random
 * weights, on rows of a JSONL file, by default the package's own; on one rank or several. The weights are checked after
 * the last step: a run that leaves tensors as they were, or makes one that is not finite, is an error and no figure.
 */

import { parseToldFlags } from '../src/console/told-flags.js';
import { InputError, MachineError } from '../src/errors.js';
import type { FlagValues } from '../src/flags.js';
import type { Decision } from '../src/gpu/choices.js';
import { Gpu } from '../src/gpu/gpu.js';
import { tuneAsked, tuningSummary, useWinners } from '../src/kernels/tuning.js';
import { formatBytes } from '../src/show.js';
import { requireMemory } from '../src/train/memory/memory-plan.js';
import { RunProfile, type WrittenProfile } from '../src/train/run/profile.js';
import { stepFlags } from './options.js';
import { fileBatch, fullBatch, presetConfig, stepSettings } from './presets.js';
import { EXAMPLE_ROWS, jointSteps, requireRankFlags, stepsOfRanks, stepsTask } from './ranks/rank-runs.js';
import { type OldFields, printComparison, readReport, type Timed } from './report/compare.js';
import { toCsv } from './report/csv.js';
import { requireComparison, requireOneFormat } from './report/flags.js';
import { type Machine, machineLine, machineOf } from './report/machine.js';
import { quantile } from './report/statistics.js';
import { type BenchedStep, planSteps, type RunResult, runSteps } from './training-run.js';

type Options = FlagValues<typeof stepFlags>;

/** What was measured; `memory` and `plan` are of rank 0 where there are several. */
interface Measured extends RunResult {
  readonly machine: Machine;
  readonly plan: { readonly peak: number; readonly peakByPurpose: Record<string, number> };
  readonly peakRssBytes: number;
  readonly profile?: WrittenProfile | undefined;
}

export async function benchStep(argv: readonly string[]): Promise<number> {
  const { values: options, given } = parseToldFlags(stepFlags, argv);
  requireOneFormat(options);
  requireComparison(options.compare, given);
  if (options.fullLength && options.data !== null)
    throw new InputError('bench step: expected one of --data and --full_length, found both');
  const ranks = options.nprocPerNode;
  requireRankFlags(options, given, ranks);
  const old = options.compare === null ? null : readReport(options.compare, 'step', oldRow);
  const count = options.steps === 1 ? 1 : options.steps + 1;
  const note = (line: string) => process.stderr.write(`${line}\n`);
  const ranked =
    ranks === 1
      ? undefined
      : await stepsOfRanks(ranks, stepsTask({ ...options, steps: count }), options, note);
  const all = ranked?.ranks ?? [await measure(options, count, note)];
  const first: Measured = all[0]!;
  for (const [rank, result] of all.entries())
    requireTrained(result, count, ranks === 1 ? '' : `rank ${rank}: `);

  const from = count === 1 ? 0 : 1;
  const joint = ranked && jointSteps(ranked, from);
  const steps = joint?.steps ?? first.steps;
  const { plan, machine, memory, profile } = first;
  const row = {
    model: options.layers === null ? options.model : `${options.model}, ${options.layers} layers`,
    batch: options.batch,
    group: options.group,
    precision: options.fp16 ? 'f16' : 'f32',
    recompute: options.gradientCheckpointing,
    subBatchSize: options.subBatchSize,
    ranks,
    ...timesOf(steps.slice(from)),
    peakRssBytes: first.peakRssBytes,
    gpuBytes: { ...memory.peakByPurpose, total: memory.peak },
    predictedGpuBytes: { ...plan.peakByPurpose, total: plan.peak },
    firstLoss: steps[0]!.loss,
    lastLoss: steps[count - 1]!.loss,
    skippedSteps: steps.filter((step) => step.skipped).length,
    tensors: first.tensors,
    unchangedTensors: first.unchanged.length,
    ...(joint ? { carrier: ranked!.carrier, wire: options.reduceDtype, exchange: joint.exchange } : {}),
  };
  const profileRows = profile ? { profile: profile.rows, queueEmptyShare: profile.queueEmptyShare } : {};
  if (options.json)
    process.stdout.write(`${JSON.stringify({ suite: 'step', ...machine, rows: [row], ...profileRows })}\n`);
  else if (options.csv) process.stdout.write(toCsv([row]));
  else
    process.stdout.write(
      `${machineLine(machine)}\n${keyOf(row)}: ` +
        `${row.seconds.toFixed(2)} s a step, ${row.cpuSeconds.toFixed(2)} CPU seconds, ${row.tokensPerSecond.toFixed(0)} tokens/s, loss ${row.firstLoss.toFixed(4)} → ${row.lastLoss.toFixed(4)}, ` +
        `${formatBytes(row.gpuBytes.total)} of GPU memory${joint ? ' a rank' : ''}, ${formatBytes(row.peakRssBytes)} resident; ` +
        `${row.tensors - row.unchangedTensors} of ${row.tensors} tensors changed\n` +
        (joint
          ? `ranks are ${ranked!.carrier}${ranked!.carrier === 'threads' ? ' of one process' : ' under mpirun'}; each sends ${formatBytes(joint.exchange.sentBytes)} of gradients a step (${row.wire}), in ${joint.exchange.milliseconds.toFixed(0)} ms, of which ${(100 * joint.exchange.hiddenShare).toFixed(0)} % behind backward\n`
          : ''),
    );
  if (profile && !options.json)
    for (const line of ['', ...profile.lines])
      (options.csv ? process.stderr : process.stdout).write(`${line}\n`);
  if (!old) return 0;
  const now = {
    key: keyOf(row),
    milliseconds: row.seconds * 1e3,
    lowerQuartile: row.lowerQuartileSeconds * 1e3,
    upperQuartile: row.upperQuartileSeconds * 1e3,
  };
  const say = options.json || options.csv ? process.stderr : process.stdout;
  return printComparison(old, [now], machine, options.maxSlowdown, (text) => void say.write(text));
}

/** On this thread, alone. */
async function measure(options: Options, count: number, note: (line: string) => void): Promise<Measured> {
  const profile = options.profile === null ? undefined : new RunProfile(options.profile);
  const config = presetConfig(options.model, options.layers ?? undefined);
  const shape = { ...options, vocab: config.vocabSize };
  const batches = Array.from({ length: count }, (_, i) =>
    options.fullLength ? fullBatch(shape) : fileBatch(options.data ?? EXAMPLE_ROWS, i, shape),
  );
  const gpu = await Gpu.open(options.adapter ? { adapter: options.adapter } : {});
  try {
    const settings = {
      config,
      fp16: options.fp16,
      step: stepSettings(options.gradientCheckpointing, options.subBatchSize),
    };
    useWinners(gpu, options.tune, note);
    if (options.tune === 'full') {
      const asked: Decision[] = [];
      for (const batch of batches)
        await planSteps(gpu, settings, batch, (decisions) => {
          asked.push(...decisions);
        });
      const start = performance.now();
      note(tuningSummary(await tuneAsked(gpu, asked), (performance.now() - start) / 1e3));
    }
    // Each by itself: of two batches the one with fewer tokens may take more of something.
    let plan = await planSteps(gpu, settings, batches[0]!, undefined, batches);
    for (const batch of batches.slice(1)) {
      const own = await planSteps(gpu, settings, batch, undefined, batches);
      if (own.peak > plan.peak) plan = own;
    }
    note(`${gpu.capabilities.name} · at most ${formatBytes(plan.peak)} of GPU memory`);
    requireMemory(plan, gpu.pool.budget, note);
    let written: WrittenProfile | undefined;
    const profiled = async (step: () => Promise<void>) => {
      await profile!.start(gpu, note);
      await step();
      written = await profile!.finish(gpu, note);
    };
    const result = await runSteps(gpu, settings, batches, note, profile ? profiled : undefined);
    const peakRssBytes = process.resourceUsage().maxRSS * 1024;
    return { ...result, machine: machineOf(gpu), plan, peakRssBytes, profile: written };
  } finally {
    await gpu.close();
  }
}

/** @throws MachineError for a run of which no time would say anything. */
function requireTrained({ notFinite, unchanged }: RunResult, count: number, who: string): void {
  const idle = unchanged.filter((name) => !name.endsWith('attention.self.key.bias'));
  if (notFinite > 0)
    throw new MachineError(`no timing: ${who}${notFinite} weights are not finite after the last step`);
  if (idle.length > 0)
    throw new MachineError(
      `no timing: ${who}${count === 1 ? 'the step' : `${count} steps`} left these tensors as they were: ${idle.join(', ')}`,
    );
}

function timesOf(timed: readonly BenchedStep[]) {
  const sorted = timed.map((step) => step.seconds).sort((a, b) => a - b);
  const seconds = quantile(sorted, 0.5);
  const tokens = median(timed.map((step) => step.tokens));
  return {
    seconds,
    lowerQuartileSeconds: quantile(sorted, 0.25),
    upperQuartileSeconds: quantile(sorted, 0.75),
    cpuSeconds: median(timed.map((step) => step.cpuSeconds)),
    tokens,
    tokensPerSecond: tokens / seconds,
  };
}

/** What a row is called: steps of the same name do the same work, but for the texts. */
function keyOf(row: {
  model: string;
  batch: number;
  group: number;
  precision: string;
  recompute: boolean;
  subBatchSize: number | null;
  ranks: number;
  wire?: string | undefined;
}): string {
  const { model, batch, group, precision, recompute, subBatchSize, ranks, wire } = row;
  return `${model}, ${batch} × (1+${group}) texts, ${precision}${recompute ? ', recompute' : ''}${subBatchSize === null ? '' : `, ${subBatchSize} texts at a time`}${ranks === 1 ? '' : `, ${ranks} ranks${wire === 'bf16' ? ', bf16 between them' : ''}`}`;
}

/** A row of an earlier report. */
function oldRow(fields: OldFields): Timed {
  const chunk = fields.number('subBatchSize');
  const quartile = (name: string) => {
    const seconds = fields.number(name);
    return seconds === undefined ? undefined : seconds * 1e3;
  };
  const wire = fields.given('wire');
  return {
    key: keyOf({
      model: fields.text('model'),
      batch: fields.above0('batch'),
      group: fields.above0('group'),
      precision: fields.text('precision'),
      recompute: fields.given('recompute') === true,
      subBatchSize: chunk ?? null,
      // Reports from before there were ranks name none.
      ranks: fields.number('ranks') ?? 1,
      wire: typeof wire === 'string' ? wire : undefined,
    }),
    milliseconds: fields.above0('seconds') * 1e3,
    lowerQuartile: quartile('lowerQuartileSeconds'),
    upperQuartile: quartile('upperQuartileSeconds'),
  };
}

const median = (values: readonly number[]): number =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
