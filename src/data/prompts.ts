/**
 * Puts instructions before texts: which instruction a query or passage gets (docs/spec/flagembedding-m3.md §2.2, §2.3)
 * and how the two are joined. A text without an instruction stays as it is; upstream then writes the word "None" before
 * it, which the compatibility name `none-prefix` restores.
 */
import { InputError } from '../errors.js';
import { show } from '../show.js';

/** The default: one after the other. */
const PLAIN_FORMAT = '{}{}';

/** Joins an instruction and a text. */
export type Join = (instruction: string, text: string) => string;

/** Slots of a format: each may repeat a text, which no format in use does more than once. */
const MOST_SLOTS = 16;

/**
 * A Python format string with two slots, `{}{}` or `{0}`/`{1}`: the instruction, then the text. A literal
 * backslash-n means a newline; `{{` and `}}` are braces.
 * @throws InputError that begins with `flag` when the text has no slot, or there is a slot for anything else.
 */
export function compileFormat(format: string, flag: string): Join {
  const fail = (): never => {
    throw new InputError(
      `${flag}: expected slots for instruction and text as in "{}{}", found ${show(format)}`,
    );
  };
  const parts: (string | 0 | 1)[] = [];
  let automatic = 0;
  let numbered = false;
  for (const [piece] of format.replaceAll('\\n', '\n').matchAll(/\{\{|\}\}|\{\d*\}|[^{}]+|[{}]/g)) {
    if (piece === '{' || piece === '}') fail();
    else if (piece === '{{' || piece === '}}') parts.push(piece[0]!);
    else if (piece.startsWith('{')) {
      if (piece !== '{}') numbered = true;
      const slot = piece === '{}' ? automatic++ : Number(piece.slice(1, -1));
      if (slot === 0 || slot === 1) parts.push(slot);
      else fail();
    } else parts.push(piece);
  }
  if (!parts.includes(1) || (numbered && automatic > 0)) fail();
  const slots = parts.filter((part) => typeof part === 'number').length;
  if (slots > MOST_SLOTS)
    throw new InputError(`${flag}: expected at most ${MOST_SLOTS} slots, found ${slots}`);
  return (instruction, text) =>
    parts.map((part) => (part === 0 ? instruction : part === 1 ? text : part)).join('');
}

/**
 * What a format puts before each text, where that is all that it does: then the text alone can be kept and the rest said
 * once. Undefined where something follows the text or it stands there twice.
 */
export function promptBefore(instruction: string, format: string, flag: string): string | undefined {
  const mark = '\u0000';
  const [before, after, ...more] = compileFormat(format, flag)(instruction, mark).split(mark);
  return after === '' && more.length === 0 ? before : undefined;
}

export interface PromptOptions {
  readonly sameDatasetWithinBatch: boolean;
  readonly queryInstructionForRetrieval: string | null;
  readonly queryInstructionFormat: string;
  readonly passageInstructionForRetrieval: string | null;
  readonly passageInstructionFormat: string;
  /** Upstream's literal "None" before texts without an instruction. */
  readonly nonePrefix: boolean;
}

/** Row fields that decide which instruction applies. */
export interface PromptFields {
  readonly prompt: string | null;
  readonly type: string | null;
}

const SYMMETRIC_PASSAGES = new Set(['symmetric_sts', 'symmetric_clustering']);

export class Prompts {
  private readonly joinQuery: Join;
  private readonly joinPassage: Join;

  /** `hasPromptColumn`: some row of all the files has a prompt; only `none-prefix` asks. */
  constructor(
    private readonly options: PromptOptions,
    private readonly hasPromptColumn: boolean,
  ) {
    this.joinQuery = compileFormat(options.queryInstructionFormat, '--query_instruction_format');
    this.joinPassage = compileFormat(options.passageInstructionFormat, '--passage_instruction_format');
  }

  /**
   * The row's prompt, else the instruction of the flag. Outside same-dataset mode a prompt counts only beside that
   * instruction.
   */
  query(fields: PromptFields, text: string): string {
    const { sameDatasetWithinBatch, queryInstructionForRetrieval: flag, nonePrefix } = this.options;
    if (!sameDatasetWithinBatch && flag === null) return text;
    if (nonePrefix) return this.joinQuery((this.hasPromptColumn ? fields.prompt : flag) ?? 'None', text);
    const instruction = fields.prompt ?? flag;
    return instruction === null ? text : this.joinQuery(instruction, text);
  }

  /** One line for each format that is given and never used. */
  notices(): string[] {
    const { options } = this;
    const lines: string[] = [];
    const unprompted = !options.sameDatasetWithinBatch || !(this.hasPromptColumn || options.nonePrefix);
    if (
      options.queryInstructionFormat !== PLAIN_FORMAT &&
      options.queryInstructionForRetrieval === null &&
      unprompted
    )
      lines.push(
        `--query_instruction_format has no effect without --query_instruction_for_retrieval${options.sameDatasetWithinBatch ? ' or a "prompt" in rows' : ''}`,
      );
    if (options.passageInstructionFormat !== PLAIN_FORMAT && options.passageInstructionForRetrieval === null)
      lines.push('--passage_instruction_format has no effect without --passage_instruction_for_retrieval');
    return lines;
  }

  /** In same-dataset mode the symmetric types treat passages as queries; else the passage instruction, if any. */
  passage(fields: PromptFields, text: string): string {
    const { sameDatasetWithinBatch, passageInstructionForRetrieval: flag } = this.options;
    if (sameDatasetWithinBatch && fields.type !== null && SYMMETRIC_PASSAGES.has(fields.type))
      return this.query(fields, text);
    return flag === null ? text : this.joinPassage(flag, text);
  }
}
