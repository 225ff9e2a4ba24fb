/**
 * Ranks on a machine with two cards of one name (cards.ts): each has a card of its own, or the run ends. Nothing here shows
 * a process one card alone but its own list of drivers, as one card in a container does.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { golden, repositoryRoot } from '../repository.js';
import { makeCards, noCardsReason, type TestCard } from './cards.js';
import { installations, mpirun } from './launch.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-cards-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const reason = noCardsReason();
const cards = reason ? [] : makeCards(folder, [0x17, 0x2a]);
const [first, second] = cards as [TestCard, TestCard];

const built = (...names: string[]) => path.join(repositoryRoot, 'dist', ...names);
// Layers of the machine that select devices would change what it has.
const machine = (...shown: TestCard[]) => ({
  VK_DRIVER_FILES: shown.map(({ file }) => file).join(':'),
  NODEVICE_SELECT: '1',
});

test('doctor lists both with their addresses, under one number', (t) => {
  if (reason) return t.skip(reason);
  const { stdout, status } = spawnSync(process.execPath, [built('src', 'cli', 'main.js'), 'doctor'], {
    env: { ...process.env, ...machine(first, second) },
    encoding: 'utf8',
  });
  assert.equal(status, 0, stdout);
  for (const { pci } of cards)
    assert.match(
      stdout,
      new RegExp(`^adapter 0 +Test Card \\(vulkan\\), discrete GPU, .*PCI ${pci}, UUID `, 'm'),
    );
  assert.match(stdout, /^ranks +up to 2: .*a process for each, under mpirun$/m);
});

for (const installation of installations) {
  /** Two ranks, of which each sees these cards. */
  const run = async (shown: readonly [readonly TestCard[], readonly TestCard[]], word = '') => {
    const program = built('test', 'mpi', 'rank-adapters.js');
    // Each rank's own list of drivers is set by a shell, as a wrapper script would.
    const script = `if [ "\${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 0 ]; then export VK_DRIVER_FILES="$ONE"; else export VK_DRIVER_FILES="$OTHER"; fi; exec "$@"`;
    const file = path.join(folder, 'wrapper.sh');
    fs.writeFileSync(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const [one, other] = shown.map((list) => machine(...list).VK_DRIVER_FILES) as [string, string];
    return mpirun(installation, [program, word], {
      ranks: 2,
      limit: 60,
      env: { ONE: one, OTHER: other, NODEVICE_SELECT: '1' },
      wrapper: file,
    });
  };

  test(`${installation.name}: a card a process, by its own list of drivers`, async (t) => {
    if (reason) return t.skip(reason);
    const { code, stdout, stderr } = await run([[first], [second]]);
    assert.equal(code, 0, stderr);
    for (const [rank, { pci }] of cards.entries())
      assert.match(stdout, new RegExp(`^rank ${rank} holds Test Card at ${pci}$`, 'm'));
  });

  test(`${installation.name}: two ranks that are shown one card end`, async (t) => {
    if (reason) return t.skip(reason);
    const { code, stdout, stderr } = await run([[first], [first]]);
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      new RegExp(`ranks 0 and 1 hold the same GPU \\(Test Card, PCI ${first.pci}\\); show each`),
    );
    assert.doesNotMatch(stdout, /holds/);
  });

  test(`${installation.name}: two ranks that see both cards, of which Dawn takes the first, end`, async (t) => {
    if (reason) return t.skip(reason);
    const { code, stdout, stderr } = await run([
      [first, second],
      [first, second],
    ]);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /ranks 0 and 1 cannot be shown to hold different GPUs .*sees several of that name/);
    assert.doesNotMatch(stdout, /holds/);
  });
}

test('a command that would start itself is told before that DRI_PRIME shows no card alone here', (t) => {
  if (reason) return t.skip(reason);
  const { status, stderr } = spawnSync(
    process.execPath,
    [built('test', 'mpi', 'rank-adapters.js'), 'alone'],
    {
      env: { ...process.env, ...machine(first, second) },
      encoding: 'utf8',
    },
  );
  assert.equal(status, 1, stderr);
  assert.match(
    stderr,
    /several cards of the name Test Card, and DRI_PRIME does not show one alone \(2 seen\)/,
  );
});

test('ranks of a program that open their adapters themselves are held to cards of their own too', (t) => {
  if (reason) return t.skip(reason);
  const words = [
    ...['--model_name_or_path', golden('model'), '--train_data', golden('example_data/retrieval/nq.jsonl')],
    ...['--output_dir', path.join(folder, 'library'), '--train_group_size', '2', '--max_steps', '1'],
  ];
  for (const [shown, told] of [
    [[first], /^RankError: ranks 0 and 1 hold the same GPU \(Test Card, PCI/],
    [[first, second], /^RankError: .*ranks 0 and 1 cannot be shown to hold different GPUs/],
  ] as const)
    for (const opened of ['own', 'left']) {
      const { stdout, stderr } = spawnSync(
        process.execPath,
        [built('test', 'mpi', 'library-ranks.js'), opened, ...words],
        { env: { ...process.env, ...machine(...shown) }, encoding: 'utf8' },
      );
      assert.match(stdout, told, `${opened}: ${stdout}${stderr}`);
      assert.ok(!fs.existsSync(path.join(folder, 'library')));
    }
});
