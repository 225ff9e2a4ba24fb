/**
 * Where encoded texts go: JSON lines, `.npy` files or one safetensors file, f32 or f16. What was written is kept when a run
 * is killed, and is taken up where its last whole window ends (files/partial.ts).
 *
 * Arrays of n texts: `dense` [n, width]; `sparse_ids` [m] i32 and `sparse_weights` [m] with `sparse_offsets` [n + 1] i64;
 * `colbert` [Σ(tokens − 1), width] with `colbert_offsets` [n + 1] i64.
 */

import fs from 'node:fs';
import path from 'node:path';
import { MachineError } from '../../errors.js';
import { PartFile, type Progress } from '../../files/partial.js';
import { writeStandardOutput } from '../../files/standard-output.js';
import { encode, type FileDType, fileDTypeBytes, type HostArray } from '../../tensor/dtype.js';
import { SafetensorsWriter } from '../../weights/safetensors.js';
import type { VectorDType } from '../vectors/files.js';
import { NPY_HEADER_BYTES, npyHeader } from '../vectors/npy.js';
import type { OutputFormat } from './arguments.js';
import type { EncodedTexts, Representation } from './encoded.js';

export type TextId = string | number | undefined;

/** What takes windows, in order. */
export interface EncodedSink {
  write(encoded: EncodedTexts, ids: readonly TextId[]): Promise<void> | void;
}

export interface OutputOptions {
  readonly output: string;
  readonly format: OutputFormat;
  readonly dtype: VectorDType;
  readonly representations: ReadonlySet<Representation>;
}

// ---- JSON ----

/**
 * The line of a text, under FlagEmbedding's names: `dense_vecs`, `lexical_weights`, `colbert_vecs`. Nine digits tell f32
 * numbers apart.
 */
function jsonLine(encoded: EncodedTexts, text: number, id: TextId): string {
  const { dense, denseWidth, sparse, colbert, colbertWidth } = encoded;
  const fields: string[] = [];
  if (id !== undefined) fields.push(`"id":${JSON.stringify(id)}`);
  if (dense)
    fields.push(`"dense_vecs":${jsonNumbers(dense.subarray(text * denseWidth, (text + 1) * denseWidth))}`);
  if (sparse)
    fields.push(
      `"lexical_weights":{${Array.from(sparse[text]!, ([id, weight]) => `"${id}":${jsonNumber(weight)}`).join(',')}}`,
    );
  if (colbert) {
    const values = colbert[text]!;
    const rows: string[] = [];
    for (let at = 0; at < values.length; at += colbertWidth)
      rows.push(jsonNumbers(values.subarray(at, at + colbertWidth)));
    fields.push(`"colbert_vecs":[${rows.join(',')}]`);
  }
  return `{${fields.join(',')}}\n`;
}

/** A JSON list of f32 numbers, as `encode` writes them. */
export const jsonNumbers = (values: Float32Array): string => `[${Array.from(values, jsonNumber).join(',')}]`;
export const jsonNumber = (value: number): string => String(Number(value.toPrecision(9)));

/** Lines on standard output, no faster than they are read. */
export class StandardOutput implements EncodedSink {
  async write(encoded: EncodedTexts, ids: readonly TextId[]): Promise<void> {
    for (let text = 0; text < encoded.count; text++)
      await writeStandardOutput(jsonLine(encoded, text, ids[text]));
  }
}

// ---- files ----

/** One array of the output, written as it comes. */
class ArrayPart {
  private constructor(
    readonly name: string,
    readonly dtype: FileDType,
    /** 0: one extent. */
    readonly width: number,
    readonly part: PartFile,
    private readonly headerBytes: number,
  ) {}

  static open(
    name: string,
    file: string,
    dtype: FileDType,
    width: number,
    headerBytes: number,
    earlier: Progress | undefined,
  ): ArrayPart {
    const part = PartFile.open(file, earlier && bytesOf(earlier, file));
    if (!earlier) part.write(new Uint8Array(headerBytes));
    return new ArrayPart(name, dtype, width, part, headerBytes);
  }

