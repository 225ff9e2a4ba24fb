/**
 * The commands of `dawntune` by name: a line of summary, the table of flags, and the code. The front door (main.ts), the
 * page of flags (scripts/flags-page.ts) and the tests of the documents read them here.
 */
import type { FlagTable } from '../flags.js';

/** A command of `dawntune`. */
export interface CliCommand {
  readonly summary: string;
  /** What stands before the flags. */
  readonly positionals?: string;
  readonly flags: () => Promise<FlagTable>;
  readonly load: () => Promise<(argv: readonly string[]) => Promise<number>>;
  /** Of a command that has others below it, and prints their help itself. */
  readonly ownHelp?: boolean;
}

/** Code and flags are loaded when they are used: help does not load a GPU driver. */
export const commands: ReadonlyMap<string, CliCommand> = new Map<string, CliCommand>([
  [
    'finetune',
    {
      summary: 'fine-tune a BGE-M3 model (FlagEmbedding’s flags)',
      flags: async () => (await import('../train/arguments.js')).finetuneFlags,
      load: async () => (await import('./finetune.js')).finetuneCommand,
    },
  ],
  [
    'report',
    {
      summary: 'make the report of a run again from its record, or compare runs',
      positionals: 'DIR [DIR…]',
      flags: async () => (await import('../report/arguments.js')).reportFlags,
      load: async () => (await import('./report.js')).reportCommand,
    },
  ],
  [
    'encode',
    {
      summary: 'encode texts: dense vectors, lexical weights, ColBERT vectors',
      positionals: '[FILE…]',
      flags: async () => (await import('../retrieval/encode/arguments.js')).encodeFlags,
      load: async () => (await import('./encode.js')).encodeCommand,
    },
  ],
  [
    'evaluate',
    {
      summary: 'measure what models find: nDCG, MAP, MRR, recall, precision, compared query by query',
      flags: async () => (await import('../retrieval/evaluate/arguments.js')).evaluateFlags,
      load: async () => (await import('./evaluate.js')).evaluateCommand,
    },
  ],
  [
    'split',
    {
      summary: 'part training rows by their length (flags of FlagEmbedding’s split_data_by_length)',
      flags: async () => (await import('../retrieval/split/arguments.js')).splitFlags,
      load: async () => (await import('./split.js')).splitCommand,
    },
  ],
  [
    'score',
    {
      summary: 'score the candidates of training rows with a model or a reranker, as a teacher',
      positionals: '[INPUT OUTPUT]',
      flags: async () => (await import('../retrieval/score/arguments.js')).scoreFlags,
      load: async () => (await import('./score.js')).scoreCommand,
    },
  ],
  [
    'mine',
    {
      summary: 'find hard negatives for training rows (flags of FlagEmbedding’s hn_mine)',
      flags: async () => (await import('../retrieval/mine/arguments.js')).mineFlags,
      load: async () => (await import('./mine.js')).mineCommand,
    },
  ],
  [
    'serve',
    {
      summary: 'answer requests for embeddings over HTTP, as OpenAI’s clients and others make them',
      positionals: 'MODEL',
      flags: async () => (await import('../serve/arguments.js')).serveFlags,
      load: async () => (await import('./serve.js')).serveCommand,
    },
  ],
  [
    'demo',
    {
      summary: 'train a small multilingual retriever, or a model of one’s own, and show what it learnt',
      flags: async () => (await import('../demo/arguments.js')).demoFlags,
      load: async () => (await import('../demo/demo.js')).demo,
    },
  ],
  [
    'pipeline',
    {
      summary: 'mine, score, fine-tune and evaluate on the demo’s texts, with a table of before and after',
      flags: async () => (await import('../demo/pipeline-arguments.js')).pipelineFlags,
      load: async () => (await import('../demo/pipeline.js')).pipeline,
    },
  ],
  [
    'parity',
    {
      summary: 'compare the engine with a folder of FlagEmbedding and PyTorch figures',
      positionals: 'FOLDER',
      flags: async () => (await import('../parity/arguments.js')).parityFlags,
      load: async () => (await import('./parity.js')).parityCommand,
    },
  ],
  [
    'doctor',
    {
      summary:
        'say what this machine can train, check that it computes right, and what to do where it does not',
      flags: async () => (await import('../doctor/arguments.js')).doctorFlags,
      load: async () => (await import('./doctor.js')).doctor,
    },
  ],
  [
    'bench',
    {
      summary: 'measure kernels and training steps, each checked before it is timed',
      positionals: '[SUITE]',
      flags: async () => (await import('../../bench/kernels/flags.js')).kernelsFlags,
      load: async () => (await import('../../bench/bench.js')).bench,
      ownHelp: true,
    },
  ],
  [
    'setup',
    {
      summary: 'provide a software adapter where there is no GPU driver',
      flags: async () => (await import('../setup/arguments.js')).setupFlags,
      load: async () => (await import('../setup/setup.js')).setup,
    },
  ],
  [
    'completion',
    {
      summary: 'print a script by which bash, zsh or fish completes commands, flags and their values',
      positionals: 'SHELL',
      flags: async () => (await import('./completion.js')).completionFlags,
      load: async () => {
        const { completion } = await import('./completion.js');
        return (argv) => completion(argv, commands);
      },
    },
  ],
]);
