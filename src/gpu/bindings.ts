/**
 * What a kernel, a copy or a transfer may be given: ranges of live buffers of its own device, aligned as the adapter
 * wants, and never one buffer to read and to write. A command that breaks such a rule would make its whole recording
 * invalid, so it is refused before it is recorded.
 */

import { MachineError } from '../errors.js';
import { formatBytes } from '../show.js';
import type { Capabilities } from './capabilities.js';
import type { DeviceFaults } from './faults.js';
import type { BufferPool, PoolBuffer, PoolEntry, RowTexture } from './memory.js';
import type { Version } from './version.js';

/** A range of a pooled buffer as a kernel sees it. */
export interface Binding {
  /** The buffer that the range is of. */
  readonly entry: PoolBuffer;
  /** Bytes from the buffer's first. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
  /** What the numbers are, where it is known, so that a kernel for others can refuse. */
  readonly dtype?: string | undefined;
  /** Counts what is written to the range. */
  readonly version?: Version | undefined;
}

export const entryOf = (binding: Binding | RowTexture): PoolEntry =>
  'entry' in binding ? binding.entry : binding;

/** Tells whoever holds a view of the range that it was written. */
export function countWrite(target: Binding | RowTexture): void {
  if ('entry' in target) target.version?.bump(target.offset, target.offset + target.size);
}

/** What a shader does with a binding. What it writes it reads too, unless its name begins with `out`. */
export interface Access {
  readonly writes: boolean;
  readonly reads: boolean;
}

const known = new Map<string, readonly Access[]>();

/** Of the bindings of a shader, in order. */
export function accessesOf(wgsl: string): readonly Access[] {
  const before = known.get(wgsl);
  if (before) return before;
  const accesses: Access[] = [];
  for (const [, at, access, name] of wgsl.matchAll(
    /@group\(0\)\s*@binding\((\d+)\)\s*var(?:<([^>]*)>)?\s*(\w+)/g,
  )) {
    const writes = access?.includes('read_write') === true;
    accesses[Number(at)] = { writes, reads: !writes || !name!.startsWith('out') };
  }
  known.set(wgsl, accesses);
  return accesses;
}

/** Each check names the command, `what` or `label`. @throws MachineError. */
export class BindingRules {
  constructor(
    private readonly pool: BufferPool,
    private readonly capabilities: Capabilities,
    private readonly faults: DeviceFaults,
  ) {}

  private entry(what: string, entry: PoolEntry): void {
    if (entry.pool !== this.pool) throw new MachineError(`${what}: an operand is on another device`);
    if (!entry.live) throw new MachineError(`${what}: use of memory that was already freed`);
  }

  range(what: string, { entry, offset, size }: Binding): void {
    this.entry(what, entry);
    if (!(offset >= 0 && size >= 0 && offset + size <= entry.size) || offset % 4 !== 0 || size % 4 !== 0)
      throw new MachineError(
        `${what}: bytes ${offset} to ${offset + size} of buffer ${entry.serial}, which has ${entry.size}: whole words of it are expected`,
      );
  }

  binding(label: string, binding: Binding | RowTexture): void {
    if (!('entry' in binding)) {
      this.entry(label, binding);
      return;
    }
    this.range(label, binding);
    const { maxBindingSize, bindingAlignment } = this.capabilities;
    if (binding.size > maxBindingSize)
      throw new MachineError(
        `${label}: a tensor of ${formatBytes(binding.size)} exceeds the ${formatBytes(maxBindingSize)} that this adapter can bind; use smaller batches or lengths`,
      );
    if (binding.size === 0 || binding.offset % bindingAlignment !== 0)
      throw new MachineError(
        `${label}: ${binding.size} bytes at ${binding.offset} cannot be bound: this adapter binds at multiples of ${bindingAlignment}`,
      );
  }

  /** What would make the whole recording invalid, or read what is not there. */
  access(label: string, accesses: readonly Access[], bindings: readonly (Binding | RowTexture)[]): void {
    if (bindings.length !== accesses.length)
      throw new MachineError(`${label}: ${bindings.length} operands for ${accesses.length} bindings`);
    // Called for every dispatch: nothing is allocated here.
    for (let i = 0; i < accesses.length; i++) {
      const entry = entryOf(bindings[i]!);
      const { writes, reads } = accesses[i]!;
      if (reads) this.computed(label, entry);
      if (!writes) continue;
      for (let k = 0; k < accesses.length; k++)
        if (!accesses[k]!.writes && entryOf(bindings[k]!) === entry)
          throw new MachineError(`${label}: an operand that is written and one that is read are one buffer`);
    }
  }

  /** @throws MachineError for memory whose first writer was never run. */
  computed(what: string, entry: PoolEntry): void {
    const why = entry.writtenIn === 0 ? undefined : this.faults.whyMissing(entry.writtenIn);
    if (why !== undefined) throw new MachineError(`${what}: an operand was never computed: ${why}`);
  }
}
