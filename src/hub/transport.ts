/** What tests of downloads replace; connection.ts is what otherwise talks to the network. */

/** What tests put in the place of the network and of its patience. */
export interface Transport {
  /** Resolves to what Node's `fetch` does; not its own type, which a program that uses this package may not have. */
  fetch?(url: string, init: object): Promise<object>;
  /** Milliseconds before the second attempt; twice as long before each further one. */
  readonly firstPause?: number;
  /** Requests for one thing with nothing, or less than a MiB, to show for them. */
  readonly attempts?: number;
}
