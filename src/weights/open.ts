/** Opens the weights of a model folder: safetensors or PyTorch, in one file or in shards, in the order of `from_pretrained`. */
import fs from 'node:fs';
import path from 'node:path';
import { InputError } from '../errors.js';
import { requireInside } from '../files/inside.js';
import { readJsonObject } from '../files/json.js';
import { PositionedFile } from '../files/positioned.js';
import { show } from '../show.js';
import { SafetensorsFile } from './safetensors.js';
import type { TensorInfo, WeightSource } from './source.js';
import { TorchFile } from './torch-file.js';

interface WeightFile {
  readonly file: string;
  readonly open: (file: string) => WeightSource;
}

const openSafetensors = (file: string): WeightSource => SafetensorsFile.open(file);
const openTorch = (file: string): WeightSource => TorchFile.open(file);

const candidates: readonly WeightFile[] = [
  { file: 'model.safetensors', open: openSafetensors },
  {
    file: 'model.safetensors.index.json',
    open: (file) => new ShardedWeights(file, openSafetensors),
  },
  { file: 'pytorch_model.bin', open: openTorch },
  { file: 'pytorch_model.bin.index.json', open: (file) => new ShardedWeights(file, openTorch) },
];

/**
 * The weights of a model folder.
 * @throws InputError when the folder holds none, naming what was looked for, or when a file is damaged.
 */
export function openWeights(folder: string): WeightSource {
  if (!fs.statSync(folder, { throwIfNoEntry: false })?.isDirectory())
    throw new InputError(`${folder}: no such model folder`);
  for (const { file, open } of candidates) {
    const full = path.join(folder, file);
    if (!PositionedFile.exists(full)) continue;
    requireInside(folder, full);
    return open(full);
  }
  throw new InputError(
    `${folder}: no weights found (looked for ${candidates.map((c) => c.file).join(', ')})`,
  );
}

/** Weights spread over several files, which `*.index.json` lists; a shard is opened when first needed. */
class ShardedWeights implements WeightSource {
  private readonly shardOf: Map<string, string>;
  private readonly opened = new Map<string, WeightSource>();

  constructor(
    private readonly index: string,
    private readonly openShard: (file: string) => WeightSource,
  ) {
    this.shardOf = readWeightMap(index);
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

  stream(name: string, maxElements: number): Iterable<{ offset: number; data: Float32Array }> {
    return this.shard(name).stream(name, maxElements);
  }

  describe(): string {
    return this.index;
  }

  close(): void {
    for (const source of this.opened.values()) source.close();
    this.opened.clear();
  }

  private shard(name: string): WeightSource {
    const file = this.shardOf.get(name);
    if (file === undefined)
      throw new InputError(`${this.index}: no tensor ${show(name)} (it lists ${this.shardOf.size})`);
    let source = this.opened.get(file);
    if (!source) {
      const folder = path.dirname(this.index);
      const shard = path.join(folder, file);
      requireInside(folder, shard);
      source = this.openShard(shard);
      this.opened.set(file, source);
    }
    return source;
  }
}

function readWeightMap(index: string): Map<string, string> {
  const map = readJsonObject(index)['weight_map'];
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw new InputError(`${index}: expected an object "weight_map" of tensor names to files`);
  const shardOf = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    if (typeof file !== 'string' || file !== path.basename(file) || file === '' || file.startsWith('.'))
      throw new InputError(
        `${index}: tensor ${show(name)}: expected the name of a file beside the index, found ${show(file)}`,
      );
    shardOf.set(name, file);
  }
  return shardOf;
}
