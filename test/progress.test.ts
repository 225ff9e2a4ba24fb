/** Progress on standard error: what stands on a terminal, in a file, and for programs; rates and the time left. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { commands } from '../src/cli/commands.js';
import { cutTo, widthOf } from '../src/console/columns.js';
import { Display, type DisplayOptions } from '../src/console/display.js';
import { Pace } from '../src/console/pace.js';
import { duration, progressLine } from '../src/console/progress-line.js';
import { consoleReporter } from '../src/console/reporter.js';
import { progressFlag } from '../src/flags.js';
import { phases, progress, units, type Work } from '../src/progress.js';
import { checkTexts } from '../src/retrieval/encode/input.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { finetune } from '../src/train/trainer.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';

/** Takes away what stands from the cursor on. */
const ERASE = '\x1b[J';

/** A stream that keeps what is written, with a clock that tests turn. */
class Screen {
  text = '';
  now = 0;
  columns = 80;
  isTTY = true;
  writable = true;
  writableLength = 0;
  private readonly listeners = new Map<string, Set<() => void>>();

  write(text: string): void {
    this.text += text;
  }

  on(event: string, listener: () => void): void {
    const all = this.listeners.get(event) ?? new Set();
    this.listeners.set(event, all.add(listener));
  }

  off(event: string, listener: () => void): void {
    this.listeners.get(event)?.delete(listener);
  }

  emit(event: string): void {
    for (const listener of this.listeners.get(event) ?? []) listener();
  }

  heard(event: string): number {
    return this.listeners.get(event)?.size ?? 0;
  }

  display(options: DisplayOptions = {}): Display {
    const environment = { TERM: 'xterm', LANG: 'C.UTF-8' };
    return new Display({
      ...{ stream: this, clock: () => this.now, environment, platform: 'linux', outputIsTerminal: true },
      ...options,
    });
  }

  /** What was written since the last time. */
  take(): string {
    const { text } = this;
    this.text = '';
    return text;
  }

  /** Lines as a terminal shows them at the end: what `\r` goes back over and `ESC[J` takes away is gone. */
  shown(): string[] {
    const lines = [''];
    let at = 0;
    for (const [, erased, char] of this.text
      .replaceAll(ERASE, '\u{f0000}')
      .matchAll(/(\u{f0000})|([\s\S])/gu)) {
      const line = lines.at(-1)!;
      if (erased) lines[lines.length - 1] = [...line].slice(0, at).join('');
      else if (char === '\r') at = 0;
      else if (char === '\n') {
        lines.push('');
        at = 0;
      } else {
        const chars = [...line];
        chars[at++] = char!;
        lines[lines.length - 1] = chars.join('');
      }
    }
    return lines.map((line) => line.trimEnd());
  }
}

const step = (done: number, more: Partial<Work> = {}): Work => ({
  ...{ phase: 'train', done, total: 100, unit: 'steps', loss: 0.5, tokens: 1000 * done, memoryBytes: 2.5e9 },
  ...more,
});

const records = (screen: Screen) =>
  screen
    .take()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test('columns: wide characters take two, marks none; a cut text has at most so many', () => {
  const widths: [string, number][] = [
    ['plain', 5],
    ['日本語', 6],
    ['é', 1],
    ['e\u0301', 1],
    ['👩‍👩‍👧', 2],
    ['☃️', 2],
    ['한국', 4],
    ['Ｆ', 2],
    ['█░ · …', 6],
    ['', 0],
  ];
  for (const [text, width] of widths) assert.equal(widthOf(text), width, text);
  for (const [text] of widths)
    for (let columns = 0; columns < 8; columns++) {
      const cut = cutTo(text, columns);
      assert.ok(widthOf(cut) <= columns, `${text} in ${columns}: ${cut}`);
      if (widthOf(text) <= columns) assert.equal(cut, text);
    }
  assert.equal(cutTo('日本語', 5), '日本…');
});

