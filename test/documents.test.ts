/**
 * What the pages say is so: commands are parsed by their tables, flags, files, tests and links exist, and the page of
 * flags is that of the tables. Pages are all Markdown files (documents/pages.ts).
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { flagsPage } from '../scripts/flags-page.js';
import { renderHelp } from '../src/flag-help.js';
import { families } from '../src/kernels/families.js';
import { rowWays } from '../src/kernels/launch/rows.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { type Call, called, check, flagNames, known, parts, scripts } from './documents/commands.js';
import {
  anchors,
  blocks,
  inlineCode,
  page,
  pages,
  prose,
  shellLines,
  strangeFences,
} from './documents/pages.js';
import { repositoryRoot } from './repository.js';

const exists = (...names: string[]) => fs.existsSync(path.join(repositoryRoot, ...names));

/** Flags of programs that are not ours: npm, node, mpirun, srun and sbatch, torchrun, biome, tensorboard. */
const OTHERS = new Set(
  `save_dev global allow_run_as_root bind_to host mca mpi nodes ntasks_per_node gpus_per_task cpus_per_task nnodes
   node_rank master_addr strict target module data silent
   test test_name_pattern write logdir`.split(/\s+/),
);

test('every flag that the documents name exists', () => {
  const wrong: string[] = [];
  let seen = 0;
  for (const { name, text } of pages)
    for (const [, flag] of text
      .replaceAll(/`npx tsc [^`]*`/g, '')
      .matchAll(/(?<![\w-])--([a-z][a-z0-9_-]*)/g)) {
      const spelled = flag!.replaceAll('-', '_');
      seen++;
      // `--flag_name` and `--name` stand for any.
      if (['flag', 'flag_name', 'no_flag', 'name'].includes(spelled)) continue;
      if (!flagNames.has(spelled) && !OTHERS.has(spelled)) wrong.push(`${name}: --${flag}`);
    }
  assert.deepEqual(wrong, []);
  assert.ok(seen > 60, `${seen} flags`);
});

test('help tells defaults as words that mean them', () => {
  for (const [command, { table }] of known)
    for (const [name, flag] of Object.entries(table)) {
      const help = renderHelp(command, { [name]: flag }, Number.POSITIVE_INFINITY);
      const told = /\(default (.*)\)\n$/.exec(help)?.[1];
      if (told === undefined) continue;
      const words = flag.type.many ? told.split(' ') : [told];
      assert.deepEqual(flag.type.parse(words), flag.fallback, `${command} --${name}: ${told}`);
    }
});

test('the page of flags is that of the tables: npm run flags-page writes it anew', async () => {
  assert.equal(page('docs/flags.md').text, await flagsPage());
});

const LANGUAGES = new Set([
  'shell',
  'sh',
  'bash',
  'ts',
  'js',
  'wgsl',
  'json',
  'yaml',
  'python',
  'text',
  'powershell',
]);

test('every block of the documents says its language, so that it is checked as what it is', () => {
  assert.deepEqual(
    pages.flatMap(({ name, text }) => strangeFences(text).map((line) => `${name}: ${line}`)),
    [],
  );
  const nameless = pages.flatMap(({ name, text }) =>
    blocks(text)
      .filter(({ language }) => !LANGUAGES.has(language))
      .map(({ language, code }) => `${name}: ${language} ${code.slice(0, 40)}`),
  );
  assert.deepEqual(nameless, []);
});

/** Programs of a shell block that are not ours. */
const PROGRAMS = new Set(
  `cd export unset cat curl git hf mpirun srun sudo python3 python pip node npm npx sh jq head tail printf echo
   source brew dnf pacman winget apt apt-get docker tensorboard kill sleep mkdir ls sbatch`.split(/\s+/),
);

/** What a part of a shell line is: a command of ours, or null for one of another program that is known. */
function understood(part: string): Call | null {
  const call = called(part);
  if (call) return call;
  const [program, ...words] = part.replace(/^(?:[A-Z_]+=\S* )+/, '').split(/\s+/);
  assert.ok(PROGRAMS.has(program!) || /\/bin\//.test(program!), `what is ${program}`);
  const file = words.find((word) => (program === 'node' ? /\.m?js$/.test(word) : !word.startsWith('-')));
  if (program === 'node' && file !== undefined) assert.ok(sourceExists(file), file);
  if (program === 'sh' && file !== undefined) assert.ok(exists(file) || exists('scripts', file), file);
  if (program === 'cd' && file !== undefined && /^[a-z]+$/.test(file) && file !== 'dawntune')
    assert.ok(exists(file), file);
  return null;
}

/** Whether a file that is named is there, or for what is built the source of it. */
function sourceExists(name: string): boolean {
  const file = name.replace(/[#:].*$/, '');
  if (file.startsWith('dist/api')) return true;
  return exists(file) || exists(file.replace(/^dist\//, '').replace(/\.js$/, '.ts'));
}

test('every command that the documents show is one, with words that it takes', () => {
  const wrong: string[] = [];
  let parsed = 0;
  for (const { name, text } of pages) {
    // What a program prints has commands in it too.
    const printed = blocks(text)
      .filter(({ language }) => language === 'text')
      .flatMap(({ code }) => code.split('\n'));
    const shown = [
      ...shellLines(text).flatMap((line) =>
        parts(line).map((part) => ({ line, whole: true, call: () => understood(part) })),
      ),
      ...[...inlineCode(text), ...printed].flatMap((line) =>
        parts(line).map((part) => ({ line, whole: false, call: () => called(part) ?? null })),
      ),
    ];
    for (const { line, whole, call } of shown) {
      // What is left out cannot be parsed; `[…]` is a usage line.
      if (/…|\[flags\]|^#!|^#SBATCH/.test(line)) continue;
      try {
        const found = call();
        if (!found) continue;
        check(found, whole);
        parsed++;
      } catch (error) {
        wrong.push(`${name}: ${line}: ${error instanceof Error ? error.message : error}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
  assert.ok(parsed > 60, `${parsed} commands`);
});

test('settings that the documents show are read by --config', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-settings-'));
  const file = path.join(folder, 'run.yaml');
  let seen = 0;
  try {
    for (const { text } of pages)
      for (const { language, code } of blocks(text)) {
        // Others are files of Kubernetes and of GitHub's workflows.
        if (language !== 'yaml' || /^(?:apiVersion|on|jobs):/m.test(code)) continue;
        fs.writeFileSync(file, code);
        const { notices } = parseFinetuneArguments(['--config', file, '--output_dir', folder]);
        assert.deepEqual(notices, []);
        seen++;
      }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
  assert.ok(seen > 0);
});

test('rows that the documents show are JSON', () => {
  let seen = 0;
  for (const { name, text } of pages)
    for (const { language, code } of blocks(text))
      if (language === 'json') {
        const whole = /^\{\n/.test(code);
        for (const each of whole ? [code] : code.trim().split('\n')) {
          assert.doesNotThrow(() => JSON.parse(each), `${name}: ${each}`);
          seen++;
        }
      }
  assert.ok(seen > 1);
});

test('programs in Python that the documents show can be read', (t) => {
  const programs = pages.flatMap(({ name, text }) =>
    blocks(text).flatMap(({ language, code }) => (language === 'python' ? [[name, code]] : [])),
  );
  assert.ok(programs.length > 2, `${programs.length} programs`);
  const read = 'import ast, json, sys\nfor name, code in json.load(sys.stdin): ast.parse(code, name)';
  const input = JSON.stringify(programs);
  const { status, stderr, error } = spawnSync('python3', ['-c', read], { input, encoding: 'utf8' });
  if (error) return t.skip('there is no Python');
  assert.equal(status, 0, stderr);
});

/** Paths in diagrams. */
const drawn = (text: string) =>
  blocks(text)
    .filter(({ language }) => language === 'text')
    .flatMap(({ code }) => code.match(/(?<![\w/.])(?:src|test|bench)\/[\w./-]+/g) ?? []);

test('the files of the repository that the documents name are there', () => {
  const missing: string[] = [];
  let seen = 0;
  // docs/spec describes files of FlagEmbedding.
  for (const { name, text } of pages.filter((each) => !each.name.startsWith('docs/spec/')))
    for (const code of [...inlineCode(text), ...drawn(text)])
      if (/^(?:src|test|bench|scripts|examples|docs|assets|dist\/(?:src|test|bench))\/[\w./-]+$/.test(code)) {
        if (!sourceExists(code.replace(/\/$/, ''))) missing.push(`${name}: ${code}`);
        seen++;
      }
  assert.deepEqual(missing, []);
  assert.ok(seen > 40, `${seen} files`);
});

test('the tests that docs/robustness.md and FEATURES.md name are there', () => {
  for (const name of ['docs/robustness.md', 'FEATURES.md'].filter((each) => exists(each))) {
    const { text } = page(name);
    const files = [...text.matchAll(/`(test\/[\w/-]+\.test\.ts)`/g)].map(([, file]) => file!);
    const sources = [...new Set(files)].map((file) =>
      fs.readFileSync(path.join(repositoryRoot, file), 'utf8').replaceAll("\\'", "'"),
    );
    const titles = [...text.matchAll(/“([^”]+)”/g)].map(([, title]) => title!);
    assert.ok(sources.length > 15);
    for (const title of titles)
      assert.ok(
        sources.some(
          (source) => source.includes(`test('${title}'`) || source.includes(`describe('${title}'`),
        ),
        `${name}: ${title}`,
      );
  }
});

test('every line of FEATURES.md names the tests that hold it, or says that nothing does', () => {
  const rows = page('FEATURES.md')
    .text.split('\n')
    .filter((line) => line.startsWith('| ') && !/^\| ---|held by/.test(line));
  assert.ok(rows.length > 35, `${rows.length} lines`);
  for (const row of rows) assert.match(row, /\| (?:(?:`test\/[\w/-]+\.test\.ts`(?:, )?)+|nothing) \|$/, row);
});

test('links within the documents lead to files and sections that are there', () => {
  const found = new Map(pages.map(({ name, text }) => [name, anchors(text)]));
  const broken: string[] = [];
  let seen = 0;
  for (const { name, text } of pages)
    for (const [, link] of prose(text).matchAll(/\]\(([^)\s]+)[^)]*\)/g)) {
      if (/^https?:/.test(link!)) continue;
      const [file, section] = link!.split('#');
      const target = file ? path.posix.join(path.posix.dirname(name), file) : name;
      const leads = section === undefined ? isPacked(target) : found.get(target)?.has(section);
      if (!leads) broken.push(`${name}: ${link}`);
      seen++;
    }
  assert.deepEqual(broken, []);
  assert.ok(seen > 40, `${seen} links`);
});

