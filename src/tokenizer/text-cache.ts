/** Texts that were tokenised before: what was not asked for longest goes first. */

export interface CachedText {
  /** Without special tokens. */
  ids: Uint32Array;
  /** False when only the beginning of the text was tokenised. */
  complete: boolean;
}

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
    const size = text.length + entry.ids.length;
    if (size > this.size / 16) return;
    this.entries.set(text, entry);
    this.used += size;
    while (this.used > this.size) this.delete(this.entries.keys().next().value!);
  }

  private delete(text: string): void {
    const entry = this.entries.get(text);
    if (entry === undefined) return;
    this.entries.delete(text);
    this.used -= text.length + entry.ids.length;
  }
}