test('durations', () => {
  assert.deepEqual([0, 59.6, 61, 3723, 90061].map(duration), [
    '0:00',
    '1:00',
    '1:01',
    '1:02:03',
    '1 d 01:01',
  ]);
});

test('the pace is that of late; a piece that took far longer than the others, and pauses, do not count as they are', () => {
  const pace = new Pace(0, 0);
  assert.equal(pace.rate, undefined);
  assert.equal(pace.secondsLeft(0, 10), undefined);
  for (let n = 1; n <= 10; n++) pace.reached(2 * n, n, 100 * n);
  assert.equal(pace.rate, 0.5);
  assert.equal(pace.tokensPerSecond, 50);
  assert.equal(pace.secondsLeft(20, 5), 10);
  // A second into the next one there is a second less, and never less than what the others take.
  assert.equal(pace.secondsLeft(21, 5), 9);
  assert.equal(pace.secondsLeft(29, 5), 8);
  pace.pause(21);
  pace.resume(521);
  pace.reached(522, 11, 1100);
  assert.equal(pace.rate, 0.5);
  // The machine slept for an hour: five usual steps.
  pace.reached(4122, 12, 1200);
  assert.ok(Math.abs(pace.rate! - 12 / (22 + 10)) < 1e-9, `${pace.rate}`);
  // Kernels were compiled in it.
  pace.skip(5000, 13, 1300);
  pace.reached(5002, 14, 1400);
  assert.ok(Math.abs(pace.rate! - 13 / 34) < 1e-9);
  // What is quick is measured in longer pieces.
  const quick = new Pace(0, 0);
  for (let n = 1; n <= 1000; n++) quick.reached(n / 1000, n);
  assert.ok(Math.abs(quick.rate! - 1000) < 1, `${quick.rate}`);
});

test('a line keeps what matters most, and is never wider than the terminal', () => {
  const pace = new Pace(0, 0);
  pace.reached(10, 10, 10_000);
  const at = (columns: number, work = step(10)) => progressLine({ work, pace, began: 0, now: 10 }, columns);
  for (const work of [
    step(10),
    step(10, { subject: '訓練データ'.repeat(9) }),
    step(100, { total: undefined }),
  ])
    for (let columns = 1; columns <= 240; columns++) {
      const line = at(columns, work);
      assert.ok(widthOf(line) <= columns, `${columns}: ${line}`);
    }
  assert.equal(at(39), 'training 10/100 steps · 10% · 1:30 left');
  assert.equal(at(54), 'training 10/100 steps · 10% · loss 0.5000 · 1:30 left');
  assert.equal(at(79), 'training 10/100 steps █░░░░░░░░░░░░ 10% · loss 0.5000 · 1 steps/s · 1:30 left');
  assert.equal(
    at(200),
    'training 10/100 steps ███░░░░░░░░░░░░░░░░░░░░░░░░░░░ 10% · loss 0.5000 · 1 steps/s · 1k tokens/s · 2.50 GB held · 0:10 · 1:30 left',
  );
  const none = new Pace(0, 0);
  assert.equal(
    progressLine(
      { work: { phase: 'mine', done: 1, total: 2, unit: 'rows' }, pace: none, began: 0, now: 9 },
      40,
    ),
    'mining 1/2 rows █████░░░░░░ 50% · 0:09',
  );
  const slow = new Pace(0, 0);
  slow.reached(40, 2);
  assert.match(
    progressLine({ work: step(2), pace: slow, began: 0, now: 40 }),
    / 20 s a step · .* 32:40 left$/,
  );
});

