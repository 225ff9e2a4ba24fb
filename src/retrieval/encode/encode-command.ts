/** `dawntune encode`: reads texts, encodes them on one rank or several, and writes what rank 0 is given. */
import fs from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import type { Reporter } from '../../console/reporter.js';
import { InputError } from '../../errors.js';
import { requireWritable } from '../../files/atomic.js';
import {
  lockOutput,
  type Progress,
  readProgress,
  removeProgress,
  writeProgress,
} from '../../files/partial.js';
import type { Gpu, GpuOptions } from '../../gpu/gpu.js';
import { broadcastJson, type Communicator } from '../../ranks/communicator.js';
import { SingleCommunicator } from '../../ranks/single.js';
import { alikeOnAllRanks, endAllRanks, fromFirstRank, onFirstRank } from '../../ranks/together.js';
import { printable, show } from '../../show.js';
import { openEmbedder, usualLength } from '../embedder/open.js';
import type { EncodeArguments } from './arguments.js';
import { checkTexts, type InputOptions, type InputText, readTexts } from './input.js';
import { type EncodedSink, FileOutput, outputFiles, StandardOutput, type TextId } from './output.js';
import { encodeStream } from './stream.js';
import { tellEncoded, tellOf } from './telling.js';

/** What a rank of the command has around it. */
export interface EncodeSurroundings {
  readonly report: Reporter;
  readonly communicator?: Communicator | undefined;
  readonly openGpu?: ((options?: Omit<GpuOptions, 'adapter'>) => Promise<Gpu>) | undefined;
}

/** What every rank knows of an earlier run. */
interface Earlier {
  readonly texts: number;
  /** CRC-32 over them and their names. */
  readonly checksum: number;
}

const NOTHING: Earlier = { texts: 0, checksum: 0 };

/** @throws InputError, MachineError; RankError with several ranks. */
export async function encodeFiles(args: EncodeArguments, surroundings: EncodeSurroundings): Promise<void> {
  const { communicator = new SingleCommunicator() } = surroundings;
  try {
    await encodeOnRank(args, { ...surroundings, communicator });
  } catch (error) {
    await endAllRanks(communicator, error);
  }
}

