/** What the flags of `dawntune evaluate` name as data, as tasks: datasets with a corpus, and splits of it with queries and judgements. */
import path from 'node:path';
import { InputError } from '../../errors.js';
import { PositionedFile } from '../../files/positioned.js';
import type { EvaluateArguments } from './arguments.js';
import {
  type Corpus,
  type EvaluationQuery,
  filesOfFolder,
  readEvaluationData,
  readQueries,
} from './datasets.js';
import { readQrels } from './qrels-file.js';
import type { Qrels } from './ranking.js';
import { readTrainingRows } from './training-rows.js';

export interface Task {
  /** As FlagEmbedding's files: `test`, or `dataset-test`. */
  readonly name: string;
  readonly split: string;
  readonly queries: readonly EvaluationQuery[];
  readonly qrels: Qrels;
  /** Per query the document that it must not find, by index. */
  readonly excluded: readonly (number | undefined)[];
}

export interface Dataset {
  /** Of `--dataset_names`. */
  readonly name: string | undefined;
  /** Undefined where runs alone are evaluated. */
  readonly corpus: Corpus | undefined;
  readonly tasks: readonly Task[];
  /** The split of `--tune_weights`. */
  readonly development: Task | undefined;
}

export interface EvaluationTasks {
  readonly datasets: readonly Dataset[];
  /** The rows of `--tune_weights`, for all datasets. */
  readonly development: Dataset | undefined;
  readonly notices: readonly string[];
}

type DataArguments = Pick<
  EvaluateArguments,
  | 'datasetDir'
  | 'datasetNames'
  | 'splits'
  | 'corpus'
  | 'queries'
  | 'qrels'
  | 'evalData'
  | 'excludeQueryText'
  | 'ignoreIdenticalIds'
  | 'groupBy'
  | 'tuneWeights'
>;

/** @throws InputError that names the flag or `file:line`. */
export function readTasks(args: DataArguments): EvaluationTasks {
  const notices: string[] = [];
  const datasets: Dataset[] = [];
  const asPath = args.tuneWeights !== null && (args.datasetDir === null || isRows(args.tuneWeights));
  if (args.datasetDir !== null)
    for (const name of args.datasetNames ?? [undefined])
      datasets.push(ofFolder(args, name, asPath ? null : args.tuneWeights, notices));
  else if (args.evalData !== null) datasets.push(ofRows(args, args.evalData, '--eval_data', notices));
  else datasets.push(ofFiles(args, notices));
  const development = asPath ? ofRows(args, [args.tuneWeights!], '--tune_weights', notices) : undefined;
  return { datasets, development, notices };
}

/** A path that is data, and no name of a split. */
const isRows = (word: string) =>
  /\.jsonl?$/.test(word) || (/[/\\]/.test(word) && PositionedFile.exists(word));

function ofFolder(
  args: DataArguments,
  name: string | undefined,
  development: string | null,
  notices: string[],
): Dataset {
  const folder = name === undefined ? args.datasetDir! : path.join(args.datasetDir!, name);
  const splits = [...new Set(args.splits)];
  if (development !== null && splits.includes(development))
    throw new InputError(
      `--tune_weights: expected a split that is not evaluated, found ${development}, one of --splits: weights would be tuned on what they are judged by`,
    );
  let corpus: Corpus | undefined;
  const read = (split: string): Task => {
    const files = filesOfFolder(folder, split);
    const data = readEvaluationData(files, { groupBy: args.groupBy ?? undefined }, corpus);
    corpus = data.corpus;
    notices.push(...data.notices);
    const taskName = name === undefined ? split : `${name}-${split}`;
    return {
      ...{ name: taskName, split, queries: data.queries, qrels: data.qrels },
      excluded: identical(args, corpus.ids, data.queries),
    };
  };
  const tasks = splits.map(read);
  return { name, tasks, development: development === null ? undefined : read(development), corpus: corpus! };
}

function ofRows(args: DataArguments, paths: readonly string[], flag: string, notices: string[]): Dataset {
  const options = { groupBy: args.groupBy ?? undefined, withoutQuery: args.excludeQueryText };
  const data = readTrainingRows(paths, flag, options);
  notices.push(...data.notices);
  const indices = new Map(data.corpus.ids.map((id, index) => [id, index]));
  const excluded = data.queries.map(({ id }) => {
    const own = data.excluded.get(id);
    return own === undefined ? undefined : indices.get(own);
  });
  const name = path.basename(paths[0]!).replace(/\.jsonl?$/, '');
  const task = { name, split: name, queries: data.queries, qrels: data.qrels, excluded };
  return { name: undefined, corpus: data.corpus, tasks: [task], development: undefined };
}

function ofFiles(args: DataArguments, notices: string[]): Dataset {
  const name = path.basename(args.qrels!).replace(/\.[^.]*$/, '');
  if (args.corpus !== null && args.queries !== null) {
    const files = { corpus: args.corpus, queries: args.queries, qrels: args.qrels! };
    const { corpus, ...data } = readEvaluationData(files, { groupBy: args.groupBy ?? undefined });
    notices.push(...data.notices);
    const excluded = identical(args, corpus.ids, data.queries);
    const task = { name, split: name, queries: data.queries, qrels: data.qrels, excluded };
    return { name: undefined, corpus, tasks: [task], development: undefined };
  }
  // Runs alone: queries are needed for nothing but their groups.
  const qrels = readQrels(args.qrels!);
  const known =
    args.queries === null ? [] : readQueries(args.queries, { groupBy: args.groupBy ?? undefined });
  const byId = new Map(known.map((query) => [query.id, query]));
  const queries = [...qrels.keys()].map((id) => byId.get(id) ?? { id, text: '', group: undefined });
  const task = { name, split: name, queries, qrels, excluded: queries.map(() => undefined) };
  return { name: undefined, corpus: undefined, tasks: [task], development: undefined };
}

function identical(
  { ignoreIdenticalIds }: DataArguments,
  ids: readonly string[],
  queries: readonly EvaluationQuery[],
): (number | undefined)[] {
  if (!ignoreIdenticalIds) return queries.map(() => undefined);
  const indices = new Map(ids.map((id, index) => [id, index]));
  return queries.map(({ id }) => indices.get(id));
}
