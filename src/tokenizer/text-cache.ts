/** Texts that were tokenised before: what was not asked for longest goes first. */

export interface CachedText {
  /** Without special tokens. */
  ids: Uint32Array;
  /** False when only the beginning of the text was tokenised. */
  complete: boolean;
}

/** What an entry takes beside its characters and ids, in their unit of some 3 to 4 bytes. */
const ENTRY = 64;

const sizeOf = (text: string, { ids }: CachedText) => text.length + ids.length + ENTRY;

/** `size`: in characters plus ids, and 64 for each text, so that many short texts are bounded too. */
export class TextCache {
  private readonly entries = new Map<string, CachedText>();
  private used = 0;

  constructor(private readonly size: number) {}

  get(text: string): CachedText | undefined {
    const entry = this.entries.get(text);
    if (entry !== undefined) {
      this.entries.delete(text);
      this.entries.set(text, entry);
    }
    return entry;
  }

  set(text: string, entry: CachedText): void {
    this.delete(text);
    const size = sizeOf(text, entry);
    if (size > this.size / 16) return;
    this.entries.set(text, entry);
    this.used += size;
    while (this.used > this.size) this.delete(this.entries.keys().next().value!);
  }

  private delete(text: string): void {
    const entry = this.entries.get(text);
    if (entry === undefined) return;
    this.entries.delete(text);
    this.used -= sizeOf(text, entry);
  }
}
