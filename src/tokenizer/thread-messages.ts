/** What TokenizerThreads and its threads say to each other. */
import { InputError, MachineError } from '../errors.js';
import type { TokenizerSource } from './tokenizer.js';

/** What a thread is started with. */
export interface ThreadData {
  readonly source: TokenizerSource;
  readonly cacheSize: number;
}

export interface ThreadRequest {
  readonly id: number;
  readonly texts: readonly string[];
  readonly maxLength: number | undefined;
  readonly lowerCase: boolean;
}

export type ThreadAnswer = { readonly id: number } & (
  | {
      /** Those of all texts one after the other, and how many each has. */
      readonly ids: Uint32Array<ArrayBuffer>;
      readonly lengths: Uint32Array<ArrayBuffer>;
    }
  | { readonly failure: Failure }
);

/** An error as data: of an instance of a class of ours, a clone between threads would keep the message only. */
export interface Failure {
  readonly kind: 'InputError' | 'MachineError' | 'other';
  readonly message: string;
  readonly stack: string | undefined;
}

export function asFailure(error: unknown): Failure {
  if (!(error instanceof Error)) return { kind: 'other', message: String(error), stack: undefined };
  const kind =
    error instanceof InputError ? 'InputError' : error instanceof MachineError ? 'MachineError' : 'other';
  return { kind, message: error.message, stack: error.stack };
}

/** The error again, of its class and with the stack of where it arose. */
export function asError({ kind, message, stack }: Failure): Error {
  const error = new { InputError, MachineError, other: Error }[kind](message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
