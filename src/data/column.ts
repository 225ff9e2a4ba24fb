/** A growing column of numbers of one format, for what is kept of each of very many rows or texts. */

type Numbers = Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

export class Column<Values extends Numbers = Numbers> {
  /** Of those set or pushed: one more than the last place. */
  length = 0;
  private values: Values;

  constructor(private readonly type: new (length: number) => Values) {
    this.values = new type(16);
  }

  /** Places that were never set hold 0. */
  set(place: number, value: number): void {
    if (place >= this.values.length) {
      const longer = new this.type(Math.max(place + 1, 2 * this.values.length));
      longer.set(this.values);
      this.values = longer;
    }
    this.values[place] = value;
    if (place >= this.length) this.length = place + 1;
  }

  push(value: number): void {
    this.set(this.length, value);
  }

  at(place: number): number {
    return this.values[place]!;
  }

  /** The numbers as they are now; they share memory with the column. */
  toArray(): Values {
    return this.values.subarray(0, this.length) as Values;
  }
}
