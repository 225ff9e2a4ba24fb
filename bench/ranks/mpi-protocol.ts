/** What bench and the ranks that it starts under mpirun say to each other. */
import type { ExchangeOptions } from './exchange.js';
import type { StepsTask } from './rank-steps.js';

/** Last of a rank's words: what v8 makes of it, in base64. */
export type MpiTask =
  | { readonly do: 'exchange'; readonly options: ExchangeOptions }
  | { readonly do: 'steps'; readonly task: StepsTask };

/** What stands before the results of all ranks, in rank 0's line of standard output. */
export const RESULTS = '#ranks ';
