/** The model that a server answers for, and how texts are put to it. */
import type { Embedder } from '../retrieval/embedder/open.js';
import { usualLength } from '../retrieval/embedder/open.js';
import type { ReadOptions } from './batcher.js';
import { type BatcherOptions, EmbeddingBatcher } from './batcher.js';
import type { Refusal } from './refusal.js';

/** What is left open is as the model's folder says. */
export interface ServedOptions extends BatcherOptions {
  /** What the model is called, the first name and others for it. */
  names: readonly string[];
  /** Whose prompt goes before texts without a prompt_name. Default `passage`, as of `dawntune encode`. */
  role?: 'query' | 'passage' | 'text' | undefined;
  /** Most tokens of texts without a prompt_name; default: those of the role. */
  maxLength?: number | undefined;
  /** Whether texts that are too long are cut where a request does not say. Default false. */
  autoTruncate?: boolean | undefined;
  /** Widths that the model was trained to be cut to. */
  matryoshka?: readonly number[] | undefined;
  /** Of dense, sparse and ColBERT scores in `/rerank`. Default 1, 0.3, 1. */
  weights?: readonly [dense: number, sparse: number, colbert: number] | undefined;
  /** Heads beside the dense vector; default: those that the model has. */
  heads?: ReadonlySet<'sparse' | 'colbert'> | undefined;
  /** Texts of a request. Default 2048. */
  maxTexts?: number | undefined;
}

/** A model at work for a server. */
export interface Served {
  /** Model, tokenizer, prompts and lengths. */
  readonly embedder: Pick<
    Embedder,
    'model' | 'threads' | 'query' | 'passage' | 'queryMaxLength' | 'passageMaxLength'
  >;
  /** Requests share its batches. */
  readonly batcher: EmbeddingBatcher;
  /** What the model is called; the first is told in answers. */
  readonly names: readonly string[];
  /** Whose prompt goes before texts without a prompt_name. */
  readonly role: 'query' | 'passage' | 'text';
  /** Most tokens of texts without a prompt_name; undefined: those of the role. */
  readonly maxLength: number | undefined;
  /** Whether texts that are too long are cut where a request does not say. */
  readonly autoTruncate: boolean;
  /** Widths that the model was trained to be cut to. */
  readonly matryoshka: readonly number[];
  /** Of dense, sparse and ColBERT scores in `/rerank`. */
  readonly weights: readonly [number, number, number];
  /** Those that are computed beside the dense vector. */
  readonly heads: ReadonlySet<'sparse' | 'colbert'>;
  /** Most texts of a request. */
  readonly maxTexts: number;
  /** Of dense and ColBERT vectors, as they are answered. */
  readonly width: number;
  /** Of ColBERT vectors, as they are answered. */
  readonly colbertWidth: number;
}

export function servedOf(embedder: Served['embedder'], options: ServedOptions): Served {
  const { model, threads } = embedder;
  const cut = (width: number) => Math.min(width, options.truncateDim ?? width);
  const heads =
    options.heads ??
    new Set((['sparse', 'colbert'] as const).filter((name) => model.hasHead(`${name}_linear`)));
  return {
    embedder,
    batcher: new EmbeddingBatcher(model, threads, options),
    names: options.names,
    role: options.role ?? 'passage',
    maxLength: options.maxLength,
    autoTruncate: options.autoTruncate ?? false,
    matryoshka: options.matryoshka ?? [],
    weights: options.weights ?? [1, 0.3, 1],
    ...{ heads, maxTexts: options.maxTexts ?? 2048, width: cut(model.config.hiddenSize) },
    colbertWidth: cut(model.colbertWidth),
  };
}

/** How texts with a prompt_name are read, or without one. `refused` makes what is thrown for a name that is none. */
export function textsOf(
  { embedder, role, maxLength }: Served,
  promptName?: string,
  refused: (problem: string) => Refusal | Error = (problem) => new Error(problem),
): ReadOptions & { readonly maxLength: number } {
  const { model, query, passage, queryMaxLength, passageMaxLength } = embedder;
  switch (promptName ?? role) {
    case 'query':
      return { role: 'query', join: query, maxLength: (promptName ? null : maxLength) ?? queryMaxLength };
    case 'passage':
    case 'document':
      return {
        ...{ role: 'document', join: passage },
        maxLength: (promptName ? null : maxLength) ?? passageMaxLength,
      };
  }
  const usual = maxLength ?? usualLength(model);
  if (promptName === undefined || promptName === 'text') return { role: 'text', maxLength: usual };
  const prompt = model.texts.prompts.get(promptName);
  if (prompt === undefined)
    throw refused(
      `expected one of ${[...new Set(['query', 'passage', 'text', ...model.texts.prompts.keys()])].join(', ')}, found ${JSON.stringify(promptName)}`,
    );
  return { role: 'text', prompt, maxLength: usual };
}
