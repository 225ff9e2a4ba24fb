/**
 * What a checkpoint holds beside the model: `training_state.json` and `optimizer.safetensors`. With them a run goes on, to
 * the bit, where the one stood that wrote them. The JSON, which is written last, has the size and the CRC-32 of every other
 * file, and a CRC-32 of itself: what a disk or a person did to any of them is found before anything is computed.
 */
import fs from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { InputError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { type JsonObject, readJsonObject } from '../../files/json.js';
import { Fields } from '../../files/json-fields.js';
import { PositionedFile } from '../../files/positioned.js';
import type { ChoicesRecord } from '../../gpu/choices.js';
import { printable, show } from '../../show.js';
import { WEIGHT_FILES } from '../../weights/open.js';
import { SafetensorsFile } from '../../weights/safetensors.js';
import { type StateTensor, saveTensors } from '../../weights/save-tensors.js';
import type { LogMeans } from '../run/log.js';
import type { RunState } from '../run/run.js';
import type { RunFingerprint } from './fingerprint.js';

export const TRAINING_STATE = 'training_state.json';
export const OPTIMIZER_FILE = 'optimizer.safetensors';
export const TRAINER_STATE = 'trainer_state.json';

const FORMAT = 2;
/** The key of the checksum, which is the last. */
const CHECKSUM = 'checksum';
/** Bytes of a file that are looked at at a time. */
const CHUNK = 8 << 20;

export interface TrainingState {
  readonly run: RunState;
  readonly means: LogMeans;
  readonly fingerprint: RunFingerprint;
  /** Which kernels the tuner chose. */
  readonly kernels: ChoicesRecord['winners'];
  /** What computed: elsewhere the last bits may be others. */
  readonly adapter: { readonly name: string; readonly driver: string };
}

/** Adds the two files to a folder that holds the model already, whose other files are as they will be. */
export async function writeTrainingState(
  folder: string,
  state: TrainingState,
  tensors: readonly StateTensor[],
): Promise<void> {
  await saveTensors(path.join(folder, OPTIMIZER_FILE), tensors);
  const files: Record<string, FileIdentity> = {};
  for (const name of filesIn(folder)) {
    files[name] = identityOf(path.join(folder, name));
    // A signal that came meanwhile is handled here.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const text = JSON.stringify(sealed({ format: FORMAT, ...state, files }), null, 2);
  writeFileAtomic(path.join(folder, TRAINING_STATE), `${text}\n`);
}

/** A training state with the CRC-32 of all else in it, as compact JSON: other spaces are the same state. */
export function sealed(state: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { [CHECKSUM]: _, ...rest } = state;
  return { ...rest, [CHECKSUM]: crc32(JSON.stringify(rest)) };
}

/** @throws InputError unless the state is as it was written. */
function requireSealed(state: JsonObject, file: string): void {
  if (state[CHECKSUM] !== sealed(state)[CHECKSUM])
    throw new InputError(
      `${printable(file)}: expected what was saved, found that it was changed (its checksum is another)`,
    );
}

interface FileIdentity {
  readonly bytes: number;
  readonly crc32: number;
}

/** A checkpoint that a run can go on from, read and found whole. Close it. */
export interface OpenCheckpoint {
  readonly folder: string;
  /** As `TrainingState`. */
  readonly state: Fields;
  readonly step: number;
  /** As `trainer_state.json` has it. */
  readonly history: Fields;
  readonly tensors: SafetensorsFile;
}

/** @throws InputError naming the checkpoint's file in which something is wrong. */
export function openCheckpoint(folder: string): OpenCheckpoint {
  const file = path.join(folder, TRAINING_STATE);
  const json = readJsonObject(file);
  const state = new Fields(json, file);
  if (state.value('format') !== FORMAT) throw state.fault('format', `${FORMAT}: this version reads no other`);
  requireSealed(json, file);
  const files = state.fields('files');
  if (!files.names().includes(OPTIMIZER_FILE) || !files.names().includes(TRAINER_STATE))
    throw state.fault('files', `an object with ${OPTIMIZER_FILE} and ${TRAINER_STATE}`);
  for (const name of files.names()) {
    const { bytes, crc32 } = {
      bytes: files.fields(name).count('bytes'),
      crc32: files.fields(name).count('crc32'),
    };
    if (path.isAbsolute(name) || name.split(/[\\/]/).includes('..'))
      throw new InputError(`${printable(file)}: expected files of this folder, found ${show(name)}`);
    const found = identityOf(path.join(folder, name));
    if (found.bytes !== bytes || found.crc32 !== crc32)
      throw new InputError(
        `${printable(path.join(folder, name))}: expected the ${bytes} bytes that were saved, found ${found.bytes === bytes ? 'others' : found.bytes}`,
      );
  }
  // Weights that were put beside those that were saved might be read in their place.
  for (const { file: name } of WEIGHT_FILES)
    if (!files.names().includes(name) && fs.existsSync(path.join(folder, name)))
      throw new InputError(
        `${printable(path.join(folder, name))}: expected the weights that were saved, found others beside them`,
      );
  const history = path.join(folder, TRAINER_STATE);
  const step = state.fields('run').count('step', 1);
  return {
    folder,
    state,
    step,
    history: new Fields(readJsonObject(history), history),
    tensors: SafetensorsFile.open(path.join(folder, OPTIMIZER_FILE)),
  };
}

function identityOf(file: string): FileIdentity {
  const opened = PositionedFile.open(file);
  try {
    let checksum = 0;
    for (let at = 0; at < opened.size; at += CHUNK)
      checksum = crc32(opened.readBytes(at, Math.min(CHUNK, opened.size - at)), checksum);
    return { bytes: opened.size, crc32: checksum };
  } finally {
    opened.close();
  }
}

/** Names of the files in a folder, those in its folders with a slash, in order. */
function filesIn(folder: string): string[] {
  return fs
    .readdirSync(folder, { withFileTypes: true })
    .flatMap(({ name }) => {
      const inner = path.join(folder, name);
      return fs.statSync(inner).isDirectory() ? filesIn(inner).map((each) => `${name}/${each}`) : [name];
    })
    .sort();
}
