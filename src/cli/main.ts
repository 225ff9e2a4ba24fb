#!/usr/bin/env node
/** The `dawntune` command: one subcommand a file, and the one place where errors become lines and exit codes. */
import { Command } from 'commander';
import type { InputError } from '../errors.js';

type Run = (argv: readonly string[]) => Promise<number>;

/** Loaded when used: `--help` should not load a GPU driver. */
const commands: Record<string, { summary: string; load: () => Promise<Run> }> = {
  finetune: {
    summary: 'fine-tune a BGE-M3 model (FlagEmbedding’s flags)',
    load: async () => (await import('./finetune.js')).finetuneCommand,
  },
  demo: {
    summary: 'train a small multilingual retriever from random weights and show what it learnt',
    load: async () => (await import('./demo.js')).demo,
  },
  parity: {
    summary: 'compare the engine with a folder of FlagEmbedding and PyTorch figures',
    load: async () => (await import('./parity.js')).parity,
  },
  doctor: {
    summary: 'show the GPU adapters and prove that one works',
    load: async () => (await import('./doctor.js')).doctor,
  },
  setup: {
    summary: 'provide a software adapter where there is no GPU driver',
    load: async () => (await import('./setup.js')).setup,
  },
};

async function main(): Promise<void> {
  const program = new Command('dawntune')
    .description('Fine-tune BGE-M3 on WebGPU: dense, sparse and ColBERT, on any GPU or a CPU')
    .enablePositionalOptions()
    .configureOutput({ outputError: (text) => process.stderr.write(text.replace(/^error: /, 'dawntune: ')) })
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
  for (const [name, { summary, load }] of Object.entries(commands))
    program
      .command(name)
      .summary(summary)
      .helpOption(false)
      .allowUnknownOption()
      .passThroughOptions()
      .argument('[arguments...]')
      .action(async (argv: string[]) => {
        process.exitCode = await (await load())(argv);
      });
  await program.parseAsync();
}

main().catch((error: unknown) => {
  const known = error instanceof Error && 'exitCode' in error;
  const debug = process.argv.some((word) => /^--debug(=true|=1)?$/i.test(word));
  if (known && !debug) process.stderr.write(`dawntune: ${(error as Error).message}\n`);
  else
    process.stderr.write(
      `dawntune: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
  process.exit(known ? (error as InputError).exitCode : 1);
});