test('a bar: one line that is drawn over, with notices and log lines above it', () => {
  const screen = new Screen();
  const display = screen.display();
  assert.equal(display.mode, 'bar');
  display.line('begins');
  assert.equal(screen.take(), 'begins\n');
  display.at(step(0));
  assert.match(screen.text, /^training 0\/100 steps /);
  assert.ok(screen.text.endsWith(`${ERASE}\r`));
  screen.now = 1;
  display.at(step(1));
  display.line('a notice');
  display.output(() => screen.write('{"loss":1}\n'));
  const shown = screen.shown();
  assert.deepEqual(shown.slice(0, 2), ['a notice', '{"loss":1}']);
  assert.match(shown[2]!, /^training 1\/100 steps/);
  assert.equal(shown.length, 3);
  // An evaluation is shown in its place and gone when it is done; its time is not that of a step.
  for (let n = 2; n <= 10; n++) {
    screen.now = n;
    display.at(step(n));
  }
  display.at({ phase: 'evaluate', done: 0, total: 4, unit: 'batches' });
  assert.match(screen.shown().at(-1)!, /^evaluating 0\/4 batches/);
  screen.now = 500;
  display.at({ phase: 'evaluate', done: 4, total: 4, unit: 'batches', ended: true });
  assert.match(screen.shown().at(-1)!, /^training 10\/100 steps .* 1 steps\/s .* 1:30 left$/);
  // Kernels that are compiled within a step: that step is no measure of the others.
  screen.now = 501;
  display.at({ phase: 'compile', done: 1, unit: 'kernels' });
  assert.match(screen.shown().at(-1)!, /^compiling 1 kernel(?!s)/);
  screen.now = 600;
  display.at(step(11));
  assert.match(screen.shown().at(-1)!, /^training 11\/100 steps .* 1 steps\/s .* 1:29 left$/);
  display.end();
  assert.match(screen.shown().at(-2)!, /^training 11\/100 steps/);
  assert.equal(screen.shown().at(-1), '');
  assert.equal(screen.heard('resize'), 0);
  screen.take();
  display.end();
  assert.equal(screen.take(), '');
});

test('signs of work draw what stands still once a second, and nothing is drawn for a terminal that is behind', () => {
  const screen = new Screen();
  const display = screen.display();
  display.at(step(1));
  screen.take();
  screen.now = 0.9;
  display.tick();
  assert.equal(screen.take(), '');
  screen.now = 1;
  display.tick();
  assert.match(screen.take(), /1\/100/);
  screen.writableLength = 1;
  screen.now = 5;
  display.at(step(2));
  assert.equal(screen.take(), '');
  screen.writableLength = 0;
  display.at(step(3));
  assert.match(screen.take(), /3\/100/);
  display.end();
});

test('compiling ends with the newest kernel: where none follows, the bar is that of the work they were for', () => {
  const screen = new Screen();
  const display = screen.display();
  display.at({ phase: 'measure', done: 0, total: 4, unit: 'rows', subject: 'peaks' });
  for (const n of [1, 2, 3]) {
    screen.now = n;
    display.at({ phase: 'compile', done: n, unit: 'kernels' });
  }
  assert.match(screen.shown().at(-1)!, /^compiling 3 kernels .* 0:02$/);
  // A sign of other work, long after.
  screen.now = 30;
  display.tick();
  assert.match(screen.shown().at(-1)!, /^measuring 0\/4 rows .* peaks · 0:30$/);
  // What is measured now is no other work, and leaves no line behind.
  screen.now = 40;
  display.at({ phase: 'measure', done: 1, total: 4, unit: 'rows', subject: 'copy' });
  assert.match(screen.shown().at(-1)!, /^measuring 1\/4 rows .* copy /);
  assert.equal(screen.shown().length, 1);
  display.end();
  const records = new Screen();
  const told = records.display({ mode: 'json' });
  told.at({ phase: 'train', done: 0, total: 9, unit: 'steps' });
  told.at({ phase: 'compile', done: 1, unit: 'kernels' });
  records.now = 2;
  told.at({ phase: 'compile', done: 2, unit: 'kernels' });
  records.now = 60;
  told.at({ phase: 'train', done: 1, total: 9, unit: 'steps' });
  told.end();
  const compiled = records.text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter(({ phase }) => phase === 'compile');
  assert.deepEqual(
    compiled.map(({ done, seconds }) => [done, seconds]),
    [
      [1, 0],
      [2, 2],
    ],
  );
});

