/**
 * `bench encode`: how many texts a second become vectors, ours beside FlagEmbedding's and sentence-transformers' on the
 * same processor, model and texts. Each library has a process of its own, its numbers are compared before it is timed, and
 * it takes its turn in every round.
 */
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseToldFlags } from '../src/console/told-flags.js';
import { InputError, MachineError } from '../src/errors.js';
import { readJsonObjects } from '../src/files/json-objects.js';
import { messageLine, printable } from '../src/show.js';
import { encodeBenchFlags, type encodeWorkloads } from './encode/flags.js';
import type { EncodeRequest, Numbers, OpenedLibrary } from './encode/protocol.js';
import { pythonProgram } from './encode/python.js';
import { PeerProcess } from './peers/process.js';
import type { Timed } from './peers/protocol.js';
import { EXAMPLE_ROWS } from './ranks/rank-runs.js';

/** A library that does not answer for so long has hung. */
const TIMEOUT_S = 600;
/** Texts whose numbers are compared. */
const PROBES = 16;

type Workload = (typeof encodeWorkloads)[number];

interface Library {
  readonly name: string;
  readonly process: PeerProcess;
  opened?: OpenedLibrary;
}

/** A library on a workload: figures, or the reason why there are none. */
export interface EncodeRow {
  readonly workload: Workload;
  readonly library: string;
  readonly version?: string;
  readonly on?: string;
  readonly reason?: string;
  /** Of a turn. */
  readonly samples?: readonly Timed[];
  readonly textsPerSecond?: number;
  readonly tokensPerSecond?: number;
  /** Our rate over the library's, the median of the rounds. */
  readonly ratio?: number;
  /** Largest difference between its numbers and ours. */
  readonly difference?: number;
}

/** `count` texts: lines of a file, or the queries and passages of rows. */
export function benchTexts(file: string | null, count: number): string[] {
  const found = new Set<string>();
  if (file !== null) for (const line of fs.readFileSync(file, 'utf8').split('\n')) found.add(line.trim());
  else
    for (const { value } of readJsonObjects(EXAMPLE_ROWS))
      for (const text of [value['query'], value['pos'], value['neg']].flat())
        if (typeof text === 'string') found.add(text);
  const texts = [...found].filter((text) => text !== '');
  if (texts.length === 0)
    throw new InputError(`${printable(file ?? EXAMPLE_ROWS)}: expected texts, found none`);
  return Array.from({ length: count }, (_, i) => texts[i % texts.length]!);
}

export async function benchEncode(argv: readonly string[]): Promise<number> {
  const { values: options } = parseToldFlags(encodeBenchFlags, argv);
  const texts = benchTexts(options.texts, options.count);
  const note = (line: string) => process.stderr.write(`${line}\n`);
  const child = fileURLToPath(new URL('./encode/child.js', import.meta.url));
  const start = (name: string, file: string, ...words: string[]): Library => ({
    name,
    process: new PeerProcess(file, words, { ...process.env, HF_HUB_OFFLINE: '1' }, TIMEOUT_S),
  });
  const { python } = options;
  const libraries = [
    start('dawntune', process.execPath, child),
    ...(python === null
      ? []
      : ['FlagEmbedding', 'sentence-transformers'].map((name) =>
          start(name, python, '-c', pythonProgram, name),
        )),
  ];
  const rows: EncodeRow[] = [];
  let tokens = 0;
  try {
    const closed = new Map<Library, string>();
    for (const library of libraries)
      try {
        const { model, maxLength, batchTokens, peerBatchSize, adapter, fp16 } = options;
        library.opened = await ask<OpenedLibrary>(library, {
          ...{ do: 'open', model, texts, maxLength, batchTokens, peerBatchSize, adapter, fp16 },
        });
        tokens = library.opened.tokens ?? tokens;
        note(`${library.name} ${library.opened.version} · ${library.opened.on}`);
      } catch (error) {
        closed.set(library, reasonOf(error));
      }
    for (const workload of options.workloads)
      rows.push(...(await compare(workload, libraries, closed, { ...options, count: texts.length, tokens })));
  } finally {
    for (const { process } of libraries) process.stop();
  }
  if (options.json)
    process.stdout.write(
      `${JSON.stringify({ suite: 'encode', model: options.model, texts: texts.length, tokens, rows })}\n`,
    );
  else process.stdout.write(render(rows, texts.length, tokens));
  const wrong = rows.find(({ library, reason }) => library === 'dawntune' && reason !== undefined);
  if (wrong) throw new MachineError(`${wrong.workload}: dawntune: ${wrong.reason}`);
  return 0;
}