  get elements(): number {
    return (this.part.position - this.headerBytes) / fileDTypeBytes(this.dtype);
  }

  get shape(): number[] {
    return this.width > 0 ? [this.elements / this.width, this.width] : [this.elements];
  }

  write(values: HostArray): void {
    this.part.write(encode(this.dtype, values));
  }

  publishNpy(): void {
    this.part.write(npyHeader(this.dtype, this.shape), 0);
    this.part.publish();
  }
}

function bytesOf({ bytes }: Progress, file: string): number {
  const known = bytes[path.basename(file)];
  if (known === undefined)
    throw new MachineError(
      `${file}: the progress of the earlier run does not know this file; rerun without --resume`,
    );
  return known;
}

/** The arrays and the files that they are written to; of safetensors those are put together at the end. */
function arraysOf(
  { output, format, dtype, representations }: OutputOptions,
  widths: { readonly dense: number; readonly colbert: number },
): [name: string, dtype: FileDType, width: number, file: string][] {
  const specs: [name: string, dtype: FileDType, width: number][] = [];
  if (representations.has('dense')) specs.push(['dense', dtype, widths.dense]);
  if (representations.has('sparse'))
    specs.push(['sparse_ids', 'i32', 0], ['sparse_weights', dtype, 0], ['sparse_offsets', 'i64', 0]);
  if (representations.has('colbert'))
    specs.push(['colbert', dtype, widths.colbert], ['colbert_offsets', 'i64', 0]);
  const alone = format === 'npy' && specs.length === 1;
  return specs.map(([name, type, width]) => {
    const file = alone ? output : besideName(output, `${name}${path.extname(output)}`);
    return [name, type, width, file];
  });
}

/** Every file that has or loses its name at the end. */
export function outputFiles(options: OutputOptions): string[] {
  const { output, format } = options;
  if (format === 'jsonl') return [output];
  const arrays = format === 'npy' ? arraysOf(options, { dense: 0, colbert: 0 }) : [];
  return [output, namesFile(output), ...arrays.map(([, , , file]) => file)];
}

/** Writes to files, which appear at `finish`. */
export class FileOutput implements EncodedSink {
  private readonly arrays: ArrayPart[] = [];
  private json: PartFile | undefined;
  /** Names of the texts, where they have some. */
  private readonly names: PartFile | undefined;
  private named: boolean;

