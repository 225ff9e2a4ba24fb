/** What README and docs tell people to type is known to the commands, and README's fine-tuning command runs. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import ts from 'typescript';
import { suites } from '../bench/suites.js';
import { doctorFlags } from '../src/cli/doctor-arguments.js';
import { demoFlags } from '../src/demo/arguments.js';
import { pipelineFlags } from '../src/demo/pipeline-arguments.js';
import { renderHelp } from '../src/flag-help.js';
import { type FlagTable, parseFlags } from '../src/flags.js';
import { parityFlags } from '../src/parity/arguments.js';
import { embedderAliases } from '../src/retrieval/embedder/arguments.js';
import { encodeFlags } from '../src/retrieval/encode/arguments.js';
import { evaluateFlags, parseEvaluateArguments } from '../src/retrieval/evaluate/arguments.js';
import { evaluate } from '../src/retrieval/evaluate/evaluate.js';
import { mineFlags, parseMineArguments } from '../src/retrieval/mine/arguments.js';
import { mine } from '../src/retrieval/mine/mine.js';
import { parseScoreArguments, scoreFlags } from '../src/retrieval/score/arguments.js';
import { scoreFiles } from '../src/retrieval/score/score.js';
import { splitFlags } from '../src/retrieval/split/arguments.js';
import { longTestFlags, matrixFlags, mpiTestFlags, setupFlags } from '../src/setup/arguments.js';
import { tokenizerParityFlags } from '../src/tokenizer/parity.js';
import { finetuneFlags, parseFinetuneArguments } from '../src/train/arguments.js';
import { silentReporter } from '../src/train/report.js';
import { finetune } from '../src/train/trainer.js';
import {
  evaluationInteropFlags,
  folderFlags,
  interopFlags,
  miningInteropFlags,
  scoreInteropFlags,
  weightsFlags,
} from './interop/flags.js';
import { lendGpu } from './lent-gpu.js';
import { golden, repositoryRoot } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-documents-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const commands: Record<string, FlagTable> = {
  finetune: finetuneFlags,
  encode: encodeFlags,
  evaluate: evaluateFlags,
  mine: mineFlags,
  score: scoreFlags,
  split: splitFlags,
  pipeline: pipelineFlags,
  demo: demoFlags,
  parity: parityFlags,
  doctor: doctorFlags,
  setup: setupFlags,
  'test:matrix': matrixFlags,
  'test:mpi': mpiTestFlags,
  'test:long': longTestFlags,
  interop: interopFlags,
  'tokenizer-parity': tokenizerParityFlags,
  'interop:folders': folderFlags,
  'interop:weights': weightsFlags,
  'interop:scores': scoreInteropFlags,
  'interop:evaluation': evaluationInteropFlags,
  'interop:mining': miningInteropFlags,
  ...Object.fromEntries(suites.map(({ name, flags }) => [`bench ${name}`, flags])),
};

const documents = [
  'README.md',
  ...fs
    .readdirSync(path.join(repositoryRoot, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => path.join('docs', name)),
].map((name) => ({ name, text: fs.readFileSync(path.join(repositoryRoot, name), 'utf8') }));

/** Lines of fenced shell blocks, joined where they go on, and the code within lines. */
function typed(text: string): string[] {
  // Fences of every language are paired, so that the end of one is not taken for the start of another.
  const fenced = [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].flatMap(([, language, block]) =>
    ['', 'shell', 'sh', 'bash'].includes(language!)
      ? block!
          .replaceAll(/^#.*\n/gm, '')
          .replaceAll('\\\n', ' ')
          .split('\n')
      : [],
  );
  const inline = [...text.replaceAll(/```[\s\S]*?```/g, '').matchAll(/`([^`\n]+)`/g)].map(
    ([, code]) => code!,
  );
  return [...fenced, ...inline].map((line) => line.replace(/ #.*$/, '').trim());
}

/** The command that a line calls, with its words; undefined for other lines. */
function called(line: string): { name: string; words: string[] } | undefined {
  // What a launcher starts stands behind its own words.
  const started = /^(?:mpirun|srun) .*?(?= dawntune )/.exec(line)?.[0] ?? '';
  const last = line.slice(started.length).trim().split(' && ').at(-1)!.split(/\s+/);
  const words: string[] = last.filter((word) => word !== '--silent' && word !== 'sudo');
  const begins = (...start: string[]) => start.every((word, i) => words[i] === word);
  if (begins('npx', 'dawntune')) words.splice(0, 2);
  else if (begins('dawntune')) words.splice(0, 1);
  else if (begins('npm', 'run')) {
    words.splice(0, 2);
    words.splice(1, words[1] === '--' ? 1 : 0);
    if (begins('dawntune')) words.splice(0, 1);
  } else return undefined;
  if (begins('bench')) {
    const suite = words[1]?.startsWith('-') ? undefined : words[1];
    words.splice(0, suite ? 2 : 1, `bench ${suite ?? 'kernels'}`);
  }
  const [name, ...rest] = words;
  return name ? { name, words: rest } : undefined;
}

test('every flag that the documents name exists', () => {
  const known = new Set(
    Object.values(commands).flatMap((table) =>
      Object.entries(table).flatMap(([name, { fallback }]) =>
        fallback === true ? [name, `no_${name}`] : [name],
      ),
    ),
  );
  for (const name of Object.keys(embedderAliases)) known.add(name);
  // Of npm and node; `--help` and `--version` belong to all commands.
  for (const name of ['save_dev', 'global', 'silent', 'help', 'version', 'seconds', 'flag', 'name'])
    known.add(name);
  // Of mpirun, srun and sbatch.
  for (const name of ['allow_run_as_root', 'bind_to', 'host', 'mca', 'mpi']) known.add(name);
  for (const name of ['nodes', 'ntasks_per_node', 'gpus_per_task', 'cpus_per_task']) known.add(name);
  // Of torchrun.
  for (const name of ['nnodes', 'node_rank', 'master_addr']) known.add(name);
  let seen = 0;
  for (const { name, text } of documents)
    for (const [, flag] of text
      .replaceAll(/`npx tsc [^`]*`/g, '')
      .matchAll(/(?<![\w-])--([a-z][a-z0-9_-]*)/g)) {
      seen++;
      assert.ok(known.has(flag!.replaceAll('-', '_')), `${name}: --${flag}`);
    }
  assert.ok(seen > 60, `${seen} flags`);
});