async function encodeOnRank(
  args: EncodeArguments,
  { report, communicator, openGpu }: EncodeSurroundings & { readonly communicator: Communicator },
): Promise<void> {
  const { output, role } = args;
  const representations = new Set(args.representations);
  requireInputs(args.inputs.filter((input) => input !== '-'));
  await onFirstRank(communicator, () => {
    if (output === '-') return;
    requireWritable('--output', output);
    requireOthers(args);
  });
  const needs = [
    ...(representations.has('sparse') ? (['sparse_linear'] as const) : []),
    ...(representations.has('colbert') ? (['colbert_linear'] as const) : []),
  ];
  const embedder = await openEmbedder(
    args,
    { report, communicator, openGpu, denseAlone: '--representations dense' },
    needs,
  );
  let files: FileOutput | undefined;
  let kept = false;
  let unlock: (() => void) | undefined;
  const leave = () => {
    // What is whole stays for --resume.
    if (kept) files?.close();
    else files?.discard();
    files = undefined;
    unlock?.();
    unlock = undefined;
  };
  // A signal ends the process without coming back here.
  process.once('exit', leave);
  try {
    await onFirstRank(communicator, async () => {
      if (output === '-') return;
      unlock = await lockOutput(output, () =>
        report.note(`${printable(output)}: another run writes it; waiting for its end`),
      );
    });
    const { model, gpu, folder, threads } = embedder;
    const maxLength = args.maxLength ?? usualLength(model);
    const settings = settingsOf({ ...args, maxLength }, folder, gpu);
    let progress: Progress | undefined;
    await onFirstRank(communicator, () => {
      if (output !== '-') progress = earlierRun(args, settings, report);
    });
    const earlier = await broadcastJson(communicator, progress ? earlierOf(progress) : NOTHING);
    kept = earlier.texts > 0;
    const total = await onFirstRank(communicator, () => checkTexts(args.inputs, inputOptions(args)));
    const cut = (width: number) => Math.min(width, args.truncateDim ?? width);
    await onFirstRank(communicator, () => {
      if (output === '-') return;
      const widths = { dense: cut(model.config.hiddenSize), colbert: cut(model.colbertWidth) };
      files = new FileOutput({ ...args, representations }, widths, progress);
    });
    const sink: EncodedSink | undefined = communicator.rank > 0 ? undefined : (files ?? new StandardOutput());

    /** Of texts that were read and are not yet written. */
    const pending: { readonly id: TextId; readonly checksum: number }[] = [];
    const texts = async function* () {
      let checksum = 0;
      let count = 0;
      for await (const { text, id } of inputTexts(args, communicator)) {
        checksum = crc32(`${JSON.stringify(id ?? null)}\n${text}\n`, checksum);
        count++;
        if (count === earlier.texts && checksum !== earlier.checksum)
          throw alikeOnAllRanks(
            new InputError(
              `--resume: expected the texts of the earlier run, found others among the first ${count}`,
            ),
          );
        if (count <= earlier.texts) continue;
        pending.push({ id, checksum });
        yield text;
      }
      if (count < earlier.texts)
        throw alikeOnAllRanks(
          new InputError(
            `--resume: expected at least the ${earlier.texts} texts of the earlier run, found ${count}`,
          ),
        );
    };
    const join = role === 'query' ? embedder.query : role === 'passage' ? embedder.passage : undefined;
    let done = earlier.texts;
    const onBatch = tellEncoded(tellOf(report, communicator), gpu, { unit: 'texts', total, from: done });
    for await (const encoded of encodeStream(model, threads, texts(), {
      ...{ representations, join, communicator, start: earlier.texts },
      ...{ role: role === 'passage' ? 'document' : role, maxLength },
      ...{ batchTokens: args.batchTokens, truncateDim: args.truncateDim ?? undefined, onBatch },
    })) {
      const of = pending.splice(0, encoded.count);
      await sink?.write(
        encoded,
        of.map(({ id }) => id),
      );
      done = encoded.first + encoded.count;
      if (files && encoded.resumable) {
        const state = { settings, texts: done, checksum: of.at(-1)!.checksum, ...files.state };
        writeProgress(output, files.parts, state);
        kept = true;
      }
    }
    if (files) {
      const written = files.finish();
      removeProgress(output);
      files = undefined;
      report.end();
      report.note(`${done} texts: ${written.map(printable).join(', ')}`);
    }
  } finally {
    process.off('exit', leave);
    leave();
    await embedder.close();
  }
}

/** Named before a model is read. */
function requireInputs(inputs: readonly string[]): void {
  for (const input of inputs)
    if (!fs.existsSync(input))
      throw alikeOnAllRanks(new InputError(`${printable(input)}: cannot read: no such file or folder`));
}

/** An output that takes the place of a text's file, or of one beside it. @throws InputError. */
function requireOthers(args: EncodeArguments): void {
  const numbered = (file: string) => {
    const stats = fs.statSync(file, { throwIfNoEntry: false, bigint: true });
    return stats && `${stats.dev} ${stats.ino}`;
  };
  const inputs = new Map(args.inputs.map((input) => [numbered(input), input]));
  for (const file of outputFiles({ ...args, representations: new Set(args.representations) })) {
    const input = fs.existsSync(file) ? inputs.get(numbered(file)) : undefined;
    if (input !== undefined)
      throw new InputError(
        `--output: expected other files than those that are read, found ${printable(file)}${file === input ? '' : `, which is ${printable(input)}`}`,
      );
  }
}

const inputOptions = (args: EncodeArguments): InputOptions => ({
  ...{ format: args.inputFormat, fields: args.field, idField: args.idField ?? undefined },
});

