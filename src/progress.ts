/**
 * How far work has come: what is told of it, and signs that it goes on. Signs come from the places where work is done
 * without letting a timer run: bytes are read and written, texts tokenised, kernels compiled, commands handed to a device.
 * Who is to know that this thread is alive (ranks/heartbeat.ts), or shows people what it does (console/reporter.ts),
 * listens; where nobody does, a sign costs next to nothing. Stands below all rooms.
 */

/** What a command may be doing for long. The names are a part of `--progress json`: they stay. */
export const phases = [
  'download',
  'read',
  'load',
  'plan',
  'tune',
  'compile',
  'train',
  'evaluate',
  'save',
  'encode',
  'index',
  'search',
  'score',
  'mine',
  'split',
  'check',
  'install',
  'measure',
] as const;
/** One of `phases`. */
export type Phase = (typeof phases)[number];

/** What is counted. These names stay, too. */
export const units = [
  'bytes',
  'kernels',
  'steps',
  'batches',
  'rows',
  'texts',
  'queries',
  'documents',
  'pairs',
  'probes',
  'packages',
] as const;
/** One of `units`. */
export type Unit = (typeof units)[number];

/** How far a piece of work has come. */
export interface Work {
  /** What is done. */
  readonly phase: Phase;
  /** Of `unit`, those that an earlier process did included. */
  readonly done: number;
  /** Undefined: nobody knows. */
  readonly total?: number | undefined;
  /** What `done` and `total` count. */
  readonly unit: Unit;
  /** That went through the model, since the phase began. */
  readonly tokens?: number | undefined;
  /** Of the device, that are held now. */
  readonly memoryBytes?: number | undefined;
  /** Of the newest training step. */
  readonly loss?: number | undefined;
  /** What is worked on, where there are several: a model, a checkpoint. */
  readonly subject?: string | undefined;
  /** Nothing of this phase follows, though `total` may not be reached or known. */
  readonly ended?: boolean | undefined;
}

type Listener = (work: Work | undefined) => void;

const listeners = new Set<Listener>();

/** A piece of work was done that may be one of many. `work`: where it is known of what. */
export function progress(work?: Work): void {
  for (const listener of listeners) listener(work);
}

/** Calls `listener` with each sign of this thread, until the function that is returned is called. */
export function onProgress(listener: Listener): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}
