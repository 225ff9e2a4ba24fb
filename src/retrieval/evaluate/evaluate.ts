/**
 * `dawntune evaluate`: what models find in a corpus, or what run files say they found, measured by trec_eval's definitions,
 * broken down by groups of queries and compared query by query.
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError } from '../../errors.js';
import { requireWritable, writeFileAtomic } from '../../files/atomic.js';
import { requireEmbedder } from '../../models/cross-encoder.js';
import type { Communicator } from '../../ranks/communicator.js';
import { SingleCommunicator } from '../../ranks/single.js';
import { endAllRanks, onFirstRank, together } from '../../ranks/together.js';
import { printable } from '../../show.js';
import { namedFolder } from '../embedder/folder.js';
import { type Embedder, type EmbedderSurroundings, lengthsOf, openEmbedder } from '../embedder/open.js';
import { type Tell, tellOf } from '../encode/telling.js';
import { computedMetrics, type EvaluateArguments, type RetrievalMode } from './arguments.js';
import { methodOf, renderReport, requireFolder, type TaskRun, writeSystem } from './outputs.js';
import type { Run } from './ranking.js';
import { rerank } from './rerank.js';
import { type EvaluationReport, NO_RERANKER, type System, taskResult } from './results.js';
import {
  type HybridWeights,
  hybridRanking,
  type Ranking,
  type Retrieved,
  representationsOf,
  retrieve,
} from './retrieve.js';
import { readRun } from './run-file.js';
import { type Dataset, type EvaluationTasks, readTasks, type Task } from './tasks.js';
import { tuneWeights } from './weights.js';

/** The rankings of one system, by dataset and task in their order. */
interface SystemRuns {
  readonly system: System;
  readonly runs: readonly TaskRun[];
}

/**
 * Evaluates and writes what the flags name. Returns the report where it goes to standard output. All ranks call it; rank 0
 * writes. @throws InputError, MachineError; RankError with several ranks.
 */
export async function evaluate(
  args: EvaluateArguments,
  surroundings: EmbedderSurroundings,
): Promise<string | undefined> {
  const communicator = surroundings.communicator ?? new SingleCommunicator();
  try {
    return await evaluateOnRank(args, surroundings, communicator);
  } catch (error) {
    return await endAllRanks(communicator, error);
  }
}

async function evaluateOnRank(
  args: EvaluateArguments,
  surroundings: EmbedderSurroundings,
  communicator: Communicator,
): Promise<string | undefined> {
  const { report: reporter } = surroundings;
  const note = (line: string) => {
    if (communicator.rank === 0) reporter.note(line);
  };
  const progress = tellOf(reporter, communicator);
  const tasks = await together(communicator, () => {
    const read = readTasks(args);
    if (communicator.rank === 0) requireOutputs(args);
    return read;
  });
  for (const line of tasks.notices) note(line);
  const notes: string[] = [];
  const sources = [args.run ?? args.modelNameOrPath!, ...(args.compare === null ? [] : [args.compare])];
  const names = distinctNames(sources);
  // Every source is looked at before the first search, which may take hours.
  const folderOf = (model: string, flag: string) => namedFolder(model, flag, args, communicator, reporter);
  const opened: (SystemRuns | { readonly folder: string })[] = [];
  for (const [i, source] of sources.entries()) {
    const isRun = (i === 0 && args.run !== null) || (i === 1 && isFile(source));
    const flag = i === 1 ? '--compare' : isRun ? '--run' : '--model_name_or_path';
    if (isRun)
      opened.push(
        await together(communicator, () =>
          runOfFile(source, names[i]!, tasks, args.completeQrels, flag, note),
        ),
      );
    else {
      const folder = await folderOf(source, flag);
      await together(communicator, () => requireEmbedder(folder, flag));
      opened.push({ folder });
    }
  }
  if (args.rerankerNameOrPath !== null) await folderOf(args.rerankerNameOrPath, '--reranker_name_or_path');
  const found: SystemRuns[][] = [];
  for (const [i, each] of opened.entries())
    found.push(
      'runs' in each
        ? [each]
        : await runsOfModel(
            { ...args, modelNameOrPath: each.folder, revision: null },
            names[i]!,
            tasks,
            surroundings,
            communicator,
            { note, progress, notes },
          ),
    );
  if (args.rerankerNameOrPath !== null) {
    const reranked = await rerank(
      args,
      found.flat(),
      tasks.datasets,
      { ...surroundings, communicator },
      { note, progress },
    );
    // Behind those of the same source.
    for (const [i, own] of found.entries()) found[i] = [...own, ...reranked.splice(0, own.length)];
  }
  const systems = found.flat();
  const report = reportOf(args, tasks, found, notes);
  return onFirstRank(communicator, () => {
    if (args.outputDir !== null)
      for (const { system, runs } of systems) writeSystem(args.outputDir, report, system, runs, note);
    const rendered = renderReport(report, args.evalOutputMethod ?? methodOf(args.evalOutputPath));
    if (args.evalOutputPath === null || args.evalOutputPath === '-') return rendered;
    writeFileAtomic(args.evalOutputPath, rendered);
    return undefined;
  });
}

