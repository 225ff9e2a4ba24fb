/** The kernel suites of the bench: what they measure, refuse, write and compare, on families of the test. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { kernelSummaries, suiteOf } from '../bench/kernels/names.js';
import type { KernelReport } from '../bench/kernels/report.js';
import { runKernelSuite } from '../bench/kernels/run.js';
import { compare } from '../bench/report/compare.js';
import { toCsv } from '../bench/report/csv.js';
import { families } from '../src/kernels/families.js';
import type { Family } from '../src/kernels/variants.js';
import { bench } from './bench-command.js';
import { doubleFamily, doubleVariant, peakFamilies } from './bench-families.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-bench-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const QUICK = ['--min_time', '0.01'];

/** Runs a suite of these families and returns what it printed. */
async function run(
  own: readonly Family[],
  words: readonly string[],
  all = own,
): Promise<{ status: number; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  const status = await runKernelSuite({ name: 'kernels', families: own, all }, [...QUICK, ...words], {
    out: (text) => (stdout += text),
    note: (text) => (stderr += text),
  });
  return { status, stdout, stderr };
}

const right = () =>
  doubleFamily([
    doubleVariant('plain'),
    doubleVariant('sum', 'ioY[i] = v + v;', { prior: 1 }),
    doubleVariant('elsewhere', 'ioY[i] = 2.0 * v;', { supports: false }),
  ]);

test('rows say what was measured, where, and how well', async () => {
  const { status, stdout } = await run(
    [right()],
    ['--variant', 'all', '--json'],
    [right(), ...peakFamilies()],
  );
  assert.equal(status, 0);
  const report: KernelReport = JSON.parse(stdout);
  assert.equal(report.suite, 'kernels');
  for (const name of ['adapter', 'driver', 'cpu', 'date'] as const) assert.ok(report[name].length > 0, name);
  assert.ok(
    report.cores >= 1 && report.versions.webgpu.length > 0 && report.versions.node === process.versions.node,
  );
  assert.ok(report.peaks!.gflops > 0 && report.peaks!.gbPerSecond > 0);
  assert.deepEqual(
    report.rows.map(({ kernel, variant, chosen }) => [kernel, variant, chosen]),
    [
      ['double 8192 f32', 'plain', false],
      ['double 8192 f32', 'sum', true],
    ],
  );
  for (const row of report.rows) {
    assert.ok(row.checked && row.error <= row.tolerance && row.dtype === 'f32');
    assert.deepEqual([row.form, row.size], [{ y: 'f32' }, { n: 8192 }]);
    assert.ok(row.lowerQuartile <= row.milliseconds && row.milliseconds <= row.upperQuartile);
    assert.equal(row.milliseconds, row.clock === 'host' ? row.hostMilliseconds : row.gpuMilliseconds);
    assert.ok(row.samples >= 4 && row.repeats >= 1 && row.cpuSeconds > 0);
    const near = (got: number, want: number) => assert.ok(Math.abs(got / want - 1) < 1e-9, `${got}, ${want}`);
    near(row.gflops!, 8192 / row.milliseconds / 1e6);
    near(row.gbPerSecond, (8 * 8192) / row.milliseconds / 1e6);
    near(row.gflopPerCpuSecond!, 8192 / row.cpuSeconds / 1e9);
    // One operation on 8 bytes: memory is what limits it.
    assert.equal(row.bound, 'memory');
    near(row.rooflineMilliseconds!, (8 * 8192) / report.peaks!.gbPerSecond / 1e6);
    near(row.roofline!, row.rooflineMilliseconds! / row.milliseconds);
  }
});

test('without a flag the device’s choice is measured, and without peaks there is no roofline', async () => {
  const { stdout } = await run([right()], ['--json']);
  const { rows, peaks }: KernelReport = JSON.parse(stdout);
  assert.deepEqual(
    rows.map(({ variant, roofline }) => [variant, roofline]),
    [['sum', null]],
  );
  assert.equal(peaks, null);
});

