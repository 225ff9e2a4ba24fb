/**
 * What a suite of `dawntune bench` is. A suite stands in a file of its own, its flags in a table that can be read
 * without opening a GPU (bench/options.ts or beside the suite), and bench/suites.ts lists it.
 */
import type { FlagTable } from '../src/flags.js';

export interface Suite {
  /** What is typed: `dawntune bench NAME`. */
  readonly name: string;
  /** One line for the overview. */
  readonly summary: string;
  readonly flags: FlagTable;
  /** Loads the code; what it gives measures, prints and returns the exit status. */
  readonly load: () => Promise<(argv: readonly string[]) => Promise<number>>;
}