function requireOutputs({ outputDir, evalOutputPath }: EvaluateArguments): void {
  if (outputDir !== null) requireFolder('--output_dir', outputDir);
  if (evalOutputPath === null || evalOutputPath === '-') return;
  requireFolder('--eval_output_path', path.dirname(evalOutputPath));
  requireWritable('--eval_output_path', evalOutputPath);
}

const isFile = (source: string) => fs.statSync(source, { throwIfNoEntry: false })?.isFile() === true;

/** The last names of paths, with as many folders above them as it takes to tell them apart. */
export function distinctNames(sources: readonly string[]): string[] {
  const parts = sources.map((source) => source.split(/[/\\]+/).filter((part) => part !== '' && part !== '.'));
  const deepest = Math.max(...parts.map(({ length }) => length));
  for (let depth = 1; depth <= deepest; depth++) {
    const names = parts.map((each) => each.slice(-depth).join('/'));
    if (new Set(names).size === sources.length) return names;
  }
  return sources.map((source, i) => `${source} (${i + 1})`);
}

function runOfFile(
  file: string,
  name: string,
  { datasets }: EvaluationTasks,
  complete: boolean,
  flag: string,
  note: (line: string) => void,
): SystemRuns {
  const all = datasets.flatMap(({ name: dataset, tasks }) => tasks.map((task) => ({ dataset, task })));
  if (all.length > 1)
    throw new InputError(`${flag}: expected one dataset and one split for a run file, found ${all.length}`);
  const { dataset, task } = all[0]!;
  const run = readRun(file);
  if (!task.queries.some(({ id }) => run.has(id)))
    throw new InputError(
      `${flag}: expected a run that answers judged queries, found none of ${task.queries.length} in ${printable(file)}`,
    );
  const judged = [...task.qrels.keys()];
  const unanswered = judged.filter((id) => !run.has(id)).length;
  if (unanswered > 0 && !complete)
    note(
      `${printable(file)}: ${unanswered} of ${judged.length} judged queries have no line: they count as 0 in mrr and recall_cap alone; in all means with --complete_qrels`,
    );
  return {
    system: { model: name, mode: 'run', reranker: NO_RERANKER },
    runs: [{ task, dataset, run }],
  };
}

interface Telling {
  readonly note: (line: string) => void;
  readonly progress: Tell;
  /** Go into the report. */
  readonly notes: string[];
}

async function runsOfModel(
  args: EvaluateArguments,
  name: string,
  { datasets, development }: EvaluationTasks,
  surroundings: EmbedderSurroundings,
  communicator: Communicator,
  telling: Telling,
): Promise<SystemRuns[]> {
  const { note, notes } = telling;
  const modes = new Set<RetrievalMode>(args.modes);
  const needed = representationsOf(modes);
  const heads = (['sparse', 'colbert'] as const)
    .filter((head) => needed.has(head))
    .map((head) => `${head}_linear` as const);
  const embedder = await openEmbedder(
    args,
    { ...surroundings, communicator, denseAlone: '--modes dense' },
    heads,
  );
  try {
    note(`${name}: ${[...modes].join(', ')}`);
    const find = (dataset: Dataset, tasks: readonly Task[], wanted: ReadonlySet<RetrievalMode>) =>
      retrieveTasks(embedder, args, dataset, tasks, wanted, communicator, telling);
    let weights: HybridWeights = args.weights;
    const tuned = (task: Task, dataset: Dataset, { candidates }: Retrieved) => {
      const best = tuneWeights(task.queries, candidates!, dataset.corpus!.ids, task.qrels, args.tuneMetric);
      const line = `${name}: weights ${best.weights.join(' ')} of dense, sparse and ColBERT are best on ${task.name} (${task.queries.length} queries, ${(best.value * 100).toFixed(3)}; ${best.equal} of ${best.tried} points of the grid are as good)`;
      note(line);
      notes.push(line);
      return best.weights;
    };
    if (development) {
      const [task] = development.tasks;
      const [retrieved] = await find(development, [task!], new Set(['hybrid']));
      weights = tuned(task!, development, retrieved!);
    }
    const byMode = new Map<RetrievalMode, TaskRun[]>([...modes].map((mode) => [mode, []]));
    for (const dataset of datasets) {
      const { development: own } = dataset;
      const retrieved = await find(dataset, [...dataset.tasks, ...(own ? [own] : [])], modes);
      if (own) weights = tuned(own, dataset, retrieved.at(-1)!);
      for (const [t, task] of dataset.tasks.entries())
        for (const mode of modes) {
          const run = runOf(mode, task, dataset.corpus!.ids, retrieved[t]!, weights, args.searchTopK);
          byMode.get(mode)!.push({ task, dataset: dataset.name, run });
        }
    }
    if (modes.has('hybrid') && args.tuneWeights === null)
      notes.push(
        `${name}: hybrid is ${weights[0]} · dense + ${weights[1]} · sparse + ${weights[2]} · ColBERT`,
      );
    return [...modes].map((mode) => ({
      system: { model: name, mode, reranker: NO_RERANKER },
      runs: byMode.get(mode)!,
    }));
  } finally {
    await embedder.close();
  }
}

