/**
 * Distinct texts, numbered in the order in which they first come: what negatives are mined from. Texts lie in memory up to
 * a bound and beyond it in a temporary file, so that a pool may be larger than memory; what stays is some 100 bytes a text.
 */
import { createHash } from 'node:crypto';
import { NamelessFile } from '../../files/nameless-file.js';

export interface PoolOptions {
  /** Bytes of text that stay in memory. Default 256 MiB. */
  readonly memory?: number;
  /** Where the file goes. Default: the system's folder for temporary files. */
  readonly folder?: string | undefined;
}

/** Dispose when done. */
export class TextPool {
  /** By 128 bits of SHA-256 of its UTF-8. */
  private readonly places = new Map<string, number>();
  private starts = new Float64Array(1024);
  private memory: Buffer = Buffer.alloc(0);
  private file: NamelessFile | undefined;
  private readonly most: number;
  private readonly folder: string | undefined;

  constructor({ memory = 256 << 20, folder }: PoolOptions = {}) {
    this.most = memory;
    this.folder = folder;
  }

  get count(): number {
    return this.places.size;
  }

  /** Whether it has outgrown memory. */
  get onDisk(): boolean {
    return this.file !== undefined;
  }

  /** The text's number, which it is given when it was not there. @throws MachineError (disk full …). */
  add(text: string): number {
    const bytes = Buffer.from(text);
    const key = keyOf(bytes);
    const known = this.places.get(key);
    if (known !== undefined) return known;
    const place = this.places.size;
    const start = this.starts[place]!;
    this.keep(bytes, start);
    this.places.set(key, place);
    if (place + 2 > this.starts.length) {
      const longer = new Float64Array(2 * this.starts.length);
      longer.set(this.starts);
      this.starts = longer;
    }
    this.starts[place + 1] = start + bytes.length;
    return place;
  }

  /** Undefined for a text that is not there. */
  placeOf(text: string): number | undefined {
    return this.places.get(keyOf(Buffer.from(text)));
  }

  /** @throws RangeError when there is no such text. */
  text(place: number): string {
    if (!(Number.isInteger(place) && place >= 0 && place < this.count))
      throw new RangeError(`there is no text ${place} among ${this.count}`);
    const start = this.starts[place]!;
    const end = this.starts[place + 1]!;
    if (!this.file) return this.memory.toString('utf8', start, end);
    const bytes = Buffer.allocUnsafe(end - start);
    this.file.read(bytes, start);
    return bytes.toString('utf8');
  }

  /** All texts in their order. */
  *texts(): Generator<string, void, undefined> {
    for (let place = 0; place < this.count; place++) yield this.text(place);
  }

  dispose(): void {
    this.file?.close();
    this.memory = Buffer.alloc(0);
    this.places.clear();
  }

  private keep(bytes: Buffer, start: number): void {
    const end = start + bytes.length;
    if (!this.file && end > this.most) {
      this.file = NamelessFile.create(this.folder);
      this.file.write(this.memory.subarray(0, start), 0);
      this.memory = Buffer.alloc(0);
    }
    if (this.file) {
      this.file.write(bytes, start);
      return;
    }
    if (end > this.memory.length) {
      const longer = Buffer.allocUnsafe(Math.max(end, Math.min(this.most, 2 * this.memory.length)));
      this.memory.copy(longer, 0, 0, start);
      this.memory = longer;
    }
    bytes.copy(this.memory, start);
  }
}

const keyOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('base64').slice(0, 22);
