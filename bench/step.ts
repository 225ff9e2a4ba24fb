/**
 * `npm run bench -- step`: whole training steps (forward, backward, AdamW) of M3's unified objective, from random
 * weights, on rows of a JSONL file. The weights are checked after the last step: a run that leaves tensors as they
 * were, or makes one that is not finite, is an error and no figure.
 */
import { MachineError } from '../src/errors.js';
import { parseFlags } from '../src/flags.js';
import type { Decision } from '../src/gpu/choices.js';
import { Gpu } from '../src/gpu/gpu.js';
import { formatBytes } from '../src/gpu/memory.js';
import { tuneAsked, tuningSummary, useWinners } from '../src/kernels/tuning.js';
import { requireMemory } from '../src/train/memory-plan.js';
import { stepFlags } from './options.js';
import { fileBatch, fullBatch, presetConfig, stepSettings } from './presets.js';
import { planRun, runSteps } from './training-run.js';

export async function benchStep(argv: readonly string[]): Promise<number> {
  const { values: options } = parseFlags(stepFlags, argv);
  const config = presetConfig(options.model, options.layers ?? undefined);
  const shape = { ...options, vocab: config.vocabSize };
  // One step more than is timed, to warm up, unless one is all.
  const count = options.steps === 1 ? 1 : options.steps + 1;
  const batches = Array.from({ length: count }, (_, i) =>
    options.data === null ? fullBatch(shape) : fileBatch(options.data, i, shape),
  );
  const note = (line: string) => process.stderr.write(`${line}\n`);
  const gpu = await Gpu.open(options.adapter ? { adapter: options.adapter } : {});
  try {
    const settings = {
      config,
      fp16: options.fp16,
      step: stepSettings(options.gradientCheckpointing, options.subBatchSize),
    };
    useWinners(gpu, options.tune, note);
    if (options.tune === 'full') {
      let asked: ReadonlyMap<string, Decision> = new Map();
      for (const batch of batches)
        await planRun(gpu, settings, batch, (decisions) => {
          asked = new Map([...asked, ...decisions]);
        });
      const start = performance.now();
      note(tuningSummary(await tuneAsked(gpu, asked), (performance.now() - start) / 1e3));
    }
    const longest = batches.reduce((a, b) => (length(b) > length(a) ? b : a));
    const plan = await planRun(gpu, settings, longest);
    note(`${gpu.capabilities.name} · at most ${formatBytes(plan.peak)} of GPU memory`);
    requireMemory(plan, gpu.pool.budget, note);
    const result = await runSteps(gpu, settings, batches, note);
    const idle = result.unchanged.filter((name) => !name.endsWith('attention.self.key.bias'));
    if (result.notFinite > 0)
      throw new MachineError(`no timing: ${result.notFinite} weights are not finite after the last step`);
    if (idle.length > 0)
      throw new MachineError(
        `no timing: ${count === 1 ? 'the step' : `${count} steps`} left these tensors as they were: ${idle.join(', ')}`,
      );

    const timed = result.steps.slice(count === 1 ? 0 : 1);
    const seconds = median(timed.map((step) => step.seconds));
    const tokens = median(timed.map((step) => step.tokens));
    const row = {
      model: options.layers === null ? options.model : `${options.model}, ${options.layers} layers`,
      batch: options.batch,
      group: options.group,
      precision: options.fp16 ? 'f16' : 'f32',
      recompute: options.gradientCheckpointing,
      subBatchSize: options.subBatchSize,
      seconds,
      tokens,
      tokensPerSecond: tokens / seconds,
      peakRssBytes: process.resourceUsage().maxRSS * 1024,
      gpuBytes: { ...result.memory.peakByPurpose, total: result.memory.peak },
      predictedGpuBytes: { ...plan.peakByPurpose, total: plan.peak },
      firstLoss: result.steps[0]!.loss,
      lastLoss: result.steps[count - 1]!.loss,
      skippedSteps: result.steps.filter((step) => step.skipped).length,
      tensors: result.tensors,
      unchangedTensors: result.unchanged.length,
    };
    const { name, driver } = gpu.capabilities;
    const date = new Date().toISOString().slice(0, 10);
    if (options.json)
      process.stdout.write(
        `${JSON.stringify({ suite: 'step', adapter: name, driver, date, rows: [row] })}\n`,
      );
    else
      process.stdout.write(
        `${name} · ${date}\n${row.model}, ${row.batch} × (1+${row.group}) texts, ${row.precision}${row.recompute ? ', recompute' : ''}: ` +
          `${seconds.toFixed(2)} s a step, ${row.tokensPerSecond.toFixed(0)} tokens/s, loss ${row.firstLoss.toFixed(4)} → ${row.lastLoss.toFixed(4)}, ` +
          `${formatBytes(row.gpuBytes.total)} of GPU memory, ${formatBytes(row.peakRssBytes)} resident; ` +
          `${row.tensors - row.unchangedTensors} of ${row.tensors} tensors changed\n`,
      );
  } finally {
    await gpu.close();
  }
  return 0;
}

const length = (batch: { texts: readonly (readonly number[])[] }) =>
  batch.texts.reduce((sum, text) => sum + text.length, 0);

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
