/**
 * The two sides of parity: a folder of goldens, with what stands in it, and the engine's device; and the list of what was
 * found when figures of both were held against each other. What is computed for each golden stands in files of its own.
 */
import path from 'node:path';
import { InputError } from '../errors.js';
import { readJson } from '../files/json.js';
import { PositionedFile } from '../files/positioned.js';
import type { Gpu } from '../gpu/gpu.js';
import { M3Model } from '../models/m3.js';
import type { M3Options } from '../models/m3-parameters.js';
import type { Pooling } from '../models/token-batch.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import { SafetensorsFile } from '../weights/safetensors.js';
import type { DeliberateError } from './arguments.js';
import { requireGoldenForm } from './forms.js';
import { BOUNDS, cosineOf, HALF_BOUNDS, relativeError } from './measures.js';
import type { ParityCheck } from './report.js';

interface Settings {
  pooling: Pooling;
  colbert_dim: number;
  normalize_embeddings: boolean;
  temperature: number;
  pad_to_multiple_of: number | null;
}

export interface ComparisonOptions {
  readonly deliberateError?: DeliberateError | undefined;
  /** Compute in mixed precision, with the looser bounds of that. */
  readonly fp16?: boolean | undefined;
}

export class Comparison {
  /** In the order in which they were made. */
  readonly checks: ParityCheck[] = [];
  readonly settings: Settings;
  readonly tokenizer: Tokenizer;
  readonly mistake: DeliberateError | undefined;
  readonly half: boolean;
  readonly bounds: Record<keyof typeof BOUNDS, number>;
  private readonly modelFolder: string;

  constructor(
    readonly gpu: Gpu,
    readonly folder: string,
    { deliberateError, fp16 = false }: ComparisonOptions,
  ) {
    this.mistake = deliberateError;
    this.half = fp16;
    this.bounds = this.half ? HALF_BOUNDS : BOUNDS;
    this.settings = this.json('settings.json');
    this.modelFolder = path.join(folder, 'model');
    this.tokenizer = Tokenizer.load(this.modelFolder);
  }

  load(options: M3Options = {}): M3Model {
    return M3Model.load(this.gpu, this.modelFolder, {
      pooling: this.settings.pooling,
      normalize: this.settings.normalize_embeddings,
      colbertDim: this.settings.colbert_dim,
      precision: this.half ? 'f16' : 'f32',
      ...(this.mistake === 'tanh-gelu' ? { activation: 'geluTanh' as const } : {}),
      ...options,
    });
  }

  /** Relative L2 in float32; in mixed precision the direction. */
  checkVector(
    section: string,
    name: string,
    got: Float32Array,
    want: Float32Array,
    relative: number,
    cosine: number,
  ): void {
    if (this.half) this.check(section, name, 1 - cosineOf(got, want), cosine);
    else this.check(section, name, relativeError(got, want), relative);
  }

  checkRelative(section: string, name: string, got: number, want: number, bound: number): void {
    if (want === 0) this.check(section, `${name} (absolute)`, Math.abs(got), this.bounds.lossZero);
    else this.check(section, name, Math.abs(got - want) / Math.abs(want), bound);
  }

  /** Notes one figure, which holds where it is no larger than its bound. */
  check(section: string, name: string, measured: number, bound: number): void {
    this.checks.push({ section, name, measured, bound, ok: measured <= bound });
  }

  json<T>(name: string): T {
    const file = path.join(this.folder, name);
    if (!PositionedFile.exists(file))
      throw new InputError(`${this.folder}: expected a folder of goldens, found no ${name} in it`);
    const value = readJson(file);
    requireGoldenForm(value, name, file);
    return value as T;
  }

  open(name: string): SafetensorsFile {
    return SafetensorsFile.open(path.join(this.folder, name));
  }
}
