/**
 * What the pages show runs: README's commands one after the other, on the tiny model, and every program of every page,
 * which must compile first.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { encodeCommand } from '../src/cli/encode.js';
import { silentReporter } from '../src/console/reporter.js';
import { parseEvaluateArguments } from '../src/retrieval/evaluate/arguments.js';
import { evaluate } from '../src/retrieval/evaluate/evaluate.js';
import { parseMineArguments } from '../src/retrieval/mine/arguments.js';
import { mine } from '../src/retrieval/mine/mine.js';
import { parseScoreArguments } from '../src/retrieval/score/arguments.js';
import { scoreFiles } from '../src/retrieval/score/score.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { finetune } from '../src/train/trainer.js';
import { called } from './documents/commands.js';
import { blocks, page, pages, shellLines } from './documents/pages.js';
import { lendGpu } from './lent-gpu.js';
import { golden, repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-documents-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const readme = page('README.md').text;
const firstModel = page('docs/first-model.md').text;

/** The two rows that are shown. */
const rows = () => blocks(firstModel).find(({ language }) => language === 'json')!.code;

/** The calls of a command on a page, in their order. */
const callsOf = (text: string, name: string) =>
  shellLines(text).flatMap((line) => {
    const call = called(line);
    return call?.name === name ? [call.words] : [];
  });

test('the first fine-tuning command of docs/first-model.md runs as it is in the clone', async () => {
  const words = callsOf(firstModel, 'finetune')[0]!.map((word) =>
    word.startsWith('test/') ? path.join(repositoryRoot, word) : word,
  );
  const output = path.join(folder, 'first');
  const { steps } = await finetune(
    parseFinetuneArguments(words.map((word) => (word === 'output/first' ? output : word))).args,
    silentReporter,
    lendGpu,
  );
  assert.equal(steps, 15);
  assert.ok(fs.existsSync(path.join(output, 'model.safetensors')));
});

test('the rows and the command for one’s own train, are evaluated, and go on', async () => {
  const files = new Map(['rows.jsonl', 'held-out.jsonl'].map((name) => [name, path.join(folder, name)]));
  for (const file of files.values()) fs.writeFileSync(file, rows());
  const output = path.join(folder, 'mine');
  const replaced = new Map([...files, ['BAAI/bge-m3', golden('model')], ['output/mine', output]]);
  const words = callsOf(firstModel, 'finetune')[1]!.map((word) => replaced.get(word) ?? word);
  const run = async (reporter = silentReporter) => {
    const { args, notices } = parseFinetuneArguments(words);
    assert.deepEqual(notices, []);
    return (await finetune(args, reporter, lendGpu)).log;
  };
  const log = await run();
  const notes: string[] = [];
  assert.deepEqual(
    (await run({ ...silentReporter, note: (text) => void notes.push(text) })).at(-2),
    log.at(-2),
  );
  assert.ok(log.some((entry) => Object.hasOwn(entry, 'eval_hybrid_ndcg@10')));
  assert.ok(notes.some((text) => text.startsWith('the run goes on from ')));
  assert.ok(fs.existsSync(path.join(output, 'README.md')));
});

test('README’s rows, training and vectors: the commands follow one another', async () => {
  const at = (name: string) => path.join(folder, `readme-${name}`);
  fs.writeFileSync(at('rows.jsonl'), blocks(readme).find(({ language }) => language === 'json')!.code);
  fs.writeFileSync(at('corpus.txt'), 'Paris lies on the Seine.\nGoethe wrote Faust.\n');
  const replaced = (words: readonly string[]) =>
    words.map((word) =>
      word === 'BAAI/bge-m3'
        ? golden('model')
        : /^output\/|\.(?:jsonl|txt|npy)$/.test(word)
          ? at(path.basename(word))
          : word,
    );
  const [training] = callsOf(readme, 'finetune');
  await finetune(parseFinetuneArguments(replaced(training!)).args, silentReporter, lendGpu);
  const [encoding] = callsOf(readme, 'encode');
  assert.equal(await encodeCommand([...replaced(encoding!), '--disable_tqdm']), 0);
  assert.match(fs.readFileSync(at('corpus.npy')).toString('latin1'), /'shape': \(2, 64\)/);
});

test('the steps of docs/mining.md from rows to negatives, teacher scores, training and comparison follow one another', async () => {
  const at = (name: string) => path.join(folder, `steps-${name}`);
  for (const name of ['rows.jsonl', 'held-out.jsonl']) fs.writeFileSync(at(name), rows());
  const way = page('docs/mining.md').text.split('## The whole way')[1]!;
  const calls = shellLines(way)
    .flatMap((line) => called(line) ?? [])
    .slice(0, 4);
  assert.deepEqual(
    calls.map(({ name }) => name),
    ['mine', 'score', 'finetune', 'evaluate'],
  );
  const [mining, scoring, training, evaluation] = calls.map(({ words }) =>
    words.map((word) =>
      word === 'BAAI/bge-m3'
        ? golden('model')
        : /^output\/|\.jsonl$/.test(word)
          ? at(path.basename(word))
          : word,
    ),
  );
  const parsed = <Args>({ args, notices }: { args: Args; notices: readonly string[] }): Args => {
    assert.deepEqual(notices, []);
    return args;
  };
  const surroundings = { report: silentReporter };
  await mine(parsed(parseMineArguments(mining!)), surroundings);
  await scoreFiles(parsed(parseScoreArguments(scoring!)), surroundings);
  await finetune(parsed(parseFinetuneArguments(training!)), silentReporter, lendGpu);
  const report = await evaluate(parsed(parseEvaluateArguments(evaluation!)), surroundings);
  assert.match(report!, /steps-distilled/);
});

