/** What `assertClose` throws. */
export class ValuesDiffer extends Error {
  override name = 'ValuesDiffer';

  /** `message`: where values differ, and by how much. */
  constructor(
    message: string,
    /** Values that are not close. */
    readonly count: number,
    /** Of how many. */
    readonly size: number,
    /** Position of the first of them. */
    readonly first: readonly number[],
    /** Largest difference of two numbers that are not close; NaN when none of them are two finite numbers. */
    readonly largest: number,
  ) {
    super(message);
  }
}
