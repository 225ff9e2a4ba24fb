/** A peer's process: reads requests from standard input, a JSON object a line, and answers each (protocol.ts). */
import { createInterface } from 'node:readline';
import type { Library, Request, Work } from './protocol.js';
import { REPLY } from './protocol.js';
import { rest } from './rest.js';

type Open = (folder: string, adapter: string | null) => Promise<Library>;

/** Loaded when it is known which: two of them define globals. */
const libraries: Record<string, () => Promise<Open>> = {
  dawntune: async () => (await import('./dawntune.js')).open,
  'jax-js': async () => (await import('./jax.js')).open,
  tfjs: async () => (await import('./tfjs.js')).open,
  'onnxruntime webgpu': async () => (await import('./onnxruntime.js')).openWebGpu,
  'onnxruntime cpu': async () => (await import('./onnxruntime.js')).openCpu,
};

let library: Library | undefined;
let work: Work | undefined;

async function answer(request: Request): Promise<object> {
  switch (request.do) {
    case 'open': {
      library = await (await libraries[process.argv[2]!]!())(request.folder, request.adapter);
      return { version: library.version, adapter: library.adapter };
    }
    case 'prepare': {
      work?.dispose?.();
      work = undefined;
      work = await library!.prepare(request.workload);
      const result = await work.result();
      return { result, variant: work.variant?.() ?? null };
    }
    case 'ready':
      await work!.ready?.(request.times);
      return {};
    case 'run': {
      const used = process.cpuUsage();
      const start = performance.now();
      await work!.run(request.times);
      const seconds = (performance.now() - start) / 1000;
      const { user, system } = process.cpuUsage(used);
      return { seconds, cpuSeconds: (user + system) / 1e6 };
    }
    case 'rest': {
      await rest();
      return {};
    }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const reply = await answer(JSON.parse(line) as Request).catch((error: unknown) => ({
    error: error instanceof Error ? error.message : String(error),
  }));
  process.stdout.write(`${REPLY}${JSON.stringify(reply)}\n`);
}
// Some of the libraries keep the process alive.
process.exit(0);