/** What our own processes are asked, checked by its type. */
const ask = <Reply>({ process }: Library, request: EncodeRequest): Promise<Reply> =>
  process.ask<Reply>(request);

const reasonOf = (error: unknown): string => messageLine((error as Error).message);

async function compare(
  workload: Workload,
  libraries: readonly Library[],
  closed: ReadonlyMap<Library, string>,
  options: {
    readonly rounds: number;
    readonly fp16: boolean;
    readonly count: number;
    readonly tokens: number;
  },
): Promise<EncodeRow[]> {
  const all = workload === 'all';
  const allowed = options.fp16 ? 1e-2 : 1e-5;
  const probes = Array.from({ length: Math.min(PROBES, options.count) }, (_, i) =>
    Math.floor((i * options.count) / Math.min(PROBES, options.count)),
  );
  const reasons = new Map(closed);
  const differences = new Map<Library, number>();
  const samples = new Map<Library, Timed[]>();
  let own: readonly Numbers[] | undefined;
  for (const library of libraries) {
    if (reasons.has(library)) continue;
    try {
      const { numbers } = await ask<{ numbers: Numbers[] }>(library, { do: 'check', all, probes });
      own ??= numbers;
      const difference = differenceOf(numbers, own);
      if (!(difference <= allowed))
        throw new Error(`its numbers differ from ours by ${difference.toExponential(1)}, allowed ${allowed}`);
      differences.set(library, difference);
      samples.set(library, []);
      await ask(library, { do: 'rest' });
    } catch (error) {
      reasons.set(library, reasonOf(error));
    }
  }
  const running = [...samples.keys()];
  for (let round = 0; round < options.rounds; round++)
    for (const [i] of running.entries()) {
      // Each round begins with another one.
      const library = running[(i + round) % running.length]!;
      if (reasons.has(library)) continue;
      try {
        samples.get(library)!.push(await ask<Timed>(library, { do: 'run', all }));
        await ask(library, { do: 'rest' });
      } catch (error) {
        reasons.set(library, reasonOf(error));
      }
    }
  const first = samples.get(libraries[0]!);
  return libraries.map((library): EncodeRow => {
    const row = { workload, library: library.name, ...library.opened };
    const reason = reasons.get(library);
    if (reason !== undefined) return { workload, library: library.name, reason };
    const timed = samples.get(library)!;
    const seconds = median(timed.map(({ seconds }) => seconds));
    const ratios = first ? timed.map(({ seconds }, round) => seconds / first[round]!.seconds) : [];
    return {
      ...row,
      samples: timed,
      textsPerSecond: options.count / seconds,
      tokensPerSecond: options.tokens / seconds,
      ...(library !== libraries[0] && ratios.length > 0 ? { ratio: median(ratios) } : {}),
      difference: differences.get(library)!,
    };
  });
}

/** Of any two numbers that belong together; infinite where something is missing. */
export function differenceOf(found: readonly Numbers[], expected: readonly Numbers[]): number {
  const of = (a: readonly number[] = [], b: readonly number[] = []) =>
    a.length === b.length
      ? a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0)
      : Infinity;
  return Math.max(
    ...expected.map(({ dense, lexical = {}, colbert }, i) => {
      const other = found[i];
      if (!other) return Infinity;
      const ids = new Set([...Object.keys(lexical), ...Object.keys(other.lexical ?? {})]);
      // A weight that rounds to 0 on one side is absent there.
      const weights = Array.from(ids, (id) => Math.abs((lexical[id] ?? 0) - (other.lexical?.[id] ?? 0)));
      return Math.max(of(dense, other.dense), of(colbert, other.colbert), ...weights);
    }),
  );
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function render(rows: readonly EncodeRow[], texts: number, tokens: number): string {
  const lines = [`${texts} texts, ${tokens} tokens`];
  for (const row of rows) {
    const name = `${row.workload.padEnd(6)} ${row.library.padEnd(22)}`;
    lines.push(
      row.reason !== undefined
        ? `${name} ${row.reason}`
        : `${name} ${row.textsPerSecond!.toFixed(1).padStart(8)} texts/s ${row.tokensPerSecond!.toFixed(0).padStart(7)} tokens/s` +
            (row.ratio === undefined
              ? ''
              : `  ours is ${row.ratio.toFixed(2)} of it, numbers within ${row.difference!.toExponential(1)}`),
    );
  }
  return `${lines.join('\n')}\n`;
}
