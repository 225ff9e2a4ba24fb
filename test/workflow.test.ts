/** The workflow of GitHub Actions: it is YAML of the form that is expected, and each of its commands is one. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { commands } from '../src/cli/commands.js';
import { parseFlags } from '../src/flags.js';
import { repositoryRoot } from './repository.js';

interface Step {
  readonly name?: string;
  readonly uses?: string;
  readonly run?: string;
  readonly if?: string;
}

interface Workflow {
  readonly jobs: Readonly<
    Record<
      string,
      { readonly strategy: { readonly matrix: Matrix }; readonly 'runs-on': string; readonly steps: Step[] }
    >
  >;
}

interface Matrix {
  readonly os: readonly string[];
  readonly node: readonly number[];
}

const read = (...names: string[]) => fs.readFileSync(path.join(repositoryRoot, ...names), 'utf8');
const { jobs } = parse(read('.github', 'workflows', 'test.yml'), { strict: true }) as Workflow;
const manifest = JSON.parse(read('package.json')) as {
  readonly scripts: Record<string, string>;
  readonly engines: { readonly node: string };
};

test('three systems and each Node that the package is for', () => {
  const { matrix } = jobs['test']!.strategy;
  assert.deepEqual(
    matrix.os.map((name) => name.replace(/-latest$/, '')),
    ['ubuntu', 'macos', 'windows'],
  );
  assert.deepEqual(matrix.node, [20, 22, 24]);
  assert.match(manifest.engines.node, new RegExp(`^>=${matrix.node[0]}\\.`));
});

test('each command is one, with flags that it takes and files that are there', async () => {
  const pages = fs.readdirSync(path.join(repositoryRoot, 'docs')).filter((name) => name.endsWith('.md'));
  const texts = [read('README.md'), ...pages.map((name) => read('docs', name))].join('\n');
  const told = texts.replaceAll('\\\n', ' ').replaceAll(/ +/g, ' ');
  let seen = 0;
  for (const { steps } of Object.values(jobs))
    for (const step of steps) {
      assert.equal(Object.hasOwn(step, 'uses'), !Object.hasOwn(step, 'run'), JSON.stringify(step));
      if (step.run === undefined) {
        assert.match(step.uses!, /^actions\/[\w-]+@v\d+$/);
        continue;
      }
      for (const line of step.run.replaceAll('\\\n', ' ').replaceAll(/ +/g, ' ').trim().split('\n')) {
        seen++;
        const [program, name, ...words] = line.split(' ');
        if (line === 'npm ci') continue;
        if (program === 'npm') {
          const script = name === 'run' ? words[0]! : name!;
          assert.ok(Object.hasOwn(manifest.scripts, script), line);
          continue;
        }
        assert.deepEqual([program, name], ['npx', 'dawntune'], line);
        const command = commands.get(words[0]!);
        assert.ok(command, line);
        parseFlags(await command.flags(), words.slice(1));
        for (const file of words.filter((word) => word.startsWith('test/')))
          assert.ok(fs.existsSync(path.join(repositoryRoot, file)), file);
        assert.ok(told.includes(line), `no page says: ${line}`);
      }
    }
  assert.ok(seen >= 8, `${seen} commands`);
});
