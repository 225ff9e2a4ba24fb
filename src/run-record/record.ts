/**
 * What is known of a training run, as `run_record.json` in its output folder has it: the one description that training
 * writes and reports are made of. Its types, and the names that it has; how columns are filled stands beside it.
 *
 * All of it is JSON, and all numbers are finite: null stands where there was none. Texts come from people's data and
 * flags; who renders them escapes them.
 */

/** In the output folder, and in each checkpoint as it was then. */
export const RUN_RECORD_FILE = 'run_record.json';

export const RUN_RECORD_FORMAT = 1;

export interface RunRecord {
  readonly format: typeof RUN_RECORD_FORMAT;
  /** `stopped`: by a signal, after a whole step; a run that was killed stays `running`. */
  readonly status: 'running' | 'stopped' | 'finished' | 'failed';
  /** Why it was stopped, or what failed; one line. */
  readonly reason: string | null;
  /** Steps that were taken, of how many, and the epochs of data that are behind them. */
  readonly step: number;
  readonly total_steps: number;
  readonly epoch: number;
  /** When this was written, in ISO 8601. */
  readonly updated: string;
  /** The processes that took the steps, the first first. */
  readonly sessions: readonly Session[];
  /** What flags, DeepSpeed file and data come to: steps, rates, precision; as `--dry_run` tells it. */
  readonly plan: Readonly<Record<string, number | string>>;
  readonly settings: readonly Setting[];
  readonly steps: StepColumns;
  readonly memory: MemoryRecord;
  readonly evaluations: readonly EvaluationPoint[];
  readonly data: DataSummary;
  /** Of `--eval_data`; null without it. */
  readonly retrieval: RetrievalExamples | null;
  readonly environment: Environment;
  readonly model: ModelSummary;
  /** What the run told people, one line each: what had no effect, what was skipped, what was saved. */
  readonly notices: readonly string[];
}

export interface Session {
  /** ISO 8601. */
  readonly started: string;
  /** Steps that were taken before it. */
  readonly from_step: number;
  /** The step that it reached. */
  readonly to_step: number;
  /** From its first step to the newest, evaluations and saves included. */
  readonly seconds: number;
}

/** A flag and what it is worth in this run. */
export interface Setting {
  /** As on the command line, without the dashes. */
  readonly name: string;
  readonly value: SettingValue;
  /** Who said so. `model`: what the model's folder says of texts. */
  readonly origin: 'flag' | 'config' | 'deepspeed' | 'model' | 'default';
  /** The heading of the flag in `--help`. */
  readonly group: string;
  /** Of a value that somebody gave: the one that it would have otherwise. */
  readonly default?: SettingValue;
}

export type SettingValue = null | boolean | number | string | readonly (number | string)[];

// ---- steps ------------------------------------------------------------------------------------------------

/**
 * The course of the run. A point stands for `stride` steps, the last one for those that there are; of a short
 * run that is one. All columns have as many entries as `step`.
 */
export interface StepColumns {
  /** Steps before the first point: 0, but for a run that went on from a checkpoint without a record. */
  readonly from: number;
  readonly stride: number;
  /** The last step of each point. */
  readonly step: readonly number[];
  /** Of a step, mean over its batches and over ranks. */
  readonly loss: Column;
  /** The loss of each score matrix alone, before they are weighed; only those that this run has. */
  readonly components: Readonly<Partial<Record<LossComponent, Column>>>;
  readonly learning_rate: Column;
  /** Global norm before clipping. */
  readonly grad_norm: Column;
  /** Of f16 alone. */
  readonly loss_scale?: Column;
  /** How many of the point's steps overflowed and were skipped; only of f16. */
  readonly skipped?: readonly number[];
  /** Tokens of queries and passages, of all ranks. */
  readonly tokens: Column;
  /** Of a step, without what is done between steps. */
  readonly seconds: Column;
  readonly tokens_per_second: Column;
}

export const LOSS_COMPONENTS = ['dense', 'sparse', 'colbert', 'ensemble', 'distillation'] as const;

export type LossComponent = (typeof LOSS_COMPONENTS)[number];

/** Over the steps of each point; null where none has a value. `min` and `max` are there where the stride is above 1. */
export interface Column {
  readonly mean: readonly (number | null)[];
  readonly min?: readonly (number | null)[];
  readonly max?: readonly (number | null)[];
  /** How many steps of each point have a value, where that is not all of them. */
  readonly count?: readonly number[];
}

// ---- memory -----------------------------------------------------------------------------------------------

export const MEMORY_PURPOSES = ['weights', 'gradients', 'optimizer', 'activations', 'workspace'] as const;

/** GPU memory by what it is for, in bytes. */
export type MemoryByPurpose = Readonly<Record<(typeof MEMORY_PURPOSES)[number], number>>;

export interface MemoryRecord {
  /** The most that was planned before the first step, and its parts. */
  readonly planned: MemoryPeak;
  /** The budget, null where there is none. */
  readonly budget: number | null;
  /** The peaks so far, at the steps that brought a new one. */
  readonly points: readonly MemoryPoint[];
}