test('help tells defaults as words that mean them', () => {
  for (const [command, table] of Object.entries(commands))
    for (const [name, flag] of Object.entries(table)) {
      const help = renderHelp(command, { [name]: flag }, Number.POSITIVE_INFINITY);
      const told = /\(default (.*)\)\n$/.exec(help)?.[1];
      if (told === undefined) continue;
      const words = flag.type.many ? told.split(' ') : [told];
      assert.deepEqual(flag.type.parse(words), flag.fallback, `${command} --${name}: ${told}`);
    }
});

test('every command that the documents name is one, with flags that it takes', () => {
  const scripts = Object.keys(
    JSON.parse(fs.readFileSync(path.join(repositoryRoot, 'package.json'), 'utf8')).scripts,
  );
  let parsed = 0;
  for (const { name, text } of documents)
    for (const line of typed(text)) {
      const call = called(line);
      if (!call || /…|…/.test(line)) continue;
      const table = Object.hasOwn(commands, call.name) ? commands[call.name]! : undefined;
      if (!table) {
        assert.ok(scripts.includes(call.name), `${name}: ${line}`);
        continue;
      }
      // Names in capitals stand for a value.
      const words = call.words.map((word) => (/^[A-Z]+$/.test(word) ? '1' : word));
      // A name alone is no call where something is required.
      const isName =
        words.length === 0 && Object.values(table).some(({ fallback }) => fallback === undefined);
      if (words.includes('--help') || isName) continue;
      const needed = call.name === 'finetune' && !words.includes('--train_data');
      assert.doesNotThrow(
        () =>
          call.name === 'finetune'
            ? needed || parseFinetuneArguments(words)
            : parseFlags(table, words, {
                aliases: Object.hasOwn(table, 'embedder_model_class') ? embedderAliases : {},
                positionals: /parity$|^encode$|^score$/.test(call.name),
              }),
        `${name}: ${line}`,
      );
      parsed++;
    }
  assert.ok(parsed > 12, `${parsed} commands`);
});

test('the tests that docs/robustness.md names are there', () => {
  const { text } = documents.find(({ name }) => name.endsWith('robustness.md'))!;
  const files = [...text.matchAll(/`(test\/[\w/-]+\.test\.ts)`/g)].map(([, file]) => file!);
  const sources = [...new Set(files)].map((file) =>
    fs.readFileSync(path.join(repositoryRoot, file), 'utf8').replaceAll("\\'", "'"),
  );
  const titles = [...text.matchAll(/“([^”]+)”/g)].map(([, title]) => title!);
  assert.ok(sources.length > 15 && titles.length > 15);
  for (const title of titles)
    assert.ok(
      sources.some((source) => source.includes(`test('${title}'`) || source.includes(`describe('${title}'`)),
      title,
    );
});

/** The fine-tuning commands of the README, in their order. */
const fineTuning = documents[0]!.text
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll('\\\n', ' ')
  .split('\n')
  .filter((each) => each.startsWith('npx dawntune finetune '))
  .map((each) => called(each)!.words);

