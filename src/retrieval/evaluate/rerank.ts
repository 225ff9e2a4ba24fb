/** What systems found, ranked anew by a cross-encoder: the first documents of each query, with its scores in place of theirs. */
import path from 'node:path';
import { compileFormat, type Join } from '../../data/prompts.js';
import { InputError } from '../../errors.js';
import type { Communicator } from '../../ranks/communicator.js';
import type { EmbedderSurroundings } from '../embedder/open.js';
import type { Tell } from '../encode/telling.js';
import { openReranker } from '../score/open-reranker.js';
import { rerankPairs } from '../score/reranker.js';
import type { EvaluateArguments } from './arguments.js';
import type { TaskRun } from './outputs.js';
import { type Hit, type Run, trecOrder } from './ranking.js';
import type { System } from './results.js';
import type { Dataset } from './tasks.js';

interface SystemRuns {
  readonly system: System;
  readonly runs: readonly TaskRun[];
}

/** The pairs of one dataset, each once whichever systems found it. */
class DatasetPairs {
  /** By query text and document, the place of the score. */
  private readonly places = new Map<string, number>();
  private readonly queries: string[] = [];
  private readonly documents: number[] = [];
  private readonly indices: ReadonlyMap<string, number>;

  constructor(private readonly corpus: NonNullable<Dataset['corpus']>) {
    this.indices = new Map(corpus.ids.map((id, index) => [id, index]));
  }

  get count(): number {
    return this.queries.length;
  }

  /** The place of a pair, which is taken in where it is new. @throws InputError for a document that the corpus has not. */
  place(query: string, doc: string): number {
    const key = `${doc}\n${query}`;
    const known = this.places.get(key);
    if (known !== undefined) return known;
    const document = this.indices.get(doc);
    if (document === undefined)
      throw new InputError(
        `--reranker_name_or_path: a run names the document ${JSON.stringify(doc)}, which is not in the corpus`,
      );
    this.places.set(key, this.queries.length);
    this.documents.push(document);
    return this.queries.push(query) - 1;
  }

  /** Texts of the pairs by their places; one reading of the corpus. */
  *texts(query: (text: string) => string, passage: (text: string) => string): Generator<[string, string]> {
    const needed = new Set(this.documents);
    const texts = new Map<number, string>();
    let document = 0;
    for (const text of this.corpus.texts()) {
      if (needed.has(document)) texts.set(document, passage(text));
      document++;
    }
    for (const [i, text] of this.queries.entries()) yield [query(text), texts.get(this.documents[i]!)!];
  }
}

/**
 * The first `--rerank_top_k` of each ranking by `--reranker_name_or_path`, as systems of their own: documents beyond are in
 * them no more. All ranks call it. @throws InputError, MachineError; RankError with several ranks.
 */
export async function rerank(
  args: EvaluateArguments,
  systems: readonly SystemRuns[],
  datasets: readonly Dataset[],
  surroundings: EmbedderSurroundings & { readonly communicator: Communicator },
  { note, progress }: { readonly note: (line: string) => void; readonly progress: Tell },
): Promise<SystemRuns[]> {
  const name = args.rerankerNameOrPath!;
  const query = instruction(args.queryInstructionForRerank, args.queryInstructionFormatForRerank, 'query');
  const passage = instruction(
    args.passageInstructionForRerank,
    args.passageInstructionFormatForRerank,
    'passage',
  );
  const { model, threads, close } = await openReranker(name, args, surroundings);
  try {
    const reranked = systems.map((): TaskRun[] => []);
    let t = 0;
    for (const { corpus, tasks } of datasets) {
      const pairs = new DatasetPairs(corpus!);
      const wanted = tasks.map((task, i) =>
        systems.map(({ runs }) =>
          task.queries.flatMap(({ id, text }) => {
            const hits = runs[t + i]!.run.get(id);
            if (!hits) return [];
            const first = trecOrder(hits).slice(0, args.rerankTopK);
            return [{ id, hits: first.map(({ doc }) => ({ doc, place: pairs.place(text, doc) })) }];
          }),
        ),
      );
      note(`${name}: ${pairs.count} pairs`);
      const scores = await rerankPairs(model, threads, pairs.texts(query, passage), {
        ...{ maxLength: args.rerankerMaxLength, queryMaxLength: args.rerankerQueryMaxLength ?? undefined },
        ...{ normalize: args.normalize, batchTokens: args.batchTokens, batchPairs: args.rerankerBatchSize },
        communicator: surroundings.communicator,
        onScored: (done, tokens) =>
          progress?.({
            ...{ phase: 'score', done, total: pairs.count, unit: 'pairs' },
            ...{ tokens: tokens * surroundings.communicator.size, memoryBytes: model.gpu.pool.heldBytes },
          }),
      });
      for (const [i] of tasks.entries())
        systems.forEach(({ runs }, s) => {
          const run: Run = new Map(
            wanted[i]![s]!.map(({ id, hits }) => [
              id,
              hits.map(({ doc, place }): Hit => ({ doc, score: scores[place]! })),
            ]),
          );
          reranked[s]!.push({ ...runs[t + i]!, run });
        });
      t += tasks.length;
    }
    const reranker = path.basename(path.resolve(name));
    return systems.map(({ system }, s) => ({ system: { ...system, reranker }, runs: reranked[s]! }));
  } finally {
    await close();
  }
}

function instruction(text: string | null, format: string, side: string): (passage: string) => string {
  const join: Join = compileFormat(format, `--${side}_instruction_format_for_rerank`);
  return (passage) => (text === null ? passage : join(text, passage));
}