test('a run that is told to stop gives the rows it has', async () => {
  const two = right();
  const cases = [...two.cases, { ...two.cases[0]!, name: 'the same again' }];
  let stdout = '';
  const status = await runKernelSuite(
    { name: 'kernels', families: [{ ...two, cases }], all: [two] },
    [...QUICK, '--json'],
    {
      out: (text) => (stdout += text),
      // The second signal is the group's of the command `timeout`.
      note: (text) => {
        if (text.includes('[sum]')) for (let n = 0; n < 2; n++) process.emit('SIGTERM', 'SIGTERM');
      },
    },
  );
  const { rows, complete }: KernelReport = JSON.parse(stdout);
  assert.deepEqual([status, rows.length, complete], [143, 1, false]);
  assert.equal(process.listenerCount('SIGTERM'), 0);
  assert.equal(JSON.parse((await run([two], ['--json'])).stdout).complete, true);
});

test('a wrong kernel is an error and no number', async () => {
  for (const [statement, problem] of [
    [
      'if (v > 1e9) { ioY[i] = v; }',
      /^double 8192 f32 \[bad\] leaves 8192 of 8192 elements unwritten: there is no time/,
    ],
    // Both right where the reference looks.
    ['if (i < 4096u) { ioY[i] = 2.0 * v; }', /\[bad\] leaves 4096 of 8192 elements unwritten/],
    [
      'ioY[i] = select(2.0 * v, 7.0, i == 8000u);',
      /\[bad\] differs by .* from the variant that always works/,
    ],
    [
      'ioY[i] = select(2.0 * v, bitcast<f32>(0x7fc00000u + i), i == 8000u);',
      /\[bad\] makes 1 of 8192 elements no numbers/,
    ],
    ['ioY[i] = 2.5 * v;', /\[bad\] is wrong by .* where 0.000001 is allowed/],
  ] as const) {
    const family = doubleFamily([doubleVariant('plain'), doubleVariant('bad', statement)]);
    await assert.rejects(run([family], ['--variant', 'all', '--json']), {
      name: 'MachineError',
      message: problem,
    });
  }
  // Peaks too.
  const [copy, fma] = peakFamilies();
  const bad = doubleFamily([doubleVariant('plain', 'ioY[i] = v;')], { name: 'fmaPeak' });
  await assert.rejects(run([right()], [], [copy!, bad]), /^MachineError: fmaPeak .*: no roofline without it/);
  assert.ok(fma);
});

test('a flag that leaves nothing says what there is', async () => {
  for (const [words, message] of [
    ['--filter nothing', /^--filter nothing: expected to match one of these, found none: double 8192 f32$/],
    ['--dtype f16', /^--dtype f16: expected to match one of these, found none: double 8192 f32$/],
    ['--variant fast', /^--variant: expected all or one of plain, sum, elsewhere, found "fast"$/],
    ['--variant elsewhere', /^--variant elsewhere: .* supports it in none of the 1 cases that are left$/],
    ['--sizes 8x8', /^--sizes: expected N, found 8x8$/],
    ['--sizes 640,1x9', /^--sizes: expected N, found 1x9$/],
    ['--sizes 12,axb', /^--sizes: expected sizes such as 512x512x512,1728x384x1536, found /],
    ['--sizes 16000000000', /^--sizes: expected sizes such as/],
    ['--filter (', /^--filter: expected a regular expression, found "\("$/],
    ['--min_time 0', /^--min_time: expected a number of seconds from 0\.01 to 3600, found "0"$/],
    ['--json --csv', /^bench: expected one of --json and --csv, found both/],
    ['--max_slowdown 2', /^bench: --max_slowdown has no meaning without --compare/],
    ['--wgsl double --json', /^bench: --json has no meaning with --wgsl/],
    ['--wgsl triple', /^--wgsl: expected one of double, found "triple"$/],
    [
      '--wgsl double --variant fast',
      /^--wgsl double: no source is left on .*; its variants are plain, sum, elsewhere$/,
    ],
    [`--html ${folder}/none/page.html`, /^--html: .*page\.html: cannot write: no such file or folder$/],
  ] as const)
    await assert.rejects(
      // QUICK's --min_time has no meaning with --wgsl either.
      runKernelSuite({ name: 'kernels', families: [right()], all: [] }, words.split(' '), {
        out: () => assert.fail('printed'),
        note: () => {},
      }),
      { name: 'InputError', message },
      words,
    );
});