const { files: packed } = JSON.parse(fs.readFileSync(path.join(repositoryRoot, 'package.json'), 'utf8')) as {
  files: string[];
};

/** Whether it is a file that the package has too, where the pages are read as well. */
const isPacked = (file: string) =>
  packed.some(
    (entry) =>
      file === entry || file.startsWith(`${entry}/`) || (file.endsWith('.sh') && entry === 'scripts/*.sh'),
  ) && fs.statSync(path.join(repositoryRoot, file), { throwIfNoEntry: false })?.isFile() === true;

test('links stand in brackets beside what they say, where the checks look for them', () => {
  for (const { name, text } of pages) {
    if (name.startsWith('docs/spec/')) continue;
    const others = prose(text)
      .replaceAll(/`[^`\n]*`/g, '')
      .match(/^\[[^\]]+\]: .*|<(?:a|img) .*|\]\[.*/gm);
    assert.deepEqual(others ?? [], [], name);
  }
});

test('every page but those of docs/spec is reached from the README', () => {
  const reached = new Set<string>(['README.md']);
  for (const name of reached)
    for (const [, link] of prose(page(name).text).matchAll(/\]\(([^)#\s]+)/g)) {
      const target = path.posix.join(path.posix.dirname(name), link!);
      if (pages.some((each) => each.name === target)) reached.add(target);
    }
  const unreached = pages.map(({ name }) => name).filter((name) => !reached.has(name));
  assert.deepEqual(
    unreached.filter((name) => !name.startsWith('docs/spec/')),
    [],
  );
});

test('scripts of package.json that the documents name are there', () => {
  // `interop:folders` alone is a script too.
  const families = [...scripts].flatMap((script) => /^\w+(?=:)/.exec(script) ?? []);
  const named = new RegExp(
    `npm run (?:--silent )?([\\w:-]+)|\`((?:${[...new Set(families)].join('|')}):[\\w-]+)\``,
    'g',
  );
  for (const { name, text } of pages)
    for (const [, script, alone] of text.matchAll(named))
      assert.ok(scripts.has((script ?? alone)!), `${name}: npm run ${script ?? alone}`);
});

