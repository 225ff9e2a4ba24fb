/**
 * Waiting for the GPU without burning a core.
 *
 * While a Dawn promise is pending its Node binding re-arms `setImmediate` continuously and takes most of a
 * core from a software adapter. Sleeping between turns cut the wall time of the same GPU work by a third
 * (docs/spec/dawn-node.md §0.3).
 */
const sleepCell = new Int32Array(new SharedArrayBuffer(4));

/** Resolves or rejects with `promise`, sleeping up to 2 ms between event-loop turns. */
export async function gpuWait<T>(promise: Promise<T>): Promise<T> {
  let settled = false;
  let failure: unknown;
  let value: T | undefined;
  promise.then(
    (result) => {
      value = result;
      settled = true;
    },
    (error) => {
      failure = error ?? new Error('GPU wait failed');
      settled = true;
    },
  );
  let turns = 0;
  let sleepMs = 0.05;
  while (!settled) {
    if (turns++ > 100) {
      Atomics.wait(sleepCell, 0, 0, sleepMs);
      sleepMs = Math.min(2, sleepMs * 1.3);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (failure !== undefined) throw failure;
  return value as T;
}
