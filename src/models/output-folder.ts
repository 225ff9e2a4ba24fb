/**
 * A folder that a model is saved into: the model's own files and folders of further saves (checkpoints) beside them.
 * While it is open no other process writes there, and each save in it is whole or is not there.
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../errors.js';
import { FolderLock, lockHolder } from '../files/lock.js';
import { makeWritableFolder } from '../files/make-folder.js';
import { type FileSet, publishFiles, publishFolder, recover, removeFolder } from '../files/publish.js';
import { printable } from '../show.js';
import { TOKENIZER_FILES } from '../tokenizer/folder.js';
import { INDEX_FILE, isWeightsFile, WEIGHTS_FILE } from '../weights/saved-weights.js';
import { CARD_FILE, mayReplaceCard } from './model-card.js';
import { CONFIG_FILE, type ModelFolderContents, writeModelFiles } from './model-folder.js';
import { SENTENCE_FILES } from './sentence-files.js';

/** The flags of the run that made a model, as `--config` reads them. */
export const SETTINGS_FILE = 'effective_settings.yaml';

/**
 * What a save consists of. One without a tokenizer leaves the tokenizer that lies in the folder. Shards are named by how
 * many there are: those of an earlier save are found by looking.
 */
const saveFiles = (folder: string): FileSet => ({
  gate: CONFIG_FILE,
  groups: [
    [
      CONFIG_FILE,
      ...new Set([WEIGHTS_FILE, INDEX_FILE, ...fs.readdirSync(folder).filter(isWeightsFile)]),
      'colbert_linear.pt',
      'sparse_linear.pt',
      'trainer_state.json',
      SETTINGS_FILE,
      ...SENTENCE_FILES,
    ],
    TOKENIZER_FILES,
    [CARD_FILE],
  ],
});

/** What other tools take for the same model's weights, which a save does not touch. */
const OTHER_WEIGHTS =
  /^(?:pytorch_model.*\.bin|pytorch_model\.bin\.index\.json|adapter_config\.json|tf_model\.h5|flax_model\.msgpack)$/;

export class OutputFolder {
  private constructor(
    /** As the user named it. */
    readonly path: string,
    private readonly lock: FolderLock,
    /** One line each, e.g. that an interrupted save was completed. */
    readonly notices: readonly string[],
  ) {}

  /**
   * Makes the folder where there is none, locks it, ends what a killed run began and removes what it left.
   * @throws InputError when it cannot be written or a name in it is taken by something else, MachineError when
   * another run writes there.
   */
  static open(folder: string): OutputFolder {
    makeWritableFolder(folder);
    const lock = FolderLock.acquire(folder);
    try {
      requireNoneAround(folder);
      requireFreeNames(folder);
      const notices = recover(folder, saveFiles(folder)).map(
        (name) =>
          `${printable(folder)}: completed a save of an earlier run (${printable(name)}) that was interrupted`,
      );
      const others = fs.readdirSync(folder).filter((name) => OTHER_WEIGHTS.test(name));
      if (others.length > 0)
        notices.push(
          `${printable(folder)}: ${others.map(printable).join(', ')}: not of this run, stays beside its weights`,
        );
      if (!mayReplaceCard(folder))
        notices.push(
          `${printable(path.join(folder, CARD_FILE))}: not written with a model, stays as it is; the model's card is in its checkpoints only`,
        );
      return new OutputFolder(folder, lock, notices);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Replaces the model in the folder. A card that someone wrote stays. */
  async save(contents: ModelFolderContents): Promise<void> {
    this.lock.verify();
    const files = new Map(contents.files);
    if (!mayReplaceCard(this.path)) files.delete(CARD_FILE);
    await publishFiles(this.path, saveFiles(this.path), (into) => this.write(into, { ...contents, files }));
  }

  /** Makes or replaces the folder `name` in it. `more` adds files beside the model's. */
  async saveAs(
    name: string,
    contents: ModelFolderContents,
    more: (into: string) => Promise<void> = async () => {},
  ): Promise<void> {
    this.lock.verify();
    await publishFolder(this.path, name, (into) => this.write(into, contents, more));
  }

  remove(name: string): void {
    this.lock.verify();
    removeFolder(this.path, name);
  }

  close(): void {
    this.lock.release();
  }

  private async write(
    into: string,
    contents: ModelFolderContents,
    more: (into: string) => Promise<void> = async () => {},
  ): Promise<void> {
    await writeModelFiles(into, contents);
    await more(into);
    // Writing takes long; what follows are renames.
    this.lock.verify();
  }
}

/** Saves one model, in a folder that is open no longer than that. */
export async function saveModelFolder(folder: string, contents: ModelFolderContents): Promise<void> {
  const output = OutputFolder.open(folder);
  try {
    await output.save(contents);
  } finally {
    output.close();
  }
}

/** Names that a run gives to folders of further saves. */
export const CHECKPOINT = /^checkpoint-(\d+)$/;

/**
 * A checkpoint of one run must not be the output of another, which may replace or remove it. Asked after locking: of
 * two runs that begin at once, at least one then sees the other.
 */
function requireNoneAround(folder: string): void {
  const real = fs.realpathSync(folder);
  const around = [
    ...(CHECKPOINT.test(path.basename(real)) ? [path.dirname(real)] : []),
    ...fs
      .readdirSync(real)
      .filter((name) => CHECKPOINT.test(name))
      .map((name) => path.join(real, name)),
  ];
  for (const other of around) {
    const holder = lockHolder(other);
    if (holder)
      throw new MachineError(
        `${printable(folder)}: ${holder} writes into ${printable(other)}; give another folder`,
      );
  }
}

/** @throws InputError when something else has a name that a save needs: found now, not after hours of training. */
function requireFreeNames(folder: string): void {
  const fail = (name: string, expected: string, found: string) =>
    new InputError(`${printable(path.join(folder, name))}: expected ${expected}, found ${found}`);
  for (const name of saveFiles(folder).groups.flat()) {
    const inner = path.dirname(name);
    if (inner !== '.') {
      const around = fs.lstatSync(path.join(folder, inner), { throwIfNoEntry: false });
      if (around && !around.isDirectory())
        throw fail(inner, 'a folder or nothing, as a part of a model is written there', 'something else');
      if (!around) continue;
    }
    const stat = fs.lstatSync(path.join(folder, name), { throwIfNoEntry: false });
    if (stat?.isDirectory()) throw fail(name, 'a file or nothing, as a model is written there', 'a folder');
  }
  for (const entry of fs.readdirSync(folder, { withFileTypes: true }))
    if (CHECKPOINT.test(entry.name) && !entry.isDirectory() && !entry.isSymbolicLink())
      throw fail(entry.name, 'a folder or nothing, as checkpoints are written there', 'a file');
}
