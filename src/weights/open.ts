/** Opens the weights of a model folder: safetensors or PyTorch, in one file or in shards, in the order of `from_pretrained`. */
import fs from 'node:fs';
import path from 'node:path';
import { InputError } from '../errors.js';
import { requireInside } from '../files/inside.js';
import { isJsonObject, readJsonObject } from '../files/json.js';
import { PositionedFile } from '../files/positioned.js';
import { systemReason } from '../files/reason.js';
import { listed, printable, show } from '../show.js';
import { SafetensorsFile } from './safetensors.js';
import type { FloatPiece, StoredBytes, TensorInfo, WeightSource } from './source.js';
import { TorchFile } from './torch-file.js';

type Open = (file: string) => WeightSource;

/** In the order of `from_pretrained`; each by itself, or by an index of shards. */
const candidates: readonly (readonly [file: string, open: Open, isIndex: boolean])[] = [
  ['model.safetensors', (file) => SafetensorsFile.open(file), false],
  ['model.safetensors.index.json', (file) => SafetensorsFile.open(file), true],
  ['pytorch_model.bin', (file) => TorchFile.open(file), false],
  ['pytorch_model.bin.index.json', (file) => TorchFile.open(file), true],
];

/** The names that weights have, in that order, and whether one is an index of others. */
export const WEIGHT_FILES = candidates.map(([file, , isIndex]) => ({ file, isIndex }));

/** An index lists a few megabytes of names for the largest models there are. */
const MAX_INDEX_BYTES = 16 << 20;
/** Open files; far above what models are cut into. */
const MAX_SHARDS = 512;
/** Bytes of a file's name on the usual file systems. */
const MAX_FILE_NAME = 255;

/**
 * The weights of a model folder. The first candidate that is there counts, also when it is damaged, a folder or a
 * link to nothing: another file in its place would be another model.
 * @throws InputError when the folder holds none, naming what was looked for, or when a file is damaged.
 */
export function openWeights(folder: string): WeightSource {
  requireFolder(folder);
  for (const [file, open, isIndex] of candidates) {
    const full = path.join(folder, file);
    if (!PositionedFile.exists(full)) continue;
    requireInside(folder, full);
    return isIndex ? ShardedWeights.open(folder, full, open) : open(full);
  }
  throw new InputError(
    `${printable(folder)}: no weights found (looked for ${candidates.map(([file]) => file).join(', ')})`,
  );
}

