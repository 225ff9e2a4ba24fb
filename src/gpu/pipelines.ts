/**
 * Compute pipelines by their source, and bind groups by pipeline and operands: both are made once and kept, since
 * making them costs many times what a dispatch does (spec dawn-node §5).
 */
import { MachineError } from '../errors.js';
import { type Access, accessesOf, type Binding } from './bindings.js';
import type { DeviceFaults } from './faults.js';
import type { RowTexture } from './memory.js';

/** A WGSL compute shader; `label` appears in profiles and errors. The source is the identity. */
export interface ShaderSource {
  readonly label: string;
  readonly wgsl: string;
  /** Bytes of `var<immediate>` parameters. */
  readonly immediateSize: number;
}

export interface Pipeline {
  readonly accesses: readonly Access[];
  readonly id: number;
  readonly label: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

interface BindGroup {
  readonly group: GPUBindGroup;
  readonly serials: readonly number[];
}

const MAX_BIND_GROUPS = 8192;

export class Pipelines {
  private readonly pipelines = new Map<string, Pipeline>();
  private readonly bindGroups = new Map<string, BindGroup>();
  /** Keys of the bind groups that a buffer or texture is in, by its serial. */
  private readonly groupKeys = new Map<number, Set<string>>();

  constructor(
    private readonly device: GPUDevice,
    private readonly faults: DeviceFaults,
  ) {}

  /** @throws MachineError with the numbered source where the device refuses it. */
  of(shader: ShaderSource): Pipeline {
    let pipeline = this.pipelines.get(shader.wgsl);
    if (!pipeline) {
      const compute = this.compile(shader);
      pipeline = {
        accesses: accessesOf(shader.wgsl),
        id: this.pipelines.size,
        label: shader.label,
        pipeline: compute,
        layout: compute.getBindGroupLayout(0),
      };
      this.pipelines.set(shader.wgsl, pipeline);
    }
    return pipeline;
  }

  private compile(shader: ShaderSource): GPUComputePipeline {
    try {
      return this.faults.guard(shader.label, () => {
        const module = this.device.createShaderModule({ code: shader.wgsl, label: shader.label });
        return this.device.createComputePipeline({
          label: shader.label,
          layout: 'auto',
          compute: { module, entryPoint: 'main' },
        });
      });
    } catch (error) {
      if (!(error instanceof MachineError)) throw error;
      throw new MachineError(`${error.message}\n${numberLines(shader.wgsl)}`);
    }
  }

  bindGroup(pipeline: Pipeline, bindings: readonly (Binding | RowTexture)[]): GPUBindGroup {
    let key = `${pipeline.id}`;
    for (const item of bindings)
      key += 'entry' in item ? `,${item.entry.serial}:${item.offset}:${item.size}` : `,${item.serial}:`;
    const known = this.bindGroups.get(key);
    if (known) return known.group;
    // Cached groups keep their buffers alive and shapes vary from batch to batch: drop all when too many.
    if (this.bindGroups.size >= MAX_BIND_GROUPS) {
      this.bindGroups.clear();
      this.groupKeys.clear();
    }
    const group = this.faults.guard(pipeline.label, () =>
      this.device.createBindGroup({
        label: pipeline.label,
        layout: pipeline.layout,
        entries: bindings.map((item, binding) => ({
          binding,
          resource:
            'entry' in item ? { buffer: item.entry.buffer, offset: item.offset, size: item.size } : item.view,
        })),
      }),
    );
    const serials = bindings.map((item) => ('entry' in item ? item.entry : item).serial);
    this.bindGroups.set(key, { group, serials });
    for (const serial of serials) {
      const keys = this.groupKeys.get(serial);
      if (keys) keys.add(key);
      else this.groupKeys.set(serial, new Set([key]));
    }
    return group;
  }

  /** Drops the groups that a buffer or texture is in, before it is destroyed. */
  forget(serial: number): void {
    for (const key of this.groupKeys.get(serial) ?? []) {
      for (const other of this.bindGroups.get(key)!.serials)
        if (other !== serial) this.groupKeys.get(other)?.delete(key);
      this.bindGroups.delete(key);
    }
    this.groupKeys.delete(serial);
  }
}

function numberLines(text: string): string {
  return text
    .split('\n')
    .map((line, i) => `${String(i + 1).padStart(4)} ${line}`)
    .join('\n');
}
