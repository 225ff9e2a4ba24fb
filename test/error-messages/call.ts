/** What the rows of the table of error messages are: a call that is refused, and the line that it tells. */

/** What lies beside a call and around it. */
interface Surroundings {
  /** Contents by name, in the folder where the call is made; null makes a folder. */
  readonly files?: Readonly<Record<string, string | Uint8Array | null>>;
  readonly env?: Readonly<Record<string, string>>;
  /** What is done before the call, in its folder, which is the working one. */
  readonly before?: (folder: string) => Stage | Promise<Stage>;
  /** The line without its `dawntune: `: whole, or an expression where this machine has a part in it. */
  readonly line: string | RegExp;
  /** Of the process: 2 where the input is wrong, 1 where the machine cannot. 2 where nothing is said. */
  readonly status?: number;
  /** The only systems on which it can be provoked. */
  readonly systems?: readonly NodeJS.Platform[];
}

/** One call of a command that is refused. */
export interface RefusedCall extends Surroundings {
  /** Words after the command, parted by spaces. */
  readonly words: string;
}

/** One call of the library that is refused: what a command never asks of it, or only after an hour. */
export interface RefusedUse extends Surroundings {
  readonly what: string;
  readonly use: () => unknown;
}

/** What was made ready for a call. */
export interface Stage {
  /** Words that stand in the row for what is known only now (a port, an address). */
  readonly names?: Readonly<Record<string, string>>;
  readonly end?: () => unknown;
}

/** Calls by the command that refuses them. */
export type RefusedCalls = Readonly<Record<string, readonly RefusedCall[]>>;
