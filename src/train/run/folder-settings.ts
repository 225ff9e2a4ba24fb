/**
 * What the base model's folder says of texts, beside the flags of a run: its length is a cap, its prompts and its case
 * are not applied, as upstream knows of none of them; and what the folder that is written says instead.
 */
import { promptBefore } from '../../data/prompts.js';
import { unsaidPooling } from '../../models/m3-folder.js';
import { PLAIN_TEXTS, readSentenceFolder, type TextSettings } from '../../models/sentence-files.js';
import { printable } from '../../show.js';
import type { FinetuneArguments } from '../arguments.js';

export interface FolderSettings {
  /** With lengths that are no longer than the folder's. */
  readonly args: FinetuneArguments;
  /** Of the model that is trained: the instructions of the flags as prompts, where they stand before the texts. */
  readonly texts: TextSettings;
  readonly notices: readonly string[];
}

export function folderSettings(folder: string, args: FinetuneArguments): FolderSettings {
  const notices: string[] = [];
  const unsaid = args.sentencePoolingMethod === 'cls' && unsaidPooling(folder);
  if (unsaid) notices.push(unsaid);
  const maxLength = readSentenceFolder(folder)?.texts.maxLength;
  const capped = (flag: string, length: number): number => {
    if (maxLength === undefined || length <= maxLength) return length;
    notices.push(
      `--${flag} ${length}: ${printable(folder)} is a model of at most ${maxLength} tokens (max_seq_length in sentence_bert_config.json): texts are cut to that`,
    );
    return maxLength;
  };
  const prompts = new Map<string, string>();
  for (const [name, flag, instruction, format] of [
    ['query', 'query_instruction', args.queryInstructionForRetrieval, args.queryInstructionFormat],
    ['document', 'passage_instruction', args.passageInstructionForRetrieval, args.passageInstructionFormat],
  ] as const) {
    if (instruction === null) continue;
    const prompt = promptBefore(instruction, format, `--${flag}_format`);
    if (prompt !== undefined) prompts.set(name, prompt);
    else
      notices.push(
        `--${flag}_format: puts something behind the text, which no prompt of config_sentence_transformers.json can: whoever encodes ${name === 'query' ? 'queries' : 'passages'} has to do it`,
      );
  }
  return {
    args: {
      ...args,
      queryMaxLen: capped('query_max_len', args.queryMaxLen),
      passageMaxLen: capped('passage_max_len', args.passageMaxLen),
    },
    texts: { ...PLAIN_TEXTS, maxLength, prompts },
    notices,
  };
}
