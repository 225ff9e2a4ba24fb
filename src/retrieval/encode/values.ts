/** The values of batches, from the GPU to where the texts of a window stand, and from one rank to the others. */
import type { FloatDType } from '../../kernels/launch/formats.js';
import { allFinite } from '../../models/encoder-weights.js';
import type { M3Model } from '../../models/m3.js';
import { TokenBatch } from '../../models/token-batch.js';
import { bytesOf, type Communicator } from '../../ranks/communicator.js';
import { noGrad, scope } from '../../tensor/scope.js';
import { notFinite } from '../not-finite.js';
import type { EncodedTexts, Representation } from './encoded.js';
import type { Window } from './windows.js';

/** What is wanted of each batch. */
export interface Wanted {
  readonly representations: ReadonlySet<Representation>;
  /** 0: not wanted. */
  readonly denseWidth: number;
  readonly colbertWidth: number;
  /** No lexical weight is that of one of them. */
  readonly specialIds: ReadonlySet<number>;
}

/** Values of a batch as they are read: [S · denseWidth], [T], [T · colbertWidth]. */
interface BatchValues {
  readonly dense: Float32Array;
  readonly weights: Float32Array;
  readonly colbert: Float32Array;
}

const NONE = new Float32Array();

/** Has the GPU compute a batch; its values are waited for later, while the next one is computed. */
export function startBatch(
  model: M3Model,
  ids: readonly Uint32Array[],
  { representations, denseWidth, colbertWidth }: Wanted,
): () => Promise<BatchValues> {
  const batch = new TokenBatch(model.gpu, ids, model.config);
  try {
    return scope(() =>
      noGrad(() => {
        const alone = representations.size === 1 && representations.has('dense');
        const hidden = alone ? undefined : model.hidden(batch);
        const wanted = hidden
          ? [
              representations.has('dense') && model.dense(hidden, batch, denseWidth),
              representations.has('sparse') && model.sparse(hidden),
              representations.has('colbert') && model.colbert(hidden, colbertWidth),
            ]
          : [model.denseAlone(batch, denseWidth), false as const, false as const];
        const reads = wanted.map((tensor) => (tensor ? tensor.beginRead() : undefined));
        return async () => {
          const values: Float32Array[] = [];
          for (const read of reads) values.push(read ? ((await read.wait()) as Float32Array) : NONE);
          const [dense, weights, colbert] = values as [Float32Array, Float32Array, Float32Array];
          return { dense, weights, colbert };
        };
      }),
    );
  } finally {
    batch.dispose();
  }
}

/** The largest weight of each id of a text, without those of `special` ids and those of 0. ids, weights: [tokens]. */
export function lexicalWeights(
  ids: Uint32Array,
  weights: Float32Array,
  special: ReadonlySet<number>,
): ReadonlyMap<number, number> {
  const lexical = new Map<number, number>();
  for (let t = 0; t < ids.length; t++) {
    const id = ids[t]!;
    const weight = weights[t]!;
    if (!special.has(id) && weight > 0 && weight > (lexical.get(id) ?? 0)) lexical.set(id, weight);
  }
  return lexical;
}

/** A window that is filled batch by batch. */
export class WindowValues {
  private readonly dense: Float32Array;
  private readonly sparse: ReadonlyMap<number, number>[];
  private readonly colbert: Float32Array[];

  constructor(
    private readonly window: Window,
    private readonly wanted: Wanted,
  ) {
    const { length } = window.ids;
    this.dense = new Float32Array(length * wanted.denseWidth);
    this.sparse = new Array(wanted.representations.has('sparse') ? length : 0);
    this.colbert = new Array(wanted.colbertWidth > 0 ? length : 0);
  }

  /**
   * `members`: places in the window of the batch's texts. `textOf`: a text for messages, by its place.
   * @throws MachineError for a value that is not finite: it would spread to whatever is computed from it.
   */
  put(
    members: readonly number[],
    values: BatchValues,
    precision: FloatDType,
    textOf = (place: number) => `text ${this.window.first + place + 1} of the input`,
  ): void {
    const { dense, weights, colbert } = values;
    const { denseWidth, colbertWidth } = this.wanted;
    if (![dense, weights, colbert].every(allFinite)) this.refuse(members, values, precision, textOf);
    let begin = 0;
    members.forEach((text, s) => {
      const ids = this.window.ids[text]!;
      const end = begin + ids.length;
      if (denseWidth > 0)
        this.dense.set(dense.subarray(s * denseWidth, (s + 1) * denseWidth), text * denseWidth);
      if (weights.length > 0)
        this.sparse[text] = lexicalWeights(ids, weights.subarray(begin, end), this.wanted.specialIds);
      if (colbertWidth > 0)
        this.colbert[text] = colbert.subarray((begin + 1) * colbertWidth, end * colbertWidth);
      begin = end;
    });
  }