test('--filter sees kernel, case and variant, and × as x; --sizes makes cases', async () => {
  const other = doubleFamily([doubleVariant('plain')], { name: 'twice' });
  const kernels = async (...words: string[]) => {
    const { rows }: KernelReport = JSON.parse((await run([right(), other], [...words, '--json'])).stdout);
    return rows.map(({ kernel }) => kernel);
  };
  assert.deepEqual(await kernels('--filter', '^TWICE.*plain$'), ['twice 8192 f32']);
  assert.deepEqual(await kernels('--sizes', '640,9', '--filter', 'double 6'), ['double 640 f32']);
  assert.deepEqual(await kernels('--variant', 'sum'), ['double 8192 f32']);
});

test('--wgsl prints the source of each variant that the adapter runs, and measures nothing', async () => {
  let stdout = '';
  const words = ['--wgsl', 'double'];
  const output = { out: (text: string) => (stdout += text), note: () => {} };
  await runKernelSuite({ name: 'kernels', families: [right()], all: [] }, words, output);
  assert.deepEqual(stdout.match(/^\/\/ ==== .*$/gm), [
    '// ==== double [plain] main ====',
    '// ==== double [sum] main ====',
  ]);
  assert.match(stdout, /^\/\/ a test of <b>sum<\/b>\n\/\/ y=f32\n/m);
  assert.ok(stdout.includes('ioY[i] = v + v;'));
});

test('--csv has a column for every field', async () => {
  const { stdout } = await run([right()], ['--csv']);
  const [head, row, ...rest] = stdout.split('\r\n');
  assert.match(head!, /^kernel,family,variant,chosen,dtype,form\.y,size\.n,clock,milliseconds,/);
  assert.match(row!, /^double 8192 f32,double,sum,true,f32,f32,8192,(host|gpu),[\d.e-]+,/);
  assert.deepEqual(rest, ['']);
  assert.equal(toCsv([{ a: 'x,"y"', b: null }, { c: { d: 1 } }]), 'a,b,c.d\r\n"x,""y""",,\r\n,,1\r\n');
});