  /** `widths`: of dense and ColBERT vectors. `earlier`: what a run that was killed left. @throws InputError, MachineError. */
  constructor(
    private readonly options: OutputOptions,
    widths: { readonly dense: number; readonly colbert: number },
    earlier: Progress | undefined,
  ) {
    const { output, format } = options;
    this.named = earlier?.state['named'] === true;
    try {
      if (format === 'jsonl') {
        this.json = PartFile.open(output, earlier && bytesOf(earlier, output));
        return;
      }
      for (const [name, type, width, file] of arraysOf(options, widths)) {
        const header = format === 'npy' ? NPY_HEADER_BYTES : 0;
        this.arrays.push(ArrayPart.open(name, file, type, width, header, earlier));
      }
      const names = namesFile(output);
      this.names = PartFile.open(names, earlier && bytesOf(earlier, names));
      if (!earlier)
        for (const array of this.arrays)
          if (array.name.endsWith('_offsets')) array.write(BigInt64Array.of(0n));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get parts(): readonly PartFile[] {
    return [
      ...this.arrays.map(({ part }) => part),
      ...[this.json, this.names].filter((file) => file !== undefined),
    ];
  }

  /** What the next run must know beside the bytes. */
  get state(): { readonly named: boolean } {
    return { named: this.named };
  }

  write(encoded: EncodedTexts, ids: readonly TextId[]): void {
    const { json, names } = this;
    if (json) {
      let lines = '';
      for (let text = 0; text < encoded.count; text++) {
        lines += jsonLine(encoded, text, ids[text]);
        if (lines.length < 1 << 20 && text < encoded.count - 1) continue;
        json.write(Buffer.from(lines));
        lines = '';
      }
      return;
    }
    this.named ||= ids.some((id) => id !== undefined);
    names!.write(Buffer.from(ids.map((id) => `${JSON.stringify(id ?? null)}\n`).join('')));
    const array = (name: string) => this.arrays.find((each) => each.name === name)!;
    if (encoded.dense) array('dense').write(encoded.dense);
    if (encoded.sparse) {
      const counts = encoded.sparse.map(({ size }) => size);
      this.writeOffsets('sparse_offsets', array('sparse_ids').elements, counts);
      array('sparse_ids').write(Int32Array.from(encoded.sparse.flatMap((lexical) => [...lexical.keys()])));
      array('sparse_weights').write(
        Float32Array.from(encoded.sparse.flatMap((lexical) => [...lexical.values()])),
      );
    }
    if (encoded.colbert) {
      const vectors = array('colbert');
      const counts = encoded.colbert.map(({ length }) => length / encoded.colbertWidth);
      this.writeOffsets('colbert_offsets', vectors.elements / encoded.colbertWidth, counts);
      for (const values of encoded.colbert) vectors.write(values);
    }
  }

  /** All files under their names; the names of texts first, what the output is called last. */
  finish(): string[] {
    const { output, format } = this.options;
    const written: string[] = [];
    const publish = (part: PartFile, how = () => part.publish()) => {
      how();
      written.push(part.path);
    };
    if (this.names && this.named) publish(this.names);
    else this.names?.discard();
    // Those of an earlier output would be taken for this one's.
    if (this.names && !this.named) fs.rmSync(this.names.path, { force: true });
    if (this.json) publish(this.json);
    if (format === 'npy') for (const array of this.arrays) publish(array.part, () => array.publishNpy());
    if (format === 'safetensors') {
      this.assemble();
      written.push(output);
      for (const { part } of this.arrays) part.discard();
    }
    return written;
  }

  /** The files stay for a run that takes them up. */
  close(): void {
    for (const part of this.parts) part.close();
  }

  /** Nothing stays. */
  discard(): void {
    for (const part of this.parts) part.discard();
  }

  private assemble(): void {
    const writer = SafetensorsWriter.create(
      this.options.output,
      this.arrays.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
    );
    try {
      for (const { name, part, dtype } of this.arrays)
        for (const piece of part.pieces(0, 1 << 24)) writer.write(name, hostView(dtype, piece));
      writer.finish();
    } catch (error) {
      writer.abort();
      throw error;
    }
  }

  private writeOffsets(name: string, start: number, counts: readonly number[]): void {
    let at = start;
    const ends = counts.map((count) => {
      at += count;
      return BigInt(at);
    });
    this.arrays.find((each) => each.name === name)!.write(BigInt64Array.from(ends));
  }
}

/** `vectors.npy` and `dense.npy`: `vectors.dense.npy`. */
const besideName = (output: string, ending: string): string => {
  const { dir, name } = path.parse(output);
  return path.join(dir, `${name}.${ending}`);
};

/** Where the names of the texts go, a JSON value a line. */
export const namesFile = (output: string): string => besideName(output, 'ids.jsonl');

function hostView(dtype: FileDType, bytes: Uint8Array): HostArray {
  const { buffer, byteOffset, byteLength } = bytes;
  const length = byteLength / fileDTypeBytes(dtype);
  if (dtype === 'f32') return new Float32Array(buffer, byteOffset, length);
  if (dtype === 'i32') return new Int32Array(buffer, byteOffset, length);
  if (dtype === 'i64') return new BigInt64Array(buffer, byteOffset, length);
  return new Uint16Array(buffer, byteOffset, length);
}
