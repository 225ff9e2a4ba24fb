#!/usr/bin/env node
/** The `dawntune` command: one subcommand a file, and the one place where errors become lines and exit codes. */
import fs from 'node:fs';
import { Command } from 'commander';
import type { InputError } from '../errors.js';

type Run = (argv: readonly string[]) => Promise<number>;

/** Loaded when used: `--help` should not load a GPU driver. */
const commands: Record<string, { summary: string; usage?: string; load: () => Promise<Run> }> = {
  finetune: {
    summary: 'fine-tune a BGE-M3 model (FlagEmbedding’s flags)',
    load: async () => (await import('./finetune.js')).finetuneCommand,
  },
  demo: {
    summary: 'train a small multilingual retriever from random weights and show what it learnt',
    usage: '[--output_dir FOLDER] [--steps N] [--seed N] [--fp16] [--adapter NAME]',
    load: async () => (await import('../demo/demo.js')).demo,
  },
  parity: {
    summary: 'compare the engine with a folder of FlagEmbedding and PyTorch figures',
    usage: 'FOLDER [--fp16] [--adapter NAME] [--deliberate_error tanh-gelu|beta2|decay-biases|missing-term]',
    load: async () => (await import('../parity/parity.js')).parity,
  },
  doctor: {
    summary: 'show the GPU adapters and prove that one works',
    usage: '[--adapter NAME]',
    load: async () => (await import('./doctor.js')).doctor,
  },
  setup: {
    summary: 'provide a software adapter where there is no GPU driver',
    usage: '[--system] [--driver lavapipe|swiftshader]',
    load: async () => (await import('../setup/setup.js')).setup,
  },
};

function packageVersion(): string {
  const file = new URL('../../../package.json', import.meta.url);
  return JSON.parse(fs.readFileSync(file, 'utf8')).version;
}

// A reader that went away (`| head -1`) or a full disk must not end a training run: the records are in
// trainer_state.json too.
let outputLost = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (!outputLost && error.code !== 'EPIPE')
    process.stderr.write(`dawntune: standard output is lost (${error.message}); going on without it\n`);
  outputLost = true;
});

async function main(): Promise<void> {
  const program = new Command('dawntune')
    .description('Fine-tune BGE-M3 on WebGPU: dense, sparse and ColBERT, on any GPU or a CPU')
    .version(packageVersion())
    .enablePositionalOptions()
    .configureOutput({ outputError: (text) => process.stderr.write(text.replace(/^error: /, 'dawntune: ')) })
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
  for (const [name, { summary, usage, load }] of Object.entries(commands))
    program
      .command(name)
      .summary(summary)
      .helpOption(false)
      .allowUnknownOption()
      .passThroughOptions()
      .argument('[arguments...]')
      .action(async (argv: string[]) => {
        // A command without a usage line here renders its own help.
        if (usage && argv.some((word) => word === '--help' || word === '-h'))
          process.stdout.write(`dawntune ${name} ${usage}\n\n${summary}\n`);
        else process.exitCode = await (await load())(argv);
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
