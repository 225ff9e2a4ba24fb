/** A list of token ids that grows: four bytes each, where a text of 50 MB may have as many. */
export class Ids {
  length = 0;
  private values = new Uint32Array(64);

  push(id: number): void {
    if (this.length === this.values.length) {
      const values = new Uint32Array(2 * this.length);
      values.set(this.values);
      this.values = values;
    }
    this.values[this.length++] = id;
  }

  /** Turns the order around from `start` on. */
  reverse(start: number): void {
    this.values.subarray(start, this.length).reverse();
  }

  toArray(): Uint32Array {
    return this.values.slice(0, this.length);
  }
}