test('--html is one page that needs nothing else', async () => {
  const file = path.join(folder, 'page.html');
  const all = [right(), ...peakFamilies()];
  await run([right()], ['--variant', 'all', '--html', file], all);
  const page = fs.readFileSync(file, 'utf8');
  assert.doesNotMatch(page, /https?:|url\(|<script|<link|@import|\bsrc=|\bhref="[^#]/);
  assert.equal(page.match(/<div class="bars" /g)!.length, 1);
  assert.equal(page.match(/<i class="s\d" style="width:[\d.]+%">/g)!.length, 2);
  assert.match(page, /<span class="limit" /);
  for (const [, name] of page.matchAll(/href="#([^"]*)"/g)) assert.ok(page.includes(` id="${name}"`), name);
  assert.match(page, /prefers-color-scheme:dark/);
  assert.ok(
    page.includes('a test of &lt;b&gt;plain&lt;/b&gt;') && !page.includes('<b>plain</b></'.concat('span')),
  );
  assert.equal(page.match(/<tr>/g)!.length, 3);
  assert.doesNotMatch(page, /NaN|undefined|Infinity/);
  assert.deepEqual(
    fs.readdirSync(folder).filter((name) => name.includes('tmp')),
    [],
  );
});

test('--compare matches rows by kernel and variant and ends with 3 when one is slower', async () => {
  const old = path.join(folder, 'old.json');
  const { stdout } = await run([right()], ['--json']);
  const report = JSON.parse(stdout);
  const write = (change: object, row: object = {}) =>
    fs.writeFileSync(
      old,
      JSON.stringify({
        ...report,
        rows: [
          { ...report.rows[0], ...row },
          { kernel: 'gone', milliseconds: 1 },
        ],
        ...change,
      }),
    );
  write({}, { milliseconds: 1e9, lowerQuartile: 1e9, upperQuartile: 1e9 });
  const faster = await run([right()], ['--compare', old, '--variant', 'all']);
  assert.equal(faster.status, 0);
  assert.match(faster.stdout, /^double 8192 f32 \[sum\] .* → .* ms +\d+\.\d\d×$/m);
  assert.match(faster.stdout, /^1 rows: geometric mean .*×, 0 slower$/m);
  assert.match(faster.stdout, /^only in the old report: gone$/m);
  assert.match(faster.stdout, /^only in this one: double 8192 f32 \[plain\]$/m);
  assert.doesNotMatch(faster.stdout, /warning/);

  write({ adapter: 'another' }, { milliseconds: 1e-9, lowerQuartile: 1e-9, upperQuartile: 1e-9 });
  const slower = await run([right()], ['--compare', old, '--json']);
  assert.equal(slower.status, 3);
  assert.match(slower.stderr, /^warning: another machine: adapter another → /m);
  assert.match(slower.stderr, / ms +0\.00× {2}slower$/m);
  assert.equal(JSON.parse(slower.stdout).rows.length, 1);

  write({ rows: [{ kernel: 'gone', milliseconds: 1 }] });
  const apart = await run([right()], ['--compare', old]);
  assert.equal(apart.status, 2);
  assert.match(apart.stdout, /^no row is in both reports$/m);

  for (const [change, message] of [
    [{ suite: 'step' }, /^--compare: .*old\.json: expected a report of the suite kernels, found "step"$/],
    [{ rows: 5 }, /expected "rows" to be a list, found 5$/],
    [
      { rows: [{ kernel: 'k', milliseconds: 'x' }] },
      /expected "milliseconds" of row 1 to be a number above 0/,
    ],
    [{ rows: [null] }, /expected "kernel" of row 1 to be a text, found nothing$/],
    [{ driver: 1 }, /expected "driver" to be a text, found 1$/],
  ] as const) {
    write(change);
    await assert.rejects(run([right()], ['--compare', old]), { name: 'InputError', message });
  }
});

test('a row is slower only where the quartiles lie apart', () => {
  const row = (milliseconds: number, lowerQuartile: number, upperQuartile: number) => [
    { key: 'k', milliseconds, lowerQuartile, upperQuartile },
  ];
  const slower = (old: ReturnType<typeof row>, now: ReturnType<typeof row>) =>
    compare(old, now, 1.1).both[0]!.slower;
  assert.equal(slower(row(10, 9, 11), row(12, 11.5, 13)), true);
  assert.equal(slower(row(10, 9, 12), row(12, 11.5, 13)), false);
  assert.equal(slower(row(10, 9, 10.1), row(10.5, 10.2, 13)), false);
  assert.equal(slower(row(10, 9, 11), row(5, 4, 6)), false);
  // Reports without quartiles.
  assert.equal(compare([{ key: 'k', milliseconds: 10 }], row(12, 11, 13), 1.1).both[0]!.slower, true);
});

test('every kernel family belongs to a suite, and every suite has one', () => {
  const members = new Map(families.map(({ name }) => [name, suiteOf(name)]));
  assert.equal(members.size, families.length, 'two families have one name');
  for (const [name, suite] of members) assert.ok(suite !== undefined, `${name} belongs to no suite`);
  assert.equal(members.size, families.length, 'two families have one name');
  const used = new Set(members.values());
  const empty = Object.keys(kernelSummaries).filter((name) => name !== 'kernels' && !used.has(name as never));
  assert.deepEqual(empty, []);
});

test('the suite matmul gives rows of extents and layout', () => {
  const words = ['matmul', '--sizes', '16x24x32', '--dtype', 'f32', '--json', ...QUICK];
  const { status, stdout, stderr } = bench(...words);
  assert.equal(status, 0, stderr);
  const { rows }: KernelReport = JSON.parse(stdout);
  assert.deepEqual(
    rows.map(({ m, n, k, layout, dtype, checked }) => ({ m, n, k, layout, dtype, checked })),
    ['NT', 'NN', 'TN'].map((layout) => ({ m: 16, n: 32, k: 24, layout, dtype: 'f32', checked: true })),
  );
});
