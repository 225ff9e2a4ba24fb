/** Files of an evaluation: FlagEmbedding's search results and their means, TREC runs beside them, the report. */
import path from 'node:path';
import { InputError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { makeWritableFolder } from '../../files/make-folder.js';
import { printable } from '../../show.js';
import { type Run, trecOrder } from './ranking.js';
import { renderHtml } from './render-html.js';
import { flagEmbeddingResults, renderJson } from './render-json.js';
import { renderMarkdown } from './render-markdown.js';
import type { EvaluationReport, System } from './results.js';
import { float32Text, isTrecRun, writeRun } from './run-file.js';

export type ReportMethod = 'json' | 'markdown' | 'html';

/** By the end of a file's name; Markdown where that says nothing. */
export function methodOf(file: string | null): ReportMethod {
  if (file !== null && /\.json$/i.test(file)) return 'json';
  return file !== null && /\.html?$/i.test(file) ? 'html' : 'markdown';
}

const RENDERERS: Record<ReportMethod, (report: EvaluationReport) => string> = {
  json: renderJson,
  markdown: renderMarkdown,
  html: renderHtml,
};

export function renderReport(report: EvaluationReport, method: ReportMethod): string {
  return RENDERERS[method](report);
}

/** A ranking of one task. */
export interface TaskRun {
  readonly task: { readonly name: string; readonly split: string };
  readonly dataset: string | undefined;
  readonly run: Run;
}

/** Where the rankings of a system go: those of dense under the model's name alone, as FlagEmbedding has them. */
export function folderOfSystem(folder: string, { model, mode, reranker }: System): string {
  const name = model.replaceAll(/[/\\]/g, '_');
  return path.join(folder, mode === 'dense' ? name : `${name}-${mode}`, reranker);
}

/** Rankings and means of a system, each file whole or not at all. @throws InputError where they cannot be written. */
export function writeSystem(
  folder: string,
  report: EvaluationReport,
  system: System,
  runs: readonly TaskRun[],
  note: (line: string) => void,
): void {
  const own = folderOfSystem(folder, system);
  makeWritableFolder(path.join(own, 'EVAL'));
  for (const { task, dataset, run } of runs) {
    writeFileAtomic(
      path.join(own, `${task.name}.json`),
      searchResults(report.title, system, task.split, dataset, run),
    );
    const trec = path.join(own, `${task.name}.trec`);
    if (isTrecRun(run)) writeRun(trec, run, `${system.model}-${system.mode}`.replaceAll(/\s+/g, '_'));
    else
      note(`${printable(trec)}: not written: there are ids with spaces, which that format has no room for`);
  }
  const means = `${JSON.stringify(flagEmbeddingResults(report, system), null, 4)}\n`;
  writeFileAtomic(path.join(own, 'EVAL', 'eval_results.json'), means);
}

/** FlagEmbedding's file of search results: per query its documents with their scores. */
function searchResults(
  title: string,
  { model, reranker }: System,
  split: string,
  dataset: string | undefined,
  run: Run,
): string {
  const head = {
    ...{ eval_name: title, model_name: model, reranker_name: reranker, split },
    dataset_name: dataset ?? null,
  };
  // Written by hand: ids that are numbers would change their places in an object.
  const queries = [...run].map(([query, hits]) => {
    const documents = trecOrder(hits).map(
      ({ doc, score }) => `            ${JSON.stringify(doc)}: ${float32Text(score)}`,
    );
    return `        ${JSON.stringify(query)}: {${documents.length > 0 ? `\n${documents.join(',\n')}\n        ` : ''}}`;
  });
  const fields = Object.entries(head).map(
    ([name, value]) => `    ${JSON.stringify(name)}: ${JSON.stringify(value)}`,
  );
  return `{\n${fields.join(',\n')},\n    "search_results": {${queries.length > 0 ? `\n${queries.join(',\n')}\n    ` : ''}}\n}\n`;
}

/** Finds out before anything is computed that the report can be written. @throws InputError that names the flag. */
export function requireFolder(flag: string, folder: string): void {
  try {
    makeWritableFolder(folder);
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${flag}: ${error.message}`);
    throw error;
  }
}
