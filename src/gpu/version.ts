/**
 * How often a range of device memory was written. Whoever needs a tensor as it was (the tape, a copy in another
 * format) remembers the count and compares. Views share their tensor's count. Every write to memory goes through
 * `Gpu`, which counts it there (`Binding.version`).
 */
export class Version {
  /** Writes so far that touched the range. */
  current = 0;
  private readonly parts: { version: Version; offset: number; end: number }[] = [];

  private constructor(private readonly whole: Version | undefined) {}

  static start(): Version {
    return new Version(undefined);
  }

  /** A count of its own for bytes [offset, end) of the buffer: a tensor that lies in a larger one with others. */
  part(offset: number, end: number): Version {
    const version = new Version(this);
    this.parts.push({ version, offset, end });
    return version;
  }

  /** Bytes [offset, end) of the buffer were written through this range. */
  bump(offset: number, end: number): void {
    this.current++;
    if (this.whole) this.whole.current++;
    for (const part of this.parts) if (offset < part.end && part.offset < end) part.version.current++;
  }
}
