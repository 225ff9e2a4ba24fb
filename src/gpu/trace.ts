/**
 * A profile as a file of trace events, which chrome://tracing and Perfetto show: a lane for the host's phases and one for
 * the GPU's dispatches, those of one launch within an event of their operation.
 * Format: "Trace Event Format", JSON object with complete events (`ph: 'X'`), times in microseconds.
 */
import type { AtomicFile } from '../files/atomic.js';
import type { LaunchSpan, Profile, Work } from './profile-report.js';

const [PROCESS, HOST, GPU_LANE] = [1, 1, 2];
/** Bytes that are put together before they are written. */
const PIECE = 1 << 20;

/** What `process` and lanes are called, and what else is worth keeping with the times. */
export interface TraceDescription {
  readonly adapter: string;
  readonly driver: string;
  readonly [name: string]: string | number;
}

type Args = Readonly<Record<string, string | number>>;

const microseconds = (nanoseconds: number): number => nanoseconds / 1e3;

function workArgs(work: Work | undefined, nanoseconds: number): Args {
  if (!work) return {};
  const { kernel, variant, flops, bytes } = work;
  return {
    ...(kernel === undefined ? {} : { kernel }),
    ...(variant === undefined ? {} : { variant }),
    ...(flops === undefined ? {} : { flops }),
    ...(bytes === undefined ? {} : { bytes }),
    ...(flops === undefined || nanoseconds === 0 ? {} : { 'GFLOP/s': flops / nanoseconds }),
    ...(bytes === undefined || nanoseconds === 0 ? {} : { 'GB/s': bytes / nanoseconds }),
  };
}

/** Every event, in the order of their beginnings within a lane; what contains others comes before them. */
function* traceEvents(profile: Profile, description: TraceDescription): Generator<object> {
  const named = (name: string, tid: number, text: string) => ({
    ...{ ph: 'M', pid: PROCESS, tid, name, args: { name: text } },
  });
  yield named('process_name', HOST, `dawntune on ${description.adapter}`);
  yield named('thread_name', HOST, 'host');
  if (profile.times) yield named('thread_name', GPU_LANE, 'GPU');
  const event = (tid: number, name: string, begin: number, end: number, args: Args = {}) => ({
    ...{ ph: 'X', pid: PROCESS, tid, name, ts: microseconds(begin), dur: microseconds(end - begin), args },
  });
  for (const { name, begin, end } of profile.phases) yield event(HOST, name, begin, end!);
  if (!profile.times) return;
  // A lane shows one thing at a time: where dispatches overlap, the later one is shown from the earlier one's end on.
  const shown = new Float64Array(2 * profile.dispatches.length);
  let before = 0;
  profile.dispatches.forEach(({ begin, end }, i) => {
    shown[2 * i] = Math.max(begin, before);
    before = shown[2 * i + 1] = Math.max(end, shown[2 * i]!);
  });
  const spans = profile.spans.filter(({ first, end }) => end > first + 1);
  let next = 0;
  for (const [i, { label, work, span, failed }] of profile.dispatches.entries()) {
    for (; next < spans.length && spans[next]!.first === i; next++) {
      const { work: launched, end } = spans[next] as LaunchSpan;
      const [from, to] = [shown[2 * i]!, shown[2 * end - 1]!];
      yield event(GPU_LANE, launched.kernel ?? label, from, to, workArgs(launched, to - from));
    }
    if (failed) continue;
    const [from, to] = [shown[2 * i]!, shown[2 * i + 1]!];
    const whose = work ?? (span && span.end - span.first === 1 ? span.work : undefined);
    yield event(GPU_LANE, label, from, to, workArgs(whose, to - from));
  }
}

/** Writes the trace to a file that `AtomicFile.create` opened; the name appears when all is written. */
export function writeTrace(file: AtomicFile, profile: Profile, description: TraceDescription): void {
  const encoder = new TextEncoder();
  let text = `{"displayTimeUnit":"ms","otherData":${JSON.stringify(description)},"traceEvents":[\n`;
  let first = true;
  for (const event of traceEvents(profile, description)) {
    text += `${first ? '' : ',\n'}${JSON.stringify(event)}`;
    first = false;
    if (text.length >= PIECE) {
      file.write(encoder.encode(text));
      text = '';
    }
  }
  file.write(encoder.encode(`${text}\n]}\n`));
  file.commit();
}