/** What Python is called on pages for those who come from there. */
const PYTHON = /^(?:torch|F|a|p|h|model|nn)\.|^(?:\w*(?:Loss|Evaluator|Transformer)|mine_hard_negatives)\(/;

test('variables of the environment, tests and calls that the documents name are in the sources', () => {
  const words = new Set<string>();
  const tests = new Set<string>();
  for (const folder of ['src', 'bench', 'test', 'scripts', 'examples'])
    for (const file of fs.readdirSync(path.join(repositoryRoot, folder), {
      recursive: true,
      encoding: 'utf8',
    }))
      if (/\.[tj]s$/.test(file)) {
        if (file.endsWith('.test.ts')) tests.add(path.basename(file, '.ts'));
        if (!file.includes('golden'))
          for (const [word] of fs
            .readFileSync(path.join(repositoryRoot, folder, file), 'utf8')
            .matchAll(/[A-Za-z_]\w*/g))
            words.add(word);
      }
  const strange: string[] = [];
  for (const { name, text } of pages) {
    if (name.startsWith('docs/spec/')) continue;
    for (const [word] of text.matchAll(/\bDAWNTUNE_\w+/g))
      if (!words.has(word)) strange.push(`${name}: ${word}`);
    for (const code of inlineCode(text)) {
      const test = /(?:^|\/)([\w-]+\.test)\.[jt]s$/.exec(code)?.[1];
      if (test !== undefined && !tests.has(test)) strange.push(`${name}: ${code}`);
      if (PYTHON.test(code)) continue;
      for (const [, word] of code.matchAll(/(?<![\w-])([A-Za-z_]\w*)(?=\()/g))
        if (!words.has(word!)) strange.push(`${name}: ${code}`);
      for (const [, holder, member] of code.matchAll(/\b([A-Z]\w+)\.(\w+)/g))
        if (words.has(holder!) && !words.has(member!)) strange.push(`${name}: ${code}`);
    }
  }
  assert.deepEqual(strange, []);
});

test('the page of kernels has every family with its variants, in their order', () => {
  const rows =
    page('docs/kernels.md')
      .text.split('## All families')[1]
      ?.matchAll(/^\| `.*$/gm) ?? [];
  const named = families.map(
    ({ name, summary, variants }) =>
      `| \`${name}\` | ${summary} | ${variants.map((each) => `\`${each.name}\``).join(', ')} |`,
  );
  assert.deepEqual(
    [...rows].map(([row]) => row),
    named,
  );
  const shared = families.filter(({ variants }) =>
    rowWays.every((way) => variants.some(({ name, why }) => name === way.name && why === way.why)),
  );
  const told = `share their variants: ${shared.map(({ name }) => `\`${name}\``).join(', ')}.`;
  assert.ok(page('docs/adding-a-kernel-variant.md').text.includes(told), told);
});