  /** Names the first text of a batch that has a value which is not finite. */
  private refuse(
    members: readonly number[],
    { dense, weights, colbert }: BatchValues,
    precision: FloatDType,
    textOf: (place: number) => string,
  ): never {
    const { denseWidth, colbertWidth } = this.wanted;
    let first = { place: Number.POSITIVE_INFINITY, value: Number.NaN };
    let begin = 0;
    for (const [s, place] of members.entries()) {
      const end = begin + this.window.ids[place]!.length;
      const own = [
        dense.subarray(s * denseWidth, (s + 1) * denseWidth),
        weights.subarray(begin, end),
        colbert.subarray(begin * colbertWidth, end * colbertWidth),
      ];
      begin = end;
      if (place > first.place || own.every(allFinite)) continue;
      const value = own
        .map((part) => part.find((each) => !Number.isFinite(each)))
        .find((each) => each !== undefined)!;
      first = { place, value };
    }
    throw notFinite(`the values of ${textOf(first.place)} are`, first.value, precision);
  }

  /** What each rank has put, those of `batches` that it owns, is put on all ranks. */
  async share(
    batches: readonly (readonly number[])[],
    owners: readonly number[],
    ranks: Communicator,
  ): Promise<void> {
    const own = this.own(batches.filter((_, b) => owners[b] === ranks.rank));
    const all = await ranks.allGather(bytesOf(own));
    const readers = all.map((bytes) => {
      const buffer = bytes.slice().buffer;
      return { floats: new Float32Array(buffer), words: new Uint32Array(buffer), at: 0 };
    });
    for (const [b, members] of batches.entries()) {
      const reader = readers[owners[b]!]!;
      const take = (count: number) => {
        reader.at += count;
        return reader.floats.subarray(reader.at - count, reader.at);
      };
      for (const text of members) {
        const { denseWidth, colbertWidth } = this.wanted;
        if (denseWidth > 0) this.dense.set(take(denseWidth), text * denseWidth);
        if (this.sparse.length > 0) {
          const count = reader.words[reader.at++]!;
          const words = reader.words.subarray(reader.at, reader.at + count);
          reader.at += count;
          const weights = take(count);
          this.sparse[text] = new Map(Array.from(words, (id, i) => [id, weights[i]!]));
        }
        if (colbertWidth > 0) this.colbert[text] = take((this.window.ids[text]!.length - 1) * colbertWidth);
      }
    }
  }

  done(): EncodedTexts {
    const { window, wanted } = this;
    return {
      first: window.first,
      count: window.ids.length,
      ids: window.ids,
      dense: wanted.denseWidth > 0 ? this.dense : undefined,
      denseWidth: wanted.denseWidth,
      sparse: wanted.representations.has('sparse') ? this.sparse : undefined,
      colbert: wanted.colbertWidth > 0 ? this.colbert : undefined,
      colbertWidth: wanted.colbertWidth,
      resumable: window.last,
    };
  }

  /** Text after text: the dense vector, the number of ids, ids and weights, the token vectors. */
  private own(batches: readonly (readonly number[])[]): Uint32Array {
    const { denseWidth, colbertWidth } = this.wanted;
    let size = 0;
    for (const text of batches.flat()) {
      size += denseWidth;
      if (this.sparse.length > 0) size += 1 + 2 * this.sparse[text]!.size;
      if (colbertWidth > 0) size += this.colbert[text]!.length;
    }
    const words = new Uint32Array(size);
    const floats = new Float32Array(words.buffer);
    let at = 0;
    const add = (values: ArrayLike<number>, to: Uint32Array | Float32Array) => {
      to.set(values, at);
      at += values.length;
    };
    for (const text of batches.flat()) {
      if (denseWidth > 0) add(this.dense.subarray(text * denseWidth, (text + 1) * denseWidth), floats);
      const lexical = this.sparse[text];
      if (lexical) {
        add([lexical.size], words);
        add([...lexical.keys()], words);
        add([...lexical.values()], floats);
      }
      if (colbertWidth > 0) add(this.colbert[text]!, floats);
    }
    return words;
  }
}