test('a terminal that is made narrower is drawn anew in its width', () => {
  const screen = new Screen();
  const display = screen.display();
  display.at(step(10));
  for (const columns of [200, 40, 10, 1]) {
    screen.columns = columns;
    screen.take();
    screen.emit('resize');
    const [line = ''] = screen.take().split(`${ERASE}\r`);
    assert.ok(widthOf(line) < Math.max(2, columns), `${columns}: ${line}`);
  }
  display.end();
});

test('auto: a bar on a terminal alone; no escape sequences elsewhere, and no colour anywhere', () => {
  const cases: [Partial<Screen>, Record<string, string>, string][] = [
    [{}, { TERM: 'xterm' }, 'bar'],
    [{}, { TERM: 'xterm', NO_COLOR: '1' }, 'bar'],
    [{}, { TERM: 'dumb' }, 'lines'],
    [{}, { TERM: 'xterm', CI: 'true' }, 'lines'],
    [{}, { TERM: 'xterm', CI: 'false' }, 'bar'],
    [{ isTTY: false }, { TERM: 'xterm' }, 'lines'],
  ];
  for (const [stream, environment, mode] of cases) {
    const screen = Object.assign(new Screen(), stream);
    assert.equal(screen.display({ environment }).mode, mode, JSON.stringify(environment));
  }
  for (const environment of [{ TERM: 'dumb' }, { TERM: 'dumb', LANG: 'C' }]) {
    const screen = new Screen();
    const display = screen.display({ mode: 'bar', environment });
    display.at(step(50));
    display.line('a notice');
    screen.now = 1;
    display.at(step(51, { loss: undefined, memoryBytes: undefined }));
    display.end();
    assert.ok(!screen.text.includes('\x1b'));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is asked for
    if (environment.LANG === 'C') assert.match(screen.text, /^[\x00-\x7f]*$/);
    assert.match(screen.shown().at(-2)!, /^training 51\/100 steps \S+ 51%/);
    assert.equal(screen.shown()[0], 'a notice');
  }
});

test('lines: one every 30 s, and the last word of what was told', () => {
  const screen = Object.assign(new Screen(), { isTTY: false });
  const display = screen.display();
  for (let n = 0; n <= 100; n++) {
    screen.now = n;
    display.at(step(n));
  }
  display.end();
  const lines = screen.take().split('\n');
  assert.deepEqual(
    lines.map((line) => line.replace(/ ·.*/, '')),
    ['training 30/100 steps', 'training 60/100 steps', 'training 90/100 steps', 'training 100/100 steps', ''],
  );
  assert.equal(
    lines[0],
    'training 30/100 steps · 30% · loss 0.5000 · 1 steps/s · 1k tokens/s · 2.50 GB held · 0:30 · 1:10 left',
  );
  const short = Object.assign(new Screen(), { isTTY: false });
  const quiet = short.display();
  quiet.at(step(0));
  quiet.at(step(100));
  quiet.end();
  assert.equal(short.text, '');
});

test('lines go on while a step takes long, after kernels were compiled for it too', () => {
  const screen = Object.assign(new Screen(), { isTTY: false });
  const display = screen.display();
  const at = (now: number) => {
    screen.now = now;
    display.tick();
    return screen.take();
  };
  display.at(step(0, { loss: undefined, memoryBytes: undefined }));
  assert.equal(at(29), '');
  assert.equal(at(30), 'training 0/100 steps · 0% · step 1 under way for 0:30 · 0:30\n');
  display.at({ phase: 'compile', done: 1, unit: 'kernels' });
  screen.now = 61;
  display.at({ phase: 'compile', done: 2, unit: 'kernels' });
  assert.match(screen.take(), /^compiling 2 kernels /);
  // The sign after which the newest kernel is the last one is no line yet.
  assert.equal(at(70), '');
  assert.equal(at(80), '');
  assert.equal(at(91), 'training 0/100 steps · 0% · step 1 under way for 1:31 · 1:31\n');
  screen.now = 100;
  display.at(step(1));
  assert.equal(at(110), '');
  assert.doesNotMatch(at(125), /under way/);
  assert.match(at(160), / · step 2 under way for 1:00 /);
  display.end();
});

