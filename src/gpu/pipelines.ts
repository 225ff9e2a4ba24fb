/**
 * Compute pipelines by their source, and bind groups by pipeline and operands: both are made once and kept, since
 * making them costs many times what a dispatch does (docs/spec/dawn-node.md §5).
 */
import { MachineError } from '../errors.js';
import { progress } from '../progress.js';
import { type Access, accessesOf, type Binding, entryOf } from './bindings.js';
import type { DeviceFaults } from './faults.js';
import { type RowTexture, sizeClass } from './memory.js';

/** A WGSL compute shader; `label` appears in profiles and errors. The source is the identity. */
export interface ShaderSource {
  /** In profiles and errors. */
  readonly label: string;
  /** All of its text, with one entry point `main`. */
  readonly wgsl: string;
  /** Bytes of `var<immediate>` parameters. */
  readonly immediateSize: number;
}

export interface Pipeline {
  readonly label: string;
  readonly accesses: readonly Access[];
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  /** By the hash of their operands. */
  readonly groups: Map<number, BindGroup>;
}

interface BindGroup {
  readonly group: GPUBindGroup;
  readonly pipeline: Pipeline;
  readonly hash: number;
  /** Serial, offset and size of each operand; −1 for those of a texture. */
  readonly ranges: readonly number[];
  /** Another with the same hash. */
  next: BindGroup | undefined;
}

const MAX_BIND_GROUPS = 8192;

type Operand = Binding | RowTexture;

export class Pipelines {
  /** Sources that were met before; most come again and again as the same object. */
  private readonly known = new WeakMap<ShaderSource, Pipeline>();
  private readonly pipelines = new Map<string, Pipeline>();
  private groupCount = 0;
  /** The bind groups that a buffer or texture is in, by its serial. */
  private readonly groupsOf = new Map<number, Set<BindGroup>>();

  constructor(
    private readonly device: GPUDevice,
    private readonly faults: DeviceFaults,
    private readonly maxBindingSize: number,
  ) {}

  /**
   * Bytes that are bound for a range: those of its size class, so that batches of about the same length have the same
   * bind groups. No kernel asks how long a binding is.
   */
  private boundSize({ entry, offset, size }: Binding): number {
    return Math.max(size, Math.min(sizeClass(size), entry.size - offset, this.maxBindingSize));
  }

  /** @throws MachineError with the numbered source where the device refuses it. */
  of(shader: ShaderSource): Pipeline {
    const known = this.known.get(shader);
    if (known) return known;
    let pipeline = this.pipelines.get(shader.wgsl);
    if (!pipeline) {
      const compute = this.compile(shader);
      pipeline = {
        label: shader.label,
        accesses: accessesOf(shader.wgsl),
        pipeline: compute,
        layout: compute.getBindGroupLayout(0),
        groups: new Map(),
      };
      this.pipelines.set(shader.wgsl, pipeline);
    }
    this.known.set(shader, pipeline);
    return pipeline;
  }

  private compile(shader: ShaderSource): GPUComputePipeline {
    try {
      return this.faults.guard(shader.label, () => {
        const module = this.device.createShaderModule({ code: shader.wgsl, label: shader.label });
        const pipeline = this.device.createComputePipeline({
          label: shader.label,
          layout: 'auto',
          compute: { module, entryPoint: 'main' },
        });
        progress({ phase: 'compile', done: this.pipelines.size + 1, unit: 'kernels' });
        return pipeline;
      });
    } catch (error) {
      if (!(error instanceof MachineError)) throw error;
      throw new MachineError(`${error.message}\n${numberLines(shader.wgsl)}`);
    }
  }

  /** The group of a pipeline with these operands. Looking a known one up allocates nothing. */
  bindGroup(pipeline: Pipeline, operands: readonly Operand[]): GPUBindGroup {
    let hash = 0;
    for (let i = 0; i < operands.length; i++) {
      const item = operands[i]!;
      if ('entry' in item)
        hash =
          Math.imul(Math.imul(Math.imul(hash, 31) + item.entry.serial, 31) + item.offset, 31) +
          this.boundSize(item);
      else hash = Math.imul(hash, 31) + item.serial;
    }
    hash |= 0;
    let known = pipeline.groups.get(hash);
    while (known && !this.holds(known.ranges, operands)) known = known.next;
    return known ? known.group : this.makeGroup(pipeline, operands, hash);
  }

  private holds(ranges: readonly number[], operands: readonly Operand[]): boolean {
    if (ranges.length !== 3 * operands.length) return false;
    for (let i = 0; i < operands.length; i++) {
      const item = operands[i]!;
      if ('entry' in item) {
        if (
          ranges[3 * i] !== item.entry.serial ||
          ranges[3 * i + 1] !== item.offset ||
          ranges[3 * i + 2] !== this.boundSize(item)
        )
          return false;
      } else if (ranges[3 * i] !== item.serial || ranges[3 * i + 1] !== -1) return false;
    }
    return true;
  }

  private makeGroup(pipeline: Pipeline, operands: readonly Operand[], hash: number): GPUBindGroup {
    // Cached groups keep their buffers alive and shapes vary from batch to batch: drop all when too many.
    if (this.groupCount >= MAX_BIND_GROUPS) {
      for (const each of this.pipelines.values()) each.groups.clear();
      this.groupsOf.clear();
      this.groupCount = 0;
    }
    const group = this.faults.guard(pipeline.label, () =>
      this.device.createBindGroup({
        label: pipeline.label,
        layout: pipeline.layout,
        entries: operands.map((item, binding) => ({
          binding,
          resource:
            'entry' in item
              ? { buffer: item.entry.buffer, offset: item.offset, size: this.boundSize(item) }
              : item.view,
        })),
      }),
    );
    const ranges = operands.flatMap((item) =>
      'entry' in item ? [item.entry.serial, item.offset, this.boundSize(item)] : [item.serial, -1, -1],
    );
    const made: BindGroup = { group, pipeline, hash, ranges, next: pipeline.groups.get(hash) };
    pipeline.groups.set(hash, made);
    this.groupCount++;
    for (const item of operands) {
      const { serial } = entryOf(item);
      const groups = this.groupsOf.get(serial);
      if (groups) groups.add(made);
      else this.groupsOf.set(serial, new Set([made]));
    }
    return group;
  }

  /** Drops the groups that a buffer or texture is in, before it is destroyed. */
  forget(serial: number): void {
    for (const group of this.groupsOf.get(serial) ?? []) {
      for (let i = 0; i < group.ranges.length; i += 3)
        if (group.ranges[i] !== serial) this.groupsOf.get(group.ranges[i]!)?.delete(group);
      unlink(group);
      this.groupCount--;
    }
    this.groupsOf.delete(serial);
  }
}

/** Takes a group out of its pipeline's list. */
function unlink(group: BindGroup): void {
  const { groups } = group.pipeline;
  let each = groups.get(group.hash);
  if (each === group) {
    if (group.next) groups.set(group.hash, group.next);
    else groups.delete(group.hash);
    return;
  }
  while (each && each.next !== group) each = each.next;
  if (each) each.next = group.next;
}

function numberLines(text: string): string {
  return text
    .split('\n')
    .map((line, i) => `${String(i + 1).padStart(4)} ${line}`)
    .join('\n');
}
