/** What training saves: the model with the trainer's state, and which checkpoints of it are kept. */
import fs from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { sameFolder } from '../../files/same-folder.js';
import type { M3Model, TokenizerFiles } from '../../models/m3.js';
import type { CardDetails } from '../../models/model-card.js';
import type { ModelFolderContents } from '../../models/model-folder.js';
import { CHECKPOINT, type OutputFolder, SETTINGS_FILE } from '../../models/output-folder.js';
import { RUN_RECORD_FILE } from '../../run-record/record.js';
import { printable } from '../../show.js';
import type { StateTensor } from '../../weights/save-tensors.js';
import { FormatRangeError, type SavedFormat } from '../../weights/saved-weights.js';
import type { TrainerState } from '../run/log.js';
import { TRAINER_STATE, type TrainingState, writeTrainingState } from './training-state.js';

export interface Checkpoint {
  readonly name: string;
  readonly step: number;
  readonly folder: string;
}

/** What a run needs to go on from a checkpoint. */
export interface TrainingFiles {
  readonly state: TrainingState;
  readonly tensors: readonly StateTensor[];
}

/** The model is there, in another format than was asked for. */
class SavedInFloat32 extends MachineError {}

/** The saves of one run into its output folder. */
export class RunSaves {
  /** Oldest first. */
  private readonly earlier: Checkpoint[];
  private readonly own: Checkpoint[] = [];
  /** Folder of the newest that the run could go on from. */
  private resumable: string | undefined;
  /** What the limit means for checkpoints that are there already: said before any is removed. */
  readonly notices: readonly string[];

  /**
   * `limit`: how many checkpoints stay in the folder, null for all. The newest are kept by when they were saved, not by
   * their number: a checkpoint-1000 of an earlier run is older than this run's checkpoint-10, and goes before it.
   * `writes`: whether this run saves a checkpoint after that step. `format`: of the trained model; checkpoints, which
   * training goes on from, are float32. `card`: what the model card says of the run so far. `goesOn`: the folder of
   * the checkpoint that the run goes on from, if any; those that are there are its own, in the order of their steps.
   * @throws InputError when something else has the name of one.
   */
  constructor(
    private readonly output: OutputFolder,
    private readonly limit: number | null,
    private readonly options: {
      readonly writes?: (step: number) => boolean;
      readonly format?: SavedFormat;
      readonly card?: (state: TrainerState) => CardDetails;
      readonly goesOn?: string | undefined;
      /** Of the run, as a file that `--config` reads: it lies beside the trained model. */
      readonly settings?: string;
      /** Name of a checkpoint that stays whatever the limit: that of the best model. */
      readonly keeps?: () => string | undefined;
    } = {},
  ) {
    const { writes = () => false, goesOn } = options;
    requireNoneReplaced(output.path, writes);
    this.resumable = goesOn;
    // Those that lie where the run goes on elsewhere are of another run.
    const own = goesOn !== undefined && sameFolder(path.dirname(fs.realpathSync(goesOn)), output.path);
    this.earlier = checkpoints(output.path)
      .map((checkpoint) => ({ checkpoint, saved: savedAt(checkpoint) }))
      .sort((a, b) => (own ? 0 : a.saved - b.saved) || a.checkpoint.step - b.checkpoint.step)
      .map(({ checkpoint }) => checkpoint);
    const names = this.earlier.map(({ name }) => name);
    const shown = `${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}`;
    const there = `${printable(output.path)} has checkpoints of an earlier run`;
    this.notices =
      names.length === 0 || own
        ? []
        : limit === null
          ? [`--output_dir: ${there}, which stay beside what this one writes: ${shown}`]
          : [`--save_total_limit ${limit}: ${there}, which count and go first: ${shown}`];
  }

  /**
   * @throws MachineError for a weight beyond the format, and the model is then saved in float32; or saying what a run
   * that could not save goes on from.
   */
  saveModel(model: M3Model, tokenizer: TokenizerFiles, state: TrainerState): Promise<void> {
    return this.orWhatIsThere('the model', () => this.writeModel(model, tokenizer, state));
  }

  private async writeModel(model: M3Model, tokenizer: TokenizerFiles, state: TrainerState): Promise<void> {
    const { format = {}, settings } = this.options;
    const contents = (format: SavedFormat): ModelFolderContents => {
      const whole = this.contents(model, tokenizer, state, format);
      if (settings === undefined) return whole;
      return { ...whole, files: new Map([...whole.files, [SETTINGS_FILE, settings]]) };
    };
    try {
      await this.output.save(contents(format));
    } catch (error) {
      if (!(error instanceof FormatRangeError)) throw error;
      // What was trained is not lost for that.
      await this.output.save(contents({ ...format, dtype: 'f32' }));
      throw new SavedInFloat32(
        `--save_dtype: ${error.message}; the model in ${printable(this.output.path)} is in float32`,
      );
    }
  }

  /**
   * Writes checkpoint-<step>, then removes what the limit leaves no room for. `training`: what a run needs to go on from
   * it; without, it is a model alone. `record`: that of the run so far, as JSON; whatever becomes of it, the checkpoint is
   * whole.
   */
  async saveCheckpoint(
    model: M3Model,
    tokenizer: TokenizerFiles,
    state: TrainerState,
    training?: TrainingFiles,
    record?: string,
  ): Promise<void> {
    const name = `checkpoint-${state.global_step}`;
    await this.orWhatIsThere(name, () =>
      this.writeCheckpoint(name, model, tokenizer, state, training, record),
    );
  }

