/**
 * Dawn's instances: made here, kept alive here, and asked for adapters without the lines that Dawn then always prints.
 * Which adapter is wanted is adapter.ts's business.
 */
import { fstatSync, readSync } from 'node:fs';
import koffi from 'koffi';
import { create } from 'webgpu';

// If the object that create() returned is collected while its device works, Dawn crashes: keep all of them.
const instances: GPU[] = [];

export function instanceOf(flags: string[]): GPU {
  const instance = create(flags);
  instances.push(instance);
  return instance;
}

/**
 * The first adapter that the instance's flags allow, discrete before integrated before software. The environment
 * (drivers, layers that select devices) is read at an instance's first request. Rejects where none has the name.
 */
export const requestAdapter = (instance: GPU): Promise<GPUAdapter | null> =>
  withoutChatter(() => instance.requestAdapter({ powerPreference: 'high-performance' }));

// ---- Dawn's chatter ------------------------------------------------------------------------------------------

/** Lines, with the source positions below them, that Dawn writes on every enumeration or that our own errors repeat. */
const CHATTER =
  /^Warning: (?:\w+ artificially reduced|Couldn't load Vulkan|vkCreateInstance).*(?:\n {4}at .*)*(?:\n(?=\n|$))?\n?/gm;

const MFD_CLOEXEC = 1;

/**
 * Runs a call during which Dawn enumerates adapters, without what it then always writes to standard error
 * ("artificially reduced …" for lavapipe). Anything else written meanwhile still appears, afterwards.
 *
 * Dawn writes to the file descriptor itself and has no switch for it, so the descriptor is redirected for the
 * synchronous part of the call, in which enumeration happens: by one thread at a time, since all share the descriptor.
 */
export function withoutChatter<T>(call: () => T): T {
  if (process.platform !== 'linux') return call();
  return oneAtATime(() => {
    const libc = koffi.load(null);
    const dup = libc.func('int dup(int fd)');
    const dup2 = libc.func('int dup2(int from, int to)');
    // Node warns of descriptors that a worker closes through `fs` and has not opened so.
    const close = libc.func('int close(int fd)');
    // A file in memory: there need be no folder for temporary ones, and none is left behind.
    let file: number;
    try {
      file = libc.func('int memfd_create(const char *name, unsigned int flags)')(
        'dawntune-stderr',
        MFD_CLOEXEC,
      );
    } catch {
      return call();
    }
    if (file < 0) return call();
    const original = dup(2);
    dup2(file, 2);
    try {
      return call();
    } finally {
      dup2(original, 2);
      close(original);
      const written = Buffer.alloc(fstatSync(file).size);
      readSync(file, written, 0, written.length, 0);
      close(file);
      const rest = written.toString().replace(CHATTER, '');
      if (rest.trim()) process.stderr.write(rest);
    }
  });
}

/**
 * Remembers standard error as it is now. What this returns puts it back, whatever a thread has redirected meanwhile: for
 * the last words of a process that does not wait for its threads, of which one may hang inside a driver.
 */
export function keepStandardError(): () => void {
  if (process.platform !== 'linux') return () => {};
  const libc = koffi.load(null);
  const own = libc.func('int dup(int fd)')(2);
  const dup2 = libc.func('int dup2(int from, int to)');
  return () => void dup2(own, 2);
}

/**
 * Runs a call that redirects standard error, one thread at a time. The lock is that of C's standard input, which nobody
 * here reads: it is one that all threads know by name.
 */
function oneAtATime<T>(call: () => T): T {
  let lock: (() => void) | undefined;
  let unlock = () => {};
  try {
    const libc = koffi.load(null);
    const stream = BigInt(koffi.decode(libc.symbol('stdin'), 'uint64_t'));
    const take = libc.func('void flockfile(void *stream)');
    const release = libc.func('void funlockfile(void *stream)');
    lock = () => take(stream);
    unlock = () => release(stream);
  } catch {
    // Where there is no such lock, threads may take each other's redirection for the original.
  }
  lock?.();
  try {
    return call();
  } finally {
    unlock();
  }
}
