/** `dawntune serve`: opens the model of the flags, answers requests, and ends when it is told to. */
import fs from 'node:fs';
import path from 'node:path';
import type { Reporter } from '../console/reporter.js';
import { writeStandardOutput } from '../files/standard-output.js';
import { headsIn } from '../models/m3-folder.js';
import { type Embedder, openEmbedder } from '../retrieval/embedder/open.js';
import type { ServeArguments } from './arguments.js';
import { createEmbeddingServer } from './server.js';

/**
 * What the cache of texts may hold: some 15 MB. A text that comes again costs little beside the model, and a larger cache
 * would let memory grow for hours.
 */
const CACHE = 2 ** 22;

/**
 * Resolves when the server has ended. The address is printed on standard output when it listens; `listening` is given what
 * ends it. @throws InputError, MachineError: also when the device is lost and the model cannot be opened again.
 */
export async function serveModel(
  args: ServeArguments,
  report: Reporter,
  listening: (stop: () => void) => void = () => {},
): Promise<void> {
  // Which heads there are is known when the folder is.
  const open = () => openEmbedder(args, { report, cacheSize: CACHE }, []);
  const embedder = await open();
  const server = await createEmbeddingServer(embedder, {
    ...{ reopen: open, note: (line) => report.note(line), processMetrics: true },
    ...optionsOf(args, embedder),
  });
  try {
    const url = await server.listen(args);
    if (args.apiKey === null && !['127.0.0.1', 'localhost', '::1'].includes(args.host))
      report.note(`${url} is open to whoever can reach it: --api_key asks for a key`);
    listening(() => void server.close());
    await writeStandardOutput(`${url}\n`);
  } catch (error) {
    await server.close();
    throw error;
  }
  await server.ended;
}

function optionsOf(args: ServeArguments, { folder }: Embedder) {
  const kept = headsIn(folder);
  const heads = new Set((['sparse', 'colbert'] as const).filter((name) => kept.includes(`${name}_linear`)));
  return {
    names: args.servedModelName ?? [nameOf(args.modelNameOrPath)],
    apiKey: args.apiKey?.reveal(),
    ...{ role: args.role, autoTruncate: args.autoTruncate, weights: args.weights, heads },
    maxLength: args.maxLength ?? undefined,
    matryoshka: args.matryoshkaDimensions ?? [],
    truncateDim: args.truncateDim ?? undefined,
    ...{ batchTokens: args.batchTokens ?? undefined, queueTokens: args.queueTokens, wait: args.batchWait },
    ...{ maxTexts: args.maxTexts, maxBodyBytes: args.maxBodyBytes, maxConnections: args.maxConnections },
    requestTimeout: args.requestTimeout,
    ...{ headerTimeout: args.headerTimeout, bodyTimeout: args.bodyTimeout },
    created: Math.floor(fs.statSync(path.join(folder, 'config.json')).mtimeMs / 1000),
  };
}

/** A hub id as it is; of a folder its own name. */
const nameOf = (model: string): string => (fs.existsSync(model) ? path.basename(path.resolve(model)) : model);
