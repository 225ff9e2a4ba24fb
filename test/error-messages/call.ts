/** What a row of the table of error messages is: a call that a command refuses, and the line that it tells. */

/** One call that is refused. */
export interface RefusedCall {
  /** Words after the command, parted by spaces. */
  readonly words: string;
  /** Contents by name, in the folder where the call is made; null makes a folder. */
  readonly files?: Readonly<Record<string, string | Uint8Array | null>>;
  readonly env?: Readonly<Record<string, string>>;
  /** The line without its `dawntune: `: whole, or an expression where this machine has a part in it. */
  readonly line: string | RegExp;
  /** Of the process: 2 where the input is wrong, 1 where the machine cannot. 2 where nothing is said. */
  readonly status?: number;
}

/** Calls by the command that refuses them. */
export type RefusedCalls = Readonly<Record<string, readonly RefusedCall[]>>;
