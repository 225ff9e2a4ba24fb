/** The report of a run: one page with every section, texts as texts; comparisons; what is refused and what is kept. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import vm from 'node:vm';
import { parseReportArguments } from '../src/report/arguments.js';
import { grouped, tickTexts } from '../src/report/browser/numbers.js';
import type { ChartPayload } from '../src/report/browser/payload.js';
import { comparisonPage } from '../src/report/comparison-page.js';
import { duration, percentOf } from '../src/report/numbers.js';
import { writeReport } from '../src/report/report.js';
import { shortNames } from '../src/report/run-names.js';
import { runPage } from '../src/report/run-page.js';
import type { Column, RunRecord } from '../src/run-record/record.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-report-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const text = fs.readFileSync(golden('run-record.json'), 'utf8');

type Loose<T> = T extends readonly (infer Member)[]
  ? Loose<Member>[]
  : T extends object
    ? { -readonly [Name in keyof T]: Loose<T[Name]> }
    : T;

/** The golden record, changed. */
function record(change: (record: Loose<RunRecord>) => void = () => {}): RunRecord {
  const made = JSON.parse(text);
  change(made);
  return made;
}

/** The first `points` of the course. */
function cut({ steps }: Loose<RunRecord>, points: number): void {
  steps.step.length = points;
  const columns = [steps.loss, steps.learning_rate, steps.grad_norm, steps.tokens, steps.seconds];
  for (const column of [
    ...columns,
    steps.tokens_per_second,
    steps.loss_scale!,
    ...Object.values(steps.components),
  ])
    column.mean.length = points;
  steps.skipped!.length = points;
}

const scripts = (page: string) =>
  [...page.matchAll(/<script([^>]*)>([\s\S]*?)<\/script>/g)].map(([, kind, source]) => ({
    kind: kind!.trim(),
    source: source!,
  }));

const charts = (page: string): ChartPayload[] =>
  JSON.parse(scripts(page).find(({ kind }) => kind.includes('json'))?.source ?? '[]');

/** Without scripts and style: what is said. */
const said = (page: string) =>
  page
    .replaceAll(/<(script|style)[^>]*>[\s\S]*?<\/\1>|<wbr>/g, '')
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll(/\s+/g, ' ');

const headings = (page: string) =>
  [...page.matchAll(/<h2 id="([\w-]+)">([^<]*)<\/h2>/g)].map(([, , title]) => title);

