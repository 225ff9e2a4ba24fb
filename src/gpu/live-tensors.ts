/**
 * Which tensors are alive, and where they were made: for programs that look for what they forgot to free. Kept only when
 * the device was opened with `track`, since looking at the stack takes time for each tensor.
 */

import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatBytes } from '../show.js';

/** A tensor that lives, as a device opened with `track` names it. */
export interface LiveTensor {
  /** As the program set it. */
  readonly label: string | undefined;
  /** Extents of its axes. */
  readonly shape: readonly number[];
  /** The format of its numbers. */
  readonly dtype: string;
  /** Of its elements; a view shows those of another. */
  readonly bytes: number;
  /** `file:line:column` of the code outside of the library that made it; relative to the working directory if below it. */
  readonly place: string;
  /**
   * `tensor`: the first handle to its memory that is still there; `view`: another one to the same memory; `held`: no handle
   * is left, but a graph that was not gone back through, or a gradient's owner, keeps the memory.
   */
  readonly kind: 'tensor' | 'view' | 'held';
}

/** What is known of a handle, looked at when somebody asks. */
export interface TrackedHandle {
  /** As the program set it. */
  readonly label: string | undefined;
  /** Extents of its axes. */
  readonly shape: readonly number[];
  /** The format of its numbers. */
  readonly dtype: string;
  /** Of its elements. */
  readonly bytes: number;
}

interface Memory {
  /** The handle that it was taken for, and where. */
  readonly first: readonly [handle: TrackedHandle, place: string];
  /** Its living handles, and where they were made. */
  readonly handles: Map<TrackedHandle, string>;
}

const factsOf = ({ label, shape, dtype, bytes }: TrackedHandle, place: string): Omit<LiveTensor, 'kind'> => ({
  label,
  shape,
  dtype,
  bytes,
  place,
});

/** The tensors that are alive on a device, and where they were made. */
export class LiveTensors {
  private readonly memories = new Map<object, Memory>();

  /** Notes a handle, the memory it shows, and the line of the caller's code. */
  made(handle: TrackedHandle, memory: object): void {
    const place = callersPlace();
    const known = this.memories.get(memory);
    if (known) known.handles.set(handle, place);
    else this.memories.set(memory, { first: [handle, place], handles: new Map([[handle, place]]) });
  }

  /** Forgets a handle; its memory may live on. */
  disposed(handle: TrackedHandle, memory: object): void {
    this.memories.get(memory)?.handles.delete(handle);
  }

  /** Forgets a memory and its handles. */
  freed(memory: object): void {
    this.memories.delete(memory);
  }

  /** In the order in which their memory was taken. */
  list(): LiveTensor[] {
    return [...this.memories.values()].flatMap(({ first, handles }): LiveTensor[] =>
      handles.size === 0
        ? [{ ...factsOf(...first), kind: 'held' }]
        : [...handles].map(([handle, place], i) => ({
            ...factsOf(handle, place),
            kind: i === 0 ? 'tensor' : 'view',
          })),
    );
  }
}

/** Folder of the library's own code: frames from there are not the caller's. */
const LIBRARY = new URL('..', import.meta.url).href;
const LIBRARY_PATH = fileURLToPath(LIBRARY);
/** Frames that are looked at: a model's forward is some layers deep. */
const DEEPEST = 60;

/** The innermost frame of the stack that is neither the library's nor Node's. */
function callersPlace(): string {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = DEEPEST;
  const { stack = '' } = new Error();
  Error.stackTraceLimit = before;
  const places = stack
    .split('\n')
    .slice(1)
    .flatMap((line) => /(?:\(|at (?:async )?)([^()]+:\d+:\d+)\)?$/.exec(line)?.[1] ?? [])
    .filter((place) => !place.startsWith('node:'));
  const caller = places.find((place) => !place.startsWith(LIBRARY) && !place.startsWith(LIBRARY_PATH));
  return shortPlace(caller ?? places.at(-1) ?? 'an unknown place');
}

function shortPlace(place: string): string {
  const whole = place.startsWith('file:')
    ? place.replace(/^.*(?=:\d+:\d+$)/, (url) => fileURLToPath(url))
    : place;
  const relative = path.relative(process.cwd(), whole);
  return relative.startsWith('..') || path.isAbsolute(relative) ? whole : relative;
}

/** Places that a message names. */
const MOST = 10;

/** One line: how many tensors are alive, and those made at one place together. */
export function reportOf(tensors: readonly LiveTensor[]): string {
  const groups = new Map<string, { first: LiveTensor; count: number; bytes: number }>();
  for (const tensor of tensors) {
    const key = `${tensor.kind} ${tensor.place} [${tensor.shape}] ${tensor.dtype} ${tensor.label}`;
    const group = groups.get(key) ?? { first: tensor, count: 0, bytes: 0 };
    groups.set(key, group);
    group.count++;
    group.bytes += tensor.bytes;
  }
  const told = [...groups.values()].map(({ first, count, bytes }) => {
    const { label, shape, dtype, kind, place } = first;
    const what = { tensor: '', view: ', a view', held: ', held by a graph' }[kind];
    const name = label === undefined ? '' : `"${label}" `;
    return `${count > 1 ? `${count} × ` : ''}${name}[${shape}] ${dtype}${what}, ${formatBytes(bytes)}, made at ${place}`;
  });
  const more = told.length > MOST ? `; and ${told.length - MOST} more` : '';
  return `${tensors.length} tensor${tensors.length === 1 ? ' is' : 's are'} alive: ${told.slice(0, MOST).join('; ')}${more}`;
}