export interface MemoryPeak {
  readonly peak: number;
  readonly by_purpose: MemoryByPurpose;
}

export interface MemoryPoint extends MemoryPeak {
  readonly step: number;
}

// ---- evaluations ------------------------------------------------------------------------------------------

export interface EvaluationPoint {
  readonly step: number;
  readonly epoch: number;
  /** By the names that the log has: `eval_loss`, `eval_dense_loss`, `eval_dense_ndcg@10`, … */
  readonly metrics: Readonly<Record<string, number>>;
}

// ---- data -------------------------------------------------------------------------------------------------

export interface DataSummary {
  readonly files: readonly DataFile[];
  /** That take part in training. */
  readonly rows: number;
  /** In the files, but in no epoch: above `--max_example_num_per_dataset`, below `--drop_threshold`, in no whole batch. */
  readonly dropped: number;
  /** Of `--eval_data`; null without it. */
  readonly evaluation: { readonly files: readonly DataFile[]; readonly rows: number } | null;
  /** Rows whose texts were measured: all, or some that were drawn at random. */
  readonly looked_at: number;
  /** Of their queries, and of as many of their passages as a step draws, prompts included. */
  readonly queries: TextLengths;
  readonly passages: TextLengths;
  /** Rows of the first batch. */
  readonly samples: readonly SampleRow[];
}

export interface DataFile {
  /** As it was given. */
  readonly path: string;
  readonly rows: number;
}

/** Lengths in tokens, special ones included, before texts were cut. */
export interface TextLengths {
  /** `--query_max_len` or `--passage_max_len`. */
  readonly limit: number;
  readonly texts: number;
  /** Of all texts, before and after the cut. */
  readonly tokens: number;
  readonly kept_tokens: number;
  /** Texts that were longer than the limit. */
  readonly cut: number;
  readonly longest: number;
  /** Texts by length: `count[i]` have more than `up_to[i - 1]` tokens and at most `up_to[i]`. */
  readonly histogram: { readonly up_to: readonly number[]; readonly count: readonly number[] };
}

/** A row as the model saw it. */
export interface SampleRow {
  /** `file:line`. */
  readonly place: string;
  readonly query: SampleText;
  /** The positive that was drawn first, then the negatives. */
  readonly passages: readonly SamplePassage[];
}

export interface SampleText {
  /** Read back from its tokens, with prompt or instruction, after the cut. */
  readonly text: string;
  readonly tokens: number;
  /** Before the cut. */
  readonly length: number;
}

export interface SamplePassage extends SampleText {
  readonly positive: boolean;
  /** Of `--knowledge_distillation`. */
  readonly teacher_score?: number;
}

// ---- retrieval --------------------------------------------------------------------------------------------

export const SCORE_NAMES = ['dense', 'sparse', 'colbert', 'hybrid'] as const;

/** Where the positive of a query stands among passages, from 1, by each score that the run trains. */
export type Ranks = Readonly<Partial<Record<(typeof SCORE_NAMES)[number], number>>>;

/** A handful of queries of `--eval_data` before training and after, among the passages of their batch. */
export interface RetrievalExamples {
  /** How many passages each query is ranked among. */
  readonly passages: number;
  readonly before: RankingSummary | null;
  /** Null until the run has come to its end. */
  readonly after: RankingSummary | null;
  readonly examples: readonly RetrievalExample[];
}

/** Over all queries of the batch. */
export interface RankingSummary {
  readonly step: number;
  readonly queries: number;
  /** Share of the queries whose positive is the first. */
  readonly first: Ranks;
  /** Mean of the reciprocal rank. */
  readonly mrr: Ranks;
}

export interface RetrievalExample {
  readonly query: string;
  readonly positive: string;
  readonly before: RankedExample | null;
  readonly after: RankedExample | null;
}

export interface RankedExample {
  readonly ranks: Ranks;
  /** The passage that the last of the scores above puts first; null where it is the positive. */
  readonly first: string | null;
}

// ---- where and what ---------------------------------------------------------------------------------------

export interface Environment {
  readonly dawntune: string;
  readonly node: string;
  readonly platform: string;
  readonly processor: string;
  readonly cores: number;
  /** Of the machine, in bytes. */
  readonly memory: number;
  readonly adapter: {
    readonly name: string;
    readonly driver: string;
    readonly software: boolean;
    readonly f16: boolean;
    readonly subgroups: boolean;
    readonly matrix_units: boolean;
  };
  readonly dawn: string;
  readonly ranks: number;
}

export interface ModelSummary {
  /** `--model_name_or_path` and `--output_dir`, as they were given. */
  readonly base: string;
  readonly folder: string;
  readonly parameters: number;
  readonly trained_parameters: number;
  readonly hidden_size: number;
  readonly layers: number;
  /** Of the ColBERT vectors. */
  readonly colbert_dim: number;
  readonly vocabulary: number;
  readonly max_length: number;
  /** Ways to use it, for people to copy. */
  readonly use: readonly { readonly title: string; readonly language: string; readonly code: string }[];
}
