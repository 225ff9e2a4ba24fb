/** Profiles: every dispatch has its times, however many there are; phases and launches nest; the trace parses. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { InputError, MachineError } from '../src/errors.js';
import { AtomicFile } from '../src/files/atomic.js';
import { Gpu, type Profile } from '../src/gpu/gpu.js';
import { Profile as MeasuredProfile, renderProfile, rooflineShare } from '../src/gpu/profile-report.js';
import { writeTrace } from '../src/gpu/trace.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { DEVICE, HOST, readTrace, requireNested, type TraceEvent } from './trace-events.js';

let gpu: Gpu;
let folder: string;
before(async () => {
  gpu = await Gpu.open();
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-profile-'));
});
after(async () => {
  fs.rmSync(folder, { recursive: true });
  await gpu.close();
});

const shader = (label: string) => ({
  label,
  immediateSize: 0,
  wgsl: `// ${label}
@group(0) @binding(0) var<storage, read_write> ioX: array<f32>;
@compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) { ioX[id.x] += 1.0; }`,
});
const [ADD, OTHER] = [shader('add'), shader('other')];
const COPY = {
  ...shader('copy'),
  wgsl: `@group(0) @binding(0) var<storage, read> X: array<f32>;
@group(0) @binding(1) var<storage, read_write> outY: array<f32>;
@compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) { outY[id.x] = X[id.x]; }`,
};
const nothing = new Uint8Array(0);

function traceOf(profile: Profile, name: string): TraceEvent[] {
  const file = path.join(folder, name);
  writeTrace(AtomicFile.create(file), profile, { adapter: 'a "quoted" name', driver: 'd' });
  return readTrace(file);
}

test('a profile of many dispatches has them all, in order, within their launches, and changes no result', async () => {
  const launches = 1300;
  await scope(async () => {
    const x = Tensor.zeros(gpu, [8]);
    const binding = x.binding();
    await x.toArray();
    await gpu.startProfile();
    assert.equal(gpu.profiling, true);
    gpu.phase('launches', () => {
      for (let i = 0; i < launches; i++) {
        gpu.attributed({ kernel: 'adding', variant: 'twice', flops: 16, bytes: 128 }, () => {
          // The launcher knows the bytes of every piece; the launch they belong to has told them.
          gpu.dispatch(ADD, [binding], nothing, [1], { bytes: 64 });
          gpu.attributed({ kernel: 'inner' }, () => gpu.dispatch(OTHER, [binding], nothing, [1]));
          gpu.dispatch(ADD, [binding], nothing, [1]);
        });
        gpu.dispatch(OTHER, [binding], nothing, [1], { variant: 'alone', flops: 8 });
        gpu.dispatch(ADD, [binding], nothing, [1]);
      }
    });
    const values = await gpu.phase('reading', () => x.toArray());
    const profile = await gpu.stopProfile();
    assert.equal(gpu.profiling, false);
    assert.deepEqual(values, new Float32Array(8).fill(5 * launches));
    assert.equal(profile.dispatches.length, 5 * launches);
    assert.equal(profile.untimed, 0);
    let before = 0;
    for (const { begin, end } of profile.dispatches) {
      assert.ok(begin >= before && end >= begin, `${before} ${begin} ${end}`);
      before = end;
    }
    // The two clocks are read some tenths of a millisecond apart.
    assert.ok(before <= profile.nanoseconds + 1e6, `${before} of ${profile.nanoseconds}`);

    const rows = profile.rows();
    const row = (kernel: string, variant?: string) =>
      rows.find((each) => each.kernel === kernel && each.variant === variant)!;
    assert.equal(rows.length, 4);
    const { milliseconds, ...adding } = row('adding', 'twice');
    assert.deepEqual(adding, {
      ...{ kernel: 'adding', variant: 'twice', count: launches, dispatches: 2 * launches },
      ...{ flops: 16 * launches, bytes: 128 * launches },
    });
    assert.ok(milliseconds > 0);
    assert.equal(row('inner').count, launches);
    assert.deepEqual([row('other', 'alone').flops, row('other', 'alone').bytes], [8 * launches, undefined]);
    // Of which nothing was told: what is bound, read and written.
    assert.deepEqual([row('add').dispatches, row('add').bytes], [launches, 64 * launches]);

    const events = traceOf(profile, 'many.json');
    const [host, device] = [HOST, DEVICE].map((lane) => events.filter(({ tid }) => tid === lane)) as [
      TraceEvent[],
      TraceEvent[],
    ];
    assert.equal(device.length, 6 * launches);
    requireNested(events);
    assert.deepEqual(
      host.filter(({ name }) => name !== 'wait').map(({ name }) => name),
      ['launches', 'reading'],
    );
    assert.ok(host.some(({ name }) => name === 'wait'));
    const first = device.slice(0, 6).map(({ name }) => name);
    assert.deepEqual(first, ['adding', 'add', 'other', 'add', 'other', 'add']);
    assert.equal(device[4]!.args['variant'], 'alone');
  });
});

test('phases that end out of order are cut, so that they nest', async () => {
  await gpu.startProfile();
  const outer = gpu.phase('outer', () => new Promise<void>((resolve) => setTimeout(resolve, 2)));
  const inner = gpu.phase('inner', () => new Promise<void>((resolve) => setTimeout(resolve, 10)));
  await Promise.all([outer, inner]);
  assert.throws(
    () =>
      gpu.phase('failing', () => {
        throw new MachineError('no');
      }),
    /^MachineError: no$/,
  );
  const unfinished = gpu.phase('unfinished', () => new Promise<void>((resolve) => setTimeout(resolve, 5)));
  const profile = await gpu.stopProfile();
  await unfinished;
  assert.deepEqual(
    profile.phases.map(({ name }) => name).filter((name) => name !== 'wait'),
    ['outer', 'inner', 'failing', 'unfinished'],
  );
  requireNested(traceOf(profile, 'phases.json'));
});

test('dispatches of a recording that was not run are said to be untimed', async () => {
  await scope(async () => {
    const [x, y] = [Tensor.zeros(gpu, [64]), Tensor.zeros(gpu, [64])];
    await x.toArray();
    await gpu.startProfile();
    gpu.dispatch(ADD, [x.binding()], nothing, [1]);
    gpu.flush();
    // The same buffer to read and to write, which the checks do not see.
    const copy = { ...x.binding(), entry: { ...x.binding().entry } };
    gpu.dispatch(COPY, [copy, x.binding()], nothing, [1]);
    gpu.dispatch(ADD, [y.binding()], nothing, [1]);
    assert.throws(() => gpu.flush(), MachineError);
    gpu.dispatch(ADD, [x.binding()], nothing, [1]);
    const profile = await gpu.stopProfile();
    assert.deepEqual(
      profile.dispatches.map(({ failed }) => failed === true),
      [false, true, true, false],
    );
    assert.equal(profile.untimed, 2);
    assert.equal(profile.rows()[0]!.dispatches, 2);
    const events = traceOf(profile, 'failed.json');
    requireNested(events);
    assert.equal(events.filter(({ tid }) => tid === DEVICE).length, 2);
  });
});

test('one profile at a time, none on a planning device, and none that was not begun', async () => {
  await assert.rejects(gpu.stopProfile(), /^MachineError: no profile is being taken$/);
  await gpu.startProfile();
  await assert.rejects(gpu.startProfile(), /^MachineError: a profile is being taken already$/);
  const profile = await gpu.stopProfile();
  assert.deepEqual(profile.rows(), []);
  const planned = Gpu.plan(gpu);
  await assert.rejects(planned.startProfile(), MachineError);
  await planned.close();
});

test('a trace is whole or not there, and where it cannot be written that is told before', () => {
  const file = AtomicFile.create(path.join(folder, 'aborted.json'));
  file.abort();
  assert.equal(fs.existsSync(path.join(folder, 'aborted.json')), false);
  assert.throws(() => AtomicFile.create(path.join(folder, 'missing', 'x.json')), InputError);
});

test('the table: rates, shares, and the share of the roofline', () => {
  const rows = [
    {
      kernel: 'matmul',
      variant: 'tile64',
      count: 2,
      dispatches: 2,
      milliseconds: 30,
      flops: 3e9,
      bytes: 3e6,
    },
    {
      kernel: 'gelu',
      variant: undefined,
      count: 1,
      dispatches: 4,
      milliseconds: 10,
      flops: undefined,
      bytes: 5e7,
    },
    {
      kernel: 'fill',
      variant: undefined,
      count: 1,
      dispatches: 1,
      milliseconds: 0,
      flops: undefined,
      bytes: undefined,
    },
  ];
  const roofline = { peakFlops: 2e11, copyBandwidth: 1e10 };
  assert.equal(rooflineShare(rows[0]!, roofline), 0.5);
  assert.equal(rooflineShare(rows[1]!, roofline), 0.5);
  assert.equal(rooflineShare(rows[2]!, roofline), undefined);
  assert.equal(
    renderProfile(rows, roofline),
    `kernel  variant  count  dispatches     ms   share  GFLOP/s  GB/s  roofline
matmul  tile64       2           2  30.00  75.0 %    100.0   0.1    50.0 %
gelu                 1           4  10.00  25.0 %            5.0    50.0 %
fill                 1           1   0.00   0.0 %
all                  4           7  40.00`,
  );
});

test('the queue is empty from the end of what was handed over to when more was', () => {
  const dispatch = (begin: number, end: number) => ({
    ...{ label: 'x', work: undefined, span: undefined, begin, end },
  });
  const phases = [
    ...[0, 10, 150, 250, 440].map((begin, n) => ({ name: `step ${n + 1}`, begin, end: begin + 5 })),
    { name: 'collate', begin: 260, end: 265 },
  ];
  const measured = {
    ...{ times: true, nanoseconds: 1000, spans: [], phases },
    dispatches: [dispatch(100, 200), dispatch(210, 300), dispatch(420, 500), dispatch(500, 600)],
    submissions: [
      { time: 90, first: 0, end: 2 },
      // 100 after the GPU had done all that it had; 20 more pass until it begins.
      { time: 400, first: 2, end: 3 },
      // In time.
      { time: 450, first: 3, end: 4 },
    ],
  };
  const profile = new MeasuredProfile(measured);
  assert.deepEqual(profile.emptyQueue(), { nanoseconds: 100, of: 500 });
  assert.deepEqual(
    profile.emptyQueue([
      { begin: 350, end: 390 },
      { begin: 395, end: 900 },
    ]),
    {
      ...{ nanoseconds: 45, of: 40 + 205 },
    },
  );
  // The third and the fourth; the fourth is no longer one once an evaluation follows it.
  const steady = [
    { begin: 150, end: 250 },
    { begin: 250, end: 440 },
  ];
  assert.deepEqual(profile.steadySteps(), steady);
  const evaluated = [...phases, { name: 'evaluate', begin: 300, end: 430 }];
  assert.deepEqual(new MeasuredProfile({ ...measured, phases: evaluated }).steadySteps(), [steady[0]]);
  assert.deepEqual(new MeasuredProfile({ ...measured, phases: phases.slice(0, 3) }).steadySteps(), []);
});