test('README’s first fine-tuning command runs as it is in the clone', async () => {
  const words = fineTuning[0]!.map((word) =>
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

test('README’s rows and the command for one’s own train, are evaluated, and go on', async () => {
  const [, rows] = /```json\n([\s\S]*?)```/.exec(documents[0]!.text)!;
  const files = new Map(['rows.jsonl', 'held-out.jsonl'].map((name) => [name, path.join(folder, name)]));
  for (const file of files.values()) fs.writeFileSync(file, rows!);
  const output = path.join(folder, 'mine');
  const replaced = new Map([...files, ['BAAI/bge-m3', golden('model')], ['output/mine', output]]);
  const words = fineTuning
    .find((each) => each.includes('--resume_from_checkpoint'))!
    .map((word) => replaced.get(word) ?? word);
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

test('README’s steps from rows to negatives, teacher scores, training and comparison follow one another', async () => {
  const [, rows] = /```json\n([\s\S]*?)```/.exec(documents[0]!.text)!;
  const at = (name: string) => path.join(folder, `steps-${name}`);
  for (const name of ['rows.jsonl', 'held-out.jsonl']) fs.writeFileSync(at(name), rows!);
  const [, block] = /```shell\n(npx dawntune mine [\s\S]*?)```/.exec(documents[0]!.text)!;
  const calls = block!
    .replaceAll('\\\n', ' ')
    .trim()
    .split('\n')
    .map((line) => called(line)!);
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

/** What a heading is called in an address, as GitHub has it. */
const anchor = (heading: string) =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-');

test('links within the documents lead to files and sections that are there', () => {
  let seen = 0;
  for (const { name, text } of documents)
    for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link!)) continue;
      const [file, section] = link!.split('#');
      const target = path.join(repositoryRoot, file ? path.join(path.dirname(name), file) : name);
      assert.ok(fs.existsSync(target), `${name}: ${link}`);
      if (section === undefined) continue;
      const code = fs.readFileSync(target, 'utf8').replaceAll(/```[\s\S]*?```/g, '');
      const anchors = [...code.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchor(heading!));
      assert.ok(anchors.includes(section), `${name}: ${link}`);
      seen++;
    }
  assert.ok(seen > 5, `${seen} sections`);
});

test('README’s library examples compile and run', () => {
  const blocks = [...documents[0]!.text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, block]) => block!);
  assert.equal(blocks.length, 5);
  const rank = blocks.findIndex((block) => block.startsWith('// rank.ts\n'));
  const rows = path.join(folder, 'ranks.jsonl');
  fs.writeFileSync(
    rows,
    ['a', 'b'].map((query) => JSON.stringify({ query, pos: [query], neg: ['c'] })).join('\n'),
  );
  const index = path.join(repositoryRoot, 'dist', 'src', 'index');
  const packages = path.resolve(
    createRequire(import.meta.url).resolve('@types/node/package.json'),
    '../../..',
  );
  const files = blocks.map((block, i) => {
    const file = path.join(folder, `example-${i}.mts`);
    const code = block
      .replaceAll("'dawntune'", JSON.stringify(`${index}.js`))
      .replaceAll("'dawntune/optim'", JSON.stringify(path.join(repositoryRoot, 'dist/src/optim/index.js')))
      .replaceAll("'./bge-m3'", JSON.stringify(golden('model')))
      .replaceAll("'./trained'", JSON.stringify(path.join(folder, 'trained')))
      .replaceAll("'./rank.js'", JSON.stringify(`./example-${rank}.mjs`))
      .replaceAll("'rows.jsonl'", JSON.stringify(rows))
      .replaceAll("'two-ranks'", JSON.stringify(path.join(folder, 'two-ranks')));
    fs.writeFileSync(file, code);
    return file;
  });
  const program = ts.createProgram(files, {
    strict: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    typeRoots: [path.join(packages, '@types'), packages],
    types: ['node', '@webgpu/types'],
  });
  const found = [...ts.getPreEmitDiagnostics(program), ...program.emit().diagnostics];
  assert.deepEqual(
    found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n')),
    [],
  );
  for (const [i, file] of files.entries()) {
    if (i === rank) continue;
    const { status, stdout, stderr } = spawnSync(process.execPath, [file.replace(/mts$/, 'mjs')], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    assert.doesNotMatch(stdout, /NaN|sparse: 0,/);
    assert.ok(stdout.length > 0);
  }
});

test('README’s fine-tuning command runs, with a small model and one step', async () => {
  const words = fineTuning
    .find((each) => each.includes('--deepspeed'))!
    .map((word) =>
      word === './bge-m3' ? golden('model') : word.replace('./example_data', golden('example_data')),
    );
  // The file of FlagEmbedding's examples, of which the README says that the line can be left out.
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
