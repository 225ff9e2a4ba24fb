/** Our own process of `bench encode`: reads requests from standard input, a JSON object a line, and answers each. */
import { createInterface } from 'node:readline';
import { Gpu } from '../../src/gpu/gpu.js';
import { M3Model } from '../../src/models/m3.js';
import type { Representation } from '../../src/retrieval/encode/encoded.js';
import { encodeStream } from '../../src/retrieval/encode/stream.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { REPLY } from '../peers/protocol.js';
import { rest } from '../peers/rest.js';
import type { EncodeRequest, Numbers } from './protocol.js';

type Opening = Extract<EncodeRequest, { do: 'open' }>;

let opened: { asked: Opening; model: M3Model; tokenizer: Tokenizer } | undefined;

async function* encode(all: boolean) {
  const { asked, model, tokenizer } = opened!;
  const representations = new Set<Representation>(all ? ['dense', 'sparse', 'colbert'] : ['dense']);
  const { maxLength, batchTokens } = asked;
  yield* encodeStream(model, tokenizer, asked.texts, { representations, maxLength, batchTokens, prompt: '' });
}

async function answer(request: EncodeRequest): Promise<object> {
  switch (request.do) {
    case 'open': {
      const gpu = await Gpu.open(request.adapter === null ? {} : { adapter: request.adapter });
      const model = M3Model.load(gpu, request.model, { precision: request.fp16 ? 'f16' : 'f32' });
      const tokenizer = Tokenizer.load(request.model);
      opened = { asked: request, model, tokenizer };
      const { maxTokens } = model.config;
      const lengths = request.texts.map(
        (text) => tokenizer.encode(text, Math.min(request.maxLength, maxTokens)).length,
      );
      return { version: '', on: gpu.capabilities.name, tokens: lengths.reduce((sum, n) => sum + n, 0) };
    }
    case 'check': {
      const numbers: Numbers[] = [];
      for await (const { first, count, dense, denseWidth, sparse, colbert } of encode(request.all))
        for (const [i, place] of request.probes.entries()) {
          const text = place - first;
          if (text < 0 || text >= count) continue;
          numbers[i] = {
            dense: Array.from(dense!.subarray(text * denseWidth, (text + 1) * denseWidth)),
            ...(sparse ? { lexical: Object.fromEntries(sparse[text]!) } : {}),
            ...(colbert ? { colbert: Array.from(colbert[text]!) } : {}),
          };
        }
      return { numbers };
    }
    case 'run': {
      const used = process.cpuUsage();
      const start = performance.now();
      for await (const part of encode(request.all)) void part;
      const seconds = (performance.now() - start) / 1000;
      const { user, system } = process.cpuUsage(used);
      return { seconds, cpuSeconds: (user + system) / 1e6 };
    }
    case 'rest':
      await rest();
      return {};
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const reply = await answer(JSON.parse(line) as EncodeRequest).catch((error: unknown) => ({
    error: error instanceof Error ? error.message : String(error),
  }));
  process.stdout.write(`${REPLY}${JSON.stringify(reply)}\n`);
}
process.exit(0);
