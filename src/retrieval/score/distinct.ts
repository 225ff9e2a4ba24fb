/** Numbers for texts that are the same, without the texts: 32 to 64 bytes each. */
import { createHash } from 'node:crypto';

/** Words of a place: 96 bits of the text's hash, and its number plus one. */
const PLACE = 4;

export class DistinctTexts {
  count = 0;
  private places = new Uint32Array(PLACE * 1024);

  /** The number of the text: that which it was given before, or the next one. */
  add(text: string): number {
    if (this.count * 2 * PLACE >= this.places.length) this.grow();
    const digest = createHash('sha256').update(text).digest();
    const hash = [digest.readUInt32LE(0), digest.readUInt32LE(4), digest.readUInt32LE(8)] as const;
    const at = this.find(hash);
    if (this.places[at + 3] === 0) {
      this.places.set(hash, at);
      this.places[at + 3] = ++this.count;
    }
    return this.places[at + 3]! - 1;
  }

  /** Where the hash stands, or the free place where it would. */
  private find(hash: readonly [number, number, number]): number {
    const { places } = this;
    const mask = places.length / PLACE - 1;
    for (let place = hash[0] & mask; ; place = (place + 1) & mask) {
      const at = place * PLACE;
      if (
        places[at + 3] === 0 ||
        (places[at] === hash[0] && places[at + 1] === hash[1] && places[at + 2] === hash[2])
      )
        return at;
    }
  }

  private grow(): void {
    const old = this.places;
    this.places = new Uint32Array(2 * old.length);
    for (let at = 0; at < old.length; at += PLACE)
      if (old[at + 3] !== 0)
        this.places.set(old.subarray(at, at + PLACE), this.find([old[at]!, old[at + 1]!, old[at + 2]!]));
  }
}
