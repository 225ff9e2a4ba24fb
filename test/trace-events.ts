/** Reading back the files of src/gpu/trace.ts. */
import assert from 'node:assert/strict';
import fs from 'node:fs';

export interface TraceEvent {
  readonly ph: string;
  readonly tid: number;
  readonly name: string;
  /** Microseconds. */
  readonly ts: number;
  readonly dur: number;
  readonly args: Readonly<Record<string, string | number>>;
}

/** The lanes' numbers. */
export const HOST = 1;
export const DEVICE = 2;

/** The events with a duration. */
export function readTrace(file: string): TraceEvent[] {
  const trace = JSON.parse(fs.readFileSync(file, 'utf8')) as { traceEvents: TraceEvent[] };
  return trace.traceEvents.filter(({ ph }) => ph === 'X');
}

/** Events of a lane must lie apart or within each other. */
export function requireNested(events: readonly TraceEvent[]): void {
  const nanoseconds = (microseconds: number) => Math.round(microseconds * 1e3);
  for (const lane of new Set(events.map(({ tid }) => tid))) {
    const ends: number[] = [];
    for (const { name, ts, dur } of events.filter(({ tid }) => tid === lane)) {
      const [begin, end] = [nanoseconds(ts), nanoseconds(ts + dur)];
      assert.ok(end >= begin, name);
      while (ends.length > 0 && ends.at(-1)! <= begin) ends.pop();
      assert.ok(ends.length === 0 || end <= ends.at(-1)!, `${name} reaches beyond what it began in`);
      ends.push(end);
    }
  }
}