/** The queries of several tasks in one search of their corpus; what is found by task. */
async function retrieveTasks(
  embedder: Embedder,
  args: EvaluateArguments,
  { corpus }: Dataset,
  tasks: readonly Task[],
  modes: ReadonlySet<RetrievalMode>,
  communicator: Communicator,
  { note, progress }: Telling,
): Promise<Retrieved[]> {
  const all = await retrieve(
    embedder,
    {
      corpus: corpus!,
      queries: tasks.flatMap(({ queries }) => queries.map(({ text }) => text)),
      excluded: tasks.flatMap(({ excluded }) => excluded),
      ...{ modes, topK: args.searchTopK, candidates: args.colbertCandidates },
    },
    { settings: { ...args, ...lengthsOf(embedder) }, communicator, note, progress },
  );
  let start = 0;
  return tasks.map(({ queries }) => {
    const end = start + queries.length;
    const part = <T>(list: readonly T[] | undefined) => list?.slice(start, end);
    const own = { dense: part(all.dense), sparse: part(all.sparse), candidates: part(all.candidates) };
    start = end;
    return own;
  });
}

function runOf(
  mode: RetrievalMode,
  task: Task,
  ids: readonly string[],
  { dense, sparse, candidates }: Retrieved,
  weights: HybridWeights,
  topK: number,
): Run {
  const rankings: Record<RetrievalMode, (q: number) => Ranking> = {
    dense: (q) => dense![q]!,
    sparse: (q) => sparse![q]!,
    colbert: (q) => hybridRanking(candidates![q]!, [0, 0, 1]),
    hybrid: (q) => hybridRanking(candidates![q]!, weights),
  };
  return new Map(
    task.queries.map(({ id }, q) => {
      const { indices, scores } = rankings[mode](q);
      const count = Math.min(topK, indices.length);
      return [id, Array.from({ length: count }, (_, i) => ({ doc: ids[indices[i]!]!, score: scores[i]! }))];
    }),
  );
}

function reportOf(
  args: EvaluateArguments,
  { datasets }: EvaluationTasks,
  found: readonly (readonly SystemRuns[])[],
  notes: readonly string[],
): EvaluationReport {
  const metrics = computedMetrics(args);
  const systems = found.flat();
  const options = {
    ...{ metrics, compared: args.evalMetrics, complete: args.completeQrels },
    ...{ permutations: args.permutations, seed: args.seed },
  };
  const pairs = pairsOf(found);
  const tasks = datasets
    .flatMap(({ corpus, tasks }) => tasks.map((task) => ({ task, documents: corpus?.ids.length })))
    .map(({ task, documents }, t) =>
      taskResult(
        { ...task, documents },
        systems.map(({ system, runs }) => ({ system, run: runs[t]!.run })),
        pairs,
        options,
      ),
    );
  return {
    title: args.evalName ?? 'Evaluation',
    ...{ metrics: args.evalMetrics, computed: metrics, tasks },
    ...{ permutations: args.permutations, seed: args.seed, complete: args.completeQrels },
    notes: [...notes, ...candidateNote(args)],
  };
}

function candidateNote({ modes, run, colbertCandidates }: EvaluateArguments): string[] {
  if (run !== null || !(modes.includes('colbert') || modes.includes('hybrid'))) return [];
  const both = modes.includes('sparse') || modes.includes('hybrid');
  return [
    `ColBERT${modes.includes('hybrid') ? ' and hybrid rank' : ' ranks'} the first ${colbertCandidates} by dense${both ? ' and as many by sparse' : ''}.`,
  ];
}

/** Two systems of a model are compared by their modes; one alone has its first mode compared with the others. */
function pairsOf(found: readonly (readonly SystemRuns[])[]): [number, number][] {
  const [first, second] = found as [readonly SystemRuns[], (readonly SystemRuns[])?];
  if (!second) return first.slice(1).map((_, i) => [0, i + 1]);
  const count = Math.max(first.length, second.length);
  // A run file is compared with every mode of a model.
  return Array.from({ length: count }, (_, i) => [
    Math.min(i, first.length - 1),
    first.length + Math.min(i, second.length - 1),
  ]);
}