test('FlagEmbedding’s command runs, with a small model and one step', async () => {
  const [command] = callsOf(page('docs/from-flagembedding.md').text, 'finetune');
  const words = command!.map((word) =>
    word === './bge-m3' ? golden('model') : word.replace('./example_data', golden('example_data')),
  );
  // The file of FlagEmbedding's examples, of which the page says that the line can be left out.
  words.splice(words.indexOf('--deepspeed'), 2);
  const output = path.join(folder, 'out');
  const notes: string[] = [];
  await finetune(
    parseFinetuneArguments([
      ...words,
      '--output_dir',
      output,
      '--max_steps',
      '1',
      '--query_max_len',
      '16',
      '--passage_max_len',
      '16',
      '--fp16',
      'False',
      '--save_strategy',
      'no',
    ]).args,
    { ...silentReporter, note: (text) => void notes.push(text) },
    lendGpu,
  );
  assert.ok(fs.existsSync(path.join(output, 'model.safetensors')));
  assert.match(notes.join('\n'), /learning rate is 0 in the only step/);
});

/** A file of vectors as NumPy writes it, f32 [rows, width]. */
function npy(rows: number, width: number): Buffer {
  const fields = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, ${width}), }`;
  const header = `${fields.padEnd(117)}\n`;
  const start = Buffer.from([0x93, ...Buffer.from('NUMPY'), 1, 0, header.length, 0]);
  const values = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i + 1));
  return Buffer.concat([start, Buffer.from(header), Buffer.from(values.buffer)]);
}

/**
 * The programs of all pages: the blocks of a section are one, but for a block whose first line is a comment with the name
 * of a file, which is that module. They stand within the repository, so that they import the package by its name.
 */
function writePrograms(root: string): { readonly files: string[]; readonly modules: ReadonlySet<string> } {
  const files: string[] = [];
  const modules = new Set<string>();
  const write = (file: string, code: string) => {
    let replaced = code;
    for (const [name, value] of [
      ['./bge-m3', golden('model')],
      ['./trained', path.join(folder, 'trained')],
      ['rows.jsonl', path.join(folder, 'program-rows.jsonl')],
      ['two-ranks', path.join(folder, 'two-ranks')],
      ['queries.npy', path.join(folder, 'queries.npy')],
      ['corpus.npy', path.join(folder, 'corpus.npy')],
    ] as const)
      replaced = replaced.replaceAll(`'${name}'`, JSON.stringify(value));
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, replaced.replaceAll("'./rank.js'", "'./rank.mjs'"));
    files.push(file);
  };
  for (const { name, text } of pages)
    for (const [i, section] of text.split(/^#{2,3} /m).entries()) {
      const programs = blocks(section).filter(({ language }) => ['ts', 'js'].includes(language));
      const at = (file: string) => path.join(root, name.replaceAll(/\W+/g, '-'), file);
      // A section that begins anew imports again: each such block begins a program.
      const begun: string[] = [];
      for (const { code } of programs) {
        const module = /^\/\/ ([\w-]+)\.ts\n/.exec(code)?.[1];
        if (module !== undefined) {
          write(at(`${module}.mts`), code);
          modules.add(at(`${module}.mts`));
        } else if (begun.length === 0 || /Gpu\.open\(|RankThreads\(/.test(code)) begun.push(code);
        else begun.push(`${begun.pop()}\n${code}`);
      }
      for (const [j, code] of begun.entries()) write(at(`section-${i}-${j}.mts`), code);
    }
  return { files, modules };
}

test('the programs of all pages compile and run', async () => {
  fs.writeFileSync(
    path.join(folder, 'program-rows.jsonl'),
    ['a', 'b'].map((query) => JSON.stringify({ query, pos: [query], neg: ['c'] })).join('\n'),
  );
  fs.writeFileSync(path.join(folder, 'queries.npy'), npy(4, 16));
  fs.writeFileSync(path.join(folder, 'corpus.npy'), npy(300, 16));
  const root = fs.mkdtempSync(path.join(repositoryRoot, 'dist', 'programs-'));
  const { log } = console;
  try {
    const { files, modules } = writePrograms(root);
    assert.ok(files.length > 12, `${files.length} programs`);
    const program = ts.createProgram(files, {
      strict: true,
      skipLibCheck: true,
      target: ts.ScriptTarget.ES2022,
      lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      types: ['node', '@webgpu/types'],
    });
    const found = [...ts.getPreEmitDiagnostics(program), ...program.emit().diagnostics];
    assert.deepEqual(
      found.map(({ file, messageText }) => [
        path.relative(root, file?.fileName ?? ''),
        ts.flattenDiagnosticMessageText(messageText, '\n'),
      ]),
      [],
    );
    for (const file of files) {
      // A server runs until it is told to end.
      if (modules.has(file) || /\.listen\(/.test(fs.readFileSync(file, 'utf8'))) continue;
      const printed: unknown[] = [];
      console.log = (...values: unknown[]) => void printed.push(...values);
      try {
        await import(pathToFileURL(file.replace(/mts$/, 'mjs')).href);
      } catch (error) {
        throw new Error(`${path.relative(root, file)} fails`, { cause: error });
      } finally {
        console.log = log;
      }
      assert.doesNotMatch(printed.join(' '), /NaN/, file);
    }
  } finally {
    fs.rmSync(root, { recursive: true, force: true });
  }
});
