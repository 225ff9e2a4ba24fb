/** Runs that are stopped and go on: the mission's flags, and what files must not tell that there was a stop. */
import fs from 'node:fs';
import path from 'node:path';
import { SETTINGS_FILE } from '../src/models/output-folder.js';
import { REPORT_FILE } from '../src/report/report.js';
import { RUN_RECORD_FILE, type RunRecord } from '../src/run-record/record.js';
import { golden } from './repository.js';

/** The mission's command with the example data, on one rank. */
export function missionFlags(output: string, model: string): string[] {
  const data = (...names: string[]) => golden('example_data', ...names);
  return [
    ...['--model_name_or_path', model, '--nproc_per_node', '1', '--output_dir', output],
    ...['--train_data', data('retrieval'), data('sts', 'sts.jsonl')],
    ...[data('classification-no_in_batch_neg'), data('clustering-no_in_batch_neg')],
    ...['--train_group_size', '8', '--query_max_len', '512', '--passage_max_len', '512'],
    ...['--pad_to_multiple_of', '8', '--knowledge_distillation', 'True'],
    ...['--same_dataset_within_batch', 'True', '--small_threshold', '0', '--drop_threshold', '0'],
    ...['--overwrite_output_dir', '--learning_rate', '1e-5', '--fp16', '--num_train_epochs', '2'],
    ...['--per_device_train_batch_size', '2', '--dataloader_drop_last', 'True', '--warmup_ratio', '0.1'],
    ...['--gradient_checkpointing', '--deepspeed', golden('ds_stage0.json')],
    ...['--logging_steps', '1', '--negatives_cross_device', '--temperature', '0.02'],
    ...['--sentence_pooling_method', 'cls', '--normalize_embeddings', 'True', '--kd_loss_type', 'm3_kd_loss'],
    ...['--unified_finetuning', 'True', '--use_self_distill', 'True', '--fix_encoder', 'False'],
    ...['--self_distill_start_step', '0'],
  ];
}

/** A run's record without what a clock says, and what differs where there was a stop: processes, what they told and held. */
function withoutTimes(json: string): string {
  const {
    updated: _,
    sessions: __,
    notices: ___,
    steps,
    memory,
    settings,
    ...rest
  } = JSON.parse(json) as RunRecord;
  const { seconds: ____, tokens_per_second: _____, ...columns } = steps;
  const said = settings.filter(({ name }) => !['resume_from_checkpoint', 'output_dir'].includes(name));
  const { model } = rest;
  return JSON.stringify({
    ...rest,
    model: { ...model, folder: '', use: [] },
    columns,
    planned: memory.planned,
    said,
  });
}

/** Every file below a folder, those of the log without what a clock says. */
export function filesIn(folder: string): Map<string, string> {
  const names = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  return new Map(
    names
      // Events have a time each.
      .filter((name) => !name.startsWith('runs') && fs.statSync(path.join(folder, name)).isFile())
      .map((name) => {
        const bytes = fs.readFileSync(path.join(folder, name)).toString('latin1');
        // A run that goes on is another command.
        if (name === SETTINGS_FILE) return [name, ''];
        // Made of the record alone: run-report.test.ts.
        if (name === REPORT_FILE) return [name, ''];
        if (path.basename(name) === RUN_RECORD_FILE) return [name, withoutTimes(bytes)];
        return [name, bytes.replace(/"train_(?:runtime|steps_per_second)": [\d.]+,/g, '')];
      }),
  );
}

/** Names of files that one folder has and the other has not, or has with other bytes. */
export function differingFiles(a: string, b: string): string[] {
  const [one, other] = [filesIn(a), filesIn(b)];
  return [...new Set([...one.keys(), ...other.keys()])].filter((name) => one.get(name) !== other.get(name));
}