/** The texts on all ranks: files are read by each, standard input by the first. */
async function* inputTexts(args: EncodeArguments, communicator: Communicator): AsyncGenerator<InputText> {
  const options = inputOptions(args);
  if (communicator.size === 1) {
    yield* readTexts(args.inputs, options);
    return;
  }
  if (!args.inputs.includes('-')) {
    try {
      yield* readTexts(args.inputs, options);
    } catch (error) {
      throw error instanceof InputError ? alikeOnAllRanks(error) : error;
    }
    return;
  }
  const source = communicator.rank === 0 ? readTexts(args.inputs, options) : undefined;
  for (;;) {
    const some = await fromFirstRank(communicator, async () => {
      const texts: InputText[] = [];
      while (texts.length < TEXTS_AT_ONCE) {
        const { done, value } = await source!.next();
        if (done) break;
        texts.push(value);
      }
      return texts;
    });
    yield* some;
    if (some.length < TEXTS_AT_ONCE) return;
  }
}

/** Texts that the first rank sends to the others together. */
const TEXTS_AT_ONCE = 256;

// ---- taking up an earlier run ----

/** All that decides what is written, but the texts. */
function settingsOf(args: EncodeArguments, folder: string, gpu: Gpu): Record<string, string> {
  const weights = fs
    .readdirSync(folder)
    .filter((name) => /\.(json|safetensors|bin|pt|model|txt)$/.test(name))
    .sort()
    .map((name) => {
      const { size, mtimeMs } = fs.statSync(path.join(folder, name));
      return `${name} ${size} ${mtimeMs}`;
    });
  const { name, driver } = gpu.capabilities;
  const told = Object.entries({
    model: [fs.realpathSync(folder), ...weights].join('\n'),
    adapter: `${name}, ${driver}`,
    representations: args.representations,
    format: args.format,
    dtype: args.dtype,
    role: args.role,
    instruction: [
      args.role === 'query' ? args.queryInstructionForRetrieval : args.passageInstructionForRetrieval,
      args.role === 'query' ? args.queryInstructionFormat : args.passageInstructionFormat,
    ],
    max_length: args.maxLength,
    truncate_dim: args.truncateDim,
    fp16: args.fp16,
    batch_tokens: args.batchTokens,
    pooling_method: args.poolingMethod,
    normalize_embeddings: args.normalizeEmbeddings,
    field: args.field,
    id_field: args.idField,
    input_format: args.inputFormat,
  });
  return Object.fromEntries(
    told.map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]),
  );
}

/** What is to be taken up; a run that is not is told. @throws InputError where it was of other words. */
function earlierRun(
  { output, resume }: EncodeArguments,
  settings: Readonly<Record<string, string>>,
  report: Reporter,
): Progress | undefined {
  const progress = readProgress(output);
  if (!progress) {
    if (resume)
      report.note(`${printable(output)}: there is no earlier run to go on with; this one begins anew`);
    return undefined;
  }
  const { texts } = earlierOf(progress);
  if (!resume) {
    report.note(
      `${printable(output)}: an earlier run was interrupted after ${texts} texts; this one begins anew, --resume goes on`,
    );
    removeProgress(output);
    return undefined;
  }
  const told = progress.state['settings'] as Record<string, unknown> | undefined;
  for (const [name, value] of Object.entries(settings))
    if (told?.[name] !== value)
      throw new InputError(
        `--resume: expected the ${name} of the earlier run, ${show(told?.[name])}, found ${show(value)}`,
      );
  report.note(`${printable(output)}: going on after ${texts} texts`);
  return progress;
}

function earlierOf({ state }: Progress): Earlier {
  const { texts, checksum } = state;
  if (!Number.isSafeInteger(texts) || !Number.isSafeInteger(checksum))
    throw new InputError('--resume: expected the progress of a run, found something else; rerun without it');
  return { texts: texts as number, checksum: checksum as number };
}
