/**
 * Lifetimes. Every tensor belongs to the innermost scope in which it was made; when the scope ends, what was
 * neither returned nor kept is freed. Scopes survive `await`, and never mix between concurrent tasks.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { ShapeError } from '../errors.js';
import { show } from '../show.js';

/** Something a scope frees at its end. `owner` is the scope's set while one owns it. */
export interface Disposable {
  /** Undefined for what is kept. */
  owner: Set<Disposable> | undefined;
  /** Frees it. */
  dispose(): void;
}

/** Something random whose state is a counter (`RandomStreams`). */
export interface Counter {
  counter: number;
}

/** Sees what happens in a body that runs without recording and may run again (`checkpoint` in `src/autograd`). */
export interface Rehearsal {
  /** Something is computed from these, whether or not a gradient could be wanted. */
  read(operands: readonly unknown[]): void;
  /** Counters that the body drew from, as they were before. */
  readonly counters: Map<Counter, number>;
  /** An operation did not record itself; the visitor is told what it would have. */
  unrecorded(inputs: readonly unknown[]): void;
}

interface Context {
  /** Undefined: no scope is open, and what is made lives until it is disposed. */
  readonly owned: Set<Disposable> | undefined;
  /** Whether operations record themselves for a gradient. */
  readonly recording: boolean;
  readonly rehearsal: Rehearsal | undefined;
  /** Operations do not record themselves, but will when the body runs again. */
  readonly rehearsing: boolean;
}

const storage = new AsyncLocalStorage<Context>();
const outermost: Context = { owned: undefined, recording: true, rehearsal: undefined, rehearsing: false };

function current(): Context {
  return storage.getStore() ?? outermost;
}

/** Whether operations record themselves on the tape here (see `noGrad`). */
export function isRecording(): boolean {
  return current().recording;
}

/** Whether operations record themselves here, or will when a rehearsed body runs again. */
export function isTaped(): boolean {
  const { recording, rehearsing } = current();
  return recording || rehearsing;
}

/** Registers `item` with the innermost scope. */
export function adopt(item: Disposable): void {
  item.owner = current().owned;
  item.owner?.add(item);
}

/** Takes `item` out of the scope that owns it, so that it outlives it. */
export function disown(item: Disposable): void {
  item.owner?.delete(item);
  item.owner = undefined;
}

/**
 * Runs `body` and frees every tensor made in it, except those in its return value (a tensor, or arrays and
 * plain objects of tensors) and those `keep()` was called on. Works for synchronous and asynchronous bodies.
 */
export function scope<T>(body: () => T): T {
  if (typeof body !== 'function') throw new ShapeError('scope', `needs a function, found ${show(body)}`);
  const parent = current();
  const owned = new Set<Disposable>();
  const finish = (result: unknown) => {
    forEachTensor(result, (item) => {
      if (!owned.delete(item)) return;
      item.owner = parent.owned;
      parent.owned?.add(item);
    });
    for (const item of [...owned]) item.dispose();
    owned.clear();
  };
  const context: Context = { ...parent, owned };
  let result: T;
  try {
    result = storage.run(context, body);
  } catch (error) {
    finish(undefined);
    throw error;
  }
  if (result instanceof Promise) {
    return result.then(
      (value) => {
        finish(value);
        return value;
      },
      (error) => {
        finish(undefined);
        throw error;
      },
    ) as T;
  }
  finish(result);
  return result;
}

/** Runs the synchronous `body`; what was made in it and not freed outlives it. When it throws, nothing of it does. */
export function keepAll<T>(body: () => T): T {
  return scope(() => {
    const result = body();
    for (const item of [...current().owned!]) disown(item);
    return result;
  });
}

/** Runs `body` without recording gradients. */
export function noGrad<T>(body: () => T): T {
  const context = current();
  // What is drawn in here is drawn again when a rehearsed body runs again; what is computed wants no gradient.
  const rehearsal = context.rehearsal && { ...context.rehearsal, unrecorded() {} };
  return storage.run({ ...context, recording: false, rehearsing: false, rehearsal }, body);
}

/** Runs `body` without recording gradients; into `counters` goes what it drew from, each as it was before (`replay`). */
export function noteDraws<T>(counters: Map<Counter, number>, body: () => T): T {
  const rehearsal: Rehearsal = { counters, read() {}, unrecorded() {} };
  return storage.run({ ...current(), recording: false, rehearsing: false, rehearsal }, body);
}

/** Runs the synchronous `body` once more: it draws what it drew when these were noted; afterwards counters are as they are now. */
export function replay<T>(counters: ReadonlyMap<Counter, number>, body: () => T): T {
  const after = new Map([...counters.keys()].map((counter) => [counter, counter.counter]));
  for (const [counter, before] of counters) counter.counter = before;
  try {
    return body();
  } finally {
    for (const [counter, value] of after) counter.counter = value;
  }
}

/** Runs `body` with recording, even inside `noGrad`: for what brings its own graph. */
export function withGrad<T>(body: () => T): T {
  return storage.run({ ...current(), recording: true, rehearsal: undefined, rehearsing: false }, body);
}

/** Runs `body` without recording, watched by `rehearsal`. */
export function rehearse<T>(rehearsal: Rehearsal, body: () => T): T {
  return storage.run({ ...current(), recording: false, rehearsal, rehearsing: true }, body);
}

/** Called by operations that would have recorded themselves. */
export function noteUnrecorded(inputs: readonly unknown[]): void {
  current().rehearsal?.unrecorded(inputs);
}

/** Called before something is computed from these: all operands, those too that no gradient flows to. */
export function noteRead(operands: () => readonly unknown[]): void {
  const { rehearsal } = current();
  // Listed only where somebody looks: every op comes by here.
  if (rehearsal) rehearsal.read(operands());
}

/** Called before a counter moves. */
export function noteDraw(counter: Counter): void {
  const counters = current().rehearsal?.counters;
  if (counters && !counters.has(counter)) counters.set(counter, counter.counter);
}

function forEachTensor(
  value: unknown,
  visit: (item: Disposable) => void,
  seen: Set<object> = new Set(),
): void {
  if (value === null || typeof value !== 'object' || seen.has(value)) return;
  seen.add(value);
  if (typeof (value as Disposable).dispose === 'function') visit(value as Disposable);
  else if (Array.isArray(value)) for (const item of value) forEachTensor(item, visit, seen);
  else if (Object.getPrototypeOf(value) === Object.prototype)
    for (const item of Object.values(value)) forEachTensor(item, visit, seen);
}