test('none: notices alone', () => {
  const screen = new Screen();
  const display = screen.display({ mode: 'none' });
  display.at(step(1));
  display.line('a notice');
  display.at(step(100));
  display.end();
  assert.equal(screen.text, 'a notice\n');
});

/** Keys of a record, in their order, and what each may be. */
const SCHEMA: Record<string, (value: unknown) => boolean> = {
  kind: (value) => value === 'progress',
  phase: (value) => phases.some((phase) => phase === value),
  subject: (value) => value === null || typeof value === 'string',
  done: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  total: (value) => value === null || Number.isSafeInteger(value),
  unit: (value) => units.some((unit) => unit === value),
  ...Object.fromEntries(
    ['rate', 'tokens_per_second', 'memory_bytes', 'seconds_left'].map((name) => [
      name,
      (value: unknown) => value === null || (Number.isFinite(value) && (value as number) >= 0),
    ]),
  ),
  seconds: (value) => Number.isFinite(value) && (value as number) >= 0,
  loss: (value) => value === null || Number.isFinite(value),
};

function requireRecord(record: Record<string, unknown>): void {
  assert.deepEqual(Object.keys(record), Object.keys(SCHEMA));
  for (const [name, fits] of Object.entries(SCHEMA))
    assert.ok(fits(record[name]), `${name}: ${JSON.stringify(record)}`);
}

test('json: one object a line, at most one a second and the last of each phase; notices are objects too', () => {
  const screen = new Screen();
  const display = screen.display({ mode: 'json' });
  display.line('a notice');
  assert.deepEqual(records(screen), [{ kind: 'notice', text: 'a notice' }]);
  for (let n = 0; n <= 10; n++) {
    screen.now = n / 2;
    display.at(step(n, { total: 11 }));
  }
  display.at({ phase: 'save', done: 0, unit: 'bytes', subject: 'checkpoint-10' });
  display.at({ phase: 'save', done: 0, unit: 'bytes', subject: 'checkpoint-10', ended: true });
  display.at(step(11, { total: 11, loss: Number.NaN }));
  display.end();
  const all = records(screen);
  for (const record of all) requireRecord(record);
  assert.deepEqual(
    all.map(({ phase, done }) => `${phase} ${done}`),
    [0, 2, 4, 6, 8, 10].map((n) => `train ${n}`).concat('save 0', 'save 0', 'train 11'),
  );
  assert.deepEqual(all[2], {
    ...{ kind: 'progress', phase: 'train', subject: null, done: 4, total: 11, unit: 'steps', rate: 2 },
    ...{ tokens_per_second: 2000, memory_bytes: 2.5e9, seconds_left: 3.5, seconds: 2, loss: 0.5 },
  });
  assert.equal(all.at(-1)!['seconds_left'], 0);
  assert.equal(all.at(-1)!['loss'], null);
});

test('nothing is written to a stream that is lost, and the bar does not keep the process', () => {
  const screen = new Screen();
  const display = screen.display();
  display.at(step(1));
  screen.take();
  screen.emit('error');
  screen.now = 9;
  display.at(step(2));
  display.line('not heard');
  display.end();
  assert.equal(screen.text, '');
  const closed = Object.assign(new Screen(), { writable: false });
  closed.display().line('not heard');
  assert.equal(closed.text, '');
});

