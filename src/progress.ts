/**
 * Signs that work goes on, from the places where it is done without letting a timer run: bytes are read and written, texts
 * tokenised, kernels compiled, commands handed to a device. Who is to know that this thread is alive listens
 * (train/ranks/heartbeat.ts); where nobody does, a sign costs next to nothing.
 */
const listeners = new Set<() => void>();

/** A piece of work was done that may be one of many. */
export function progress(): void {
  for (const listener of listeners) listener();
}

/** Calls `listener` with each sign of this thread, until the function that is returned is called. */
export function onProgress(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}