/** Ids are unique, what refers to one finds it, elements close in order. */
function wellFormed(page: string): void {
  const bare = page.replaceAll(/<(script|style)[^>]*>[\s\S]*?<\/\1>/g, '');
  const ids = [...bare.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id!);
  assert.deepEqual(
    ids.filter((id, i) => ids.indexOf(id) !== i),
    [],
  );
  for (const [, id] of bare.matchAll(/(?:href="#|aria-labelledby=")([^"]*)"/g))
    assert.ok(ids.includes(id!), id);
  const open: string[] = [];
  for (const [, end, name] of bare.matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*>/g)) {
    if (['meta', 'br', 'wbr'].includes(name!)) continue;
    if (!end) open.push(name!);
    else assert.equal(open.pop(), name);
  }
  assert.deepEqual(open, []);
}

test('the page of the golden record has every section, fetches nothing and is well formed', () => {
  const page = runPage(record());
  assert.deepEqual(headings(page), [
    'Loss',
    'Course of training',
    'Validation',
    'Retrieval before and after',
    'GPU memory',
    'Data',
    'Settings',
    'Use the model',
    'Environment',
    'Notices',
  ]);
  wellFormed(page);
  const markup = page.replaceAll(/<script[^>]*>[\s\S]*?<\/script>/g, '');
  assert.doesNotMatch(markup, /https?:|url\(|<link|@import|\bsrc=|\bhref="[^#]/);
  assert.match(page, /prefers-color-scheme:dark/);
  assert.doesNotMatch(said(page), /NaN|undefined|Infinity|\[object|null/);
  assert.ok(page.length < 250_000, `${page.length} characters`);
});

test('the facts of a run are told in words', () => {
  const page = said(
    runPage(
      record((made) => {
        Object.assign(made, { step: 1234, total_steps: 1234, epoch: 2.5 });
        made.sessions.forEach((session, i) => {
          session.seconds = 20 + i;
        });
        made.evaluations = [0.3, 0.9, 0.8].map((value, i) => ({
          step: 600 * i,
          epoch: i,
          metrics: { eval_loss: 3 - i, 'eval_hybrid_ndcg@10': value },
        }));
        Object.assign(made.data.queries, {
          limit: 32,
          texts: 3840,
          tokens: 61440,
          kept_tokens: 60000,
          cut: 120,
        });
        Object.assign(made.data.samples[0]!.query, { tokens: 32, length: 93 });
        Object.assign(made.data, { rows: 1000, dropped: 20, looked_at: 500 });
        made.settings = [
          { name: 'learning_rate', value: 1, origin: 'deepspeed', group: 'Optimisation', default: 2 },
          { name: 'passage_max_len', value: 8, origin: 'flag', group: 'Data', default: 8 },
          { name: 'prompt', value: 'query: ', origin: 'model', group: 'Data', default: null },
          { name: 'seed', value: 42, origin: 'default', group: 'Other' },
        ];
      }),
    ),
  );
  for (const fact of [
    '✓ finished',
    'steps 1,234 of 1,234, 2.5 epochs of data',
    'hybrid nDCG@10 0.300 → 0.900 before training, best at step 600',
    'time 41 s in 2 sessions',
    '120 (3.13 %) are above the limit of 32 and lost 2.34 % of all tokens',
    '32 tokens · cut from 93',
    '1,000, and 20 that take no part',
    '500, drawn at random',
    'learning_rate Optimisation 1 instead of 2 DeepSpeed file',
    'passage_max_len Data 8 flag',
    'prompt Data “query: ” instead of none the model’s folder',
    '1 setting at the default',
  ])
    assert.ok(page.includes(fact), fact);
});

test('every curve of the record is drawn once, with a legend, a place for spoken values and a table', () => {
  const page = runPage(record());
  const found = charts(page);
  const scores = 'dense sparse colbert hybrid';
  assert.deepEqual(
    found.map(({ id, curves }) => [id, ...curves.map(({ label }) => label)].join(' ')),
    [
      'loss loss dense sparse ColBERT ensemble distillation',
      'learning-rate Learning rate',
      'gradient-norm Gradient norm',
      'loss-scale Loss scale',
      'speed Tokens per second',
      `evaluation-loss all ${scores}`,
      `evaluation-ndcg-10 ${scores}`,
      `evaluation-mrr-10 ${scores}`,
    ],
  );
  for (const { id, steps, curves } of found) {
    for (const curve of curves) assert.equal(curve.values.length, steps[curve.steps]!.length);
    for (const part of [`id="${id}"`, `id="${id}-legend"`, `id="${id}-spoken"`])
      assert.ok(page.includes(part), part);
  }
  assert.equal(page.match(/<summary>As a table<\/summary>/g)!.length, found.length + 2);
});

test('the scripts are uPlot with its licence and one module, whole and without imports', () => {
  const found = scripts(runPage(record()));
  assert.deepEqual(
    found.map(({ kind }) => kind),
    ['type="application/json" id="charts"', '', 'type="module"'],
  );
  const [, uplot, own] = found.map(({ source }) => source);
  assert.match(uplot!, /The MIT License[\s\S]*Copyright \(c\) \d+ Leon Sorokin[\s\S]*var uPlot=/);
  assert.doesNotMatch(own!, /^\s*import |fetch\(|XMLHttpRequest|sourceMappingURL/m);
  for (const source of [uplot!, own!.replace(/^export \{\};$/m, '')]) assert.ok(new vm.Script(source));
});

test('texts of every kind stand in the page as they are, and nowhere else', () => {
  const nasty = `</script><script>alert(1)</script><!--"'&\u202e\u0000\ud800 😀 שלום`;
  const page = runPage(
    record((made) => {
      const walk = (value: unknown, name = ''): unknown => {
        if (typeof value === 'string')
          return ['status', 'origin', 'updated', 'started'].includes(name) ? value : nasty;
        if (Array.isArray(value)) return value.map((each) => walk(each));
        if (typeof value === 'object' && value !== null)
          return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, walk(each, key)]));
        return value;
      };
      Object.assign(made, walk(made));
      for (const point of made.evaluations) point.metrics = { [nasty]: 1, [`eval_x_${nasty}`]: 2 };
      made.plan[nasty] = nasty;
      made.reason = nasty;
    }),
  );
  assert.doesNotMatch(page, /alert\(1\)<\/script|<!--"|\u202e|\ud800(?![\udc00-\udfff])/);
  assert.ok(!page.includes('\u0000'));
  assert.equal(scripts(page).length, 3);
  assert.ok(
    page.includes(
      '&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;!--&quot;&#39;&amp;\\u202e\\u0000\\ud800 😀 שלום',
    ),
  );
  const bare = page.replaceAll(/<(script|style)[^>]*>[\s\S]*?<\/\1>/g, '');
  assert.doesNotMatch(bare, /<(?:script|b>alert)/);
});

test('a run of one step, of none, a failed one and one of a million steps have pages too', () => {
  const one = record((made) => {
    cut(made, 1);
    for (const column of [made.steps.loss, made.steps.grad_norm]) column.mean = [1.5];
    made.steps.components = {};
    made.evaluations = [];
    made.retrieval = null;
  });
  assert.match(said(runPage(one)), /loss 1\.5 of the one step/);
  const none = record((made) => {
    cut(made, 0);
    Object.assign(made, { status: 'failed', reason: 'no <adapter>', step: 0, epoch: 0, sessions: [] });
    Object.assign(made, { evaluations: [], retrieval: null, notices: [] });
    made.memory.points = [];
    made.data.samples = [];
    for (const lengths of [made.data.queries, made.data.passages])
      Object.assign(lengths, { texts: 0, tokens: 0, histogram: { up_to: [], count: [] } });
  });
  const failed = runPage(none);
  wellFormed(failed);
  assert.equal(scripts(failed).length, 0);
  assert.match(said(failed), /✗ failed .* What failed: no &lt;adapter&gt; No step was taken/);
  assert.match(said(failed), /Use the model The model is written into this folder at the end of the run/);
  assert.doesNotMatch(said(runPage(record())), /The model is written into this folder/);
  const long = record(({ steps }) => {
    const points = 1000;
    const column = (mean: number): Loose<Column> => {
      const values = (value: number) => Array.from({ length: points }, () => value);
      return { mean: values(mean), min: values(mean / 2), max: values(mean * 2) };
    };
    Object.assign(steps, { stride: 1000, step: Array.from({ length: points }, (_, i) => 1000 * (i + 1)) });
    for (const name of [
      'loss',
      'learning_rate',
      'grad_norm',
      'tokens',
      'seconds',
      'tokens_per_second',
    ] as const)
      steps[name] = column(2);
    steps.components = { dense: column(3) };
    steps.loss_scale = column(1024);
  });
  const page = runPage(long);
  const [loss] = charts(page);
  // What the eye cannot tell apart becomes one point, with the least and the greatest of all its steps.
  const { values, low, high } = loss!.curves[0]!;
  assert.deepEqual([values.length, values[0], low![0], high![0]], [250, 2, 1, 4]);
  assert.equal(loss!.steps[0]!.at(-1), 1_000_000);
  assert.match(said(page), /lines: means of 4,000 steps; bands: their least and greatest/);
  assert.ok(page.length < 500_000, `${page.length} characters`);
});

test('many single steps become a smooth curve over them', () => {
  const page = runPage(
    record(({ steps }) => {
      steps.step = Array.from({ length: 400 }, (_, i) => i + 1);
      steps.components = {};
      for (const name of [
        'loss',
        'learning_rate',
        'grad_norm',
        'tokens',
        'seconds',
        'tokens_per_second',
      ] as const)
        steps[name] = { mean: steps.step.map((step) => (step % 2 === 0 ? 1 : 3)) };
      delete steps.loss_scale;
    }),
  );
  const { curves } = charts(page)[0]!;
  assert.equal(curves[0]!.raw![1], 1);
  assert.ok(curves[0]!.values.slice(5, -5).every((value) => Math.abs(value! - 2) < 0.2));
  assert.match(said(page), /lines: means of 9 steps; faint: single steps/);
});

test('runs over one another: a curve of each, final figures, settings that differ', () => {
  const other = record((made) => {
    cut(made, 20);
    made.steps.step = made.steps.step.map((step) => 2 * step);
    made.settings.find(({ name }) => name === 'passage_max_len')!.value = 256;
    made.settings = made.settings.filter(({ name }) => name !== 'fp16');
    made.evaluations = made.evaluations.slice(0, 2);
    delete made.steps.components.sparse;
  });
  const page = comparisonPage([
    { name: 'runs/a', record: record() },
    { name: 'runs/<b>', record: other },
  ]);
  wellFormed(page);
  assert.deepEqual(headings(page), [
    'Final figures',
    'Settings that differ',
    'Loss',
    'Course of training',
    'Validation',
    'GPU memory',
  ]);
  const found = new Map(charts(page).map((chart) => [chart.id, chart]));
  assert.deepEqual(
    found.get('loss')!.curves.map(({ label, colour }) => [label, colour]),
    [
      ['a', 0],
      ['<b>', 1],
    ],
  );
  // Their names stand whole once.
  assert.match(said(page), / 2 runs runs\/a ✓ finished .* runs\/&lt;b&gt; ✓/);
  assert.equal(found.get('loss')!.steps.length, 2);
  assert.equal(found.get('loss-sparse')!.curves.length, 1);
  const settings = record().settings;
  const limit = settings.find(({ name }) => name === 'passage_max_len')!.value;
  for (const fact of [
    `passage_max_len ${limit} 256`,
    'fp16 true –',
    `${settings.length - 2} other settings are the same`,
  ])
    assert.ok(said(page).includes(fact), fact);
  assert.match(page, /<td class="n best">[\d.]+ <span class="soft">step /);
  assert.doesNotMatch(said(page), /NaN|undefined|Infinity|\[object/);
});

test('names of runs are short and tell them apart', () => {
  const long = (end: string) => `${'x'.repeat(40)}${end}`;
  for (const [names, short] of [
    [
      ['output/one', 'output/two'],
      ['one', 'two'],
    ],
    [
      ['output/one', 'other/one'],
      ['output/one', 'other/one'],
    ],
    [
      ['a/b/run', 'a/b/run/second'],
      ['run', 'run/second'],
    ],
    [
      [`out/${long('1')}`, `out/${long('2')}`],
      [`${'x'.repeat(14)}…${'x'.repeat(12)}1`, `${'x'.repeat(14)}…${'x'.repeat(12)}2`],
    ],
    // Where their middles alone differ they stay.
    [
      [`${long('1')}${long('')}`, `${long('2')}${long('')}`],
      [`${long('1')}${long('')}`, `${long('2')}${long('')}`],
    ],
    [
      ['C:\\runs\\a', 'C:\\runs\\b'],
      ['a', 'b'],
    ],
  ] as const)
    assert.deepEqual(shortNames(names), short);
});

test('the lines of an axis are written alike', () => {
  assert.deepEqual(tickTexts([0, 5e-4, 1e-3, null], 'number'), ['0', '5e-4', '1e-3', null]);
  assert.deepEqual(tickTexts([0, 0.5, 12], 'number'), ['0', '0.5', '12']);
  assert.deepEqual(tickTexts([16384, 65536], 'whole'), ['16,384', '65,536']);
  assert.deepEqual(tickTexts([0.5, 1], 'share'), ['0.5', '1']);
  assert.deepEqual(tickTexts([0, 2e6], 'tokens'), ['0/s', '2M/s']);
});

test('the first thing said is what the loss came to: of many steps by their first and last tenth', () => {
  const loss = (values: number[]) =>
    said(
      runPage(
        record(({ steps }) => {
          cut({ steps } as Loose<RunRecord>, values.length);
          steps.loss.mean = values;
          steps.tokens.mean = values.map(() => 600);
        }),
      ),
    );
  assert.match(loss([3, 9, 1]), /loss 3 → 1 first and last step/);
  const many = Array.from({ length: 20 }, (_, i) => (i < 2 ? 4 - i : i > 17 ? i - 17 : 100));
  assert.match(loss(many), /loss 3\.5 → 1\.5 first and last tenth of the steps/);
});

test('dawntune report writes into the folder, over its own alone, and says what is wrong in one line', () => {
  const run = (name: string, content = text) => {
    const made = path.join(folder, name);
    fs.mkdirSync(made, { recursive: true });
    fs.writeFileSync(path.join(made, 'run_record.json'), content);
    return made;
  };
  const a = run('a');
  const b = run('b');
  const file = writeReport({ folders: [`${a}/`], output: null });
  assert.equal(path.resolve(file), path.join(a, 'report.html'));
  const first = fs.readFileSync(file, 'utf8');
  assert.equal(writeReport({ folders: [a], output: null }), path.join(a, 'report.html'));
  assert.equal(fs.readFileSync(file, 'utf8'), first);
  const both = path.join(folder, 'both.html');
  assert.equal(writeReport({ folders: [a, b], output: both }), both);
  // A folder is one to write into.
  assert.equal(writeReport({ folders: [a, b], output: b }), path.join(b, 'comparison.html'));
  assert.equal(writeReport({ folders: [b], output: a }), path.join(a, 'report.html'));
  assert.match(fs.readFileSync(both, 'utf8'), /Comparison of 2 runs/);
  const letter = path.join(folder, 'letter.html');
  fs.writeFileSync(letter, '<!doctype html><p>dear …');
  for (const [folders, output, message] of [
    [
      [a],
      letter,
      /^--output: .*letter\.html: is there already and is no report: move it away, or give --output another name$/,
    ],
    [[a], path.join(folder, 'no', 'x.html'), /x\.html: cannot write: no such file or folder$/],
    [[a, `${a}/.`], both, /^report: expected different folders, found .*, which are the same$/],
    [
      [path.join(folder, 'c')],
      both,
      /c: expected the output folder of a run, found no run_record\.json in it$/,
    ],
    [
      [run('d', text.replace(/"epoch":[\d.]+,/, ''))],
      both,
      /run_record\.json: expected "epoch" to be a number from 0, found none$/,
    ],
    [[a, run('e', text.slice(0, 900))], both, /run_record\.json: expected JSON, found /],
  ] as const)
    assert.throws(
      () => writeReport({ folders, output }),
      (error: Error) =>
        error.name === 'InputError' && message.test(error.message) && !error.message.includes('\n'),
      String(message),
    );
  assert.equal(fs.readFileSync(letter, 'utf8'), '<!doctype html><p>dear …');
  assert.deepEqual(fs.readdirSync(folder).sort(), ['a', 'b', 'both.html', 'd', 'e', 'letter.html']);
});

test('the words of dawntune report', () => {
  assert.deepEqual(parseReportArguments(['a', 'b', '--output', 'c.html']).args.folders, ['a', 'b']);
  for (const [words, message] of [
    [[], 'report: expected the output folder of a run, or of several, found none'],
    ['abcdefghij'.split(''), 'report: expected at most 9 folders, as many as there are colours, found 10'],
  ] as const)
    assert.throws(() => parseReportArguments(words), { name: 'InputError', message });
});

test('times and shares in words', () => {
  assert.deepEqual([0, 999, 1000, 1234567, 0.0455, 1234.0455].map(grouped), [
    '0',
    '999',
    '1,000',
    '1,234,567',
    '0.0455',
    '1,234.0455',
  ]);
  assert.deepEqual([0.53, 9.96, 34.1, 60, 3725, 86_400, 90_061, 777_000].map(duration), [
    ...['0.5 s', '10 s', '34 s', '1 min', '1 h 2 min', '1 d', '1 d 1 h', '8 d 23 h'],
  ]);
  assert.deepEqual(
    [percentOf(0, 5), percentOf(1, 3), percentOf(1, 1e6), percentOf(3, 3)],
    ['0 %', '33.3 %', 'under 0.1 %', '100 %'],
  );
});