test('signs of work reach the reporter until its end, and again from what it is told next', () => {
  const screen = new Screen();
  const report = consoleReporter({ mode: 'json', stream: screen });
  progress({ phase: 'load', done: 1, total: 2, unit: 'bytes' });
  progress();
  report.end();
  assert.deepEqual(
    records(screen).map(({ phase }) => phase),
    ['load'],
  );
  progress({ phase: 'load', done: 2, total: 2, unit: 'bytes' });
  assert.equal(screen.take(), '');
  report.note('a notice');
  progress({ phase: 'compile', done: 1, unit: 'kernels' });
  report.end();
  assert.deepEqual(
    records(screen).map(({ kind }) => kind),
    ['notice', 'progress'],
  );
});

test('commands that work for long have the flag, of one definition', async () => {
  const having: string[] = [];
  for (const [name, { flags }] of commands) {
    const own = (await flags())['progress'];
    if (own === undefined) continue;
    assert.equal(own, progressFlag.progress, name);
    having.push(name);
  }
  for (const name of [
    'finetune',
    'encode',
    'evaluate',
    'split',
    'score',
    'mine',
    'demo',
    'pipeline',
    'parity',
    'serve',
  ])
    assert.ok(having.includes(name), name);
});

test('a training run tells of loading, steps, evaluations and saves', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-progress-'));
  try {
    const data = path.join(folder, 'data.jsonl');
    fs.writeFileSync(data, '{"query":"a word","pos":["another word"],"neg":["no word"]}\n'.repeat(4));
    const words = [
      ...['--model_name_or_path', golden('model'), '--train_data', data, '--eval_data', data],
      ...['--output_dir', path.join(folder, 'out'), '--train_group_size', '2'],
      ...['--per_device_train_batch_size', '2', '--max_steps', '2', '--save_steps', '1', '--eval_steps', '1'],
      ...['--eval_strategy', 'steps'],
    ];
    const screen = new Screen();
    const report = consoleReporter({ mode: 'json', stream: screen });
    await finetune(parseFinetuneArguments(words).args, { ...report, log() {} }, lendGpu);
    const all = records(screen).filter(({ kind }) => kind === 'progress');
    for (const record of all) requireRecord(record);
    const of = (phase: string) => all.filter((record) => record['phase'] === phase);
    for (const phase of ['load', 'train', 'evaluate', 'save']) assert.ok(of(phase).length > 0, phase);
    const load = of('load').at(-1)!;
    assert.equal(load['done'], load['total']);
    assert.deepEqual(
      [of('train')[0]!, of('train').at(-1)!].map(({ done, total }) => [done, total]),
      [
        [0, 2],
        [2, 2],
      ],
    );
    const last = of('train').at(-1)!;
    assert.ok((last['memory_bytes'] as number) > 0 && Number.isFinite(last['loss']));
    assert.deepEqual(
      new Set(of('save').map(({ subject }) => subject)),
      new Set(['checkpoint-1', 'checkpoint-2', 'model']),
    );
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});

test('how many texts files have is known before they are encoded', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-progress-'));
  try {
    const cases: [string, string, number][] = [
      ['texts.txt', 'one\n\nthree', 3],
      ['texts.jsonl', '{"text":"one"}\n\n  {"text":"two"}\n', 2],
      ['list.json', '[{"text":"one"},\n{"text":"two"}]', 2],
      ['empty.txt', '', 0],
    ];
    const options = { format: 'auto', fields: ['text'], idField: undefined } as const;
    for (const [name, text, count] of cases) {
      fs.writeFileSync(path.join(folder, name), text);
      assert.equal(checkTexts([path.join(folder, name)], options), count, name);
    }
    assert.equal(checkTexts([path.join(folder, 'texts.txt'), path.join(folder, 'texts.jsonl')], options), 5);
    assert.equal(checkTexts(['-'], options), undefined);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});