  private async writeCheckpoint(
    name: string,
    model: M3Model,
    tokenizer: TokenizerFiles,
    state: TrainerState,
    training: TrainingFiles | undefined,
    record: string | undefined,
  ): Promise<void> {
    const files = this.contents(model, tokenizer, state, { ...this.options.format, dtype: 'f32' });
    await this.output.saveAs(name, files, async (into) => {
      if (training) await writeTrainingState(into, training.state, training.tensors);
      if (record !== undefined) writeFileAtomic(path.join(into, RUN_RECORD_FILE), record);
    });
    for (const list of [this.earlier, this.own]) {
      const replaced = list.findIndex((checkpoint) => checkpoint.name === name);
      if (replaced >= 0) list.splice(replaced, 1);
    }
    this.own.push({ name, step: state.global_step, folder: path.join(this.output.path, name) });
    if (training) this.resumable = path.join(this.output.path, name);
    if (this.limit === null) return;
    // The best one may lie in another folder, where the run came from: nothing here stays for that.
    const best = this.options.keeps?.();
    const kept = new Set([name, best !== undefined && CHECKPOINT.test(best) ? best : name]);
    while (this.earlier.length + this.own.length > Math.max(kept.size, this.limit)) {
      const list = [this.earlier, this.own].find((each) =>
        each.some((checkpoint) => !kept.has(checkpoint.name)),
      )!;
      const at = list.findIndex((checkpoint) => !kept.has(checkpoint.name));
      const [oldest] = list.splice(at, 1);
      if (fs.existsSync(oldest!.folder)) this.output.remove(oldest!.name);
    }
  }

  /** A save that fails ends the run: what it goes on from is in the message. */
  private async orWhatIsThere(name: string, save: () => Promise<void>): Promise<void> {
    const { resumable } = this;
    try {
      await save();
    } catch (error) {
      if (!(error instanceof MachineError || error instanceof InputError) || error instanceof SavedInFloat32)
        throw error;
      const goesOn =
        resumable === undefined
          ? 'and there is no checkpoint that it could go on from'
          : `--resume_from_checkpoint ${printable(resumable)} goes on from there`;
      throw new MachineError(`${name} could not be saved: ${error.message}; the run ends here: ${goesOn}`);
    }
  }

  private contents(
    model: M3Model,
    tokenizer: TokenizerFiles,
    state: TrainerState,
    format: SavedFormat,
  ): ModelFolderContents {
    const files = new Map<string, string | Uint8Array>(tokenizer.files);
    files.set(TRAINER_STATE, `${JSON.stringify(state, null, 2)}\n`);
    return model.contents(files, format, this.options.card?.(state) ?? {});
  }
}

/**
 * A checkpoint replaces the folder of its name with all that is in it: one of an earlier run, not what a person keeps
 * there (a base model, the rows themselves).
 */
function requireNoneReplaced(outputDir: string, writes: (step: number) => boolean): void {
  for (const { name } of fs.readdirSync(outputDir, { withFileTypes: true }).filter(isFolder)) {
    const folder = path.join(outputDir, name);
    const step = Number(CHECKPOINT.exec(name)?.[1]);
    if (!writes(step) || name !== `checkpoint-${step}` || fs.existsSync(path.join(folder, TRAINER_STATE)))
      continue;
    if (fs.readdirSync(folder).length > 0)
      throw new InputError(
        `--output_dir: ${printable(folder)}: expected a checkpoint or nothing, as one will be written there, found a folder without ${TRAINER_STATE}`,
      );
  }
}

const isFolder = (entry: fs.Dirent) => entry.isDirectory();

/** A line where the saves of a run can take the place of the base model that it starts from. */
export function replacedBase(
  base: string,
  { outputDir, saveStrategy }: { readonly outputDir: string; readonly saveStrategy: string },
): string | undefined {
  if (sameFolder(base, outputDir))
    return `--output_dir is the folder of --model_name_or_path: the base model in ${printable(outputDir)} will be replaced`;
  const real = fs.realpathSync(base);
  if (
    saveStrategy !== 'no' &&
    CHECKPOINT.test(path.basename(real)) &&
    sameFolder(path.dirname(real), outputDir)
  )
    return `--model_name_or_path ${printable(base)} is a checkpoint in --output_dir: this run may replace or remove it`;
  return undefined;
}

/** By step, lowest first: folders (no links to one) that hold a trainer's state. Others are not ours to count. */
export function checkpoints(outputDir: string): Checkpoint[] {
  if (!fs.existsSync(outputDir)) return [];
  return fs
    .readdirSync(outputDir, { withFileTypes: true })
    .flatMap((entry) => {
      const step = CHECKPOINT.exec(entry.name)?.[1];
      const folder = path.join(outputDir, entry.name);
      if (step === undefined || !entry.isDirectory() || !fs.existsSync(path.join(folder, TRAINER_STATE)))
        return [];
      return [{ name: entry.name, step: Number(step), folder }];
    })
    .sort((a, b) => a.step - b.step);
}

function savedAt({ folder }: Checkpoint): number {
  return fs.statSync(path.join(folder, TRAINER_STATE), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