function requireFolder(folder: string): void {
  let stat: fs.Stats;
  try {
    stat = fs.statSync(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new InputError(
      `${printable(folder)}: ${code === 'ENOENT' ? 'no such model folder' : `cannot read: ${systemReason(error)}`}`,
    );
  }
  if (!stat.isDirectory())
    throw new InputError(`${printable(folder)}: expected a model folder, found another kind of file`);
}

/** Weights spread over several files, which `*.index.json` lists. */
class ShardedWeights implements WeightSource {
  private constructor(
    private readonly index: string,
    private readonly shardOf: ReadonlyMap<string, WeightSource>,
    private readonly shards: readonly WeightSource[],
  ) {}

  /** Opens all shards, so that one that is missing or lacks a tensor is known before the first step. */
  static open(folder: string, index: string, open: Open): ShardedWeights {
    const { files, totalSize } = readIndex(index);
    const shards = new Map<string, WeightSource>();
    try {
      for (const file of new Set(files.values())) {
        const full = path.join(folder, file);
        requireInside(folder, full);
        shards.set(file, open(full));
      }
      const shardOf = new Map<string, WeightSource>();
      for (const [name, file] of files) {
        const shard = shards.get(file)!;
        if (!shard.has(name))
          throw new InputError(
            `${printable(index)}: tensor ${show(name)}: expected in ${printable(file)}, which does not have it`,
          );
        shardOf.set(name, shard);
      }
      for (const [file, shard] of shards)
        for (const name of shard.names())
          if (files.has(name) && files.get(name) !== file)
            throw new InputError(
              `${printable(index)}: tensor ${show(name)}: expected in ${printable(files.get(name)!)} alone, found in ${printable(file)} too`,
            );
      if (totalSize !== undefined) requireTotal(index, totalSize, shardOf);
      return new ShardedWeights(index, shardOf, [...shards.values()]);
    } catch (error) {
      for (const shard of shards.values()) shard.close();
      throw error;
    }
  }

  names(): string[] {
    return [...this.shardOf.keys()];
  }

  has(name: string): boolean {
    return this.shardOf.has(name);
  }

  info(name: string): TensorInfo {
    return this.shard(name).info(name);
  }

  read(name: string): Float32Array {
    return this.shard(name).read(name);
  }

  stream(name: string, maxElements: number): Iterable<FloatPiece> {
    return this.shard(name).stream(name, maxElements);
  }

  isReadable(name: string): boolean {
    return this.shardOf.get(name)?.isReadable(name) ?? false;
  }

  bytesIn(name: string): StoredBytes {
    return this.shard(name).bytesIn(name);
  }

  describe(): string {
    return this.index;
  }

  close(): void {
    for (const shard of this.shards) shard.close();
  }

  private shard(name: string): WeightSource {
    const shard = this.shardOf.get(name);
    if (!shard)
      throw new InputError(
        `${printable(this.index)}: no tensor ${show(name)} (it lists ${listed(this.names(), 5)})`,
      );
    return shard;
  }
}

/**
 * What the index says the tensors take is what they take: else shards of two saves lie side by side. Writers differ in
 * what a tensor takes that shares its storage (once, or each time; its own elements, or the whole storage), and count a
 * bool as a bit or as a byte.
 */
function requireTotal(index: string, total: number, shardOf: ReadonlyMap<string, WeightSource>): void {
  const storages = new Map<WeightSource, Map<number, { least: number; most: number }>>();
  let each = 0;
  for (const [name, shard] of shardOf) {
    const { of, position, length } = shard.bytesIn(name);
    const bits = shard.isReadable(name) && shard.info(name).dtype === 'bool' ? 8 : 1;
    const seen = storages.get(shard) ?? new Map();
    storages.set(shard, seen);
    const before = seen.get(position) ?? { least: Number.POSITIVE_INFINITY, most: 0 };
    seen.set(position, {
      least: Math.min(before.least, of / bits),
      most: Math.max(before.most, length),
    });
    each += of;
  }
  let least = 0;
  let whole = 0;
  for (const seen of storages.values())
    for (const storage of seen.values()) {
      least += storage.least;
      whole += storage.most;
    }
  const most = Math.max(each, whole);
  if (total < Math.floor(least) || total > most)
    throw new InputError(
      `${printable(index)}: metadata.total_size: expected ${least < most ? `${Math.floor(least)} to ${most}` : most}, ` +
        `the bytes of its tensors in ${listed([...new Set([...shardOf.values()].map((shard) => path.basename(shard.describe())))])}, found ${total}`,
    );
}

/** Names of tensors → names of files beside the index, and the bytes of all of them where it tells. @throws InputError. */
export function readIndex(index: string): { files: Map<string, string>; totalSize: number | undefined } {
  const { weight_map: map, metadata } = readJsonObject(index, { maxBytes: MAX_INDEX_BYTES });
  const fail = (problem: string): never => {
    throw new InputError(`${printable(index)}: ${problem}`);
  };
  const totalSize = isJsonObject(metadata) ? metadata['total_size'] : undefined;
  if (totalSize !== undefined && !(typeof totalSize === 'number' && totalSize >= 0))
    return fail(`metadata.total_size: expected a number of bytes, found ${show(totalSize)}`);
  if (!isJsonObject(map))
    return fail(`expected an object "weight_map" of tensor names to files, found ${show(map)}`);
  const files = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    if (typeof file !== 'string' || !isFileName(file))
      return fail(`tensor ${show(name)}: expected the name of a file beside the index, found ${show(file)}`);
    files.set(name, file);
  }
  const shards = new Set(files.values()).size;
  if (shards === 0) fail('expected a "weight_map" of at least one tensor, found none');
  if (shards > MAX_SHARDS) fail(`expected at most ${MAX_SHARDS} files, found ${shards}`);
  return { files, totalSize };
}

function isFileName(name: string): boolean {
  return (
    name !== '' &&
    !name.startsWith('.') &&
    !/[/\\\0]/.test(name) &&
    name === path.basename(name) &&
    Buffer.byteLength(name) <= MAX_FILE_NAME
  );
}
